"""Runs that Airflow started itself: its trigger form or REST on a workflow's own DAG.

Such a run's first step asks to be adopted and waits. The reconciler rebuilds a whole plan from the workflow's shape and
the run's `conf`, examines it as it would any other, and accepts or refuses it for the user who triggered the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from kubernaut.execution.environment import RunRef
from kubernaut.store import wake
from kubernaut.store.engine import async_session
from kubernaut.store.tables import RequestState, RunRequestRow
from kubernaut.workflow.model import Bindings, Workflow

_TOP = ("target", "signal", "variables", "success_criteria", "rollback_triggers", "on_failure", "timeout", "priority")
_STEP = ("name", "params", "target", "when", "optional", "retry", "timeout", "post_conditions", "undo")
RUN_KEY = "kubernaut"
"""The part of a `conf` that names the execution, for people; nothing reads it back."""


async def request(run: RunRef) -> str | None:
    """Ask (once) that this run be adopted; the text of the refusal, or None while it is open or accepted."""
    async with async_session() as session:
        await session.execute(
            insert(RunRequestRow)
            .values(dag_id=run.dag_id, run_id=run.run_id, conf=run.conf, actor=run.user)
            .on_conflict_do_nothing(index_elements=[RunRequestRow.dag_id, RunRequestRow.run_id])
        )
        row = (
            await session.execute(
                select(RunRequestRow).where(RunRequestRow.dag_id == run.dag_id, RunRequestRow.run_id == run.run_id)
            )
        ).scalar_one()
        if row.state is RequestState.OPEN:
            wake.notify(session, wake.RECONCILER)
    if row.state is not RequestState.REFUSED:
        return None
    answer = row.answer or {}
    return f"not adopted: {answer.get('message') or 'refused'}"


def conf_of(execution_id: str, tracking_id: str, plan_hash: str, bindings: Bindings) -> dict[str, Any]:
    """The `conf` of a run that the registrar creates: what Airflow's form needs to run the workflow again."""
    document = bindings.model_dump(mode="json", exclude_none=True)
    conf: dict[str, Any] = {name: document[name] for name in _TOP if document.get(name)}
    for key, step in document["steps"].items():
        conf[key] = {name: step[name] for name in _STEP if step.get(name) not in (None, [], {})}
    conf[RUN_KEY] = {"execution": execution_id, "tracking_id": tracking_id, "plan_hash": plan_hash}
    return conf


def plan_document(workflow: Workflow, conf: Mapping[str, Any], run_id: str) -> dict[str, Any]:
    """A plan in our own form from a shape and a run's `conf`; whatever is wrong with it is found by examining it."""
    steps = []
    for step in workflow.steps:
        given = conf.get(step.key) or {}
        document: dict[str, Any] = {"id": step.key, "action": step.action}
        document |= {name: given[name] for name in _STEP if isinstance(given, Mapping) and given.get(name) is not None}
        document["depends_on"] = [{"step": edge.upstream, "outcome": edge.outcome.value} for edge in step.edges]
        steps.append(document)
    plan: dict[str, Any] = {
        "version": "kubernaut.ai/plan/v1",
        "id": "adopted-run",
        "confidence": 1.0,
        "failure_policy": workflow.failure_policy.value,
        "steps": steps,
        "reasoning": {"summary": f"Airflow run {run_id}"},
    }
    plan |= {name: conf[name] for name in _TOP if conf.get(name) is not None}
    return plan
