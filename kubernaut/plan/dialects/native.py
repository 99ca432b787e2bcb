"""Our own form, `kubernaut.ai/plan/v1`: nothing to translate, only to check against the models.

Every disagreement with the models becomes a fault at its JSON pointer, all of them at once. Also used for signals.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from pydantic import JsonValue, ValidationError

from kubernaut.cluster.objects import escape
from kubernaut.errors import Fault
from kubernaut.plan.model import Plan, Signal, plan_schema
from kubernaut.plan.provenance import MOST_HINTS, Ledger, near_miss, shown

NAME = "kubernaut"

_REMEDIES = {
    "missing": "Give it; the plan reference lists every field.",
    "literal_error": "Use one of the words that are listed.",
    "enum": "Use one of the words that are listed.",
    "string_pattern_mismatch": "Use letters, digits, '.', '_' and '-' as the plan reference says.",
    "too_long": "Give fewer.",
    "string_too_long": "Shorten it.",
    "union_tag_invalid": "Use one of the kinds that are listed.",
    "union_tag_not_found": "Give 'kind'.",
}


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
    details = error.errors(include_url=False, include_input=False, include_context=False)
    return [_fault(dict(detail), document, hint=count < MOST_HINTS) for count, detail in enumerate(details)]


def _fault(detail: dict[str, Any], document: JsonValue, *, hint: bool) -> Fault:
    kind = str(detail["type"])
    pointer, parent = _locate(detail["loc"], document, missing=kind == "missing")
    last = str(detail["loc"][-1]) if detail["loc"] else ""
    if kind == "extra_forbidden":
        near = near_miss(last, _field_names()) if hint else None
        remedy = f"Did you mean {near!r}?" if near else "Remove it."
        message = f"there is no field {shown(last)} here"
        return Fault(pointer=pointer, code="unknown_field", message=message, remedy=remedy)
    if kind == "missing":
        near = near_miss(last, parent) if hint and isinstance(parent, dict) else None
        remedy = f"Give it; did you mean it by {near!r}?" if near else _REMEDIES["missing"]
        return Fault(pointer=pointer, code="missing_field", message=f"{last!r} is missing", remedy=remedy)
    message = str(detail["msg"])
    return Fault(
        pointer=pointer,
        code=_code(kind),
        message=message[:1].lower() + message[1:400],
        remedy=_REMEDIES.get(kind, "Correct the value; the plan reference has its type and limits."),
    )


@lru_cache(maxsize=1)
def _field_names() -> tuple[str, ...]:
    """Every field name of a plan, wherever it may stand; for remedies."""
    schema = plan_schema()
    models = [schema, *schema["$defs"].values()]
    return tuple(sorted({name for model in models for name in model.get("properties", {})}))


def _code(kind: str) -> str:
    if kind.endswith("_type") or kind.endswith("_parsing") or kind == "int_from_float":
        return "wrong_type"
    if kind in ("literal_error", "enum", "union_tag_invalid"):
        return "unknown_word"
    return "invalid_value"


def _locate(location: Sequence[int | str], document: JsonValue, *, missing: bool) -> tuple[str, JsonValue]:
    """Pointer of pydantic's location, without the parts that name a union's member and not a key; and its parent."""
    pointer, current, parent = "", document, document
    for index, part in enumerate(location):
        last = index == len(location) - 1
        if isinstance(current, dict) and (str(part) in current or (last and missing)):
            parent, current = current, current.get(str(part))
        elif isinstance(current, list) and isinstance(part, int) and part < len(current):
            parent, current = current, current[part]
        else:
            continue  # the tag of a discriminated union, or "[key]"
        pointer = f"{pointer}/{escape(str(part))}"
    return pointer, parent
