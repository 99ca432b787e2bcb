"""From a URL path to what it names in the Kubernetes API.

Why it exists: the API's paths are regular, and what is not modelled must be told apart from what does not exist: both
answer 501 here, with words. Pure; called by `http_api`.
"""

from __future__ import annotations

from dataclasses import dataclass

from kubernaut.cluster.practice.errors import not_implemented
from kubernaut.cluster.practice.resources import BY_PLURAL, NAMESPACES, ResourceType


@dataclass(frozen=True)
class Target:
    """`namespace` is None for a list over all namespaces; `name` is empty for a collection."""

    resource: ResourceType
    namespace: str | None
    name: str = ""
    subresource: str = ""


def target_of(path: str) -> Target:
    """Raises 501 for what the practice cluster does not model."""
    parts = path.strip("/").split("/")
    if parts[:2] == ["api", "v1"]:
        group, version, rest = "", "v1", parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise not_implemented(f"the path {path}")
    namespace: str | None = None
    if rest[0] == "namespaces" and not group and (len(rest) < 3 or rest[2] in NAMESPACES.subresources):
        return _target(path, NAMESPACES, None, rest[1:])
    if rest[0] == "namespaces" and len(rest) >= 3:
        namespace, rest = rest[1], rest[2:]
    resource = BY_PLURAL.get((group, version, rest[0]))
    if resource is None or (namespace is not None and not resource.namespaced):
        raise not_implemented(f"{rest[0]} of {group + '/' if group else ''}{version} (path {path})")
    return _target(path, resource, namespace, rest[1:])


def _target(path: str, resource: ResourceType, namespace: str | None, rest: list[str]) -> Target:
    if len(rest) > 2 or (resource.namespaced and namespace is None and rest):
        raise not_implemented(f"the path {path}")
    name = rest[0] if rest else ""
    subresource = rest[1] if len(rest) > 1 else ""
    if subresource and subresource not in resource.subresources:
        raise not_implemented(f"the subresource {subresource!r} of {resource.plural}")
    return Target(resource, namespace, name, subresource)
