"""What the actions on Deployments share: finding the one that is meant, and refusing one that cannot be changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import JsonValue

from kubernaut.actions.spec import ActionContext, StepFailure
from kubernaut.cluster.objects import ObjectRef, resolve
from kubernaut.errors import ErrorClass
from kubernaut.plan.model import NamedCondition, Target

JsonObject = Mapping[str, Any]

STEADY_SECONDS = 3.0
"""How long the containers of a new revision must run before the engine's own check believes in them: a container that
crashes at once is Running and Ready for a moment."""


def deployment_ref(target: Target) -> ObjectRef:
    """Raises `StepFailure(VALIDATION)` where the target is not one Deployment."""
    if target.kind != "Deployment":
        raise StepFailure(
            ErrorClass.VALIDATION, f"this action changes Deployments; the target is {target.kind or 'no kind'}"
        )
    if not target.namespace or not target.name:
        raise StepFailure(ErrorClass.VALIDATION, "the target names no Deployment: namespace and name are needed")
    return ObjectRef.of("Deployment", target.namespace, target.name)


async def read_deployment(context: ActionContext) -> tuple[ObjectRef, JsonObject]:
    """The target as it is now. Raises `StepFailure`; `PRECONDITION` where it is being deleted."""
    ref = deployment_ref(context.target)
    deployment = await context.get(ref)
    if resolve(deployment, "/metadata/deletionTimestamp"):
        raise StepFailure(ErrorClass.PRECONDITION, f"{ref} is being deleted; nothing is changed on it")
    return ref, deployment


def refuse_paused(ref: ObjectRef, deployment: JsonObject) -> None:
    """A paused Deployment takes a new template without rolling it out: nothing would be repaired."""
    if resolve(deployment, "/spec/paused") is True:
        raise StepFailure(
            ErrorClass.PRECONDITION, f"{ref} is paused and would not roll out; run `kubectl rollout resume` first"
        )


def rollout_check(target: Target, **params: JsonValue) -> NamedCondition:
    return NamedCondition(check="rollout_complete", version=1, target=target, params=dict(params))
