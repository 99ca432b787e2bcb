"""Lists and watches: which objects, in which state, in which pages.

Why it exists: the promises of resourceVersion (consistent pages, watches without gaps, 410 for what is forgotten) are
one subject. Called by `api`; reads the store, writes nothing. Waiting for changes is the shell's part: a `Watch` is
asked.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass

from kubernaut.cluster.practice import errors
from kubernaut.cluster.practice.errors import ApiError
from kubernaut.cluster.practice.resources import Json, ResourceType
from kubernaut.cluster.practice.selectors import Matcher, parse_field_selector, parse_label_selector
from kubernaut.cluster.practice.store import Change, Key, Store


@dataclass(frozen=True)
class ListOptions:
    """The query parameters of a list or watch; `version` and `version_match` are resourceVersion and its match."""

    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    version: str = ""
    version_match: str = ""


def matcher(resource: ResourceType, namespace: str | None, options: ListOptions) -> Matcher:
    labels = parse_label_selector(options.label_selector)
    fields = parse_field_selector(options.field_selector, resource)

    def matches(obj: Json) -> bool:
        metadata = obj["metadata"]
        if namespace is not None and metadata.get("namespace", "") != namespace:
            return False
        return labels.matches(metadata.get("labels")) and fields(obj)

    return matches


def list_objects(store: Store, resource: ResourceType, namespace: str | None, options: ListOptions) -> Json:
    """A `…List` object. Items carry no kind, as in the API server's typed lists."""
    matches = matcher(resource, namespace, options)
    version, start, objects = _state(store, resource, options)
    found = [objects[key] for key in sorted(objects) if (start is None or key > start) and matches(objects[key])]
    page = found[: options.limit] if options.limit else found
    metadata: Json = {"resourceVersion": str(version)}
    if len(page) < len(found):
        last = page[-1]["metadata"]
        metadata["continue"] = _encode_token(version, (last.get("namespace", ""), last["name"]))
        if not options.label_selector and not options.field_selector:
            metadata["remainingItemCount"] = len(found) - len(page)
    items = [{key: value for key, value in obj.items() if key not in ("apiVersion", "kind")} for obj in page]
    return {
        "kind": f"{resource.kind}List",
        "apiVersion": resource.api_version,
        "metadata": metadata,
        "items": items,
    }


def _state(store: Store, resource: ResourceType, options: ListOptions) -> tuple[int, Key | None, dict[Key, Json]]:
    """The version to list, the key to start after, and the objects at that version."""
    if options.continue_token:
        if options.version not in ("", "0"):
            raise errors.bad_request("specifying resource version is not allowed when using continue")
        version, start = _decode_token(options.continue_token)
        objects = store.snapshot(version, resource)
        if objects is None:
            raise errors.expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new "
                "list without the continue parameter."
            )
        return version, start, objects
    wanted = parse_version(options.version)
    if wanted > store.version:
        raise errors.too_large_resource_version(wanted, store.version)
    if options.version_match == "Exact":
        objects = store.snapshot(wanted, resource)
        if objects is None:
            raise too_old(wanted, store)
        return wanted, None, objects
    return store.version, None, store.snapshot(store.version, resource) or {}


def parse_version(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()):
        message = f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        raise errors.bad_request(message)
    return int(text)


def too_old(version: int, store: Store) -> ApiError:
    return errors.expired(f"too old resource version: {version} ({store.oldest})")


def _encode_token(version: int, key: Key) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": list(key)})
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode_token(token: str) -> tuple[int, Key]:
    try:
        data = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        namespace, name = data["start"]
        return int(data["rv"]), (str(namespace), str(name))
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise errors.bad_request("continue key is not valid: it must be the value of a former answer") from error


class Watch:
    """One watch: `poll` gives what happened since the last poll. Raises 410 `Expired` when it fell too far behind."""

    def __init__(self, store: Store, resource: ResourceType, namespace: str | None, options: ListOptions) -> None:
        self.resource = resource
        self._store = store
        self._matches = matcher(resource, namespace, options)
        wanted = parse_version(options.version)
        if wanted > store.version:
            raise errors.too_large_resource_version(wanted, store.version)
        self._initial = [obj for obj in store.all(resource) if self._matches(obj)] if wanted == 0 else []
        self.version = wanted or store.version

    def poll(self) -> list[Json]:
        """Watch events, oldest first. Without a resourceVersion the first ones are ADDED for what exists already."""
        events = [{"type": "ADDED", "object": obj} for obj in self._initial]
        self._initial = []
        changes = self._store.changes_since(self.version, self.resource)
        if changes is None:
            raise too_old(self.version, self._store)
        self.version = self._store.version
        return events + [event for change in changes if (event := self._event(change))]

    def _event(self, change: Change) -> Json | None:
        before = change.before is not None and self._matches(change.before)
        after = change.after is not None and self._matches(change.after)
        if after:
            return {"type": "MODIFIED" if before else "ADDED", "object": change.after}
        if before and change.before is not None:
            metadata = {**change.before["metadata"], "resourceVersion": str(change.version)}
            return {"type": "DELETED", "object": {**change.before, "metadata": metadata}}
        return None

    def bookmark(self) -> Json:
        obj = {
            "kind": self.resource.kind,
            "apiVersion": self.resource.api_version,
            "metadata": {"resourceVersion": str(self.version), "creationTimestamp": None},
        }
        return {"type": "BOOKMARK", "object": obj}
