"""Finding executions: filters and pages, newest first (BR-EXEC-016, BR-EXEC-019).

A page begins where the cursor of the page before it says (keyset pagination): what is written in between neither
repeats nor hides a row of the pages that follow. The rows come without plan, bindings, answer and signal, which are
large (reading one of these raises); `get_execution` has them.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, select, tuple_
from sqlalchemy.orm import Session, defer

from kubernaut.errors import Fault, InvalidInput
from kubernaut.execution.phases import ExecutionOutcome, Phase
from kubernaut.store.tables import ExecutionKind, ExecutionRow

MAX_PAGE = 200
_HEAVY = (ExecutionRow.bindings, ExecutionRow.plan, ExecutionRow.answer, ExecutionRow.signal)


@dataclass(frozen=True, kw_only=True)
class Filters:
    """All of what is given must hold; of several phases, outcomes or kinds any one. `since` is included, `until` not.

    :param action: executions with a step of this action
    :param cluster: of the execution's target, as are kind, namespace and name
    """

    phases: tuple[Phase, ...] = ()
    outcomes: tuple[ExecutionOutcome, ...] = ()
    kinds: tuple[ExecutionKind, ...] = ()
    action: str | None = None
    cluster: str | None = None
    target_kind: str | None = None
    namespace: str | None = None
    target_name: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    tracking_id: str | None = None
    fingerprint: str | None = None
    undoes: str | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """:param next_cursor: where the next page begins; None on the last one"""

    executions: tuple[ExecutionRow, ...]
    next_cursor: str | None


def list_executions(session: Session, filters: Filters, *, cursor: str | None = None, limit: int = 50) -> Page:
    """One page. Raises `InvalidInput` for a cursor that is not ours or a limit outside 1 to `MAX_PAGE`."""
    rows = list(session.scalars(page_statement(filters, cursor=cursor, limit=limit)))
    return page(rows, limit)


def page_statement(filters: Filters, *, cursor: str | None = None, limit: int = 50) -> Select[ExecutionRow]:
    """For async sessions; `page` makes a page of its rows. It asks for one row more, to know whether others follow."""
    if not 1 <= limit <= MAX_PAGE:
        raise _fault("/limit", f"{limit} is not a page size", f"ask for 1 to {MAX_PAGE}")
    statement = select(ExecutionRow).where(*_conditions(filters))
    if cursor is not None:
        created_at, execution_id = _read(cursor)
        position = tuple_(ExecutionRow.created_at, ExecutionRow.id)
        statement = statement.where(position < tuple_(created_at, execution_id))
    return (
        statement.order_by(ExecutionRow.created_at.desc(), ExecutionRow.id.desc())
        .limit(limit + 1)
        .options(*(defer(column, raiseload=True) for column in _HEAVY))
    )


def page(rows: list[ExecutionRow], limit: int) -> Page:
    shown = tuple(rows[:limit])
    return Page(executions=shown, next_cursor=_write(shown[-1]) if len(rows) > limit else None)


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    equal = {
        ExecutionRow.target_cluster: filters.cluster,
        ExecutionRow.target_kind: filters.target_kind,
        ExecutionRow.target_namespace: filters.namespace,
        ExecutionRow.target_name: filters.target_name,
        ExecutionRow.tracking_id: filters.tracking_id,
        ExecutionRow.fingerprint: filters.fingerprint,
        ExecutionRow.undoes: filters.undoes,
    }
    found = [column == value for column, value in equal.items() if value is not None]
    any_of = {
        ExecutionRow.phase: filters.phases,
        ExecutionRow.outcome: filters.outcomes,
        ExecutionRow.kind: filters.kinds,
    }
    found += [column.in_(values) for column, values in any_of.items() if values]
    if filters.action is not None:
        found.append(ExecutionRow.actions.contains([filters.action]))
    if filters.since is not None:
        found.append(ExecutionRow.created_at >= filters.since)
    if filters.until is not None:
        found.append(ExecutionRow.created_at < filters.until)
    return found


def _write(row: ExecutionRow) -> str:
    return base64.urlsafe_b64encode(json.dumps([row.created_at.isoformat(), row.id]).encode()).decode().rstrip("=")


def _read(cursor: str) -> tuple[datetime, str]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        created_at, execution_id = json.loads(text)
        moment = datetime.fromisoformat(created_at)
        if moment.tzinfo is None or not isinstance(execution_id, str) or "\0" in execution_id:
            raise ValueError(cursor)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        remedy = "take `next_cursor` of the page before, or leave it out for the first page"
        raise _fault("/cursor", "this is not the cursor of a page", remedy) from None
    return moment, execution_id


def _fault(pointer: str, message: str, remedy: str) -> InvalidInput:
    return InvalidInput([Fault(pointer=pointer, code="invalid_parameter", message=message, remedy=remedy)])
