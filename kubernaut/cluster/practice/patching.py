"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386), whole, as pure functions.

Why it exists: undo and preconditions of the engine rest on `test` and on exact patch semantics, so the practice cluster
must not be laxer than a real API server. Called by `api`; it knows nothing of Kubernetes. Inputs are never changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubernaut.cluster.practice.resources import copy_json


class MalformedPatch(ValueError):
    """The patch document itself is not a patch: unknown operation, missing member, bad pointer."""


class PatchFailed(ValueError):
    """A well-formed patch that does not apply: a path is missing or a `test` does not hold."""


_ABSENT = object()


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7386: objects merge member by member, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return copy_json(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def json_patch(document: Any, patch: Any, *, absent_is_null: bool = False) -> Any:
    """RFC 6902: all operations apply in order, or `PatchFailed` and nothing happened.

    `absent_is_null` lets `{"op": "test", "value": null}` hold for a missing member of an existing object. The RFC says
    no; the library in kube-apiserver says yes, and clients use it to state that a field is not set.
    """
    operations = [_Operation.read(item, index) for index, item in enumerate(_as_list(patch))]
    result = copy_json(document)
    for operation in operations:
        result = _APPLY[operation.op](result, operation, absent_is_null)
    return result


def parse_pointer(pointer: Any) -> tuple[str, ...]:
    """RFC 6901: the unescaped reference tokens; the empty pointer is the whole document."""
    if not isinstance(pointer, str):
        raise MalformedPatch(f"a JSON pointer must be a string, not {pointer!r}")
    if pointer == "":
        return ()
    if not pointer.startswith("/"):
        raise MalformedPatch(f"JSON pointer {pointer!r} must be empty or begin with '/'")
    tokens = pointer[1:].split("/")
    for token in tokens:
        if token.replace("~0", "").replace("~1", "").count("~"):
            raise MalformedPatch(f"JSON pointer {pointer!r}: '~' must be written as '~0' or '~1'")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in tokens)


def json_equal(left: Any, right: Any) -> bool:
    """RFC 6902 section 4.6: numbers by value, but true is not 1; objects without order."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(json_equal(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(json_equal, left, right))
    return (type(left) is type(right) and left == right) or _same_number(left, right)


def _same_number(left: Any, right: Any) -> bool:
    return isinstance(left, (int, float)) and isinstance(right, (int, float)) and left == right


def _as_list(patch: Any) -> list[Any]:
    if not isinstance(patch, list):
        raise MalformedPatch("a JSON patch must be an array of operations")
    return patch


@dataclass(frozen=True)
class _Operation:
    op: str
    path: tuple[str, ...]
    source: tuple[str, ...]
    value: Any
    where: str

    @classmethod
    def read(cls, item: Any, index: int) -> _Operation:
        if not isinstance(item, dict):
            raise MalformedPatch(f"operation {index} must be an object, not {item!r}")
        op = item.get("op")
        if not isinstance(op, str) or op not in _APPLY:
            raise MalformedPatch(f"operation {index}: unknown op {op!r}; one of {', '.join(sorted(_APPLY))}")
        if "path" not in item:
            raise MalformedPatch(f"operation {index} ({op}) has no path")
        if op in {"add", "replace", "test"} and "value" not in item:
            raise MalformedPatch(f"operation {index} ({op}) has no value")
        if op in {"move", "copy"} and "from" not in item:
            raise MalformedPatch(f"operation {index} ({op}) has no from")
        source = parse_pointer(item["from"]) if op in {"move", "copy"} else ()
        return cls(op, parse_pointer(item["path"]), source, item.get("value"), f"operation {index} ({op})")


def _array_index(token: str, length: int, where: str) -> int:
    """An index that exists, or `PatchFailed`. `length` is how many positions are allowed."""
    if not (token.isascii() and token.isdigit()) or (len(token) > 1 and token.startswith("0")):
        raise PatchFailed(f"{where}: {token!r} is not an array index")
    index = int(token)
    if index >= length:
        raise PatchFailed(f"{where}: index {index} is out of bounds")
    return index


def _child(node: Any, token: str, where: str) -> Any:
    if isinstance(node, dict):
        if token not in node:
            raise PatchFailed(f"{where}: member {token!r} does not exist")
        return node[token]
    if isinstance(node, list):
        return node[_array_index(token, len(node), where)]
    raise PatchFailed(f"{where}: {token!r} points into a value that is neither object nor array")


def _find(document: Any, path: tuple[str, ...], where: str) -> Any:
    for token in path:
        document = _child(document, token, where)
    return document


def _add(document: Any, operation: _Operation, _: bool) -> Any:
    return _put(document, operation.path, copy_json(operation.value), operation.where)


def _put(document: Any, path: tuple[str, ...], value: Any, where: str) -> Any:
    if not path:
        return value
    parent, last = _find(document, path[:-1], where), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        index = len(parent) if last == "-" else _array_index(last, len(parent) + 1, where)
        parent.insert(index, value)
    else:
        raise PatchFailed(f"{where}: the parent of {last!r} is neither object nor array")
    return document


def _take(document: Any, path: tuple[str, ...], where: str) -> tuple[Any, Any]:
    """The document without the value, and the value."""
    if not path:
        return None, document
    parent, last = _find(document, path[:-1], where), path[-1]
    value = _child(parent, last, where)
    if isinstance(parent, dict):
        del parent[last]
    else:
        del parent[int(last)]
    return document, value


def _remove(document: Any, operation: _Operation, _: bool) -> Any:
    return _take(document, operation.path, operation.where)[0]


def _replace(document: Any, operation: _Operation, _: bool) -> Any:
    value = copy_json(operation.value)
    if not operation.path:
        return value
    parent, last = _find(document, operation.path[:-1], operation.where), operation.path[-1]
    _child(parent, last, operation.where)
    parent[last if isinstance(parent, dict) else int(last)] = value
    return document


def _move(document: Any, operation: _Operation, _: bool) -> Any:
    if operation.path[: len(operation.source)] == operation.source and operation.path != operation.source:
        raise PatchFailed(f"{operation.where}: a value cannot be moved into itself")
    document, value = _take(document, operation.source, operation.where)
    return _put(document, operation.path, value, operation.where)


def _copy(document: Any, operation: _Operation, _: bool) -> Any:
    value = copy_json(_find(document, operation.source, operation.where))
    return _put(document, operation.path, value, operation.where)


def _test(document: Any, operation: _Operation, absent_is_null: bool) -> Any:
    actual = _ABSENT
    if operation.path:
        parent, last = _find(document, operation.path[:-1], operation.where), operation.path[-1]
        if absent_is_null and isinstance(parent, dict) and last not in parent and operation.value is None:
            return document
        actual = _child(parent, last, operation.where)
    else:
        actual = document
    if not json_equal(actual, operation.value):
        raise PatchFailed(f"{operation.where}: the value is {actual!r}, not {operation.value!r}")
    return document


_APPLY: dict[str, Callable[[Any, _Operation, bool], Any]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}
