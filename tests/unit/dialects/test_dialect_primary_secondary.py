"""The answer with a primary action: what each of its fields becomes, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubernaut.actions import registry
from kubernaut.plan.dialects import Translation
from kubernaut.plan.model import Priority, Risk, Signal, Target

Answer = dict[str, Any]
Build = Callable[..., Answer]
Run = Callable[..., Translation]

CHECKOUT = Target(cluster="prod", kind="Deployment", namespace="shop", name="checkout")


def codes(result: Translation) -> list[tuple[str, str]]:
    return [(fault.code, fault.pointer) for fault in result.faults]


@pytest.mark.requirement("BR-WF-017")
def test_an_answer_becomes_a_plan_with_its_actions_in_list_order(answer: Answer, translated: Run) -> None:
    result = translated(answer)
    assert result.dialect == "primary_secondary"
    assert (result.faults, result.questions) == ((), ())
    plan = result.plan
    assert plan is not None
    assert [(step.id, step.action) for step in plan.steps] == [
        ("primary", "kubernetes.rollout_undo"),
        ("secondary_1", "kubernetes.scale"),
        ("secondary_2", "kubernetes.rollout_restart"),
        ("secondary_3", "notify"),
    ]
    assert [step.target for step in plan.steps] == [CHECKOUT, CHECKOUT, CHECKOUT, None]
    assert [step.timeout for step in plan.steps] == [300, 90, None, None]
    assert (plan.confidence, plan.priority, plan.risk, plan.target) == (0.92, Priority.P0, Risk.LOW, CHECKOUT)
    assert plan.reasoning.summary is not None
    assert plan.reasoning.summary.startswith("The pods of the new revision")
    assert plan.reasoning.notes["business_impact"] == "significant"
    assert plan.reasoning.notes["metadata.model_version"] == "m-7"
    assert [criterion.check.kind for criterion in plan.success_criteria] == [
        "named",
        "object",
        "metric",
        "named",
        "list",
    ]
    assert {criterion.timeout for criterion in plan.success_criteria} == {180}
    assert [trigger.check.kind for trigger in plan.rollback_triggers] == ["metric", "object"]


@pytest.mark.requirement("BR-WF-023")
def test_parameters_reach_the_executors_models_as_numbers_and_words(answer: Answer, translated: Run) -> None:
    plan = translated(answer).plan
    assert plan is not None
    reached = [registry.resolve_params(step.action, step.params).model_dump() for step in plan.steps]
    assert reached == [
        {"revision": "previous"},
        {"replicas": 4},
        {},
        {"message": "checkout is being rolled back", "channel": "log", "url": None},
    ]


def test_the_same_answer_is_the_same_plan(answer: Answer, translated: Run) -> None:
    again = dict(reversed(answer.items()))
    assert translated(answer).plan == translated(again).plan


def test_a_missing_confidence_stays_missing(answer: Answer, translated: Run) -> None:
    del answer["confidence"]
    plan = translated(answer).plan
    assert plan is not None
    assert plan.confidence is None


@pytest.mark.parametrize(("word", "priority"), [("immediate", "P0"), ("high", "P1"), ("medium", "P2"), ("low", "P3")])
def test_urgency_is_priority(word: str, priority: str, answer: Answer, translated: Run) -> None:
    answer["primary_action"]["urgency"] = word
    plan = translated(answer).plan
    assert plan is not None
    assert plan.priority == priority


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [("30s", 30), ("5m", 300), ("1h30m", 5_400), ("1m30.5s", 90.5), (45, 45), ("500ms", 0.5)],
)
def test_timeouts_are_go_durations_or_seconds(timeout: Any, seconds: float, answer: Answer, translated: Run) -> None:
    answer["primary_action"]["timeout"] = timeout
    plan = translated(answer).plan
    assert plan is not None
    assert plan.steps[0].timeout == seconds


@pytest.mark.parametrize("timeout", ["5 minutes", "-5m", "0s", "", "1d", "5M", -1, 0, True, [], "25h", "9" * 100 + "s"])
def test_other_timeouts_are_faults(timeout: Any, answer: Answer, translated: Run) -> None:
    answer["primary_action"]["timeout"] = timeout
    assert codes(translated(answer)) == [("invalid_duration", "/primary_action/timeout")]


def _set(document: Any, path: str, value: Any) -> None:
    *parents, last = path.split("/")
    for part in parents:
        document = document[int(part) if part.isdigit() else part]
    document[last] = value


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("primary_action", [], "wrong_type"),
        ("primary_action", "restart", "wrong_type"),
        ("secondary_actions", {}, "wrong_type"),
        ("secondary_actions", ["restart"], "wrong_type"),
        ("primary_action/action", 7, "wrong_type"),
        ("primary_action/parameters", "x=1", "wrong_type"),
        ("primary_action/urgency", "asap", "unknown_word"),
        ("primary_action/execution_order", "first", "wrong_type"),
        ("confidence", 1.2, "invalid_value"),
        ("confidence", -0.1, "invalid_value"),
        ("confidence", "high", "wrong_type"),
        ("confidence", True, "wrong_type"),
        ("reasoning", "because", "wrong_type"),
        ("reasoning/risk_assessment", "lowish", "unknown_word"),
        ("reasoning/risk_assesment", "low", "unmapped"),
        ("monitoring", [], "wrong_type"),
        ("monitoring/success_criteria", "pod_running", "wrong_type"),
        ("monitoring/monitoring_duration", "a while", "invalid_duration"),
        ("metadata", "none", "wrong_type"),
        ("primary_action/retries", 3, "unmapped"),
        ("secondary_actions/0/run_if", "always", "unmapped"),
        ("rollback", {"a": 1}, "unmapped"),
    ],
)
def test_a_malformed_field_is_a_fault_at_its_place(
    path: str, value: Any, code: str, answer: Answer, translated: Run
) -> None:
    _set(answer, path, value)
    result = translated(answer)
    found = [fault for fault in result.faults if fault.pointer.startswith(f"/{path}")]
    assert code in [fault.code for fault in found]
    assert all(fault.remedy and fault.message for fault in result.faults)


def test_an_unknown_field_is_answered_with_the_one_that_was_meant(answer: Answer, translated: Run) -> None:
    answer["primary_action"]["urgencey"] = answer["primary_action"].pop("urgency")
    (fault,) = translated(answer).faults
    assert (fault.code, fault.pointer) == ("unmapped", "/primary_action/urgencey")
    assert "'urgency'" in fault.remedy


def test_a_near_miss_of_an_action_is_suggested_and_not_taken(small: Build, translated: Run) -> None:
    (fault,) = translated(small("scale_deploymnt")).faults
    assert (fault.code, fault.pointer) == ("unknown_action", "/primary_action/action")
    assert "scale_deployment" in fault.remedy


def test_all_faults_come_at_once(answer: Answer, translated: Run) -> None:
    answer["primary_action"]["action"] = "rollback_deploiment"
    answer["secondary_actions"][0]["parameters"]["desired_replicas"] = "five"
    answer["secondary_actions"][1]["condition"] = "sometimes"
    answer["monitoring"]["validation_commands"] = ["kubectl delete pod x"]
    answer["extra"] = 1
    assert {code for code, _ in codes(translated(answer))} == {
        "unknown_action",
        "param_invalid",
        "unknown_condition",
        "command_not_read_only",
        "unmapped",
    }


def test_an_answer_without_a_primary_action_has_no_plan(answer: Answer, translated: Run) -> None:
    del answer["primary_action"]
    result = translated(answer)
    assert result.plan is None
    assert ("missing_field", "/primary_action") in codes(result)


def test_an_action_that_is_not_installed_keeps_its_parameters_as_given(small: Build, translated: Run) -> None:
    given = {"namespace": "shop", "deployment": "checkout", "memory_increase": "50%", "deep": {"a": [1]}}
    result = translated(small("increase_memory", given))
    assert result.faults == ()
    assert result.plan is not None
    (step,) = result.plan.steps
    assert (step.action, step.params) == ("kubernetes.set_resources", given)
    assert step.target == CHECKOUT


def test_an_action_of_a_site_is_named_other(small: Build, translated: Run) -> None:
    result = translated(small("FailoverDatabase", {"database": "orders", "name": "x", "deployment": "y"}))
    assert result.faults == ()
    assert result.plan is not None
    assert result.plan.steps[0].action == "other.failover_database"


@pytest.mark.parametrize("mark", ["{{ conn.x.password }}", "$(reboot)", "a | b", "a; b", "`id`", "${HOME}"])
@pytest.mark.parametrize(
    "path",
    [
        "primary_action/parameters/deployment_name",
        "primary_action/parameters/note",
        "secondary_actions/2/parameters/message",
        "primary_action/action",
        "monitoring/success_criteria/0",
    ],
)
def test_templates_and_shell_marks_are_faults_where_a_plan_acts_on_text(
    path: str, mark: str, answer: Answer, translated: Run
) -> None:
    document: Any = answer
    *parents, last = path.split("/")
    for part in parents:
        document = document[int(part) if part.isdigit() else part]
    document[int(last) if last.isdigit() else last] = f"x {mark}"
    assert ("template_in_value", f"/{path}") in codes(translated(answer))


@pytest.mark.parametrize("path", ["reasoning/primary_reason", "reasoning/historical_context", "metadata/model_version"])
def test_reasoning_is_plain_text_whatever_it_holds(path: str, answer: Answer, translated: Run) -> None:
    text = "look at {{ conn.x }} | $(reboot); `id`"
    _set(answer, path, text)
    result = translated(answer)
    assert result.faults == ()
    assert result.plan is not None
    assert text in (result.plan.reasoning.summary, *result.plan.reasoning.notes.values())


def test_a_criterion_that_is_not_understood_is_asked_never_dropped(answer: Answer, translated: Run) -> None:
    answer["monitoring"]["success_criteria"].append("customers are happy again")
    answer["monitoring"]["rollback_triggers"].append("cpu_usage > 80% AND memory_usage > 70%")
    answer["monitoring"]["validation_commands"].append("kubectl get pods --field-selector=status.phase!=Running")
    result = translated(answer)
    assert result.faults == ()
    assert [(question.code, question.pointer) for question in result.questions] == [
        ("criterion_not_understood", "/monitoring/success_criteria/3"),
        ("command_not_understood", "/monitoring/validation_commands/3"),
        ("trigger_not_understood", "/monitoring/rollback_triggers/2"),
    ]


def test_a_fault_in_the_plan_is_shown_where_the_answer_says_it(answer: Answer, translated: Run) -> None:
    result = translated(answer)
    assert result.source_of("/steps/1/params/replicas") == "/secondary_actions/0/parameters/desired_replicas"
    assert result.source_of("/steps/1/depends_on/0") == "/secondary_actions/0/condition"
    assert result.source_of("/steps/2/post_conditions") == "/secondary_actions/1"
    assert result.source_of("/success_criteria/3/name") == "/monitoring/validation_commands/0"
    assert result.source_of("/failure_policy") == ""


def test_what_has_a_fault_already_is_not_reported_again(answer: Answer, translated: Run) -> None:
    answer["secondary_actions"][0]["parameters"]["desired_replicas"] = "five"
    answer["secondary_actions"][1]["action"] = "reboot_everything"
    result = translated(answer)
    assert result.plan is not None
    assert result.already_reported("/steps/1/params/replicas")
    assert result.already_reported("/steps/2/action")
    assert not result.already_reported("/steps/1/params")
    assert not result.already_reported("/steps/0/params/revision")


def test_the_signal_is_part_of_the_plan(small: Build, translated: Run, signal: Signal) -> None:
    plan = translated(small(), signal).plan
    assert plan is not None
    assert plan.signal == signal
