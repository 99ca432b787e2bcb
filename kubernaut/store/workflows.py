"""Workflows in the store, for the registrar and the DAG files. They are written when a plan is accepted
(`kubernaut.store.executions.put_workflow`).

Statements only, so that sync and async sessions can both execute them.
"""

from __future__ import annotations

from sqlalchemy import Select, Update, func, or_, select, update

from kubernaut.execution.phases import Phase
from kubernaut.store.tables import ExecutionRow, WorkflowRow

_OPEN = (Phase.QUEUED, Phase.RUNNING, Phase.PAUSED)


def mark_registered(digest: str) -> Update:
    """Its DAG is in Airflow; the first time stays."""
    return (
        update(WorkflowRow)
        .where(WorkflowRow.digest == digest, WorkflowRow.registered_at.is_(None))
        .values(registered_at=func.clock_timestamp())
    )


def get_workflow(dag_id: str) -> Select[WorkflowRow]:
    return select(WorkflowRow).where(WorkflowRow.dag_id == dag_id)


def workflows_for_prefix(prefix: str, recent: int) -> Select[WorkflowRow]:
    """Those whose digest begins with the hex digit `prefix`, if an execution of theirs has not ended or they are among
    the `recent` most recently used of all."""
    in_use = select(ExecutionRow.id).where(
        ExecutionRow.workflow_digest == WorkflowRow.digest, ExecutionRow.phase.in_(_OPEN)
    )
    newest = select(WorkflowRow.digest).order_by(WorkflowRow.last_used_at.desc(), WorkflowRow.digest).limit(recent)
    return (
        select(WorkflowRow)
        .where(
            func.left(WorkflowRow.digest, 1) == prefix,
            or_(in_use.exists(), WorkflowRow.digest.in_(newest)),
        )
        .order_by(WorkflowRow.digest)
    )
