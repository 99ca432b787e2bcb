"""The DAG `execute_plan`: its one task accepts the plan in the run's `conf` and waits for the execution that comes of it.

Everyone who may trigger this DAG may bring plans: it is also the DAG whose permissions guard our REST API.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, BaseOperator, Param
from airflow.sdk.exceptions import AirflowFailException
from airflow.triggers.base import StartTriggerArgs

DAG_ID = "execute_plan"


class SubmitOperator(BaseOperator):
    """Accepts the plan of the run's `conf` and ends as its execution ends. Runs in the triggerer."""

    template_fields: Sequence[str] = ()
    start_from_trigger = True
    start_trigger_args = StartTriggerArgs(
        trigger_cls="kubernaut_operators.triggers.SubmitTrigger", trigger_kwargs={}, next_method="execute_complete"
    )

    def execute_complete(self, context: Any, event: Any) -> None:
        """Never reached: the trigger ends the task itself. Raises `AirflowFailException`."""
        raise AirflowFailException(f"the plan was not submitted: {event!r}")


def build() -> DAG:
    """The DAG."""
    params = {
        "approve": Param(
            None, type=["string", "null"], title="Approve", description="Hash of the plan that you approve."
        ),
        "plan": Param(
            None,
            type=["object", "null"],
            title="Plan",
            description="The AI's answer, in any form that is understood (JSON).",
        ),
        "priority": Param(None, type=["string", "null"], enum=[None, "P0", "P1", "P2", "P3"], title="Priority"),
        "signal": Param(
            None,
            type=["object", "null"],
            title="Signal",
            description="The alert that it answers (Alertmanager's JSON).",
        ),
    }
    with DAG(
        dag_id=DAG_ID,
        schedule=None,
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=100,
        default_args={"retries": 0},
        params=params,
        tags=["kubernaut"],
        doc_md="Turns an AI's remediation plan into a DAG of its own and runs it. Trigger with the plan as JSON.",
    ) as dag:
        SubmitOperator(task_id="submit")
    return dag
