"""The card of an examined plan as text, for the person who is asked to approve it."""

from kubernaut.examination import Examination


def card_text(examination: Examination) -> str | None:
    """None where there is no plan to show."""
    return None
