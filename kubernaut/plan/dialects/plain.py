"""What must not stand in a string that a plan acts on: templates, substitutions, pipes and `;`.

Nothing here renders, resolves or runs anything, and nothing later does either; the scan exists so that a plan which
counts on being rendered or put before a shell is refused instead of carried out literally. Used by the dialects and by
`kubernaut.plan.validate` for our own form. Reasoning and descriptions are plain text and are not scanned.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pydantic import JsonValue

from kubernaut.cluster.objects import escape
from kubernaut.errors import Fault

_MARKS = ("{{", "}}", "{%", "$(", "${", "`", "|", ";")
CEL = "$cel"


def mark(text: str) -> str | None:
    """The first mark of a template or a shell that `text` holds; None for plain text."""
    found = [(text.index(sign), sign) for sign in _MARKS if sign in text]
    return min(found)[1] if found else None


def marks(value: JsonValue, pointer: str = "", *, expressions: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Pointer and mark of every string (keys too) under `value` that is not plain.

    :param expressions: pointers of strings that are CEL (`||` is an operator there); `{"$cel": …}` is skipped by itself
    """
    if isinstance(value, str):
        found = mark(value)
        if found and pointer not in expressions:
            yield pointer, found
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from marks(item, f"{pointer}/{index}", expressions=expressions)
    elif isinstance(value, dict) and set(value) != {CEL}:
        for key, item in value.items():
            place = f"{pointer}/{escape(key)}"
            found = mark(key)
            if found:
                yield place, found
            yield from marks(item, place, expressions=expressions)


def template_fault(pointer: str, found: str) -> Fault:
    """The fault for a mark in a parameter, name or target."""
    return Fault(
        pointer=pointer,
        code="template_in_value",
        message=f"the text holds {found!r}; nothing in a plan is rendered or run by a shell",
        remedy='Write the value itself; a computed one is {"$cel": "…"} in our own form.',
    )
