"""What expressions answer: the table of expressions that AIs write, each in its CEL form, and CEL's own edges."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from kubernaut.expressions import Context, EvaluationCode, Limits, ResultType, Scope, check, evaluate_here

Build = Callable[..., Context]

OPERATION = {"act": {"status": "succeeded", "outputs": {"seconds": 2, "message": "Operation completed successfully"}}}
DEPLOYMENT = {"spec": {"replicas": 5}, "status": {"readyReplicas": 4}, "metadata": {"labels": {"app": "checkout"}}}


@pytest.mark.parametrize(
    ("text", "parts", "answer"),
    [
        # result.duration_seconds() > 5 && result.success == true
        ("steps.act.outputs.seconds > 5 && steps.act.status == 'succeeded'", {"steps": OPERATION}, False),
        # contains(output_value('message'), 'success')
        ("steps.act.outputs.message.contains('success')", {"steps": OPERATION}, True),
        # {{environment}} == 'production' && duration_seconds() < 30
        ("vars.environment == 'production' && steps.act.outputs.seconds < 30", {"steps": OPERATION}, True),
        # duration_seconds() > 1 && has_error() == false && len(output_value('items')) > 0
        (
            "steps.act.outputs.seconds > 1 && steps.act.status != 'failed' && size(steps.act.outputs.items) > 0",
            {"steps": {"act": {"status": "succeeded", "outputs": {"seconds": 2, "items": [1, 2, 3]}}}},
            True,
        ),
        # error_rate > 5%
        ("vars.error_rate > 0.05", {"variables": {"error_rate": 0.03}}, False),
        ("vars.error_rate > 0.05", {"variables": {"error_rate": 0.08}}, True),
        # (cpu_usage > 90% AND memory_usage > 85%) OR (error_rate > 10%)
        (
            "(vars.cpu > 0.9 && vars.memory > 0.85) || vars.error_rate > 0.1",
            {"variables": {"cpu": 0.85, "memory": 0.75, "error_rate": 0.12}},
            True,
        ),
        # current_time BETWEEN '02:00' AND '04:00' AND day_of_week IN ('Saturday','Sunday')
        ("now.getHours() >= 2 && now.getHours() < 4 && now.getDayOfWeek() in [0, 6]", {}, True),
        # crash_count > 3 AND crash_interval < 300s
        (
            "vars.crashes > 3 && duration(vars.interval) < duration('300s')",
            {"variables": {"crashes": 4, "interval": "120s"}},
            True,
        ),
        # dns_resolution == false OR service_unreachable == true
        ("vars.dns == false || vars.unreachable == true", {"variables": {"dns": True, "unreachable": False}}, False),
        # response_time > 500ms
        ("vars.response_seconds > 0.5", {"variables": {"response_seconds": 0.45}}, False),
        # duration > 5m
        ("duration(string(vars.seconds) + 's') > duration('5m')", {"variables": {"seconds": 400}}, True),
        # memory_usage > 0.85
        ("vars.memory > 0.85", {"variables": {"memory": 0.9}}, True),
    ],
)
def test_expressions_that_ais_write(context: Build, text: str, parts: dict[str, Any], answer: bool) -> None:
    over = context(**parts)
    faults = check(text, scope=Scope.PLAN, wants=ResultType.BOOL, step_ids=over.steps, variables=over.variables)
    assert faults == []
    assert evaluate_here(text, over, scope=Scope.PLAN, wants=ResultType.BOOL).value is answer


@pytest.mark.parametrize(("ready", "answer"), [(4, True), (3, False)])
def test_share_of_ready_pods(context: Build, ready: int, answer: bool) -> None:
    """deployment.replicas >= 3 AND pods.ready_count >= deployment.replicas * 0.8"""
    text = "object.spec.replicas >= 3 && double(object.status.readyReplicas) >= double(object.spec.replicas) * 0.8"
    over = context(object={**DEPLOYMENT, "status": {"readyReplicas": ready}})
    assert evaluate_here(text, over, scope=Scope.OBJECT, wants=ResultType.BOOL).value is answer


@pytest.mark.requirement("BR-WF-008")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1 + 2 * 3 - 4", 3),
        ("7 / 2", 3),
        ("7 % 2", 1),
        ("-7 / 2", -3),
        ("7.0 / 2.0", 3.5),
        ("-vars.whole", -2),
        ("vars.whole * 3", 6),
        ("vars.fraction * 2.0", 1.0),
        ("double(vars.whole) * vars.fraction", 1.0),
        ("int(vars.fraction * 5.0)", 2),
        ("1 < 2 && 2 <= 2 && 3 > 2 && 3 >= 3 && 1 == 1 && 1 != 2", True),
        ("!(true && false) || false", True),
        ("vars.whole > 1 ? 'many' : 'few'", "many"),
        ("2 in [1, 2]", True),
    ],
)
def test_mathematical_and_logical_operations(context: Build, text: str, value: object) -> None:
    evaluation = evaluate_here(text, context(), scope=Scope.PLAN, wants=ResultType.ANY)
    assert (evaluation.error, evaluation.value) == (None, value)
    assert type(evaluation.value) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("signal.labels.alertname.startsWith('Crash') && signal.labels.alertname.endsWith('ing')", True),
        ("signal.labels.alertname.matches('^Crash[A-Z]')", True),
        ("'a' + 'b'", "ab"),
        ("size('äö')", 2),
        ("string(vars.whole)", "2"),
        ("now - timestamp(signal.startsAt) == duration('10m')", True),
        ("now - timestamp(signal.startsAt)", "600s"),
        ("duration('1500ms')", "1.5s"),
        ("now", "2026-11-22T03:10:00Z"),
        ("now.getHours('Europe/Berlin')", 4),
        ("{'replicas': [vars.whole, null]}", {"replicas": [2, None]}),
        ("vars.whole == 2.0 && vars.whole > 1.5", True),  # comparing mixes numbers, computing does not
    ],
)
def test_text_time_and_collections(context: Build, text: str, value: object) -> None:
    evaluation = evaluate_here(text, context(), scope=Scope.PLAN, wants=ResultType.ANY)
    assert (evaluation.error, evaluation.value) == (None, value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("signal.labels.pod == 'a'", "Key not found"),
        ("signal.labels.pod != 'a'", "Key not found"),
        ("has(signal.annotations.runbook)", "Key not found"),  # has() forgives one missing key, the last
        ("!(steps.scale.outputs.nope > 3)", "Key not found"),
        ("steps.scale.outputs.replicas > '3'", "No matching overload"),
        ("vars.whole + 0.5 > 1.0", "No matching overload"),
        ("vars.whole && true", "No matching overload"),
        ("1 / 0 == 1", "divide by zero"),
        ("1 % 0 == 1", "modulus by zero"),
        ("9223372036854775807 + vars.whole > 0", "overflow"),
        ("[1][5] == 1", "Index error"),
        ("'a'.matches('(')", "regular expression"),
        ("timestamp('yesterday') < now", "Timestamp"),
        ("now.getHours('Europe/Nowhere') == 1", "timezone"),
        ("int('x') == 1", "string to int"),
    ],
)
def test_what_cannot_be_computed_is_an_error_and_not_false(context: Build, text: str, words: str) -> None:
    evaluation = evaluate_here(text, context(), scope=Scope.PLAN, wants=ResultType.BOOL)
    assert evaluation.error is not None
    assert evaluation.error.code is EvaluationCode.FAILED
    assert words in evaluation.error.message
    assert evaluation.value is None
    assert not evaluation.holds


def test_a_value_that_does_not_matter_may_be_missing(context: Build) -> None:
    """CEL's own rule: `true || error` is true and `false && error` is false, in either order."""
    over = context()
    for text, value in {"signal.nope == 1 || true": True, "signal.nope == 1 && false": False}.items():
        assert evaluate_here(text, over, scope=Scope.PLAN, wants=ResultType.BOOL).value is value


