"""The operators of a workflow's tasks: act, verify, judge.

Thin: each names its step and, in the triggerer placement, the trigger that does the work. In the worker placement
`execute` runs the very same coroutine. No plan value is an attribute here or in `template_fields`: what a step does is
read from the store when it starts, so an operator holds nothing but its place in the shape.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, BaseSensorOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.triggers.base import StartTriggerArgs

from kubernaut_operators.coroutines import TaskEnd, TaskPlace, judge_task, step_task, verify_task

_TRIGGERS = "kubernaut_operators.triggers"


def _start(trigger: str, step: str | None) -> StartTriggerArgs:
    kwargs: dict[str, Any] = {} if step is None else {"step": step}
    return StartTriggerArgs(trigger_cls=f"{_TRIGGERS}.{trigger}", trigger_kwargs=kwargs, next_method="execute_complete")


def _finish(end: TaskEnd, context: Any) -> Any:
    """Turn a coroutine's end into what a worker task does. Raises Airflow's fail and skip exceptions."""
    for key, value in end.xcoms.items():
        if key != "return_value":
            context["ti"].xcom_push(key=key, value=value)
    if end.state == "failed":
        raise AirflowFailException(end.text)
    if end.state == "skipped":
        raise AirflowSkipException(end.text)
    return end.xcoms.get("return_value")


class StepOperator(BaseOperator):
    """Carries out one step of a plan: gate, parameters, claim, change, record.

    :param step: the step's key in its workflow (`s03`)
    :param action: the action's name, for people and for the graph
    :param deferred: whether it runs in the triggerer (`step_placement`)
    """

    template_fields: Sequence[str] = ()
    ui_color = "#e8f0fe"

    def __init__(self, *, step: str, action: str, deferred: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.action = action
        self.start_from_trigger = deferred
        if deferred:
            self.start_trigger_args = _start("StepTrigger", step)

    def execute(self, context: Any) -> Any:
        return _finish(asyncio.run(step_task(TaskPlace.of(context["ti"]), self.step, self.log.info)), context)

    def execute_complete(self, context: Any, event: Any) -> None:
        """Never reached: the trigger ends the task itself. Raises `AirflowFailException`."""
        raise AirflowFailException(f"the trigger of step {self.step} ended without an outcome: {event!r}")


class PostConditionSensor(BaseSensorOperator):
    """Waits until a step's post-conditions hold, or says which do not. Clearing it checks again without acting again.

    :param step: the step's key in its workflow (`s03`)
    """

    template_fields: Sequence[str] = ()
    ui_color = "#e6f4ea"

    def __init__(self, *, step: str, deferred: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.start_from_trigger = deferred
        if deferred:
            self.start_trigger_args = _start("PostConditionTrigger", step)

    def execute(self, context: Any) -> Any:
        return _finish(asyncio.run(verify_task(TaskPlace.of(context["ti"]), self.step, self.log.info)), context)

    def execute_complete(self, context: Any, event: Any) -> None:
        """Never reached: the trigger ends the task itself. Raises `AirflowFailException`."""
        raise AirflowFailException(
            f"the trigger of the post-conditions of {self.step} ended without an outcome: {event!r}"
        )


class VerdictOperator(BaseOperator):
    """The only leaf of a workflow: its post-conditions, rollback triggers and outcome. The run's state is its state."""

    template_fields: Sequence[str] = ()
    ui_color = "#fef7e0"

    def __init__(self, *, deferred: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start_from_trigger = deferred
        if deferred:
            self.start_trigger_args = _start("VerdictTrigger", None)

    def execute(self, context: Any) -> Any:
        return _finish(asyncio.run(judge_task(TaskPlace.of(context["ti"]), self.log.info)), context)

    def execute_complete(self, context: Any, event: Any) -> None:
        """Never reached: the trigger ends the task itself. Raises `AirflowFailException`."""
        raise AirflowFailException(f"the trigger of the verdict ended without an outcome: {event!r}")
