"""One action of an answer: its name, parameters, timeout and expected duration.

Used by the dialects whose actions are objects with `action` and `parameters`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import JsonValue

from kubernaut.actions import catalogue, registry
from kubernaut.actions.spec import ActionSpec
from kubernaut.plan.dialects import durations, parameters, plain, targeting
from kubernaut.plan.dialects.given import Parameters, World
from kubernaut.plan.model import Target
from kubernaut.plan.provenance import Reader, shown


@dataclass
class Action:
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


def read_action(reader: Reader, action: Action, world: World) -> None:
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
        action.draft["description"] = f"Expected duration: {expected}"
        ledger.container(reader.at("expected_duration"), f"{action.step}/description")
        ledger.note(reader.at("expected_duration"), f"description of the step {action.id}")


def _keep_unread(reader: Reader, given: dict[str, JsonValue], action: Action) -> None:
    """Parameters of an action that is not known: kept, so that the fault is about the action alone."""
    action.draft["action"] = (action.name or "unknown")[:100] or "unknown"
    action.draft["params"] = given
    for pointer, found in plain.marks(given, reader.at("parameters")):
        fault = plain.template_fault(pointer, found)
        reader.ledger.fault(fault.pointer, fault.code, fault.message, fault.remedy)
    if given:
        reader.ledger.field(reader.at("parameters"), f"{action.step}/params")


def _find(reader: Reader, action: Action, given: dict[str, JsonValue]) -> ActionSpec | None:
    assert action.name is not None
    place, plan = reader.at("action"), f"{action.step}/action"
    spec = registry.find(action.name)
    if spec is not None and targeting.means_one_pod(action.name, given):
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


def _read_timeout(reader: Reader, action: Action) -> None:
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


def number(reader: Reader, key: str) -> float | None:
    """A number, or one written as a string; anything else is a fault."""
    value = reader.take(key)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if value is not None:
        reader.wrong_type(key, "a number", value)
    return None
