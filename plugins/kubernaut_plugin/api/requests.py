"""What several routes read from a request: where this server is, the tracking id, the idempotency key."""

import re
from typing import Annotated

from airflow.configuration import conf
from fastapi import Depends, Header, Request

from kubernaut.errors import Fault
from kubernaut.settings import get_settings
from kubernaut_plugin.api.problems import faulty
from kubernaut_plugin.api.views import Addresses

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def addresses(request: Request) -> Addresses:
    """Paths of this API relative to the server, whatever the name is by which it was called."""
    airflow = conf.get("api", "base_url", fallback=None) or get_settings().api_url
    return Addresses(api=f"{request.scope.get('root_path', '').rstrip('/')}/api/v1", airflow=airflow.rstrip("/"))


Here = Annotated[Addresses, Depends(addresses)]


def tracking_id(
    x_tracking_id: Annotated[
        str | None, Header(description="Follows the request through everything that comes of it.")
    ] = None,
) -> str | None:
    return x_tracking_id


def idempotency_key(
    idempotency_key: Annotated[
        str | None, Header(description="The same request with the same key starts once; 1 to 255 printable characters.")
    ] = None,
) -> str | None:
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        fault = Fault(
            pointer="/Idempotency-Key",
            code="invalid_header",
            message="this is no key",
            remedy="Send 1 to 255 printable ASCII characters without spaces, e.g. a UUID.",
        )
        raise faulty(400, "invalid_header", [fault])
    return idempotency_key


TrackingId = Annotated[str | None, Depends(tracking_id)]
IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]


def one_tracking_id(in_header: str | None, in_body: str | None) -> str | None:
    """Both may be given where they say the same. Raises `Problem` 422."""
    if in_header is not None and in_body is not None and in_header != in_body:
        fault = Fault(
            pointer="/tracking_id",
            code="conflicting_tracking_ids",
            message="the header X-Tracking-Id and the body name different ones",
            remedy="Send one of them.",
        )
        raise faulty(422, "invalid_request", [fault])
    return in_body if in_body is not None else in_header
