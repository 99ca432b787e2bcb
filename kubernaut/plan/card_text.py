"""A card as plain text: 100 columns, nothing that needs a terminal, read from top to bottom at 3 a.m.

Called by the CLI and the REST API. It lays out what `plan.card` has collected and adds no facts.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from kubernaut.plan.card import Card, CardEdge, CardStep
from kubernaut.plan.model import EdgeOutcome

WIDTH = 100
_LABEL = 12

_WAITS = {
    EdgeOutcome.SUCCESS: "when {} succeeded",
    EdgeOutcome.STAGE: "when {} or its fallback succeeded",
    EdgeOutcome.FAILURE: "only if {} failed for good",
    EdgeOutcome.END: "after the end of {}, whatever came of it",
}


def render_text(card: Card) -> str:
    """The whole card, ending without a line break."""
    return "\n".join(line.rstrip() for line in _lines(card))


def waits_text(waits: Sequence[CardEdge]) -> str:
    """What a step waits for, in words; steps with the same outcome together."""
    by_outcome: dict[EdgeOutcome, list[str]] = {}
    for edge in waits:
        by_outcome.setdefault(edge.outcome, []).append(edge.upstream)
    parts = [_WAITS[outcome].format(_and(names)) for outcome, names in by_outcome.items()]
    return "; ".join(parts) or "at once"


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _lines(card: Card) -> Iterator[str]:
    yield f"PLAN {card.plan_id}"
    for label, text in (
        ("signal", card.signal),
        ("target", card.target),
        ("judged", card.assessment),
        ("failure", card.policy),
        ("DAG", card.dag_id),
        ("hash", card.hash),
        ("reasoning", card.reasoning),
    ):
        if text:
            yield from _field(label, text, 2)
    yield from _section("A PERSON IS ASKED, because", card.questions)
    yield from _section("WARNINGS", card.warnings)
    yield ""
    yield "ORDER (steps of one number may run at the same time)"
    yield from _order(card)
    for step in card.steps:
        yield ""
        yield from _step(step)
    yield from _section("THE WHOLE SUCCEEDS WHEN", card.success_criteria)
    yield from _section("IT FAILS AT ONCE WHEN", card.rollback_triggers)
    yield from _section("NOT CHECKED HERE", card.unchecked)


def _section(title: str, texts: Sequence[str]) -> Iterator[str]:
    if texts:
        yield ""
        yield title
        for text in texts:
            yield from _wrapped(text, "  - ", "    ")


def _order(card: Card) -> Iterator[str]:
    width = max(len(step.id) for step in card.steps)
    for number, level in enumerate(card.levels, start=1):
        for place, step_id in enumerate(level):
            mark = f"{number:>4}" if place == 0 else "    "
            step = card.step(step_id)
            indent = " " * (6 + min(width, 30) + 2)
            yield from _wrapped(f"{step.name} ({waits_text(step.waits)})", f"{mark}  {step_id.ljust(width)}  ", indent)


def _step(step: CardStep) -> Iterator[str]:
    marks = [step.key, None if step.action == step.name else step.action, "optional" if step.optional else None]
    shown = ", ".join(mark for mark in marks if mark)
    yield from _wrapped(f"{step.name} [{shown}]" if shown else step.name, f"STEP {step.id}: ", "     ")
    for label, text in (
        ("starts", waits_text(step.waits)),
        ("if", step.when),
        ("target", step.target),
        ("change", step.change),
        ("parameters", step.params),
        ("approval", "this step needs one of its own accord" if step.requires_approval else None),
    ):
        if text:
            yield from _field(label, text, 2)
    for condition in step.post_conditions or ("nothing is checked after it",):
        yield from _field("proof", condition, 2)
    yield from _field("undo", step.undo, 2)
    if step.limits:
        yield from _field("limits", step.limits, 2)


def _field(label: str, text: str, indent: int) -> Iterator[str]:
    yield from _wrapped(text, " " * indent + label.ljust(_LABEL), " " * (indent + _LABEL))


def _wrapped(text: str, first: str, rest: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=True, break_on_hyphens=False
    ) or [first]
