"""Our own form, `kubernaut.ai/plan/v1`: nothing to translate, only to check against the models.

Every disagreement with the models becomes a fault at its JSON pointer, all of them at once. Also used for signals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, JsonValue, ValidationError

from kubernaut.cluster.objects import escape
from kubernaut.errors import Fault
from kubernaut.plan.model import PLAN_VERSION, Model, Plan, Signal
from kubernaut.plan.provenance import MOST_HINTS, Ledger, near_miss, shown

NAME = "kubernaut"

_REMEDIES = {
    "missing": "Give it; the plan reference lists every field.",
    "literal_error": "Use one of the words that are listed.",
    "enum": "Use one of the words that are listed.",
    "string_pattern_mismatch": "Use letters, digits, '.', '_' and '-' as the plan reference says.",
    "string_too_long": "Shorten it.",
    "union_tag_invalid": "Use one of the kinds that are listed.",
    "union_tag_not_found": "Give 'kind'.",
    "tuple_type": "Write it as a list: [ … ].",
    "list_type": "Write it as a list: [ … ].",
    "dict_type": "Write it as an object: { … }.",
    "model_type": "Write it as an object: { … }.",
    "model_attributes_type": "Write it as an object: { … }.",
    "string_type": "Write it as a text, in quotation marks.",
    "float_type": "Write it as a number, without quotation marks.",
    "float_parsing": "Write it as a number, without quotation marks.",
    "int_type": "Write it as a whole number, without quotation marks.",
    "int_parsing": "Write it as a whole number, without quotation marks.",
    "int_from_float": "Write it as a whole number.",
    "bool_type": "Write true or false, without quotation marks.",
    "bool_parsing": "Write true or false, without quotation marks.",
}
_VERSION_REMEDY = f"Did you mean version {PLAN_VERSION}? No other is understood."
_MESSAGES = {
    "tuple_type": "this is no list",
    "list_type": "this is no list",
    "dict_type": "this is no object",
    "model_type": "this is no object",
    "model_attributes_type": "this is no object",
    "string_type": "this is no text",
    "float_type": "this is no number",
    "float_parsing": "this is no number",
    "int_type": "this is no whole number",
    "int_parsing": "this is no whole number",
    "int_from_float": "this is no whole number",
    "bool_type": "this is neither true nor false",
    "bool_parsing": "this is neither true nor false",
}
"""Instead of pydantic's own words about Python's types."""

_MODELS: dict[str, type[Model]] = {model.__name__: model for model in (Plan, Signal)}
"""By the name under which pydantic reports them."""


def translate(document: dict[str, JsonValue], ledger: Ledger, signal: Signal | None = None) -> Plan | None:
    """The plan, or None with its faults in the ledger. Every leaf is a field at its own place.

    :param signal: what came beside the plan; the plan's own signal, where it has one, must be the same
    """
    try:
        plan: Plan | None = Plan.model_validate(document)
    except ValidationError as error:
        plan = None
        for fault in faults_of(error, document):
            exists = fault.code != "missing_field"
            ledger.fault(fault.pointer, fault.code, fault.message, fault.remedy, covers=exists, plan=fault.pointer)
    ledger.identity()
    if plan is None or signal is None:
        return plan
    if plan.signal is None:
        return plan.model_copy(update={"signal": signal})
    if (plan.signal.name, plan.signal.labels) != (signal.name, signal.labels):
        ledger.fault(
            "/signal",
            "conflicting_signal",
            "the plan answers another signal than the one that came with it",
            "Send one of them, or the same twice.",
            plan="/signal",
        )
    return plan


def faults_of(error: ValidationError, document: JsonValue) -> list[Fault]:
    """One fault for each disagreement between `document` and a pydantic model, with pointers into `document`."""
    details = error.errors(include_url=False, include_input=False)
    model = _MODELS.get(error.title)
    faults = [_fault(dict(detail), document, model, hint=count < MOST_HINTS) for count, detail in enumerate(details)]
    return [fault for fault in faults if fault is not None]


def _fault(detail: dict[str, Any], document: JsonValue, model: type[Model] | None, *, hint: bool) -> Fault | None:
    kind = str(detail["type"])
    found = _locate(detail["loc"], document, model, missing=kind == "missing")
    last = str(detail["loc"][-1]) if detail["loc"] else ""
    if kind == "extra_forbidden":
        near = near_miss(last, found.fields) if hint else None
        known = f"Remove it; the fields here are {', '.join(found.fields)}." if found.fields else "Remove it."
        remedy = f"Did you mean {near!r}?" if near and near != last else known
        message = f"there is no field {shown(last)} here"
        return Fault(pointer=found.pointer, code="unknown_field", message=message, remedy=remedy)
    if kind == "missing":
        parent = found.parent
        near = (
            near_miss(last, (key for key in parent if key not in found.fields))
            if hint and isinstance(parent, dict)
            else None
        )
        remedy = f"Give it; did you mean it by {near!r}?" if near else _REMEDIES["missing"]
        return Fault(pointer=found.pointer, code="missing_field", message=f"{last!r} is missing", remedy=remedy)
    if kind in ("too_short", "too_long"):
        return _wrong_number(found, detail.get("ctx") or {})
    message = _MESSAGES.get(kind) or str(detail["msg"])
    return Fault(
        pointer=found.pointer,
        code=_code(kind),
        message=message[:1].lower() + message[1:400],
        remedy=_VERSION_REMEDY
        if found.pointer == "/version" and model is Plan
        else _REMEDIES.get(kind, "Correct the value; the plan reference has its type and limits."),
    )


def _wrong_number(found: _Place, limits: Mapping[str, Any]) -> Fault | None:
    """Too many entries or too few. None where there are enough of them: pydantic counts only those without a fault."""
    count = len(found.value) if isinstance(found.value, list | dict) else 0
    least, most = limits.get("min_length"), limits.get("max_length")
    if least is not None and count >= least:
        return None
    return Fault(
        pointer=found.pointer,
        code="invalid_value",
        message=f"{count} entries are too {'few' if least is not None else 'many'}",
        remedy=f"Give at {f'least {least}' if least is not None else f'most {most}'}; the plan reference has the limits.",
    )


def _code(kind: str) -> str:
    if kind.endswith("_type") or kind.endswith("_parsing") or kind == "int_from_float":
        return "wrong_type"
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        return "unknown_word"
    return "invalid_value"


# --- from pydantic's location to a pointer


@dataclass(frozen=True, kw_only=True)
class _Place:
    pointer: str
    parent: JsonValue
    value: JsonValue
    """What stands there; None where nothing does."""
    fields: tuple[str, ...]
    """The fields that the object has which holds the place; empty where it is no object of a plan."""


def _locate(location: Sequence[int | str], document: JsonValue, model: type[Model] | None, *, missing: bool) -> _Place:
    """Follows the models and the document side by side: a union's tag may also be the name of one of its keys."""
    pointer, current, parent = "", document, document
    fields: tuple[str, ...] = ()
    shapes: tuple[Any, ...] = (model,) if model else ()
    for index, part in enumerate(location):
        member = _member(shapes, part)
        if member is not None:  # the tag of a discriminated union: no key
            shapes = (member,)
            continue
        last = index == len(location) - 1
        if isinstance(current, dict) and (str(part) in current or (last and missing)):
            parent, current = current, current.get(str(part))
        elif isinstance(current, list) and isinstance(part, int) and part < len(current):
            parent, current = current, current[part]
        else:
            continue  # "[key]"
        fields = _fields(shapes)
        shapes = _inside(shapes, part)
        pointer = f"{pointer}/{escape(str(part))}"
    return _Place(pointer=pointer, parent=parent, value=current, fields=fields)


def _member(shapes: tuple[Any, ...], tag: int | str) -> Any:
    """The member of a union of several kinds that pydantic means by this part of a location (`Any`: a type)."""
    if len(shapes) < 2:
        return None
    return next((one for one in shapes if _is_model(one) and _kind(one) == tag), None)


def _kind(model: type[BaseModel]) -> Any:
    return model.model_fields["kind"].default if "kind" in model.model_fields else None


def _fields(shapes: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for one in shapes if _is_model(one) for name in one.model_fields))


def _inside(shapes: tuple[Any, ...], part: int | str) -> tuple[Any, ...]:
    """The types that a key or an index may have (`Any`: types)."""
    found: list[Any] = []
    for one in shapes:
        if _is_model(one):
            field = one.model_fields.get(str(part))
            found += _members(field.annotation) if field else ()
        elif get_origin(one) in (tuple, list):
            found += _members(get_args(one)[0])
        elif get_origin(one) is dict:
            found += _members(get_args(one)[1])
    return tuple(found)


def _members(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [one for member in get_args(annotation) for one in _members(member)]
    return [] if annotation is NoneType else [annotation]


def _is_model(shape: Any) -> bool:
    return isinstance(shape, type) and issubclass(shape, BaseModel)
