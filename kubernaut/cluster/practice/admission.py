"""From a request's body to an object that may be stored: decode, complete, validate.

Why it exists: create, replace and every kind of patch pass the same gate, in the API server's order: decode and prune,
server-owned metadata, defaults, validation. Called by `api`; it writes nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from kubernaut.cluster.practice import errors
from kubernaut.cluster.practice.decoding import WrongType, decode
from kubernaut.cluster.practice.defaults import apply_defaults
from kubernaut.cluster.practice.errors import ApiError, FieldError
from kubernaut.cluster.practice.resources import PODS, Json, ResourceType
from kubernaut.cluster.practice.validation import validate, validate_update

MAX_REPLICAS = 1000
FIELD_VALIDATION = ("Ignore", "Warn", "Strict")


@dataclass(frozen=True)
class WriteOptions:
    """The query parameters of a write. `warnings` collects what the server would send as `Warning` headers."""

    field_manager: str = "unknown"
    dry_run: bool = False
    field_validation: str = "Warn"
    warnings: list[str] = field(default_factory=list)


_SERVER_METADATA = (
    "uid",
    "creationTimestamp",
    "generation",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
)


def decode_body(resource: ResourceType, body: Any, options: WriteOptions, *, patch: bool = False) -> Json:
    """The typed and pruned object. A patch whose result does not decode is a 422, a whole object a 400."""
    if not isinstance(body, dict):
        raise errors.bad_request(f"the object provided is unrecognized: it must be a JSON object, not {body!r}")
    expect_kind(resource.api_version, resource.kind, body)
    try:
        decoded = decode(resource.kind, body)
    except WrongType as error:
        raise _undecodable(resource, body, str(error), patch) from error
    if decoded.unknown and options.field_validation == "Strict":
        listed = ", ".join(f'unknown field "{name}"' for name in decoded.unknown)
        raise _undecodable(resource, body, f"strict decoding error: {listed}", patch)
    if options.field_validation == "Warn":
        options.warnings.extend(f'unknown field "{name}"' for name in decoded.unknown)
    decoded.value.setdefault("metadata", {})
    return decoded.value


def expect_kind(api_version: str, kind: str, body: Json) -> None:
    for name, expected, words in (("apiVersion", api_version, "API version"), ("kind", kind, "kind")):
        if body.get(name, expected) != expected:
            raise errors.bad_request(
                f"the {words} in the data ({body[name]}) does not match the expected {words} ({expected})"
            )


def _undecodable(resource: ResourceType, body: Json, text: str, patch: bool) -> ApiError:
    if patch:
        return errors.invalid(None, "", [FieldError.invalid("patch", json.dumps(body, separators=(",", ":")), text)])
    message = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {text}'
    return errors.bad_request(message)


def admit_new(resource: ResourceType, namespace: str, obj: Json) -> Json:
    """A decoded object as it will be created, without what the registry adds."""
    metadata = {key: value for key, value in obj["metadata"].items() if key not in _SERVER_METADATA}
    if obj["metadata"].get("resourceVersion"):
        raise errors.bad_request("resourceVersion should not be set on objects to be created")
    if resource.namespaced:
        _same_namespace(metadata, namespace)
        metadata["namespace"] = namespace
    else:
        metadata.pop("namespace", None)
    new = {"apiVersion": resource.api_version, "kind": resource.kind, **obj, "metadata": metadata}
    new.pop("status", None)
    new = apply_defaults(resource.kind, new)
    _only_modelled(new)
    _refuse_if(resource, metadata.get("name", ""), validate(resource, new))
    if resource.kind in _FIRST_STATUS:
        new["status"] = _FIRST_STATUS[resource.kind]
    if resource is PODS:
        new["status"] = {"phase": "Pending", "qosClass": qos_class(new["spec"])}
    return new


_FIRST_STATUS: dict[str, Json] = {
    "Namespace": {"phase": "Active"},
    "Deployment": {},
    "ReplicaSet": {"replicas": 0},
    "Service": {"loadBalancer": {}},
}


def _same_namespace(metadata: Json, namespace: str) -> None:
    if metadata.get("namespace", namespace) != namespace:
        raise errors.bad_request(
            f"the namespace of the provided object does not match the namespace sent on the request "
            f"({metadata['namespace']} != {namespace})"
        )


def admit_update(resource: ResourceType, old: Json, obj: Json, *, subresource: str = "", patch: bool = False) -> Json:
    """A decoded object as the new state of `old`: conflicts, then what may change, then validation."""
    name = old["metadata"]["name"]
    given = obj["metadata"]
    expect_same_object(resource, old, given, patch=patch)
    metadata = {key: value for key, value in given.items() if key not in _SERVER_METADATA}
    metadata |= {key: old["metadata"][key] for key in _SERVER_METADATA if key in old["metadata"]}
    metadata |= {"name": name} | ({"namespace": old["metadata"]["namespace"]} if resource.namespaced else {})
    new = {"apiVersion": resource.api_version, "kind": resource.kind, **obj, "metadata": metadata}
    if subresource == "status":
        new = {**old, "metadata": {**metadata, "labels": old["metadata"].get("labels")}, "status": obj.get("status")}
        new["metadata"] = {key: value for key, value in new["metadata"].items() if value is not None}
        new["status"] = new["status"] or {}
        return new
    if "status" in old:
        new["status"] = old["status"]
    else:
        new.pop("status", None)
    new = apply_defaults(resource.kind, _with_server_spec(resource, old, new))
    _only_modelled(new)
    _refuse_if(resource, name, validate(resource, new) + validate_update(resource, old, new))
    return new


def _with_server_spec(resource: ResourceType, old: Json, new: Json) -> Json:
    """Spec fields that the server has set and that a replace may leave out."""
    kept: dict[str, tuple[str, ...]] = {"Service": ("clusterIP", "clusterIPs"), "Namespace": ("finalizers",)}
    names = [name for name in kept.get(resource.kind, ()) if name in old["spec"] and name not in new.get("spec", {})]
    return {**new, "spec": {**new.get("spec", {}), **{name: old["spec"][name] for name in names}}} if names else new


def expect_same_object(resource: ResourceType, old: Json, given: Json, *, patch: bool = False) -> None:
    """Name, namespace, uid and resourceVersion, where the request names them, must be those of the stored object."""
    name = old["metadata"]["name"]
    if given.get("name", name) != name:
        if patch:
            error = FieldError.invalid("metadata.name", given["name"], "field is immutable")
            raise errors.invalid(resource, name, [error])
        raise errors.bad_request(
            f"the name of the object ({given['name']}) does not match the name on the URL ({name})"
        )
    if resource.namespaced:
        _same_namespace(given, old["metadata"]["namespace"])
    uid = old["metadata"]["uid"]
    if given.get("uid", uid) != uid:
        text = f"Precondition failed: UID in precondition: {given['uid']}, UID in object meta: {uid}"
        raise errors.conflict(resource, name, text)
    if given.get("resourceVersion") and given["resourceVersion"] != old["metadata"]["resourceVersion"]:
        raise errors.conflict(resource, name)


def _refuse_if(resource: ResourceType, name: str, found: list[FieldError]) -> None:
    if found:
        raise errors.invalid(resource, name, found)


def _only_modelled(obj: Json) -> None:
    spec = obj.get("spec") or {}
    expect_modelled_size(spec)
    pod = (spec.get("template") or {}).get("spec") or spec
    for name, words in (("initContainers", "init containers"), ("ephemeralContainers", "ephemeral containers")):
        if pod.get(name):
            raise errors.not_implemented(words)


def expect_modelled_size(spec: Json) -> None:
    """A real cluster would leave most of so many pods pending; here they would only take the machine's time."""
    if spec.get("replicas", 0) > MAX_REPLICAS:
        raise errors.not_implemented(f"more than {MAX_REPLICAS} replicas of one object")


def qos_class(spec: Json) -> str:
    """Guaranteed when every container's cpu and memory limits equal its requests, BestEffort when none has either."""
    pairs = [
        (item["resources"].get("requests", {}), item["resources"].get("limits", {})) for item in spec["containers"]
    ]
    if not any(requests or limits for requests, limits in pairs):
        return "BestEffort"
    if all(set(limits) >= {"cpu", "memory"} and requests == limits for requests, limits in pairs):
        return "Guaranteed"
    return "Burstable"
