"""Which step waits for what in an answer with a primary action (BR-WF-018, BR-WF-020).

Pure: from condition words, execution orders and prerequisites to edges. Among the secondaries of one condition, lower
orders go first and equal ones run in parallel:

- `if_primary_fails`: a failure edge on the primary and on every fallback of a lower order (a later one is tried only if
  all before it failed);
- `after_primary`: a success edge on the primary; a higher order also waits for the stage before it;
- `parallel_with_primary`: no edge; a higher order waits for the stage before it.

Stage edges let a step that failed be saved by its own fallback. Prerequisites add success edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from kubernaut.plan.model import EdgeOutcome


class When(StrEnum):
    """The condition of a secondary action."""

    IF_PRIMARY_FAILS = "if_primary_fails"
    AFTER_PRIMARY = "after_primary"
    PARALLEL_WITH_PRIMARY = "parallel_with_primary"


@dataclass(frozen=True, kw_only=True)
class Secondary:
    id: str
    when: When
    order: float
    needs: tuple[str, ...] = ()
    """Ids of the steps that must have succeeded."""


Edges = tuple[tuple[str, EdgeOutcome], ...]


def edges(primary: str, secondaries: Sequence[Secondary]) -> Mapping[str, Edges]:
    """The edges of each secondary, as (step, outcome), without repetitions."""
    found: dict[str, dict[tuple[str, EdgeOutcome], None]] = {secondary.id: {} for secondary in secondaries}
    for when in When:
        lower: list[Secondary] = []
        previous: list[Secondary] = []
        for stage in _stages([secondary for secondary in secondaries if secondary.when is when]):
            for secondary in stage:
                for edge in _edges(when, primary, lower, previous):
                    found[secondary.id][edge] = None
            lower += stage
            previous = stage
    for secondary in secondaries:
        for needed in secondary.needs:
            found[secondary.id][(needed, EdgeOutcome.SUCCESS)] = None
    return {step: tuple(wanted) for step, wanted in found.items()}


def _stages(secondaries: Sequence[Secondary]) -> list[list[Secondary]]:
    """Lowest order first, equal orders together, each in list order."""
    return [list(stage) for _, stage in groupby(sorted(secondaries, key=_order), key=_order)]


def _order(secondary: Secondary) -> float:
    return secondary.order


def _edges(when: When, primary: str, lower: Sequence[Secondary], previous: Sequence[Secondary]) -> Edges:
    stage = tuple((step.id, EdgeOutcome.STAGE) for step in previous)
    if when is When.IF_PRIMARY_FAILS:
        return ((primary, EdgeOutcome.FAILURE), *((step.id, EdgeOutcome.FAILURE) for step in lower))
    if when is When.AFTER_PRIMARY:
        return ((primary, EdgeOutcome.SUCCESS), *stage)
    return stage
