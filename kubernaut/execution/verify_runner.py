"""Proves one step: waits for its post-conditions and writes the step's final state. Never acts.

Clearing the sensor runs it again without acting again; a condition that stays false is a failed step, not another try.
A trigger that runs a second time for the same try (two triggerers) repeats its answer: what comes after the step may have
begun, and must not see it unproved again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import func

from kubernaut import journal
from kubernaut.errors import ErrorClass
from kubernaut.execution import progress
from kubernaut.execution.conditions import ExecutionEnded, Observer, Reading
from kubernaut.execution.environment import Environment, RunRef, TaskResult
from kubernaut.execution.step_runner import step_document
from kubernaut.execution.waiting import Ended, until_running
from kubernaut.workflow.gate import NotReachedReason, StepState

_UNPROVED = "the execution ended before it was proved"


async def verify_step(env: Environment, run: RunRef, key: str, log: Callable[[str], None]) -> TaskResult:
    """Verify. Returns; raises only what is a defect of the engine itself."""
    try:
        situation = await until_running(env, run, log, key=key)
    except Ended as ended:
        log(str(ended))
        await _leave(run, key, str(ended))
        return TaskResult(state="failed", text=str(ended), result={"status": StepState.UNKNOWN.value})
    env = env.tracked(situation.tracking_id)
    rows = await progress.rows(situation.execution_id)
    row = rows.get(key)
    if row is None or row.acted_at is None or row.undone_at is not None:
        text = "the step did not act; there is nothing to verify"
        return TaskResult(
            state="failed", text=text, result={"status": row.state if row else StepState.NOT_REACHED.value}
        )
    binding = situation.bindings.steps[key]
    prefix = f"[{situation.tracking_id}] {binding.name}: "

    def say(line: str) -> None:
        log(prefix + line)

    place = journal.StepPlace(execution_id=situation.execution_id, key=key, round=row.round, clusters=())
    if row.state in progress.FINAL and any(found.get("try") == run.try_number for found in row.evaluations):
        return await _answer(situation, place, StepState(row.state), row.message or row.state)
    await progress.write(
        place.execution_id, key, row.round, event="verifying", state=StepState.VERIFYING.value, ended_at=None
    )
    try:
        readings = await Observer(env=env, situation=situation, key=key, log=say).all(binding.post_conditions)
    except ExecutionEnded:
        return await _finish(env, situation, place, run, StepState.UNKNOWN, _UNPROVED, [])
    broken = [
        reading for reading in readings if not reading.optional and reading.readable and reading.holds is not True
    ]
    if broken:
        text = "; ".join(f"{reading.name}: {reading.observed}" for reading in broken)
        return await _finish(env, situation, place, run, StepState.FAILED, text, readings)
    proved = "; ".join(f"{reading.name}: {reading.observed}" for reading in readings if reading.holds)
    return await _finish(env, situation, place, run, StepState.SUCCEEDED, proved or "nothing to prove", readings)


async def _finish(
    env: Environment,
    situation: progress.Situation,
    place: journal.StepPlace,
    run: RunRef,
    state: StepState,
    text: str,
    readings: list[Reading],
) -> TaskResult:
    failed = state is StepState.FAILED
    values: dict[str, Any] = {
        "state": state.value,
        "message": text,
        "ended_at": env.now(),
        "evaluations": [{**reading.document(), "try": run.try_number} for reading in readings],
        "error_class": ErrorClass.POST_CONDITION if failed else None,
        "reason": NotReachedReason.TIMEOUT.value if state is StepState.UNKNOWN else None,
    }
    await progress.write(place.execution_id, place.key, place.round, event=f"{state.value}: {text}"[:1_000], **values)
    return await _answer(situation, place, state, text)


async def _answer(situation: progress.Situation, place: journal.StepPlace, state: StepState, text: str) -> TaskResult:
    document = await step_document(situation.tracking_id, place)
    return TaskResult(state="success" if state is StepState.SUCCEEDED else "failed", text=text, result=document)


async def _leave(run: RunRef, key: str, why: str) -> None:
    """The execution was over before the proof began: a step that acted stays in doubt, not `verifying` for ever."""
    situation = await progress.situation(run)
    row = (await progress.rows(situation.execution_id)).get(key) if situation is not None else None
    if situation is None or row is None or row.state != StepState.VERIFYING.value:
        return
    await progress.write(
        situation.execution_id,
        key,
        row.round,
        event=f"unknown: {why}",
        state=StepState.UNKNOWN.value,
        reason=NotReachedReason.TIMEOUT.value,
        message=f"{_UNPROVED}: {why}",
        ended_at=func.now(),
    )
