"""Takes secrets out of text before it reaches a log, an XCom or an audit event.

Text of alerts, models and clusters may hold them: whatever looks like a credential by its form, or stands behind a word
that announces one, is replaced. It errs towards taking too much; the originals stay in the store alone. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MASK = "•••"

_ANNOUNCED = re.compile(
    r"(?i)\b([\w.-]*(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|credential|authorization)[\w.-]*)"
    r"(\s*[\"']?\s*[:=]\s*[\"']?\s*(?:(?:bearer|basic)\s+)?)([^\s\"',;&]{3,})"
)
_FORMS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*",  # JSON web token
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",  # AWS access key id
        r"\bgh[pousr]_[A-Za-z0-9]{20,}\b",
        r"\bxox[abprs]-[\w-]{10,}",
        r"(?i)\b(?:bearer|basic)\s+[\w.~+/-]{12,}=*",
    )
)
_IN_URL = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(@)")


def redact(text: str) -> str:
    """The text without what looks like a credential."""
    text = _IN_URL.sub(rf"\g<1>{MASK}\g<2>", text)
    for form in _FORMS:
        text = form.sub(MASK, text)
    return _ANNOUNCED.sub(rf"\g<1>\g<2>{MASK}", text)


def redacted(value: Any) -> Any:
    """A JSON value with every string in it redacted (`Any`: JSON)."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {key: redacted(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(each) for each in value]
    return value
