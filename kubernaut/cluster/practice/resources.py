"""The kinds that the practice cluster knows, and how the Kubernetes API names them.

Why it exists: paths, discovery, messages and the store all speak of a kind in different spellings (`deployments`,
`Deployment.apps`, `apps/v1`); this table is where they meet. Pure data: no behaviour of a kind is decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]
"""A Kubernetes object or a part of one. Objects in the store are never changed in place: a change is a new dict."""


@dataclass(frozen=True, eq=False)
class ResourceType:
    """One kind. `subresources` are those modelled; `has_generation` is true where the API server counts the spec.

    Each kind exists once, in this module, and is compared by identity: it is the key of most lookups.
    """

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    has_generation: bool = False
    categories: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def kind_qualified(self) -> str:
        return f"{self.kind}.{self.group}" if self.group else self.kind

    def details(self, name: str) -> Json:
        """The `details` of a Status about one object of this kind."""
        return {"name": name} | ({"group": self.group} if self.group else {}) | {"kind": self.plural}


NAMESPACES = ResourceType("", "v1", "namespaces", "namespace", "Namespace", False, ("ns",), ("status",))
PODS = ResourceType("", "v1", "pods", "pod", "Pod", True, ("po",), ("status",), categories=("all",))
EVENTS = ResourceType("", "v1", "events", "event", "Event", True, ("ev",))
CONFIG_MAPS = ResourceType("", "v1", "configmaps", "configmap", "ConfigMap", True, ("cm",))
SERVICES = ResourceType("", "v1", "services", "service", "Service", True, ("svc",), categories=("all",))
DEPLOYMENTS = ResourceType(
    "apps",
    "v1",
    "deployments",
    "deployment",
    "Deployment",
    True,
    ("deploy",),
    ("scale", "status"),
    has_generation=True,
    categories=("all",),
)
REPLICA_SETS = ResourceType(
    "apps",
    "v1",
    "replicasets",
    "replicaset",
    "ReplicaSet",
    True,
    ("rs",),
    ("scale", "status"),
    has_generation=True,
    categories=("all",),
)

RESOURCES: tuple[ResourceType, ...] = (
    CONFIG_MAPS,
    EVENTS,
    NAMESPACES,
    PODS,
    SERVICES,
    DEPLOYMENTS,
    REPLICA_SETS,
)

BY_PLURAL: dict[tuple[str, str, str], ResourceType] = {(r.group, r.version, r.plural): r for r in RESOURCES}
BY_KIND: dict[tuple[str, str], ResourceType] = {(r.api_version, r.kind): r for r in RESOURCES}


def copy_json(value: Any) -> Any:
    """A deep copy of JSON-shaped data, several times faster than `copy.deepcopy`."""
    if isinstance(value, dict):
        return {key: copy_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy_json(item) for item in value]
    return value
