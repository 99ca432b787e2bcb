"""Every answer that is no success is a problem document (RFC 9457), whoever says no: a route, FastAPI, Airflow, the store.

`Problem` is what routes raise. `install` turns everything else into one: authentication and authorization of Airflow,
validation of FastAPI, a store that is away, and an error that nobody expected (no traceback leaves the server; the
reference in the document is in its log). Decides nothing.
"""

import logging
import secrets
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kubernaut.errors import ConfigurationError, Fault, InvalidInput
from kubernaut.store.engine import StoreNotMigrated, StoreUnavailable

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
TYPES = "https://kubernaut.ai/problems/"

TITLES: Mapping[str, str] = {
    "approval_required": "The plan needs an approval",
    "configuration": "Kubernaut is not configured",
    "cross_site": "The request comes from another site",
    "forbidden": "Not allowed",
    "hash_mismatch": "The approval is for another plan",
    "human_required": "A human must look at the plan",
    "idempotency_key_reused": "The Idempotency-Key belongs to another request",
    "internal": "Unexpected error",
    "invalid_header": "A header cannot be used",
    "invalid_parameter": "A query parameter cannot be used",
    "invalid_plan": "The plan has faults",
    "invalid_request": "The request's body has faults",
    "malformed_json": "The body cannot be read",
    "method_not_allowed": "This address does not know the method",
    "not_ended": "The execution has not ended",
    "not_found": "There is nothing at this address",
    "not_halted": "There is no such halt",
    "not_undoable": "The execution cannot be undone",
    "nothing_to_undo": "There is nothing to undo",
    "store_unavailable": "The store is away",
    "too_large": "The body is too large",
    "unauthenticated": "Who is asking?",
    "undo_under_way": "An undo is under way",
    "unsupported_media_type": "Only JSON is read",
}
_BY_STATUS: Mapping[int, str] = {
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
}


class ProblemDocument(BaseModel):
    """What every answer that is no success looks like; some have further members."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description=f"`{TYPES}` and the code.")
    title: str
    status: int
    detail: str
    code: str
    faults: list[Fault] = Field(default_factory=list, description="Everything that is wrong with the input.")


class Problem(Exception):
    """Ends a request. `members`: further members of the document, JSON values."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        faults: Iterable[Fault] = (),
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})
        self.document = ProblemDocument(
            type=TYPES + code,
            title=TITLES.get(code) or HTTPStatus(status).phrase,
            status=status,
            detail=detail,
            code=code,
            faults=list(faults),
            **members,
        )

    def response(self) -> JSONResponse:
        return JSONResponse(
            self.document.model_dump(mode="json"), self.status, headers=self.headers, media_type=MEDIA_TYPE
        )


def faulty(status: int, code: str, faults: Iterable[Fault]) -> Problem:
    """A problem whose detail sums up its faults."""
    found = list(faults)
    first = f"{found[0].pointer or 'the input'}: {found[0].message}" if found else "the input cannot be used"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Problem(status, code, first + more, faults=found)


def remedy_of(kind: str, limits: Mapping[str, Any]) -> str:
    """What to do about a finding of pydantic: its type, and its bounds (`Any`: its own document)."""
    if kind in ("enum", "literal_error"):
        return f"Give one of {limits.get('expected', 'the words of /kubernaut/api/v1/openapi.json')}."
    if kind.startswith(("datetime", "timezone")):
        return "Give a time as RFC 3339 has it, with its zone: 2026-01-31T12:00:00Z (a + in a URL is written %2B)."
    if kind.startswith("int_"):
        return "Give a whole number."
    if kind.startswith("bool_"):
        return "Give true or false."
    bounds = {"ge": "at least", "le": "at most", "gt": "more than", "lt": "less than"}
    bounds |= {"min_length": "characters: at least", "max_length": "characters: at most"}
    told = [f"{word} {limits[name]}" for name, word in bounds.items() if name in limits]
    return f"Give {' and '.join(told)}." if told else "/kubernaut/api/v1/openapi.json says what it may be."


