"""`kubernetes.rollout_undo`: give a Deployment the pod template of an earlier revision, as `kubectl rollout undo` does.

The revisions are the Deployment's own ReplicaSets (by owner uid, not by label alone). The whole template is set, and
nothing else: labels, annotations and replicas of the Deployment stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, JsonValue

from kubernaut.actions.kubernetes.deployments import STEADY_SECONDS, read_deployment, refuse_paused, rollout_check
from kubernaut.actions.spec import (
    ActionContext,
    ActionParams,
    ActionPlan,
    ActionSpec,
    EffectClass,
    FieldChange,
    ObjectPatch,
    StepFailure,
)
from kubernaut.cluster.objects import ObjectRef, resolve
from kubernaut.cluster.ownership import REVISION_ANNOTATION, owned_by, revision_of, selector_text
from kubernaut.cluster.patch import is_equal
from kubernaut.errors import ErrorClass
from kubernaut.plan.model import Check, Risk, Target

JsonObject = Mapping[str, Any]


class RolloutUndoParams(ActionParams):
    revision: Annotated[int, Field(ge=1)] | Literal["previous"] = "previous"
    """A revision of the Deployment's history, or the newest one whose template differs from the current one."""


class RolloutUndo:
    """Executor of `kubernetes.rollout_undo`."""

    spec: ClassVar[ActionSpec] = ActionSpec(
        name="kubernetes.rollout_undo",
        meaning="roll a Deployment back to the previous or a given revision",
        effect=EffectClass.IN_OBJECT,
        params=RolloutUndoParams,
        target_kinds=("Deployment",),
        verbs=("get apps/deployments", "list apps/replicasets", "patch apps/deployments"),
        risk=Risk.MEDIUM,
    )

    async def plan(self, context: ActionContext, params: RolloutUndoParams) -> ActionPlan:
        ref, deployment = await read_deployment(context)
        refuse_paused(ref, deployment)
        listed = await context.list(
            "apps/v1", "ReplicaSet", ref.namespace or "", label_selector=selector_text(deployment)
        )
        revisions = {
            revision: replica_set
            for replica_set in owned_by(deployment, listed)
            if (revision := revision_of(replica_set)) is not None
        }
        wanted = _wanted_revision(ref, deployment, revisions, params.revision)
        change = FieldChange(
            pointer="/spec/template", before=deployment["spec"]["template"], after=template_of(revisions[wanted])
        )
        current = revision_of(deployment)
        outputs: dict[str, JsonValue] = {
            "revision": {"before": current, "restored": wanted},
            "images": {"before": images(change.before), "after": images(change.after)},
        }
        if is_equal(change.before, change.after):
            return ActionPlan(outputs=outputs, summary=f"{ref} already runs the template of revision {wanted}")
        summary = f"template of revision {current or 'unknown'} → that of revision {wanted}" + _image_change(outputs)
        patch = ObjectPatch(
            target=ref,
            uid=resolve(deployment, "/metadata/uid"),
            resource_version=resolve(deployment, "/metadata/resourceVersion"),
            fields=(change,),
            summary=summary,
        )
        return ActionPlan(changes=(patch,), outputs=outputs, summary=summary)

    def change_summary(self, target: Target, params: Mapping[str, JsonValue]) -> str:
        revision = params.get("revision", "previous")
        which = f"revision {revision}" if isinstance(revision, int) else "the previous revision"
        return f"set spec.template to that of {which}"

    def default_check(self, target: Target, params: Mapping[str, JsonValue]) -> Check | None:
        return rollout_check(target, steady_seconds=STEADY_SECONDS)


def template_of(replica_set: JsonObject) -> dict[str, JsonValue]:
    """A ReplicaSet's pod template without the label that its controller added."""
    template: dict[str, JsonValue] = dict(replica_set["spec"]["template"])
    metadata = template.get("metadata")
    if isinstance(metadata, dict) and isinstance(labels := metadata.get("labels"), dict):
        kept = {name: value for name, value in labels.items() if name != "pod-template-hash"}
        template["metadata"] = {**metadata, "labels": kept}
    return template


def images(template: JsonValue) -> dict[str, JsonValue]:
    """Container name → image."""
    containers = resolve(template, "/spec/containers", [])
    return {str(container.get("name")): container.get("image") for container in containers}


def _wanted_revision(
    ref: ObjectRef, deployment: JsonObject, revisions: Mapping[int, JsonObject], wanted: int | Literal["previous"]
) -> int:
    if wanted != "previous":
        if wanted in revisions:
            return wanted
        raise StepFailure(
            ErrorClass.PRECONDITION,
            f"{ref} has no revision {wanted}; {_existing(list(revisions))}. A revision that was rolled back to gets a "
            f"new number ({REVISION_ANNOTATION}).",
        )
    current = deployment["spec"]["template"]
    earlier = [
        revision for revision, replica_set in revisions.items() if not is_equal(current, template_of(replica_set))
    ]
    if not earlier:
        raise StepFailure(
            ErrorClass.PRECONDITION, f"{ref} has no earlier revision to go back to; {_existing(list(revisions))}"
        )
    return max(earlier)


def _existing(revisions: Sequence[int]) -> str:
    return f"there are {', '.join(map(str, sorted(revisions)))}" if revisions else "its history is empty"


def _image_change(outputs: Mapping[str, Any]) -> str:
    before, after = outputs["images"]["before"], outputs["images"]["after"]
    changed = [f"{name} {before.get(name)} → {image}" for name, image in after.items() if before.get(name) != image]
    return f" ({', '.join(changed)})" if changed else ""