@pytest.mark.parametrize(
    ("text", "wants"),
    [
        ("vars.whole", ResultType.BOOL),
        ("vars.whole", ResultType.STRING),
        ("vars.fraction", ResultType.INT),
        ("vars.environment", ResultType.DOUBLE),
        ("signal.labels", ResultType.LIST),
        ("steps.scale.outputs.replicas == 5", ResultType.INT),  # a bool is no number
        ("1.0 / 0.0", ResultType.DOUBLE),
        ("0.0 / 0.0", ResultType.ANY),
        ("b'abc'", ResultType.ANY),
        ("type(1)", ResultType.ANY),
        ("{1: 2}", ResultType.ANY),
    ],
)
def test_result_of_another_type_is_an_error(context: Build, text: str, wants: ResultType) -> None:
    evaluation = evaluate_here(text, context(), scope=Scope.PLAN, wants=wants)
    assert evaluation.error is not None
    assert evaluation.error.code is EvaluationCode.RESULT
    assert evaluation.value is None


def test_a_whole_number_is_a_number_where_a_double_is_needed(context: Build) -> None:
    value = evaluate_here("vars.whole", context(), scope=Scope.PLAN, wants=ResultType.DOUBLE).value
    assert value == 2.0
    assert isinstance(value, float)


def test_an_object_that_does_not_exist_is_null(context: Build) -> None:
    gone = evaluate_here("object == null", context(object=None), scope=Scope.OBJECT, wants=ResultType.BOOL)
    assert gone.holds
    read = evaluate_here("object.spec.replicas == 1", context(object=None), scope=Scope.OBJECT, wants=ResultType.BOOL)
    assert read.error is not None


