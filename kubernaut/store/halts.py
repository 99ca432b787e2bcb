"""The emergency brake as rows: pull it, release it, ask for it. One brake for each cluster, and one for all of them.

Nothing is stopped here: the registrar's query and the claim ask for an open halt in the statement that acts. Functions
take the caller's session (one transaction); from async code call them by `await session.run_sync(function, …)`.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Select, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from kubernaut.store import wake
from kubernaut.store.audit import Actor, Operation, record
from kubernaut.store.tables import HaltRow


def open_halts() -> Select[HaltRow]:
    """What is halted now, oldest first."""
    return select(HaltRow).where(HaltRow.ended_at.is_(None)).order_by(HaltRow.id)


def halted(cluster: str | ColumnElement[str] | ColumnElement[str | None]) -> ColumnElement[bool]:
    """True where an open halt holds this cluster (its own, or one for all). For `select(halted("prod"))` and WHERE."""
    return (
        select(HaltRow.id)
        .where(HaltRow.ended_at.is_(None), or_(HaltRow.cluster.is_(None), HaltRow.cluster == cluster))
        .exists()
    )


def set_halt(session: Session, *, cluster: str | None, reason: str, actor: Actor) -> HaltRow:
    """Pull the brake (`cluster` None: for all). Where it is pulled already, that halt stays; the call is audited."""
    made = session.scalars(
        insert(HaltRow)
        .values(cluster=cluster, reason=reason, actor=actor.name)
        .on_conflict_do_nothing()
        .returning(HaltRow)
    ).one_or_none()
    row = made or session.scalars(_open_of(cluster)).one()
    record(
        session,
        actor,
        Operation.HALT,
        subject_kind="halt",
        subject_id=str(row.id),
        details={"cluster": cluster, "reason": reason, "already_halted": made is None},
    )
    wake.notify(session, wake.HALT)
    return row


def end_halt(session: Session, *, cluster: str | None, reason: str | None, actor: Actor) -> HaltRow | None:
    """Release that brake; None where it is not pulled. A halt for all holds a cluster whose own was released."""
    row = session.scalars(
        update(HaltRow)
        .where(HaltRow.ended_at.is_(None), HaltRow.cluster.is_not_distinct_from(cluster))
        .values(ended_at=func.now(), ended_by=actor.name, end_reason=reason)
        .returning(HaltRow)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if row is None:
        return None
    record(
        session,
        actor,
        Operation.RESUME,
        subject_kind="halt",
        subject_id=str(row.id),
        details={"cluster": cluster, "reason": reason},
    )
    wake.notify(session, wake.HALT, wake.REGISTRAR, wake.RECONCILER)
    return row


def _open_of(cluster: str | None) -> Select[HaltRow]:
    return select(HaltRow).where(HaltRow.ended_at.is_(None), HaltRow.cluster.is_not_distinct_from(cluster))
