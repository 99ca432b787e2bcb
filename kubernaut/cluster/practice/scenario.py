"""Scenarios: a cluster's objects, its faults, and what happens to it over time, as data.

Why it exists: a rehearsal and the demo begin in the middle of a story, with revisions behind them and a bad rollout
under way. A scenario is played in simulated time up to its `age_seconds`; what comes later is played live by the
server. Called by `cli`, the demo and tests. The format is described in docs/practice-cluster.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kubernaut.cluster.practice.admission import WriteOptions
from kubernaut.cluster.practice.api import PatchType
from kubernaut.cluster.practice.clock import Timing
from kubernaut.cluster.practice.cluster import PracticeCluster, locate
from kubernaut.cluster.practice.errors import ApiError
from kubernaut.cluster.practice.faults import Fault
from kubernaut.cluster.practice.resources import Json

_BY_KUBECTL = WriteOptions(field_manager="kubectl")


class ScenarioError(ValueError):
    """A scenario that cannot be read or played; the text names the file and the place."""


class ObjectReference(BaseModel):
    """An object by its coordinates, written as in a manifest."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    api_version: str = Field(alias="apiVersion")
    kind: str
    namespace: str = "default"
    name: str

    def manifest(self) -> Json:
        metadata = {"name": self.name, "namespace": self.namespace}
        return {"apiVersion": self.api_version, "kind": self.kind, "metadata": metadata}


class Change(BaseModel):
    """One thing that happens `at_seconds` after the beginning: `apply` a manifest, `merge` a patch into the object
    `of`, or `delete` an object."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_seconds: float = Field(ge=0)
    description: str = ""
    apply: dict[str, Any] | None = None
    of: ObjectReference | None = None
    merge: dict[str, Any] | None = None
    delete: ObjectReference | None = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        given = [name for name in ("apply", "merge", "delete") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"a change is one of apply, merge, delete; here: {', '.join(given) or 'none'}")
        if (self.merge is None) != (self.of is None):
            raise ValueError("merge and of belong together: the patch, and the object that it changes")
        return self

    def play(self, cluster: PracticeCluster) -> None:
        """Raises `ApiError` when the cluster refuses it."""
        if self.apply is not None:
            cluster.put(self.apply)
        elif self.of is not None:
            resource, namespace = locate(self.of.manifest())
            cluster.api.patch(resource, namespace, self.of.name, self.merge, PatchType.MERGE, _BY_KUBECTL)
        elif self.delete is not None:
            resource, namespace = locate(self.delete.manifest())
            cluster.api.delete(resource, namespace, self.delete.name)


class TimingFields(BaseModel):
    """Durations that a scenario may set; see `clock.Timing`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start_seconds: float = Field(default=1.0, ge=0)
    stop_seconds: float = Field(default=1.0, ge=0)
    backoff_seconds: float = Field(default=10.0, gt=0)
    backoff_limit_seconds: float = Field(default=300.0, gt=0)


class Scenario(BaseModel):
    """`age_seconds` is how long the cluster has lived already when it is opened."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str = ""
    age_seconds: float = Field(default=0, ge=0)
    seed: int = 0
    timing: TimingFields = TimingFields()
    faults: tuple[Fault, ...] = ()
    objects: tuple[dict[str, Any], ...] = ()
    changes: tuple[Change, ...] = ()

    def open(self, clock: Callable[[], datetime], *, time_factor: float = 1.0) -> OpenedScenario:
        """A cluster that has lived through the scenario up to now. `clock` is the present, with a time zone.

        Raises `ScenarioError` when the cluster refuses an object or a change."""
        timing = replace(Timing(factor=time_factor), **self.timing.model_dump())
        life = _Life(clock, clock() - timing.span(self.age_seconds))
        cluster = PracticeCluster(life, faults=self.faults, timing=timing, seed=self.seed)
        for index, obj in enumerate(self.objects):
            self._play(lambda obj=obj: cluster.put(obj), f"objects[{index}]")  # type: ignore[misc]
        later = []
        start = life()
        for index, change in sorted(enumerate(self.changes), key=lambda item: item[1].at_seconds):
            moment = start + timing.span(change.at_seconds)
            if change.at_seconds > self.age_seconds:
                later.append((moment, change))
                continue
            life.pass_until(moment, cluster)
            self._play(lambda change=change: change.play(cluster), f"changes[{index}]")  # type: ignore[misc]
        life.pass_until(start + timing.span(self.age_seconds), cluster)
        life.go_live()
        return OpenedScenario(self, cluster, tuple(later))

    def _play(self, work: Callable[[], Any], place: str) -> None:
        try:
            work()
        except ApiError as error:
            raise ScenarioError(f"scenario {self.name!r}, {place}: {error.message}") from error


@dataclass(frozen=True)
class OpenedScenario:
    """The cluster at the present moment, and the changes that are still to come, each with its moment."""

    scenario: Scenario
    cluster: PracticeCluster
    later: tuple[tuple[datetime, Change], ...]


class _Life:
    """A clock that is moved through the past and then follows the present."""

    def __init__(self, present: Callable[[], datetime], start: datetime) -> None:
        self._present = present
        self._past: datetime | None = start

    def __call__(self) -> datetime:
        return self._past or self._present()

    def pass_until(self, moment: datetime, cluster: PracticeCluster) -> None:
        while (due := cluster.step()) is not None and due <= moment:
            self._past = due
        self._past = moment
        cluster.step()

    def go_live(self) -> None:
        self._past = None


def load_scenario(source: str | Path | dict[str, Any]) -> Scenario:
    """From a dict, a YAML or JSON file, or the name of a scenario that comes with the package (`crashloop`)."""
    if isinstance(source, dict):
        return _read(source, "the given scenario")
    packaged = files("kubernaut.cluster.practice").joinpath("scenarios", f"{source}.yaml")
    path = Path(source)
    try:
        text = packaged.read_text() if packaged.is_file() and not path.is_file() else path.read_text()
    except OSError as error:
        raise ScenarioError(f"scenario {source}: {error.strerror or error}; packaged ones: {_packaged()}") from error
    try:
        return _read(yaml.safe_load(text), str(source))
    except yaml.YAMLError as error:
        raise ScenarioError(f"scenario {source} is not YAML: {error}") from error


def _packaged() -> str:
    folder = files("kubernaut.cluster.practice").joinpath("scenarios")
    return ", ".join(sorted(item.name.removesuffix(".yaml") for item in folder.iterdir()))


def _read(data: Any, source: str) -> Scenario:
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        places = [f"{'.'.join(map(str, item['loc'])) or 'top level'}: {item['msg']}" for item in error.errors()]
        raise ScenarioError(f"{source} is not a scenario: " + "; ".join(places)) from error
