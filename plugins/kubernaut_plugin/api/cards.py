"""The card of an examined plan as text, for the person who is asked to approve it."""

from kubernaut.examination import Examination
from kubernaut.plan.card import build_card
from kubernaut.plan.card_text import render_text
from kubernaut.plan.normalise import change_summary


def card_text(examination: Examination) -> str | None:
    """None where there is no plan without faults."""
    card = build_card(examination, summarise=change_summary)
    return None if card is None else render_text(card)
