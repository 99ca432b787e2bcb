"""The answer with one primary action and secondary actions (BR-WF-017 to -023).

Reads the fields of that form one by one, so that every leaf gets a destination, and builds a plan whose steps are
`primary`, `secondary_1`, … in list order. What its words mean is in `ordering` (conditions), `parameters` (parameters
and targets), `prose` (criteria and triggers) and `commands` (validation commands).
"""

from __future__ import annotations

import hashlib
import json

from pydantic import JsonValue, ValidationError

from kubernaut.plan.dialects import criteria
from kubernaut.plan.dialects.action import Action, number, read_action
from kubernaut.plan.dialects.given import World
from kubernaut.plan.dialects.native import faults_of
from kubernaut.plan.dialects.ordering import read_order
from kubernaut.plan.dialects.recognise import PRIMARY_SECONDARY
from kubernaut.plan.model import MAX_STEPS, PLAN_VERSION, Plan, Target
from kubernaut.plan.provenance import Ledger, Reader, shown, wrong_type

NAME = PRIMARY_SECONDARY
PRIMARY = "primary"

_PRIORITY = {"immediate": "P0", "high": "P1", "medium": "P2", "low": "P3"}
_RISKS = ("low", "medium", "high")
_REASONING_NOTES = ("business_impact", "urgency_justification", "historical_context")


def translate(document: dict[str, JsonValue], ledger: Ledger, world: World) -> tuple[Plan | None, dict[str, str]]:
    """The plan as far as it can be built, and each step's condition in the AI's words."""
    answer = Reader(ledger, document, "")
    draft: dict[str, JsonValue] = {
        "version": PLAN_VERSION,
        "id": f"plan-{hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]}",
    }
    if world.signal is not None:
        draft["signal"] = world.signal.model_dump(mode="json")
    notes: dict[str, str] = {}
    primary = _read_primary(answer, ledger, world, draft)
    secondaries, conditions = _read_secondaries(answer, ledger, world, primary)
    actions = ([primary] if primary else []) + secondaries
    draft["steps"] = [action.draft for action in actions]
    target = _plan_target(primary, world)
    draft["target"] = target.model_dump(mode="json")
    _read_confidence(answer, ledger, draft)
    _read_reasoning(answer, ledger, draft, notes)
    criteria.read_monitoring(answer, draft, target)
    _read_metadata(answer, notes)
    if notes:
        draft.setdefault("reasoning", {})["notes"] = dict(notes)  # type: ignore[index,call-overload]
    answer.finish()
    return (_build(draft, ledger) if primary else None), conditions


def _build(draft: dict[str, JsonValue], ledger: Ledger) -> Plan | None:
    """The plan; where it does not fit the models, faults at the places that the values came from."""
    try:
        return Plan.model_validate(draft)
    except ValidationError as error:
        for fault in faults_of(error, draft):
            place = fault.pointer
            while place and place not in ledger.sources:
                place = place.rpartition("/")[0]
            pointer = ledger.sources.get(place, "")
            if fault.pointer not in ledger.reported:
                ledger.fault(pointer, fault.code, fault.message, fault.remedy, covers=bool(pointer), plan=fault.pointer)
        return None


def _plan_target(primary: Action | None, world: World) -> Target:
    """What the whole plan is about: what its primary action acts on, else what the signal is about."""
    if primary is not None and primary.target is not None and primary.target.name is not None:
        return primary.target
    return world.target.model_copy(update={"cluster": world.target.cluster or world.default_cluster})


# --- actions


def _read_primary(answer: Reader, ledger: Ledger, world: World, draft: dict[str, JsonValue]) -> Action | None:
    reader = answer.object("primary_action")
    if reader is None:
        if not answer.has("primary_action"):
            answer.missing("primary_action", "the action that is to be tried first")
        return None
    action = Action(PRIMARY, reader.pointer, 0)
    read_action(reader, action, world)
    number(reader, "execution_order")
    if reader.has("execution_order"):
        ledger.note(reader.at("execution_order"), "the primary action comes first by its role")
    urgency = reader.text("urgency", plan="/priority")
    if urgency is not None and urgency in _PRIORITY:
        draft["priority"] = _PRIORITY[urgency]
        ledger.field(reader.at("urgency"), "/priority")
    elif urgency is not None:
        _unknown_word(ledger, reader.at("urgency"), urgency, tuple(_PRIORITY), plan="/priority")
    reader.finish()
    return action


