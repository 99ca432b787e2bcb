"""`monitoring.check`: read the step's target and judge it by a CEL expression over `object`.

It reads what the step's target names and nothing else, so that the policy sees every object that a plan looks at, and
never a Secret. An expression that is false fails the step; waiting until it becomes true is what post-conditions are
for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, JsonValue

from kubernaut.actions.spec import ActionContext, ActionParams, ActionPlan, ActionSpec, EffectClass, StepFailure
from kubernaut.cluster.objects import BY_KIND, ObjectRef, resolve
from kubernaut.errors import ErrorClass
from kubernaut.plan.model import Check, Risk, Target

_KINDS = tuple(kind for kind in BY_KIND if kind != "Secret")


class CheckParams(ActionParams):
    expression: Annotated[str, Field(min_length=1, max_length=1_000)]
    """CEL, true or false; `object` is the target as the API server has it."""


class MonitoringCheck:
    """Executor of `monitoring.check`."""

    spec: ClassVar[ActionSpec] = ActionSpec(
        name="monitoring.check",
        meaning="evaluate an expression over one object",
        effect=EffectClass.READ_ONLY,
        params=CheckParams,
        target_kinds=_KINDS,
        verbs=("get of the target's kind",),
        risk=Risk.NONE,
        undo_reason="it changes nothing",
        default_timeout=60.0,
    )

    async def plan(self, context: ActionContext, params: CheckParams) -> ActionPlan:
        ref = _ref(context.target)
        found = await context.get(ref)
        value = await context.evaluate(params.expression, object=found)
        if not isinstance(value, bool):
            raise StepFailure(
                ErrorClass.VALIDATION, f"`{params.expression}` gave {_kind_of(value)}; a check must be true or false"
            )
        if not value:
            raise StepFailure(ErrorClass.POST_CONDITION, f"`{params.expression}` is false for {ref}")
        version = resolve(found, "/metadata/resourceVersion")
        return ActionPlan(
            outputs={"holds": True, "object": str(ref), "resource_version": version},
            summary=f"`{params.expression}` holds for {ref}",
        )

    def change_summary(self, target: Target, params: Mapping[str, JsonValue]) -> str:
        return "change nothing"

    def default_check(self, target: Target, params: Mapping[str, JsonValue]) -> Check | None:
        return None


def _ref(target: Target) -> ObjectRef:
    if target.kind not in _KINDS:
        raise StepFailure(
            ErrorClass.VALIDATION, f"objects of kind {target.kind!r} are not read; known: {', '.join(_KINDS)}"
        )
    if not target.name or (BY_KIND[target.kind].namespaced and not target.namespace):
        raise StepFailure(ErrorClass.VALIDATION, "the target names no single object: namespace and name are needed")
    return ObjectRef.of(target.kind, target.namespace, target.name)


def _kind_of(value: JsonValue) -> str:
    names = {dict: "a map", list: "a list", str: "a text", int: "a number", float: "a number"}
    return names.get(type(value), "nothing")
