"""Writing objects by the API server's book-keeping: uid, generation, managedFields, finalizers, no-op writes.

Why it exists: requests from outside (`api`) and the cluster's own controllers change objects by the same rules, and
only here. It judges no content: that is `validation`. Time and identity come from the cluster's clock and seed.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from datetime import datetime

from kubernaut.cluster.practice.fields import track
from kubernaut.cluster.practice.resources import PODS, Json, ResourceType
from kubernaut.cluster.practice.store import Store

_NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def stamp(moment: datetime) -> str:
    """A `metav1.Time`: whole seconds, as the API carries them."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Registry:
    """The only writer of the store."""

    def __init__(self, store: Store, clock: Callable[[], datetime], seed: int, *, track_fields: bool = True) -> None:
        self._track_fields = track_fields
        self.store = store
        self.clock = clock
        self._random = random.Random(seed)  # noqa: S311 - names and uids must be repeatable, not secret

    def now(self) -> str:
        return stamp(self.clock())

    def new_uid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def name_suffix(self, length: int = 5) -> str:
        return "".join(self._random.choices(_NAME_ALPHABET, k=length))

    def create(self, resource: ResourceType, obj: Json, manager: str, *, persist: bool = True) -> Json:
        """Stores a new object and returns it with its server-side metadata. The caller knows that the name is free."""
        now = self.now()
        metadata = {**obj["metadata"], "uid": self.new_uid(), "creationTimestamp": now}
        if resource.has_generation:
            metadata["generation"] = 1
        new = {"apiVersion": resource.api_version, "kind": resource.kind, **obj, "metadata": metadata}
        if self._track_fields:
            metadata["managedFields"] = track(
                None, new, manager=manager, subresource="", time=now, api_version=resource.api_version
            )
        return self.store.put(resource, new) if persist else new

    def update(
        self,
        resource: ResourceType,
        old: Json,
        new: Json,
        manager: str,
        *,
        subresource: str = "",
        persist: bool = True,
    ) -> Json:
        """Stores the new state; a write that changes nothing leaves the version as it is."""
        if _content(old) == _content(new):
            return old
        metadata = {**new["metadata"]}
        if resource.has_generation and (
            old.get("spec") != new.get("spec")
            or ("deletionTimestamp" in metadata) != ("deletionTimestamp" in old["metadata"])
        ):
            metadata["generation"] = old["metadata"]["generation"] + 1
        if self._track_fields:
            metadata["managedFields"] = track(
                old, new, manager=manager, subresource=subresource, time=self.now(), api_version=resource.api_version
            )
        new = {**new, "metadata": metadata}
        if not persist:
            return new
        if "deletionTimestamp" in metadata and self._nothing_holds(resource, new):
            return self.store.remove(resource, metadata.get("namespace", ""), metadata["name"])
        return self.store.put(resource, new)

    def remove(self, resource: ResourceType, obj: Json) -> Json:
        metadata = obj["metadata"]
        return self.store.remove(resource, metadata.get("namespace", ""), metadata["name"])

    def mark_deleted(self, resource: ResourceType, obj: Json, manager: str, *, grace: int, finalizer: str = "") -> Json:
        """Sets deletionTimestamp; the object goes when nothing holds it any more."""
        metadata = {**obj["metadata"]}
        finalizers = list(metadata.get("finalizers", []))
        if finalizer and finalizer not in finalizers:
            metadata["finalizers"] = [*finalizers, finalizer]
        metadata.setdefault("deletionTimestamp", stamp(self.clock()))
        metadata["deletionGracePeriodSeconds"] = grace
        return self.update(resource, obj, {**obj, "metadata": metadata}, manager)

    @staticmethod
    def _nothing_holds(resource: ResourceType, obj: Json) -> bool:
        metadata = obj["metadata"]
        if metadata.get("finalizers") or obj.get("spec", {}).get("finalizers"):
            return False
        return resource is not PODS or metadata.get("deletionGracePeriodSeconds", 0) == 0


def _content(obj: Json) -> Json:
    if "managedFields" not in obj["metadata"]:
        return obj
    return {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key != "managedFields"}}
