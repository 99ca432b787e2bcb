"""Kubernetes over a `Transport`: read, list, watch, JSON Patch; every refusal as a `StepFailure` with its error class.

Used by the step runner, the sensors, the verdict and the demo. It never retries (retrying belongs to the step) and
never decides whether a change was made: `StepFailure.effect_known` is False wherever the answer to a mutating request
does not say. Objects are plain JSON documents, as the API server sent them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from kubernaut.cluster.objects import BY_KIND, ObjectRef, collection_path
from kubernaut.cluster.transport import Response, Transport, TransportError
from kubernaut.errors import ConfigurationError, ErrorClass, StepFailure

FIELD_MANAGER = "kubernaut"
TRACKING_HEADER = "X-Tracking-Id"
"""For proxies and webhooks on the way; the API server itself ignores it."""
MAX_MESSAGE = 500
PAGE_SIZE = 500
JSON_PATCH = "application/json-patch+json"

JsonObject = Mapping[str, Any]
PatchOperation = Mapping[str, Any]
EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


@dataclass(frozen=True, kw_only=True)
class WatchEvent:
    type: EventType
    object: JsonObject


@dataclass(frozen=True, kw_only=True)
class Listing:
    """Objects of one kind, and the version of the collection from which a watch continues."""

    items: tuple[JsonObject, ...]
    resource_version: str


class WatchExpired(Exception):
    """The server no longer has the versions since `resource_version` (410): list again, then watch from there."""


class KubeClient:
    """One cluster, as one identity.

    :param timeout: seconds for one request
    :param field_manager: the name under which the API server records what we write
    :param tracking_id: of the incident that the requests belong to
    """

    def __init__(
        self,
        transport: Transport,
        *,
        timeout: float,
        field_manager: str = FIELD_MANAGER,
        tracking_id: str | None = None,
    ) -> None:
        self._transport = transport
        self._timeout = timeout
        self._field_manager = field_manager
        self._headers = {"Accept": "application/json"} | ({TRACKING_HEADER: tracking_id} if tracking_id else {})

    def tracked(self, tracking_id: str) -> KubeClient:
        """The same client; each of its requests carries the tracking id of the incident."""
        return KubeClient(
            self._transport, timeout=self._timeout, field_manager=self._field_manager, tracking_id=tracking_id
        )

    async def get(self, ref: ObjectRef) -> JsonObject:
        """Raises `StepFailure`; `NOT_FOUND` where there is no such object."""
        return await self._json("GET", _path(ref), about=f"read {ref}")

    async def list(
        self,
        kind: str,
        namespace: str | None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> Listing:
        """All objects that the selectors leave, read page by page. Namespace None: in all namespaces."""
        query = _selectors(label_selector, field_selector)
        try:
            return await self._pages(kind, namespace, query | {"limit": str(PAGE_SIZE)})
        except StepFailure as failure:
            if failure.status != 410:
                raise
            # the snapshot behind the pages was compacted while we read: all at once, as client-go's pager does
            return await self._pages(kind, namespace, query)

    async def _pages(self, kind: str, namespace: str | None, query: dict[str, str]) -> Listing:
        about = _about("list", kind, namespace)
        # items of a list carry neither kind nor apiVersion; expressions and texts for people want them
        own = {"apiVersion": BY_KIND[kind].api_version, "kind": kind}
        items: list[JsonObject] = []
        while True:
            page = await self._json("GET", collection_path(kind, namespace), query=query, about=about)
            metadata = page.get("metadata") or {}
            items += [{**own, **item} for item in page.get("items") or ()]
            if not metadata.get("continue"):
                return Listing(items=tuple(items), resource_version=str(metadata.get("resourceVersion", "")))
            query = query | {"continue": metadata["continue"]}

    async def namespace_labels(self, namespace: str) -> Mapping[str, str]:
        found = await self.get(ObjectRef.of("Namespace", None, namespace))
        return (found.get("metadata") or {}).get("labels") or {}

    async def version(self) -> JsonObject:
        """The server's `/version`: the cheapest request that proves that it answers."""
        return await self._json("GET", "/version", about="read the API server's version")

    async def json_patch(
        self, ref: ObjectRef, operations: Sequence[PatchOperation], *, dry_run: bool = False
    ) -> JsonObject:
        """Send a JSON Patch; the object as the server stored it. Raises `StepFailure`, `CONFLICT` if a `test` fails."""
        query = {"fieldManager": self._field_manager} | ({"dryRun": "All"} if dry_run else {})
        return await self._json(
            "PATCH",
            _path(ref),
            query=query,
            body=json.dumps(list(operations)).encode(),
            about=f"patch {ref}",
        )

    async def watch(
        self,
        kind: str,
        namespace: str | None,
        *,
        resource_version: str,
        timeout: float,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Events after `resource_version`; ends when the server or the network closes it or `timeout` seconds are over.

        The caller then lists again: an end says nothing about what was missed. Raises `WatchExpired`, `StepFailure`.
        """
        about = _about("watch", kind, namespace)
        query = _selectors(label_selector, field_selector) | {
            "watch": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(max(1, int(timeout))),
            "allowWatchBookmarks": "true",
        }
        started = False
        try:
            async with self._transport.stream(
                collection_path(kind, namespace),
                query=query,
                headers=self._headers,
                timeout=timeout + self._timeout,
            ) as stream:
                if stream.status == 410:
                    raise WatchExpired(about)
                if stream.status != 200:
                    answer = Response(status=stream.status, headers=stream.headers, body=await stream.read())
                    raise refusal(answer, about=about, mutating=False)
                started = True
                async for line in stream.lines():
                    yield _event(line, about)
        except TransportError as error:
            if not started:
                raise no_answer(error, about=about, mutating=False) from error
        except ConfigurationError as error:
            raise StepFailure(ErrorClass.VALIDATION, f"cannot {about}: {error}") from error

    async def _json(
        self, method: str, path: str, *, about: str, query: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> JsonObject:
        mutating = method != "GET"
        headers = self._headers | ({"Content-Type": JSON_PATCH} if body is not None else {})
        try:
            answer = await self._transport.request(
                method, path, query=query or {}, headers=headers, body=body, timeout=self._timeout
            )
        except TransportError as error:
            raise no_answer(error, about=about, mutating=mutating) from error
        except ConfigurationError as error:
            raise StepFailure(ErrorClass.VALIDATION, f"cannot {about}: {error}") from error
        if not 200 <= answer.status <= 299:
            raise refusal(answer, about=about, mutating=mutating)
        document = _document(answer.body)
        if document is None:
            raise StepFailure(
                ErrorClass.NETWORK,
                f"cannot {about}: the answer (HTTP {answer.status}) is not a JSON object; is this a Kubernetes API?",
                effect_known=not mutating,
                status=answer.status,
            )
        return document


_BY_STATUS: Mapping[int, ErrorClass] = {
    400: ErrorClass.VALIDATION,
    401: ErrorClass.AUTHORIZATION,
    403: ErrorClass.AUTHORIZATION,
    404: ErrorClass.NOT_FOUND,
    405: ErrorClass.VALIDATION,
    408: ErrorClass.TIMEOUT,
    409: ErrorClass.CONFLICT,
    410: ErrorClass.CONFLICT,
    413: ErrorClass.VALIDATION,
    415: ErrorClass.VALIDATION,
    422: ErrorClass.VALIDATION,
    429: ErrorClass.THROTTLED,
    501: ErrorClass.VALIDATION,
    504: ErrorClass.TIMEOUT,
}


def refusal(answer: Response, *, about: str, mutating: bool) -> StepFailure:
    """What an answer that is not 2xx means.

    After a server error (and 408) a mutating request may have been carried out: etcd's timeouts are reported as 500.
    """
    status = _document(answer.body) or {}
    error_class = _BY_STATUS.get(answer.status, ErrorClass.NETWORK if answer.status >= 500 else ErrorClass.UNKNOWN)
    message = _server_message(status, answer.body)
    if answer.status == 422 and mutating and not _names_a_field(status):
        error_class = ErrorClass.CONFLICT
        message = f"a precondition of the patch does not hold, the object has changed ({message})"
    in_doubt = mutating and answer.status != 501 and (answer.status >= 500 or answer.status == 408)
    return StepFailure(
        error_class,
        f"cannot {about}: HTTP {answer.status}: {message}",
        retry_after=_retry_after(answer, status),
        effect_known=not in_doubt,
        status=answer.status,
    )


def no_answer(error: TransportError, *, about: str, mutating: bool) -> StepFailure:
    """What it means that no answer came."""
    error_class = ErrorClass.TIMEOUT if error.timed_out else ErrorClass.NETWORK
    return StepFailure(
        error_class,
        f"cannot {about}: {_capped(str(error))}",
        effect_known=not mutating or not error.delivered,
    )


def _names_a_field(status: JsonObject) -> bool:
    """A 422 of validation names the object and the fields; that of a JSON Patch whose `test` failed names nothing."""
    details = status.get("details")
    return isinstance(details, Mapping) and bool(details.get("causes") or details.get("name"))


def _retry_after(answer: Response, status: JsonObject) -> float | None:
    details = status.get("details")
    stated = answer.headers.get("retry-after") or (
        details.get("retryAfterSeconds") if isinstance(details, Mapping) else None
    )
    try:
        seconds = float(stated)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None  # an HTTP date is never sent by an API server
    return seconds if 0 <= seconds <= 3_600 else None


def _server_message(status: JsonObject, body: bytes) -> str:
    if status.get("message"):
        return _capped(str(status["message"]))
    # not a Status object: something in front of the API server answered. Its page is not repeated: it may echo headers.
    return f"no explanation ({len(body)} bytes that are no Kubernetes status)"


def _capped(text: str) -> str:
    single = " ".join(text.split())
    return single if len(single) <= MAX_MESSAGE else f"{single[:MAX_MESSAGE]}…"


def _document(body: bytes) -> JsonObject | None:
    try:
        document = json.loads(body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _event(line: bytes, about: str) -> WatchEvent:
    event = _document(line)
    if event is None or not isinstance(event.get("object"), dict):
        raise StepFailure(ErrorClass.NETWORK, f"cannot {about}: the server sent something that is no watch event")
    if event.get("type") != "ERROR":
        return WatchEvent(type=event["type"], object=event["object"])
    code = int(event["object"].get("code") or 0)
    if code == 410:
        raise WatchExpired(about)
    raise refusal(Response(status=code, body=json.dumps(event["object"]).encode()), about=about, mutating=False)


def _about(verb: str, kind: str, namespace: str | None) -> str:
    return f"{verb} {BY_KIND[kind].plural}" + (f" in {namespace}" if namespace else "")


def _selectors(label_selector: str | None, field_selector: str | None) -> dict[str, str]:
    return ({"labelSelector": label_selector} if label_selector else {}) | (
        {"fieldSelector": field_selector} if field_selector else {}
    )


def _path(ref: ObjectRef) -> str:
    """Names of objects come from plans: a name that would change the path is refused before it gets there."""
    for part in (ref.namespace, ref.name):
        if part is not None and (quote(part, safe="") != part or part in (".", "..", "")):
            raise StepFailure(ErrorClass.VALIDATION, f"{part!r} is not a name of a Kubernetes object")
    return ref.path
