"""Strings of a plan that must not be what they look like: templates, shell, hidden characters, forbidden addresses.

Used by `kubernaut.plan.validate` for values, names and targets. Nothing here renders or resolves anything. Text for
people (messages, names) is only text: there `;` and `|` are punctuation, but what looks like a template counts on being
rendered, and nothing ever is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import JsonValue

from kubernaut.cluster.objects import escape
from kubernaut.errors import Fault
from kubernaut.plan.dialects import plain, urls

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S*")
_RENDERED = ("{{", "{%", "$(", "${")
_HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def mark_faults(value: JsonValue, at: str) -> Iterator[Fault]:
    """Templates and signs of a shell, and characters that hide what is written."""
    for pointer, found in plain.marks(value, at):
        yield plain.template_fault(pointer, found)
    yield from hidden_faults(value, at)


def prose_faults(value: JsonValue, at: str) -> Iterator[Fault]:
    """Text for people is only text; but what looks like a template counts on being rendered, and nothing is."""
    if isinstance(value, str):
        found = next((sign for sign in _RENDERED if sign in value), None)
        if found is not None:
            yield plain.template_fault(at, found)
        yield from hidden_faults(value, at)


def hidden_faults(value: JsonValue, at: str) -> Iterator[Fault]:
    for pointer, text in _strings(value, at):
        match = _HIDDEN.search(text)
        if match is not None:
            yield Fault(
                pointer=pointer,
                code="control_character",
                message=f"the text holds the control character U+{ord(match.group()):04X}",
                remedy="Remove it.",
            )


def url_faults(value: JsonValue, at: str) -> Iterator[Fault]:
    """URLs in parameters that no executor judges yet."""
    for pointer, text in _strings(value, at):
        why = urls.why_forbidden(text) if _URL.fullmatch(text) else None
        if why is not None:
            yield forbidden_url(pointer, why)


def forbidden_url(pointer: str, why: str) -> Fault:
    return Fault(pointer=pointer, code="url_forbidden", message=f"the URL is refused: {why}", remedy=urls.REMEDY)


def _strings(value: JsonValue, at: str) -> Iterator[tuple[str, str]]:
    """Every string under `value`, keys too, with its pointer."""
    if isinstance(value, str):
        yield at, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, f"{at}/{index}")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield f"{at}/{escape(key)}", key
            yield from _strings(item, f"{at}/{escape(key)}")
