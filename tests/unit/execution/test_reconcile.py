"""The phase of an execution from the facts: a table of situations, and properties over all of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from kubernaut.execution.phases import ExecutionOutcome, Phase, terminal, transition
from kubernaut.execution.reconcile import Facts, RunFacts, RunState, Transition, VerdictFacts, reconcile
from kubernaut.plan.model import OnFailure

SUCCESS = VerdictFacts(outcome=ExecutionOutcome.SUCCESS, reason="success", round=1)
PARTIAL = VerdictFacts(outcome=ExecutionOutcome.PARTIAL_SUCCESS, reason="something optional is missing", round=1)
FAILURE = VerdictFacts(outcome=ExecutionOutcome.FAILURE, reason="step 'a' failed", round=1)


def facts(**changes: Any) -> Facts:
    """A registered plan in its first round whose run is running."""
    base = Facts(
        phase=Phase.RUNNING,
        round=1,
        is_plan=True,
        on_failure=OnFailure.COMPENSATE,
        registered=True,
        late=False,
        changed=False,
        undo_exists=False,
        run=RunFacts(state=RunState.RUNNING, clear_number=0),
        verdict=None,
    )
    return replace(base, **changes)


def run(state: str, clear_number: int = 0) -> RunFacts:
    return RunFacts(state=RunState(state), clear_number=clear_number)


def failed(reason: str, *, undo: bool = False, round_: int = 1) -> Transition:
    return Transition(to=Phase.FAILED, round=round_, outcome=ExecutionOutcome.FAILURE, reason=reason, undo=undo)


TABLE = {
    "accepted, not registered yet": (facts(phase=Phase.QUEUED, registered=False, run=None), None),
    "registered, its run waits in Airflow": (facts(phase=Phase.QUEUED, run=run("queued")), None),
    "its run started": (facts(phase=Phase.QUEUED), Transition(to=Phase.RUNNING, round=1)),
    "it runs": (facts(), None),
    "done, proved": (
        facts(run=run("success"), verdict=SUCCESS),
        Transition(to=Phase.COMPLETED, round=1, outcome=ExecutionOutcome.SUCCESS, reason="success"),
    ),
    "done, something optional is missing": (
        facts(run=run("success"), verdict=PARTIAL),
        Transition(
            to=Phase.COMPLETED,
            round=1,
            outcome=ExecutionOutcome.PARTIAL_SUCCESS,
            reason="something optional is missing",
        ),
    ),
    "failed, nothing was changed": (facts(run=run("failed"), verdict=FAILURE), failed("step 'a' failed")),
    "failed after a change": (
        facts(run=run("failed"), verdict=FAILURE, changed=True),
        failed("step 'a' failed", undo=True),
    ),
    "failed after a change, which is to be kept": (
        facts(run=run("failed"), verdict=FAILURE, changed=True, on_failure=OnFailure.KEEP),
        failed("step 'a' failed"),
    ),
    "failed, and its undo is under way already": (
        facts(run=run("failed"), verdict=FAILURE, changed=True, undo_exists=True),
        failed("step 'a' failed"),
    ),
    "an undo that fails is not undone": (
        facts(run=run("failed"), verdict=FAILURE, changed=True, is_plan=False),
        failed("step 'a' failed"),
    ),
    "marked success in Airflow by a person": (
        facts(run=run("success")),
        failed("its run ended in Airflow as success without a verdict"),
    ),
    "marked failed after a good verdict": (
        facts(run=run("failed"), verdict=SUCCESS),
        failed("its run was marked failed in Airflow after the verdict"),
    ),
    "the run was deleted": (facts(run=None), failed("its run is gone from Airflow")),
    "late": (facts(late=True, changed=True), failed("timeout: the plan's time is over", undo=True)),
    "late, but the verdict was in time": (
        facts(late=True, run=run("success"), verdict=SUCCESS),
        Transition(to=Phase.COMPLETED, round=1, outcome=ExecutionOutcome.SUCCESS, reason="success"),
    ),
    "cleared after its end": (
        facts(phase=Phase.COMPLETED, run=run("queued", 1)),
        Transition(to=Phase.RUNNING, round=2, reason="cleared in Airflow"),
    ),
    "cleared after a failure": (
        facts(phase=Phase.FAILED, run=run("running", 1)),
        Transition(to=Phase.RUNNING, round=2, reason="cleared in Airflow"),
    ),
    "cleared while it runs": (
        facts(run=run("running", 1)),
        Transition(to=None, round=2, reason="cleared in Airflow"),
    ),
    "cancelled, then cleared": (facts(phase=Phase.CANCELLED, run=run("running", 1)), None),
    "ended, and its run too": (facts(phase=Phase.COMPLETED, run=run("success")), None),
    "a verdict of the round before the clear says nothing": (
        facts(round=2, run=run("success", 1), verdict=SUCCESS),
        failed("its run ended in Airflow as success without a verdict", round_=2),
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_the_table(name: str) -> None:
    situation, expected = TABLE[name]

    assert reconcile(situation) == expected


def every_situation() -> list[Facts]:
    runs = [
        None,
        *(run(state, clears) for state, clears in product(("queued", "running", "success", "failed"), (0, 1))),
    ]
    return [
        facts(phase=phase, registered=registered, late=late, changed=changed, run=a_run, verdict=verdict)
        for phase, registered, late, changed, a_run, verdict in product(
            Phase, (True, False), (True, False), (True, False), runs, (None, SUCCESS, FAILURE)
        )
    ]


def test_every_transition_is_one_that_the_phases_allow() -> None:
    for situation in every_situation():
        decision = reconcile(situation)
        if decision is not None and decision.to is not None:
            transition(situation.phase, decision.to)


def test_completed_only_with_a_verdict_that_says_so() -> None:
    for situation in every_situation():
        decision = reconcile(situation)
        if decision is not None and decision.to is Phase.COMPLETED:
            assert situation.verdict == SUCCESS
            assert situation.run is not None
            assert situation.run.state is RunState.SUCCESS


def test_nothing_registered_stays_open_once_airflow_is_done_with_it() -> None:
    for situation in every_situation():
        done = situation.run is None or situation.run.state.ended
        if situation.registered and done and not terminal(situation.phase):
            assert reconcile(situation) is not None, situation
