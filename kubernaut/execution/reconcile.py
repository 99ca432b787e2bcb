"""What phase an execution should be in, given what Airflow and the store say. Pure and level-triggered.

The reconciler in the plugin gathers the facts, asks `reconcile`, and writes the transition; it may ask at any time and any
number of times. Three truths, one writer each: the journal says what was changed, Airflow what is scheduled, and the phase
follows from both, here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kubernaut.execution.phases import ExecutionOutcome, Phase, terminal
from kubernaut.plan.model import OnFailure


class RunState(StrEnum):
    """States of an Airflow DAG run."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (RunState.SUCCESS, RunState.FAILED)


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    state: RunState
    clear_number: int
    """How often a person cleared anything in it."""


@dataclass(frozen=True, kw_only=True)
class VerdictFacts:
    """What the verdict task wrote, and in which round."""

    outcome: ExecutionOutcome
    reason: str
    round: int


@dataclass(frozen=True, kw_only=True)
class Facts:
    """One execution as it stands. `changed`: the journal holds a change that may stand and was not undone."""

    phase: Phase
    round: int
    is_plan: bool
    on_failure: OnFailure
    registered: bool
    late: bool
    changed: bool
    undo_exists: bool
    run: RunFacts | None
    verdict: VerdictFacts | None


@dataclass(frozen=True, kw_only=True)
class Transition:
    """What to write. `to` None: only the round. `undo`: queue the compensation in the same transaction."""

    to: Phase | None
    round: int
    outcome: ExecutionOutcome | None = None
    reason: str = ""
    undo: bool = False


def reconcile(facts: Facts) -> Transition | None:
    """The next transition, or None where the phase is right."""
    run = facts.run
    if run is not None and run.clear_number + 1 > facts.round and not run.state.ended:
        return _cleared(facts, run.clear_number + 1)
    if terminal(facts.phase) or not facts.registered:
        return None
    if run is None:
        return _fail(facts, "its run is gone from Airflow")
    if facts.phase is Phase.QUEUED:
        return _started(facts, run)
    if facts.late and not (run.state.ended and _current(facts) is not None):
        return _fail(facts, "timeout: the plan's time is over")
    if run.state.ended:
        return _ended(facts, run)
    return None


def _cleared(facts: Facts, round_: int) -> Transition | None:
    if facts.phase in (Phase.COMPLETED, Phase.FAILED):
        return Transition(to=Phase.RUNNING, round=round_, reason="cleared in Airflow")
    if facts.phase is Phase.CANCELLED:
        return None
    return Transition(to=None, round=round_, reason="cleared in Airflow")


def _started(facts: Facts, run: RunFacts) -> Transition | None:
    if run.state is RunState.QUEUED:
        return None
    return Transition(to=Phase.RUNNING, round=facts.round)


def _current(facts: Facts) -> VerdictFacts | None:
    verdict = facts.verdict
    return verdict if verdict is not None and verdict.round == facts.round else None


def _ended(facts: Facts, run: RunFacts) -> Transition:
    verdict = _current(facts)
    if facts.phase is Phase.PAUSED and verdict is not None and verdict.outcome is not ExecutionOutcome.FAILURE:
        return Transition(to=Phase.RUNNING, round=facts.round, reason="its run went on in Airflow")
    if verdict is None:
        return _fail(facts, f"its run ended in Airflow as {run.state.value} without a verdict")
    if verdict.outcome is ExecutionOutcome.FAILURE:
        return _fail(facts, verdict.reason)
    if run.state is RunState.FAILED:
        return _fail(facts, "its run was marked failed in Airflow after the verdict")
    return Transition(to=Phase.COMPLETED, round=facts.round, outcome=verdict.outcome, reason=verdict.reason)


def _fail(facts: Facts, reason: str) -> Transition:
    undo = facts.is_plan and facts.changed and not facts.undo_exists and facts.on_failure is OnFailure.COMPENSATE
    return Transition(to=Phase.FAILED, round=facts.round, outcome=ExecutionOutcome.FAILURE, reason=reason, undo=undo)
