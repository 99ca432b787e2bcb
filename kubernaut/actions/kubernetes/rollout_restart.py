"""`kubernetes.rollout_restart`: replace all pods of a Deployment one by one, as `kubectl rollout restart` does.

The time that is written is computed once, when the step is planned; the journal keeps it, so that a step that runs
again finds its own value instead of restarting a second time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import ClassVar

from pydantic import JsonValue

from kubernaut.actions.kubernetes.deployments import STEADY_SECONDS, read_deployment, refuse_paused, rollout_check
from kubernaut.actions.spec import ActionContext, ActionPlan, ActionSpec, EffectClass, NoParams, ObjectPatch
from kubernaut.cluster.objects import escape, resolve
from kubernaut.cluster.patch import set_field
from kubernaut.plan.model import Check, Risk, Target

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
"""kubectl's own annotation: `kubectl rollout history` and dashboards know it."""


class RolloutRestart:
    """Executor of `kubernetes.rollout_restart`."""

    spec: ClassVar[ActionSpec] = ActionSpec(
        name="kubernetes.rollout_restart",
        meaning="replace all pods of a Deployment, one after the other",
        effect=EffectClass.IN_OBJECT,
        params=NoParams,
        target_kinds=("Deployment",),
        verbs=("get apps/deployments", "patch apps/deployments"),
        risk=Risk.LOW,
        undo_reason="a restart cannot be taken back: the pods that were replaced are gone",
    )

    async def plan(self, context: ActionContext, params: NoParams) -> ActionPlan:
        ref, deployment = await read_deployment(context)
        refuse_paused(ref, deployment)
        restarted_at: str = context.now().astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        change = set_field(deployment, f"/spec/template/metadata/annotations/{escape(RESTARTED_AT)}", restarted_at)
        patch = ObjectPatch(
            target=ref,
            uid=resolve(deployment, "/metadata/uid"),
            resource_version=resolve(deployment, "/metadata/resourceVersion"),
            fields=(change,),
            summary=f"restart of all pods ({restarted_at})",
        )
        return ActionPlan(changes=(patch,), outputs={"restarted_at": restarted_at}, summary=patch.summary)

    def change_summary(self, target: Target, params: Mapping[str, JsonValue]) -> str:
        return "replace all pods, one after the other (the template's restartedAt annotation)"

    def default_check(self, target: Target, params: Mapping[str, JsonValue]) -> Check | None:
        return rollout_check(target, steady_seconds=STEADY_SECONDS)
