"""What a figure is: samples, their median, where they were taken, and how two runs compare. Pure; nothing is measured here.

Called by `tests.bench.__main__` and `tests.bench.table`. `build/bench.json` is what `as_json` gives; `make trace` reads its
keys. No function here judges a machine: a target is shown beside the figure, and nothing fails because of it.
"""

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


class NotFigures(ValueError):
    """A file that holds no figures; the text names the place."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A figure that can be measured."""

    key: str
    unit: str
    """`s` or `ms`."""
    meaning: str
    target: float | None = None
    """What the median should not exceed, in `unit`."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured one. At least one sample."""

    key: str
    unit: str
    samples: tuple[float, ...]
    """In the order in which they were taken, in `unit`."""
    note: str
    target: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    """Where the time goes: medians of what else was seen of each sample, mostly moments on the way, in `unit`."""
    environment: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError(f"{self.key}: a figure without a sample")
        if not all(math.isfinite(sample) and sample >= 0 for sample in self.samples):
            raise ValueError(f"{self.key}: a sample is no duration: {self.samples}")

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def met(self) -> bool | None:
        """None: there is no target."""
        return None if self.target is None else self.median <= self.target


def measured(
    definition: Definition,
    samples: Iterable[float],
    environment: Mapping[str, Any],
    *,
    note: str = "",
    parts: Mapping[str, float] | None = None,
) -> Figure:
    return Figure(
        key=definition.key,
        unit=definition.unit,
        samples=tuple(samples),
        note=f"{definition.meaning}{'; ' if note else ''}{note}",
        target=definition.target,
        parts=parts or {},
        environment=environment,
    )


def medians(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each name over the rows that have it, in the order of first appearance."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: statistics.median(row[name] for row in rows if name in row) for name in names}


# --- the file


def as_json(figures: Iterable[Figure]) -> dict[str, dict[str, Any]]:
    """Key → `median`, `samples`, `unit`, `note`, `target`, `parts`, `environment`."""
    document = {}
    for figure in figures:
        fields = asdict(figure)
        del fields["key"]
        document[figure.key] = {"median": figure.median, **fields, "samples": list(figure.samples)}
    return document


def write(path: Path, figures: Iterable[Figure]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(json.dumps(as_json(figures), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)


def read(path: Path) -> dict[str, Figure]:
    """Figures of an earlier run. Raises `NotFigures`."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotFigures(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise NotFigures(f"{path} is not an object of figures; `make bench` writes one")
    found = {}
    for key, fields in document.items():
        try:
            found[key] = Figure(
                key=key,
                unit=fields["unit"],
                samples=tuple(float(sample) for sample in fields["samples"]),
                note=fields.get("note", ""),
                target=fields.get("target"),
                parts=fields.get("parts", {}),
                environment=fields.get("environment", {}),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise NotFigures(f"{path}: {key!r} is not a figure: {type(error).__name__}: {error}") from error
    return found


# --- two runs


@dataclass(frozen=True)
class Comparison:
    """A figure of two runs."""

    key: str
    unit: str
    before: float
    now: float

    @property
    def ratio(self) -> float | None:
        """Now over before: below 1 is faster. None where it was zero before."""
        return self.now / self.before if self.before else None


def compare(before: Mapping[str, Figure], now: Iterable[Figure]) -> list[Comparison]:
    """Those that both runs have, in the order of the present run. Raises `NotFigures` where a unit has changed."""
    found = []
    for figure in now:
        earlier = before.get(figure.key)
        if earlier is None:
            continue
        if earlier.unit != figure.unit:
            raise NotFigures(f"{figure.key} was measured in {earlier.unit}, now in {figure.unit}: not comparable")
        found.append(Comparison(figure.key, figure.unit, earlier.median, figure.median))
    return found


def differences(before: Mapping[str, Figure], now: Iterable[Figure]) -> dict[str, tuple[Any, Any]]:
    """What was different around the two runs; ratios say little where the machine is another one."""
    earlier = next(iter(before.values())).environment if before else {}
    present = next(iter(now)).environment
    names = dict.fromkeys([*earlier, *present])
    return {name: (earlier.get(name), present.get(name)) for name in names if earlier.get(name) != present.get(name)}
