"""Which addresses a plan may have called: only hosts that the site has listed.

Judged by text alone, when a plan is validated and again when the step runs; nothing is resolved here. What a listed
name resolves to is checked where the call is made (`kubernaut.execution.external`).
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from kubernaut.plan.dialects.urls import why_forbidden

MAX_URL = 2_000


def refusal(url: str, listed: Sequence[str]) -> str | None:
    """Why this URL is not called, and the remedy; None where it may be.

    :param listed: the setting `webhook_hosts`: `host` (any port) or `host:port`, exactly as in the URL. Only such an
        entry opens an address that is refused otherwise (this machine, a literal metadata address)
    """
    if len(url) > MAX_URL:
        return f"the URL is longer than {MAX_URL} characters"
    reason = why_forbidden(url)
    parts = _split(url)
    if parts is None:
        return f"the URL is refused: {reason or 'it cannot be read'}"
    host, port = parts
    if _is_listed(host, port, listed):
        return None
    if reason is not None:
        return f"the URL is refused: {reason}"
    return f"host {host!r} is not in the setting webhook_hosts; an administrator may add it there"


def _split(url: str) -> tuple[str, int | None] | None:
    """Host and port of an http(s) URL without credentials; None for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    unclean = any(char.isspace() or not char.isprintable() or char == "\\" for char in url)
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or not parts.hostname or unclean:
        return None
    return parts.hostname.lower(), port or (443 if parts.scheme == "https" else 80)


def _is_listed(host: str, port: int | None, listed: Sequence[str]) -> bool:
    names = {entry.strip().lower() for entry in listed}
    bracketed = f"[{host}]" if ":" in host else host
    return bool(names & {host, bracketed, f"{bracketed}:{port}"})
