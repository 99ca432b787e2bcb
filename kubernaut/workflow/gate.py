"""May this step run? One pure function for the engine, `plan show`, the simulator and the undo.

`gate` decides from the states of the other steps, by the meaning of each edge. `airflow_wiring` says how Airflow is
told about it: the trigger rule and the upstream tasks of each step. Airflow's rule only decides *when* a step is
asked; every step that Airflow starts asks the gate before it acts. So a rule must never keep a step from running that
the gate would let run, and must never start one before what the gate reads is settled; where no native rule does both
it is `all_done`. Reading `when` conditions, halts, timeouts and cancellation is the step runner's work, not the
gate's.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from kubernaut.plan.links import Link, Reach, effective, fallbacks
from kubernaut.plan.model import EdgeOutcome, FailurePolicy
from kubernaut.workflow.model import Edge, Workflow, WorkflowStep


class StepState(StrEnum):
    """Where a step of an execution is."""

    PENDING = "pending"
    WAITING = "waiting"
    """For a slot, for the end of a halt, for the next try."""
    RUNNING = "running"
    VERIFYING = "verifying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Attempted, and failed for good."""
    SKIPPED = "skipped"
    """Its own `when` was false."""
    NOT_REACHED = "not_reached"
    UNKNOWN = "unknown"
    """Nobody can say whether its effect took place."""
    UNDONE = "undone"

    @property
    def final(self) -> bool:
        return self in _FINAL


_FINAL = frozenset(
    {
        StepState.SUCCEEDED,
        StepState.FAILED,
        StepState.SKIPPED,
        StepState.NOT_REACHED,
        StepState.UNKNOWN,
        StepState.UNDONE,
    }
)
_ACTIVE = frozenset({StepState.WAITING, StepState.RUNNING, StepState.VERIFYING})


class NotReachedReason(StrEnum):
    """Why a step was never attempted."""

    EDGE = "edge"
    """Its own edge did not come true."""
    TERMINATED = "terminated"
    """The failure policy: another step failed and nothing can save it."""
    HALTED = "halted"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """`reason` is None exactly where `run` is true; `text` says why in one line, in step keys only."""

    run: bool
    reason: NotReachedReason | None
    text: str


States = Mapping[str, StepState]
"""By step key. A step that is absent, or `pending`, has not been attempted: once Airflow asks its successor, never."""


def links_of(workflow: Workflow) -> tuple[Link, ...]:
    """The workflow's edges as links between step keys."""
    return tuple(Link(edge.upstream, step.key, edge.outcome) for step in workflow.steps for edge in step.edges)


def gate(step: WorkflowStep, workflow: Workflow, states: States, *, optional: Collection[str] = ()) -> GateResult:
    """Whether `step` runs. Total: every assignment of states has an answer, and in doubt it is no.

    :param optional: keys of the optional steps; their failure ends nothing
    """
    saved_by = fallbacks(links_of(workflow))
    for edge in step.edges:
        if not _holds(edge, states, saved_by):
            return GateResult(run=False, reason=NotReachedReason.EDGE, text=_unmet(edge, states, saved_by))
    lost = unsaved(workflow, states, optional=optional)
    if lost and workflow.failure_policy is FailurePolicy.TERMINATE:
        text = f"{lost[0]} {_state(states, lost[0])} and no fallback can save it; the failure policy is terminate"
        return GateResult(run=False, reason=NotReachedReason.TERMINATED, text=text)
    return GateResult(run=True, reason=None, text="every edge came true" if step.edges else "waits for no other step")


def doomed(workflow: Workflow, states: States, *, optional: Collection[str] = ()) -> bool:
    """Whether the failure policy lets no further step begin (`continue`: never)."""
    return workflow.failure_policy is FailurePolicy.TERMINATE and bool(unsaved(workflow, states, optional=optional))


def unsaved(workflow: Workflow, states: States, *, optional: Collection[str] = ()) -> tuple[str, ...]:
    """Keys of the steps that failed (or may have) and that no fallback has saved or may still save."""
    lost = [
        step.key
        for step in workflow.steps
        if _state(states, step.key) in (StepState.FAILED, StepState.UNKNOWN) and step.key not in optional
    ]
    if not lost:
        return ()
    saved_by = fallbacks(links_of(workflow))
    prospect = _Prospect(workflow, states, saved_by)
    return tuple(key for key in lost if not any(prospect.may_succeed(other) for other in saved_by.get(key, ())))


def _state(states: States, key: str) -> StepState:
    state = states.get(key, StepState.NOT_REACHED)
    return StepState.NOT_REACHED if state is StepState.PENDING else state


def _holds(edge: Edge, states: States, saved_by: Mapping[str, tuple[str, ...]]) -> bool:
    """The table of edges: what each kind waits for."""
    state = _state(states, edge.upstream)
    match edge.outcome:
        case EdgeOutcome.SUCCESS:
            return state is StepState.SUCCEEDED
        case EdgeOutcome.STAGE:
            chain = (edge.upstream, *saved_by.get(edge.upstream, ()))
            return any(_state(states, key) is StepState.SUCCEEDED for key in chain)
        case EdgeOutcome.FAILURE:
            return state is StepState.FAILED
        case EdgeOutcome.END:
            return state.final


def _unmet(edge: Edge, states: States, saved_by: Mapping[str, tuple[str, ...]]) -> str:
    wanted = {
        EdgeOutcome.SUCCESS: f"success of {edge.upstream}",
        EdgeOutcome.STAGE: f"success of {edge.upstream} or of a fallback of it",
        EdgeOutcome.FAILURE: f"failure of {edge.upstream}",
        EdgeOutcome.END: f"the end of {edge.upstream}",
    }[edge.outcome]
    keys: tuple[str, ...] = (edge.upstream,)
    if edge.outcome is EdgeOutcome.STAGE:
        keys += saved_by.get(edge.upstream, ())
    return f"waits for {wanted}; " + ", ".join(f"{key} is {_state(states, key)}" for key in keys)


