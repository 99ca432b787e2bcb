"""The Kubernetes API over HTTP: reads requests, calls `api`, writes answers.

Why it exists: Airflow's hooks, kubectl and our actions speak HTTP. Everything is decided in `api`; here are only paths,
query parameters, media types, authentication, watches as chunked lines, the request log and injected disturbances.
Runs in the one event loop that owns the cluster (`server`).
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import hdrs, web
from pydantic import ValidationError

from kubernaut.cluster.practice import errors
from kubernaut.cluster.practice.admission import FIELD_VALIDATION, WriteOptions
from kubernaut.cluster.practice.api import Api, DeleteOptions, PatchType, Preconditions
from kubernaut.cluster.practice.decoding import WrongType, decode
from kubernaut.cluster.practice.discovery import document
from kubernaut.cluster.practice.errors import ApiError
from kubernaut.cluster.practice.listing import ListOptions, Watch
from kubernaut.cluster.practice.requests import Injection, RequestLog, RequestRecord
from kubernaut.cluster.practice.resources import Json
from kubernaut.cluster.practice.routing import Target, target_of

MAX_BODY = 3 * 1024 * 1024
_OPEN_PATHS = {"/healthz", "/livez", "/readyz", "/version"}
_MUTATING = {"POST", "PUT", "PATCH", "DELETE"}
_DEFAULT_WATCH_SECONDS = 1800
_TRUE = {"true", "1"}
_PATCHES = "application/json-patch+json, application/merge-patch+json"


class Disconnect(Exception):
    """The connection is to be closed without an answer."""


class HttpApi:
    """One catch-all handler. `changed` is called after each mutating request; `bookmark_seconds` is how often watches
    that want bookmarks get one."""

    def __init__(
        self, api: Api, log: RequestLog, token: str, changed: Callable[[], None], *, bookmark_seconds: float = 60.0
    ) -> None:
        self._api = api
        self._log = log
        self._token = token
        self._changed = changed
        self._bookmark_seconds = bookmark_seconds
        self._wakers: set[asyncio.Event] = set()
        self._watching: set[asyncio.Event] = set()

    def application(self) -> web.Application:
        application = web.Application(client_max_size=MAX_BODY)
        application.router.add_route("*", "/{path:.*}", self._handle)
        return application

    def wake_watches(self) -> None:
        """After a change of the store: every watch looks again."""
        for waker in self._wakers:
            waker.set()

    def kill_watches(self) -> None:
        """Cuts the connections of all running watches, in the middle of their stream."""
        for killed in self._watching:
            killed.set()
        self.wake_watches()

    # -- every request -------------------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            self._authenticate(request)
            body = await _read(request)
        except ApiError as error:
            return _refusal(error)
        record = self._record(request, body)
        try:
            response = await self._disturbed(request, body, record)
        except Disconnect:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        except ApiError as error:
            response = _refusal(error)
        if record is not None:
            record.status = response.status
        return response

    def _authenticate(self, request: web.Request) -> None:
        if request.path in _OPEN_PATHS:
            return
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token.encode()):
            raise errors.unauthorized()

    def _record(self, request: web.Request, body: bytes) -> RequestRecord | None:
        if request.method not in _MUTATING or request.path.startswith("/practice/"):
            return None
        record = RequestRecord(
            number=len(self._log.records) + 1,
            time=datetime.now(UTC).isoformat(),
            method=request.method,
            path=request.path,
            query=dict(request.query),
            user_agent=request.headers.get(hdrs.USER_AGENT, ""),
            content_type=request.content_type,
            body=_readable(body),
        )
        self._log.add(record)
        return record

    async def _disturbed(self, request: web.Request, body: bytes, record: RequestRecord | None) -> web.StreamResponse:
        if request.path.startswith("/practice/"):
            return self._practice(request, body)
        injection = self._log.disturbance(request.method, request.path)
        if injection is None:
            return await self._serve(request, body)
        if record is not None:
            record.injected = True
        if injection.kill_watches:
            self.kill_watches()
        await asyncio.sleep(injection.delay)
        if injection.close == "before":
            raise Disconnect
        if injection.status is not None:
            code, status, headers = injection.answer()
            return _json(status, code, headers)
        response = await self._serve(request, body)
        if injection.close == "after":
            raise Disconnect
        return response

    async def _serve(self, request: web.Request, body: bytes) -> web.StreamResponse:
        if request.path in _OPEN_PATHS - {"/version"} and request.method == "GET":
            return web.Response(text="ok")
        found = document(request.path.rstrip("/"), request.host)
        if found is not None and request.method == "GET":
            return _json(found)
        target = target_of(request.path)
        _check_accept(request)
        if _flag(request, "watch") and request.method == "GET":
            return await self._watch(request, target)
        serve = _VERBS.get((request.method, bool(target.name)))
        if serve is None:
            raise errors.method_not_allowed(request.method.lower(), target.resource)
        try:
            return await serve(self, request, target, body)
        finally:
            if request.method in _MUTATING:
                self._changed()

    # -- verbs ---------------------------------------------------------------------------------------------------

    async def _get(self, request: web.Request, target: Target, _: bytes) -> web.StreamResponse:
        found = self._api.get(target.resource, target.namespace or "", target.name, target.subresource)
        return _json(found)

    async def _list(self, request: web.Request, target: Target, _: bytes) -> web.StreamResponse:
        return _json(self._api.list(target.resource, target.namespace, _list_options(request)))

    async def _create(self, request: web.Request, target: Target, body: bytes) -> web.StreamResponse:
        if target.resource.namespaced and target.namespace is None:
            raise errors.method_not_allowed("create", target.resource)
        options = _write_options(request)
        created = self._api.create(target.resource, target.namespace or "", _object(request, body), options)
        return _json(created, 201, _warnings(options))

    async def _replace(self, request: web.Request, target: Target, body: bytes) -> web.StreamResponse:
        options = _write_options(request)
        stored = self._api.replace(
            target.resource,
            target.namespace or "",
            target.name,
            _object(request, body),
            options,
            subresource=target.subresource,
        )
        return _json(stored, 200, _warnings(options))

    async def _patch(self, request: web.Request, target: Target, body: bytes) -> web.StreamResponse:
        try:
            patch_type = PatchType(request.content_type)
        except ValueError:
            raise errors.unsupported_media_type(_PATCHES.split(", ")) from None
        options = _write_options(request)
        stored = self._api.patch(
            target.resource,
            target.namespace or "",
            target.name,
            _parse(body),
            patch_type,
            options,
            subresource=target.subresource,
        )
        return _json(stored, 200, _warnings(options))

    async def _delete(self, request: web.Request, target: Target, body: bytes) -> web.StreamResponse:
        if target.subresource:
            raise errors.method_not_allowed("delete", target.resource)
        options = _delete_options(request, body)
        return _json(self._api.delete(target.resource, target.namespace or "", target.name, options))

    async def _delete_collection(self, request: web.Request, target: Target, body: bytes) -> web.StreamResponse:
        options = _delete_options(request, body)
        return _json(self._api.delete_collection(target.resource, target.namespace, _list_options(request), options))

    # -- watching ------------------------------------------------------------------------------------------------

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        if target.subresource:
            raise errors.method_not_allowed("watch", target.resource)
        if "sendInitialEvents" in request.query:
            raise errors.not_implemented("watches with sendInitialEvents")
        options = _list_options(request, only_name=target.name)
        watch = self._api.watch(target.resource, target.namespace, options)
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        waker, killed = asyncio.Event(), asyncio.Event()
        self._wakers.add(waker)
        self._watching.add(killed)
        try:
            with contextlib.suppress(ConnectionResetError):
                await self._stream(request, response, watch, waker, killed)
        finally:
            self._wakers.discard(waker)
            self._watching.discard(killed)
        if killed.is_set():
            raise Disconnect
        return response

    async def _stream(
        self,
        request: web.Request,
        response: web.StreamResponse,
        watch: Watch,
        waker: asyncio.Event,
        killed: asyncio.Event,
    ) -> None:
        """Sends what happens until the client's time is over, the version has expired, or the watch is killed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + (_number(request, "timeoutSeconds") or _DEFAULT_WATCH_SECONDS)
        bookmarks = _flag(request, "allowWatchBookmarks")
        next_bookmark = loop.time() + self._bookmark_seconds
        while not killed.is_set():
            waker.clear()
            try:
                events = watch.poll()
            except ApiError as error:
                await response.write(_line({"type": "ERROR", "object": error.status()}))
                return
            if events:
                await response.write(b"".join(map(_line, events)))
            if bookmarks and loop.time() >= min(next_bookmark, end):
                await response.write(_line(watch.bookmark()))
                next_bookmark = loop.time() + self._bookmark_seconds
            if loop.time() >= end:
                return
            with contextlib.suppress(TimeoutError):
                until = min(end, next_bookmark) if bookmarks else end
                await asyncio.wait_for(waker.wait(), max(0.0, until - loop.time()))

    # -- what is not Kubernetes ----------------------------------------------------------------------------------

    def _practice(self, request: web.Request, body: bytes) -> web.StreamResponse:
        if (request.method, request.path) == ("GET", "/practice/requests"):
            return _json(self._log.as_json())
        if (request.method, request.path) == ("POST", "/practice/inject"):
            try:
                injection = Injection.model_validate(_parse(body))
            except ValidationError as error:
                raise errors.bad_request(f"not an injection: {error}") from error
            self.inject(injection)
            return _json({"injected": injection.model_dump()}, 201)
        raise errors.not_implemented(f"{request.method} {request.path}")

    def inject(self, injection: Injection) -> None:
        if injection.kill_watches and injection.status is None and injection.close is None and not injection.delay:
            self.kill_watches()
        else:
            self._log.inject(injection)


