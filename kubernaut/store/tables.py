"""The tables of the store: schema `kubernaut` in PostgreSQL, shared with nobody (none of Airflow's tables is in it).

Typed models only. How rows are read and written is in `executions`, `halts` and `audit`; how the tables come to be is
in `migrations/` (a test holds the two equal). Every invariant that one row or a foreign key can express is a constraint
here, because any number of processes write these rows.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    MetaData,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from kubernaut.errors import ErrorClass
from kubernaut.execution.phases import ExecutionOutcome, Phase

SCHEMA = "kubernaut"

NAMING = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}


class ExecutionKind(StrEnum):
    """Only `plan` counts in any rate, cooldown or history."""

    PLAN = "plan"
    UNDO = "undo"
    REHEARSAL = "rehearsal"


class JournalStatus(StrEnum):
    """Of one mutating request."""

    PREPARED = "prepared"
    """Claimed; nothing was sent yet."""
    SENT = "sent"
    """On its way; after a crash the object decides what became of it."""
    APPLIED = "applied"
    REFUSED = "refused"
    """The server said no; nothing changed."""
    UNKNOWN = "unknown"
    """Nobody can tell; never sent again."""


class RequestState(StrEnum):
    """Of a run that Airflow started itself and that asks to be adopted."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REFUSED = "refused"


def one_of(kind: type[StrEnum], name: str) -> Enum:
    """The values of a StrEnum as text with a CHECK constraint `ck_<table>_<name>`, read back as members."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=True,
        name=name,
        length=32,
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    """Base of all tables of the store."""

    metadata = MetaData(schema=SCHEMA, naming_convention=NAMING)
    # Values that the database computes come back with the statement: async code cannot load them later by itself.
    __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012
    type_annotation_map = {  # noqa: RUF012
        str: Text(),
        datetime: DateTime(timezone=True),
        list[str]: ARRAY(Text()),
        dict[str, Any]: JSONB(none_as_null=True),
        list[Any]: JSONB(none_as_null=True),
        ErrorClass: one_of(ErrorClass, "error_class"),
    }


class WorkflowRow(Base):
    """A shape (`kubernaut.workflow.model.Workflow`) that was needed at least once; kept while executions name it."""

    __tablename__ = "workflow"
    __table_args__ = (
        # The DAG files ask for one first hex digit of what was used most recently.
        Index("ix_workflow_digest_prefix", text("left(digest, 1)")),
        Index("ix_workflow_last_used_at", "last_used_at"),
        CheckConstraint("digest ~ '^[0-9a-f]{64}$'", name="digest_hex"),
    )

    digest: Mapped[str] = mapped_column(primary_key=True)
    dag_id: Mapped[str] = mapped_column(unique=True)
    document: Mapped[dict[str, Any]]
    factory_version: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    last_used_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    registered_at: Mapped[datetime | None]


class ExecutionRow(Base):
    """One DAG run of a workflow with its bindings. The run's id is the execution's."""

    __tablename__ = "execution"
    __table_args__ = (
        CheckConstraint("priority BETWEEN 0 AND 3", name="priority"),
        CheckConstraint("round >= 1", name="round"),
        CheckConstraint(
            "(phase IN ('completed', 'failed', 'cancelled')) = (ended_at IS NOT NULL)", name="ended_when_terminal"
        ),
        CheckConstraint(
            "CASE phase WHEN 'completed' THEN outcome IS NOT NULL AND outcome IN ('success', 'partial_success')"
            " WHEN 'failed' THEN outcome IS NOT NULL AND outcome = 'failure'"
            " WHEN 'cancelled' THEN outcome IS NULL OR outcome = 'failure'"
            " ELSE outcome IS NULL END",
            name="outcome_of_phase",
        ),
        CheckConstraint("kind = 'undo' OR undoes IS NULL", name="only_undo_undoes"),
        UniqueConstraint("dag_id", "run_id"),
        # What the registrar takes next.
        Index("ix_execution_queue", "priority", "created_at", "id", postgresql_where=text("phase = 'queued'")),
        # What the reconciler looks at, and what counts against `max_running_executions`.
        Index("ix_execution_open", "phase", "id", postgresql_where=text("phase IN ('queued', 'running', 'paused')")),
        # The list, newest first (keyset pagination), and its filters.
        Index("ix_execution_created_at_id", "created_at", "id"),
        Index("ix_execution_phase_created_at", "phase", "created_at", "id"),
        Index("ix_execution_target", "target_cluster", "target_namespace", "target_kind", "target_name", "created_at"),
        Index(
            "ix_execution_fingerprint", "fingerprint", "created_at", postgresql_where=text("fingerprint IS NOT NULL")
        ),
        Index("ix_execution_actions", "actions", postgresql_using="gin"),
        Index("ix_execution_tracking_id", "tracking_id"),
        Index("ix_execution_workflow_digest", "workflow_digest"),
        Index("ix_execution_undoes", "undoes", postgresql_where=text("undoes IS NOT NULL")),
        Index(
            "uq_execution_actor_idempotency_key",
            "actor",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[ExecutionKind] = mapped_column(one_of(ExecutionKind, "kind"), server_default="plan")
    phase: Mapped[Phase] = mapped_column(one_of(Phase, "phase"), server_default="queued")
    outcome: Mapped[ExecutionOutcome | None] = mapped_column(one_of(ExecutionOutcome, "outcome"))
    reason: Mapped[str | None]
    round: Mapped[int] = mapped_column(server_default="1")
    """Counts how often a person has cleared it, from 1."""
    plan_hash: Mapped[str]
    workflow_digest: Mapped[str] = mapped_column(ForeignKey(f"{SCHEMA}.workflow.digest"))
    dag_id: Mapped[str]
    run_id: Mapped[str]
    bindings: Mapped[dict[str, Any]]
    plan: Mapped[dict[str, Any] | None]
    answer: Mapped[dict[str, Any] | None]
    """The AI's JSON as it came."""
    signal: Mapped[dict[str, Any] | None]
    fingerprint: Mapped[str | None]
    """The signal's."""
    tracking_id: Mapped[str]
    priority: Mapped[int] = mapped_column(SmallInteger, server_default="2")
    """0 (first) to 3."""
    confidence: Mapped[float | None]
    target_cluster: Mapped[str | None]
    target_kind: Mapped[str | None]
    target_namespace: Mapped[str | None]
    target_name: Mapped[str | None]
    clusters: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    """Further clusters that steps touch; a halt of any of them holds the execution in the queue."""
    actions: Mapped[list[str]] = mapped_column(server_default=text("'{}'"))
    actor: Mapped[str]
    approved_by: Mapped[str | None]
    idempotency_key: Mapped[str | None]
    request_digest: Mapped[str | None]
    """Of the request that the key came with: another body under the same key is a conflict."""
    undoes: Mapped[str | None] = mapped_column(ForeignKey(f"{SCHEMA}.execution.id"))
    adopted: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    registered_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]
    verdict: Mapped[dict[str, Any] | None]
    attempts_to_register: Mapped[int] = mapped_column(server_default="0")
    registration_error: Mapped[str | None]
    register_after: Mapped[datetime | None]
    """Not before this: a registration that failed waits, and does not stand in the way of others."""


