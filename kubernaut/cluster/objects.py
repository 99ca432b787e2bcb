"""Addresses of Kubernetes objects: from kind to API path, from JSON pointer to value.

Pure; used by the client, the actions, the journal and the practice cluster's tests. Knows only the kinds that installed
actions and checks use; API discovery comes with the actions that need it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    api_version: str
    kind: str
    plural: str
    namespaced: bool = True


_TYPES = (
    ResourceType(api_version="v1", kind="Namespace", plural="namespaces", namespaced=False),
    ResourceType(api_version="v1", kind="Pod", plural="pods"),
    ResourceType(api_version="v1", kind="Event", plural="events"),
    ResourceType(api_version="v1", kind="ConfigMap", plural="configmaps"),
    ResourceType(api_version="v1", kind="Service", plural="services"),
    ResourceType(api_version="v1", kind="Node", plural="nodes", namespaced=False),
    ResourceType(api_version="v1", kind="PersistentVolumeClaim", plural="persistentvolumeclaims"),
    ResourceType(api_version="v1", kind="Secret", plural="secrets"),
    ResourceType(api_version="apps/v1", kind="Deployment", plural="deployments"),
    ResourceType(api_version="apps/v1", kind="ReplicaSet", plural="replicasets"),
    ResourceType(api_version="apps/v1", kind="StatefulSet", plural="statefulsets"),
    ResourceType(api_version="apps/v1", kind="DaemonSet", plural="daemonsets"),
)
BY_KIND: Mapping[str, ResourceType] = {resource.kind: resource for resource in _TYPES}


def canonical_kind(name: str) -> str | None:
    """`deployment`, `deployments`, `Deployment` → `Deployment`; None where the kind is not known."""
    lowered = name.strip().lower()
    return next((t.kind for t in _TYPES if lowered in (t.kind.lower(), t.plural, *_SHORT.get(t.kind, ()))), None)


_SHORT: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("deploy",),
    "ReplicaSet": ("rs",),
    "StatefulSet": ("sts",),
    "DaemonSet": ("ds",),
    "Pod": ("po",),
    "Namespace": ("ns",),
    "Node": ("no",),
    "Service": ("svc",),
    "ConfigMap": ("cm",),
    "Event": ("ev",),
    "PersistentVolumeClaim": ("pvc",),
}


@dataclass(frozen=True, kw_only=True)
class ObjectRef:
    """One object's address in one cluster."""

    api_version: str
    kind: str
    namespace: str | None
    name: str

    @classmethod
    def of(cls, kind: str, namespace: str | None, name: str) -> ObjectRef:
        """Raises `KeyError` for a kind that this version does not know."""
        resource = BY_KIND[kind]
        return cls(
            api_version=resource.api_version,
            kind=kind,
            namespace=namespace if resource.namespaced else None,
            name=name,
        )

    @property
    def path(self) -> str:
        return f"{collection_path(self.kind, self.namespace)}/{self.name}"

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def collection_path(kind: str, namespace: str | None) -> str:
    """`/apis/apps/v1/namespaces/shop/deployments`."""
    resource = BY_KIND[kind]
    root = f"/api/{resource.api_version}" if "/" not in resource.api_version else f"/apis/{resource.api_version}"
    if resource.namespaced and namespace:
        return f"{root}/namespaces/{namespace}/{resource.plural}"
    return f"{root}/{resource.plural}"


def escape(segment: str) -> str:
    """One segment of a JSON pointer (RFC 6901)."""
    return segment.replace("~", "~0").replace("/", "~1")


def pointer_parts(pointer: str) -> list[str]:
    if not pointer:
        return []
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def resolve(document: Any, pointer: str, default: Any = None) -> Any:
    """The value at an RFC 6901 pointer, or `default` where there is none."""
    current = document
    for part in pointer_parts(pointer):
        if isinstance(current, Mapping) and part in current:
            current = current[part]
        elif isinstance(current, list) and part.isdigit() and int(part) < len(current):
            current = current[int(part)]
        else:
            return default
    return current