_Verb = Callable[[HttpApi, web.Request, Target, bytes], Awaitable[web.StreamResponse]]

_VERBS: dict[tuple[str, bool], _Verb] = {
    ("GET", True): HttpApi._get,
    ("GET", False): HttpApi._list,
    ("POST", False): HttpApi._create,
    ("PUT", True): HttpApi._replace,
    ("PATCH", True): HttpApi._patch,
    ("DELETE", True): HttpApi._delete,
    ("DELETE", False): HttpApi._delete_collection,
}


async def _read(request: web.Request) -> bytes:
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge:
        message = f"Request entity too large: limit is {MAX_BODY}"
        raise ApiError(413, "RequestEntityTooLarge", message) from None


def _readable(body: bytes) -> Any:
    if not body:
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as error:
        raise errors.bad_request(f"couldn't get version/kind; json parse error: {error}") from error


def _object(request: web.Request, body: bytes) -> Any:
    if request.content_type not in ("application/json", "application/octet-stream"):
        raise errors.unsupported_media_type(["application/json"])
    return _parse(body)


def _check_accept(request: web.Request) -> None:
    """JSON is all there is. A client that also takes JSON (kubectl asks for a Table first) gets it."""
    wanted = request.headers.get(hdrs.ACCEPT, "*/*")
    ranges = [item.split(";")[0].strip() for item in wanted.split(",") if "as=" not in item]
    if not any(item in ("*/*", "application/*", "application/json") for item in ranges):
        raise ApiError(406, "NotAcceptable", "only the following media types are accepted: application/json")


