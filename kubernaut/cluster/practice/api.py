"""The verbs of the Kubernetes API over the store: get, list, create, replace, patch, delete, scale, watch.

Why it exists: a request means the same whether it comes over HTTP or from a simulation in the same process. Called by
`http_api` and by whoever drives a `PracticeCluster` directly. It raises `ApiError` for every refusal. It runs no
controllers (`cluster` does) and knows no HTTP beyond media types of patches.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kubernaut.cluster.practice import errors
from kubernaut.cluster.practice.admission import (
    WriteOptions,
    admit_new,
    admit_update,
    decode_body,
    expect_kind,
    expect_modelled_size,
    expect_same_object,
)
from kubernaut.cluster.practice.decoding import WrongType, decode
from kubernaut.cluster.practice.errors import FieldError
from kubernaut.cluster.practice.listing import ListOptions, Watch, list_objects, matcher
from kubernaut.cluster.practice.patching import MalformedPatch, PatchFailed, json_patch, merge_patch
from kubernaut.cluster.practice.registry import Registry
from kubernaut.cluster.practice.resources import NAMESPACES, PODS, SERVICES, Json, ResourceType, copy_json
from kubernaut.cluster.practice.selectors import selector_text

PLAIN = WriteOptions()


class PatchType(StrEnum):
    """The media types of patches that are applied; strategic merge and apply patches are not."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"


@dataclass(frozen=True)
class Preconditions:
    """What a delete insists on; empty text insists on nothing."""

    uid: str = ""
    resource_version: str = ""


@dataclass(frozen=True)
class DeleteOptions:
    """`grace` in seconds (None: the object's own); `propagation` Background, Foreground or Orphan (empty:
    Background).
    """

    grace: int | None = None
    propagation: str = ""
    preconditions: Preconditions = field(default_factory=Preconditions)
    dry_run: bool = False
    field_manager: str = "unknown"


_PROPAGATION_FINALIZERS = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}


