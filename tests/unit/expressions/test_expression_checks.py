"""What `check` refuses, and what it says; what `references` finds. Nothing is evaluated here."""

from __future__ import annotations

import pytest

from kubernaut.expressions import ExpressionError, Limits, ResultType, Scope, check, references

STEPS = ["scale", "sec-1"]
VARIABLES = ["environment", "whole"]


def codes(text: str, scope: Scope = Scope.PLAN, wants: ResultType = ResultType.BOOL) -> list[str]:
    return [fault.code for fault in check(text, scope=scope, wants=wants, step_ids=STEPS, variables=VARIABLES)]


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("true", Scope.PLAN),
        ("steps.scale.status == 'succeeded'", Scope.PLAN),
        ('steps["sec-1"].status in ["failed", "skipped"]', Scope.PLAN),
        ("has(steps.scale.outputs.replicas) && steps.scale.outputs.replicas >= 3", Scope.PLAN),
        ("has(signal.labels.pod)", Scope.PLAN),
        (".vars.whole > 1", Scope.PLAN),
        ("vars['whole'] > 1", Scope.PLAN),
        ("type(vars.whole) == int", Scope.PLAN),
        ("now - timestamp(signal.startsAt) > duration('5m')", Scope.PLAN),
        ("object.status.readyReplicas >= object.spec.replicas", Scope.OBJECT),
        ("object == null", Scope.OBJECT),
        ("objects.all(pod, pod.status.containerStatuses.all(c, c.ready))", Scope.LIST),
        ("objects.exists(steps, steps.anything == 1)", Scope.LIST),  # the loop's own name hides the plan's
    ],
)
def test_fine(text: str, scope: Scope) -> None:
    assert codes(text, scope) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "expression_syntax"),
        ("   ", "expression_syntax"),
        ("invalid_syntax && && true", "expression_syntax"),
        ("{{undefined_variable}} == 'test'", "expression_syntax"),
        ("vars.whole > 5m", "expression_syntax"),
        ("vars.whole > 1 AND true", "expression_syntax"),
        ("'a\x00b' == 'a'", "expression_syntax"),
        ("'\ud800' == 'a'", "expression_syntax"),
        ("signal.?labels == 1", "expression_syntax"),
        ("error_rate > 0.05", "expression_unknown_name"),
        ("object.spec.replicas > 1", "expression_unknown_name"),
        ("objects.size() > 1", "expression_unknown_name"),
        ("vars.undefined == 'test'", "expression_unknown_name"),
        ("has(vars.undefined)", "expression_unknown_name"),
        ("vars.size() > 0", "expression_unknown_name"),
        ("vars[signal.labels.x] == 1", "expression_unknown_name"),
        ("steps.restart.status == 'failed'", "expression_unknown_name"),
        ("has(steps.restart.outputs)", "expression_unknown_name"),
        ("steps.scale.state == 'failed'", "expression_unknown_name"),
        ("steps.scale == null", "expression_unknown_name"),
        ("steps.exists(id, steps[id].status == 'failed')", "expression_unknown_name"),
        ("'scale' in steps", "expression_unknown_name"),
        ("objects.exists(vars, true)", "expression_unknown_name"),
        ("[1].exists(x, x > 0) && x > 0", "expression_unknown_name"),  # x is known inside its loop only
        ("lowerAscii(vars.environment) == 'a'", "expression_unknown_name"),
        ("vars.environment.replace('a', 'b') == 'b'", "expression_unknown_name"),
        ("'%s'.format([1]) == '1'", "expression_unknown_name"),
        ("cel.bind(x, 1, x == 1)", "expression_unknown_name"),
        ("1 == 'a'", "expression_type"),
        ("1 > 0.5", "expression_type"),
        ("1 + 1", "expression_type"),
        ("vars.environment + 1", "expression_type"),
        ("steps.scale.status == 'success'", "expression_type"),
        ("steps.scale.status != 1", "expression_type"),
        ("steps.scale.status in ['succeeded', 'done']", "expression_type"),
        ("google.protobuf.Value{number_value: 1.0} == 1.0", "expression_type"),
        ("(" * 40 + "true" + ")" * 40, "expression_too_nested"),
        ("vars.whole" + " + 1" * 60 + " > 1", "expression_too_nested"),
        ("[1].all(x, [1].all(y, [1].all(z, true)))", "expression_too_nested"),
        ("[1].map(x, x).map(x, x).exists(x, x == 1)", "expression_too_nested"),
        ("true || " * 130 + "true", "expression_too_long"),
    ],
)
def test_refused(text: str, code: str) -> None:
    assert code in codes(text)


