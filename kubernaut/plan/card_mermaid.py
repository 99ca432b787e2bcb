"""A card's graph as a Mermaid flowchart, for pages and documents that draw it.

Called by the CLI (`plan show --mermaid`). Node ids are ours; whatever else comes from a plan is written as character
references where Mermaid, Markdown or HTML could read it as anything but text.
"""

from __future__ import annotations

from collections.abc import Iterator

from kubernaut.plan.card import Card, CardStep
from kubernaut.plan.model import EdgeOutcome

_ARROWS = {
    EdgeOutcome.SUCCESS: '-->|"succeeded"|',
    EdgeOutcome.STAGE: '==>|"it or its fallback succeeded"|',
    EdgeOutcome.FAILURE: '-.->|"failed"|',
    EdgeOutcome.END: '-->|"ended"|',
}
_PLAIN = frozenset(" .,:-_/()'")


def render_mermaid(card: Card) -> str:
    """The flowchart, ending without a line break."""
    return "\n".join(_lines(card))


def _lines(card: Card) -> Iterator[str]:
    nodes = {step.id: f"n{number}" for number, step in enumerate(card.steps, start=1)}
    yield "flowchart TD"
    for step in card.steps:
        yield f'    {nodes[step.id]}["{_label(step)}"]'
    for edge in card.edges:
        yield f"    {nodes[edge.upstream]} {_ARROWS[edge.outcome]} {nodes[edge.step]}"


def _label(step: CardStep) -> str:
    lines = [f"{step.id}: {step.name}", f"{step.action} on {step.target}"]
    if step.when:
        lines.append(f"if {step.when}")
    return "<br/>".join(escaped(line) for line in lines)


def escaped(text: str) -> str:
    """Letters, digits and harmless signs as they are, everything else as a Mermaid entity (`#35;`)."""
    return "".join(one if one.isalnum() or one in _PLAIN else f"#{ord(one)};" for one in text)
