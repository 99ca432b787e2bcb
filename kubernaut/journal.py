"""The write-ahead journal: one row for every mutating request, claimed before it is sent (DESIGN: changing a cluster
exactly once).

The claim is one statement that writes the rows and checks, under a lock that the end of an execution needs too: the
execution runs, nobody cancelled or halted it, its deadline has not passed, the step is in this round and was not undone.
`mark_sent` checks the same again for each request. What is claimed is described by `kubernaut.actions.spec`; who sends it
is `kubernaut.execution.apply`. Nothing here talks to a cluster.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from kubernaut.actions.spec import ABSENT, Change, EffectClass, FieldChange, ObjectPatch
from kubernaut.errors import ErrorClass
from kubernaut.execution.phases import Phase
from kubernaut.store.tables import ExecutionRow, HaltRow, JournalRow, JournalStatus, StepRow


class Refusal(StrEnum):
    """Why a claim was not granted."""

    HALTED = "halted"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    ENDED = "ended"
    ROUND = "round"
    UNDONE = "undone"
    NOT_CURRENT = "not_current"


@dataclass(frozen=True, kw_only=True)
class StepPlace:
    """Which step, in which round, on which clusters."""

    execution_id: str
    key: str
    round: int
    clusters: tuple[str, ...]


_ALLOWED = """
WITH allowed AS (
    SELECT e.id FROM kubernaut.execution e
    JOIN kubernaut.step s ON s.execution_id = e.id AND s.key = :step_key
    WHERE e.id = :execution_id
      AND e.phase = 'running' AND e.cancel_requested_at IS NULL
      AND (e.deadline_at IS NULL OR e.deadline_at > now())
      AND s.round = :round AND s.undone_at IS NULL AND s.state = 'running'
      AND NOT EXISTS (SELECT 1 FROM kubernaut.halt h WHERE h.ended_at IS NULL
                      AND (h.cluster IS NULL OR h.cluster = ANY(CAST(:clusters AS text[]))))
    FOR SHARE OF e
)"""

_CLAIM = text(
    _ALLOWED
    + """
INSERT INTO kubernaut.journal (execution_id, step_key, round, request_no, effect, cluster, api_version, kind, namespace,
                               name, uid, summary, fields, call, idempotency_key, undo_of)
SELECT :execution_id, :step_key, :round, r.request_no, r.effect, r.cluster, r.api_version, r.kind, r.namespace,
       r.name, r.uid, r.summary, r.fields, r.call, r.idempotency_key, r.undo_of
FROM allowed CROSS JOIN jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
    request_no int, effect text, cluster text, api_version text, kind text, namespace text, name text, uid text,
    summary text, fields jsonb, call jsonb, idempotency_key text, undo_of bigint)
ON CONFLICT (execution_id, step_key, round, request_no) DO NOTHING
RETURNING id"""
)

_SENT = text(
    _ALLOWED
    + """
