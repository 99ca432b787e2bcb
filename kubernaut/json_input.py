"""Reads JSON that came from outside: a plan, a signal, a request's body.

Called by `kubernaut.plan.examine`, the REST API and the CLI before anything else sees the input. The size and the depth
are checked before the parser runs, so that no input makes it use much memory or recurse. What comes out can be stored:
finite numbers of at most 64 bits, no duplicate keys, no NUL, no lone surrogates. **It never repairs**: an answer with a
trailing comma, a code fence or prose around it is refused with a remedy that names the defect.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from pydantic import JsonValue

from kubernaut.errors import Fault, InvalidInput

_STRUCTURE = re.compile(r'["\[\]{}\\]')
_MAX_INT = 2**63 - 1
_MIN_INT = -(2**63)


def read_json(data: bytes | str, *, max_bytes: int, max_nesting: int) -> JsonValue:
    """The value that `data` holds.

    :param max_bytes: largest input, in bytes of UTF-8 (setting `max_plan_bytes`)
    :param max_nesting: deepest nesting of objects and arrays (setting `max_nesting`)
    :raises InvalidInput: with every fault that could be found
    """
    text = _decode(data, max_bytes)
    _check_depth(text, max_nesting)
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_NotFinite, parse_int=_integer, parse_float=float
        )
    except json.JSONDecodeError as error:
        raise InvalidInput([_syntax_fault(text, error)]) from None
    faults = list(_content_faults(value, ""))
    if faults:
        raise InvalidInput(faults)
    return value  # type: ignore[no-any-return]


# --- before the parser


def _decode(data: bytes | str, max_bytes: int) -> str:
    size = len(data) if isinstance(data, bytes) else len(data.encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        raise _stop(
            "json_too_large",
            f"the input has {size} bytes, {max_bytes} are read",
            "Send a smaller plan, or raise the setting max_plan_bytes.",
        )
    if isinstance(data, str):
        text = data
    else:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _stop(
                "json_encoding", f"byte {error.start} is not UTF-8: {error.reason}", "Send the JSON as UTF-8."
            ) from None
    if text.startswith("\ufeff"):
        raise _stop("json_encoding", "the input begins with a byte order mark", "Send UTF-8 without one.")
    if not text.strip(" \t\r\n"):
        raise _stop("json_empty", "the input is empty", "Send one JSON object.")
    return text


def _check_depth(text: str, max_nesting: int) -> None:
    """Counts brackets outside strings, in one pass and without recursion."""
    depth, in_string, skip = 0, False, -1
    for match in _STRUCTURE.finditer(text):
        if match.start() == skip:
            continue
        char = match.group()
        if in_string:
            if char == "\\":
                skip = match.start() + 1
            elif char == '"':
                in_string = False
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth += 1
            if depth > max_nesting:
                raise _stop(
                    "json_too_deep",
                    f"objects and arrays are nested more than {max_nesting} deep (character {match.start()})",
                    "Send a flatter document, or raise the setting max_nesting.",
                )
        elif char in "]}":
            depth -= 1


# --- what the parser hands over


class _NotFinite:
    """Stands for `NaN` or `Infinity` until its place is known."""

    def __init__(self, text: str) -> None:
        self.text = text


class _OutOfRange:
    """Stands for an integer of more than 64 bits until its place is known."""

    def __init__(self, text: str) -> None:
        self.text = text if len(text) <= 40 else f"{text[:40]}…"


class _Duplicated(dict[str, Any]):
    """An object in which a key was given more than once."""

    keys_given_twice: tuple[str, ...] = ()


def _integer(text: str) -> int | _OutOfRange:
    if len(text) > 20:
        return _OutOfRange(text)
    number = int(text)
    return number if _MIN_INT <= number <= _MAX_INT else _OutOfRange(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) == len(pairs):
        return plain
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for key, _ in pairs:
        if key in seen:
            twice[key] = None
        seen.add(key)
    marked = _Duplicated(plain)
    marked.keys_given_twice = tuple(twice)
    return marked


def _content_faults(value: Any, pointer: str) -> Iterator[Fault]:
    if isinstance(value, dict):
        yield from _object_faults(value, pointer)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _content_faults(item, f"{pointer}/{index}")
    elif isinstance(value, str):
        yield from _text_faults(value, pointer)
    elif isinstance(value, _NotFinite) or (isinstance(value, float) and not math.isfinite(value)):
        shown = value.text if isinstance(value, _NotFinite) else "a number beyond 1e308"
        yield _fault(pointer, "json_not_finite", f"{shown} is no JSON number", "Give a finite number, or leave it out.")
    elif isinstance(value, _OutOfRange):
        yield _fault(
            pointer, "json_number_out_of_range", f"{value.text} needs more than 64 bits", "Give a smaller number."
        )


def _object_faults(value: dict[str, Any], pointer: str) -> Iterator[Fault]:
    if isinstance(value, _Duplicated):
        for key in value.keys_given_twice:
            yield _fault(
                f"{pointer}/{_segment(key)}",
                "json_duplicate_key",
                f"the key {key!r} is given more than once in this object",
                "Give it once; which of the values is meant is not guessed.",
            )
    for key, item in value.items():
        place = f"{pointer}/{_segment(key)}"
        yield from _text_faults(key, place)
        yield from _content_faults(item, place)


def _text_faults(text: str, pointer: str) -> Iterator[Fault]:
    if "\0" in text:
        yield _fault(pointer, "json_control_character", "the text holds a NUL character", "Remove it.")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        yield _fault(
            pointer, "json_lone_surrogate", "the text holds half of a surrogate pair", "Send whole characters."
        )


def _segment(key: str) -> str:
    """A key as a pointer's segment that can be printed and stored whatever it holds."""
    shown = key.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\u0000")
    return shown.replace("~", "~0").replace("/", "~1")


