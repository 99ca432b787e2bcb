"""Executions on a real PostgreSQL: accepted once, taken once, moved by the table."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from kubernaut.execution.phases import ExecutionOutcome, IllegalTransition, Phase
from kubernaut.store import engine, halts
from kubernaut.store.executions import (
    IdempotencyConflict,
    StaleExecution,
    get_execution,
    insert_execution,
    journal_of,
    lock_execution,
    put_workflow,
    queued_for_registration,
    registration_failed,
    request_cancel,
    running,
    set_phase,
    steps_of,
)
from kubernaut.store.tables import ExecutionRow, JournalRow, JournalStatus, StepRow, WorkflowRow
from tests.integration.store.store_rows import ALICE, REGISTRAR, move, new_row, shape


def read(execution_id: str) -> ExecutionRow:
    with engine.session() as session:
        row = get_execution(session, execution_id)
    assert row is not None
    return row


def drain() -> None:
    """Nothing of another test is in the queue, and nothing is halted."""
    with engine.session() as session:
        for halt in session.scalars(halts.open_halts()).all():
            halts.end_halt(session, cluster=halt.cluster, reason=None, actor=ALICE)
        for row in session.scalars(select(ExecutionRow).where(ExecutionRow.phase == Phase.QUEUED)).all():
            set_phase(session, row, Phase.CANCELLED, actor=ALICE)


def taken(limit: int = 10) -> list[str]:
    with engine.session() as session:
        return [row.id for row in queued_for_registration(session, limit)]


class TestQueue:
    """What the registrar takes next."""

    @pytest.fixture(autouse=True)
    def _empty(self, store: str) -> None:
        drain()

    def test_the_highest_priority_comes_first_then_the_oldest(self, queue: Callable[..., str]) -> None:
        old, new, urgent = queue(priority=2), queue(priority=2), queue(priority=0)
        assert taken() == [urgent, old, new]

    @pytest.mark.requirement("BR-REL-012")
    def test_one_queued_execution_goes_to_one_of_two_registrars(self, queue: Callable[..., str]) -> None:
        execution_id = queue()
        with engine.session() as first, engine.session() as second:
            assert [row.id for row in queued_for_registration(first, 1)] == [execution_id]
            assert queued_for_registration(second, 1) == []
        with engine.session() as later:
            assert [row.id for row in queued_for_registration(later, 1)] == [execution_id]

    def test_many_registrars_at_once_take_each_execution_once(self, queue: Callable[..., str]) -> None:
        queued = {queue() for _ in range(30)}
        started: list[str] = []
        begin = threading.Barrier(6)

        def registrar() -> None:
            begin.wait()
            while True:
                with engine.session() as session:
                    rows = queued_for_registration(session, 1)
                    if not rows:
                        return
                    set_phase(session, rows[0], Phase.RUNNING, actor=REGISTRAR)
                    started.append(rows[0].id)

        threads = [threading.Thread(target=registrar) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(started) == 30
        assert set(started) == queued

    @pytest.mark.parametrize(
        ("halted", "left"),
        [
            (None, set()),
            ("prod", {"none", "stage"}),
            ("stage", {"none", "prod"}),
            ("other", {"none", "prod", "stage"}),
        ],
    )
    def test_a_halted_cluster_is_passed_over(
        self, queue: Callable[..., str], halted: str | None, left: set[str]
    ) -> None:
        names = {queue(): "none", queue(target_cluster="prod"): "prod", queue(clusters=["stage"]): "stage"}
        with engine.session() as session:
            halts.set_halt(session, cluster=halted, reason="drill", actor=ALICE)
        assert {names[execution_id] for execution_id in taken()} == left
        with engine.session() as session:
            halts.end_halt(session, cluster=halted, reason=None, actor=ALICE)
        assert set(taken()) == set(names)

    def test_what_was_cancelled_or_adopted_is_not_taken(self, queue: Callable[..., str]) -> None:
        queue(adopted=True)
        execution_id = queue()
        with engine.session() as session:
            row = lock_execution(session, execution_id)
            assert row is not None
            assert request_cancel(session, row, actor=ALICE, reason="no")
            assert not request_cancel(session, row, actor=ALICE, reason="no")
        assert taken() == []

    def test_a_registration_that_failed_lets_others_pass(self, queue: Callable[..., str]) -> None:
        broken, fine = queue(priority=0), queue()
        with engine.session() as session:
            row = lock_execution(session, broken)
            assert row is not None
            registration_failed(session, row, "no bundle", retry_at=datetime.now(UTC) + timedelta(hours=1))
        assert taken() == [fine]
        assert (read(broken).attempts_to_register, read(broken).registration_error) == (1, "no bundle")
        with engine.session() as session:
            row = lock_execution(session, broken)
            assert row is not None
            registration_failed(session, row, "no bundle", retry_at=datetime.now(UTC) - timedelta(seconds=1))
        assert taken() == [broken, fine]

    def test_running_executions_are_counted(self, queue: Callable[..., str]) -> None:
        with engine.session() as session:
            before = session.scalar(running())
        move(queue(), Phase.RUNNING)
        with engine.session() as session:
            assert session.scalar(running()) == (before or 0) + 1


class TestPhases:
    """Moving an execution."""

    @pytest.mark.requirement("BR-WF-LIFECYCLE-001")
    def test_a_life_from_queued_to_completed_with_its_times(self, queue: Callable[..., str]) -> None:
        execution_id = queue()
        assert (read(execution_id).phase, read(execution_id).started_at) == (Phase.QUEUED, None)
        move(execution_id, Phase.RUNNING)
        started = read(execution_id)
        assert (started.phase, started.outcome, started.ended_at) == (Phase.RUNNING, None, None)
        move(execution_id, Phase.COMPLETED)
        ended = read(execution_id)
        assert (ended.phase, ended.outcome) == (Phase.COMPLETED, ExecutionOutcome.SUCCESS)
        assert ended.started_at == started.started_at
        assert ended.started_at is not None
        assert ended.ended_at is not None
        assert ended.created_at < ended.started_at < ended.ended_at

    def test_a_clear_opens_a_new_round_and_forgets_the_end(self, queue: Callable[..., str]) -> None:
        execution_id = queue()
        move(execution_id, Phase.RUNNING)
        with engine.session() as session:
            row = lock_execution(session, execution_id)
            assert row is not None
            set_phase(
                session,
                row,
                Phase.FAILED,
                actor=REGISTRAR,
                outcome=ExecutionOutcome.FAILURE,
                reason="s01 failed",
                verdict={"proof": "read"},
            )
        first = read(execution_id)
        assert first.verdict == {"proof": "read"}
        move(execution_id, Phase.RUNNING)
        cleared = read(execution_id)
        assert (cleared.round, cleared.outcome, cleared.verdict, cleared.ended_at, cleared.reason) == (
            2,
            None,
            None,
            None,
            None,
        )
        assert cleared.started_at == first.started_at

    @pytest.mark.requirement("BR-WF-LIFECYCLE-001")
    def test_a_transition_that_the_table_lacks_changes_nothing(self, queue: Callable[..., str]) -> None:
        execution_id = queue()
        with pytest.raises(IllegalTransition):
            move(execution_id, Phase.COMPLETED)
        assert read(execution_id).phase is Phase.QUEUED

    def test_who_decided_from_a_row_that_moved_on_is_told(self, queue: Callable[..., str]) -> None:
        execution_id = queue()
        seen = read(execution_id)
        move(execution_id, Phase.RUNNING)
        with pytest.raises(StaleExecution), engine.session() as session:
            set_phase(session, seen, Phase.CANCELLED, actor=ALICE)
        assert read(execution_id).phase is Phase.RUNNING

    def test_a_locked_row_is_passed_over_when_asked(self, queue: Callable[..., str]) -> None:
        execution_id = queue()
        with engine.session() as first, engine.session() as second:
            assert lock_execution(first, execution_id) is not None
            assert lock_execution(second, execution_id, skip_locked=True) is None

    @pytest.mark.parametrize(
        "columns",
        [
            {"phase": Phase.COMPLETED},
            {"phase": Phase.COMPLETED, "ended_at": datetime.now(UTC)},
            {"phase": Phase.FAILED, "ended_at": datetime.now(UTC), "outcome": ExecutionOutcome.SUCCESS},
            {"phase": Phase.RUNNING, "outcome": ExecutionOutcome.SUCCESS},
            {"phase": Phase.RUNNING, "ended_at": datetime.now(UTC)},
            {"priority": 4},
            {"round": 0},
            {"undoes": "ex-none", "kind": "undo"},
            {"workflow_digest": "f" * 64},
        ],
    )
    def test_the_database_refuses_rows_that_make_no_sense(
        self, queue: Callable[..., str], columns: dict[str, object]
    ) -> None:
        with pytest.raises(IntegrityError):
            queue(**columns)


class TestIdempotency:
    """The same request sent twice."""

    def send(self, key: str, digest: str = "d", **columns: object) -> tuple[str, bool]:
        with engine.session() as session:
            put_workflow(session, shape("noop"))
            done = insert_execution(session, new_row(idempotency_key=key, request_digest=digest, **columns))
            return done.execution.id, done.created

    def test_a_repeat_returns_the_first_execution(self, store: str) -> None:
        first, created = self.send("repeat")
        assert created
        assert self.send("repeat") == (first, False)

    def test_another_request_under_the_same_key_is_refused(self, store: str) -> None:
        first, _ = self.send("reused")
        with pytest.raises(IdempotencyConflict, match=first):
            self.send("reused", digest="other")

    def test_keys_of_two_actors_do_not_meet(self, store: str) -> None:
        first, _ = self.send("mine")
        second, created = self.send("mine", actor="bob")
        assert created
        assert second != first

    def test_a_key_is_forgotten_after_its_lifetime(self, store: str) -> None:
        first, _ = self.send("old", created_at=datetime.now(UTC) - timedelta(hours=25))
        second, created = self.send("old")
        assert created
        assert second != first
        assert read(first).idempotency_key is None

    def test_of_requests_at_the_same_time_one_is_accepted(self, store: str) -> None:
        answers: list[tuple[str, bool]] = []
        begin = threading.Barrier(5)

        def client() -> None:
            begin.wait()
            answers.append(self.send("storm"))

        threads = [threading.Thread(target=client) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 5
        assert len({execution_id for execution_id, _ in answers}) == 1
        assert sum(created for _, created in answers) == 1

    def test_the_second_of_two_open_transactions_waits_and_finds_the_first(self, store: str) -> None:
        answer: list[tuple[str, bool]] = []
        with engine.session() as session:
            put_workflow(session, shape("other"))
            row = new_row(idempotency_key="open", request_digest="d", workflow_digest=shape("other").digest)
            first = insert_execution(session, row).execution.id
            second = threading.Thread(target=lambda: answer.append(self.send("open")))
            second.start()
            second.join(0.2)
            assert answer == []
        second.join(10)
        assert answer == [(first, False)]


@pytest.mark.requirement("BR-WF-004")
@pytest.mark.requirement("BR-DATA-011")
@pytest.mark.requirement("BR-INT-003")
def test_the_whole_state_of_an_execution_outlives_the_process_that_wrote_it(queue: Callable[..., str]) -> None:
    execution_id = queue(plan={"id": "p"}, signal={"name": "KubePodCrashLooping"}, target_cluster="prod")
    move(execution_id, Phase.RUNNING)
    with engine.session() as session:
        session.add_all(
            StepRow(execution_id=execution_id, key=key, step_id=key, name=key, action="noop", state="succeeded")
            for key in ("s02", "s01")
        )
        session.flush()
        session.add_all(
            JournalRow(
                execution_id=execution_id,
                step_key="s01",
                round=1,
                request_no=number,
                effect="in_object",
                status=JournalStatus.APPLIED,
                fields=[{"pointer": "/spec/replicas", "before": 2, "after": 5, "stored": 5}],
                sent_at=datetime.now(UTC),
                done_at=datetime.now(UTC),
            )
            for number in (1, 2)
        )
    engine.dispose()  # every connection of this process is gone: what follows comes from the server

    with engine.session() as session:
        row = get_execution(session, execution_id)
        assert row is not None
        workflow = session.get(WorkflowRow, row.workflow_digest)
        steps = session.scalars(steps_of(execution_id)).all()
        journal = session.scalars(journal_of(execution_id)).all()
    assert (row.phase, row.plan, row.signal) == (Phase.RUNNING, {"id": "p"}, {"name": "KubePodCrashLooping"})
    assert workflow is not None
    assert workflow.document == shape("noop").model_dump(mode="json")
    assert [(step.key, step.state) for step in steps] == [("s01", "succeeded"), ("s02", "succeeded")]
    assert [entry.request_no for entry in journal] == [1, 2]
    assert journal[0].fields == [{"pointer": "/spec/replicas", "before": 2, "after": 5, "stored": 5}]


def test_one_request_cannot_be_claimed_twice(queue: Callable[..., str]) -> None:
    execution_id = queue()
    with engine.session() as session:
        session.add(StepRow(execution_id=execution_id, key="s01", step_id="a", name="A", action="noop"))

    def claim() -> None:
        with engine.session() as session:
            session.add(
                JournalRow(execution_id=execution_id, step_key="s01", round=1, request_no=1, effect="in_object")
            )

    claim()
    with pytest.raises(IntegrityError, match="uq_journal"):
        claim()
