"""Identifiers that we mint: of executions and of what follows one signal through every step, log line and call.

Execution ids sort by time of creation, are valid as a DNS label and as an Airflow run id (which they are), and hold
enough randomness that two processes never mint the same one.
"""

from __future__ import annotations

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32 in lower case: its order is the order of the values, and no two letters look alike."""

_TIME_DIGITS = 9
"""45 bits of milliseconds: until the year 3084."""
_RANDOM_DIGITS = 10
"""50 bits for each millisecond."""


def _encode(value: int, digits: int) -> str:
    letters = [_ALPHABET[(value >> (5 * place)) & 31] for place in reversed(range(digits))]
    return "".join(letters)


def _sortable(at_ms: int | None) -> str:
    moment = time.time_ns() // 1_000_000 if at_ms is None else at_ms
    return _encode(moment, _TIME_DIGITS) + _encode(secrets.randbits(5 * _RANDOM_DIGITS), _RANDOM_DIGITS)


def new_execution_id(at_ms: int | None = None) -> str:
    """`ex-` and 19 letters and digits. `at_ms`: milliseconds since the epoch, now unless told."""
    return f"ex-{_sortable(at_ms)}"


def new_tracking_id(at_ms: int | None = None) -> str:
    """`kn-` and 19 letters and digits; minted only where none came in."""
    return f"kn-{_sortable(at_ms)}"
