"""What follows a deletion: dependents of a removed owner, the finalizers of propagation, the contents of a
namespace.

Why it exists: deleting a Deployment must take its ReplicaSets and pods along (or leave them, when asked to). The
garbage collector and the namespace controller in one, since both only ever delete.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from kubernaut.cluster.practice.controllers.runtime import CONTROLLER_MANAGER, Surroundings, WorkKey
from kubernaut.cluster.practice.resources import BY_KIND, NAMESPACES, PODS, RESOURCES, Json, ResourceType
from kubernaut.cluster.practice.store import Change

_FOREGROUND = "foregroundDeletion"
_ORPHAN = "orphan"
_BY_PLURAL = {resource.plural: resource for resource in RESOURCES}


class RemovalController:
    """Keys: ("gone", uid), ("held", plural, namespace, name), ("namespace", name)."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    def keys_for(self, change: Change) -> Iterable[WorkKey]:
        metadata = change.obj["metadata"]
        namespace = metadata.get("namespace", "")
        if change.after is None:
            yield ("gone", metadata["uid"])
            for reference in metadata.get("ownerReferences", []):
                resource = BY_KIND.get((reference["apiVersion"], reference["kind"]))
                if resource:
                    yield ("held", resource.plural, namespace, reference["name"])
            if namespace:
                yield ("namespace", namespace)
        elif "deletionTimestamp" in metadata:
            yield ("held", change.resource.plural, namespace, metadata["name"])
            if change.resource is NAMESPACES:
                yield ("namespace", metadata["name"])

    def sync(self, key: WorkKey) -> datetime | None:
        if key[0] == "gone":
            for resource, dependent in self._dependents(key[1]):
                self._lose_owner(resource, dependent, key[1])
        elif key[0] == "held":
            self._release(_BY_PLURAL[key[1]], key[2], key[3])
        else:
            self._empty_namespace(key[1])
        return None

    def _dependents(self, uid: str) -> list[tuple[ResourceType, Json]]:
        return [(resource, obj) for resource in RESOURCES for obj in self._around.store.owned_by(resource, uid)]

    def _lose_owner(self, resource: ResourceType, obj: Json, uid: str) -> None:
        """Deleted with its last owner, kept while another one exists."""
        others = [item for item in obj["metadata"]["ownerReferences"] if item["uid"] != uid]
        if others:
            self._set_owners(resource, obj, others)
        else:
            self._delete(resource, obj)

    def _set_owners(self, resource: ResourceType, obj: Json, references: list[Json]) -> None:
        metadata = {key: value for key, value in obj["metadata"].items() if key != "ownerReferences"}
        if references:
            metadata["ownerReferences"] = references
        self._around.registry.update(resource, obj, {**obj, "metadata": metadata}, CONTROLLER_MANAGER)

    def _delete(self, resource: ResourceType, obj: Json) -> None:
        if "deletionTimestamp" in obj["metadata"]:
            return
        registry = self._around.registry
        if resource is PODS and obj["spec"].get("nodeName"):
            registry.mark_deleted(resource, obj, CONTROLLER_MANAGER, grace=obj["spec"]["terminationGracePeriodSeconds"])
        elif obj["metadata"].get("finalizers"):
            registry.mark_deleted(resource, obj, CONTROLLER_MANAGER, grace=0)
        else:
            registry.remove(resource, obj)

    def _release(self, resource: ResourceType, namespace: str, name: str) -> None:
        """Does what the finalizers of a propagation policy stand for, and takes them off when it is done."""
        obj = self._around.store.get(resource, namespace, name)
        if obj is None or "deletionTimestamp" not in obj["metadata"]:
            return
        finalizers = obj["metadata"].get("finalizers", [])
        uid = obj["metadata"]["uid"]
        dependents = self._dependents(uid)
        if _ORPHAN in finalizers:
            for kind, dependent in dependents:
                others = [item for item in dependent["metadata"]["ownerReferences"] if item["uid"] != uid]
                self._set_owners(kind, dependent, others)
            self._drop_finalizer(resource, obj, _ORPHAN)
        elif _FOREGROUND in finalizers:
            for kind, dependent in dependents:
                self._delete_in_foreground(kind, dependent)
            if not self._dependents(uid):
                self._drop_finalizer(resource, obj, _FOREGROUND)

    def _delete_in_foreground(self, resource: ResourceType, obj: Json) -> None:
        if resource is PODS or "deletionTimestamp" in obj["metadata"]:
            self._delete(resource, obj)
        else:
            self._around.registry.mark_deleted(resource, obj, CONTROLLER_MANAGER, grace=0, finalizer=_FOREGROUND)

    def _drop_finalizer(self, resource: ResourceType, obj: Json, finalizer: str) -> None:
        metadata = {key: value for key, value in obj["metadata"].items() if key != "finalizers"}
        rest = [item for item in obj["metadata"]["finalizers"] if item != finalizer]
        if rest:
            metadata["finalizers"] = rest
        self._around.registry.update(resource, obj, {**obj, "metadata": metadata}, CONTROLLER_MANAGER)

    def _empty_namespace(self, name: str) -> None:
        store = self._around.store
        namespace = store.get(NAMESPACES, "", name)
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return
        inside = [(kind, obj) for kind in RESOURCES if kind.namespaced for obj in store.all(kind, name)]
        for kind, obj in inside:
            if store.get(kind, name, obj["metadata"]["name"]) is obj:
                self._delete(kind, obj)
        if any(store.all(kind, name) for kind in RESOURCES if kind.namespaced):
            return
        spec = {key: value for key, value in namespace["spec"].items() if key != "finalizers"}
        self._around.registry.update(NAMESPACES, namespace, {**namespace, "spec": spec}, CONTROLLER_MANAGER)
