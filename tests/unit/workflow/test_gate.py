"""The gate: what each kind of edge waits for, and when the failure policy lets nothing more begin."""

from __future__ import annotations

import itertools

import pytest
from worlds import workflow_of

from kubernaut.plan.links import Link
from kubernaut.plan.model import EdgeOutcome, FailurePolicy
from kubernaut.workflow.gate import NotReachedReason, StepState, doomed, gate

SUCCESS, STAGE, FAILURE, END = EdgeOutcome.SUCCESS, EdgeOutcome.STAGE, EdgeOutcome.FAILURE, EdgeOutcome.END
SUCCEEDED, FAILED, SKIPPED = StepState.SUCCEEDED, StepState.FAILED, StepState.SKIPPED
NOT_REACHED, UNKNOWN, UNDONE, PENDING = (
    StepState.NOT_REACHED,
    StepState.UNKNOWN,
    StepState.UNDONE,
    StepState.PENDING,
)

ONE_EDGE = [
    # state of the other step, and whether an edge of each kind is true
    (SUCCEEDED, {SUCCESS: True, STAGE: True, FAILURE: False, END: True}),
    (FAILED, {SUCCESS: False, STAGE: False, FAILURE: True, END: True}),
    (SKIPPED, {SUCCESS: False, STAGE: False, FAILURE: False, END: True}),
    (NOT_REACHED, {SUCCESS: False, STAGE: False, FAILURE: False, END: True}),
    (UNKNOWN, {SUCCESS: False, STAGE: False, FAILURE: False, END: True}),
    (UNDONE, {SUCCESS: False, STAGE: False, FAILURE: False, END: True}),
    (None, {SUCCESS: False, STAGE: False, FAILURE: False, END: True}),
    (PENDING, {SUCCESS: False, STAGE: False, FAILURE: False, END: True}),
    (StepState.WAITING, {SUCCESS: False, STAGE: False, FAILURE: False, END: False}),
    (StepState.RUNNING, {SUCCESS: False, STAGE: False, FAILURE: False, END: False}),
    (StepState.VERIFYING, {SUCCESS: False, STAGE: False, FAILURE: False, END: False}),
]


@pytest.mark.requirement("BR-WF-018")
@pytest.mark.parametrize(("state", "expected"), ONE_EDGE)
@pytest.mark.parametrize("outcome", list(EdgeOutcome))
def test_an_edge_is_true_only_for_the_outcome_it_waits_for(
    state: StepState | None, expected: dict[EdgeOutcome, bool], outcome: EdgeOutcome
) -> None:
    """Every kind of edge, against every state of the step it waits for; a step without a row was never attempted."""
    workflow = workflow_of(("a", "b"), (Link("a", "b", outcome),))
    states = {} if state is None else {"a": state}
    answer = gate(workflow.step("b"), workflow, states)
    assert answer.run is expected[outcome]
    assert answer.reason is (None if answer.run else NotReachedReason.EDGE)


FALLBACK = workflow_of(
    ("primary", "fallback", "after", "parallel", "stage"),
    (
        Link("primary", "fallback", FAILURE),
        Link("primary", "after", SUCCESS),
        Link("primary", "stage", STAGE),
    ),
)


@pytest.mark.requirement("BR-WF-020")
@pytest.mark.parametrize(
    ("primary", "runs"),
    [
        (SUCCEEDED, {"after", "parallel", "stage"}),
        (FAILED, {"fallback", "parallel"}),
        (SKIPPED, {"parallel"}),
        (NOT_REACHED, {"parallel"}),
    ],
)
def test_the_four_worlds_of_a_primary(primary: StepState, runs: set[str]) -> None:
    """if_primary_fails, after_primary and parallel_with_primary where the primary succeeds, fails, is skipped, is not
    reached.
    """
    states = {"primary": primary}
    found = {step.key for step in FALLBACK.steps if step.key != "primary" and gate(step, FALLBACK, states).run}
    assert found == runs


def test_a_stage_is_reached_when_a_fallback_of_a_fallback_succeeded() -> None:
    workflow = workflow_of(
        ("p", "f1", "f2", "next"), (Link("p", "f1", FAILURE), Link("f1", "f2", FAILURE), Link("p", "next", STAGE))
    )
    assert gate(workflow.step("next"), workflow, {"p": FAILED, "f1": FAILED, "f2": SUCCEEDED}).run
    assert not gate(workflow.step("next"), workflow, {"p": FAILED, "f1": FAILED, "f2": FAILED}).run


def test_a_fallback_of_two_steps_runs_only_when_both_failed() -> None:
    workflow = workflow_of(("a", "b", "f"), (Link("a", "f", FAILURE), Link("b", "f", FAILURE)))
    ran = {
        (a, b)
        for a, b in itertools.product((SUCCEEDED, FAILED), repeat=2)
        if gate(workflow.step("f"), workflow, {"a": a, "b": b}).run
    }
    assert ran == {(FAILED, FAILED)}


