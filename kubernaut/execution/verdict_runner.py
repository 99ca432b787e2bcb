"""The last word over an execution: reads its success criteria, watches its rollback triggers, and judges from the rows.

Writes the verdict into the execution's row; the phase follows from it in the reconciler. "Succeeded" is said only when
the cluster was read and said so (BR-WF-016).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from kubernaut.actions.spec import EffectClass
from kubernaut.execution import progress
from kubernaut.execution.conditions import ExecutionEnded, Observer, Reading
from kubernaut.execution.environment import Environment, RunRef, TaskResult
from kubernaut.execution.waiting import Ended, until_running
from kubernaut.plan.model import RollbackTrigger
from kubernaut.postconditions.evaluate import readable
from kubernaut.store import wake
from kubernaut.store.engine import async_session
from kubernaut.store.tables import ExecutionRow, JournalRow, JournalStatus, StepRow
from kubernaut.workflow.gate import NotReachedReason, StepState
from kubernaut.workflow.outcome import ConditionResult, ExecutionOutcome, StepFacts, Verdict, judge

_CLUSTER_EFFECTS = (EffectClass.IN_OBJECT.value, EffectClass.BY_IDENTITY.value)


async def give_verdict(env: Environment, run: RunRef, log: Callable[[str], None]) -> TaskResult:
    """Judge. Returns; raises only what is a defect of the engine itself."""
    try:
        situation = await until_running(env, run, log)
    except Ended as ended:
        log(str(ended))
        if not ended.refused:
            await progress.close_ended(run, ended.reason)
        return TaskResult(state="failed", text=str(ended), result={"outcome": ExecutionOutcome.FAILURE.value})
    env = env.tracked(situation.tracking_id)
    prefix = f"[{situation.tracking_id}] verdict: "

    def say(line: str) -> None:
        log(prefix + line)

    observer = Observer(env=env, situation=situation, key="", log=say)
    await progress.close_unreached(situation)
    facts = await _facts(situation)
    readings: list[Reading] = []
    verdict = _at_best(env, situation, facts)
    if verdict.outcome is not ExecutionOutcome.FAILURE and situation.kind == "plan":
        try:
            readings, fired = await _observe(env, situation, observer)
        except ExecutionEnded:
            return TaskResult(state="failed", text="the execution ended before the verdict", result={})
        held = [ConditionResult(name=r.name, holds=r.holds, optional=r.optional, checked_at=r.at) for r in readings]
        verdict = judge(situation.workflow, situation.bindings, facts, held, fired)
    document = _document(situation, verdict, readings, situation.round)
    await _write(situation.execution_id, document)
    say(document["text"])
    state = "failed" if verdict.outcome is ExecutionOutcome.FAILURE else "success"
    return TaskResult(state=state, text=document["text"], result=document)


def _at_best(env: Environment, situation: progress.Situation, facts: dict[str, StepFacts]) -> Verdict:
    """The verdict if every criterion held: where even that is a failure, there is nothing to wait for."""
    later = env.now() + timedelta(days=1)  # after the last change by any clock
    held = [
        ConditionResult(name=criterion.name, holds=True, optional=criterion.optional, checked_at=later)
        for criterion in situation.bindings.success_criteria
    ]
    return judge(situation.workflow, situation.bindings, facts, held)


async def _facts(situation: progress.Situation) -> dict[str, StepFacts]:
    rows = await progress.rows(situation.execution_id)
    changes: dict[str, datetime] = {}
    async with async_session() as session:
        found = await session.execute(
            select(JournalRow.step_key, JournalRow.done_at, JournalRow.sent_at).where(
                JournalRow.execution_id == situation.execution_id,
                JournalRow.effect.in_(_CLUSTER_EFFECTS),
                JournalRow.status.in_((JournalStatus.SENT, JournalStatus.APPLIED, JournalStatus.UNKNOWN)),
            )
        )
        moments: defaultdict[str, list[datetime]] = defaultdict(list)
        for key, done, sent in found:
            moments[key].append(done or sent or datetime.now(UTC))
        changes = {key: max(times) for key, times in moments.items()}
    return {key: _step_facts(row, changes.get(key)) for key, row in rows.items()}


def _step_facts(row: StepRow, last_change_at: datetime | None) -> StepFacts:
    state = StepState(row.state)
    return StepFacts(
        state=state,
        reason=NotReachedReason(row.reason) if state is StepState.NOT_REACHED and row.reason else None,
        last_change_at=last_change_at,
        conditions=tuple(
            ConditionResult(
                name=item["name"],
                holds=item["holds"],
                optional=item["optional"],
                checked_at=datetime.fromisoformat(item["at"]),
            )
            for item in row.evaluations
        ),
    )


async def _observe(
    env: Environment, situation: progress.Situation, observer: Observer
) -> tuple[list[Reading], list[str]]:
    """The success criteria, and the names of the rollback triggers that became true. Raises `ExecutionEnded`.

    A trigger that becomes true decides: criteria that are still awaited are read once more, for people, and not awaited.
    """
    criteria = situation.bindings.success_criteria
    waiting = asyncio.ensure_future(observer.all(criteria))
    try:
        fired = await _settle(env, situation, observer, waiting)
        if fired and not waiting.done():
            return await observer.once(criteria), fired
        return await waiting, fired
    finally:
        waiting.cancel()
        await asyncio.wait([waiting])


async def _settle(
    env: Environment, situation: progress.Situation, observer: Observer, criteria: asyncio.Future[list[Reading]]
) -> list[str]:
    """Watch the rollback triggers through the settling time, and for as long as the criteria take."""
    watched = [trigger for trigger in situation.bindings.rollback_triggers if readable(trigger.check)]
    if not watched:
        return []
    loop = asyncio.get_running_loop()
    until = loop.time() + env.settings.settle_seconds
    while True:
        last = criteria.done() and loop.time() >= until
        fired = [trigger.name for trigger in watched if await _fires(observer, trigger)]
        if fired or last:
            return fired
        await env.sleep(min(env.settings.post_condition_interval, max(0.05, until - loop.time())))


async def _fires(observer: Observer, trigger: RollbackTrigger) -> bool:
    return (await observer.read(trigger.check)).holds is True


def _document(situation: progress.Situation, verdict: Verdict, readings: list[Reading], round_: int) -> dict[str, Any]:
    parts = [verdict.outcome.value, *verdict.reasons, *verdict.missing, verdict.note]
    return {
        "execution": situation.execution_id,
        "tracking_id": situation.tracking_id,
        "outcome": verdict.outcome.value,
        "proof": verdict.proof,
        "reasons": list(verdict.reasons),
        "missing": list(verdict.missing),
        "note": verdict.note,
        "criteria": [reading.document() for reading in readings],
        "text": "; ".join(part for part in parts if part),
        "round": round_,
    }


async def _write(execution_id: str, document: dict[str, Any]) -> None:
    async with async_session() as session:
        await session.execute(
            update(ExecutionRow)
            .where(ExecutionRow.id == execution_id)
            .values(verdict=document)
            .execution_options(synchronize_session=False)
        )
        wake.notify(session, wake.RECONCILER)
