"""Accepting a plan: what starts, what needs whose approval, and what is written of either.

One transaction each; after it the store is asked, not the answer.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from kubernaut.examination import Examination, HumanReason, Outcome
from kubernaut.execution.accept import Accepted, Refused, Submission, accept
from kubernaut.execution.phases import Phase
from kubernaut.plan.examine import examine
from kubernaut.plan.model import Priority
from kubernaut.policy import DEFAULT_POLICY
from kubernaut.settings import Settings, get_settings
from kubernaut.store import engine as store_engine
from kubernaut.store.audit import Actor
from kubernaut.store.engine import session
from kubernaut.store.tables import AuditEventRow, ExecutionRow, WorkflowRow

SETTINGS = Settings(clusters={"prod": "kubernetes_prod"})
ALICE, BOB = Actor.user("alice"), Actor.user("bob")
QUESTION = HumanReason(code="question", message="which of the two deployments is meant?", pointer="/steps/0")
UNSURE = HumanReason(code="confidence", message="confidence 0.7 is below 0.8")
NOT_INSTALLED = HumanReason(code="action_not_installed", message="nothing here carries out other.reboot")
NO_DIALECT = HumanReason(code="dialect_not_installed", message="this dialect is not understood here")


@pytest.fixture(autouse=True)
def _store(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("KUBERNAUT_STORE_URL", store_url)
    get_settings.cache_clear()
    yield
    store_engine.dispose()
    get_settings.cache_clear()


def examined(replicas: int = 3, **changes: Any) -> Examination:
    """A plan that may run as it is, and what else is to be said of it."""
    document = {
        "version": "kubernaut.ai/plan/v1",
        "id": "plan-1",
        "tracking_id": "track-7",
        "priority": "P2",
        "confidence": 0.95,
        "target": {"kind": "Deployment", "namespace": "shop", "name": "checkout"},
        "steps": [{"id": "scale", "action": "kubernetes.scale", "params": {"replicas": replicas}}],
    }
    found = examine(document, settings=SETTINGS, policy=DEFAULT_POLICY)
    assert found.outcome is Outcome.RUNNABLE
    return found.model_copy(update={"approval_required": False, "approval_reasons": (), "human_reasons": ()} | changes)


NEEDS_APPROVAL = {"approval_required": True, "approval_reasons": (UNSURE,)}
NEEDS_HUMAN = {"outcome": Outcome.HUMAN, "human_reasons": (QUESTION,)}


def submitted(examination: Examination, *, actor: Actor = ALICE, **fields: Any) -> Accepted | Refused:
    with session() as store:
        return accept(store, Submission(examination=examination, actor=actor, **fields))


def counted() -> tuple[int, int]:
    """Executions and workflows in the store."""
    with session() as store:
        executions = store.scalar(select(func.count()).select_from(ExecutionRow))
        workflows = store.scalar(select(func.count()).select_from(WorkflowRow))
    return executions or 0, workflows or 0


def row_of(answer: Accepted | Refused) -> ExecutionRow:
    assert isinstance(answer, Accepted)
    with session() as store:
        return store.get_one(ExecutionRow, answer.execution_id)


def audited(subject: str) -> list[tuple[str, str]]:
    """(actor, operation) of a subject, in order."""
    with session() as store:
        found = store.scalars(
            select(AuditEventRow).where(AuditEventRow.subject_id == subject).order_by(AuditEventRow.id)
        )
        return [(event.actor, event.operation) for event in found]


# --- who may start what

RIGHT, WRONG = "right", "wrong"


@pytest.mark.parametrize(
    ("changes", "approve", "answer"),
    [
        ({}, None, "accepted"),
        ({}, RIGHT, "accepted"),
        ({}, WRONG, "hash_mismatch"),
        (NEEDS_APPROVAL, None, "approval_required"),
        (NEEDS_APPROVAL, RIGHT, "accepted"),
        (NEEDS_APPROVAL, WRONG, "hash_mismatch"),
        (NEEDS_HUMAN, None, "human_required"),
        (NEEDS_HUMAN, RIGHT, "accepted"),
        (NEEDS_HUMAN, WRONG, "hash_mismatch"),
        (NEEDS_APPROVAL | NEEDS_HUMAN, None, "human_required"),
        ({"outcome": Outcome.HUMAN, "human_reasons": (NOT_INSTALLED,)}, None, "not_runnable"),
        ({"outcome": Outcome.HUMAN, "human_reasons": (NOT_INSTALLED,)}, RIGHT, "not_runnable"),
        ({"outcome": Outcome.HUMAN, "human_reasons": (QUESTION, NO_DIALECT)}, RIGHT, "not_runnable"),
        ({"outcome": Outcome.HUMAN, "workflow": None, "bindings": None}, RIGHT, "not_runnable"),
        ({"outcome": Outcome.INVALID}, None, "invalid"),
        ({"outcome": Outcome.INVALID}, RIGHT, "invalid"),
    ],
)
def test_what_starts_depends_on_the_plan_and_on_an_approval_of_exactly_it(
    changes: dict[str, Any], approve: str | None, answer: str
) -> None:
    """Every outcome with no approval, the right hash and another one; where it is refused, nothing is registered."""
    examination = examined(**changes)
    hashes = {RIGHT: examined().hash, WRONG: examined(replicas=4).hash}
    before = counted()

    got = submitted(examination, approve=hashes[approve] if approve else None)

    if answer == "accepted":
        assert isinstance(got, Accepted)
        assert counted()[0] == before[0] + 1
    else:
        assert isinstance(got, Refused)
        assert got.kind.value == answer
        assert got.message
        assert counted() == before


def test_an_approval_is_for_these_values_and_no_others() -> None:
    """Same shape, another number of replicas: the old approval does not start it, and the text says what to do."""
    old = examined(replicas=3, **NEEDS_APPROVAL)
    new = examined(replicas=4, **NEEDS_APPROVAL)
    assert old.workflow == new.workflow

    got = submitted(new, approve=old.hash)

    assert isinstance(got, Refused)
    assert "look at this one and approve its hash" in got.message


def test_a_refusal_names_every_reason() -> None:
    other = HumanReason(code="policy_human", message="the policy wants a person")

    got = submitted(examined(**NEEDS_HUMAN | {"human_reasons": (QUESTION, other)}))

    assert isinstance(got, Refused)
    assert QUESTION.message in got.message
    assert other.message in got.message


# --- what is written


def test_what_was_accepted_waits_in_the_queue_with_everything_that_is_needed_to_run_it() -> None:
    examination = examined()

    row = row_of(submitted(examination, answer={"any": "thing"}))

    assert row.phase is Phase.QUEUED
    assert (row.run_id, row.dag_id) == (row.id, examination.workflow.dag_id if examination.workflow else None)
    assert (row.plan_hash, row.tracking_id, row.actor, row.approved_by) == (examination.hash, "track-7", "alice", None)
    assert (row.target_cluster, row.target_namespace, row.target_name) == ("prod", "shop", "checkout")
    assert row.answer == {"any": "thing"}


def test_the_person_who_approves_is_written_down() -> None:
    examination = examined(**NEEDS_APPROVAL)

    assert row_of(submitted(examination, actor=BOB, approve=examination.hash)).approved_by == "bob"


@pytest.mark.parametrize(("given", "stored"), [(None, 2), (Priority.P0, 0), (Priority.P3, 3)])
def test_the_priority_of_the_submission_wins_over_the_plans_and_changes_no_hash(
    given: Priority | None, stored: int
) -> None:
    examination = examined(**NEEDS_APPROVAL)

    row = row_of(submitted(examination, priority=given, approve=examination.hash))

    assert (row.priority, row.plan_hash) == (stored, examination.hash)
    assert row.bindings["priority"] == f"P{stored}"


# --- the audit log


@pytest.mark.parametrize(
    ("changes", "approve", "operations"),
    [
        ({}, False, ["trigger"]),
        (NEEDS_APPROVAL, True, ["trigger", "approval"]),
        (NEEDS_HUMAN, True, ["trigger", "approval"]),
    ],
)
def test_what_was_started_is_in_the_audit_log_with_its_actor(
    changes: dict[str, Any], approve: bool, operations: list[str]
) -> None:
    """Trigger and approval, each with who, which plan and why it needed one."""
    examination = examined(**changes)

    row = row_of(submitted(examination, actor=BOB, approve=examination.hash if approve else None))

    assert audited(row.id) == [("bob", operation) for operation in operations]
    with session() as store:
        event = store.scalars(select(AuditEventRow).where(AuditEventRow.subject_id == row.id)).first()
        assert event is not None
        reasons = [reason.code for reason in (*examination.human_reasons, *examination.approval_reasons)]
        assert (event.tracking_id, event.details["plan_hash"]) == ("track-7", examination.hash)
        assert event.details["reasons"] == reasons


@pytest.mark.parametrize(
    ("changes", "approve"),
    [(NEEDS_APPROVAL, None), (NEEDS_HUMAN, None), ({}, "another"), ({"outcome": Outcome.INVALID}, None)],
    ids=["approval", "human", "mismatch", "invalid"],
)
def test_what_was_refused_is_in_the_audit_log_too(changes: dict[str, Any], approve: str | None) -> None:
    """One event with the actor and the kind of refusal."""
    examination = examined(replicas=11, **changes)
    subject = str(examination.hash)
    before = len(audited(subject))

    got = submitted(examination, approve=approve)

    assert isinstance(got, Refused)
    assert audited(subject)[before:] == [("alice", "refusal")]


@pytest.mark.requirement("BR-REL-012")
def test_execution_workflow_and_audit_event_are_there_together_or_not_at_all() -> None:
    """The transaction that accepted it breaks before its commit: there is neither an execution nor an event of one."""
    before, examination = counted(), examined(replicas=12)

    def accept_and_break() -> None:
        with session() as store:
            accept(store, Submission(examination=examination, actor=ALICE))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        accept_and_break()

    assert counted() == before
    with session() as store:
        details = select(AuditEventRow).where(AuditEventRow.details["plan_hash"].as_string() == examination.hash)
        assert store.scalars(details).all() == []


# --- the same request again


def test_the_same_key_with_the_same_request_is_one_execution() -> None:
    examination = examined()
    first, second = (submitted(examination, idempotency_key="k-1", request_digest="d-1") for _ in range(2))

    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert first.execution_id == second.execution_id
    assert (first.created, second.created) == (True, False)
    assert audited(first.execution_id) == [("alice", "trigger")]


def test_the_same_key_with_another_request_is_refused_and_registers_nothing() -> None:
    """Not even its shape; the refusal is in the audit log."""
    submitted(examined(), idempotency_key="k-2", request_digest="d-1")
    document = {
        "version": "kubernaut.ai/plan/v1",
        "id": "plan-2",
        "confidence": 0.95,
        "target": {"kind": "Deployment", "namespace": "shop", "name": "checkout"},
        "steps": [{"id": f"n{number}", "action": "noop"} for number in range(5)],
    }
    other = examine(document, settings=SETTINGS, policy=DEFAULT_POLICY).model_copy(update={"approval_required": False})
    before = counted()

    got = submitted(other, idempotency_key="k-2", request_digest="d-2")

    assert isinstance(got, Refused)
    assert got.kind.value == "idempotency_key_reused"
    assert counted() == before
    assert audited(str(other.hash)) == [("alice", "refusal")]


def test_a_key_is_its_actors_own() -> None:
    first = submitted(examined(), idempotency_key="k-3", request_digest="d-1", actor=ALICE)
    second = submitted(examined(), idempotency_key="k-3", request_digest="d-2", actor=BOB)

    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert first.execution_id != second.execution_id


def test_two_requests_with_one_key_at_the_same_time_are_one_execution() -> None:
    answers: list[Accepted | Refused] = []
    threads = [
        threading.Thread(
            target=lambda: answers.append(submitted(examined(), idempotency_key="k-4", request_digest="d-1"))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(answers) == 4
    assert len({answer.execution_id for answer in answers if isinstance(answer, Accepted)}) == 1
    assert sum(answer.created for answer in answers if isinstance(answer, Accepted)) == 1


def test_a_run_that_airflow_started_is_adopted_under_its_own_name() -> None:
    row = row_of(submitted(examined(), run=("kn.scale.abc", "manual__1")))

    assert (row.dag_id, row.run_id, row.adopted) == ("kn.scale.abc", "manual__1", True)
    assert audited(row.id) == [("alice", "adopt")]
