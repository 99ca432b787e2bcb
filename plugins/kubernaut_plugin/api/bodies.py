"""Reads the JSON body of a request: never more of it than the setting `max_plan_bytes`, never deeper than allowed, and
with every fault at once. FastAPI's own reading of bodies is not used: it takes any size whole.
"""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from anyio import to_thread
from fastapi import Request
from pydantic import BaseModel, JsonValue, ValidationError

from kubernaut.errors import Fault, InvalidInput
from kubernaut.json_input import read_json
from kubernaut.settings import get_settings
from kubernaut_plugin.api.problems import Problem, fault_of, faulty

_DISCARDED = 64 * 1024 * 1024
"""How much of a body that is too large is received and thrown away: a client that is still sending sees no answer."""

M = TypeVar("M", bound=BaseModel)


def json_body(model: type[M]) -> Callable[[Request], Coroutine[Any, Any, M]]:
    """A dependency that gives the body as `model`; an absent body is `{}`. Raises `Problem`: 400, 413, 422."""

    async def read(request: Request) -> M:
        text = await _received(request, get_settings().max_plan_bytes)
        document = await to_thread.run_sync(_parsed, text) if text.strip() else {}
        return _understood(model, document)

    return read


def takes(model: type[BaseModel], *, required: bool = True) -> dict[str, Any]:
    """The body for the OpenAPI document (`openapi_extra` of a route; `Any`: JSON)."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    return {"requestBody": {"required": required, "content": content}}


async def _received(request: Request, limit: int) -> bytes:
    received, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= limit:
            received += chunk
        elif size > _DISCARDED:
            break
    if size <= limit:
        return bytes(received)
    raise Problem(
        413,
        "too_large",
        f"the body has more than {limit} bytes (setting max_plan_bytes)",
        faults=[
            Fault(
                pointer="",
                code="json_too_large",
                message=f"{size} bytes or more were sent, {limit} are read",
                remedy="Send a smaller plan, or raise the setting max_plan_bytes.",
            )
        ],
    )


def _parsed(text: bytes) -> JsonValue:
    settings = get_settings()
    try:
        # the envelope around a plan is one level that the plan does not pay for
        return read_json(text, max_bytes=settings.max_plan_bytes, max_nesting=settings.max_nesting + 1)
    except InvalidInput as error:
        raise faulty(400, "malformed_json", error.faults) from None


def _understood(model: type[M], document: JsonValue) -> M:
    if not isinstance(document, dict):
        names = ", ".join(model.model_fields)
        fault = Fault(
            pointer="", code="not_an_object", message="the body is no JSON object", remedy=f"Send one with: {names}."
        )
        raise faulty(422, "invalid_request", [fault])
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise faulty(422, "invalid_request", [fault_of(found) for found in error.errors()]) from None
