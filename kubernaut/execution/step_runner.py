"""Carries out one step: wait for the execution to run, gate, condition, slot, parameters, read, claim, send, record.

One coroutine, the same in the triggerer and in a worker. It may be started again at any point (a triggerer died, two run
the same trigger): what was done is read from the step's row and the journal, never remembered. It ends by returning a
`TaskResult`; whoever calls it turns that into Airflow's state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from pydantic import JsonValue

from kubernaut import journal
from kubernaut.actions.registry import executor
from kubernaut.actions.spec import ActionPlan, Change, StepFailure
from kubernaut.errors import ConfigurationError, ErrorClass
from kubernaut.execution import progress
from kubernaut.execution.action_context import StepActionContext
from kubernaut.execution.apply import ClaimRefused, perform, resolve_doubt, still_stands
from kubernaut.execution.claim_policy import require_allowed
from kubernaut.execution.environment import Environment, RunRef, TaskResult
from kubernaut.execution.phases import Phase, terminal
from kubernaut.execution.retry import next_delay
from kubernaut.execution.undo_runner import take_back
from kubernaut.execution.waiting import Ended, until_running, until_unhalted
from kubernaut.expressions import ResultType
from kubernaut.store.engine import async_session, is_away
from kubernaut.store.tables import JournalRow, JournalStatus, StepRow
from kubernaut.workflow.gate import GateResult, NotReachedReason, StepState, gate
from kubernaut.workflow.model import StepBinding, WorkflowStep

_SLOT_POLL = 0.25
_HALTED = "waits: halted"
_STOPS = {
    journal.Refusal.CANCELLED: NotReachedReason.CANCELLED,
    journal.Refusal.TIMEOUT: NotReachedReason.TIMEOUT,
    journal.Refusal.ENDED: NotReachedReason.TIMEOUT,
}


@dataclass(frozen=True, kw_only=True)
class _Work:
    """Everything about one step that does not change while it runs."""

    env: Environment
    situation: progress.Situation
    step: WorkflowStep
    binding: StepBinding
    place: journal.StepPlace
    log: Callable[[str], None]

    @property
    def cluster(self) -> str | None:
        return self.binding.target.cluster or self.situation.bindings.target.cluster

    async def write(self, event: str, **values: Any) -> bool:
        """False where this step has ended meanwhile (another process ran it too): the first word stands."""
        place = self.place
        return await progress.write(place.execution_id, place.key, place.round, event=event, only_open=True, **values)


class _EndedElsewhere(Exception):
    """Another process that ran the same step has ended it."""


async def run_step(env: Environment, run: RunRef, key: str, log: Callable[[str], None]) -> TaskResult:
    """Act. Returns; raises only what is a defect of the engine itself."""
    try:
        situation = await until_running(env, run, log, key=key)
    except Ended as ended:
        log(str(ended))
        state = "failed" if ended.refused else "skipped"
        return _result(state, str(ended), {"status": StepState.NOT_REACHED.value, "message": str(ended)})
    work = _work(env.tracked(situation.tracking_id), situation, key, run.try_number, log)
    row = await progress.begin(situation, key, run.try_number)
    if row.round != run.try_number:
        return await _report(work, row)
    if row.undone_at is None and _asked_again(row):
        row = await progress.ask_again(situation, key, run.try_number)
    if row.state not in progress.OPEN:
        return await _report(work, row)
    if row.undone_at is not None:
        return await _end(work, StepState.UNDONE, "the step was undone; start a new execution to act again")
    if row.started_at is not None:
        # Its edges came true and its condition held when it began: it is finished, not asked again.
        return await _tries(work)
    passed = await _gate(work)
    if not passed.run:
        reason = passed.reason or NotReachedReason.EDGE
        return await _end(work, StepState.NOT_REACHED, passed.text, reason=reason.value)
    return await _condition(work)


def _asked_again(row: StepRow) -> bool:
    """It was said of this step that it was not reached, and Airflow asks for it all the same: what came before it has changed."""
    edges = (NotReachedReason.EDGE.value, NotReachedReason.TERMINATED.value)
    return row.state == StepState.NOT_REACHED.value and row.reason in edges


async def _gate(work: _Work) -> GateResult:
    """The gate; a failure of an earlier round terminates nothing in this one, or no two failed steps could be cleared."""
    situation = work.situation
    optional = [other for other, binding in situation.bindings.steps.items() if binding.optional]
    rows = await progress.rows(situation.execution_id)
    passed = gate(work.step, situation.workflow, progress.states(rows), optional=optional)
    if passed.reason is NotReachedReason.TERMINATED and situation.round > 1:
        began = await progress.round_began(situation.execution_id)
        earlier = [key for key, row in rows.items() if began and row.ended_at and row.ended_at < began]
        passed = gate(work.step, situation.workflow, progress.states(rows), optional=[*optional, *earlier])
    return passed


def _work(env: Environment, situation: progress.Situation, key: str, round_: int, log: Callable[[str], None]) -> _Work:
    binding = situation.bindings.steps[key]
    cluster = binding.target.cluster or situation.bindings.target.cluster
    prefix = f"[{situation.tracking_id}] {binding.name}: "
    return _Work(
        env=env,
        situation=situation,
        step=situation.workflow.step(key),
        binding=binding,
        place=journal.StepPlace(
            execution_id=situation.execution_id, key=key, round=round_, clusters=(cluster,) if cluster else ()
        ),
        log=lambda line: log(prefix + line),
    )


async def _condition(work: _Work) -> TaskResult:
    """The step's own `when`; false is `skipped`, and what cannot be evaluated fails the step."""
    if work.binding.when is not None:
        context = StepActionContext(work.env, work.situation, work.step.key, work.log)
        try:
            holds = await context.evaluate(work.binding.when, wants=ResultType.BOOL)
        except StepFailure as failure:
            return await _fail(work, failure)
        if holds is not True:
            return await _end(work, StepState.SKIPPED, f"its condition is false: {work.binding.when}")
    return await _tries(work)


