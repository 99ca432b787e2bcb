"""The phases of an execution and the one table of transitions between them (BR-WF-LIFECYCLE-001).

Pure. The reconciler decides *which* transition happens, the registrar makes the first one, and the store
(`kubernaut.store.executions.set_phase`) writes none that this table does not allow. Whoever needs to know whether an
execution has ended asks `terminal`; nobody lists phases of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from kubernaut.errors import KubernautError


class Phase(StrEnum):
    QUEUED = "queued"
    """Accepted and in the store; the registrar has not started it yet."""
    RUNNING = "running"
    """Its steps may act: no claim is granted in any other phase."""
    PAUSED = "paused"
    """A person holds it; nothing new is claimed. Execution control (a later issue) is what enters and leaves it."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ExecutionOutcome(StrEnum):
    """What came of an execution that ended."""

    SUCCESS = "success"
    PARTIAL_SUCCESS = "partial_success"
    FAILURE = "failure"


TERMINAL: frozenset[Phase] = frozenset({Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED})

TRANSITIONS: Mapping[Phase, frozenset[Phase]] = {
    Phase.QUEUED: frozenset({Phase.RUNNING, Phase.FAILED, Phase.CANCELLED}),
    Phase.RUNNING: frozenset({Phase.PAUSED, Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED}),
    Phase.PAUSED: frozenset({Phase.RUNNING, Phase.FAILED, Phase.CANCELLED}),
    # A person cleared a task in Airflow: the execution runs again, in a new round.
    Phase.COMPLETED: frozenset({Phase.RUNNING}),
    Phase.FAILED: frozenset({Phase.RUNNING}),
    # Whoever cancelled wanted it to stay so: what is cancelled is started anew, never continued.
    Phase.CANCELLED: frozenset(),
}

OUTCOMES: Mapping[Phase, frozenset[ExecutionOutcome | None]] = {
    Phase.QUEUED: frozenset({None}),
    Phase.RUNNING: frozenset({None}),
    Phase.PAUSED: frozenset({None}),
    Phase.COMPLETED: frozenset({ExecutionOutcome.SUCCESS, ExecutionOutcome.PARTIAL_SUCCESS}),
    Phase.FAILED: frozenset({ExecutionOutcome.FAILURE}),
    Phase.CANCELLED: frozenset({None, ExecutionOutcome.FAILURE}),
}
"""The outcomes that an execution in a phase may have."""


class IllegalTransition(KubernautError):
    """The table has no such transition: a bug in the caller, or it looked at a row that has moved on since."""

    def __init__(self, message: str, *, current: Phase, to: Phase) -> None:
        super().__init__(message)
        self.current = current
        self.to = to


def terminal(phase: Phase) -> bool:
    """Whether the execution has ended (a clear may start it again, in a new round)."""
    return phase in TERMINAL


def transition(current: Phase, to: Phase) -> None:
    """Returns where the table allows it. Raises `IllegalTransition`, also for a phase to itself."""
    allowed = TRANSITIONS[current]
    if to in allowed:
        return
    if current is to:
        text = f"the execution is already {to}; nothing is to be done"
    elif not allowed:
        text = f"an execution that is {current} cannot become {to}: it stays {current}; start a new execution instead"
    else:
        names = ", ".join(sorted(allowed))
        text = f"an execution that is {current} cannot become {to}, only {names}; read it again before deciding"
    raise IllegalTransition(text, current=current, to=to)


def opens_round(current: Phase, to: Phase) -> bool:
    """Whether this transition is a clear, which begins a new round."""
    return terminal(current) and to is Phase.RUNNING


def check_outcome(phase: Phase, outcome: ExecutionOutcome | None) -> None:
    """Raises `ValueError` where an execution in `phase` cannot have this outcome."""
    allowed = OUTCOMES[phase]
    if outcome not in allowed:
        names = " or ".join(sorted(str(each or "none") for each in allowed))
        raise ValueError(f"an execution that is {phase} has the outcome {names}, not {outcome or 'none'}")
