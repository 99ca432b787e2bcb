"""One call to a receiver outside the cluster (a webhook), with the address checked again after it was resolved.

The name was checked against the allow-list when the plan was validated; here it is resolved once, every address is
checked, and the connection goes to exactly the address that was checked, so that a second answer of the DNS changes
nothing. Redirects are not followed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from kubernaut.actions.spec import StepFailure
from kubernaut.errors import ErrorClass

KEY_HEADER = "Idempotency-Key"


class _ForbiddenAddress(OSError):
    """A listed name resolves to an address that no plan may call; the next try would find the same."""


class _CheckedResolver(AbstractResolver):
    """Resolves as the system does and refuses link-local, multicast, unspecified and reserved addresses."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
        results: list[ResolveResult] = []
        for address_family, _, protocol, _, address in found:
            ip = ipaddress.ip_address(address[0])
            if ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved:
                raise _ForbiddenAddress(f"{host} resolves to {ip}, which no plan may call")
            results.append(
                ResolveResult(
                    hostname=host,
                    host=str(ip),
                    port=port,
                    family=address_family,
                    proto=protocol,
                    flags=socket.AI_NUMERICHOST,
                )
            )
        return results

    async def close(self) -> None:
        return None


async def call_once(call: Mapping[str, Any], *, key: str, timeout: float) -> int:
    """Make the call and return its HTTP status (2xx). Raises `StepFailure`; `effect_known` says whether it can have arrived."""
    connector = aiohttp.TCPConnector(resolver=_CheckedResolver(), force_close=True)
    sent = False

    async def on_sent(*_: object) -> None:
        nonlocal sent
        sent = True

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(on_sent)
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(total=timeout), trace_configs=[trace]
            ) as session,
            session.request(
                call["method"],
                call["url"],
                json=call["body"],
                headers={**call.get("headers", {}), KEY_HEADER: key},
                allow_redirects=False,
            ) as answer,
        ):
            status, retry_after = answer.status, answer.headers.get("Retry-After", "")
    except TimeoutError as error:
        raise StepFailure(ErrorClass.TIMEOUT, f"no answer within {timeout:g} s", effect_known=not sent) from error
    except (aiohttp.ClientError, OSError) as error:
        if isinstance(forbidden := getattr(error, "os_error", error), _ForbiddenAddress):
            raise StepFailure(ErrorClass.AUTHORIZATION, str(forbidden)) from error
        raise StepFailure(ErrorClass.NETWORK, f"{type(error).__name__}: {error}", effect_known=not sent) from error
    if 200 <= status < 300:
        return status
    if status == 429:
        seconds = float(retry_after) if retry_after.isdigit() else None
        raise StepFailure(ErrorClass.THROTTLED, "the receiver asks to wait", retry_after=seconds, status=status)
    error_class = ErrorClass.NETWORK if status >= 500 else ErrorClass.VALIDATION
    raise StepFailure(error_class, f"the receiver answered HTTP {status}", effect_known=status < 500, status=status)
