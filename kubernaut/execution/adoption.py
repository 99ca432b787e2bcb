"""Runs that Airflow started itself: its trigger form or REST, on a workflow's own DAG or on `execute_plan`.

Such a run's first task asks and waits; the reconciler answers. It alone can read in Airflow's database who triggered the
run and with which `conf`. A workflow's own run is adopted: a whole plan is rebuilt from the shape and the `conf` and
examined as any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from kubernaut.execution.environment import RunRef
from kubernaut.redaction import redacted
from kubernaut.store import wake
from kubernaut.store.engine import async_session
from kubernaut.store.tables import RequestState, RunRequestRow
from kubernaut.workflow.model import Bindings, Workflow

_TOP = ("target", "signal", "variables", "success_criteria", "rollback_triggers", "on_failure", "timeout", "priority")
_STEP = ("name", "params", "target", "when", "optional", "retry", "timeout", "post_conditions", "undo")
RUN_KEY = "kubernaut"
"""The part of a `conf` that names the execution, for people; nothing reads it back."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the reconciler said. `execution`: of the accepted one."""

    state: RequestState
    message: str
    execution: str | None
    details: Mapping[str, Any]


async def ask(run: RunRef) -> Answer:
    """Ask once for each try, and what was answered so far. A person who clears a refused run asks anew."""
    again = insert(RunRequestRow).values(dag_id=run.dag_id, run_id=run.run_id, conf={"try": run.try_number})
    async with async_session() as session:
        await session.execute(
            again.on_conflict_do_update(
                index_elements=[RunRequestRow.dag_id, RunRequestRow.run_id],
                set_={"state": RequestState.OPEN, "answer": None, "answered_at": None, "conf": again.excluded.conf},
                where=(RunRequestRow.state == RequestState.REFUSED)
                & (RunRequestRow.conf["try"].as_integer() < run.try_number),
            )
        )
        row = (
            await session.execute(
                select(RunRequestRow).where(RunRequestRow.dag_id == run.dag_id, RunRequestRow.run_id == run.run_id)
            )
        ).scalar_one()
        if row.state is RequestState.OPEN:
            wake.notify(session, wake.RECONCILER)
    answer = row.answer or {}
    return Answer(
        state=row.state,
        message=str(answer.get("message") or row.state.value),
        execution=answer.get("execution"),
        details=answer.get("details") or {},
    )


def conf_of(execution_id: str, tracking_id: str, plan_hash: str, bindings: Bindings) -> dict[str, Any]:
    """The `conf` of a run that the registrar creates: what Airflow's form needs to run the workflow again."""
    document = bindings.model_dump(mode="json", exclude_none=True)
    conf: dict[str, Any] = {name: document[name] for name in _TOP if document.get(name)}
    if "signal" in conf:
        conf["signal"] = redacted(conf["signal"])  # foreign text, for people: nothing reads it back
    for key, step in document["steps"].items():
        conf[key] = {name: step[name] for name in _STEP if step.get(name) not in (None, [], {})}
    conf[RUN_KEY] = {"execution": execution_id, "tracking_id": tracking_id, "plan_hash": plan_hash}
    return conf


def plan_document(workflow: Workflow, conf: Mapping[str, Any], run_id: str) -> dict[str, Any]:
    """A plan in our own form from a shape and a run's `conf`; whatever is wrong with it is found by examining it."""
    steps = []
    together = conf.get("steps")
    for step in workflow.steps:
        given = conf.get(step.key) or (together.get(step.key) if isinstance(together, Mapping) else None) or {}
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
