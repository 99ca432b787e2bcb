"""What an action is: its name, effect class, parameters, and the executor that carries it out.

The engine, not the author of an action, keeps the promise of section "changing a cluster exactly once": an executor only
*describes* changes (after reading), the step runner claims, sends and records them. Nothing here knows Airflow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, JsonValue

from kubernaut.cluster.changes import ABSENT as ABSENT
from kubernaut.cluster.changes import FieldChange as FieldChange
from kubernaut.cluster.changes import ObjectPatch as ObjectPatch
from kubernaut.cluster.objects import ObjectRef
from kubernaut.errors import StepFailure as StepFailure
from kubernaut.plan.model import Check, Risk, Target


class EffectClass(StrEnum):
    """How an action touches the world, and so what a repeat of it means."""

    IN_OBJECT = "in_object"
    """Fields of an object are set to absolute values; a repeat compares."""
    BY_IDENTITY = "by_identity"
    """An object is created, deleted or evicted; a repeat finds it done."""
    EXTERNAL = "external"
    """A call outside the cluster; sent at most once unless the receiver honours the idempotency key."""
    READ_ONLY = "read_only"
    """Any number of times."""


class ActionParams(BaseModel):
    """Base of parameter models: strict about names, lenient about nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class NoParams(ActionParams):
    """An action without parameters."""


@dataclass(frozen=True, kw_only=True)
class ActionSpec:
    """The registry's entry for one action.

    :param name: `family.verb`, e.g. `kubernetes.scale`
    :param meaning: one line: what it does
    :param aliases: other names, snake_case; kebab-case and VerbNoun forms of each are found by themselves
    :param params: the model of its parameters; None while no executor is installed (parameters are kept as given)
    :param param_aliases: other names of a parameter → its name here (`desired_replicas` → `replicas`)
    :param target_kinds: kinds of object it can act on; empty where it has no target
    :param verbs: what the cluster's RBAC must allow, as `verb group/resource`
    :param undo_reason: why it cannot be undone; None where it can
    """

    name: str
    meaning: str
    effect: EffectClass
    aliases: tuple[str, ...] = ()
    params: type[ActionParams] | None = None
    param_aliases: Mapping[str, str] = field(default_factory=dict)
    target_kinds: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    risk: Risk = Risk.MEDIUM
    undo_reason: str | None = None
    default_timeout: float = 300.0

    @property
    def installed(self) -> bool:
        """Whether an executor carries it out here."""
        return self.params is not None

    @property
    def changes_cluster(self) -> bool:
        return self.effect in (EffectClass.IN_OBJECT, EffectClass.BY_IDENTITY)


@dataclass(frozen=True, kw_only=True)
class ExternalCall:
    """One call to a receiver outside the cluster (`EXTERNAL`)."""

    method: str
    url: str
    body: JsonValue
    headers: Mapping[str, str] = field(default_factory=dict)
    idempotent: bool = False
    """The receiver is known to honour `Idempotency-Key`."""
    summary: str = ""


Change = ObjectPatch | ExternalCall


@dataclass(frozen=True, kw_only=True)
class ActionPlan:
    """What an executor decided after reading: changes in order (none = nothing to do) and the step's outputs."""

    changes: tuple[Change, ...] = ()
    outputs: Mapping[str, JsonValue] = field(default_factory=dict)
    summary: str = ""


class ActionContext(Protocol):
    """What an executor may use. Reads only; changing is the engine's."""

    @property
    def target(self) -> Target: ...
    @property
    def tracking_id(self) -> str: ...
    @property
    def execution_id(self) -> str: ...
    @property
    def step_id(self) -> str: ...

    async def get(self, ref: ObjectRef) -> Mapping[str, Any]:
        """Read one object. Raises `StepFailure(NOT_FOUND)`."""
        ...

    async def list(
        self, api_version: str, kind: str, namespace: str, *, label_selector: str | None = None
    ) -> Sequence[Mapping[str, Any]]: ...

    async def evaluate(self, expression: str, *, object: Mapping[str, Any] | None = None) -> JsonValue:
        """CEL over the execution's context. Raises `StepFailure(VALIDATION)`."""
        ...

    def now(self) -> Any: ...

    def log(self, line: str) -> None: ...


class ActionExecutor(Protocol):
    """Carries out one action. Stateless: one instance serves all steps of a process."""

    spec: ClassVar[ActionSpec]

    async def plan(self, context: ActionContext, params: Any) -> ActionPlan:
        """Read, and say what is to be changed. May be called again for a step that runs again."""
        ...

    def change_summary(self, target: Target, params: Mapping[str, JsonValue]) -> str:
        """For the card, from the plan alone: "set spec.replicas to 5"."""
        ...

    def default_check(self, target: Target, params: Mapping[str, JsonValue]) -> Check | None:
        """The mandatory check that proves it, used where the plan has none; None for what changes nothing."""
        ...