async def _tries(work: _Work) -> TaskResult:
    """Try until it worked, failed for good, or the execution ended."""
    while True:
        row = await _row(work)
        try:
            return await _one_try(work, row)
        except ClaimRefused as refused:
            ended = await _stopped(work, refused.refusal, row.tries)
        except StepFailure as failure:
            ended = await _schedule_retry(work, failure)
        except Ended as over:
            ended = await _stop(work, str(over), over.reason)
        except _EndedElsewhere:
            ended = await _report(work, await _row(work))
        except TimeoutError:
            late = StepFailure(ErrorClass.TIMEOUT, f"the step took longer than {work.binding.timeout:g} s")
            ended = await _give_up(work, late)
        if ended is not None:
            return ended


async def _one_try(work: _Work, row: StepRow) -> TaskResult:
    """Wait for what must be waited for, then try once, within the step's own time."""
    if row.state == StepState.WAITING.value and row.reason == NotReachedReason.HALTED.value:
        await _until_resumed(work, row)
    await _until_due(work, row)
    await _slot(work)
    row = await _row(work)
    try:
        async with asyncio.timeout(_remaining(work, row)):
            return await _attempt(work, row)
    except ConfigurationError as error:
        if is_away(error):
            raise  # the store itself: whoever runs us begins again
        raise StepFailure(ErrorClass.VALIDATION, str(error)) from error


async def _row(work: _Work) -> StepRow:
    return (await progress.rows(work.place.execution_id))[work.place.key]


async def _slot(work: _Work) -> None:
    limit, place, told = work.env.settings.max_parallel_steps, work.place, False
    while not await progress.take_slot(
        place.execution_id, place.key, place.round, limit=limit, timeout=work.binding.timeout
    ):
        row = await _row(work)
        if row.round != place.round or row.state not in progress.OPEN:
            raise _EndedElsewhere
        if not told:
            work.log(f"waits for a slot: {limit} steps of this execution act already")
            told = True
        await work.env.sleep(_SLOT_POLL)
        await _require_alive(work, "the execution ended before this step had its turn")


async def _require_alive(work: _Work, otherwise: str) -> None:
    phase, _, cancelled = await progress.phase_of(work.place.execution_id)
    if terminal(phase) or cancelled:
        late = phase is Phase.FAILED and not cancelled
        raise Ended(otherwise, NotReachedReason.TIMEOUT if late else NotReachedReason.CANCELLED)


async def _until_due(work: _Work, row: StepRow) -> None:
    """Sleep until the next try is due; awake at once when the execution ends."""
    while row.next_try_at is not None and (left := (row.next_try_at - work.env.now()).total_seconds()) > 0:
        await work.env.sleep(min(left, work.env.settings.poll_interval))
        await _require_alive(work, "the execution ended before the next try")


async def _until_resumed(work: _Work, row: StepRow) -> None:
    """Wait for the end of a halt, and give the step the time back that it took, also where another process saw it begin."""
    began = next((line["at"] for line in reversed(row.timeline) if line["event"] == _HALTED), None)
    since = datetime.fromisoformat(began) if began else work.env.now()
    await until_unhalted(work.env, work.place, work.log)
    waited = work.env.now() - since
    await work.write("goes on", reason=None, deadline_at=StepRow.deadline_at + waited)


