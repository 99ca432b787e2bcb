"""The documents by which a client finds out what the practice cluster is and knows.

Why it exists: clients ask for these before anything else, and everyone must be able to see that this is no real
cluster. Pure data from `resources`; served by `http_api`.
"""

from __future__ import annotations

from collections.abc import Iterable

from kubernaut.cluster.practice.resources import RESOURCES, Json, ResourceType

_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]

VERSION: Json = {
    "major": "1",
    "minor": "31",
    "gitVersion": "v1.31.0-practice",
    "gitCommit": "practice",
    "gitTreeState": "practice",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "practice",
    "compiler": "practice",
    "platform": "practice",
}


def document(path: str, address: str) -> Json | None:
    """The discovery document at `path`, or None. `address` is host and port, as clients reach them."""
    group: Json = {
        "name": "apps",
        "versions": [{"groupVersion": "apps/v1", "version": "v1"}],
        "preferredVersion": {"groupVersion": "apps/v1", "version": "v1"},
    }
    documents: dict[str, Json] = {
        "/version": VERSION,
        "/api": {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        },
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]},
        "/apis/apps": {"kind": "APIGroup", "apiVersion": "v1", **group},
        "/api/v1": _resource_list("v1", (item for item in RESOURCES if not item.group)),
        "/apis/apps/v1": _resource_list("apps/v1", (item for item in RESOURCES if item.group == "apps")),
    }
    return documents.get(path)


def _resource_list(group_version: str, resources: Iterable[ResourceType]) -> Json:
    entries: list[Json] = []
    for item in resources:
        entries.append(_entry(item))
        entries.extend(_subresource(item, name) for name in item.subresources)
    result: Json = {"kind": "APIResourceList", "groupVersion": group_version, "resources": entries}
    return result if group_version == "v1" else {"kind": "APIResourceList", "apiVersion": "v1", **result}


def _entry(item: ResourceType) -> Json:
    entry: Json = {
        "name": item.plural,
        "singularName": item.singular,
        "namespaced": item.namespaced,
        "kind": item.kind,
        "verbs": _VERBS,
    }
    if item.short_names:
        entry["shortNames"] = list(item.short_names)
    if item.categories:
        entry["categories"] = list(item.categories)
    return entry


def _subresource(item: ResourceType, name: str) -> Json:
    entry: Json = {
        "name": f"{item.plural}/{name}",
        "singularName": "",
        "namespaced": item.namespaced,
        "kind": item.kind,
        "verbs": ["get", "patch", "update"],
    }
    return entry | ({"group": "autoscaling", "version": "v1", "kind": "Scale"} if name == "scale" else {})
