"""Answers runs that Airflow started itself: rebuilds the plan, examines it as any other, accepts or refuses it.

The user who triggered the run is the actor; a run that nobody triggered (a backfill, an API without a user) is refused.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

from kubernaut_operators.coroutines import environment
from sqlalchemy import select

from kubernaut.execution.accept import Accepted, Refused, Submission, accept
from kubernaut.execution.adoption import plan_document
from kubernaut.execution.submit_runner import examined, refusal_text
from kubernaut.store.audit import Actor
from kubernaut.store.engine import StoreSession, session
from kubernaut.store.tables import ExecutionRow, RequestState, RunRequestRow, WorkflowRow
from kubernaut.workflow.model import Workflow

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
                state, message = _answer(store, request)
            except Exception as error:
                log.exception("the request of run %s could not be answered", request.run_id)
                state, message = RequestState.REFUSED, f"the engine could not read it: {type(error).__name__}: {error}"
            request.state = state
            request.answer = {"message": message}
            request.answered_at = datetime.now(UTC)


def _answer(store: StoreSession, request: RunRequestRow) -> tuple[RequestState, str]:
    row = store.scalars(select(WorkflowRow).where(WorkflowRow.dag_id == request.dag_id)).first()
    if row is None:
        return RequestState.REFUSED, "its workflow is not in the store"
    if request.actor is None:
        return RequestState.REFUSED, "nobody in particular started it; trigger it as a user"
    workflow = Workflow.model_validate(row.document)
    if workflow.kind != "plan":
        return RequestState.REFUSED, f"a workflow of kind {workflow.kind} is only started by Kubernaut itself"
    document = plan_document(workflow, request.conf, request.run_id)

    async def look() -> object:
        return await examined(environment(), document, None)

    examination = asyncio.run(look())
    if examination.workflow is not None and examination.workflow.digest != workflow.digest:  # type: ignore[attr-defined]
        return RequestState.REFUSED, "these bindings need another workflow; bring them as a plan through execute_plan"
    approve = request.conf.get("approve")
    answer = accept(
        store,
        Submission(
            examination=examination,  # type: ignore[arg-type]
            actor=Actor.user(request.actor),
            answer=document,
            approve=str(approve) if approve else None,
            run=(request.dag_id, request.run_id),
        ),
    )
    if isinstance(answer, Refused):
        return RequestState.REFUSED, refusal_text(answer, examination)  # type: ignore[arg-type]
    assert isinstance(answer, Accepted)
    execution = store.get_one(ExecutionRow, answer.execution_id)
    execution.registered_at = datetime.now(UTC)
    return RequestState.ACCEPTED, f"adopted as {answer.execution_id}"