def _remaining(work: _Work, row: StepRow) -> float:
    """Seconds until the step's own timeout, which counts from its first slot and stands still while halted."""
    if row.deadline_at is None:
        return work.binding.timeout
    return max(0.05, (row.deadline_at - work.env.now()).total_seconds())


async def _stopped(work: _Work, refusal: journal.Refusal, tries: int) -> TaskResult | None:
    """A claim was refused: wait and try again (halt, a phase about to change), which is no try; or end."""
    if refusal is journal.Refusal.HALTED:
        halted = NotReachedReason.HALTED.value
        await work.write(_HALTED, state=StepState.WAITING.value, reason=halted, tries=tries)
        return None
    if refusal is journal.Refusal.NOT_CURRENT:
        await work.write("waits: the claim was not granted", tries=tries)
        await work.env.sleep(_SLOT_POLL)
        return None
    if refusal is journal.Refusal.UNDONE:
        return await _end(work, StepState.UNDONE, "the step was undone; start a new execution to act again")
    if refusal is journal.Refusal.ROUND:
        return await _report(work, await _row(work))
    reason = _STOPS[refusal]
    return await _stop(work, f"stopped at a safe point: {reason.value}", reason)


async def _stop(work: _Work, text: str, reason: NotReachedReason) -> TaskResult:
    """End before another try. A request of an earlier one may have been carried out: then the step was reached."""
    statuses = await _outcome(work)
    if any(status in (JournalStatus.APPLIED, JournalStatus.UNKNOWN) for status in statuses):
        work.log(f"{text}; a request was sent before: {', '.join(s.value for s in statuses)}")
        return await _acted(work, statuses)
    return await _end(work, StepState.NOT_REACHED, text, reason=reason.value)


async def _outcome(work: _Work) -> list[JournalStatus]:
    """What became of the requests that were sent, as the objects tell it now."""
    async with async_session() as session:
        claimed = await journal.rows(session, work.place)
    return [await resolve_doubt(work.env, entry) for entry in claimed]


async def _attempt(work: _Work, row: StepRow) -> TaskResult:
    """One try. Raises `StepFailure`, `ClaimRefused`, `TimeoutError`."""
    await work.write(f"try {row.tries + 1}", tries=row.tries + 1, next_try_at=None)
    params = work.binding.params
    if work.situation.kind == "undo" and "action" not in params:
        origin, key = str(params["execution"]), str(params["step"])
        statuses, outputs = await take_back(work.env, work.place, origin, key, work.log)
        await work.write("taken back", outputs=outputs)
    else:
        statuses = await _act(work, row)
    return await _acted(work, statuses)


async def _act(work: _Work, row: StepRow) -> list[JournalStatus]:
    """Parameters, read, claim, send."""
    async with async_session() as session:
        claimed = await journal.rows(session, work.place)
        before = await journal.rows_of_earlier_rounds(session, work.place)
    if not claimed and before and await still_stands(work.env, before):
        await work.write("what an earlier round changed still stands; nothing to change")
        return [JournalStatus.APPLIED]
    if not claimed:
        planned = await _plan(work)
        await work.write(planned.summary or "nothing to change", outputs=dict(planned.outputs))
        claimed = await _claim(work, planned.changes)
    return [await perform(work.env, work.place, entry, work.log) for entry in claimed]


async def _plan(work: _Work) -> ActionPlan:
    context = StepActionContext(work.env, work.situation, work.step.key, work.log)
    name, given = work.step.action, work.binding.params
    if work.situation.kind == "undo":  # the plan named another action as the undo of its step
        name, given = str(given["action"]), cast("dict[str, JsonValue]", given["params"])
    action = executor(name)
    params = await context.params(action.spec, given)
    try:
        async with asyncio.timeout_at(_plan_deadline(work)):
            planned = await action.plan(context, params)
    except TimeoutError:
        if not _plan_is_late(work):
            raise
        raise ClaimRefused(journal.Refusal.TIMEOUT) from None  # a safe point: nothing was claimed yet
    if action.spec.changes_cluster:
        await require_allowed(work.env, work.situation, name, work.binding, context.target, params)
    return planned


def _plan_deadline(work: _Work) -> float | None:
    """When the plan's time is over, by the loop's clock; None where it has no end."""
    if work.situation.deadline_at is None:
        return None
    left = (work.situation.deadline_at - work.env.now()).total_seconds()
    return asyncio.get_running_loop().time() + max(0.0, left)


def _plan_is_late(work: _Work) -> bool:
    return work.situation.deadline_at is not None and work.env.now() >= work.situation.deadline_at


