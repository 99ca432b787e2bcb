"""Answers runs that Airflow started itself: examines the plan as any other, accepts or refuses it.

The user who triggered the run is the actor, as Airflow's database has it; a run that nobody triggered (a backfill) is
refused. So is every value that only the run's `conf` claims.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow.utils.session import create_session
from kubernaut_operators.coroutines import environment
from kubernaut_operators.execute_plan import DAG_ID as EXECUTE_PLAN
from kubernaut_operators.transport import close_transports
from sqlalchemy import select

from kubernaut.examination import Examination
from kubernaut.execution.accept import Refused, Submission, accept
from kubernaut.execution.adoption import plan_document
from kubernaut.execution.submit_runner import examined, refusal_text
from kubernaut.plan.model import Priority
from kubernaut.store import wake
from kubernaut.store.audit import Actor
from kubernaut.store.engine import StoreSession, session
from kubernaut.store.tables import ExecutionRow, RequestState, RunRequestRow, WorkflowRow
from kubernaut.workflow.model import Workflow
from kubernaut_plugin.airflow_runs import RunRecord, read_run

log = logging.getLogger(__name__)


def answer_requests() -> None:
    """Answer every open request once."""
    while True:
        with session() as store:
            request = store.scalars(
                select(RunRequestRow)
                .where(RunRequestRow.state == RequestState.OPEN)
                .order_by(RunRequestRow.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).first()
            if request is None:
                return
            try:
                answer = _answer(store, request)
            except Exception as error:
                log.exception("the request of run %s could not be answered", request.run_id)
                answer = _Answer(message=f"the engine could not read it: {type(error).__name__}: {error}")
            request.state = RequestState.ACCEPTED if answer.execution else RequestState.REFUSED
            request.answer = {"message": answer.message, "execution": answer.execution, "details": answer.details}
            request.answered_at = datetime.now(UTC)
            wake.notify(store, wake.execution(request.run_id))


@dataclass(frozen=True, kw_only=True)
class _Answer:
    message: str
    execution: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


def _answer(store: StoreSession, request: RunRequestRow) -> _Answer:
    with create_session(scoped=False) as airflow:
        run = read_run(airflow, request.dag_id, request.run_id)
    if run is None:
        return _Answer(message="its run is gone from Airflow")
    if run.user is None:
        return _Answer(message="nobody in particular started it; trigger it as a user")
    request.actor = run.user
    if request.dag_id == EXECUTE_PLAN:
        return _brought(store, request, run)
    return _adopted(store, request, run)


def _brought(store: StoreSession, request: RunRequestRow, run: RunRecord) -> _Answer:
    """A plan in the `conf` of `execute_plan`."""
    plan, priority = run.conf.get("plan"), run.conf.get("priority")
    if plan is None:
        return _Answer(message="no plan was given: trigger the DAG with a plan as JSON")
    examination = _examine(plan, run.conf.get("signal"))
    return _accept(
        store,
        Submission(
            examination=examination,
            actor=Actor.user(str(run.user)),
            answer=plan,
            priority=Priority(str(priority)) if priority else None,
            approve=run.conf.get("approve"),
        ),
    )


def _adopted(store: StoreSession, request: RunRequestRow, run: RunRecord) -> _Answer:
    """A run of a workflow's own DAG."""
    row = store.scalars(select(WorkflowRow).where(WorkflowRow.dag_id == request.dag_id)).first()
    if row is None:
        return _Answer(message="its workflow is not in the store")
    workflow = Workflow.model_validate(row.document)
    if workflow.kind != "plan":
        return _Answer(message=f"a workflow of kind {workflow.kind} is only started by Kubernaut itself")
    document = plan_document(workflow, run.conf, request.run_id)
    examination = _examine(document, None)
    if examination.workflow is not None and examination.workflow.digest != workflow.digest:
        return _Answer(message="these bindings need another workflow; bring them as a plan through execute_plan")
    return _accept(
        store,
        Submission(
            examination=examination,
            actor=Actor.user(str(run.user)),
            answer=document,
            approve=run.conf.get("approve"),
            run=(request.dag_id, request.run_id),
        ),
    )


def _examine(plan: Any, signal: Any) -> Examination:
    async def look() -> Examination:
        try:
            return await examined(environment(), plan, signal)
        finally:
            await close_transports()

    return asyncio.run(look())


def _accept(store: StoreSession, submission: Submission) -> _Answer:
    answer = accept(store, submission)
    if isinstance(answer, Refused):
        text = refusal_text(answer, submission.examination)
        return _Answer(message=text, details={"refused": answer.kind.value, **submission.examination.public()})
    if submission.run is not None:
        store.get_one(ExecutionRow, answer.execution_id).registered_at = datetime.now(UTC)
    return _Answer(message=f"accepted as {answer.execution_id}", execution=answer.execution_id)
