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
    "containerStatuses": (),
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
    """Two sets of paths below this value: set or changed, and removed."""
    if old is new or old == new:
        return {}, {}
    old_items, new_items = _items(old, name), _items(new, name)
    if old_items is None or new_items is None:
        return _all_of(new, name), {}
    touched: Json = {}
    gone: Json = {}
    for key, value in new_items.items():
        if key not in old_items:
            touched[key] = _all_of(value, key[2:], item=key.startswith("k:"))
            continue
        below, below_gone = _difference(old_items[key], value, key[2:])
        if below or (below_gone == {} and old_items[key] != value):
            touched[key] = below
        if below_gone:
            gone[key] = below_gone
    for key in old_items.keys() - new_items.keys():
        gone[key] = {}
    return touched, gone


def _items(value: Any, name: str) -> dict[str, Any] | None:
    """The separately owned members of a value, by their key in fieldsV1; None where it is owned as a whole."""
    if isinstance(value, dict):
        return None if name in _WHOLE_MAPS else {f"f:{key}": item for key, item in value.items() if item is not None}
    if isinstance(value, list):
        for keys in _KEYED_LISTS.get(name, ()):
            if all(isinstance(item, dict) and keys[0] in item for item in value):
                return {_item_key(item, keys): item for item in value}
        if name == "finalizers":
            return {f'v:"{item}"': item for item in value}
    return None


def _item_key(item: Json, keys: tuple[str, ...]) -> str:
    return "k:" + json.dumps({key: item[key] for key in keys if key in item}, separators=(",", ":"))


def _all_of(value: Any, name: str, *, item: bool = False) -> Json:
    members = _items(value, name)
    if not members:
        return {}
    result: Json = {".": {}} if item or name in _MAPS or isinstance(value, list) else {}
    for key, member in members.items():
        result[key] = _all_of(member, key[2:], item=key.startswith("k:"))
    return result


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
