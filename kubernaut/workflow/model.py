"""A workflow (the reusable shape of a plan) and the bindings of one execution (everything else).

A workflow holds no text of the AI: canonical step keys, action names, edges, which steps have post-conditions, policies.
Its canonical JSON is hashed, and the hash is its identity and its DAG's. Bindings hold what was lifted out.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import Field, JsonValue

from kubernaut.plan.model import (
    EdgeOutcome,
    FailurePolicy,
    Model,
    OnFailure,
    Params,
    PostCondition,
    Priority,
    Retry,
    RollbackTrigger,
    Signal,
    Target,
    Undo,
)


class Edge(Model):
    """`upstream` (a step key) must have reached `outcome`."""

    upstream: str
    outcome: EdgeOutcome


class WorkflowStep(Model):
    """One node of the shape. `key` is `s01`, `s02`, … in canonical order."""

    key: str
    action: str
    edges: tuple[Edge, ...] = ()
    verified: bool = False
    """A PostConditionSensor follows the step."""


class Workflow(Model):
    """The shape. Two plans of equal shape have equal canonical JSON."""

    steps: tuple[WorkflowStep, ...]
    failure_policy: FailurePolicy
    kind: Literal["plan", "undo"] = "plan"
    placement: Literal["triggerer", "worker"] = "triggerer"
    factory_version: int

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON, hex."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json"))).hexdigest()

    @property
    def dag_id(self) -> str:
        """Readable first: its actions in short, then the hash."""
        verbs = list(dict.fromkeys(step.action.rpartition(".")[2] for step in self.steps))
        short = "-".join(verbs[:3]) + (f"-and-{len(verbs) - 3}-more" if len(verbs) > 3 else "")
        kind = "" if self.kind == "plan" else f"{self.kind}-"
        return f"kn.{kind}{short[:80]}.{self.digest[:16]}"

    def step(self, key: str) -> WorkflowStep:
        return next(step for step in self.steps if step.key == key)


class StepBinding(Model):
    """What one step of one execution is called, does, and is proved by."""

    id: str
    """The AI's own step id."""
    name: str
    params: Params = Field(default_factory=dict)
    target: Target = Field(default_factory=Target)
    when: str | None = None
    optional: bool = False
    retry: Retry
    timeout: float
    post_conditions: tuple[PostCondition, ...] = ()
    undo: Undo
    requires_approval: bool = False


class Bindings(Model):
    """Everything of one execution that is not shape. `steps` by step key."""

    plan_id: str
    signal: Signal | None = None
    target: Target
    variables: dict[str, JsonValue] = Field(default_factory=dict)
    steps: dict[str, StepBinding]
    success_criteria: tuple[PostCondition, ...] = ()
    rollback_triggers: tuple[RollbackTrigger, ...] = ()
    unchecked: tuple[str, ...] = ()
    """Names of criteria and triggers that nothing could read; approved, they count as optional."""
    on_failure: OnFailure = OnFailure.COMPENSATE
    priority: Priority = Priority.P2
    timeout: float

    def key_of(self, step_id: str) -> str:
        """The step key of the AI's step id. Raises `KeyError`."""
        for key, step in self.steps.items():
            if step.id == step_id:
                return key
        raise KeyError(step_id)


def canonical_json(value: Any) -> bytes:
    """Bytes that are equal exactly when the JSON values are (`Any`: a JSON value)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def plan_hash(workflow: Workflow, bindings: Bindings) -> str:
    """What an approval is bound to: SHA-256 over workflow and bindings, priority left out (it may change in the queue)."""
    document = {
        "workflow": workflow.model_dump(mode="json"),
        "bindings": bindings.model_dump(mode="json", exclude={"priority"}),
    }
    return hashlib.sha256(canonical_json(document)).hexdigest()
