"""The policy, asked for the last time: at the claim, with labels read just now.

An `ask` without an approval fails the step, and so does everything stricter than that which nobody answered.
"""

from __future__ import annotations

from pydantic import BaseModel

from kubernaut.actions.spec import StepFailure
from kubernaut.cluster.objects import BY_KIND, ObjectRef
from kubernaut.errors import ErrorClass
from kubernaut.execution.environment import Environment
from kubernaut.execution.progress import Situation
from kubernaut.plan.model import Target
from kubernaut.policy import Decision, Subject, rule
from kubernaut.workflow.model import StepBinding


async def labels_of(env: Environment, target: Target) -> dict[str, str]:
    """The labels that decide: the namespace's, or those of a cluster-scoped object itself. Raises `StepFailure`."""
    if target.cluster is None or target.kind is None:
        return {}
    client = env.cluster(target.cluster)
    namespaced = target.kind in BY_KIND and BY_KIND[target.kind].namespaced
    if namespaced and target.namespace:
        return dict(await client.namespace_labels(target.namespace))
    if target.name:
        found = await client.get(ObjectRef.of(target.kind, None, target.name))
        return dict((found.get("metadata") or {}).get("labels") or {})
    return {}


async def require_allowed(
    env: Environment,
    situation: Situation,
    action: str,
    binding: StepBinding,
    target: Target,
    params: BaseModel,
) -> None:
    """Raises `StepFailure(AUTHORIZATION)` where the policy does not let this step change its target now."""
    subject = Subject(
        action=action,
        changes=True,
        cluster=target.cluster,
        kind=target.kind,
        namespace=target.namespace,
        name=target.name,
        params=params.model_dump(mode="json"),
        labels=await labels_of(env, target),
    )
    ruling = rule(env.policy, subject)
    if ruling.decision is Decision.DENY:
        raise StepFailure(ErrorClass.AUTHORIZATION, f"the policy denies it: {ruling.text}")
    needs_answer = ruling.decision in (Decision.ASK, Decision.HUMAN) or binding.requires_approval
    if needs_answer and not situation.approved:
        why = ruling.text or "the step itself asks for an approval"
        raise StepFailure(ErrorClass.AUTHORIZATION, f"it needs an approval that nobody gave: {why}")
