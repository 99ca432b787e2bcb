"""Text that is not ours (an AI's, an alert's, a cluster's), made safe to look at.

Used wherever such text stands beside our own: the card, reasons of a verdict, log lines. It is shortened, and
characters that would move the cursor, hide themselves or turn the direction of reading are shown as what they are.
This is no escaping for a markup language: each renderer does its own on top.
"""

from __future__ import annotations

import unicodedata

_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
"""Control, format (bidirectional marks, zero width), private use, half surrogates, unassigned, line separators."""
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f")
"""Letters, by their category, that nobody sees."""
_MAX_MARKS = 4
"""Combining marks upon one character that are still writing; more of them climb over the lines above."""


def visible(text: str, limit: int = 200) -> str:
    """`text` in one line of at most `limit` characters before escaping, with nothing hidden in it.

    A backslash is doubled, so that what looks like an escape and was text is told apart from one that we wrote.
    """
    shown: list[str] = []
    marks = 0
    for character in text[:limit]:
        marks = marks + 1 if unicodedata.combining(character) else 0
        shown.append(_shown(character, hidden=marks > _MAX_MARKS))
    rest = len(text) - limit
    return "".join(shown) + (f"… (+{rest} characters)" if rest > 0 else "")


def _shown(character: str, *, hidden: bool) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if hidden or character in _BLANK or unicodedata.category(character) in _INVISIBLE_CATEGORIES:
        return f"\\u{{{ord(character):x}}}"
    return " " if unicodedata.category(character) == "Zs" else character
