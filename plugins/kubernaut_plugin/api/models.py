"""The documents of the REST API: what bodies may hold and what answers look like. `docs/openapi.json` is made from them.

Times are RFC 3339 in UTC, durations are seconds. Answers only ever gain members.
"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from kubernaut.errors import ErrorClass, Fault
from kubernaut.examination import ExaminedStep, HumanReason, Outcome, ProvenanceEntry, ResolvedTarget
from kubernaut.execution.phases import ExecutionOutcome, Phase
from kubernaut.plan.model import Priority
from kubernaut.store.tables import ExecutionKind, JournalStatus

Reason = Annotated[str, Field(min_length=1, max_length=2_000, pattern=r"\S")]
ClusterName = Annotated[str, Field(min_length=1, max_length=253)]


class Body(BaseModel):
    """Base of what is sent to us: an unknown member is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Answer(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


# --- bodies


class ValidateBody(Body):
    """A plan to look at."""

    plan: JsonValue
    """The AI's answer in any of its forms, as a JSON value or as a string that holds JSON."""
    signal: JsonValue = None
    """The alert that it answers."""


class SubmitBody(Body):
    """A plan to start."""

    plan: JsonValue
    """The AI's answer in any of its forms, as a JSON value or as a string that holds JSON."""
    signal: JsonValue = None
    """The alert that it answers."""
    priority: Priority | None = None
    """Wins over the plan's."""
    approve: Annotated[str, Field(max_length=128)] | None = None
    """The hash of exactly this plan with these values, from the 409 that came before: the caller approves it."""
    tracking_id: Annotated[str, Field(max_length=128)] | None = None
    """Wins over the plan's; the header `X-Tracking-Id` says the same."""


class UndoBody(Body):
    reason: Reason | None = None
    """Why, for the audit log."""


class HaltBody(Body):
    cluster: ClusterName | None = None
    """Only this cluster; all of them where absent."""
    reason: Reason
    """Everybody who meets the halt reads it."""


class ReleaseBody(Body):
    cluster: ClusterName | None = None
    """The halt of this cluster; the one for all where absent."""
    reason: Reason | None = None


# --- answers


class Validated(Answer):
    """What a plan amounts to; `kubernaut plan validate --json` prints the same. Nothing was registered or changed."""

    outcome: Outcome
    dialect: str | None
    confidence: float | None
    approval_required: bool
    human_reasons: list[HumanReason]
    approval_reasons: list[HumanReason]
    steps: list[ExaminedStep]
    unchecked: list[str]
    """What only a cluster or a metric can tell."""
    warnings: list[str]
    faults: list[Fault]
    """Pointers are into the plan as it was sent."""
    hash: str | None
    """What an approval names; null where there is nothing to run."""
    dag_id: str | None
    provenance: list[ProvenanceEntry] | None = None
    """Where each leaf of the answer went (`?provenance=true`)."""
    card: str | None = None
    """The plan for people: graph, targets, changes, undo, proof (`?card=true`)."""


class Links(Answer):
    self: str
    """This document's address on this server."""
    airflow: str
    """The run in Airflow's UI; it is there once the execution is registered."""


class Accepted(Answer):
    """It is in the store and will be started; nothing that was accepted is lost."""

    execution_id: str
    dag_id: str
    run_id: str
    tracking_id: str
    created: bool
    """False where the same request with this `Idempotency-Key` had created it before."""
    links: Links


class UndoAccepted(Accepted):
    """The undo, which is an execution too."""

    undoes: str
    cannot_be_undone: dict[str, str]
    """Names of steps that changed something and cannot be taken back, with the reason."""


class Halt(Answer):
    id: int
    cluster: str | None
    """Null: all clusters."""
    reason: str
    actor: str
    created_at: datetime
    ended_at: datetime | None = None
    ended_by: str | None = None
    end_reason: str | None = None


class Halts(Answer):
    halts: list[Halt]
    """Those in force, oldest first."""


class Summary(Answer):
    """One execution in a list."""

    id: str
    kind: ExecutionKind
    phase: Phase
    outcome: ExecutionOutcome | None
    reason: str | None
    round: int
    """Counts how often a person has cleared it, from 1."""
    dag_id: str
    run_id: str
    tracking_id: str
    priority: Priority
    confidence: float | None
    target: ResolvedTarget
    actions: list[str]
    actor: str
    approved_by: str | None
    undoes: str | None
    adopted: bool
    """Airflow started the run itself."""
    plan_hash: str
    created_at: datetime
    registered_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    deadline_at: datetime | None
    cancel_requested_at: datetime | None
    registration_error: str | None
    links: Links


class Page(Answer):
    executions: list[Summary]
    """Newest first."""
    next_cursor: str | None
    """For `?cursor=`; null on the last page."""
    halts: list[Halt]
    """Those in force: they explain why nothing moves."""


class Progress(Answer):
    total: int
    done: int
    """Steps in a final state."""
    percent: int
    current: list[str]
    """Names of the steps that act, wait or are being verified now."""


class WaitsFor(Answer):
    step: str
    """The other step's key."""
    outcome: str


class StepDocument(Answer):
    """One step: what it is, where it stands, what it brought."""

    key: str
    id: str
    """The AI's own."""
    name: str
    action: str
    target: ResolvedTarget
    optional: bool
    when: str | None
    depends_on: list[WaitsFor]
    state: str
    reason: str | None = None
    round: int = 1
    tries: int = 0
    next_try_at: datetime | None = None
    error_class: ErrorClass | None = None
    message: str | None = None
    outputs: dict[str, JsonValue] = Field(default_factory=dict)
    evaluations: list[JsonValue] = Field(default_factory=list)
    timeline: list[JsonValue] = Field(default_factory=list)
    timeout: float
    """Seconds."""
    deadline_at: datetime | None = None
    started_at: datetime | None = None
    acted_at: datetime | None = None
    ended_at: datetime | None = None
    undone_at: datetime | None = None
    seconds: float | None = None
    """From its start to its end, or until now."""


class JournalDocument(Answer):
    """One request that changed something, or was to."""

    id: int
    step: str
    round: int
    request_no: int
    effect: str
    status: JournalStatus
    cluster: str | None
    api_version: str | None
    kind: str | None
    namespace: str | None
    name: str | None
    uid: str | None
    summary: str
    fields: list[dict[str, Any]]
    """[{pointer, before, after, stored}], large values cut, values of Secrets hidden."""
    call: dict[str, Any] | None
    """Of a call to a receiver: method and host."""
    error_class: ErrorClass | None
    message: str | None
    response_status: int | None
    prepared_at: datetime
    sent_at: datetime | None
    done_at: datetime | None
    undo_of: int | None
    undone_by: int | None


class UndoSummary(Answer):
    id: str
    phase: Phase
    outcome: ExecutionOutcome | None
    actor: str
    created_at: datetime
    ended_at: datetime | None


class Details(Summary):
    """One execution, whole."""

    progress: Progress
    steps: list[StepDocument]
    journal: list[JournalDocument]
    verdict: JsonValue
    unchecked: list[str]
    """Criteria and triggers that nothing could read."""
    undos: list[UndoSummary]
    """The executions that take, or took, this one back."""
    undone_by: str | None
    """The last of them that completed."""
    halts: list[Halt]
    """Those in force that hold this execution."""


# --- health


class StoreHealth(Answer):
    reachable: bool
    schema_version: str | None = None
    schema_expected: str
    error: str | None = None
    latency_ms: float | None = None


class LoopHealth(Answer):
    lag: float | None
    """Seconds since its last round that went well; null before the first."""
    interval: float
    """Longest time between two rounds, in seconds."""
    last_error: str | None
    healthy: bool


class PartHealth(Answer):
    """One part of Airflow, as Airflow's own health has it."""

    status: str | None
    latest_heartbeat: datetime | None
    healthy: bool


class ClusterHealth(Answer):
    reachable: bool
    version: str | None = None
    latency_ms: float | None = None
    error: str | None = None


class Health(Answer):
    status: str
    """`ok`, or `degraded`: then `problems` says why. (503 where the store is away.)"""
    problems: list[str]
    store: StoreHealth
    registrar: LoopHealth | None
    reconciler: LoopHealth | None
    queued: int | None
    oldest_queued_seconds: float | None
    running: int | None
    scheduler: PartHealth
    triggerer: PartHealth
    dag_processor: PartHealth
    clusters: dict[str, ClusterHealth]
    halts: list[Halt]


class Alive(Answer):
    status: str