async def _claim(work: _Work, changes: tuple[Change, ...]) -> list[JournalRow]:
    if not changes:
        return []
    async with async_session() as session:
        refused = await journal.claim(session, work.place, work.cluster, changes)
        if refused is not None:
            raise ClaimRefused(refused)
        return await journal.rows(session, work.place)


async def _acted(work: _Work, statuses: list[JournalStatus]) -> TaskResult:
    """The action is done, or nobody can tell: the sensor goes on from here where there is one."""
    doubt = JournalStatus.UNKNOWN in statuses
    now = work.env.now()
    if work.step.verified:
        text = "acted; whether it took effect is not known, the post-conditions decide" if doubt else "acted"
        await work.write(
            text, state=StepState.VERIFYING.value, acted_at=now, message=text, reason="in_doubt" if doubt else None
        )
        return await _report(work, await _row(work))
    state = StepState.UNKNOWN if doubt else StepState.SUCCEEDED
    return await _end(work, state, "whether it took effect is not known" if doubt else "done", acted_at=now)


async def _schedule_retry(work: _Work, failure: StepFailure) -> TaskResult | None:
    """Write when the next try is due, or end the step."""
    row = await _row(work)
    delay = next_delay(work.binding.retry, row.tries, failure.error_class, failure.retry_after, work.env.rng)
    if delay is None:
        return await _give_up(work, failure)
    due = work.env.now() + timedelta(seconds=delay)
    if row.deadline_at is not None and due >= row.deadline_at:
        work.log(f"the next try would be in {delay:.1f} s, and the step's time is over before that")
        return await _give_up(work, failure)
    await work.write(
        f"{failure.error_class.value}: {failure.message}; next try in {delay:.1f} s",
        state=StepState.WAITING.value,
        next_try_at=due,
        error_class=failure.error_class,
        message=failure.message,
    )
    work.log(f"try {row.tries} failed ({failure.error_class.value}): {failure.message}; next try in {delay:.1f} s")
    return None


async def _give_up(work: _Work, failure: StepFailure) -> TaskResult:
    """No further try: settle what is in doubt; a step whose effect nobody knows is not called failed."""
    statuses = await _outcome(work)
    if JournalStatus.UNKNOWN in statuses or (statuses and all(s is JournalStatus.APPLIED for s in statuses)):
        work.log(f"no answer to be had ({failure.message}); {', '.join(s.value for s in statuses)}")
        return await _acted(work, statuses)
    return await _fail(work, failure)


async def _fail(work: _Work, failure: StepFailure) -> TaskResult:
    return await _end(work, StepState.FAILED, failure.message, error_class=failure.error_class)


async def _end(work: _Work, state: StepState, text: str, **values: Any) -> TaskResult:
    await work.write(
        f"{state.value}: {text}", state=state.value, message=text, ended_at=work.env.now(), next_try_at=None, **values
    )
    work.log(f"{state.value}: {text}")
    return await _report(work, await _row(work))


_AIRFLOW = {
    StepState.SUCCEEDED: "success",
    StepState.VERIFYING: "success",
    StepState.UNKNOWN: "success",
    StepState.SKIPPED: "skipped",
    StepState.NOT_REACHED: "skipped",
    StepState.FAILED: "failed",
    StepState.UNDONE: "failed",
}


async def _report(work: _Work, row: StepRow) -> TaskResult:
    if row.round != work.place.round:
        return _result("failed", "a later round of this step is running", {})
    state = StepState(row.state)
    return _result(
        _AIRFLOW[state], row.message or state.value, await step_document(work.situation.tracking_id, work.place)
    )


async def step_document(tracking_id: str, place: journal.StepPlace) -> dict[str, Any]:
    """The structured result: XCom, and what `executions show` prints."""
    row = (await progress.rows(place.execution_id))[place.key]
    async with async_session() as session:
        entries = await journal.rows(session, place)
    return {
        "execution": place.execution_id,
        "tracking_id": tracking_id,
        "step": row.step_id,
        "name": row.name,
        "action": row.action,
        "status": row.state,
        "reason": row.reason,
        "message": row.message,
        "error_class": row.error_class.value if row.error_class else None,
        "round": row.round,
        "tries": row.tries,
        "outputs": row.outputs,
        "evaluations": row.evaluations,
        "timeline": row.timeline,
        "journal": [{"id": entry.id, "status": entry.status.value, "summary": entry.summary} for entry in entries],
    }


def _result(state: str, text: str, document: dict[str, Any]) -> TaskResult:
    return TaskResult(state=state, text=text, result=document)
