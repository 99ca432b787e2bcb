"""The store's first tables.

The DDL is written out, not taken from the models: a migration stays what it was when the models move on.

Revision ID: 0001
Revises:
Create Date: 2026-11-24
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE kubernaut.workflow (
    digest TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    document JSONB NOT NULL,
    factory_version INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    registered_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_workflow PRIMARY KEY (digest),
    CONSTRAINT ck_workflow_digest_hex CHECK (digest ~ '^[0-9a-f]{64}$'),
    CONSTRAINT uq_workflow_dag_id UNIQUE (dag_id)
);
CREATE INDEX ix_workflow_digest_prefix ON kubernaut.workflow (left(digest, 1));
CREATE INDEX ix_workflow_last_used_at ON kubernaut.workflow (last_used_at);

CREATE TABLE kubernaut.execution (
    id TEXT NOT NULL,
    kind VARCHAR(32) DEFAULT 'plan' NOT NULL,
    phase VARCHAR(32) DEFAULT 'queued' NOT NULL,
    outcome VARCHAR(32),
    reason TEXT,
    round INTEGER DEFAULT 1 NOT NULL,
    plan_hash TEXT NOT NULL,
    workflow_digest TEXT NOT NULL,
    dag_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    bindings JSONB NOT NULL,
    plan JSONB,
    answer JSONB,
    signal JSONB,
    fingerprint TEXT,
    tracking_id TEXT NOT NULL,
    priority SMALLINT DEFAULT 2 NOT NULL,
    confidence DOUBLE PRECISION,
    target_cluster TEXT,
    target_kind TEXT,
    target_namespace TEXT,
    target_name TEXT,
    clusters TEXT[] DEFAULT '{}' NOT NULL,
    actions TEXT[] DEFAULT '{}' NOT NULL,
    actor TEXT NOT NULL,
    approved_by TEXT,
    idempotency_key TEXT,
    request_digest TEXT,
    undoes TEXT,
    adopted BOOLEAN DEFAULT false NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    registered_at TIMESTAMP WITH TIME ZONE,
    started_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    deadline_at TIMESTAMP WITH TIME ZONE,
    cancel_requested_at TIMESTAMP WITH TIME ZONE,
    verdict JSONB,
    attempts_to_register INTEGER DEFAULT 0 NOT NULL,
    registration_error TEXT,
    register_after TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_execution PRIMARY KEY (id),
    CONSTRAINT ck_execution_priority CHECK (priority BETWEEN 0 AND 3),
    CONSTRAINT ck_execution_round CHECK (round >= 1),
    CONSTRAINT ck_execution_ended_when_terminal
        CHECK ((phase IN ('completed', 'failed', 'cancelled')) = (ended_at IS NOT NULL)),
    CONSTRAINT ck_execution_outcome_of_phase
        CHECK (CASE phase
            WHEN 'completed' THEN outcome IS NOT NULL AND outcome IN ('success', 'partial_success')
            WHEN 'failed' THEN outcome IS NOT NULL AND outcome = 'failure'
            WHEN 'cancelled' THEN outcome IS NULL OR outcome = 'failure'
            ELSE outcome IS NULL END),
    CONSTRAINT ck_execution_only_undo_undoes CHECK (kind = 'undo' OR undoes IS NULL),
    CONSTRAINT uq_execution_dag_id_run_id UNIQUE (dag_id, run_id),
    CONSTRAINT ck_execution_kind CHECK (kind IN ('plan', 'undo', 'rehearsal')),
    CONSTRAINT ck_execution_phase
        CHECK (phase IN ('queued', 'running', 'paused', 'completed', 'failed', 'cancelled')),
    CONSTRAINT ck_execution_outcome CHECK (outcome IN ('success', 'partial_success', 'failure')),
    CONSTRAINT fk_execution_workflow_digest_workflow
        FOREIGN KEY(workflow_digest) REFERENCES kubernaut.workflow (digest),
    CONSTRAINT fk_execution_undoes_execution FOREIGN KEY(undoes) REFERENCES kubernaut.execution (id)
);
CREATE INDEX ix_execution_actions ON kubernaut.execution USING gin (actions);
CREATE INDEX ix_execution_created_at_id ON kubernaut.execution (created_at, id);
CREATE INDEX ix_execution_fingerprint
    ON kubernaut.execution (fingerprint, created_at)
    WHERE fingerprint IS NOT NULL;
CREATE INDEX ix_execution_open ON kubernaut.execution (phase, id) WHERE phase IN ('queued', 'running', 'paused');
CREATE INDEX ix_execution_phase_created_at ON kubernaut.execution (phase, created_at, id);
CREATE INDEX ix_execution_queue ON kubernaut.execution (priority, created_at, id) WHERE phase = 'queued';
CREATE INDEX ix_execution_target
    ON kubernaut.execution (target_cluster, target_namespace, target_kind, target_name, created_at);
CREATE INDEX ix_execution_tracking_id ON kubernaut.execution (tracking_id);
CREATE INDEX ix_execution_undoes ON kubernaut.execution (undoes) WHERE undoes IS NOT NULL;
CREATE INDEX ix_execution_workflow_digest ON kubernaut.execution (workflow_digest);
CREATE UNIQUE INDEX uq_execution_actor_idempotency_key
    ON kubernaut.execution (actor, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

CREATE TABLE kubernaut.step (
    execution_id TEXT NOT NULL,
    key TEXT NOT NULL,
    step_id TEXT NOT NULL,
    name TEXT NOT NULL,
    action TEXT NOT NULL,
    state TEXT DEFAULT 'pending' NOT NULL,
    reason TEXT,
    round INTEGER DEFAULT 1 NOT NULL,
    tries INTEGER DEFAULT 0 NOT NULL,
    next_try_at TIMESTAMP WITH TIME ZONE,
    error_class VARCHAR(32),
    message TEXT,
    outputs JSONB DEFAULT '{}' NOT NULL,
    evaluations JSONB DEFAULT '[]' NOT NULL,
    timeline JSONB DEFAULT '[]' NOT NULL,
    deadline_at TIMESTAMP WITH TIME ZONE,
    started_at TIMESTAMP WITH TIME ZONE,
    acted_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    undone_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_step PRIMARY KEY (execution_id, key),
    CONSTRAINT ck_step_state
        CHECK (state IN ('pending', 'waiting', 'running', 'verifying', 'succeeded', 'failed',
            'skipped', 'not_reached', 'unknown', 'undone')),
    CONSTRAINT ck_step_tries CHECK (tries >= 0),
    CONSTRAINT ck_step_round CHECK (round >= 1),
    CONSTRAINT fk_step_execution_id_execution FOREIGN KEY(execution_id) REFERENCES kubernaut.execution (id),
    CONSTRAINT ck_step_error_class
        CHECK (error_class IN ('timeout', 'network', 'throttled', 'conflict', 'precondition',
            'validation', 'authorization', 'not_found', 'post_condition', 'unknown'))
);
CREATE INDEX ix_step_open
    ON kubernaut.step (execution_id)
    WHERE state IN ('pending', 'waiting', 'running', 'verifying');

CREATE TABLE kubernaut.journal (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY,
    execution_id TEXT NOT NULL,
    step_key TEXT NOT NULL,
    round INTEGER NOT NULL,
    request_no INTEGER NOT NULL,
    effect TEXT NOT NULL,
    cluster TEXT,
    api_version TEXT,
    kind TEXT,
    namespace TEXT,
    name TEXT,
    uid TEXT,
    summary TEXT DEFAULT '' NOT NULL,
    fields JSONB DEFAULT '[]' NOT NULL,
    call JSONB,
    idempotency_key TEXT,
    status VARCHAR(32) DEFAULT 'prepared' NOT NULL,
    error_class VARCHAR(32),
    message TEXT,
    response_status INTEGER,
    prepared_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    done_at TIMESTAMP WITH TIME ZONE,
    undo_of BIGINT,
    undone_by BIGINT,
    CONSTRAINT pk_journal PRIMARY KEY (id),
    CONSTRAINT fk_journal_execution_id_step_key_step
        FOREIGN KEY(execution_id, step_key) REFERENCES kubernaut.step (execution_id, key),
    CONSTRAINT uq_journal_execution_id_step_key_round_request_no UNIQUE (execution_id, step_key, round, request_no),
    CONSTRAINT ck_journal_effect CHECK (effect IN ('in_object', 'by_identity', 'external')),
    CONSTRAINT ck_journal_numbers CHECK (round >= 1 AND request_no >= 1),
    CONSTRAINT ck_journal_sent_at CHECK (status IN ('prepared', 'refused') OR sent_at IS NOT NULL),
    CONSTRAINT ck_journal_done_at CHECK ((status IN ('applied', 'refused', 'unknown')) = (done_at IS NOT NULL)),
    CONSTRAINT ck_journal_status CHECK (status IN ('prepared', 'sent', 'applied', 'refused', 'unknown')),
    CONSTRAINT ck_journal_error_class
        CHECK (error_class IN ('timeout', 'network', 'throttled', 'conflict', 'precondition',
            'validation', 'authorization', 'not_found', 'post_condition', 'unknown')),
    CONSTRAINT fk_journal_undo_of_journal FOREIGN KEY(undo_of) REFERENCES kubernaut.journal (id),
    CONSTRAINT fk_journal_undone_by_journal FOREIGN KEY(undone_by) REFERENCES kubernaut.journal (id)
);
CREATE INDEX ix_journal_object ON kubernaut.journal (cluster, namespace, kind, name, id);
CREATE INDEX ix_journal_open ON kubernaut.journal (execution_id) WHERE status IN ('prepared', 'sent');
CREATE INDEX ix_journal_undo_of ON kubernaut.journal (undo_of) WHERE undo_of IS NOT NULL;

CREATE TABLE kubernaut.run_request (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY,
    dag_id TEXT NOT NULL,
    run_id TEXT NOT NULL,
    conf JSONB NOT NULL,
    actor TEXT,
    state VARCHAR(32) DEFAULT 'open' NOT NULL,
    answer JSONB,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    answered_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_run_request PRIMARY KEY (id),
    CONSTRAINT uq_run_request_dag_id_run_id UNIQUE (dag_id, run_id),
    CONSTRAINT ck_run_request_answered_at CHECK ((state = 'open') = (answered_at IS NULL)),
    CONSTRAINT ck_run_request_state CHECK (state IN ('open', 'accepted', 'refused'))
);
CREATE INDEX ix_run_request_open ON kubernaut.run_request (id) WHERE state = 'open';

CREATE TABLE kubernaut.halt (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY,
    cluster TEXT,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    ended_by TEXT,
    end_reason TEXT,
    CONSTRAINT pk_halt PRIMARY KEY (id),
    CONSTRAINT ck_halt_ended_by CHECK ((ended_at IS NULL) = (ended_by IS NULL))
);
CREATE UNIQUE INDEX uq_halt_open ON kubernaut.halt (coalesce(cluster, '')) WHERE ended_at IS NULL;

CREATE TABLE kubernaut.audit_event (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    operation TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    tracking_id TEXT,
    details JSONB DEFAULT '{}' NOT NULL,
    CONSTRAINT pk_audit_event PRIMARY KEY (id),
    CONSTRAINT ck_audit_event_actor_kind CHECK (actor_kind IN ('user', 'system', 'airflow'))
);
CREATE INDEX ix_audit_event_at ON kubernaut.audit_event (at);
CREATE INDEX ix_audit_event_subject ON kubernaut.audit_event (subject_kind, subject_id, id);
CREATE INDEX ix_audit_event_tracking_id ON kubernaut.audit_event (tracking_id) WHERE tracking_id IS NOT NULL;

CREATE TABLE kubernaut.outbox (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    kind TEXT NOT NULL,
    dedup_key TEXT,
    payload JSONB NOT NULL,
    sent_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_outbox PRIMARY KEY (id),
    CONSTRAINT uq_outbox_dedup_key UNIQUE (dedup_key)
);
CREATE INDEX ix_outbox_unsent ON kubernaut.outbox (id) WHERE sent_at IS NULL;
"""

APPEND_ONLY = """
CREATE FUNCTION kubernaut.refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit events are append-only: % is refused', TG_OP USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_event_append_only BEFORE UPDATE OR DELETE ON kubernaut.audit_event
    FOR EACH ROW EXECUTE FUNCTION kubernaut.refuse_audit_change();
CREATE TRIGGER audit_event_no_truncate BEFORE TRUNCATE ON kubernaut.audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION kubernaut.refuse_audit_change();
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(APPEND_ONLY)


def downgrade() -> None:
    for table in ("outbox", "audit_event", "halt", "run_request", "journal", "step", "execution", "workflow"):
        op.execute(f"DROP TABLE kubernaut.{table}")
    op.execute("DROP FUNCTION kubernaut.refuse_audit_change()")
