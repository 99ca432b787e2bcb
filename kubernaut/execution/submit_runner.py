"""A plan that came through Airflow's own trigger form: examine, accept, wait for its execution to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pydantic import JsonValue

from kubernaut.examination import Examination
from kubernaut.execution.accept import Accepted, RefusalKind, Refused, Submission, accept
from kubernaut.execution.claim_policy import labels_of
from kubernaut.execution.environment import Environment, RunRef, TaskResult
from kubernaut.execution.phases import Phase, terminal
from kubernaut.plan.examine import examine
from kubernaut.plan.live import with_live_policy
from kubernaut.plan.model import Priority
from kubernaut.store import wake
from kubernaut.store.audit import Actor
from kubernaut.store.engine import async_session, session
from kubernaut.store.tables import ExecutionRow


async def submit(env: Environment, run: RunRef, log: Callable[[str], None]) -> TaskResult:
    """Accept the plan in the run's `conf`. The run's id is the idempotency key: a trigger that runs again finds its own."""
    plan, signal = run.conf.get("plan"), run.conf.get("signal")
    if plan is None:
        return TaskResult(state="failed", text="no plan was given: trigger the DAG with a plan as JSON", result={})
    examination = await examined(env, plan, signal)
    priority, approve = run.conf.get("priority"), run.conf.get("approve")
    submission = Submission(
        examination=examination,
        actor=Actor.user(run.user) if run.user else Actor("airflow", "airflow"),
        answer=plan,  # type: ignore[arg-type]
        priority=Priority(str(priority)) if priority else None,
        approve=str(approve) if approve else None,
        idempotency_key=f"airflow:{run.dag_id}:{run.run_id}:{run.try_number}",
    )
    answer = await asyncio.to_thread(_accept, submission)
    if isinstance(answer, Refused):
        text = refusal_text(answer, examination)
        log(text)
        return TaskResult(state="failed", text=text, result={"refused": answer.kind.value, **examination.public()})
    log(f"accepted as {answer.execution_id}: DAG {answer.dag_id}, run {answer.run_id}")
    return await _wait(env, answer)


async def examined(env: Environment, plan: Any, signal: Any) -> Examination:
    """Examine in a thread (it costs CPU) and ask the policy again with labels read from the cluster."""
    found = await asyncio.to_thread(examine, plan, settings=env.settings, policy=env.policy, signal=signal)
    return await with_live_policy(found, policy=env.policy, labels_of=lambda target: labels_of(env, target))


def _accept(submission: Submission) -> Accepted | Refused:
    with session() as open_session:
        return accept(open_session, submission)


def refusal_text(answer: Refused, examination: Examination) -> str:
    """For a log at 3 a.m.: what is in the way, where, and what to do."""
    lines = [f"not accepted ({answer.kind.value}): {answer.message}"]
    lines += [f"{fault.pointer or '/'}: {fault.message} {fault.remedy}" for fault in examination.faults]
    if answer.kind in (RefusalKind.APPROVAL_REQUIRED, RefusalKind.HUMAN_REQUIRED):
        lines.append(f"to approve exactly this plan, trigger again with approve: {examination.hash}")
    return "\n".join(lines)


async def _wait(env: Environment, accepted: Accepted) -> TaskResult:
    facts: dict[str, JsonValue] = {
        "execution": accepted.execution_id,
        "dag_id": accepted.dag_id,
        "run_id": accepted.run_id,
        "tracking_id": accepted.tracking_id,
    }
    async with wake.waker().subscribe(wake.execution(accepted.execution_id)) as event:
        while True:
            async with async_session() as open_session:
                row = await open_session.get_one(ExecutionRow, accepted.execution_id)
            if terminal(row.phase):
                break
            await event.wait(env.settings.reconcile_interval)
    outcome = row.outcome.value if row.outcome else row.phase.value
    text = f"{accepted.execution_id} {row.phase.value}: {row.reason or outcome}"
    state = "success" if row.phase is Phase.COMPLETED else "failed"
    return TaskResult(state=state, text=text, result={**facts, "phase": row.phase.value, "outcome": outcome})
