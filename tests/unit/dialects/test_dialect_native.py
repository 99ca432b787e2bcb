"""Our own form: nothing is translated, and every disagreement with the models is a fault at its pointer, all at once."""

from __future__ import annotations

from typing import Any

import pytest

from kubernaut.plan.dialects import Translation, translate
from kubernaut.plan.model import Plan, Signal


@pytest.fixture
def plan() -> dict[str, Any]:
    return {
        "version": "kubernaut.ai/plan/v1",
        "id": "p1",
        "steps": [
            {
                "id": "a",
                "action": "noop",
                "undo": {"kind": "none", "reason": "nothing"},
                "post_conditions": [
                    {
                        "name": "up",
                        "check": {
                            "kind": "named",
                            "check": "pods_running",
                            "target": {"name": "x"},
                            "params": {"n": 1},
                        },
                    }
                ],
            },
            {"id": "b", "action": "noop", "depends_on": [{"step": "a"}]},
        ],
    }


def codes(result: Translation) -> list[tuple[str, str]]:
    return [(fault.code, fault.pointer) for fault in result.faults]


def test_a_plan_is_itself_and_every_leaf_stays_in_its_place(plan: dict[str, Any]) -> None:
    result = translate(plan)
    assert result.dialect == "kubernaut"
    assert result.plan == Plan.model_validate(plan)
    assert result.faults == ()
    assert {(entry.kind, entry.pointer == entry.destination) for entry in result.provenance} == {("field", True)}
    assert result.source_of("/steps/1/depends_on/0/step") == "/steps/1/depends_on/0/step"


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("version", "kubernaut.ai/plan/v9", "unknown_word"),
        ("id", "", "invalid_value"),
        ("id", 7, "wrong_type"),
        ("confidence", 2, "invalid_value"),
        ("steps", [], "invalid_value"),
        ("steps", "none", "wrong_type"),
        ("steps/0/id", "a b", "invalid_value"),
        ("steps/0/timeout", -1, "invalid_value"),
        ("steps/0/retrry", {}, "unknown_field"),
        ("steps/0/undo/kind", "maybe", "unknown_word"),
        ("steps/0/undo/reason", 5, "wrong_type"),
        ("steps/0/post_conditions/0/check/version", 0, "invalid_value"),
        ("steps/0/post_conditions/0/check/target/nme", "x", "unknown_field"),
        ("steps/1/depends_on/0/outcome", "later", "unknown_word"),
        ("failure_policy", "give_up", "unknown_word"),
        ("variables", {"a b": 1}, "invalid_value"),
    ],
)
def test_a_disagreement_is_a_fault_at_its_pointer(path: str, value: Any, code: str, plan: dict[str, Any]) -> None:
    document: Any = plan
    *parents, last = path.split("/")
    for part in parents:
        document = document[int(part) if part.isdigit() else part]
    document[last] = value
    result = translate(plan)
    assert result.plan is None
    place = "/steps/0/undo" if path == "steps/0/undo/kind" else f"/{path}"
    assert [fault for fault in result.faults if fault.code == code and fault.pointer.startswith(place)]
    assert all(fault.remedy for fault in result.faults)


def test_an_unknown_field_is_answered_with_the_one_that_was_meant(plan: dict[str, Any]) -> None:
    plan["steps"][0]["depend_on"] = []
    (fault,) = translate(plan).faults
    assert (fault.code, fault.pointer) == ("unknown_field", "/steps/0/depend_on")
    assert "'depends_on'" in fault.remedy


def test_a_hint_names_only_fields_that_the_very_object_has(plan: dict[str, Any]) -> None:
    plan["alternatives"] = [{"id": "other", "version": "kubernaut.ai/plan/v1", "steps": plan["steps"]}]
    (fault,) = translate(plan).faults
    assert (fault.code, fault.pointer) == ("unknown_field", "/alternatives/0/version")
    assert "Did you mean" not in fault.remedy
    assert "confidence" in fault.remedy


def test_the_kind_of_a_union_is_not_taken_for_a_key_of_the_same_name(plan: dict[str, Any]) -> None:
    plan["steps"][0]["undo"] = {"kind": "action", "action": "noop", "target": {"name": "x"}}
    (fault,) = translate(plan).faults
    assert (fault.code, fault.pointer) == ("unknown_field", "/steps/0/undo/target")
    assert fault.remedy == "Remove it; the fields here are kind, action, params."


@pytest.mark.parametrize(
    ("path", "value", "message", "remedy"),
    [
        ("steps", "none", "this is no list", "Write it as a list: [ … ]."),
        ("target", [], "this is no object", "Write it as an object: { … }."),
        ("id", 7, "this is no text", "Write it as a text, in quotation marks."),
        ("confidence", "high", "this is no number", "Write it as a number, without quotation marks."),
    ],
)
def test_a_wrong_type_is_told_in_the_words_of_json(
    path: str, value: Any, message: str, remedy: str, plan: dict[str, Any]
) -> None:
    plan[path] = value
    (fault,) = [fault for fault in translate(plan).faults if fault.pointer == f"/{path}"]
    assert (fault.code, fault.message, fault.remedy) == ("wrong_type", message, remedy)


@pytest.mark.parametrize(
    ("count", "message", "remedy"),
    [
        (0, "0 entries are too few", "Give at least 1; the plan reference has the limits."),
        (101, "101 entries are too many", "Give at most 100; the plan reference has the limits."),
    ],
)
def test_a_wrong_number_of_steps_is_told_with_the_right_one(
    count: int, message: str, remedy: str, plan: dict[str, Any]
) -> None:
    plan["steps"] = [{"id": f"s{number}", "action": "noop"} for number in range(count)]
    (fault,) = translate(plan).faults
    assert (fault.pointer, fault.message, fault.remedy) == ("/steps", message, remedy)


def test_steps_that_have_faults_are_not_called_too_few(plan: dict[str, Any]) -> None:
    plan["steps"] = [{"id": "a", "action": "noop", "timeout": 0}]
    assert codes(translate(plan)) == [("invalid_value", "/steps/0/timeout")]


def test_a_missing_field_is_a_fault_where_it_belongs(plan: dict[str, Any]) -> None:
    del plan["steps"][1]["action"]
    assert codes(translate(plan)) == [("missing_field", "/steps/1/action")]


def test_all_disagreements_come_at_once(plan: dict[str, Any]) -> None:
    plan["confidence"] = "high"
    plan["extra"] = 1
    plan["steps"][0]["timeout"] = 0
    del plan["id"]
    assert {pointer for _, pointer in codes(translate(plan))} == {"/confidence", "/extra", "/steps/0/timeout", "/id"}


def test_a_signal_that_comes_beside_the_plan_is_the_plans(plan: dict[str, Any]) -> None:
    signal = Signal(name="KubePodCrashLooping", labels={"namespace": "shop"})
    result = translate(plan, signal=signal)
    assert result.plan is not None
    assert result.plan.signal == signal


def test_a_plan_for_another_signal_is_refused(plan: dict[str, Any]) -> None:
    plan["signal"] = {"name": "HighLatency"}
    assert codes(translate(plan, signal=Signal(name="HighLatency"))) == []
    assert codes(translate(plan, signal=Signal(name="KubePodCrashLooping"))) == [("conflicting_signal", "/signal")]
