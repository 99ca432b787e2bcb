"""Which step waits for what in an answer with a primary action (BR-WF-018, BR-WF-020).

From condition words, execution orders and prerequisites to edges. Among the secondaries of one condition, lower
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

from kubernaut.actions import catalogue
from kubernaut.plan.dialects.action import Action, number
from kubernaut.plan.model import MAX_STEPS, EdgeOutcome
from kubernaut.plan.provenance import Reader, shown


class When(StrEnum):
    """The condition of a secondary action."""

    IF_PRIMARY_FAILS = "if_primary_fails"
    AFTER_PRIMARY = "after_primary"
    PARALLEL_WITH_PRIMARY = "parallel_with_primary"


_WORDS = ", ".join(When)


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
            # Its own success says more than "it or its fallback"; one step waits for another in one way only.
            found[secondary.id].pop((needed, EdgeOutcome.STAGE), None)
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


# --- reading them


def read_order(readers: list[Reader], actions: list[Action], known: list[Action], *, primary: str) -> dict[str, str]:
    """Conditions, orders and prerequisites become edges; returns each step's condition in the AI's words."""
    conditions: dict[str, str] = {}
    secondaries: list[Secondary] = []
    for reader, action in zip(readers, actions, strict=True):
        when = _read_condition(reader, action, conditions)
        order = number(reader, "execution_order")
        needs = _read_prerequisites(reader, action, known)
        if order is not None:
            reader.ledger.field(reader.at("execution_order"), f"{action.step}/depends_on")
        if when is not None:
            secondaries.append(Secondary(id=action.id, when=when, order=order or 0, needs=needs))
    _require_orders(readers, actions, secondaries)
    for step, wanted in edges(primary, secondaries).items():
        action = next(action for action in actions if action.id == step)
        action.draft["depends_on"] = [{"step": other, "outcome": outcome.value} for other, outcome in wanted]
        _refuse_contradiction(action, wanted, action_reader=readers[actions.index(action)])
    return conditions


def _read_condition(reader: Reader, action: Action, conditions: dict[str, str]) -> When | None:
    plan = f"{action.step}/depends_on"
    word = reader.text("condition", plan=plan)
    if word is None:
        if not reader.has("condition"):
            reader.missing("condition", f"one of {_WORDS}", plan=plan)
        return None
    conditions[action.id] = word
    if word in list(When):
        reader.ledger.field(reader.at("condition"), plan)
        return When(word)
    near = reader.ledger.near_miss(word, list(When))
    reader.ledger.fault(
        reader.at("condition"),
        "unknown_condition",
        f"{shown(word)} is no condition of a secondary action",
        f"{f'Did you mean {near!r}? ' if near else ''}Use one of {_WORDS}.",
        plan=plan,
    )
    return None


def _require_orders(readers: list[Reader], actions: list[Action], secondaries: list[Secondary]) -> None:
    """An order may be left out only where there is nothing to order."""
    for secondary in secondaries:
        position = next(index for index, action in enumerate(actions) if action.id == secondary.id)
        alone = sum(other.when is secondary.when for other in secondaries) == 1
        if not alone and not readers[position].has("execution_order"):
            readers[position].missing(
                "execution_order", "the order among the actions of the same condition", plan=f"/order/{secondary.id}"
            )


def _read_prerequisites(reader: Reader, action: Action, known: list[Action]) -> tuple[str, ...]:
    needs = []
    for pointer, text in reader.texts("prerequisites", at_most=MAX_STEPS):
        matches = _named(text, action, known)
        if len(matches) == 1:
            needs.append(matches[0].id)
            reader.ledger.field(pointer, f"{action.step}/depends_on")
        elif matches:
            ids = ", ".join(match.id for match in matches)
            reader.ledger.fault(
                pointer,
                "ambiguous_prerequisite",
                f"{shown(text)} names several actions: {ids}",
                "Name an action that occurs once.",
            )
        else:
            near = reader.ledger.near_miss(text, [other.name or "" for other in known if other is not action])
            reader.ledger.fault(
                pointer,
                "dangling_prerequisite",
                f"no other action of this answer is {shown(text)}",
                f"Did you mean {near!r}?" if near else "Name an action of this answer that must have succeeded.",
            )
    return tuple(needs)


def _named(text: str, action: Action, known: list[Action]) -> list[Action]:
    """The actions that a prerequisite names: by the same word first, then by any name of the same action."""
    others = [other for other in known if other is not action]
    same_word = [other for other in others if other.name == text or other.id == text]
    if same_word:
        return same_word
    spec = catalogue.find(text)
    return [other for other in others if spec is not None and other.spec is not None and other.spec.name == spec.name]


def _refuse_contradiction(
    action: Action, wanted: tuple[tuple[str, EdgeOutcome], ...], *, action_reader: Reader
) -> None:
    succeeded = {step for step, outcome in wanted if outcome is EdgeOutcome.SUCCESS}
    failed = {step for step, outcome in wanted if outcome is EdgeOutcome.FAILURE}
    for step in sorted(succeeded & failed):
        action_reader.ledger.fault(
            action_reader.at("prerequisites"),
            "contradictory_prerequisite",
            f"{action.id} runs only when {step} failed, and needs it to have succeeded",
            "Remove the prerequisite, or choose another condition.",
            plan=f"{action.step}/depends_on",
        )
