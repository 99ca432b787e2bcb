"""Conditions, execution orders and prerequisites of secondary actions become edges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubernaut.plan.dialects import Translation

Build = Callable[..., dict[str, Any]]
Run = Callable[..., Translation]


def secondary(condition: str | None, order: Any = None, action: str = "noop", **rest: Any) -> dict[str, Any]:
    found = {"action": action, "parameters": {}, "condition": condition, "execution_order": order, **rest}
    return {key: value for key, value in found.items() if value is not None}


def edges(result: Translation) -> dict[str, set[str]]:
    assert result.faults == ()
    assert result.plan is not None
    return {step.id: {f"{edge.step}:{edge.outcome}" for edge in step.depends_on} for step in result.plan.steps}


FAILS, AFTER, PARALLEL = "if_primary_fails", "after_primary", "parallel_with_primary"


@pytest.mark.parametrize(
    ("condition", "edge"), [(FAILS, {"primary:failure"}), (AFTER, {"primary:success"}), (PARALLEL, set())]
)
def test_each_condition_is_its_edge_on_the_primary(
    condition: str, edge: set[str], small: Build, translated: Run
) -> None:
    result = translated(small("noop", {}, secondary(condition)))
    assert edges(result) == {"primary": set(), "secondary_1": edge}
    assert result.conditions == {"secondary_1": condition}


def test_a_later_fallback_waits_until_all_before_it_failed(small: Build, translated: Run) -> None:
    result = translated(small("noop", {}, secondary(FAILS, 3), secondary(FAILS, 1), secondary(FAILS, 2)))
    assert edges(result) == {
        "primary": set(),
        "secondary_2": {"primary:failure"},
        "secondary_3": {"primary:failure", "secondary_2:failure"},
        "secondary_1": {"primary:failure", "secondary_2:failure", "secondary_3:failure"},
    }


def test_fallbacks_of_one_order_run_in_parallel_and_the_next_waits_for_both(small: Build, translated: Run) -> None:
    result = translated(small("noop", {}, secondary(FAILS, 1), secondary(FAILS, 1), secondary(FAILS, 2)))
    found = edges(result)
    assert found["secondary_1"] == found["secondary_2"] == {"primary:failure"}
    assert found["secondary_3"] == {"primary:failure", "secondary_1:failure", "secondary_2:failure"}


def test_a_later_stage_after_the_primary_stays_bound_to_its_success(small: Build, translated: Run) -> None:
    result = translated(small("noop", {}, secondary(AFTER, 2), secondary(AFTER, 5), secondary(AFTER, 2)))
    found = edges(result)
    assert found["secondary_1"] == found["secondary_3"] == {"primary:success"}
    assert found["secondary_2"] == {"primary:success", "secondary_1:stage", "secondary_3:stage"}


def test_a_later_stage_beside_the_primary_waits_for_the_one_before_only(small: Build, translated: Run) -> None:
    stages = (secondary(PARALLEL, 1), secondary(PARALLEL, 2), secondary(PARALLEL, 3))
    found = edges(translated(small("noop", {}, *stages)))
    assert found == {
        "primary": set(),
        "secondary_1": set(),
        "secondary_2": {"secondary_1:stage"},
        "secondary_3": {"secondary_2:stage"},
    }


def test_orders_of_different_conditions_have_nothing_to_do_with_each_other(small: Build, translated: Run) -> None:
    found = edges(translated(small("noop", {}, secondary(FAILS, 9), secondary(AFTER, 1), secondary(PARALLEL, 5))))
    assert found == {
        "primary": set(),
        "secondary_1": {"primary:failure"},
        "secondary_2": {"primary:success"},
        "secondary_3": set(),
    }


@pytest.mark.parametrize("needed", ["scale_deployment", "ScaleReplicas", "scale-up", "primary"])
def test_a_prerequisite_names_an_action_by_any_of_its_names(needed: str, small: Build, translated: Run) -> None:
    target = {"namespace": "shop", "deployment": "checkout", "replicas": 3}
    result = translated(small("scale_deployment", target, secondary(PARALLEL, prerequisites=[needed])))
    assert edges(result)["secondary_1"] == {"primary:success"}


def test_a_prerequisite_of_the_stage_before_asks_for_its_own_success(small: Build, translated: Run) -> None:
    """Success of the step itself implies the stage: one edge, the stricter one."""
    target = {"namespace": "shop", "deployment": "checkout", "replicas": 3}
    stages = (
        secondary(AFTER, 1, action="scale_up", parameters=target),
        secondary(AFTER, 2, prerequisites=["scale_up"]),
    )
    found = edges(translated(small("noop", {}, *stages)))
    assert found["secondary_2"] == {"primary:success", "secondary_1:success"}


def test_the_word_itself_comes_before_another_name_of_the_same_action(small: Build, translated: Run) -> None:
    target = {"namespace": "shop", "deployment": "checkout", "replicas": 3}
    result = translated(
        small(
            "scale_deployment",
            target,
            secondary(PARALLEL, 1, action="scale_up", parameters=target),
            secondary(PARALLEL, 1, prerequisites=["scale_up"]),
        )
    )
    assert edges(result)["secondary_2"] == {"secondary_1:success"}


@pytest.mark.parametrize(
    ("condition", "prerequisites", "code", "pointer"),
    [
        (AFTER, ["drain_node"], "dangling_prerequisite", "/secondary_actions/1/prerequisites/0"),
        (AFTER, ["check that all is well"], "dangling_prerequisite", "/secondary_actions/1/prerequisites/0"),
        (AFTER, ["no_op"], "ambiguous_prerequisite", "/secondary_actions/1/prerequisites/0"),
        (FAILS, ["primary"], "contradictory_prerequisite", "/secondary_actions/1/prerequisites"),
        (AFTER, [7], "wrong_type", "/secondary_actions/1/prerequisites/0"),
        (AFTER, "noop", "wrong_type", "/secondary_actions/1/prerequisites"),
    ],
)
def test_a_prerequisite_that_names_no_single_action_is_a_fault(
    condition: str, prerequisites: Any, code: str, pointer: str, small: Build, translated: Run
) -> None:
    result = translated(small("noop", {}, secondary(PARALLEL), secondary(condition, prerequisites=prerequisites)))
    assert (code, pointer) in [(fault.code, fault.pointer) for fault in result.faults]


@pytest.mark.parametrize("word", ["if_primary_failed", "on_failure", "error_rate > 5%", "", "IF_PRIMARY_FAILS"])
def test_an_unknown_condition_is_a_fault_with_the_three_words(word: str, small: Build, translated: Run) -> None:
    (fault,) = translated(small("noop", {}, secondary(word))).faults
    assert (fault.code, fault.pointer) == ("unknown_condition", "/secondary_actions/0/condition")
    assert all(known in fault.remedy for known in (FAILS, AFTER, PARALLEL))


def test_a_missing_condition_is_a_fault(small: Build, translated: Run) -> None:
    (fault,) = translated(small("noop", {}, secondary(None))).faults
    assert (fault.code, fault.pointer) == ("missing_field", "/secondary_actions/0/condition")


def test_an_order_may_be_left_out_only_where_there_is_nothing_to_order(small: Build, translated: Run) -> None:
    assert translated(small("noop", {}, secondary(AFTER), secondary(FAILS))).faults == ()
    faults = translated(small("noop", {}, secondary(AFTER), secondary(AFTER, 2))).faults
    assert [(fault.code, fault.pointer) for fault in faults] == [
        ("missing_field", "/secondary_actions/0/execution_order")
    ]


@pytest.mark.parametrize("order", ["first", [1], True, "1.5.2"])
def test_an_order_that_is_no_number_is_a_fault(order: Any, small: Build, translated: Run) -> None:
    faults = translated(small("noop", {}, secondary(AFTER, order))).faults
    assert ("wrong_type", "/secondary_actions/0/execution_order") in [(f.code, f.pointer) for f in faults]


def test_an_order_may_be_a_number_in_a_string(small: Build, translated: Run) -> None:
    found = edges(translated(small("noop", {}, secondary(AFTER, "10"), secondary(AFTER, "9"))))
    assert found["secondary_1"] == {"primary:success", "secondary_2:stage"}


def test_a_hundred_and_one_steps_are_refused(small: Build, translated: Run) -> None:
    assert translated(small("noop", {}, *(secondary(AFTER, 1) for _ in range(99)))).faults == ()
    (fault,) = translated(small("noop", {}, *(secondary(AFTER, 1) for _ in range(100)))).faults
    assert (fault.code, fault.pointer) == ("too_many_steps", "/secondary_actions")
