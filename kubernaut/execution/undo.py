"""Which steps an undo takes back and in which order: the compensation of an execution as a workflow of its own. Pure but
for `queue_undo`, which writes it (BR-WF-015, BR-DEP-014).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from kubernaut.execution.accept import execution_row
from kubernaut.plan.model import ActionUndo, AutomaticUndo, NoUndo, OnFailure, Retry
from kubernaut.settings import Settings
from kubernaut.store.audit import Actor, Operation, record
from kubernaut.store.executions import insert_execution, put_workflow
from kubernaut.store.tables import ExecutionKind, ExecutionRow, JournalRow, JournalStatus, WorkflowRow
from kubernaut.workflow.compile import compile_undo
from kubernaut.workflow.model import Bindings, StepBinding, Workflow

_RETRY = Retry(max_attempts=5, delay=1.0, cap=30.0)


@dataclass(frozen=True, kw_only=True)
class UndoPlan:
    """`left_out`: steps that changed something and cannot be taken back, with the reason."""

    workflow: Workflow | None
    bindings: Bindings | None
    left_out: Mapping[str, str]


def plan_undo(
    execution_id: str, workflow: Workflow, bindings: Bindings, journal: list[JournalRow], settings: Settings
) -> UndoPlan:
    """The undo of every step whose change may stand, each after the undo of all that came later."""
    changed = {row.step_key for row in journal if row.status is not JournalStatus.REFUSED and row.undone_by is None}
    left_out = {
        bindings.steps[key].name: undo.reason
        for key in sorted(changed)
        if isinstance(undo := bindings.steps[key].undo, NoUndo)
    }
    keys = {key for key in changed if not isinstance(bindings.steps[key].undo, NoUndo)}
    if not keys:
        return UndoPlan(workflow=None, bindings=None, left_out=left_out)
    compensation, origin = compile_undo(workflow, keys, factory_version=workflow.factory_version)
    return UndoPlan(
        workflow=compensation,
        bindings=Bindings(
            plan_id=f"undo-{bindings.plan_id}"[:63],
            signal=bindings.signal,
            target=bindings.target,
            steps={key: _binding(execution_id, undone, bindings, settings) for key, undone in origin.items()},
            on_failure=OnFailure.KEEP,
            priority=bindings.priority,
            timeout=settings.plan_timeout,
        ),
        left_out=left_out,
    )


def _binding(execution_id: str, key: str, bindings: Bindings, settings: Settings) -> StepBinding:
    step = bindings.steps[key]
    params: dict[str, object] = {"execution": execution_id, "step": key}
    if isinstance(step.undo, ActionUndo):
        params |= {"action": step.undo.action, "params": step.undo.params}
    return StepBinding.model_validate(
        {
            "id": f"undo-{step.id}"[:63],
            "name": f"Undo: {step.name}"[:200],
            "params": params,
            "target": step.target,
            "retry": _RETRY,
            "timeout": settings.step_timeout,
            "undo": AutomaticUndo(),
        }
    )


def queue_undo(
    session: Session, row: ExecutionRow, actor: Actor, reason: str, settings: Settings
) -> ExecutionRow | None:
    """Write the undo of an ended execution in phase `queued`; None where nothing can be taken back. The caller holds the row."""
    document = session.scalars(select(WorkflowRow.document).where(WorkflowRow.digest == row.workflow_digest)).one()
    journal = list(session.scalars(select(JournalRow).where(JournalRow.execution_id == row.id).order_by(JournalRow.id)))
    planned = plan_undo(
        row.id, Workflow.model_validate(document), Bindings.model_validate(row.bindings), journal, settings
    )
    details: dict[str, JsonValue] = {"reason": reason, "cannot_be_undone": dict(planned.left_out)}
    undo = None
    if planned.workflow is not None and planned.bindings is not None:
        undo = execution_row(
            workflow=planned.workflow,
            bindings=planned.bindings,
            actor=actor,
            tracking_id=row.tracking_id,
            kind=ExecutionKind.UNDO,
            undoes=row.id,
            signal=row.signal,
            approved_by=actor.name,
        )
        put_workflow(session, planned.workflow)
        insert_execution(session, undo)
        details["undo"] = undo.id
    record(
        session,
        actor,
        Operation.UNDO,
        subject_kind="execution",
        subject_id=row.id,
        tracking_id=row.tracking_id,
        details=details,
    )
    return undo
