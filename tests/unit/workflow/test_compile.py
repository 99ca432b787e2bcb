"""From a plan to a workflow and bindings: what is shape, what is not, and what the compiler adds."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubernaut.plan.graph import object_identity
from kubernaut.plan.links import Link
from kubernaut.plan.model import (
    PLAN_VERSION,
    AutomaticUndo,
    EdgeOutcome,
    FailurePolicy,
    NamedCondition,
    Plan,
    PostCondition,
    Step,
    Target,
)
from kubernaut.settings import Settings
from kubernaut.workflow.compile import Compiled, Node, StepLookups, build_workflow, compile_plan, compile_undo
from kubernaut.workflow.model import plan_hash

CHECKOUT = {"cluster": "prod", "kind": "Deployment", "namespace": "shop", "name": "checkout"}
CART = {**CHECKOUT, "name": "cart"}
METRIC = {"name": "errors", "check": {"kind": "metric", "metric": "error_rate", "comparison": "<", "value": 0.05}}


def _default_check(step: Step, target: Target) -> PostCondition | None:
    if not step.action.startswith("kubernetes."):
        return None
    return PostCondition(name="proof", check=NamedCondition(check="rollout_complete", target=target))


LOOKUPS = StepLookups(
    target=lambda step: step.target or Target(),
    step_name=lambda step, target: f"{step.action} {target.name}",
    default_timeout=lambda step: 60.0,
    undo_of=lambda step: step.undo or AutomaticUndo(),
    default_check=_default_check,
    changed_object=lambda step, target: object_identity(target) if step.action.startswith("kubernetes.") else None,
)


def plan(steps: list[dict[str, Any]], **more: Any) -> Plan:
    return Plan.model_validate({"version": PLAN_VERSION, "id": "p-1", "steps": steps, **more})


def compiled(given: Plan, **more: Any) -> Compiled:
    arguments: dict[str, Any] = {"factory_version": 1, "placement": "triggerer", "settings": Settings()}
    return compile_plan(given, **{**arguments, **more}, plan_target=given.target, lookups=LOOKUPS)


SCALE: dict[str, Any] = {"id": "scale-it", "action": "kubernetes.scale", "params": {"replicas": 5}, "target": CHECKOUT}
TELL: dict[str, Any] = {
    "id": "tell",
    "action": "notify",
    "params": {"message": "done"},
    "depends_on": [{"step": "scale-it"}],
}


def test_other_values_are_the_same_workflow_with_other_bindings() -> None:
    other = [
        {**SCALE, "id": "x", "params": {"replicas": 9}, "target": CART, "timeout": 5, "name": "More"},
        {**TELL, "id": "y", "params": {"message": "no"}, "depends_on": [{"step": "x"}], "when": "true"},
    ]
    first, second = compiled(plan([SCALE, TELL])), compiled(plan(other, priority="P0"))
    assert first.workflow == second.workflow
    assert first.workflow.dag_id == second.workflow.dag_id
    assert plan_hash(first.workflow, first.bindings) != plan_hash(second.workflow, second.bindings)


def test_the_order_of_steps_and_keys_changes_neither_workflow_nor_approval() -> None:
    turned = [dict(reversed(TELL.items())), dict(reversed(SCALE.items()))]
    first, second = compiled(plan([SCALE, TELL])), compiled(plan(turned))
    assert plan_hash(first.workflow, first.bindings) == plan_hash(second.workflow, second.bindings)


def test_no_text_of_the_ai_is_part_of_a_workflow() -> None:
    steps = [
        {**SCALE, "id": "canary-id", "name": "canary name", "description": "canary text", "when": '"canary" == ""'},
        {**TELL, "depends_on": [{"step": "canary-id"}], "params": {"message": "canary message"}},
    ]
    shape = compiled(plan(steps, reasoning={"summary": "canary reason"})).workflow
    assert "canary" not in shape.model_dump_json()
    assert "canary" not in shape.dag_id


@pytest.mark.parametrize(
    "change",
    [{"failure_policy": "continue"}, {"steps": [SCALE, {**TELL, "action": "noop"}]}, {"steps": [SCALE]}],
    ids=["policy", "action", "fewer steps"],
)
def test_another_shape_is_another_workflow(change: dict[str, Any]) -> None:
    given = {"steps": [SCALE, TELL], **change}
    assert compiled(plan(**given)).workflow.digest != compiled(plan([SCALE, TELL])).workflow.digest


@pytest.mark.parametrize("more", [{"factory_version": 2}, {"placement": "worker"}], ids=["factory", "placement"])
def test_what_builds_the_dag_is_part_of_its_identity(more: dict[str, Any]) -> None:
    assert compiled(plan([SCALE]), **more).workflow.digest != compiled(plan([SCALE])).workflow.digest


def test_the_dag_id_is_read_by_people() -> None:
    assert compiled(plan([SCALE, TELL])).workflow.dag_id.startswith("kn.scale-notify.")


@pytest.mark.parametrize(
    ("conditions", "proofs", "verified"),
    [
        ([], ["proof"], True),
        ([{**METRIC, "name": "metric"}], ["metric", "proof"], True),  # nothing can read the metric
        (
            [{"name": "own", "check": {"kind": "steps", "expression": "true"}, "optional": True}],
            ["own", "proof"],
            True,
        ),
        ([{"name": "own", "check": {"kind": "steps", "expression": "true"}}], ["own"], True),
    ],
    ids=["none given", "unreadable", "optional", "given"],
)
def test_the_actions_own_check_is_added_where_nothing_else_must_hold(
    conditions: list[dict[str, Any]], proofs: list[str], verified: bool
) -> None:
    found = compiled(plan([{**SCALE, "post_conditions": conditions}]))
    assert [one.name for one in found.bindings.steps["s01"].post_conditions] == proofs
    assert found.workflow.steps[0].verified is verified


def test_a_step_without_anything_that_can_be_read_has_no_sensor() -> None:
    found = compiled(plan([{"id": "a", "action": "noop", "post_conditions": [METRIC]}]))
    assert not found.workflow.steps[0].verified
    assert found.bindings.unchecked == ("errors",)


def test_criteria_and_triggers_that_nothing_reads_are_named() -> None:
    trigger = {**METRIC, "name": "too many errors"}
    found = compiled(plan([SCALE], success_criteria=[METRIC], rollback_triggers=[trigger]))
    assert found.bindings.unchecked == ("errors", "too many errors")


@pytest.mark.requirement("BR-DEP-012")
def test_independent_steps_wait_for_nobody() -> None:
    """Steps on different objects have no edge between them, so all of them start at once."""
    steps = [{**SCALE, "id": f"s{n}", "target": {**CHECKOUT, "name": f"app-{n}"}} for n in range(5)]
    found = compiled(plan(steps))
    assert all(step.edges == () for step in found.workflow.steps)
    assert found.warnings == ()


def test_two_parallel_steps_on_one_object_are_ordered_as_listed_with_a_warning() -> None:
    restart = {"id": "restart", "action": "kubernetes.rollout_restart", "target": CHECKOUT}
    found = compiled(plan([SCALE, restart]))
    step = found.workflow.step(found.keys["restart"])
    assert [(edge.upstream, edge.outcome) for edge in step.edges] == [(found.keys["scale-it"], EdgeOutcome.END)]
    assert len(found.warnings) == 1
    assert "'restart'" in found.warnings[0]


def test_edges_that_say_nothing_new_are_dropped() -> None:
    steps: list[dict[str, Any]] = [
        {"id": "a", "action": "noop"},
        {"id": "b", "action": "noop", "depends_on": [{"step": "a"}]},
        {"id": "c", "action": "noop", "depends_on": [{"step": "a"}, {"step": "b"}]},
    ]
    shape = compiled(plan(steps)).workflow
    assert [len(step.edges) for step in shape.steps] == [0, 1, 1]


def test_bindings_lead_from_the_ais_ids_to_keys() -> None:
    found = compiled(plan([TELL, SCALE]))
    assert found.bindings.key_of("scale-it") == found.keys["scale-it"] == "s01"
    assert found.bindings.key_of("tell") == "s02"


@pytest.mark.parametrize("count", [1, 99, 100])
def test_keys_sort_as_text_in_the_order_of_the_steps(count: int) -> None:
    keys = [
        step.key for step in compiled(plan([{"id": f"x{n}", "action": "noop"} for n in range(count)])).workflow.steps
    ]
    assert keys == sorted(keys)
    assert len(set(keys)) == count


LARGE: dict[str, Any] = {
    "10 x 10 complete": lambda n: range(n // 10 * 10 - 10, n // 10 * 10) if n >= 10 else (),
    "10 chains of 10": lambda n: [n - 1] if n % 10 else (),
    "100 alone": lambda n: (),
}


@pytest.mark.requirement("BR-PERF-005")
@pytest.mark.parametrize("waits", LARGE.values(), ids=LARGE.keys())
def test_a_hundred_steps_are_resolved_at_once(
    waits: Any, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    """Dependencies of a plan of the greatest size are resolved within ten seconds (here: milliseconds; printed)."""
    given = plan(
        [{"id": f"x{n}", "action": "noop", "depends_on": [{"step": f"x{up}"} for up in waits(n)]} for n in range(100)]
    )
    began = time.perf_counter()
    found = compiled(given)
    took = time.perf_counter() - began
    with capsys.disabled():
        print(f"\ncompile {request.node.callspec.id}: {took * 1_000:.1f} ms")
    assert len(found.workflow.steps) == 100
    assert took < 10


# --- undo


def undo_order(links: list[Link], names: list[str], undone: set[str]) -> dict[str, set[str]]:
    """For each undone step, the steps whose undo its own undo waits for."""
    shape, keys = build_workflow(
        {name: Node(action="noop") for name in names},
        links,
        failure_policy=FailurePolicy.TERMINATE,
        kind="plan",
        placement="triggerer",
        factory_version=1,
    )
    compensation, undoes = compile_undo(shape, {keys[name] for name in undone}, factory_version=1)
    named = {key: name for name, key in keys.items()}
    assert {edge.outcome for step in compensation.steps for edge in step.edges} <= {EdgeOutcome.END}
    return {
        named[undoes[step.key]]: {named[undoes[edge.upstream]] for edge in step.edges} for step in compensation.steps
    }


SUCCESS, FAILURE, STAGE = EdgeOutcome.SUCCESS, EdgeOutcome.FAILURE, EdgeOutcome.STAGE


@pytest.mark.requirement("BR-DEP-014")
@pytest.mark.parametrize(
    ("links", "undone", "expected"),
    [
        ([("a", "b", SUCCESS), ("b", "c", SUCCESS)], "abc", {"a": {"b"}, "b": {"c"}, "c": set()}),
        ([("a", "b", SUCCESS), ("b", "c", SUCCESS)], "ac", {"a": {"c"}, "c": set()}),
        ([("a", "c", SUCCESS), ("b", "c", SUCCESS)], "abc", {"a": {"c"}, "b": {"c"}, "c": set()}),
        ([("a", "b", FAILURE), ("a", "c", STAGE)], "bc", {"b": {"c"}, "c": set()}),
        ([], "abc", {"a": set(), "b": set(), "c": set()}),
    ],
    ids=["chain", "a step between", "join", "a fallback before its stage", "independent"],
)
def test_what_came_later_is_undone_first(
    links: list[tuple[str, str, EdgeOutcome]], undone: str, expected: dict[str, set[str]]
) -> None:
    """The undo of a step waits for the undo of all that came after it, also across steps that are not undone."""
    assert undo_order([Link(*link) for link in links], list("abc"), set(undone)) == expected


def test_an_undo_that_fails_keeps_no_other_undo_from_running() -> None:
    shape = compiled(plan([SCALE, TELL])).workflow
    compensation, _ = compile_undo(shape, {"s01", "s02"}, factory_version=1)
    assert compensation.failure_policy is FailurePolicy.CONTINUE
    assert compensation.kind == "undo"


@settings(max_examples=60, deadline=None)
@given(st.permutations(["a", "b", "c", "d"]), st.lists(st.text("xyz", min_size=1, max_size=4), min_size=4, max_size=4))
def test_ids_names_and_list_order_leave_the_dag_alone(order: list[str], suffixes: list[str]) -> None:
    """Same shape, other ids and another list: the same DAG."""
    ids = {name: f"{name}{suffix}" for name, suffix in zip("abcd", suffixes, strict=True)}
    waits = {"a": [], "b": [("a", "success")], "c": [("a", "failure")], "d": [("b", "end"), ("c", "end")]}

    def steps(names: list[str], called: dict[str, str]) -> list[dict[str, Any]]:
        return [
            {
                "id": called[name],
                "action": "noop",
                "depends_on": [{"step": called[up], "outcome": outcome} for up, outcome in waits[name]],
            }
            for name in names
        ]

    plain = compiled(plan(steps(list("abcd"), {name: name for name in "abcd"})))
    other = compiled(plan(json.loads(json.dumps(steps(order, ids)))))
    assert plain.workflow == other.workflow