def test_an_unmet_edge_is_named_with_the_state_that_was_found() -> None:
    workflow = workflow_of(("a", "b"), (Link("a", "b", SUCCESS),))
    assert gate(workflow.step("b"), workflow, {"a": SKIPPED}).text == "waits for success of a; a is skipped"


CHAIN = (Link("p", "f1", FAILURE), Link("f1", "f2", FAILURE))
NAMES = ("p", "f1", "f2", "other")

DOOMED = [
    ({}, False),
    ({"p": SUCCEEDED}, False),
    ({"p": StepState.RUNNING}, False),
    ({"p": FAILED}, False),  # f1 may still save it
    ({"p": FAILED, "f1": StepState.WAITING}, False),
    ({"p": FAILED, "f1": SUCCEEDED}, False),
    ({"p": FAILED, "f1": FAILED}, False),  # f2 may
    ({"p": FAILED, "f1": FAILED, "f2": SUCCEEDED}, False),
    ({"p": FAILED, "f1": FAILED, "f2": FAILED}, True),
    ({"p": FAILED, "f1": SKIPPED}, True),  # its `when` was false, and f2 waits for its failure
    ({"p": FAILED, "f1": UNKNOWN}, True),
    ({"p": UNKNOWN}, True),  # in doubt is not failed for good: no fallback runs
    ({"p": SKIPPED}, False),
    ({"other": FAILED}, True),
]


@pytest.mark.parametrize(("states", "expected"), DOOMED)
def test_a_workflow_is_doomed_once_a_failure_can_no_longer_be_saved(
    states: dict[str, StepState], expected: bool
) -> None:
    workflow = workflow_of(NAMES, CHAIN, FailurePolicy.TERMINATE)
    assert doomed(workflow, states) is expected


def test_a_fallback_whose_other_edge_is_lost_saves_nobody() -> None:
    links = (Link("p", "f", FAILURE), Link("q", "f", FAILURE))
    workflow = workflow_of(("p", "q", "f"), links, FailurePolicy.TERMINATE)
    assert not doomed(workflow, {"p": FAILED})
    assert doomed(workflow, {"p": FAILED, "q": SUCCEEDED})


def test_terminate_lets_no_independent_step_begin() -> None:
    workflow = workflow_of(NAMES, CHAIN, FailurePolicy.TERMINATE)
    answer = gate(workflow.step("other"), workflow, {"p": FAILED, "f1": FAILED, "f2": FAILED})
    assert answer.reason is NotReachedReason.TERMINATED
    assert "p is failed" in answer.text or "p failed" in answer.text


def test_terminate_lets_the_fallback_run_that_may_save() -> None:
    workflow = workflow_of(NAMES, CHAIN, FailurePolicy.TERMINATE)
    assert gate(workflow.step("f2"), workflow, {"p": FAILED, "f1": FAILED}).run
    assert gate(workflow.step("other"), workflow, {"p": FAILED, "f1": FAILED}).run


def test_continue_lets_independent_branches_go_on() -> None:
    workflow = workflow_of(NAMES, CHAIN, FailurePolicy.CONTINUE)
    states = {"p": FAILED, "f1": FAILED, "f2": FAILED}
    assert gate(workflow.step("other"), workflow, states).run
    assert not doomed(workflow, states)


def test_the_failure_of_an_optional_step_ends_nothing() -> None:
    workflow = workflow_of(("a", "b"), (), FailurePolicy.TERMINATE)
    assert not gate(workflow.step("b"), workflow, {"a": FAILED}).run
    assert gate(workflow.step("b"), workflow, {"a": FAILED}, optional={"a"}).run


def test_a_steps_own_edge_is_the_reason_also_where_the_workflow_is_doomed() -> None:
    workflow = workflow_of(("a", "b"), (Link("a", "b", SUCCESS),), FailurePolicy.TERMINATE)
    assert gate(workflow.step("b"), workflow, {"a": FAILED}).reason is NotReachedReason.EDGE


def test_the_gate_answers_for_every_assignment_of_states() -> None:
    links = (Link("a", "b", FAILURE), Link("a", "c", STAGE), Link("b", "c", END))
    workflow = workflow_of(("a", "b", "c"), links, FailurePolicy.TERMINATE)
    for states in itertools.product([None, *StepState], repeat=3):
        given = {key: state for key, state in zip("abc", states, strict=True) if state is not None}
        for step in workflow.steps:
            answer = gate(step, workflow, given)
            assert answer.run is (answer.reason is None)
            assert answer.text
