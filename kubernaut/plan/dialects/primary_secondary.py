"""The answer with one primary action and secondary actions (BR-WF-017 to -023).

Reads the fields of that form one by one, so that every leaf gets a destination, and builds a plan whose steps are
`primary`, `secondary_1`, … in list order. What its words mean is in `ordering` (conditions), `parameters` (parameters
and targets), `prose` (criteria and triggers) and `commands` (validation commands).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from pydantic import JsonValue, ValidationError

from kubernaut.actions import catalogue, registry
from kubernaut.actions.spec import ActionSpec
from kubernaut.plan.dialects import criteria, durations, parameters, plain
from kubernaut.plan.dialects.native import faults_of
from kubernaut.plan.dialects.ordering import Secondary, When, edges
from kubernaut.plan.dialects.parameters import Parameters, World
from kubernaut.plan.dialects.recognise import PRIMARY_SECONDARY
from kubernaut.plan.model import MAX_STEPS, PLAN_VERSION, EdgeOutcome, Plan, Target
from kubernaut.plan.provenance import Ledger, Reader, near_miss, shown, wrong_type

NAME = PRIMARY_SECONDARY
PRIMARY = "primary"

_PRIORITY = {"immediate": "P0", "high": "P1", "medium": "P2", "low": "P3"}
_RISKS = ("low", "medium", "high")
_REASONING_NOTES = ("business_impact", "urgency_justification", "historical_context")
_CONDITIONS = ", ".join(When)


@dataclass
class _Action:
    """One action of the answer while it is read."""

    id: str
    at: str
    index: int
    name: str | None = None
    spec: ActionSpec | None = None
    target: Target | None = None
    draft: dict[str, JsonValue] = field(default_factory=dict)

    @property
    def step(self) -> str:
        return f"/steps/{self.index}"


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
    primary = _read_primary(answer, ledger, world, draft, notes)
    secondaries, conditions = _read_secondaries(answer, ledger, world, primary, notes)
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
    return _build(draft, ledger), conditions


def _build(draft: dict[str, JsonValue], ledger: Ledger) -> Plan | None:
    """The plan; where it does not fit the models, faults at the places that the values came from."""
    if not draft["steps"]:
        return None
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


def _plan_target(primary: _Action | None, world: World) -> Target:
    """What the whole plan is about: what its primary action acts on, else what the signal is about."""
    if primary is not None and primary.target is not None and primary.target.name is not None:
        return primary.target
    return world.target.model_copy(update={"cluster": world.target.cluster or world.default_cluster})


# --- actions


def _read_primary(
    answer: Reader, ledger: Ledger, world: World, draft: dict[str, JsonValue], notes: dict[str, str]
) -> _Action | None:
    reader = answer.object("primary_action")
    if reader is None:
        if not answer.has("primary_action"):
            answer.missing("primary_action", "the action that is to be tried first")
        return None
    action = _Action(PRIMARY, reader.pointer, 0)
    _read_action(reader, action, world, notes)
    _number(reader, "execution_order")
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
    answer: Reader, ledger: Ledger, world: World, primary: _Action | None, notes: dict[str, str]
) -> tuple[list[_Action], dict[str, str]]:
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
    actions: list[_Action] = []
    readers: list[Reader] = []
    for number, (pointer, item) in enumerate(items, start=1):
        if not isinstance(item, dict):
            wrong_type(ledger, pointer, "an object", item)
            continue
        action = _Action(f"secondary_{number}", pointer, len(actions) + (1 if primary else 0))
        reader = Reader(ledger, item, pointer)
        _read_action(reader, action, world, notes)
        actions.append(action)
        readers.append(reader)
    known = ([primary] if primary else []) + actions
    conditions = _read_order(readers, actions, known)
    for reader in readers:
        reader.finish()
    return actions, conditions


def _read_action(reader: Reader, action: _Action, world: World, notes: dict[str, str]) -> None:
    """What primary and secondary actions have in common: action, parameters, timeout, expected duration."""
    ledger = reader.ledger
    ledger.container(action.at, action.step)
    action.draft["id"] = action.id
    value = reader.take("parameters")
    if value is not None and not isinstance(value, dict):
        reader.wrong_type("parameters", "an object", value, plan=f"{action.step}/params")
    if value == {}:
        ledger.note(reader.at("parameters"), "empty")
    ledger.container(reader.at("parameters"), f"{action.step}/params")
    given = value if isinstance(value, dict) else {}
    action.name = reader.text("action", plan=f"{action.step}/action")
    if action.name is not None:
        action.spec = _find(reader, action, given)
    elif not reader.has("action"):
        reader.missing("action", "the name of an action", plan=f"{action.step}/action")
    if action.spec is None:
        _keep_unread(reader, given, action)
    else:
        action.draft["params"], action.target = parameters.read(
            Parameters(
                ledger=ledger,
                value=given,
                at=reader.at("parameters"),
                action_at=action.at,
                action=action.name or "",
                spec=action.spec,
                step=action.step,
                world=world,
            )
        )
        if action.target is not None:
            action.draft["target"] = action.target.model_dump(mode="json", exclude_none=True)
    _read_timeout(reader, action)
    expected = reader.text("expected_duration")
    if expected is not None:
        notes[f"{action.id}.expected_duration"] = expected
        ledger.note(reader.at("expected_duration"), f"reasoning note {action.id}.expected_duration")


def _keep_unread(reader: Reader, given: dict[str, JsonValue], action: _Action) -> None:
    """Parameters of an action that is not known: kept, so that the fault is about the action alone."""
    action.draft["action"] = (action.name or "unknown")[:100] or "unknown"
    action.draft["params"] = given
    for pointer, found in plain.marks(given, reader.at("parameters")):
        fault = plain.template_fault(pointer, found)
        reader.ledger.fault(fault.pointer, fault.code, fault.message, fault.remedy)
    if given:
        reader.ledger.field(reader.at("parameters"), f"{action.step}/params")


def _find(reader: Reader, action: _Action, given: dict[str, JsonValue]) -> ActionSpec | None:
    assert action.name is not None
    place, plan = reader.at("action"), f"{action.step}/action"
    spec = registry.find(action.name)
    if spec is not None and parameters.means_one_pod(action.name, given):
        spec = registry.find("kubernetes.delete_pod")
    if spec is not None:
        action.draft["action"] = spec.name
        reader.ledger.field(place, plan)
        return spec
    found = plain.mark(action.name)
    if found is not None:
        fault = plain.template_fault(place, found)
        reader.ledger.fault(fault.pointer, fault.code, fault.message, fault.remedy, plan=plan)
        return None
    near = catalogue.near_miss(action.name)
    reader.ledger.fault(
        place,
        "unknown_action",
        f"there is no action {shown(action.name)}",
        f"Did you mean {near!r}? A near miss is never executed." if near else "Name an action of the catalogue.",
        plan=plan,
    )
    return None


def _read_timeout(reader: Reader, action: _Action) -> None:
    value = reader.take("timeout")
    if value is None:
        return
    plan = f"{action.step}/timeout"
    seconds = durations.seconds(value)
    if seconds is None:
        message = f"{shown(str(value))} is no duration"
        reader.ledger.fault(reader.at("timeout"), "invalid_duration", message, durations.REMEDY, plan=plan)
        return
    action.draft["timeout"] = seconds
    reader.ledger.field(reader.at("timeout"), plan)


def _number(reader: Reader, key: str) -> float | None:
    """A number, or one written as a string; anything else is a fault."""
    value = reader.take(key)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if value is not None:
        reader.wrong_type(key, "a number", value)
    return None


# --- order


def _read_order(readers: list[Reader], actions: list[_Action], known: list[_Action]) -> dict[str, str]:
    """Conditions, orders and prerequisites become edges; returns each step's condition in the AI's words."""
    conditions: dict[str, str] = {}
    secondaries: list[Secondary] = []
    for reader, action in zip(readers, actions, strict=True):
        when = _read_condition(reader, action, conditions)
        order = _number(reader, "execution_order")
        needs = _read_prerequisites(reader, action, known)
        if order is not None:
            reader.ledger.field(reader.at("execution_order"), f"{action.step}/depends_on")
        if when is not None:
            secondaries.append(Secondary(id=action.id, when=when, order=order or 0, needs=needs))
    _require_orders(readers, actions, secondaries)
    for step, wanted in edges(PRIMARY, secondaries).items():
        action = next(action for action in actions if action.id == step)
        action.draft["depends_on"] = [{"step": other, "outcome": outcome.value} for other, outcome in wanted]
        _refuse_contradiction(action, wanted, action_reader=readers[actions.index(action)])
    return conditions


def _read_condition(reader: Reader, action: _Action, conditions: dict[str, str]) -> When | None:
    plan = f"{action.step}/depends_on"
    word = reader.text("condition", plan=plan)
    if word is None:
        if not reader.has("condition"):
            reader.missing("condition", f"one of {_CONDITIONS}", plan=plan)
        return None
    conditions[action.id] = word
    if word in list(When):
        reader.ledger.field(reader.at("condition"), plan)
        return When(word)
    near = near_miss(word, list(When))
    reader.ledger.fault(
        reader.at("condition"),
        "unknown_condition",
        f"{shown(word)} is no condition of a secondary action",
        f"{f'Did you mean {near!r}? ' if near else ''}Use one of {_CONDITIONS}.",
        plan=plan,
    )
    return None


def _require_orders(readers: list[Reader], actions: list[_Action], secondaries: list[Secondary]) -> None:
    """An order may be left out only where there is nothing to order."""
    for secondary in secondaries:
        position = next(index for index, action in enumerate(actions) if action.id == secondary.id)
        alone = sum(other.when is secondary.when for other in secondaries) == 1
        if not alone and not readers[position].has("execution_order"):
            readers[position].missing(
                "execution_order", "the order among the actions of the same condition", plan=f"/order/{secondary.id}"
            )


def _read_prerequisites(reader: Reader, action: _Action, known: list[_Action]) -> tuple[str, ...]:
    needs = []
    for pointer, text in reader.texts("prerequisites"):
        matches = _named(text, action, known)
        if len(matches) == 1:
            needs.append(matches[0].id)
            reader.ledger.field(pointer, f"{action.step}/depends_on")
        elif matches:
            ids = ", ".join(match.id for match in matches)
            reader.ledger.fault(
                pointer,
                "ambiguous_prerequisite",
                f"{shown(text)} names several actions: {ids}",
                "Name an action that occurs once.",
            )
        else:
            near = near_miss(text, [other.name or "" for other in known if other is not action])
            reader.ledger.fault(
                pointer,
                "dangling_prerequisite",
                f"no other action of this answer is {shown(text)}",
                f"Did you mean {near!r}?" if near else "Name an action of this answer that must have succeeded.",
            )
    return tuple(needs)


def _named(text: str, action: _Action, known: list[_Action]) -> list[_Action]:
    """The actions that a prerequisite names: by the same word first, then by any name of the same action."""
    others = [other for other in known if other is not action]
    same_word = [other for other in others if other.name == text or other.id == text]
    if same_word:
        return same_word
    spec = catalogue.find(text)
    return [other for other in others if spec is not None and other.spec is not None and other.spec.name == spec.name]


def _refuse_contradiction(
    action: _Action, wanted: tuple[tuple[str, EdgeOutcome], ...], *, action_reader: Reader
) -> None:
    succeeded = {step for step, outcome in wanted if outcome is EdgeOutcome.SUCCESS}
    failed = {step for step, outcome in wanted if outcome is EdgeOutcome.FAILURE}
    for step in sorted(succeeded & failed):
        action_reader.ledger.fault(
            action_reader.at("prerequisites"),
            "contradictory_prerequisite",
            f"{action.id} runs only when {step} failed, and needs it to have succeeded",
            "Remove the prerequisite, or choose another condition.",
            plan=f"{action.step}/depends_on",
        )


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
    near = near_miss(word, known)
    ledger.fault(
        pointer,
        "unknown_word",
        f"{shown(word)} is none of the words that are known here",
        f"{f'Did you mean {near!r}? ' if near else ''}Use one of {', '.join(known)}.",
        plan=plan,
    )