STEP_STATES = (
    "pending",
    "waiting",
    "running",
    "verifying",
    "succeeded",
    "failed",
    "skipped",
    "not_reached",
    "unknown",
    "undone",
)
"""The values of `kubernaut.workflow.gate.StepState` (a test holds them equal; the store stays below the gate)."""


class StepRow(Base):
    """Where one step of one execution stands. Written by its trigger; the gate, the verdict and people read it."""

    __tablename__ = "step"
    __table_args__ = (
        CheckConstraint(f"state IN ({', '.join(repr(state) for state in STEP_STATES)})", name="state"),
        CheckConstraint("tries >= 0", name="tries"),
        CheckConstraint("round >= 1", name="round"),
        Index(
            "ix_step_open",
            "execution_id",
            postgresql_where=text("state IN ('pending', 'waiting', 'running', 'verifying')"),
        ),
    )

    execution_id: Mapped[str] = mapped_column(ForeignKey(f"{SCHEMA}.execution.id"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    """`s01`, … in the workflow."""
    step_id: Mapped[str]
    """The AI's own."""
    name: Mapped[str]
    action: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="pending")
    reason: Mapped[str | None]
    round: Mapped[int] = mapped_column(server_default="1")
    tries: Mapped[int] = mapped_column(server_default="0")
    next_try_at: Mapped[datetime | None]
    error_class: Mapped[ErrorClass | None]
    message: Mapped[str | None]
    outputs: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))
    evaluations: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    timeline: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    deadline_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    acted_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    undone_at: Mapped[datetime | None]


