"""What the controllers share: the queue that runs them, and the surroundings in which they run.

Why it exists: controllers are level-triggered and meet only in the store, as in Kubernetes. A change makes keys due, a
timed thing makes a key due later; `WorkQueue.run` empties what is due. Driven by `cluster.PracticeCluster.step`.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from kubernaut.cluster.practice.clock import Timing
from kubernaut.cluster.practice.faults import Fault
from kubernaut.cluster.practice.registry import Registry, stamp
from kubernaut.cluster.practice.resources import EVENTS, Json
from kubernaut.cluster.practice.store import Change, Store

CONTROLLER_MANAGER = "kube-controller-manager"
KUBELET = "kubelet"

WorkKey = tuple[str, ...]


class Controller(Protocol):
    """One kind of loop. `sync` brings the object of one key nearer to its spec and says when it wants to look again."""

    def keys_for(self, change: Change) -> Iterable[WorkKey]: ...

    def sync(self, key: WorkKey) -> datetime | None: ...


class NeverQuiet(RuntimeError):
    """The controllers keep changing things at one moment in time: two of them disagree. A defect, never a user's
    fault.
    """


class WorkQueue:
    """Keys that are due now, in order of arrival and without repeats, and keys that are due later."""

    def __init__(self, controllers: tuple[Controller, ...]) -> None:
        self._controllers = controllers
        self._ready: dict[tuple[int, WorkKey], None] = {}
        self._later: list[tuple[datetime, int, int, WorkKey]] = []
        self._due: dict[tuple[int, WorkKey], datetime] = {}
        self._order = 0

    def changed(self, change: Change) -> None:
        for index, controller in enumerate(self._controllers):
            for key in controller.keys_for(change):
                self._ready[index, key] = None

    def run(self, now: datetime, limit: int = 100_000) -> datetime | None:
        """Runs until nothing is due at `now`; returns when the next thing is."""
        self._wake(now)
        for _ in range(limit):
            if not self._ready:
                return self._next()
            index, key = next(iter(self._ready))
            del self._ready[index, key]
            self._remember(index, key, self._controllers[index].sync(key), now)
        raise NeverQuiet(f"the controllers are not quiet after {limit} steps at {now.isoformat()}: {list(self._ready)}")

    def _remember(self, index: int, key: WorkKey, due: datetime | None, now: datetime) -> None:
        if due is None:
            self._due.pop((index, key), None)
        elif due <= now:
            self._ready[index, key] = None
        elif self._due.get((index, key)) != due:
            self._due[index, key] = due
            self._order += 1
            heapq.heappush(self._later, (due, self._order, index, key))

    def _wake(self, now: datetime) -> None:
        while self._later and self._later[0][0] <= now:
            due, _, index, key = heapq.heappop(self._later)
            if self._due.get((index, key)) == due:
                del self._due[index, key]
                self._ready[index, key] = None

    def _next(self) -> datetime | None:
        while self._later and self._due.get(self._later[0][2:]) != self._later[0][0]:
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None


@dataclass
class Surroundings:
    """What every controller works with."""

    registry: Registry
    timing: Timing
    faults: tuple[Fault, ...]
    recorder: EventRecorder

    @property
    def store(self) -> Store:
        return self.registry.store

    def now(self) -> datetime:
        return self.registry.clock()


class EventRecorder:
    """Writes core/v1 Events as the kubelet and the controllers do: a repeat raises `count`. Keeps the latest
    `limit`.
    """

    def __init__(self, registry: Registry, limit: int = 1000) -> None:
        self._registry = registry
        self._limit = limit
        self._known: dict[tuple[str, ...], tuple[str, str]] = {}

    def record(self, obj: Json, kind: str, reason: str, message: str, *, component: str, warning: bool = False) -> None:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "default")
        identity = (metadata["uid"], component, reason, message)
        place = self._known.get(identity)
        old = self._registry.store.get(EVENTS, *place) if place else None
        now = self._registry.now()
        if old is not None:
            self._registry.update(EVENTS, old, {**old, "count": old["count"] + 1, "lastTimestamp": now}, component)
            return
        source = {"component": component} | ({"host": obj["spec"]["nodeName"]} if component == KUBELET else {})
        event = {
            "metadata": {"name": f"{metadata['name']}.{self._registry.name_suffix(16)}", "namespace": namespace},
            "involvedObject": {
                "kind": kind,
                "namespace": namespace,
                "name": metadata["name"],
                "uid": metadata["uid"],
                "apiVersion": obj.get("apiVersion", "v1"),
                "resourceVersion": metadata["resourceVersion"],
            },
            "reason": reason,
            "message": message,
            "source": source,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
            "type": "Warning" if warning else "Normal",
            "eventTime": None,
            "reportingComponent": component,
            "reportingInstance": source.get("host", ""),
        }
        stored = self._registry.create(EVENTS, event, component)
        self._known[identity] = (namespace, stored["metadata"]["name"])
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        while len(self._known) > self._limit:
            place = self._known.pop(next(iter(self._known)))
            old = self._registry.store.get(EVENTS, *place)
            if old is not None:
                self._registry.remove(EVENTS, old)


def set_condition(conditions: list[Json], new: Json, now: datetime) -> list[Json]:
    """The list with this pod condition; its lastTransitionTime moves only when its status does."""
    old = next((item for item in conditions if item["type"] == new["type"]), None)
    moved = old is None or old["status"] != new["status"]
    time = stamp(now) if moved or old is None else old["lastTransitionTime"]
    placed = {"type": new["type"], "status": new["status"], "lastProbeTime": None, "lastTransitionTime": time, **new}
    if old is None:
        return [*conditions, placed]
    return [placed if item is old else item for item in conditions]


def controller_of(obj: Json) -> Json | None:
    references = obj["metadata"].get("ownerReferences", [])
    return next((reference for reference in references if reference.get("controller")), None)


def owner_reference(owner: Json) -> Json:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
