"""The card of a plan in the terminal: `kubernaut.plan.card` makes it, this asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubernaut.examination import Examination


def card_of(found: Examination, *, mermaid: bool) -> str | None:
    """As text, or as a Mermaid diagram; None where there is no plan without faults."""
    from kubernaut.plan.card import build_card
    from kubernaut.plan.normalise import change_summary

    card = build_card(found, summarise=change_summary)
    if card is None:
        return None
    if mermaid:
        from kubernaut.plan.card_mermaid import render_mermaid

        return render_mermaid(card)
    from kubernaut.plan.card_text import render_text

    return render_text(card)
