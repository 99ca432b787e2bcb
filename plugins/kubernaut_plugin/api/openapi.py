"""The API's own description. FastAPI's routes for it are off, because they would answer anybody."""

from collections.abc import Iterable
from typing import Any

from fastapi import Request
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from kubernaut_plugin.api.models import HaltBody, ReleaseBody, SubmitBody, UndoBody, ValidateBody
from kubernaut_plugin.api.problems import MEDIA_TYPE
from kubernaut_plugin.api.security import Authority, person_router

reads = person_router(Authority.READ)
VERSION = "1"
_BODIES = (ValidateBody, SubmitBody, UndoBody, HaltBody, ReleaseBody)
_DESCRIPTION = "Start remediation plans, follow them, take them back. Errors are problem documents (RFC 9457)."


@reads.get("/openapi.json", tags=["health"])
def read_openapi(request: Request) -> dict[str, Any]:
    """This document."""
    return document(request.app.routes)


def document(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """The OpenAPI document of these routes (`Any`: JSON)."""
    made = get_openapi(title="Kubernaut", version=VERSION, description=_DESCRIPTION, routes=list(routes))
    made["servers"] = [{"url": "/kubernaut"}]
    _, definitions = models_json_schema(
        [(model, "validation") for model in _BODIES], ref_template="#/components/schemas/{model}"
    )
    schemas = made["components"]["schemas"]
    schemas.update(definitions.get("$defs", {}))
    for path in made["paths"].values():
        for operation in path.values():
            _as_problems(operation["responses"])
    return made


def _as_problems(responses: dict[str, Any]) -> None:
    """Ours are problem documents; FastAPI's own 422 never occurs here."""
    responses.pop("422", None)
    if "default" in responses:
        content = responses["default"]["content"]
        content[MEDIA_TYPE] = content.pop("application/json")
