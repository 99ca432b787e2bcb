"""The plan: what was proposed for one attempt, in our own form (`kubernaut.ai/plan/v1`).

Every dialect in which an AI may answer is translated into these models; validation, the card, the compiler and the REST
API read nothing else. Models are strict and frozen: an unknown field is an error, and a plan never changes once built.
This module holds shapes and what can be said of one field alone; what needs two fields, the catalogue of actions, the
policy or a graph is in `kubernaut.plan.validate`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool

PLAN_VERSION = "kubernaut.ai/plan/v1"
MAX_STEPS = 100

Identifier = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$")]
Seconds = Annotated[float, Field(gt=0, le=86_400, strict=True, description="seconds")]
Expression = Annotated[str, Field(min_length=1, max_length=1_000, description="CEL")]
Text = Annotated[str, Field(max_length=16_384)]
Params = dict[str, JsonValue]


class Model(BaseModel):
    """Base of all plan models."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Risk(StrEnum):
    NONE = "none"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Priority(StrEnum):
    """P0 first. The registrar starts what waits in this order."""

    P0 = "P0"
    P1 = "P1"
    P2 = "P2"
    P3 = "P3"


class FailurePolicy(StrEnum):
    TERMINATE = "terminate"
    """Once a step failed and nothing can save it, no further step is claimed; running ones finish."""
    CONTINUE = "continue"
    """Independent branches go on."""


class OnFailure(StrEnum):
    COMPENSATE = "compensate"
    KEEP = "keep"


class EdgeOutcome(StrEnum):
    """The outcome of another step that an edge waits for (the table of the gate)."""

    SUCCESS = "success"
    STAGE = "stage"
    FAILURE = "failure"
    END = "end"


class Target(Model):
    """One Kubernetes object. What is absent is taken from the plan's target, then from the signal; never guessed."""

    cluster: str | None = Field(default=None, max_length=253)
    kind: str | None = Field(default=None, max_length=63)
    namespace: str | None = Field(default=None, max_length=63)
    name: str | None = Field(default=None, max_length=253)


class Dependency(Model):
    step: Identifier
    outcome: EdgeOutcome = EdgeOutcome.SUCCESS


class RetryStrategy(StrEnum):
    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class Retry(Model):
    """The step's own retries. Which error classes are tried again at all is a table in `kubernaut.execution.retry`."""

    max_attempts: Annotated[int, Field(ge=1, le=20, strict=True)] = 3
    """Tries in all, the first one included."""
    strategy: RetryStrategy = RetryStrategy.EXPONENTIAL
    delay: Seconds = 2.0
    """Seconds before the second try."""
    cap: Seconds = 60.0
    """No delay is longer than this, in seconds."""
    jitter: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.2
    """Share of the delay by which it is varied at random, both ways."""


class Comparison(StrEnum):
    LT = "<"
    LE = "<="
    EQ = "=="
    NE = "!="
    GE = ">="
    GT = ">"


class ObjectCondition(Model):
    """CEL over one object (`object`), read from the cluster."""

    kind: Literal["object"] = "object"
    target: Target
    expression: Expression


class ListCondition(Model):
    """CEL over the list of objects (`objects`) of one kind in one namespace that the selectors leave."""

    kind: Literal["list"] = "list"
    target: Target
    label_selector: Annotated[str, Field(max_length=1_000)] | None = None
    field_selector: Annotated[str, Field(max_length=1_000)] | None = None
    expression: Expression


class NamedCondition(Model):
    """A condition of the registry, by name and version: `workload_available`, `rollout_complete`, `no_crash_loops`, …"""

    kind: Literal["named"] = "named"
    check: Annotated[str, Field(max_length=100, pattern=r"^[a-z][a-z0-9_]*$")]
    version: Annotated[int, Field(ge=1, strict=True)] = 1
    target: Target
    params: Params = Field(default_factory=dict)


class MetricCondition(Model):
    """A measured figure against a threshold. Nothing reads metrics yet: it is listed in `unchecked`."""

    kind: Literal["metric"] = "metric"
    metric: Annotated[str, Field(min_length=1, max_length=500)]
    comparison: Comparison
    value: Annotated[float, Field(strict=True)]
    """In the base unit: ratios as 0..1, durations in seconds, sizes in bytes."""
    unit: Literal["ratio", "seconds", "bytes", "count", "number"] = "number"


class QueryCondition(Model):
    """Something outside the cluster's API that a later executor reads (a URL, a PromQL expression)."""

    kind: Literal["query"] = "query"
    source: Literal["http", "promql", "logs", "top"]
    query: Annotated[str, Field(min_length=1, max_length=2_000)]


class StepsCondition(Model):
    """CEL over the plan alone: `signal`, `target`, `vars`, `steps`, `now`."""

    kind: Literal["steps"] = "steps"
    expression: Expression


