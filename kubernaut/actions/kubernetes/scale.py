"""`kubernetes.scale`: set the number of replicas of a Deployment. How far a plan may scale is the policy's to say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field, JsonValue

from kubernaut.actions.kubernetes.deployments import read_deployment, rollout_check
from kubernaut.actions.spec import ActionContext, ActionParams, ActionPlan, ActionSpec, EffectClass, ObjectPatch
from kubernaut.cluster.objects import resolve
from kubernaut.cluster.patch import set_field
from kubernaut.plan.model import Check, Risk, Target


class ScaleParams(ActionParams):
    replicas: Annotated[int, Field(ge=0, le=2_147_483_647)]
    """How many replicas there shall be; an absolute number, so that a repeat changes nothing."""


class Scale:
    """Executor of `kubernetes.scale`."""

    spec: ClassVar[ActionSpec] = ActionSpec(
        name="kubernetes.scale",
        meaning="set the number of replicas of a Deployment",
        effect=EffectClass.IN_OBJECT,
        params=ScaleParams,
        target_kinds=("Deployment",),
        verbs=("get apps/deployments", "patch apps/deployments"),
        risk=Risk.LOW,
    )

    async def plan(self, context: ActionContext, params: ScaleParams) -> ActionPlan:
        ref, deployment = await read_deployment(context)
        change = set_field(deployment, "/spec/replicas", params.replicas)
        before = 1 if not isinstance(change.before, int) else change.before  # the API's default
        outputs: dict[str, JsonValue] = {"replicas": {"before": before, "after": params.replicas}}
        if before == params.replicas:
            return ActionPlan(outputs=outputs, summary=f"{ref} already has {params.replicas} replicas")
        summary = f"replicas {before} → {params.replicas}"
        patch = ObjectPatch(
            target=ref,
            uid=resolve(deployment, "/metadata/uid"),
            resource_version=resolve(deployment, "/metadata/resourceVersion"),
            fields=(change,),
            summary=summary,
        )
        return ActionPlan(changes=(patch,), outputs=outputs, summary=summary)

    def change_summary(self, target: Target, params: Mapping[str, JsonValue]) -> str:
        replicas = params.get("replicas")
        return f"set spec.replicas to {replicas if isinstance(replicas, int) else 'a computed number'}"

    def default_check(self, target: Target, params: Mapping[str, JsonValue]) -> Check | None:
        replicas = params.get("replicas")
        return rollout_check(target, replicas=replicas) if isinstance(replicas, int) else rollout_check(target)
