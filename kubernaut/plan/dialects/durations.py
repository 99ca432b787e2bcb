"""Durations as AIs write them: Go strings (`30s`, `5m`, `1h30m`) or plain seconds."""

from __future__ import annotations

import re

from pydantic import JsonValue

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3_600.0}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(ns|us|µs|ms|s|m|h)")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")
LONGEST = 86_400.0
REMEDY = "Write it as '30s', '5m' or '1h30m', or as a number of seconds; more than 0, at most 24 hours."


def seconds(value: JsonValue) -> float | None:
    """Seconds, or None for what is no positive duration of at most a day. A bare number is seconds."""
    found = _seconds(value)
    return found if found is not None and 0 < found <= LONGEST else None


def _seconds(value: JsonValue) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str) or len(value) > 64 or not _WHOLE.fullmatch(value):
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(value))