def _flag(request: web.Request, name: str) -> bool:
    return request.query.get(name, "").lower() in _TRUE


def _number(request: web.Request, name: str) -> int:
    text = request.query.get(name, "")
    if text and not text.isdigit():
        raise errors.bad_request(f"{name}: {text!r} is not a number of at least 0")
    return int(text or 0)


def _list_options(request: web.Request, only_name: str = "") -> ListOptions:
    fields = request.query.get("fieldSelector", "")
    if only_name:
        fields = ",".join(item for item in (fields, f"metadata.name={only_name}") if item)
    return ListOptions(
        label_selector=request.query.get("labelSelector", ""),
        field_selector=fields,
        limit=_number(request, "limit"),
        continue_token=request.query.get("continue", ""),
        version=request.query.get("resourceVersion", ""),
        version_match=request.query.get("resourceVersionMatch", ""),
    )


def _dry_run(given: list[str]) -> bool:
    if any(item != "All" for item in given):
        raise errors.bad_request(f'dryRun: Unsupported value: {given}: supported values: "All"')
    return bool(given)


def _write_options(request: web.Request) -> WriteOptions:
    validation = request.query.get("fieldValidation", "") or "Warn"
    if validation not in FIELD_VALIDATION:
        raise errors.bad_request(f"fieldValidation: Unsupported value: {validation!r}: one of {FIELD_VALIDATION}")
    return WriteOptions(_manager(request), _dry_run(request.query.getall("dryRun", [])), validation)


def _manager(request: web.Request) -> str:
    """`fieldManager`, or as the API server does without it: the user agent up to its first slash."""
    agent = request.headers.get(hdrs.USER_AGENT, "").split("/")[0]
    return request.query.get("fieldManager", "") or agent[:128] or "unknown"


def _delete_options(request: web.Request, body: bytes) -> DeleteOptions:
    """From the body, where there is one, else from the query parameters."""
    given: Json = {}
    if body.strip():
        parsed = _parse(body)
        if not isinstance(parsed, dict):
            raise errors.bad_request("DeleteOptions must be a JSON object")
        try:
            given = decode("DeleteOptions", parsed).value
        except WrongType as error:
            raise errors.bad_request(f"DeleteOptions: {error}") from error
    grace = given.get("gracePeriodSeconds")
    if grace is None and "gracePeriodSeconds" in request.query:
        grace = _number(request, "gracePeriodSeconds")
    orphan = given.get("orphanDependents")
    propagation = given.get("propagationPolicy") or request.query.get("propagationPolicy", "")
    if orphan is not None and not propagation:
        propagation = "Orphan" if orphan else "Background"
    preconditions = given.get("preconditions", {})
    return DeleteOptions(
        grace=grace,
        propagation=propagation,
        preconditions=Preconditions(preconditions.get("uid", ""), preconditions.get("resourceVersion", "")),
        dry_run=_dry_run([*given.get("dryRun", []), *request.query.getall("dryRun", [])]),
        field_manager=_manager(request),
    )


def _warnings(options: WriteOptions) -> dict[str, str]:
    return {"Warning": ", ".join(f'299 - "{_quoted(text)}"' for text in options.warnings)} if options.warnings else {}


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _line(event: Json) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def _json(body: Json, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    data = json.dumps(body, separators=(",", ":")).encode()
    return web.Response(body=data, status=status, content_type="application/json", headers=headers)


def _refusal(error: ApiError) -> web.Response:
    headers = {"Retry-After": str(error.retry_after)} if error.retry_after else None
    return _json(error.status(), error.code, headers)
