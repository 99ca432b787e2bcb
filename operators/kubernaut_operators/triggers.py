"""The triggers in which steps run: each awaits one coroutine and yields the task's end.

No exception leaves a trigger and none ends without an event: either would send the task to a worker. Time limits are the
coroutines' own for the same reason. `on_kill` stops waiting, nothing more: what was sent is in the journal.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from airflow.triggers.base import BaseTrigger, TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from kubernaut_operators.coroutines import TaskEnd, TaskPlace, judge_task, step_task, submit_task, verify_task

_EVENTS = {"success": TaskSuccessEvent, "failed": TaskFailedEvent, "skipped": TaskSkippedEvent}


def _load_what_steps_need() -> None:
    for module in (
        "kubernaut.execution.step_runner",
        "kubernaut.execution.verdict_runner",
        "airflow.providers.cncf.kubernetes.hooks.kubernetes",
    ):
        importlib.import_module(module)


# Only a triggerer imports this module. Its first step would otherwise import for seconds on the event loop that all
# triggers share; a thread lets the others go on meanwhile.
threading.Thread(target=_load_what_steps_need, name="kubernaut-imports", daemon=True).start()


class _CoroutineTrigger(BaseTrigger):
    """Runs one coroutine of `kubernaut_operators.coroutines` to the end of its task."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{type(self).__module__}.{type(self).__qualname__}", {}

    def _coroutine(self, place: TaskPlace, log: Callable[[str], None]) -> Awaitable[TaskEnd]:
        raise NotImplementedError

    async def run(self) -> AsyncIterator[TriggerEvent]:
        instance: Any = self.task_instance
        try:
            place = TaskPlace.of(instance)
            end = await self._coroutine(place, self.log.info)
        except Exception as error:  # anything let out here would start a worker
            self.log.exception("this step ended by an error of the engine itself")
            end = TaskEnd(state="failed", text=f"{type(error).__name__}: {error}", xcoms={})
        yield _EVENTS[end.state](xcoms=end.xcoms or None)


class _StepTrigger(_CoroutineTrigger):
    def __init__(self, step: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.step = step

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return super().serialize()[0], {"step": self.step}


class StepTrigger(_StepTrigger):
    """Acts: see `StepOperator`."""

    def _coroutine(self, place: TaskPlace, log: Callable[[str], None]) -> Awaitable[TaskEnd]:
        return step_task(place, self.step, log)


class PostConditionTrigger(_StepTrigger):
    """Verifies: see `PostConditionSensor`."""

    def _coroutine(self, place: TaskPlace, log: Callable[[str], None]) -> Awaitable[TaskEnd]:
        return verify_task(place, self.step, log)


class VerdictTrigger(_CoroutineTrigger):
    """Judges: see `VerdictOperator`."""

    def _coroutine(self, place: TaskPlace, log: Callable[[str], None]) -> Awaitable[TaskEnd]:
        return judge_task(place, log)


class SubmitTrigger(_CoroutineTrigger):
    """Accepts a plan that came through Airflow's own trigger form and waits for its execution: `execute_plan`."""

    def _coroutine(self, place: TaskPlace, log: Callable[[str], None]) -> Awaitable[TaskEnd]:
        return submit_task(place, log)
