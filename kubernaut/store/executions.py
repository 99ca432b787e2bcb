"""Executions in the store: accept one, take the next from the queue, move one to another phase.

Every function is one step of the caller's transaction; a change of phase writes its audit event and its wake-up call
into the same transaction. They take a sync session; async code: `await session.run_sync(function, …)`. Which
transitions there are is in `kubernaut.execution.phases`; lists and filters are in `kubernaut.store.history`, rows of
steps are written by `kubernaut.execution.progress`, the journal by `kubernaut.journal`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import JsonValue
from sqlalchemy import Select, and_, any_, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from kubernaut.errors import KubernautError
from kubernaut.execution.phases import ExecutionOutcome, Phase, check_outcome, opens_round, terminal, transition
from kubernaut.store import wake
from kubernaut.store.audit import Actor, Operation, record
from kubernaut.store.tables import ExecutionRow, HaltRow, JournalRow, StepRow, WorkflowRow
from kubernaut.workflow.model import Workflow


class IdempotencyConflict(KubernautError):
    """The same actor sent another request under the same `Idempotency-Key`."""


class StaleExecution(KubernautError):
    """The execution has moved on since the row was read; read it again (`lock_execution`) and decide anew."""


@dataclass(frozen=True, kw_only=True)
class Inserted:
    """:param created: False where the same request had come before; then nothing was written."""

    execution: ExecutionRow
    created: bool


def put_workflow(session: Session, workflow: Workflow) -> None:
    """Write the shape, or that it was used again. Idempotent: equal shapes are one row."""
    statement = insert(WorkflowRow).values(
        digest=workflow.digest,
        dag_id=workflow.dag_id,
        document=workflow.model_dump(mode="json"),
        factory_version=workflow.factory_version,
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[WorkflowRow.digest], set_={"last_used_at": func.clock_timestamp()}
        )
    )


def insert_execution(
    session: Session, execution: ExecutionRow, *, key_lifetime: timedelta = timedelta(hours=24)
) -> Inserted:
    """Write a new execution and wake the registrar. Its workflow must be in the store.

    With an `idempotency_key`, a repeat within `key_lifetime` of the request with the same `request_digest` returns the
    first execution, also when both come at the same time. Raises `IdempotencyConflict` where the digests differ.
    The audit event is the caller's, who knows whether this is a trigger, an undo or an adoption.
    """
    if execution.idempotency_key is None:
        session.add(execution)
        session.flush()
    else:
        _forget_old_key(session, execution.actor, execution.idempotency_key, key_lifetime)
        earlier = _find_or_add(session, execution)
        if earlier is not None:
            if earlier.request_digest != execution.request_digest:
                raise IdempotencyConflict(
                    f"the Idempotency-Key {execution.idempotency_key!r} was used for another request (execution "
                    f"{earlier.id}): send that request again, or this one with a new key."
                )
            return Inserted(execution=earlier, created=False)
    wake.notify(session, wake.REGISTRAR, wake.execution(execution.id))
    return Inserted(execution=execution, created=True)


def _forget_old_key(session: Session, actor: str, key: str, lifetime: timedelta) -> None:
    session.execute(
        update(ExecutionRow)
        .where(
            ExecutionRow.actor == actor,
            ExecutionRow.idempotency_key == key,
            ExecutionRow.created_at < func.now() - lifetime,
        )
        .values(idempotency_key=None)
        .execution_options(synchronize_session=False)
    )


def _find_or_add(session: Session, execution: ExecutionRow) -> ExecutionRow | None:
    """None where it was added, else the execution that has the key."""
    same_key = select(ExecutionRow).where(
        ExecutionRow.actor == execution.actor, ExecutionRow.idempotency_key == execution.idempotency_key
    )
    earlier = session.scalars(same_key).one_or_none()
    if earlier is not None:
        return earlier
    try:
        # Of two requests at the same time the second waits here for the first one's commit.
        with session.begin_nested():
            session.add(execution)
            session.flush()
    except IntegrityError:
        earlier = session.scalars(same_key).one_or_none()
        if earlier is None:
            raise
    return earlier


def get_execution(session: Session, execution_id: str) -> ExecutionRow | None:
    return session.get(ExecutionRow, execution_id)


def lock_execution(session: Session, execution_id: str, *, skip_locked: bool = False) -> ExecutionRow | None:
    """The row as it is now, locked until the transaction ends. None: no such execution, or (`skip_locked`) taken."""
    statement = (
        select(ExecutionRow)
        .where(ExecutionRow.id == execution_id)
        .with_for_update(skip_locked=skip_locked)
        .execution_options(populate_existing=True)
    )
    return session.scalars(statement).one_or_none()


def queued_for_registration(session: Session, limit: int) -> list[ExecutionRow]:
    """The next ones to start, locked: P0 first, then the oldest; none that is halted, cancelled, adopted or must wait.

    Rows that another registrar has locked are passed over, so that each is taken once.
    """
    held = select(HaltRow.id).where(
        HaltRow.ended_at.is_(None),
        or_(
            HaltRow.cluster.is_(None),
            HaltRow.cluster == ExecutionRow.target_cluster,
            HaltRow.cluster == any_(ExecutionRow.clusters),
        ),
    )
    statement = (
        select(ExecutionRow)
        .where(
            ExecutionRow.phase == Phase.QUEUED,
            ExecutionRow.cancel_requested_at.is_(None),
            ExecutionRow.registered_at.is_(None),
            ExecutionRow.adopted.is_(False),
            or_(ExecutionRow.register_after.is_(None), ExecutionRow.register_after <= func.now()),
            ~held.exists(),
        )
        .order_by(ExecutionRow.priority, ExecutionRow.created_at, ExecutionRow.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(session.scalars(statement))


def registration_failed(session: Session, execution: ExecutionRow, error: str, *, retry_at: datetime) -> None:
    """It stays in the queue, out of the others' way, until `retry_at`."""
    execution.attempts_to_register += 1
    execution.registration_error = error
    execution.register_after = retry_at
    session.flush()


