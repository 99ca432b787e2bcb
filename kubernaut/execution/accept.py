"""Accepting a plan is a commit: an execution in phase `queued`, its workflow, and the audit event, in one transaction.

The only way in, whoever brings the plan: our REST API, `execute_plan`, adoption, the undo. Registering it with Airflow is
the registrar's work afterwards. What needs a person starts only with an approval bound to the hash of exactly this
workflow and these bindings (BR-SEC-001, BR-SEC-004).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from pydantic import JsonValue
from sqlalchemy.orm import Session

from kubernaut.examination import UNANSWERABLE, Examination, Outcome
from kubernaut.ids import new_execution_id, new_tracking_id
from kubernaut.plan.model import Priority
from kubernaut.settings import get_settings
from kubernaut.store import wake
from kubernaut.store.audit import Actor, Operation, record
from kubernaut.store.executions import IdempotencyConflict, insert_execution, put_workflow
from kubernaut.store.tables import ExecutionKind, ExecutionRow
from kubernaut.workflow.model import Bindings, Workflow, plan_hash


class RefusalKind(StrEnum):
    """Why nothing was accepted; the word that REST and CLI use."""

    INVALID = "invalid"
    HUMAN_REQUIRED = "human_required"
    APPROVAL_REQUIRED = "approval_required"
    NOT_RUNNABLE = "not_runnable"
    HASH_MISMATCH = "hash_mismatch"
    KEY_REUSED = "idempotency_key_reused"


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A plan that somebody wants to run."""

    examination: Examination
    actor: Actor
    answer: JsonValue = None
    """The AI's JSON as it came."""
    priority: Priority | None = None
    """Wins over the plan's."""
    approve: str | None = None
    """The hash that the actor approves."""
    idempotency_key: str | None = None
    request_digest: str | None = None
    run: tuple[str, str] | None = None
    """(dag_id, run_id) of a run that Airflow started itself."""


