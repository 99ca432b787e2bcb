"""Fields of one object: setting them, comparing them, taking them back. Pure.

The step runner turns an `ObjectPatch` into JSON Patch operations here, reads back what the server stored, compares when
an answer was lost, and asks `undo_patch` what may be restored. The promise behind it: only the fields that a step set
are ever compared or touched, and none that somebody else has written since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import JsonValue

from kubernaut.cluster.changes import ABSENT, FieldChange, ObjectPatch
from kubernaut.cluster.objects import ObjectRef, escape, pointer_parts, resolve

EXECUTION_ANNOTATION = "kubernaut.ai/execution"
"""For people to read. The engine never relies on it."""

Operation = dict[str, JsonValue]
JsonObject = Mapping[str, Any]


class Comparison(StrEnum):
    """Where an object stands after a request whose answer is not known."""

    EQUAL_AFTER = "equal_after"
    """Every field has the wanted value: applied (or nothing to do)."""
    EQUAL_BEFORE = "equal_before"
    """Every field is as it was first read: not applied, may be sent again."""
    OTHER = "other"
    """Somebody else has written: conflict."""


@dataclass(frozen=True, kw_only=True)
class WrittenField:
    """One field as the journal keeps it: before our write, wanted, and as the server stored it."""

    pointer: str
    before: JsonValue
    after: JsonValue
    stored: JsonValue


@dataclass(frozen=True, kw_only=True)
class UndoRefusal:
    """Why a change is not taken back, and by whom it was overwritten."""

    message: str


def set_field(document: JsonObject, pointer: str, value: JsonValue) -> FieldChange:
    """The change that sets one field; where parents do not exist, the change that creates the topmost missing one."""
    parts = pointer_parts(pointer)
    for depth in range(1, len(parts)):
        parent = _join(parts[:depth])
        if resolve(document, parent, ABSENT) in (ABSENT, None):
            nested: JsonValue = value
            for part in reversed(parts[depth:]):
                nested = {part: nested}
            return FieldChange(pointer=parent, before=resolve(document, parent, ABSENT), after=nested)
    return FieldChange(pointer=pointer, before=resolve(document, pointer, ABSENT), after=value)


def patch_operations(patch: ObjectPatch, *, execution_id: str | None = None) -> list[Operation]:
    """JSON Patch (RFC 6902): first every precondition, then every change.

    A field that does not exist cannot be tested portably, so such a patch is bound to the resourceVersion instead.

    :param execution_id: written into the annotation for people; only for objects that have annotations at all (most
        have), since a patch that creates the map would have to test for its absence
    """
    operations = [_test("/metadata/uid", patch.uid)]
    if any(change.before == ABSENT for change in patch.fields):
        operations.append(_test("/metadata/resourceVersion", patch.resource_version))
    operations += [_test(change.pointer, change.before) for change in patch.fields if change.before != ABSENT]
    operations += [_change(change) for change in patch.fields if not is_equal(change.before, change.after)]
    if execution_id is not None:
        operations.append(
            {"op": "add", "path": f"/metadata/annotations/{escape(EXECUTION_ANNOTATION)}", "value": execution_id}
        )
    return operations


def has_annotations(document: JsonObject) -> bool:
    return isinstance(resolve(document, "/metadata/annotations"), Mapping)


def compare(document: JsonObject, fields: Sequence[FieldChange | WrittenField]) -> Comparison:
    """Where the object stands. A field already stored by the server is compared with what it stored."""
    current = [resolve(document, change.pointer, ABSENT) for change in fields]
    wanted = [change.stored if isinstance(change, WrittenField) else change.after for change in fields]
    if all(is_equal(now, after) for now, after in zip(current, wanted, strict=True)):
        return Comparison.EQUAL_AFTER
    if all(is_equal(now, change.before) for now, change in zip(current, fields, strict=True)):
        return Comparison.EQUAL_BEFORE
    return Comparison.OTHER


def stored_values(fields: Sequence[FieldChange], response: JsonObject) -> tuple[WrittenField, ...]:
    """The fields with what the server made of them (defaults, normalised quantities)."""
    return tuple(
        WrittenField(
            pointer=change.pointer,
            before=change.before,
            after=change.after,
            stored=resolve(response, change.pointer, ABSENT),
        )
        for change in fields
    )


def undo_patch(
    target: ObjectRef, uid: str, fields: Sequence[WrittenField], current: JsonObject
) -> ObjectPatch | UndoRefusal:
    """What takes the fields back; a patch without fields where they are back already.

    Refuses where the object is another one, or where one of the fields no longer has the value the server stored.
    """
    metadata = current.get("metadata") or {}
    if metadata.get("uid") != uid:
        return UndoRefusal(
            message=f"{target} was deleted and created anew since; it is not the object that was changed"
        )
    restored: list[FieldChange] = []
    for written in reversed(fields):
        now = resolve(current, written.pointer, ABSENT)
        if is_equal(now, written.before):
            continue  # nothing of ours is left here
        if not is_equal(now, written.stored):
            return UndoRefusal(message=_overwritten(target, written, now, current))
        restored.append(FieldChange(pointer=written.pointer, before=now, after=written.before))
    return ObjectPatch(
        target=target,
        uid=uid,
        resource_version=str(metadata.get("resourceVersion", "")),
        fields=tuple(restored),
        summary="; ".join(describe_change(change) for change in restored) or "already as it was before",
    )


def describe_change(change: FieldChange) -> str:
    """`spec.replicas 2 → 5`, for people."""
    return f"{dotted(change.pointer)} {_brief(change.before)} → {_brief(change.after)}"


def dotted(pointer: str) -> str:
    return ".".join(pointer_parts(pointer))


def writers(document: JsonObject, pointer: str) -> list[str]:
    """Who last wrote the field or anything below it, by `managedFields`; newest first, ourselves left out."""
    entries = resolve(document, "/metadata/managedFields") or []
    found = [
        entry
        for entry in entries
        if isinstance(entry, Mapping) and _owns(entry.get("fieldsV1"), pointer_parts(pointer))
    ]
    found.sort(key=lambda entry: str(entry.get("time") or ""), reverse=True)
    return [_writer(entry) for entry in found if entry.get("manager") != "kubernaut"]


def _overwritten(target: ObjectRef, written: WrittenField, now: JsonValue, current: JsonObject) -> str:
    names = writers(current, written.pointer)
    by = names[0] if names else "somebody whom the object's managedFields do not name"
    return (
        f"{dotted(written.pointer)} of {target} is {_brief(now)}, not {_brief(written.stored)} as it was left; "
        f"last written by {by}. Look at it and change it by hand if it must go back to {_brief(written.before)}."
    )


def _writer(entry: JsonObject) -> str:
    name = str(entry.get("manager") or "an unnamed manager")
    how = entry.get("subresource")
    return name + (f" through {how}" if how else "") + (f" at {entry['time']}" if entry.get("time") else "")


def _owns(fields: Any, parts: Sequence[str]) -> bool:
    """Whether a managedFields tree covers the path. It keys items of lists by content, so a list owns its items."""
    for part in parts:
        if not isinstance(fields, Mapping):
            return False
        if part.isdigit() and any(str(key).startswith(("k:", "v:")) for key in fields):
            return True
        if f"f:{part}" not in fields:
            return False
        fields = fields[f"f:{part}"]
    return True


def _test(path: str, value: JsonValue) -> Operation:
    return {"op": "test", "path": path, "value": value}


def _change(change: FieldChange) -> Operation:
    if change.after == ABSENT:
        return {"op": "remove", "path": change.pointer}
    op = "add" if change.before == ABSENT else "replace"
    return {"op": op, "path": change.pointer, "value": change.after}


def is_equal(one: Any, other: Any) -> bool:
    """JSON equality: `true` is not 1, and a null member is the same as none, as in the API."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        left, right = dict(_members(one)), dict(_members(other))
        return left.keys() == right.keys() and all(is_equal(left[key], right[key]) for key in left)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(is_equal(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


def _members(document: JsonObject) -> Iterator[tuple[str, Any]]:
    return ((key, value) for key, value in document.items() if value is not None)


def _brief(value: JsonValue) -> str:
    if value == ABSENT:
        return "nothing"
    if isinstance(value, dict):
        return f"a map of {len(value)}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 80 else f"{text[:80]}…"


def _join(parts: Sequence[str]) -> str:
    return "".join(f"/{escape(part)}" for part in parts)