def running() -> Select[int]:
    """How many executions run now or are about to (of `max_running_executions`)."""
    return (
        select(func.count())
        .select_from(ExecutionRow)
        .where(
            or_(
                ExecutionRow.phase == Phase.RUNNING,
                and_(ExecutionRow.phase == Phase.QUEUED, ExecutionRow.registered_at.is_not(None)),
            )
        )
    )


def request_cancel(session: Session, execution: ExecutionRow, *, actor: Actor, reason: str) -> bool:
    """No further claim is granted; the reconciler ends the execution. False where it has ended or was asked before."""
    if terminal(execution.phase) or execution.cancel_requested_at is not None:
        return False
    _update(session, execution, cancel_requested_at=func.clock_timestamp())
    _record(session, execution, actor, Operation.CANCEL, {"reason": reason})
    wake.notify(session, wake.execution(execution.id), wake.RECONCILER)
    return True


def set_phase(
    session: Session,
    execution: ExecutionRow,
    to: Phase,
    *,
    actor: Actor,
    operation: Operation = Operation.PHASE,
    outcome: ExecutionOutcome | None = None,
    reason: str | None = None,
    verdict: Mapping[str, Any] | None = None,
    deadline_at: datetime | None = None,
) -> None:
    """Move it to another phase, with the times, the audit event and the wake-up calls that belong to that.

    `running` after an end is a clear: a new round, without outcome, verdict, end and cancellation; give it a new
    `deadline_at`. Raises `IllegalTransition` where the table has no such transition, `ValueError` for an outcome that
    does not fit the phase, `StaleExecution` where the row has moved on since `execution` was read.
    """
    before = execution.phase
    transition(before, to)
    check_outcome(to, outcome)
    cleared = opens_round(before, to)
    values: dict[str, Any] = {"phase": to, "outcome": outcome, "reason": reason}
    if to is Phase.RUNNING and execution.started_at is None:
        values["started_at"] = func.clock_timestamp()
    if cleared:
        values |= {"round": execution.round + 1, "verdict": None, "ended_at": None, "cancel_requested_at": None}
    if deadline_at is not None or cleared:
        values["deadline_at"] = deadline_at
    if terminal(to):
        values["ended_at"] = func.clock_timestamp()
    if verdict is not None:
        values["verdict"] = dict(verdict)
    _update(session, execution, **values)
    _record(
        session,
        execution,
        actor,
        Operation.CLEAR if cleared and operation is Operation.PHASE else operation,
        {
            "from": before.value,
            "to": to.value,
            "outcome": outcome.value if outcome else None,
            "reason": reason,
            "round": execution.round,
        },
    )
    # An end makes room for the next in the queue; whatever the change, somebody may have to follow it up.
    topics = [wake.execution(execution.id), wake.RECONCILER]
    wake.notify(session, *topics, *([wake.REGISTRAR] if terminal(to) else []))


def _update(session: Session, execution: ExecutionRow, **values: Any) -> None:
    """UPDATE by what was read (phase and round), and put what was written into the object."""
    columns = [getattr(ExecutionRow, name) for name in values]
    found = session.execute(
        update(ExecutionRow)
        .where(
            ExecutionRow.id == execution.id,
            ExecutionRow.phase == execution.phase,
            ExecutionRow.round == execution.round,
        )
        .values(**values)
        .returning(*columns)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if found is None:
        raise StaleExecution(f"the execution {execution.id} is no longer {execution.phase} in round {execution.round}")
    for name, value in zip(values, found, strict=True):
        set_committed_value(execution, name, value)


def _record(
    session: Session,
    execution: ExecutionRow,
    actor: Actor,
    operation: Operation,
    details: Mapping[str, JsonValue],
) -> None:
    record(
        session,
        actor,
        operation,
        subject_kind="execution",
        subject_id=execution.id,
        tracking_id=execution.tracking_id,
        details=details,
    )


def steps_of(execution_id: str) -> Select[StepRow]:
    """The rows of its steps, in canonical order."""
    return select(StepRow).where(StepRow.execution_id == execution_id).order_by(StepRow.key)


def journal_of(execution_id: str) -> Select[JournalRow]:
    """What it sent to clusters and receivers, in order."""
    return select(JournalRow).where(JournalRow.execution_id == execution_id).order_by(JournalRow.id)
