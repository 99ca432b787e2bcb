"""What several routes read from a request: where this server is, the tracking id, the idempotency key, and what is wrong
with its query.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_origin

from airflow.configuration import conf
from fastapi import Depends, Header, Request
from fastapi._compat import ModelField
from fastapi.dependencies.utils import request_params_to_args
from starlette.datastructures import QueryParams

from kubernaut.errors import Fault, InvalidInput
from kubernaut.settings import get_settings
from kubernaut.store.history import Filters, page_statement
from kubernaut_plugin.api.problems import faulty, remedy_of
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


# --- the query


def query_faults(query: QueryParams, fields: Sequence[ModelField]) -> list[Fault]:
    """Everything that is wrong with a query, at once: names, how often they are given, and their values."""
    known = {field.alias: field for field in fields}
    faults = [fault for name in dict.fromkeys(query) if (fault := _misused(name, query.getlist(name), known))]
    reported = {fault.pointer for fault in faults}
    _, errors = request_params_to_args(fields, query)
    values = [_unusable(error, query) for error in errors]
    if "cursor" in known and query.get("cursor") is not None:
        values += _cursor_faults(query["cursor"])
    return faults + [fault for fault in values if fault.pointer not in reported]


def _misused(name: str, values: Sequence[str], known: Mapping[str, ModelField]) -> Fault | None:
    if name not in known:
        listed = ", ".join(sorted(known)) or "none"
        return _fault(name, "unknown_parameter", "there is no such parameter", f"Known here: {listed}.")
    if len(values) > 1 and get_origin(known[name].field_info.annotation) not in (list, tuple, set):
        return _fault(name, "repeated_parameter", "it is given more than once", "Give it once.")
    if any("\0" in value for value in values):
        return _fault(name, "invalid_text", "it holds the character NUL", "Remove it.")
    return None


def _cursor_faults(cursor: str) -> Sequence[Fault]:
    """The store's own judgement, made before anything is read: it belongs to the faults of the other parameters."""
    try:
        page_statement(Filters(), cursor=cursor)
    except InvalidInput as error:
        return error.faults
    return ()


def _unusable(error: Mapping[str, Any], query: QueryParams) -> Fault:
    """One finding of pydantic, in the words of a query (`Any`: its own document)."""
    _, name, *rest = error["loc"]
    place = "/".join(str(part) for part in rest) if len(query.getlist(name)) > 1 else ""
    kind = str(error["type"])
    fault = _fault(name, kind, str(error["msg"]), remedy_of(kind, error.get("ctx") or {}))
    if kind.startswith(("datetime", "timezone")):
        fault = fault.model_copy(update={"message": "this is no time with a time zone"})
    return fault.model_copy(update={"pointer": f"{fault.pointer}/{place}"}) if place else fault


def _fault(name: str, code: str, message: str, remedy: str) -> Fault:
    pointer = "/" + name.replace("~", "~0").replace("/", "~1")
    return Fault(pointer=pointer[:200], code=code, message=message, remedy=remedy)