Check = Annotated[
    ObjectCondition | ListCondition | NamedCondition | MetricCondition | QueryCondition | StepsCondition,
    Field(discriminator="kind"),
]


class PostCondition(Model):
    """A check that must become true, after a step or after the whole plan; mandatory unless `optional`."""

    name: Annotated[str, Field(min_length=1, max_length=500)]
    check: Check
    optional: StrictBool = False
    timeout: Seconds | None = None
    """How long it may take to become true; the setting `post_condition_timeout` where absent."""
    stable_for: Annotated[float, Field(ge=0, le=3_600, strict=True)] = 0.0
    """Seconds for which it must hold without a break."""


class RollbackTrigger(Model):
    """When its check becomes true while the plan settles, the outcome is failure, whatever else holds."""

    name: Annotated[str, Field(min_length=1, max_length=500)]
    check: Check


class AutomaticUndo(Model):
    """Restore the fields that the step set."""

    kind: Literal["automatic"] = "automatic"


class ActionUndo(Model):
    """Run another action instead."""

    kind: Literal["action"] = "action"
    action: Annotated[str, Field(max_length=100)]
    params: Params = Field(default_factory=dict)


class NoUndo(Model):
    """The step cannot be taken back, and this is why."""

    kind: Literal["none"] = "none"
    reason: Annotated[str, Field(min_length=1, max_length=1_000)]


Undo = Annotated[AutomaticUndo | ActionUndo | NoUndo, Field(discriminator="kind")]


class Step(Model):
    """One node of a plan: an action, when it runs, how often it is tried, how it is proved and taken back."""

    id: Identifier
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """For people; "Scale checkout to 5" is made from the action where it is absent."""
    action: Annotated[str, Field(min_length=1, max_length=100)]
    params: Params = Field(default_factory=dict)
    """Each value is a literal or `{"$cel": "…"}`; strings are never templates."""
    target: Target | None = None
    depends_on: tuple[Dependency, ...] = ()
    when: Expression | None = None
    optional: StrictBool = False
    retry: Retry | None = None
    timeout: Seconds | None = None
    post_conditions: Annotated[tuple[PostCondition, ...], Field(max_length=20)] = ()
    undo: Undo | None = None
    """Absent: automatic where the action's effect can be undone, else none with the action's own reason."""
    requires_approval: StrictBool = False
    description: Text | None = None


class Reasoning(Model):
    """The AI's own words. Shown to people in fenced blocks, never evaluated."""

    summary: Text | None = None
    notes: Annotated[dict[str, Text], Field(max_length=50)] = Field(default_factory=dict)


class Signal(Model):
    """What arrived. Labels and annotations are foreign text."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    status: Literal["firing", "resolved"] = "firing"
    fingerprint: Annotated[str, Field(max_length=128)] | None = None
    starts_at: Annotated[str, Field(max_length=64)] | None = None
    severity: Annotated[str, Field(max_length=64)] | None = None
    target: Target = Field(default_factory=Target)
    labels: Annotated[dict[str, Annotated[str, Field(max_length=4_096)]], Field(max_length=200)] = Field(
        default_factory=dict
    )
    annotations: Annotated[dict[str, Text], Field(max_length=100)] = Field(default_factory=dict)


class PlanBody(Model):
    """What a plan and each of its alternatives have in common."""

    confidence: Annotated[float, Field(ge=0, le=1, strict=True)] | None = None
    reasoning: Reasoning = Field(default_factory=Reasoning)
    risk: Risk | None = None
    target: Target = Field(default_factory=Target)
    variables: Annotated[dict[Identifier, JsonValue], Field(max_length=100)] = Field(default_factory=dict)
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=MAX_STEPS)]
    success_criteria: Annotated[tuple[PostCondition, ...], Field(max_length=50)] = ()
    rollback_triggers: Annotated[tuple[RollbackTrigger, ...], Field(max_length=50)] = ()
    failure_policy: FailurePolicy = FailurePolicy.TERMINATE
    on_failure: OnFailure = OnFailure.COMPENSATE
    timeout: Seconds | None = None


class Alternative(PlanBody):
    """A further plan, best first; never run unless a person chooses it."""

    id: Identifier


class Plan(PlanBody):
    """One proposal of several steps. The version field is mandatory: it is how our own form is recognised."""

    version: Literal["kubernaut.ai/plan/v1"]
    id: Identifier
    tracking_id: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:/-]+$")] | None = None
    """One that comes in wins over a minted one."""
    signal: Signal | None = None
    priority: Priority = Priority.P2
    alternatives: Annotated[tuple[Alternative, ...], Field(max_length=10)] = ()


def plan_schema() -> dict[str, Any]:
    """The JSON Schema of a plan in our own form (`Any`: a JSON document)."""
    schema = Plan.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["$id"] = "https://kubernaut.ai/schemas/plan/v1"
    return schema
