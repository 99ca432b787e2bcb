"""Foreign text is shown in one line, shortened, with nothing hidden in it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut.plan.foreign_text import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Scale checkout to 5", "Scale checkout to 5"),
        ("größer, 東京", "größer, 東京"),
        ("two\nlines\r\tand a tab", "two\\nlines\\r\\tand a tab"),
        ("\x1b[2Jgone", "\\u{1b}[2Jgone"),
        ("abc\u202edcba", "abc\\u{202e}dcba"),
        ("zero\u200bwidth", "zero\\u{200b}width"),
        ("nul\0", "nul\\u{0}"),
        ("half \ud800 a pair", "half \\u{d800} a pair"),
        ("a\u2028b", "a\\u{2028}b"),
        ("no\u00a0break", "no break"),
        ("\u3164", "\\u{3164}"),
        ("\\u{1b}", "\\\\u{1b}"),
    ],
)
def test_what_would_hide_is_shown_as_what_it_is(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_long_text_is_cut_and_says_how_much_is_missing() -> None:
    assert visible("x" * 250, 200) == "x" * 200 + "… (+50 characters)"


def test_towers_of_marks_are_taken_down() -> None:
    shown = visible("e" + "\u0301" * 50)
    assert sum(bool(unicodedata.combining(one)) for one in shown) == 4


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    categories = {unicodedata.category(one) for one in visible(text)}
    assert not categories & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