# --- naming the defect


_COMMENT = re.compile(r"//|/\*|#")
_WORD = re.compile(r"[A-Za-z_$][\w$-]*")
_PYTHON_WORD = re.compile(r"(None|True|False|undefined)\b")


def _syntax_fault(text: str, error: json.JSONDecodeError) -> Fault:
    defect, remedy = _defect(text, error)
    return _fault("", "json_syntax", f"line {error.lineno}, column {error.colno}: {defect}", remedy)


def _defect(text: str, error: json.JSONDecodeError) -> tuple[str, str]:
    position = error.pos
    rest = text[position:]
    before = text[:position].rstrip()
    if "```" in (text.lstrip()[:3], rest.lstrip()[:3]):
        return "the JSON stands in a code fence (```)", "Send the object alone, without the fence."
    if error.msg == "Extra data":
        return "something follows the JSON value", "Send one JSON object and nothing after it."
    if not before and not rest.lstrip().startswith(("{", "[")) and ("{" in rest):
        return "there is text before the JSON object", "Send the object alone, without prose around it."
    if not rest.strip():
        return (
            "the input ends inside the JSON: a closing brace, bracket or quote is missing",
            "Send the whole object; the answer may have been cut off.",
        )
    return _local_defect(error, before, rest)


def _local_defect(error: json.JSONDecodeError, before: str, rest: str) -> tuple[str, str]:
    char = rest.lstrip()[:1]
    if error.msg.startswith("Illegal trailing comma") or (before.endswith(",") and char in ("}", "]")):
        return "there is a trailing comma", "Remove the comma before the closing brace or bracket."
    if error.msg.startswith("Unterminated string"):
        return "a string has no closing quote", "Close the string; the answer may have been cut off."
    if error.msg.startswith("Invalid control character"):
        return "a string holds a raw line break or control character", "Write it as an escape, such as \\n."
    if _COMMENT.match(rest):
        return "there is a comment", "Remove it; JSON has no comments."
    if char == "'":
        return "there are single quotes", "Use double quotes."
    if error.msg.startswith("Expecting property name") and _WORD.match(rest):
        return f"the key {_word(rest)} is not quoted", "Put keys in double quotes."
    if _PYTHON_WORD.match(rest):
        return f"{_word(rest)} is no JSON value", "Use null, true or false."
    if error.msg == "Expecting ',' delimiter":
        return "a comma or a closing brace or bracket is missing", "Separate the parts with a comma."
    return error.msg[:1].lower() + error.msg[1:], "Send one valid JSON object."


def _word(rest: str) -> str:
    match = _WORD.match(rest)
    return repr(match.group()[:40]) if match else repr(rest[:1])


def _fault(pointer: str, code: str, message: str, remedy: str) -> Fault:
    return Fault(pointer=pointer, code=code, message=message, remedy=remedy)


def _stop(code: str, message: str, remedy: str) -> InvalidInput:
    return InvalidInput([_fault("", code, message, remedy)])
