"""The table of transitions between the phases of an execution."""

import itertools

import pytest

from kubernaut.execution.phases import (
    ExecutionOutcome,
    IllegalTransition,
    Phase,
    check_outcome,
    opens_round,
    terminal,
    transition,
)

Q, R, P, C, F, X = Phase.QUEUED, Phase.RUNNING, Phase.PAUSED, Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED

ALLOWED = {
    (Q, R), (Q, F), (Q, X),
    (R, P), (R, C), (R, F), (R, X),
    (P, R), (P, F), (P, X),
    (C, R), (F, R),
}  # fmt: skip
"""Written out again, not taken from the module: this is the specification."""

ILLEGAL = sorted(set(itertools.product(Phase, Phase)) - ALLOWED)


@pytest.mark.requirement("BR-WF-LIFECYCLE-001")
def test_the_phases_are_those_of_the_requirement() -> None:
    assert {phase.value for phase in Phase} == {"queued", "running", "paused", "completed", "failed", "cancelled"}


@pytest.mark.parametrize(("current", "to"), sorted(ALLOWED))
def test_an_allowed_transition_passes(current: Phase, to: Phase) -> None:
    transition(current, to)


@pytest.mark.parametrize(("current", "to"), ILLEGAL)
def test_any_other_transition_is_refused_and_named(current: Phase, to: Phase) -> None:
    with pytest.raises(IllegalTransition, match=current.value) as caught:
        transition(current, to)
    assert (caught.value.current, caught.value.to) == (current, to)


def test_a_refusal_says_what_is_possible_instead() -> None:
    with pytest.raises(IllegalTransition, match="cancelled, failed, running"):
        transition(Phase.QUEUED, Phase.COMPLETED)
    with pytest.raises(IllegalTransition, match="start a new execution"):
        transition(Phase.CANCELLED, Phase.RUNNING)
    with pytest.raises(IllegalTransition, match="already running"):
        transition(Phase.RUNNING, Phase.RUNNING)


def test_only_ended_phases_are_terminal() -> None:
    assert {phase for phase in Phase if terminal(phase)} == {Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED}


def test_only_a_clear_opens_a_round() -> None:
    assert {pair for pair in ALLOWED if opens_round(*pair)} == {(C, R), (F, R)}


@pytest.mark.parametrize(
    ("phase", "outcomes"),
    [
        (Q, {None}),
        (R, {None}),
        (P, {None}),
        (C, {ExecutionOutcome.SUCCESS, ExecutionOutcome.PARTIAL_SUCCESS}),
        (F, {ExecutionOutcome.FAILURE}),
        (X, {None, ExecutionOutcome.FAILURE}),
    ],
)
def test_each_phase_has_its_outcomes(phase: Phase, outcomes: set[ExecutionOutcome | None]) -> None:
    for outcome in (None, *ExecutionOutcome):
        if outcome in outcomes:
            check_outcome(phase, outcome)
        else:
            with pytest.raises(ValueError, match=phase.value):
                check_outcome(phase, outcome)