def test_a_list_of_objects(context: Build) -> None:
    pods = [{"status": {"phase": "Running"}}, {"status": {"phase": "Pending"}}]
    text = "objects.exists(pod, pod.status.phase == 'Pending') && size(objects) == 2"
    assert evaluate_here(text, context(objects=pods), scope=Scope.LIST, wants=ResultType.BOOL).holds
    absent = evaluate_here(text, context(), scope=Scope.LIST, wants=ResultType.BOOL)
    assert absent.error is not None
    assert absent.error.code is EvaluationCode.DATA


@pytest.mark.parametrize(
    "changes",
    [
        {"now": datetime(2026, 11, 22, 3, 10)},  # no time zone
        {"variables": {"x": datetime(2026, 11, 22)}},
        {"variables": {"x": object()}},
        {"variables": {"x": "a" * 2000}},
    ],
)
def test_data_that_is_not_json_or_too_large(context: Build, changes: dict[str, Any]) -> None:
    over = context(**changes)
    evaluation = evaluate_here(
        "vars.x == now", over, scope=Scope.PLAN, wants=ResultType.BOOL, limits=Limits(max_data_bytes=1000)
    )
    assert evaluation.error is not None
    assert evaluation.error.code is EvaluationCode.DATA


def test_names_that_are_not_read_do_not_count(context: Build) -> None:
    over = context(variables={"x": "a" * 2000})
    limits = Limits(max_data_bytes=1000)
    assert evaluate_here(
        "target.name == 'checkout'", over, scope=Scope.PLAN, wants=ResultType.BOOL, limits=limits
    ).holds


@pytest.mark.parametrize(
    "text",
    ["&& true", "nope == 1", "object == 1", "[1].all(x, [1].all(y, [1].all(z, true)))", "true" + " " * 1000, "'a' + 1"],
)
def test_a_text_that_was_not_checked_is_refused_and_not_evaluated(context: Build, text: str) -> None:
    evaluation = evaluate_here(text, context(), scope=Scope.PLAN, wants=ResultType.BOOL)
    assert evaluation.error is not None
    assert evaluation.error.code is EvaluationCode.REFUSED


def test_the_trace_says_what_was_read(context: Build) -> None:
    text = 'steps["sec-1"].status == "failed" && signal.labels.namespace == "shop" && has(vars.nope)'
    trace = evaluate_here(text, context(), scope=Scope.PLAN, wants=ResultType.BOOL).trace
    assert trace.expression == text
    assert trace.value is False
    assert trace.milliseconds > 0
    assert trace.inputs == {
        'steps["sec-1"].status': "failed",
        "signal.labels.namespace": "shop",
        "vars.nope": "(missing)",
    }


def test_the_trace_is_short_and_keeps_secrets(context: Build) -> None:
    secret = {"kind": "Secret", "data": {"password": "aHVudGVyMg=="}, "metadata": {"name": "x" * 500}}
    text = "object.data.password == '' || object.metadata.name == '' || object.metadata == vars.whole"
    evaluation = evaluate_here(text, context(object=secret), scope=Scope.OBJECT, wants=ResultType.BOOL)
    assert evaluation.trace.inputs["object.data.password"] == "(hidden: Secret)"
    assert evaluation.trace.inputs["object.metadata"] == "(map of 1)"
    assert len(evaluation.trace.inputs["object.metadata.name"]) < 130
    assert "aHVudGVyMg" not in repr(evaluation)
