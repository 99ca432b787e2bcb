"""Text and data that mean harm, evaluated in this very process: no exception comes out, and the process survives."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubernaut.expressions import Context, EvaluationCode, Limits, ResultType, Scope, check, evaluate_here

Build = Callable[..., Context]

WORDS = """
    signal target vars steps now object objects x . [ ] ( ) { } , : ? && || ! == != < > + - * / % in 1 -1 1.0 2u 'a'
    b'x' null true false has( all( exists( map( filter( size( matches( int( string( timestamp( type( @result
    `a-b` .? ' " //
    google.protobuf.Value{ cel.bind( 1e999 é \x01 \ud800
"""
WORD_LISTS = st.lists(st.sampled_from(WORDS.split()), max_size=25)
TEXTS = st.one_of(st.text(max_size=80), WORD_LISTS.map(" ".join), WORD_LISTS.map("".join))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=15,
)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS, scope=st.sampled_from(Scope), wants=st.sampled_from(ResultType))
def test_any_text_is_answered(context: Build, text: str, scope: Scope, wants: ResultType) -> None:
    over = context(object={"a": [1, None]}, objects=[{"a": 1}, None])
    faults = check(text, scope=scope, wants=wants, step_ids=over.steps, variables=over.variables)
    evaluation = evaluate_here(text, over, scope=scope, wants=wants)
    assert all(fault.code.startswith("expression_") and fault.message and fault.remedy for fault in faults)
    assert evaluation.ok or (evaluation.value is None and evaluation.error is not None and evaluation.error.message)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON)
@pytest.mark.parametrize(
    "text", ["object", "object.a == 1", "object == null", "has(object.a)", "string(object)", "[object]"]
)
def test_any_data_is_answered(context: Build, text: str, value: Any) -> None:
    evaluation = evaluate_here(text, context(object=value), scope=Scope.OBJECT, wants=ResultType.ANY)
    assert evaluation.ok != (evaluation.error is not None)


@pytest.mark.parametrize(("depth", "fine"), [(1, True), (100, True), (101, False), (900, False), (10_000, False)])
def test_data_is_bounded_in_depth(context: Build, depth: int, fine: bool) -> None:
    over = context(object=nested(depth))
    evaluation = evaluate_here("has(object.a)", over, scope=Scope.OBJECT, wants=ResultType.BOOL)
    assert evaluation.holds is fine
    assert fine or (evaluation.error is not None and evaluation.error.code is EvaluationCode.DATA)


@pytest.mark.parametrize("depth", range(300, 1100, 37))
def test_no_depth_escapes_as_an_exception(context: Build, depth: int) -> None:
    evaluation = evaluate_here("object", context(object=nested(depth)), scope=Scope.OBJECT, wants=ResultType.ANY)
    assert evaluation.error is not None
    assert evaluation.error.code is EvaluationCode.DATA


def test_lists_count_as_depth(context: Build) -> None:
    value: Any = []
    for _ in range(101):
        value = [value]
    evaluation = evaluate_here("size(object) == 1", context(object=value), scope=Scope.OBJECT, wants=ResultType.BOOL)
    assert evaluation.error is not None
    assert evaluation.error.code is EvaluationCode.DATA


@pytest.mark.parametrize(
    "text",
    [
        "vars.l.all(x, vars.l.all(y, true))",
        "vars.l.exists(x, vars.l.exists(y, false))",
        "vars.l.filter(x, vars.l.all(y, x == y || true))",
    ],
)
def test_comprehension_bombs_run_out_of_their_budget(context: Build, text: str) -> None:
    over = context(variables={"l": list(range(5000))})
    evaluation = evaluate_here(text, over, scope=Scope.PLAN, wants=ResultType.ANY)
    assert evaluation.error is not None
    assert evaluation.error.code is EvaluationCode.LIMIT


def test_a_large_result_is_refused(context: Build) -> None:
    over = context(variables={"text": "a" * 600})
    limits = Limits(max_result_bytes=1000)
    evaluation = evaluate_here("vars.text + vars.text", over, scope=Scope.PLAN, wants=ResultType.STRING, limits=limits)
    assert evaluation.error is not None
    assert evaluation.error.code is EvaluationCode.RESULT


@pytest.mark.parametrize("text", ["'{{ conn.x.password }}'", "'$(id)'", "'; rm -rf /'", "'/etc/passwd'", "'a\\u0000b'"])
def test_text_stays_text(context: Build, text: str) -> None:
    evaluation = evaluate_here(text, context(), scope=Scope.PLAN, wants=ResultType.STRING)
    assert evaluation.value == text.strip("'").replace("\\u0000", "\x00")


@pytest.mark.parametrize("zone", ["/etc/passwd", "file:/etc/passwd", "../../etc/passwd", "/dev/zero"])
def test_a_time_zone_is_not_a_file(context: Build, zone: str) -> None:
    evaluation = evaluate_here(f"now.getHours('{zone}')", context(), scope=Scope.PLAN, wants=ResultType.INT)
    assert evaluation.error is not None
    assert evaluation.error.code is EvaluationCode.FAILED


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None is immortal there")
def test_null_results_do_not_use_up_the_interpreters_none(context: Build) -> None:
    """The library drops a reference to None whenever it converts a null; some thousands of them end the process."""
    over = context(object=[None] * 50)
    before = sys.getrefcount(None)
    for text in ["object", "null", "{'a': [null]}"]:
        for _ in range(20):
            assert evaluate_here(text, over, scope=Scope.OBJECT, wants=ResultType.ANY).ok
    assert sys.getrefcount(None) > before - 500