class _Prospect:
    """What may still happen: a step that has not ended may succeed and may fail if its edges may still come true."""

    def __init__(self, workflow: Workflow, states: States, saved_by: Mapping[str, tuple[str, ...]]) -> None:
        self._steps = {step.key: step for step in workflow.steps}
        self._states = states
        self._saved_by = saved_by
        self._known: dict[str, bool] = {}

    def may_succeed(self, key: str) -> bool:
        state = self._states.get(key, StepState.PENDING)
        return state is StepState.SUCCEEDED or (not state.final and self._may_run(key))

    def _may_fail(self, key: str) -> bool:
        state = self._states.get(key, StepState.PENDING)
        return state is StepState.FAILED or (not state.final and self._may_run(key))

    def _may_run(self, key: str) -> bool:
        if self._states.get(key) in _ACTIVE:
            return True
        if key not in self._known:
            self._known[key] = False  # a cycle, which no valid workflow has, can never run
            self._known[key] = all(self._may_hold(edge) for edge in self._steps[key].edges)
        return self._known[key]

    def _may_hold(self, edge: Edge) -> bool:
        match edge.outcome:
            case EdgeOutcome.SUCCESS:
                return self.may_succeed(edge.upstream)
            case EdgeOutcome.STAGE:
                return any(self.may_succeed(key) for key in (edge.upstream, *self._saved_by.get(edge.upstream, ())))
            case EdgeOutcome.FAILURE:
                return self._may_fail(edge.upstream)
            case EdgeOutcome.END:
                return True


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """How Airflow is told when to start a step: a trigger rule, and the steps whose last tasks it waits for."""

    rule: str
    upstreams: tuple[str, ...]


def airflow_wiring(workflow: Workflow) -> dict[str, Wiring]:
    """The wiring of every step, by key.

    Two properties of Airflow decide where a native rule is not enough. `one_failed` and `one_success` start as soon
    as one upstream task is through, so they are used where at most one of them can ever matter. `all_success` *ends*
    a step (`upstream_failed`) while other upstream tasks still run, so a step that another one awaits in any final
    state uses `all_done`, or that other one would overtake the tasks that are still running.
    """
    links = links_of(workflow)
    saved_by = fallbacks(links)
    by_key = {step.key: step for step in workflow.steps}
    settling = _settling(workflow, links, saved_by, by_key)
    return {
        step.key: Wiring(
            rule=_rule(step, saved_by, by_key, settles=step.key in settling), upstreams=_upstreams(step, saved_by)
        )
        for step in workflow.steps
    }


def airflow_rule(workflow: Workflow, step: WorkflowStep) -> str:
    """The name of Airflow's trigger rule for one step; for all of them `airflow_wiring` is quicker."""
    return airflow_wiring(workflow)[step.key].rule


def airflow_upstreams(workflow: Workflow, step: WorkflowStep) -> tuple[str, ...]:
    """Keys of the steps from whose last tasks edges lead to this step: a stage edge brings the fallbacks along."""
    return _upstreams(step, fallbacks(links_of(workflow)))


def _upstreams(step: WorkflowStep, saved_by: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    keys: set[str] = set()
    for edge in step.edges:
        keys.add(edge.upstream)
        if edge.outcome is EdgeOutcome.STAGE:
            keys.update(saved_by.get(edge.upstream, ()))
    return tuple(sorted(keys))


def _rule(
    step: WorkflowStep, saved_by: Mapping[str, tuple[str, ...]], by_key: Mapping[str, WorkflowStep], *, settles: bool
) -> str:
    outcomes = {edge.outcome for edge in step.edges}
    single = len(step.edges) == 1
    if outcomes <= {EdgeOutcome.SUCCESS}:
        return "all_done" if settles and not single and step.edges else "all_success"
    if outcomes == {EdgeOutcome.STAGE} and single and _is_chain(step.edges[0].upstream, saved_by, by_key):
        return "one_success"
    if outcomes == {EdgeOutcome.FAILURE} and single:
        return "one_failed"
    return "all_done"


def _is_chain(primary: str, saved_by: Mapping[str, tuple[str, ...]], by_key: Mapping[str, WorkflowStep]) -> bool:
    """Whether the fallbacks of `primary` come strictly one after the other and wait for nothing else.

    Then at most one of them all succeeds, and none is running or can begin once one did.
    """
    members = (primary, *saved_by.get(primary, ()))
    for previous, key in itertools.pairwise(members):
        edges = by_key[key].edges
        if any(edge.outcome is not EdgeOutcome.FAILURE or edge.upstream not in members for edge in edges):
            return False
        if previous not in {edge.upstream for edge in edges}:
            return False
    return True


def _settling(
    workflow: Workflow,
    links: tuple[Link, ...],
    saved_by: Mapping[str, tuple[str, ...]],
    by_key: Mapping[str, WorkflowStep],
) -> frozenset[str]:
    """Steps that must not count as ended before everything they wait for has ended.

    Those are the steps that another step may act after without their having run (the upstream of an `end` edge, a
    fallback in a chain that is not a plain one), and all before them.
    """
    sources = {link.upstream for link in links if link.outcome is EdgeOutcome.END}
    for link in links:
        if link.outcome is EdgeOutcome.STAGE and not _is_chain(link.upstream, saved_by, by_key):
            sources.update(saved_by[link.upstream])
    if not sources:
        return frozenset()
    reach = Reach([step.key for step in workflow.steps], effective(links))
    return reach.before_any(sources) | sources
