"""The card of a plan in the terminal: `kubernaut.plan.card` draws it, this asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubernaut.examination import Examination


def card_lines(found: Examination, *, mermaid: bool) -> Sequence[str] | None:
    """None where there is no workflow to draw."""
    return None
