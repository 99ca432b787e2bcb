"""A plan that came through Airflow's own trigger form: examine, accept, wait for its execution to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from kubernaut.examination import Examination
from kubernaut.execution import adoption
from kubernaut.execution.accept import RefusalKind, Refused
from kubernaut.execution.claim_policy import labels_of
from kubernaut.execution.environment import Environment, RunRef, TaskResult
from kubernaut.execution.phases import Phase, terminal
from kubernaut.plan.examine import examine
from kubernaut.plan.live import with_live_policy
from kubernaut.store import wake
from kubernaut.store.engine import async_session
from kubernaut.store.tables import ExecutionRow, RequestState


async def submit(env: Environment, run: RunRef, log: Callable[[str], None]) -> TaskResult:
    """Bring the plan in the run's `conf` before the reconciler, and end as its execution ends."""
    async with wake.waker().subscribe(wake.execution(run.run_id)) as event:
        while (answer := await adoption.ask(run)).state is RequestState.OPEN:
            await event.wait(env.settings.poll_interval)
    if answer.state is RequestState.REFUSED or answer.execution is None:
        log(answer.message)
        return TaskResult(state="failed", text=answer.message, result=dict(answer.details))
    log(f"accepted as {answer.execution}")
    return await _wait(env, answer.execution, log)


async def examined(env: Environment, plan: Any, signal: Any) -> Examination:
    """Examine in a thread (it costs CPU) and ask the policy again with labels read from the cluster."""
    found = await asyncio.to_thread(examine, plan, settings=env.settings, policy=env.policy, signal=signal)
    return await with_live_policy(found, policy=env.policy, labels_of=lambda target: labels_of(env, target))


def refusal_text(answer: Refused, examination: Examination) -> str:
    """For a log at 3 a.m.: what is in the way, where, and what to do."""
    lines = [f"not accepted ({answer.kind.value}): {answer.message}"]
    lines += [f"{fault.pointer or '/'}: {fault.message} {fault.remedy}" for fault in examination.faults]
    if answer.kind in (RefusalKind.APPROVAL_REQUIRED, RefusalKind.HUMAN_REQUIRED):
        lines.append(f"to approve exactly this plan, trigger again with approve: {examination.hash}")
    return "\n".join(lines)


async def _wait(env: Environment, execution: str, log: Callable[[str], None]) -> TaskResult:
    async with wake.waker().subscribe(wake.execution(execution)) as event:
        while True:
            async with async_session() as open_session:
                row = await open_session.get_one(ExecutionRow, execution)
            if terminal(row.phase):
                break
            await event.wait(env.settings.reconcile_interval)
    outcome = row.outcome.value if row.outcome else row.phase.value
    text = f"{execution} {row.phase.value}: {row.reason or outcome}"
    log(text)
    return TaskResult(
        state="success" if row.phase is Phase.COMPLETED else "failed",
        text=text,
        result={
            "execution": execution,
            "dag_id": row.dag_id,
            "run_id": row.run_id,
            "tracking_id": row.tracking_id,
            "phase": row.phase.value,
            "outcome": outcome,
        },
    )