UPDATE kubernaut.journal j SET status = 'sent', sent_at = now() FROM allowed
WHERE j.id = :journal_id AND j.status = :from_status RETURNING j.id"""
)


def field_document(change: FieldChange) -> dict[str, Any]:
    """One field as the journal keeps it; a value that is absent has no key."""
    document: dict[str, Any] = {"pointer": change.pointer}
    if change.before != ABSENT:
        document["before"] = change.before
    if change.after != ABSENT:
        document["after"] = change.after
    return document


def field_changes(row: JournalRow) -> tuple[FieldChange, ...]:
    """The fields of a row, as the executor described them."""
    return tuple(
        FieldChange(pointer=field["pointer"], before=field.get("before", ABSENT), after=field.get("after", ABSENT))
        for field in row.fields
    )


def _row_document(
    place: StepPlace, cluster: str | None, number: int, change: Change, undo_of: int | None
) -> dict[str, Any]:
    key = f"{place.execution_id}/{place.key}/{place.round}/{number}"
    common: dict[str, Any] = {
        "request_no": number,
        "cluster": cluster,
        "summary": change.summary,
        "idempotency_key": key,
        "undo_of": undo_of,
    }
    if isinstance(change, ObjectPatch):
        return {
            **common,
            "effect": EffectClass.IN_OBJECT.value,
            "api_version": change.target.api_version,
            "kind": change.target.kind,
            "namespace": change.target.namespace,
            "name": change.target.name,
            "uid": change.uid,
            "fields": [field_document(field) for field in change.fields],
        }
    return {
        **common,
        "effect": EffectClass.EXTERNAL.value,
        "fields": [],
        "call": {
            "method": change.method,
            "url": change.url,
            "body": change.body,
            "headers": dict(change.headers),
            "idempotent": change.idempotent,
        },
    }


async def claim(
    session: AsyncSession,
    place: StepPlace,
    cluster: str | None,
    changes: Sequence[Change],
    *,
    first: int = 1,
    undo_of: Sequence[int | None] = (),
) -> Refusal | None:
    """Write one `prepared` row for each change, or none at all and say why. Rows that are there already stay as they are."""
    origins = list(undo_of) or [None] * len(changes)
    documents = [
        _row_document(place, cluster, first + index, change, origins[index]) for index, change in enumerate(changes)
    ]
    result = await session.execute(_CLAIM, {**_place(place), "rows": json.dumps(documents)})
    if result.first() is not None or await rows(session, place):
        return None
    return await refusal(session, place)


async def mark_sent(session: AsyncSession, place: StepPlace, journal_id: int, *, again: bool = False) -> Refusal | None:
    """`prepared` → `sent`, under the same conditions as the claim; `again`: it is `sent` and about to be sent once more.

    `NOT_CURRENT`: somebody else moved the row on.
    """
    before = JournalStatus.SENT if again else JournalStatus.PREPARED
    values = {**_place(place), "journal_id": journal_id, "from_status": before.value}
    result = await session.execute(_SENT, values)
    if result.first() is not None:
        return None
    return await refusal(session, place) or Refusal.NOT_CURRENT


async def withdraw_sent(session: AsyncSession, journal_id: int) -> None:
    """`sent` → `prepared`: it is certain that the request did not arrive. For the one who sent it, and nobody else."""
    await session.execute(
        update(JournalRow)
        .where(JournalRow.id == journal_id, JournalRow.status == JournalStatus.SENT)
        .values(status=JournalStatus.PREPARED, sent_at=None)
        .execution_options(synchronize_session=False)
    )


def _place(place: StepPlace) -> dict[str, Any]:
    return {
        "execution_id": place.execution_id,
        "step_key": place.key,
        "round": place.round,
        "clusters": list(place.clusters),
    }


async def refusal(session: AsyncSession, place: StepPlace) -> Refusal | None:
    """What stands in the way of a claim now; None where nothing does."""
    row = (
        await session.execute(
            select(
                ExecutionRow.phase,
                ExecutionRow.cancel_requested_at,
                (ExecutionRow.deadline_at < text("now()")).label("late"),
                StepRow.round,
                StepRow.undone_at,
                select(HaltRow.id)
                .where(HaltRow.ended_at.is_(None), HaltRow.cluster.is_(None) | HaltRow.cluster.in_(place.clusters))
                .exists()
                .label("halted"),
            )
            .join(StepRow, StepRow.execution_id == ExecutionRow.id)
            .where(ExecutionRow.id == place.execution_id, StepRow.key == place.key)
        )
    ).one()
    checks = (
        (row.undone_at is not None, Refusal.UNDONE),
        (row.round != place.round, Refusal.ROUND),
        (row.cancel_requested_at is not None, Refusal.CANCELLED),
        (bool(row.late), Refusal.TIMEOUT),
        (row.phase in (Phase.COMPLETED, Phase.FAILED, Phase.CANCELLED), Refusal.ENDED),
        (bool(row.halted), Refusal.HALTED),
        (row.phase is not Phase.RUNNING, Refusal.NOT_CURRENT),
    )
    return next((reason for broken, reason in checks if broken), None)


async def rows(session: AsyncSession, place: StepPlace) -> list[JournalRow]:
    """The rows of a step's round, in order of their requests."""
    found = await session.scalars(
        select(JournalRow)
        .where(
            JournalRow.execution_id == place.execution_id,
            JournalRow.step_key == place.key,
            JournalRow.round == place.round,
        )
        .order_by(JournalRow.request_no)
    )
    return list(found)