class JournalRow(Base):
    """One mutating request, written before it is sent. The truth of what was changed."""

    __tablename__ = "journal"
    __table_args__ = (
        ForeignKeyConstraint(["execution_id", "step_key"], [f"{SCHEMA}.step.execution_id", f"{SCHEMA}.step.key"]),
        # Also the index by execution and step; claiming twice is what it makes impossible.
        UniqueConstraint("execution_id", "step_key", "round", "request_no"),
        CheckConstraint("effect IN ('in_object', 'by_identity', 'external')", name="effect"),
        CheckConstraint("round >= 1 AND request_no >= 1", name="numbers"),
        CheckConstraint("status IN ('prepared', 'refused') OR sent_at IS NOT NULL", name="sent_at"),
        CheckConstraint("(status IN ('applied', 'refused', 'unknown')) = (done_at IS NOT NULL)", name="done_at"),
        Index("ix_journal_open", "execution_id", postgresql_where=text("status IN ('prepared', 'sent')")),
        Index("ix_journal_object", "cluster", "namespace", "kind", "name", "id"),
        Index("ix_journal_undo_of", "undo_of", postgresql_where=text("undo_of IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    execution_id: Mapped[str]
    step_key: Mapped[str]
    round: Mapped[int]
    request_no: Mapped[int]
    """Within the step's round, from 1."""
    effect: Mapped[str]
    cluster: Mapped[str | None]
    api_version: Mapped[str | None]
    kind: Mapped[str | None]
    namespace: Mapped[str | None]
    name: Mapped[str | None]
    uid: Mapped[str | None]
    summary: Mapped[str] = mapped_column(server_default="")
    fields: Mapped[list[Any]] = mapped_column(server_default=text("'[]'"))
    """[{pointer, before, after, stored}]; a field that did not exist has no `before` (jsonb holds no NUL)."""
    call: Mapped[dict[str, Any] | None]
    idempotency_key: Mapped[str | None]
    status: Mapped[JournalStatus] = mapped_column(one_of(JournalStatus, "status"), server_default="prepared")
    error_class: Mapped[ErrorClass | None]
    message: Mapped[str | None]
    response_status: Mapped[int | None]
    prepared_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    sent_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]
    undo_of: Mapped[int | None] = mapped_column(BigInteger, ForeignKey(f"{SCHEMA}.journal.id"))
    undone_by: Mapped[int | None] = mapped_column(BigInteger, ForeignKey(f"{SCHEMA}.journal.id"))


class RunRequestRow(Base):
    """A run that Airflow started itself, and the answer to its request to be adopted."""

    __tablename__ = "run_request"
    __table_args__ = (
        UniqueConstraint("dag_id", "run_id"),
        CheckConstraint("(state = 'open') = (answered_at IS NULL)", name="answered_at"),
        Index("ix_run_request_open", "id", postgresql_where=text("state = 'open'")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    dag_id: Mapped[str]
    run_id: Mapped[str]
    conf: Mapped[dict[str, Any]]
    actor: Mapped[str | None]
    state: Mapped[RequestState] = mapped_column(one_of(RequestState, "state"), server_default="open")
    answer: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    answered_at: Mapped[datetime | None]


class HaltRow(Base):
    """The emergency brake, pulled and (later) released. No cluster: all of them."""

    __tablename__ = "halt"
    __table_args__ = (
        CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="ended_by"),
        # One brake a cluster, and one for all: '' stands for all.
        Index("uq_halt_open", text("coalesce(cluster, '')"), unique=True, postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    cluster: Mapped[str | None]
    reason: Mapped[str]
    actor: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]
    end_reason: Mapped[str | None]


class AuditEventRow(Base):
    """Who did what, written in the transaction of the change itself. A trigger refuses UPDATE, DELETE and TRUNCATE."""

    __tablename__ = "audit_event"
    __table_args__ = (
        CheckConstraint("actor_kind IN ('user', 'system', 'airflow')", name="actor_kind"),
        Index("ix_audit_event_subject", "subject_kind", "subject_id", "id"),
        Index("ix_audit_event_tracking_id", "tracking_id", postgresql_where=text("tracking_id IS NOT NULL")),
        Index("ix_audit_event_at", "at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    actor_kind: Mapped[str]
    actor: Mapped[str]
    operation: Mapped[str]
    subject_kind: Mapped[str]
    subject_id: Mapped[str]
    tracking_id: Mapped[str | None]
    details: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))


class OutboxRow(Base):
    """Something to be sent after the commit; whoever sends it does so at least once. `dedup_key`: once only."""

    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_unsent", "id", postgresql_where=text("sent_at IS NULL")),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    kind: Mapped[str]
    dedup_key: Mapped[str | None] = mapped_column(unique=True)
    payload: Mapped[dict[str, Any]]
    sent_at: Mapped[datetime | None]
