"""The audit event: with its change or not at all, and never changed afterwards."""

import contextlib
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from kubernaut.execution.phases import Phase
from kubernaut.store import engine, halts
from kubernaut.store.audit import Actor, Operation, record
from kubernaut.store.executions import lock_execution, request_cancel, set_phase
from kubernaut.store.tables import AuditEventRow
from tests.integration.store.store_rows import ALICE, REGISTRAR, move


def events_of(subject_id: str) -> Sequence[AuditEventRow]:
    with engine.session() as session:
        statement = select(AuditEventRow).where(AuditEventRow.subject_id == subject_id).order_by(AuditEventRow.id)
        return session.scalars(statement).all()


@pytest.mark.requirement("BR-SEC-004")
def test_every_change_of_phase_leaves_its_event_with_the_actor(queue: Callable[..., str]) -> None:
    execution_id = queue(tracking_id="kn-story")
    move(execution_id, Phase.RUNNING)
    with engine.session() as session:
        row = lock_execution(session, execution_id)
        assert row is not None
        request_cancel(session, row, actor=ALICE, reason="wrong cluster")
    move(execution_id, Phase.CANCELLED, actor=Actor.system("reconciler"))

    told = [(event.operation, event.actor_kind, event.actor, event.tracking_id) for event in events_of(execution_id)]
    assert told == [
        ("phase", "system", "registrar", "kn-story"),
        ("cancel", "user", "alice", "kn-story"),
        ("phase", "system", "reconciler", "kn-story"),
    ]
    assert events_of(execution_id)[-1].details == {
        "from": "running",
        "to": "cancelled",
        "outcome": None,
        "reason": None,
        "round": 1,
    }


@pytest.mark.requirement("BR-REL-012")
def test_a_change_that_is_rolled_back_leaves_neither_phase_nor_event(queue: Callable[..., str]) -> None:
    execution_id = queue()
    with contextlib.suppress(ZeroDivisionError), engine.session() as session:
        row = lock_execution(session, execution_id)
        assert row is not None
        set_phase(session, row, Phase.RUNNING, actor=REGISTRAR)
        session.flush()
        raise ZeroDivisionError
    assert events_of(execution_id) == []
    with engine.session() as session:
        again = lock_execution(session, execution_id)
        assert again is not None
        assert again.phase is Phase.QUEUED


@pytest.mark.requirement("BR-REL-012")
def test_an_event_that_cannot_be_written_takes_its_change_along(queue: Callable[..., str]) -> None:
    execution_id = queue()
    with pytest.raises(DBAPIError, match="actor_kind"):
        move(execution_id, Phase.RUNNING, actor=Actor("nobody", "x"))  # type: ignore[arg-type]
    with engine.session() as session:
        again = lock_execution(session, execution_id)
        assert again is not None
        assert again.phase is Phase.QUEUED


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE kubernaut.audit_event SET actor = 'mallory'",
        "DELETE FROM kubernaut.audit_event",
        "TRUNCATE kubernaut.audit_event",
    ],
)
def test_events_cannot_be_changed_or_removed(store: str, statement: str) -> None:
    with engine.session() as session:
        record(session, ALICE, Operation.VALIDATE, subject_kind="plan", subject_id="kept")
    with pytest.raises(DBAPIError, match="append-only"), engine.session() as session:
        session.execute(text(statement))
    assert [event.actor for event in events_of("kept")][-1] == "alice"


async def test_an_event_joins_an_async_transaction(store: str) -> None:
    async with engine.async_session() as session:
        record(session, ALICE, Operation.REFUSAL, subject_kind="plan", subject_id="async", details={"why": ["a\0b"]})
    await engine.dispose_async()
    (event,) = events_of("async")
    assert event.details == {"why": ["a\N{REPLACEMENT CHARACTER}b"]}


@pytest.mark.requirement("BR-SEC-004")
def test_halt_and_resume_are_told_with_reason_and_actor(store: str) -> None:
    with engine.session() as session:
        row = halts.set_halt(session, cluster="prod", reason="bad model", actor=ALICE)
    with engine.session() as session:
        halts.end_halt(session, cluster="prod", reason="fixed", actor=Actor.user("bob"))
    told = [(event.operation, event.actor, event.details["reason"]) for event in events_of(str(row.id))]
    assert told == [("halt", "alice", "bad model"), ("resume", "bob", "fixed")]
