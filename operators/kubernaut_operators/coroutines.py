"""The work of each kind of task as one coroutine, the same for triggers and for workers.

Builds the environment of a run from Airflow's side (settings section, connections), calls the runner in
`kubernaut.execution`, and shapes the end of the task. Knows no plan.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from kubernaut.execution.environment import Environment, RunRef, TaskResult

Log = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class TaskPlace:
    """Where a task is in Airflow."""

    run: RunRef

    @classmethod
    def of(cls, instance: Any) -> TaskPlace:
        """From Airflow's task instance, in a trigger or in a worker (`Any`: two unrelated classes)."""
        return cls(
            run=RunRef(
                dag_id=instance.dag_id,
                run_id=instance.run_id,
                task_id=instance.task_id,
                try_number=instance.try_number,
            )
        )


@dataclass(frozen=True, kw_only=True)
class TaskEnd:
    """How a task ends: `success`, `failed` or `skipped`, and what it leaves as XCom."""

    state: str
    text: str
    xcoms: dict[str, Any] = field(default_factory=dict)


def environment() -> Environment:
    """Of this process and loop."""
    from kubernaut.policy import load_policy
    from kubernaut.settings import get_settings
    from kubernaut_operators.clusters import client_of
    from kubernaut_operators.process import configure

    configure()
    settings = get_settings()
    return Environment(settings=settings, policy=load_policy(settings.policy_file), cluster=client_of)


def _discreet(log: Log) -> Log:
    """The task's log without secrets: its lines hold text of alerts, models and clusters."""
    from kubernaut.redaction import redact

    return lambda line: log(redact(line))


async def _run(log: Log, work: Callable[[Environment], Awaitable[TaskResult]]) -> TaskEnd:
    """Run to the end. While the store is away it is begun again: every runner continues from what the store says."""
    from kubernaut.redaction import redact, redacted
    from kubernaut.store.engine import is_away

    env = environment()
    pause = env.settings.poll_interval
    while True:
        try:
            result = await work(env)
        except Exception as error:
            if not is_away(error):
                raise
            log(f"the store cannot be reached ({type(error).__name__}); going on in {pause:g} s")
            await env.sleep(pause)
            pause = min(pause * 2, env.settings.reconcile_interval)
        else:
            return TaskEnd(
                state=result.state, text=redact(result.text), xcoms={"return_value": redacted(result.result)}
            )


async def step_task(place: TaskPlace, step: str, log: Log) -> TaskEnd:
    from kubernaut.execution.step_runner import run_step

    log = _discreet(log)
    return await _run(log, lambda env: run_step(env, place.run, step, log))


async def verify_task(place: TaskPlace, step: str, log: Log) -> TaskEnd:
    from kubernaut.execution.verify_runner import verify_step

    log = _discreet(log)
    return await _run(log, lambda env: verify_step(env, place.run, step, log))


async def judge_task(place: TaskPlace, log: Log) -> TaskEnd:
    from kubernaut.execution.verdict_runner import give_verdict

    log = _discreet(log)
    return await _run(log, lambda env: give_verdict(env, place.run, log))


async def submit_task(place: TaskPlace, log: Log) -> TaskEnd:
    from kubernaut.execution.submit_runner import submit

    log = _discreet(log)
    return await _run(log, lambda env: submit(env, place.run, log))