async def rows_of_earlier_rounds(session: AsyncSession, place: StepPlace) -> list[JournalRow]:
    """What the step changed before a person cleared it, of the last round in which it changed anything."""
    found = list(
        await session.scalars(
            select(JournalRow)
            .where(
                JournalRow.execution_id == place.execution_id,
                JournalRow.step_key == place.key,
                JournalRow.round < place.round,
                JournalRow.status == JournalStatus.APPLIED,
                JournalRow.undone_by.is_(None),
            )
            .order_by(JournalRow.request_no)
        )
    )
    last = max((row.round for row in found), default=0)
    return [row for row in found if row.round == last]


async def to_undo(session: AsyncSession, execution_id: str, key: str) -> list[JournalRow]:
    """The rows of a step whose change may stand in the cluster, last first, over all rounds."""
    found = await session.scalars(
        select(JournalRow)
        .where(
            JournalRow.execution_id == execution_id,
            JournalRow.step_key == key,
            JournalRow.effect != EffectClass.EXTERNAL.value,
            JournalRow.status != JournalStatus.REFUSED,
            JournalRow.undone_by.is_(None),
        )
        .order_by(JournalRow.id.desc())
    )
    return list(found)


@dataclass(frozen=True, kw_only=True)
class Settlement:
    """How a request ended."""

    status: JournalStatus
    stored: Mapping[str, Any] | None = None
    error_class: ErrorClass | None = None
    message: str | None = None
    response_status: int | None = None


def _settled_over(settlement: Settlement) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [JournalRow.status.in_((JournalStatus.PREPARED, JournalStatus.SENT))]
    if settlement.status is JournalStatus.APPLIED and settlement.response_status is not None:
        concluded = (JournalRow.status == JournalStatus.REFUSED) & JournalRow.error_class.is_(None)
        found += [JournalRow.status == JournalStatus.UNKNOWN, concluded]
    return found


async def settle(session: AsyncSession, row: JournalRow, settlement: Settlement) -> bool:
    """Write how an open request ended; False where it had ended already (the first word stands).

    The server's own word that it was applied (`response_status`) also stands against what another process only concluded:
    that nobody knows, or that what it found there was somebody else's.
    """
    fields = row.fields
    if settlement.stored is not None:
        fields = [
            {
                **field,
                **({"stored": settlement.stored[field["pointer"]]} if field["pointer"] in settlement.stored else {}),
            }
            for field in row.fields
        ]
    result = await session.execute(
        update(JournalRow)
        .where(JournalRow.id == row.id, or_(*_settled_over(settlement)))
        .values(
            status=settlement.status,
            fields=fields,
            error_class=settlement.error_class,
            message=settlement.message,
            response_status=settlement.response_status,
            sent_at=text("coalesce(sent_at, now())"),
            done_at=text("now()"),
        )
        .returning(JournalRow.id)
        .execution_options(synchronize_session=False)
    )
    settled = result.first() is not None
    if settled and settlement.status is JournalStatus.APPLIED and row.undo_of is not None:
        await session.execute(
            update(JournalRow)
            .where(JournalRow.id == row.undo_of, JournalRow.undone_by.is_(None))
            .values(undone_by=row.id)
            .execution_options(synchronize_session=False)
        )
    return settled