def fault_of(error: Mapping[str, Any], *, skip: int = 0) -> Fault:
    """One finding of pydantic. `skip`: leading parts of its place that are not of the input."""
    pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in error["loc"][skip:])
    kind = str(error["type"])
    if kind == "missing":
        return Fault(pointer=pointer, code="missing", message="this is needed", remedy="Add it.")
    if kind == "extra_forbidden":
        return Fault(
            pointer=pointer,
            code="unknown_field",
            message="this is not known here",
            remedy="Remove it, or correct its name; /kubernaut/api/v1/openapi.json has them all.",
        )
    message = str(error["msg"])
    return Fault(pointer=pointer, code=kind, message=message, remedy=remedy_of(kind, error.get("ctx") or {}))


def install(app: FastAPI) -> None:
    """Make every error of this app a problem document."""
    handlers: Mapping[type[Exception], Any] = {
        Problem: _of_problem,
        InvalidInput: _of_invalid_input,
        HTTPException: _of_http,
        RequestValidationError: _of_validation,
        StoreUnavailable: _of_store,
        StoreNotMigrated: _of_store,
        PoolTimeout: _of_pool,
        ConfigurationError: _of_configuration,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
    app.add_middleware(Unexpected)


async def _of_problem(_: Request, error: Problem) -> JSONResponse:
    return error.response()


async def _of_invalid_input(_: Request, error: InvalidInput) -> JSONResponse:
    return faulty(400, "invalid_parameter", error.faults).response()


async def _of_http(_: Request, error: HTTPException) -> JSONResponse:
    status = error.status_code
    headers = dict(error.headers or {})
    detail = str(error.detail)
    if status == 401:
        headers.setdefault("WWW-Authenticate", "Bearer")
        detail = f"{detail}: send a token of POST /auth/token as `Authorization: Bearer …`, or log in"
    if status == 403:
        detail = (
            f"{detail}: this needs a valid token, and Airflow's right to read (for reading) or create (for everything "
            "that changes something) DAG runs of execute_plan"
        )
    if status == 404 and detail == "Not Found":
        detail = "no route has this address; GET /kubernaut/api/v1/openapi.json lists them"
    return Problem(status, _BY_STATUS.get(status, "http"), detail, headers=headers).response()


async def _of_validation(_: Request, error: RequestValidationError) -> JSONResponse:
    places = {str(found["loc"][0]) for found in error.errors()}
    faults = [fault_of(found, skip=1) for found in error.errors()]
    return faulty(400, "invalid_header" if places == {"header"} else "invalid_parameter", faults).response()


async def _of_store(_: Request, error: ConfigurationError) -> JSONResponse:
    log.warning("a request could not be answered: %s", error)
    # the text names host and user of the database: for the log, and for people who may look there
    return Problem(
        503,
        "store_unavailable",
        "the store cannot be used now; nothing was changed. The API server's log says why",
        headers={"Retry-After": "5"},
    ).response()


async def _of_pool(request: Request, error: PoolTimeout) -> JSONResponse:
    log.warning("no connection to the store was free: %s", error)
    return await _of_store(request, StoreUnavailable("all connections are in use"))


async def _of_configuration(_: Request, error: ConfigurationError) -> JSONResponse:
    log.error("a request could not be answered: %s", error)
    return Problem(503, "configuration", str(error)).response()


class Unexpected:
    """The outermost layer of the app (ASGI): what nobody has caught is logged with a reference, and answered without a word
    of it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except ClientDisconnect:
            return
        except Exception:
            reference = secrets.token_hex(6)
            log.exception("unexpected error %s in %s %s", reference, scope["method"], scope["path"])
            if started:
                raise
            problem = Problem(
                500,
                "internal",
                f"an unexpected error; the API server's log has it under the reference {reference}",
                reference=reference,
            )
            await problem.response()(scope, receive, send)