class Api:
    """All verbs. Objects given out are copies; the caller may change them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._store = registry.store
        self._services = 0

    def get(self, resource: ResourceType, namespace: str, name: str, subresource: str = "") -> Json:
        obj = self._stored(resource, namespace, name)
        return scale_of(obj) if subresource == "scale" else _copy(obj)

    def list(self, resource: ResourceType, namespace: str | None = None, options: ListOptions | None = None) -> Json:
        return _copy(list_objects(self._store, resource, namespace, options or ListOptions()))

    def watch(self, resource: ResourceType, namespace: str | None = None, options: ListOptions | None = None) -> Watch:
        return Watch(self._store, resource, namespace, options or ListOptions())

    def create(self, resource: ResourceType, namespace: str, body: Any, options: WriteOptions = PLAIN) -> Json:
        obj = decode_body(resource, body, options)
        metadata = obj["metadata"]
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + self._registry.name_suffix()
        name = metadata.get("name", "")
        if resource.namespaced:
            self._expect_open_namespace(resource, namespace, name)
        new = admit_new(resource, namespace, obj)
        if self._store.get(resource, namespace if resource.namespaced else "", name):
            raise errors.already_exists(resource, name)
        if resource is SERVICES:
            new = self._with_cluster_ip(new)
        return _copy(self._registry.create(resource, new, options.field_manager, persist=not options.dry_run))

    def replace(
        self,
        resource: ResourceType,
        namespace: str,
        name: str,
        body: Any,
        options: WriteOptions = PLAIN,
        *,
        subresource: str = "",
    ) -> Json:
        old = self._stored(resource, namespace, name)
        if subresource == "scale":
            return self._put_scale(resource, old, body, options)
        return self._write(resource, old, decode_body(resource, body, options), options, subresource)

    def patch(
        self,
        resource: ResourceType,
        namespace: str,
        name: str,
        patch: Any,
        patch_type: PatchType,
        options: WriteOptions = PLAIN,
        *,
        subresource: str = "",
    ) -> Json:
        old = self._stored(resource, namespace, name)
        current = scale_of(old) if subresource == "scale" else old
        patched = apply_patch(current, patch, patch_type)
        if subresource == "scale":
            return self._put_scale(resource, old, patched, options, patch=True)
        decoded = decode_body(resource, patched, options, patch=True)
        return self._write(resource, old, decoded, options, subresource, patch=True)

    def _write(
        self,
        resource: ResourceType,
        old: Json,
        decoded: Json,
        options: WriteOptions,
        subresource: str,
        *,
        patch: bool = False,
    ) -> Json:
        new = admit_update(resource, old, decoded, subresource=subresource, patch=patch)
        return _copy(
            self._registry.update(
                resource, old, new, options.field_manager, subresource=subresource, persist=not options.dry_run
            )
        )

    def _put_scale(
        self, resource: ResourceType, old: Json, body: Any, options: WriteOptions, *, patch: bool = False
    ) -> Json:
        if not isinstance(body, dict):
            raise errors.bad_request("a Scale must be a JSON object")
        expect_kind("autoscaling/v1", "Scale", body)
        try:
            scale = decode("Scale", body).value
        except WrongType as error:
            raise errors.bad_request(f'Scale in version "v1" cannot be handled as a Scale: {error}') from error
        expect_same_object(resource, old, scale.get("metadata", {}), patch=patch)
        replicas = scale.get("spec", {}).get("replicas", 0)
        if replicas < 0:
            problem = FieldError.invalid("spec.replicas", replicas, "must be greater than or equal to 0")
            raise errors.invalid(_SCALES, old["metadata"]["name"], [problem])
        expect_modelled_size({"replicas": replicas})
        new = {**old, "spec": {**old["spec"], "replicas": replicas}}
        stored = self._registry.update(
            resource, old, new, options.field_manager, subresource="scale", persist=not options.dry_run
        )
        return scale_of(stored)

    def delete(self, resource: ResourceType, namespace: str, name: str, options: DeleteOptions | None = None) -> Json:
        """The object while something still holds it (and always for a pod), else a `Status` of success."""
        options = options or DeleteOptions()
        obj = self._stored(resource, namespace, name)
        _check_preconditions(resource, obj, options.preconditions)
        if options.propagation not in ("", "Background", "Foreground", "Orphan"):
            supported = ["Foreground", "Background", "Orphan", ""]
            problem = FieldError.unsupported("propagationPolicy", options.propagation, supported)
            raise errors.invalid(_DELETE_OPTIONS, "", [problem])
        if options.dry_run:
            return _deleted(resource, obj)
        grace = _grace(obj, options) if resource is PODS else 0
        finalizer = _PROPAGATION_FINALIZERS.get(options.propagation, "")
        if not grace and not finalizer and not _is_held(resource, obj):
            self._registry.remove(resource, obj)
            return _copy(obj) if resource is PODS else _deleted(resource, obj)
        marked = obj
        if resource is NAMESPACES:
            marked = {**obj, "status": {**obj["status"], "phase": "Terminating"}}
        elif resource is PODS and "deletionTimestamp" in obj["metadata"]:
            grace = min(grace, obj["metadata"].get("deletionGracePeriodSeconds", grace))
        return _copy(
            self._registry.mark_deleted(resource, marked, options.field_manager, grace=grace, finalizer=finalizer)
        )

    def delete_collection(
        self, resource: ResourceType, namespace: str | None, selection: ListOptions, options: DeleteOptions
    ) -> Json:
        """Deletes what the selectors choose and answers the list of it."""
        answer = self.list(resource, namespace, selection)
        matches = matcher(resource, namespace, selection)
        for obj in [obj for obj in self._store.all(resource, namespace) if matches(obj)]:
            self.delete(resource, obj["metadata"].get("namespace", ""), obj["metadata"]["name"], options)
        return answer

    def _stored(self, resource: ResourceType, namespace: str, name: str) -> Json:
        obj = self._store.get(resource, namespace if resource.namespaced else "", name)
        if obj is None:
            raise errors.not_found(resource, name)
        return obj

    def _expect_open_namespace(self, resource: ResourceType, namespace: str, name: str) -> None:
        found = self._store.get(NAMESPACES, "", namespace)
        if found is None:
            raise errors.not_found(NAMESPACES, namespace)
        if "deletionTimestamp" in found["metadata"]:
            raise errors.namespace_terminating(resource, name, namespace)

    def _with_cluster_ip(self, service: Json) -> Json:
        if service["spec"].get("clusterIP") or service["spec"]["type"] == "ExternalName":
            return service
        self._services += 1
        address = f"10.96.{self._services // 250}.{self._services % 250 + 1}"
        return {**service, "spec": {**service["spec"], "clusterIP": address, "clusterIPs": [address]}}


_SCALES = ResourceType("autoscaling", "v1", "scales", "scale", "Scale", True)
_DELETE_OPTIONS = ResourceType("meta.k8s.io", "v1", "deleteoptions", "deleteoptions", "DeleteOptions", False)


def _copy(obj: Json) -> Json:
    copied: Json = copy_json(obj)
    return copied


def apply_patch(current: Json, patch: Any, patch_type: PatchType) -> Any:
    """The patched document, with the API server's answers for patches that are none or do not apply."""
    if patch_type is PatchType.MERGE:
        if not isinstance(patch, dict):
            raise errors.bad_request("Invalid JSON Patch: a merge patch of an object must be a JSON object")
        return merge_patch(current, patch)
    try:
        return json_patch(current, patch, absent_is_null=True)
    except MalformedPatch as error:
        raise errors.bad_request(str(error)) from error
    except PatchFailed as error:
        raise errors.patch_rejected() from error


def scale_of(obj: Json) -> Json:
    """The `autoscaling/v1` Scale of a Deployment or ReplicaSet. As on a real server, zero replicas leave spec empty."""
    metadata = obj["metadata"]
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    replicas = obj["spec"]["replicas"]
    status: Json = {"replicas": obj.get("status", {}).get("replicas", 0)}
    status["selector"] = selector_text(obj["spec"].get("selector"))
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in names if name in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _check_preconditions(resource: ResourceType, obj: Json, preconditions: Preconditions) -> None:
    metadata = obj["metadata"]
    if preconditions.uid and preconditions.uid != metadata["uid"]:
        raise errors.precondition_failed(
            resource,
            metadata["name"],
            f"the UID in the precondition ({preconditions.uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated",
        )
    version = metadata["resourceVersion"]
    if preconditions.resource_version and preconditions.resource_version != version:
        raise errors.precondition_failed(
            resource,
            metadata["name"],
            f"the ResourceVersion in the precondition ({preconditions.resource_version}) does not match the "
            f"ResourceVersion in record ({version}). The object might have been modified",
        )


def _grace(pod: Json, options: DeleteOptions) -> int:
    """A pod that runs nowhere, or is over, needs no grace."""
    if not pod["spec"].get("nodeName") or pod["status"].get("phase") in ("Failed", "Succeeded"):
        return 0
    own: int = pod["spec"]["terminationGracePeriodSeconds"]
    return own if options.grace is None else options.grace


def _is_held(resource: ResourceType, obj: Json) -> bool:
    return bool(obj["metadata"].get("finalizers")) or (resource is NAMESPACES and bool(obj["spec"].get("finalizers")))


def _deleted(resource: ResourceType, obj: Json) -> Json:
    details = resource.details(obj["metadata"]["name"]) | {"uid": obj["metadata"]["uid"]}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
