"""Kubernetes quantities (`64Mi`, `500m`) and int-or-percent values as numbers.

Why it exists: validation compares requests with limits, faults compare memory limits, rollouts scale percentages.
"""

from __future__ import annotations

import re
from decimal import Decimal

_QUANTITY = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?\d+)?$")
_SUFFIXES = {
    None: Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15,
    "E": Decimal(10) ** 18,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
    "Pi": Decimal(2) ** 50,
    "Ei": Decimal(2) ** 60,
}


def parse_quantity(text: str) -> Decimal:
    """In base units (bytes, cores). Raises `ValueError` with Kubernetes' text."""
    match = _QUANTITY.match(text)
    if not match:
        raise ValueError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    suffix = match[2]
    if suffix not in _SUFFIXES:
        return Decimal(match[1]) * Decimal(10) ** int(suffix[1:])
    return Decimal(match[1]) * _SUFFIXES[suffix]


def scaled(value: int | str, total: int, *, round_up: bool) -> int:
    """An int-or-percent of `total`. Raises `ValueError` for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"\d+%", value):
        raise ValueError("must be an integer or percentage (e.g '5%%')")
    product = int(value[:-1]) * total
    return -(-product // 100) if round_up else product // 100
