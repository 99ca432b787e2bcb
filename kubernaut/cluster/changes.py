"""Changes of fields of one object, as data: what an action describes, the journal keeps and a JSON Patch carries."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from kubernaut.cluster.objects import ObjectRef

ABSENT: str = "\0absent"
"""Stands for "this field does not exist" in a `FieldChange`; never a value in a real object (NUL is refused in plans)."""


@dataclass(frozen=True, kw_only=True)
class FieldChange:
    """One field to be set: RFC 6901 pointer, its value at the first read, and the value wanted. ABSENT = no such field."""

    pointer: str
    before: JsonValue
    after: JsonValue


@dataclass(frozen=True, kw_only=True)
class ObjectPatch:
    """Set fields of one object (`IN_OBJECT`). The engine sends it as a JSON Patch with `test`s of uid and *before*."""

    target: ObjectRef
    uid: str
    resource_version: str
    fields: tuple[FieldChange, ...]
    summary: str
    """One line for people: "replicas 2 → 5"."""