def test_vars_plus_int_is_decided_at_run_time() -> None:
    assert codes("vars.whole + 1", wants=ResultType.INT) == []


@pytest.mark.parametrize(
    ("text", "wants", "fine"),
    [
        ("1 < 2", ResultType.BOOL, True),
        ("1", ResultType.BOOL, False),
        ("1", ResultType.INT, True),
        ("1.0", ResultType.INT, False),
        ("1.0", ResultType.DOUBLE, True),
        ("1", ResultType.DOUBLE, True),
        ("'a'", ResultType.STRING, True),
        ("1", ResultType.STRING, False),
        ("[1]", ResultType.LIST, True),
        ("{'a': 1}", ResultType.MAP, True),
        ("{'a': 1}", ResultType.LIST, False),
        ("now", ResultType.ANY, True),
        ("now", ResultType.STRING, False),
        ("b'abc'", ResultType.ANY, False),
        ("type(1)", ResultType.ANY, False),
        ("vars.whole", ResultType.STRING, True),  # known at run time only
    ],
)
def test_result_type(text: str, wants: ResultType, fine: bool) -> None:
    assert codes(text, wants=wants) == ([] if fine else ["expression_type"])


def test_all_faults_come_at_once() -> None:
    text = "steps.scael.status == 'failed' && vars.enviroment == 'x' && steps.scale.status == 'ok' && 1 == 'a'"
    assert codes(text) == [
        "expression_unknown_name",
        "expression_unknown_name",
        "expression_type",
        "expression_type",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps.scael.status == 'failed'", "did you mean 'scale'?"),
        ("vars.enviroment == 'x'", "did you mean 'environment'?"),
        ("sginal.labels.a == 'b'", "did you mean 'signal'?"),
        ("steps.sec-1.status == 'failed'", 'Write steps["sec-1"]'),
        ("1 > 0.5", "write 1.0 for 1"),
        ("steps.scale.status == 'success'", "succeeded"),
        ("true && && true", "At character 9"),
    ],
)
def test_faults_say_what_to_do(text: str, words: str) -> None:
    faults = check(text, scope=Scope.PLAN, wants=ResultType.BOOL, step_ids=STEPS, variables=VARIABLES)
    assert any(words in f"{fault.message} {fault.remedy}" for fault in faults)
    assert all(fault.message and fault.remedy for fault in faults)


def test_limits_are_arguments() -> None:
    def with_limits(text: str, limits: Limits) -> list[str]:
        faults = check(text, scope=Scope.PLAN, wants=ResultType.BOOL, step_ids=[], variables=[], limits=limits)
        return [fault.code for fault in faults]

    assert with_limits("true || true", Limits(max_characters=5)) == ["expression_too_long"]
    assert with_limits("[1].all(x, true)", Limits(max_nested_comprehensions=0)) == ["expression_too_nested"]
    assert with_limits("[1].all(x, [1].all(y, [1].all(z, true)))", Limits(max_nested_comprehensions=3)) == []


@pytest.mark.parametrize(
    ("text", "steps", "variables", "roots"),
    [
        ("steps.a.status == 'failed'", {"a"}, set(), {"steps"}),
        ('steps["a-b"].outputs.x > vars.limit', {"a-b"}, {"limit"}, {"steps", "vars"}),
        ("has(steps.a.outputs.x)", {"a"}, set(), {"steps"}),
        ("objects.all(o, o.name != steps.a.outputs.pod)", {"a"}, set(), {"objects", "steps"}),
        ("objects.all(steps, steps.b.status == 'x')", set(), set(), {"objects"}),
        ("{vars.k: [steps.a.outputs.list[vars.i]]}", {"a"}, {"k", "i"}, {"steps", "vars"}),
        ("now > timestamp('2026-01-01T00:00:00Z') ? 1 : 2", set(), set(), {"now"}),
        ("'steps.a.status' == \"vars.x\"", set(), set(), set()),  # text is not a reference
        ("type(1) == int", set(), set(), set()),
    ],
)
def test_references(text: str, steps: set[str], variables: set[str], roots: set[str]) -> None:
    found = references(text)
    assert (set(found.steps), set(found.variables), set(found.roots)) == (steps, variables, roots)


def test_references_of_a_text_that_does_not_parse() -> None:
    with pytest.raises(ExpressionError) as caught:
        references("&& true")
    assert caught.value.fault.code == "expression_syntax"
