"""The objects, their versions and what happened to them: the practice cluster's etcd.

Why it exists: everything that a client can rely on about time (resourceVersion, watch, consistent paging) comes from
one counter and one history, kept here. Called by `registry` (writes) and `api` (reads). Objects are values: a stored
dict is never changed in place, so old versions in the history cost nothing. It knows no kinds' rules and no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kubernaut.cluster.practice.resources import RESOURCES, Json, ResourceType

Key = tuple[str, str]
"""(namespace, name); the namespace is empty for cluster-scoped kinds."""


@dataclass(frozen=True)
class Change:
    """One write. `before` is None for a creation, `after` is None for a removal; `obj` is what a watcher is shown."""

    version: int
    resource: ResourceType
    before: Json | None
    after: Json | None
    obj: Json


class Store:
    """All objects by kind and key. `listeners` are called after each change, in order, synchronously."""

    def __init__(self, *, first_version: int = 1000, history_limit: int = 20_000) -> None:
        self.version = first_version
        self.oldest = first_version
        self.listeners: list[Callable[[Change], None]] = []
        self._objects: dict[ResourceType, dict[Key, Json]] = {resource: {} for resource in RESOURCES}
        self._history: deque[Change] = deque()
        self._history_limit = history_limit
        self._by_owner: dict[ResourceType, dict[str, dict[Key, None]]] = {resource: {} for resource in RESOURCES}

    def get(self, resource: ResourceType, namespace: str, name: str) -> Json | None:
        return self._objects[resource].get((namespace, name))

    def all(self, resource: ResourceType, namespace: str | None = None) -> list[Json]:
        """In the API's order: by namespace, then name."""
        objects = self._objects[resource]
        return [objects[key] for key in sorted(objects) if namespace is None or key[0] == namespace]

    def each(self, resource: ResourceType) -> Iterator[Json]:
        """Unordered and unsorted: for controllers that look for their own."""
        return iter(list(self._objects[resource].values()))

    def owned_by(self, resource: ResourceType, uid: str) -> list[Json]:
        """Objects with an owner reference to `uid`, oldest first; with the empty uid, those without a controller."""
        objects = self._objects[resource]
        return [objects[key] for key in self._by_owner[resource].get(uid, ())]

    def put(self, resource: ResourceType, obj: Json) -> Json:
        """Stores `obj` under the next version and returns what is stored."""
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        before = self._objects[resource].get(key)
        version = self.version + 1
        stored = {**obj, "metadata": {**metadata, "resourceVersion": str(version)}}
        self._objects[resource][key] = stored
        self._happened(Change(version, resource, before, stored, stored))
        return stored

    def remove(self, resource: ResourceType, namespace: str, name: str) -> Json:
        """Removes the object; its last state carries the version of the removal, as watchers see it."""
        before = self._objects[resource].pop((namespace, name))
        version = self.version + 1
        last = {**before, "metadata": {**before["metadata"], "resourceVersion": str(version)}}
        self._happened(Change(version, resource, before, None, last))
        return last

    def _happened(self, change: Change) -> None:
        self.version = change.version
        self._index(change)
        self._history.append(change)
        while len(self._history) > self._history_limit:
            self.oldest = self._history.popleft().version
        for listener in self.listeners:
            listener(change)

    def _index(self, change: Change) -> None:
        before = _owner_uids(change.before) if change.before else []
        after = _owner_uids(change.after) if change.after else []
        if before == after:
            return
        index = self._by_owner[change.resource]
        metadata = change.obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        for uid in before:
            if uid not in after:
                del index[uid][key]
                if not index[uid]:
                    del index[uid]
        for uid in after:
            index.setdefault(uid, {}).setdefault(key)

    def compact(self) -> None:
        """Forgets the history: watches and pages from before now are answered 410."""
        self._history.clear()
        self.oldest = self.version

    def changes_since(self, version: int, resource: ResourceType) -> list[Change] | None:
        """Changes of this kind after `version`, oldest first; None when that is no longer known."""
        if version < self.oldest:
            return None
        recent: list[Change] = []
        for change in reversed(self._history):
            if change.version <= version:
                break
            if change.resource is resource:
                recent.append(change)
        recent.reverse()
        return recent

    def snapshot(self, version: int, resource: ResourceType) -> dict[Key, Json] | None:
        """All objects of this kind as they were at `version`, by undoing later changes; None when too old."""
        changes = self.changes_since(version, resource)
        if changes is None:
            return None
        objects = dict(self._objects[resource])
        for change in reversed(changes):
            metadata = change.obj["metadata"]
            key = (metadata.get("namespace", ""), metadata["name"])
            if change.before is None:
                objects.pop(key, None)
            else:
                objects[key] = change.before
        return objects


def _owner_uids(obj: Json) -> list[str]:
    references = obj["metadata"].get("ownerReferences", [])
    uids = [reference["uid"] for reference in references]
    return uids if any(reference.get("controller") for reference in references) else [*uids, ""]