def _read_secondaries(
    answer: Reader, ledger: Ledger, world: World, primary: Action | None
) -> tuple[list[Action], dict[str, str]]:
    items = answer.items("secondary_actions")
    if len(items) >= MAX_STEPS:
        ledger.fault(
            "/secondary_actions",
            "too_many_steps",
            f"{len(items)} secondary actions and the primary are more than {MAX_STEPS} steps",
            "Give at most 99 secondary actions.",
            plan="/steps",
        )
        return [], {}
    actions: list[Action] = []
    readers: list[Reader] = []
    for position, (pointer, item) in enumerate(items, start=1):
        if not isinstance(item, dict):
            wrong_type(ledger, pointer, "an object", item)
            continue
        action = Action(f"secondary_{position}", pointer, len(actions) + (1 if primary else 0))
        reader = Reader(ledger, item, pointer)
        read_action(reader, action, world)
        actions.append(action)
        readers.append(reader)
    known = ([primary] if primary else []) + actions
    conditions = read_order(readers, actions, known, primary=PRIMARY)
    for reader in readers:
        reader.finish()
    return actions, conditions


# --- the rest of the answer


def _read_confidence(answer: Reader, ledger: Ledger, draft: dict[str, JsonValue]) -> None:
    value = answer.number("confidence", plan="/confidence")
    if value is None:
        return
    if 0 <= value <= 1:
        draft["confidence"] = value
        ledger.field("/confidence", "/confidence")
    else:
        ledger.fault(
            "/confidence",
            "invalid_value",
            f"{value:g} is no confidence",
            "Give a number from 0 to 1.",
            plan="/confidence",
        )


def _read_reasoning(answer: Reader, ledger: Ledger, draft: dict[str, JsonValue], notes: dict[str, str]) -> None:
    reader = answer.object("reasoning")
    reasoning: dict[str, JsonValue] = {}
    draft["reasoning"] = reasoning
    if reader is None:
        return
    reason = reader.text("primary_reason", plan="/reasoning/summary")
    if reason is not None:
        reasoning["summary"] = reason
        ledger.field(reader.at("primary_reason"), "/reasoning/summary")
    risk = reader.text("risk_assessment", plan="/risk")
    if risk in _RISKS:
        draft["risk"] = risk
        ledger.field(reader.at("risk_assessment"), "/risk")
    elif risk is not None:
        _unknown_word(ledger, reader.at("risk_assessment"), risk, _RISKS, plan="/risk")
    for key in _REASONING_NOTES:
        _note(reader, key, key, notes)
    reader.finish()


def _read_metadata(answer: Reader, notes: dict[str, str]) -> None:
    """Whatever stands there is about the answer, not about what is to be done: kept for people."""
    reader = answer.object("metadata")
    if reader is None:
        return
    if len(reader.names) > 20:
        answer.ledger.note("/metadata", "reasoning note metadata")
        notes["metadata"] = json.dumps(answer.take("metadata"), ensure_ascii=False)
        return
    for key in reader.names:
        _note(reader, key, f"metadata.{key}", notes)


def _note(reader: Reader, key: str, name: str, notes: dict[str, str]) -> None:
    """Plain text for people, at `/reasoning/notes/<name>` of the plan."""
    value = reader.take(key)
    if value is None:
        return
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) > 16_384:
        reader.ledger.fault(reader.at(key), "invalid_value", "the text has more than 16384 characters", "Shorten it.")
        return
    notes[name] = text
    reader.ledger.note(reader.at(key), f"reasoning note {shown(name)[1:-1]}")


def _unknown_word(ledger: Ledger, pointer: str, word: str, known: tuple[str, ...], *, plan: str) -> None:
    near = ledger.near_miss(word, known)
    ledger.fault(
        pointer,
        "unknown_word",
        f"{shown(word)} is none of the words that are known here",
        f"{f'Did you mean {near!r}? ' if near else ''}Use one of {', '.join(known)}.",
        plan=plan,
    )
