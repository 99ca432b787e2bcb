"""managedFields: who last wrote which field.

Why it exists: the engine's undo names whoever changed a field after it, and reads that from managedFields as on a
real cluster. Pure functions, called by `registry` for each write. They follow the API server for writes of operation
`Update`: the writer owns the fields that it set or changed, and whoever owned them before does not any more.
Server-side apply does not exist here.
"""

from __future__ import annotations

import json
from typing import Any

from kubernaut.cluster.practice.resources import Json

# Lists whose items are told apart by these members; every other list is owned as a whole.
_KEYED_LISTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "containers": (("name",),),
    "env": (("name",),),
    "ports": (("containerPort", "protocol"), ("port", "protocol")),
    "volumes": (("name",),),
    "volumeMounts": (("mountPath",),),
    "conditions": (("type",),),
    "ownerReferences": (("uid",),),
    "imagePullSecrets": (("name",),),
    "podIPs": (("ip",),),
    "hostIPs": (("ip",),),
}
_WHOLE_MAPS = {"selector", "nodeSelector", "involvedObject", "securityContext", "capabilities"}
_MAPS = {"labels", "annotations", "limits", "requests", "data"}
_SERVER_OWNED = {
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "selfLink",
    "managedFields",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
}


def track(
    old: Json | None, new: Json, *, manager: str, subresource: str, time: str, api_version: str
) -> list[Json] | None:
    """The managedFields of `new` after this write."""
    entries: list[Json] = list((old or {}).get("metadata", {}).get("managedFields", []))
    touched, gone = _difference(_owned_part(old or {}), _owned_part(new), "")
    if not touched and not gone:
        return entries
    kept: list[Json] = []
    mine: Json | None = None
    for entry in entries:
        fields = _subtract(_subtract(entry["fieldsV1"], touched), gone)
        is_mine = (entry["manager"], entry.get("subresource", "")) == (manager, subresource)
        if is_mine:
            mine = {**entry, "fieldsV1": fields}
            kept.append(mine)
        elif fields:
            kept.append(entry if fields == entry["fieldsV1"] else {**entry, "fieldsV1": fields})
    if mine is None and touched:
        mine = {
            "manager": manager,
            "operation": "Update",
            "apiVersion": api_version,
            "time": time,
            "fieldsType": "FieldsV1",
            "fieldsV1": {},
        } | ({"subresource": subresource} if subresource else {})
        kept.append(mine)
    if mine is not None and touched:
        mine["fieldsV1"] = _union(mine["fieldsV1"], touched)
        mine["time"] = time
    return [entry for entry in kept if entry["fieldsV1"]]


def owner_of(obj: Json, *path: str) -> str | None:
    """The manager of the field at `path` (plain member names, e.g. `spec`, `replicas`), or None."""
    for entry in obj.get("metadata", {}).get("managedFields", []):
        node: Any = entry["fieldsV1"]
        for name in path:
            node = node.get(f"f:{name}") if isinstance(node, dict) else None
            if node is None:
                break
        else:
            return str(entry["manager"])
    return None


def _owned_part(obj: Json) -> Json:
    part = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}
    if not part.get("status", True):
        del part["status"]
    metadata = obj.get("metadata", {})
    part["metadata"] = {key: value for key, value in metadata.items() if key not in _SERVER_OWNED}
    return part


def _difference(old: Any, new: Any, name: str) -> tuple[Json, Json]:
    """Two sets of paths below this value: set or changed, and removed. Empty sets: it changed as a whole, or not."""
    if isinstance(old, dict) and isinstance(new, dict) and name not in _WHOLE_MAPS:
        return _members_difference(old, new, "f:")
    old_items, new_items = _list_items(old, name), _list_items(new, name)
    if old_items is None or new_items is None:
        return _all_of(new, name), {}
    return _members_difference(old_items, new_items, "")


def _members_difference(old: Json, new: Json, prefix: str) -> tuple[Json, Json]:
    """Of the members of objects (`prefix` is f:) or of keyed items, whose keys are those of fieldsV1 already."""
    touched: Json = {}
    gone: Json = {}
    for key, value in new.items():
        former = old.get(key)
        if value is None or former is value:
            continue
        name = key if prefix else ""
        if former is None:
            touched[prefix + key] = _all_of(value, name, item=key.startswith("k:"))
        elif former != value:
            below, below_gone = _difference(former, value, name)
            if below or not below_gone:
                touched[prefix + key] = below
            if below_gone:
                gone[prefix + key] = below_gone
    for key, value in old.items():
        if value is not None and new.get(key) is None:
            gone[prefix + key] = {}
    return touched, gone


def _list_items(value: Any, name: str) -> Json | None:
    """The items of a list by their key in fieldsV1; None where the list (or anything else) is owned as a whole."""
    if not isinstance(value, list):
        return None
    for keys in _KEYED_LISTS.get(name, ()):
        if all(isinstance(item, dict) and keys[0] in item for item in value):
            return {_item_key(item, keys): item for item in value}
    return {f'v:"{item}"': item for item in value} if name == "finalizers" else None


def _item_key(item: Json, keys: tuple[str, ...]) -> str:
    return "k:" + json.dumps({key: item[key] for key in keys if key in item}, separators=(",", ":"))


def _all_of(value: Any, name: str, *, item: bool = False) -> Json:
    """Every path below a value that is new."""
    result: Json = {".": {}} if item or name in _MAPS else {}
    if isinstance(value, dict):
        if name not in _WHOLE_MAPS:
            for key, member in value.items():
                if member is not None:
                    result[f"f:{key}"] = _all_of(member, key)
        return result if len(result) > 1 or "." not in result else {}
    members = _list_items(value, name)
    if not members:
        return {}
    return {".": {}} | {key: _all_of(member, "", item=key.startswith("k:")) for key, member in members.items()}


def _union(left: Json, right: Json) -> Json:
    result = dict(left)
    for key, value in right.items():
        result[key] = _union(result[key], value) if key in result else value
    return result


def _subtract(left: Json, right: Json) -> Json:
    if not right:
        return left
    result = dict(left)
    for key, value in right.items():
        if key not in result:
            continue
        rest = _subtract(result[key], value) if value else {}
        if rest:
            result[key] = rest
        else:
            del result[key]
    return result