@dataclass(frozen=True, kw_only=True)
class Accepted:
    execution_id: str
    dag_id: str
    run_id: str
    tracking_id: str
    created: bool
    """False where the idempotency key had brought it before."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    kind: RefusalKind
    message: str


def judge(examination: Examination, approve: str | None) -> Refused | None:
    """Whether this may start now, with the approval that came along. Pure."""
    if examination.outcome is Outcome.INVALID:
        return Refused(kind=RefusalKind.INVALID, message=f"the plan has {len(examination.faults)} fault(s)")
    blocking = [reason for reason in examination.human_reasons if reason.code in UNANSWERABLE]
    if blocking or examination.hash is None:
        text = (
            "; ".join(reason.message for reason in blocking or examination.human_reasons) or "there is nothing to run"
        )
        return Refused(kind=RefusalKind.NOT_RUNNABLE, message=text)
    if approve is not None and approve != examination.hash:
        return Refused(
            kind=RefusalKind.HASH_MISMATCH,
            message="the approval is for another plan (or the same one with other values); look at this one and approve its hash",
        )
    if approve is None and examination.human_reasons:
        text = "; ".join(reason.message for reason in examination.human_reasons)
        return Refused(kind=RefusalKind.HUMAN_REQUIRED, message=text)
    if approve is None and examination.approval_required:
        text = "; ".join(reason.message for reason in examination.approval_reasons)
        return Refused(kind=RefusalKind.APPROVAL_REQUIRED, message=text)
    return None


def accept(session: Session, submission: Submission) -> Accepted | Refused:
    """Write the execution, or record the refusal. The caller commits either way: a refusal is an audit event too."""
    examination = submission.examination
    refused = judge(examination, submission.approve)
    if refused is not None:
        _record_refusal(session, submission, refused)
        return refused
    assert examination.workflow is not None  # judged above
    assert examination.bindings is not None
    bindings = examination.bindings
    if submission.priority is not None:
        bindings = bindings.model_copy(update={"priority": submission.priority})
    try:
        with session.begin_nested():  # a refusal registers nothing, its shape neither
            put_workflow(session, examination.workflow)
            inserted = insert_execution(
                session,
                _row(submission, examination.workflow, bindings),
                key_lifetime=timedelta(hours=get_settings().idempotency_hours),
            )
    except IdempotencyConflict as conflict:
        refused = Refused(kind=RefusalKind.KEY_REUSED, message=str(conflict))
        _record_refusal(session, submission, refused)
        return refused
    row = inserted.execution
    if inserted.created:
        _record_acceptance(session, submission, row)
    wake.notify(session, wake.RECONCILER)
    return Accepted(
        execution_id=row.id,
        dag_id=row.dag_id,
        run_id=row.run_id,
        tracking_id=row.tracking_id,
        created=inserted.created,
    )


def _record_acceptance(session: Session, submission: Submission, row: ExecutionRow) -> None:
    examination = submission.examination
    reasons = [reason.code for reason in (*examination.human_reasons, *examination.approval_reasons)]
    operations = [Operation.ADOPT if submission.run else Operation.TRIGGER]
    if submission.approve is not None:
        operations.append(Operation.APPROVAL)
    for operation in operations:
        record(
            session,
            submission.actor,
            operation,
            subject_kind="execution",
            subject_id=row.id,
            tracking_id=row.tracking_id,
            details={"plan_hash": row.plan_hash, "dag_id": row.dag_id, "reasons": list(reasons)},
        )


def _record_refusal(session: Session, submission: Submission, refused: Refused) -> None:
    examination = submission.examination
    record(
        session,
        submission.actor,
        Operation.REFUSAL,
        subject_kind="plan",
        subject_id=examination.hash or (examination.plan.id if examination.plan else "unreadable"),
        details={
            "kind": refused.kind.value,
            "message": refused.message,
            "faults": [fault.model_dump() for fault in examination.faults[:50]],
        },
    )


def _row(submission: Submission, workflow: Workflow, bindings: Bindings) -> ExecutionRow:
    plan = submission.examination.plan
    assert plan is not None
    return execution_row(
        workflow=workflow,
        bindings=bindings,
        actor=submission.actor,
        tracking_id=plan.tracking_id,
        kind=ExecutionKind.PLAN,
        plan=plan.model_dump(mode="json"),
        answer=submission.answer if isinstance(submission.answer, dict) else None,
        signal=plan.signal.model_dump(mode="json") if plan.signal else None,
        fingerprint=plan.signal.fingerprint if plan.signal else None,
        confidence=submission.examination.confidence,
        approved_by=submission.actor.name if submission.approve is not None else None,
        idempotency_key=submission.idempotency_key,
        request_digest=submission.request_digest,
        adopted=submission.run is not None,
        run=submission.run,
    )


def execution_row(
    *,
    workflow: Workflow,
    bindings: Bindings,
    actor: Actor,
    tracking_id: str | None,
    kind: ExecutionKind,
    run: tuple[str, str] | None = None,
    **columns: Any,
) -> ExecutionRow:
    """A new execution in phase `queued` (`Any`: columns of `ExecutionRow`)."""
    identifier = new_execution_id()
    targets = [step.target for step in bindings.steps.values()]
    clusters = {target.cluster for target in [*targets, bindings.target] if target.cluster}
    main = bindings.target if bindings.target.name else next((t for t in targets if t.name), bindings.target)
    dag_id, run_id = run or (workflow.dag_id, identifier)
    return ExecutionRow(
        id=identifier,
        kind=kind,
        plan_hash=plan_hash(workflow, bindings),
        workflow_digest=workflow.digest,
        dag_id=dag_id,
        run_id=run_id,
        bindings=bindings.model_dump(mode="json"),
        tracking_id=tracking_id or new_tracking_id(),
        priority=int(bindings.priority.value[1]),
        target_cluster=main.cluster,
        target_kind=main.kind,
        target_namespace=main.namespace,
        target_name=main.name,
        clusters=sorted(clusters),
        actions=sorted({step.action for step in workflow.steps}),
        actor=actor.name,
        **columns,
    )
