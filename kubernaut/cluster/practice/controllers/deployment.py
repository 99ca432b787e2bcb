"""The Deployment controller: rollouts, revisions, scaling, history.

Why it exists: undo, restart and scale act on Deployments and must meet what a real controller makes of them: one
ReplicaSet per template, an old one reused (and its revision moved up) when the template comes back. Follows
kube-controller-manager's `deployment` package step by step; arithmetic in `rollout`, conditions in `deployment_status`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from kubernaut.cluster.practice.clock import parse_time
from kubernaut.cluster.practice.controllers import deployment_status as state
from kubernaut.cluster.practice.controllers import rollout
from kubernaut.cluster.practice.controllers.replicaset import is_active
from kubernaut.cluster.practice.controllers.runtime import (
    CONTROLLER_MANAGER,
    Surroundings,
    WorkKey,
    controller_of,
    owner_reference,
)
from kubernaut.cluster.practice.resources import DEPLOYMENTS, PODS, REPLICA_SETS, Json
from kubernaut.cluster.practice.store import Change

_COMPONENT = "deployment-controller"


class DeploymentController:
    """Keys are (namespace, name) of Deployments."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    def keys_for(self, change: Change) -> Iterable[WorkKey]:
        metadata = change.obj["metadata"]
        if change.resource is DEPLOYMENTS:
            yield (metadata["namespace"], metadata["name"])
        elif change.resource is REPLICA_SETS:
            owner = controller_of(change.obj)
            if owner and owner["kind"] == "Deployment":
                yield (metadata["namespace"], owner["name"])
        elif change.resource is PODS and change.after is None:
            yield from self._recreating(change.obj)

    def _recreating(self, pod: Json) -> Iterable[WorkKey]:
        """A Recreate rollout waits for the last old pod to be gone."""
        namespace = pod["metadata"]["namespace"]
        owner = controller_of(pod)
        replica_set = self._around.store.get(REPLICA_SETS, namespace, owner["name"]) if owner else None
        above = controller_of(replica_set) if replica_set else None
        if above:
            yield (namespace, above["name"])

    def sync(self, key: WorkKey) -> datetime | None:
        deployment = self._around.store.get(DEPLOYMENTS, key[0], key[1])
        if deployment is None:
            return None
        if "deletionTimestamp" in deployment["metadata"]:
            self._write_scaled_status(deployment)
            return None
        deployment = self._mark_paused(deployment)
        if deployment["spec"].get("paused") or self._was_scaled(deployment):
            return self._scale(deployment)
        if rollout.is_rolling(deployment):
            return self._roll(deployment)
        return self._recreate(deployment)

    # -- which ReplicaSets there are -----------------------------------------------------------------------------

    def _replica_sets(self, deployment: Json) -> tuple[Json | None, list[Json]]:
        """The one of the present template (the oldest, should there be several), and all others, oldest first."""
        owned = self._around.store.owned_by(REPLICA_SETS, deployment["metadata"]["uid"])
        owned.sort(key=lambda item: item["metadata"]["creationTimestamp"])
        template = deployment["spec"]["template"]
        newest = next((item for item in owned if rollout.same_template(item["spec"]["template"], template)), None)
        return newest, [item for item in owned if item is not newest]

    def _synced(self, deployment: Json, *, create: bool) -> tuple[Json, Json | None, list[Json]]:
        """The deployment with its revision, the newest ReplicaSet (made if missing and `create`), and the old ones."""
        newest, old = self._replica_sets(deployment)
        revision = max((rollout.revision(item) for item in old), default=0) + 1
        if newest is None and not create:
            return deployment, None, old
        reason, words = "FoundNewReplicaSet", "Found new"
        if newest is None:
            newest = self._create_newest(deployment, old, revision)
            reason, words = "NewReplicaSetCreated", "Created new"
        else:
            newest = self._follow(deployment, newest, revision)
        return self._with_revision(deployment, newest, reason, words), newest, old

    def _follow(self, deployment: Json, newest: Json, revision: int) -> Json:
        """Annotations and minReadySeconds of the deployment on a ReplicaSet that exists."""
        annotations = rollout.annotations_for(deployment, newest, revision)
        spec = {key: value for key, value in newest["spec"].items() if key != "minReadySeconds"}
        if "minReadySeconds" in deployment["spec"]:
            spec["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
        new = {**newest, "metadata": {**newest["metadata"], "annotations": annotations}, "spec": spec}
        return self._around.registry.update(REPLICA_SETS, newest, new, CONTROLLER_MANAGER)

    def _create_newest(self, deployment: Json, old: list[Json], revision: int) -> Json:
        namespace = deployment["metadata"]["namespace"]
        collisions = 0
        while True:
            value = rollout.template_hash(deployment["spec"]["template"], collisions)
            name = f"{deployment['metadata']['name']}-{value}"
            if self._around.store.get(REPLICA_SETS, namespace, name) is None:
                break
            collisions += 1
        template = deployment["spec"]["template"]
        labels = {**template["metadata"].get("labels", {}), rollout.TEMPLATE_HASH: value}
        selector = deployment["spec"]["selector"]
        spec: Json = {
            "replicas": rollout.replicas_of_new(deployment, old, 0),
            "selector": {**selector, "matchLabels": {**selector.get("matchLabels", {}), rollout.TEMPLATE_HASH: value}},
            "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
        }
        if "minReadySeconds" in deployment["spec"]:
            spec["minReadySeconds"] = deployment["spec"]["minReadySeconds"]
        annotations = rollout.annotations_for(deployment, None, revision) | rollout.size_annotations(deployment)
        metadata = {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [owner_reference(deployment)],
        }
        body = {"metadata": metadata, "spec": spec, "status": {"replicas": 0}}
        created = self._around.registry.create(REPLICA_SETS, body, CONTROLLER_MANAGER)
        if spec["replicas"]:
            self._tell(deployment, f"Scaled up replica set {name} to {spec['replicas']}")
        return created

    def _with_revision(self, deployment: Json, newest: Json, reason: str, words: str) -> Json:
        registry = self._around.registry
        text = newest["metadata"]["annotations"][rollout.REVISION]
        annotations = deployment["metadata"].get("annotations", {})
        if annotations.get(rollout.REVISION) != text:
            metadata = {**deployment["metadata"], "annotations": {**annotations, rollout.REVISION: text}}
            deployment = registry.update(
                DEPLOYMENTS, deployment, {**deployment, "metadata": metadata}, CONTROLLER_MANAGER
            )
        progressing = state.condition(deployment.get("status", {}), "Progressing")
        if state.has_deadline(deployment) and (progressing is None or words == "Created new"):
            text = f'{words} replica set "{newest["metadata"]["name"]}"'
            status = state.with_condition(
                deployment.get("status", {}), "Progressing", "True", reason, text, self._around.now()
            )
            deployment = self._write(deployment, status)
        return deployment

    # -- the ways to get there -----------------------------------------------------------------------------------

    def _roll(self, deployment: Json) -> datetime | None:
        deployment, newest, old = self._synced(deployment, create=True)
        if newest is None:  # `create` makes one: for the type checker
            return None
        wanted = deployment["spec"]["replicas"]
        size = newest["spec"]["replicas"]
        target = wanted if size >= wanted else rollout.replicas_of_new(deployment, [newest, *old], size)
        if target == size and not self._shrink_old(deployment, newest, old):
            if state.is_complete(deployment, deployment.get("status", {})):
                self._forget_revisions(deployment, old)
        else:
            self._resize(deployment, newest, target)
        return self._write_rollout_status(deployment)

    def _shrink_old(self, deployment: Json, newest: Json, old: list[Json]) -> bool:
        """Takes pods from old ReplicaSets, unhealthy ones first, as far as enough stay available."""
        if not rollout.spec_total(old):
            return False
        least = deployment["spec"]["replicas"] - rollout.max_unavailable(deployment)
        new_missing = newest["spec"]["replicas"] - rollout.status_total([newest], "availableReplicas")
        budget = rollout.spec_total([newest, *old]) - least - new_missing
        if budget <= 0:
            return False
        cleaned = self._take_unhealthy(deployment, old, budget)
        old = [self._fresh(item) for item in old]
        spare = rollout.status_total([newest, *old], "availableReplicas") - least
        return self._take_available(deployment, old, spare) or cleaned

    def _take_unhealthy(self, deployment: Json, old: list[Json], budget: int) -> bool:
        taken = 0
        for item in old:
            size = item["spec"]["replicas"]
            unhealthy = min(budget - taken, size - rollout.status_total([item], "availableReplicas"))
            if size and unhealthy > 0:
                self._resize(deployment, item, size - unhealthy)
                taken += unhealthy
        return taken > 0

    def _take_available(self, deployment: Json, old: list[Json], spare: int) -> bool:
        taken = 0
        for item in old:
            step = min(item["spec"]["replicas"], spare - taken)
            if step > 0:
                self._resize(deployment, item, item["spec"]["replicas"] - step)
                taken += step
        return taken > 0

    def _recreate(self, deployment: Json) -> datetime | None:
        deployment, newest, old = self._synced(deployment, create=False)
        active = [item for item in old if item["spec"]["replicas"]]
        for item in active:
            self._resize(deployment, item, 0)
        if active or self._old_pods_run(old):
            return self._write_rollout_status(deployment)
        deployment, newest, old = self._synced(deployment, create=True)
        if newest is not None:
            self._resize(deployment, newest, deployment["spec"]["replicas"])
        if state.is_complete(deployment, deployment.get("status", {})):
            self._forget_revisions(deployment, old)
        return self._write_rollout_status(deployment)

    def _old_pods_run(self, old: list[Json]) -> bool:
        pods = [pod for item in old for pod in self._around.store.owned_by(PODS, item["metadata"]["uid"])]
        return any(is_active(pod) or "deletionTimestamp" in pod["metadata"] for pod in pods)

    # -- scaling, pausing, history -------------------------------------------------------------------------------

    def _was_scaled(self, deployment: Json) -> bool:
        newest, old = self._replica_sets(deployment)
        for item in [*old, *([newest] if newest else [])]:
            desired = item["metadata"].get("annotations", {}).get(rollout.DESIRED)
            if item["spec"]["replicas"] and desired not in (None, str(deployment["spec"]["replicas"])):
                return True
        return False

    def _scale(self, deployment: Json) -> datetime | None:
        """Brings a scaled (or paused) deployment to its size without rolling anything out."""
        deployment, newest, old = self._synced(deployment, create=False)
        every = [*old, *([newest] if newest else [])]
        active = [item for item in every if item["spec"]["replicas"]]
        wanted = deployment["spec"]["replicas"]
        if len(active) <= 1:
            one = active[0] if active else newest or max(old, key=rollout.revision, default=None)
            if one is not None:
                self._resize(deployment, one, wanted)
        elif newest is not None and _is_saturated(deployment, newest):
            for item in old:
                self._resize(deployment, item, 0)
        elif rollout.is_rolling(deployment):
            self._scale_in_proportion(deployment, active)
        if deployment["spec"].get("paused"):
            self._forget_revisions(deployment, old)
        self._write_scaled_status(deployment)
        return None

    def _scale_in_proportion(self, deployment: Json, active: list[Json]) -> None:
        grows = deployment["spec"]["replicas"] + rollout.surge_and_unavailable(deployment)[0] > rollout.spec_total(
            active
        )
        sign = -1 if grows else 1
        active = sorted(
            active,
            key=lambda item: (
                -item["spec"]["replicas"],
                sign * parse_time(item["metadata"]["creationTimestamp"]).timestamp(),
            ),
        )
        for item, size in zip(active, rollout.proportional_sizes(deployment, active), strict=True):
            self._resize(deployment, item, size)

    def _mark_paused(self, deployment: Json) -> Json:
        if not state.has_deadline(deployment):
            return deployment
        status = deployment.get("status", {})
        progressing = state.condition(status, "Progressing")
        reason = progressing["reason"] if progressing else ""
        paused = bool(deployment["spec"].get("paused"))
        if reason == state.TIMED_OUT or paused == (reason == state.PAUSED):
            return deployment
        reason, text = (state.PAUSED, "Deployment is paused") if paused else (state.RESUMED, "Deployment is resumed")
        status = state.with_condition(status, "Progressing", "Unknown", reason, text, self._around.now())
        return self._write(deployment, status)

    def _forget_revisions(self, deployment: Json, old: list[Json]) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit", 10)
        surplus = len(old) - limit
        for item in sorted(old, key=rollout.revision)[: max(0, surplus)]:
            observed = item.get("status", {}).get("observedGeneration", 0) >= item["metadata"]["generation"]
            if observed and not item["spec"]["replicas"] and not rollout.status_total([item], "replicas"):
                self._around.registry.remove(REPLICA_SETS, item)

    # -- writing -------------------------------------------------------------------------------------------------

    def _resize(self, deployment: Json, replica_set: Json, size: int) -> None:
        old_size = replica_set["spec"]["replicas"]
        annotations = replica_set["metadata"].get("annotations", {}) | rollout.size_annotations(deployment)
        metadata = {**replica_set["metadata"], "annotations": annotations}
        new = {**replica_set, "metadata": metadata, "spec": {**replica_set["spec"], "replicas": size}}
        self._around.registry.update(REPLICA_SETS, replica_set, new, CONTROLLER_MANAGER)
        if size != old_size:
            direction = "up" if size > old_size else "down"
            name = replica_set["metadata"]["name"]
            self._tell(deployment, f"Scaled {direction} replica set {name} to {size} from {old_size}")

    def _fresh(self, replica_set: Json) -> Json:
        metadata = replica_set["metadata"]
        return self._around.store.get(REPLICA_SETS, metadata["namespace"], metadata["name"]) or replica_set

    def _write_rollout_status(self, deployment: Json) -> datetime | None:
        newest, old = self._replica_sets(deployment)
        every = [*old, *([newest] if newest else [])]
        status, due = state.rollout_status(deployment, every, newest, self._around.timing, self._around.now())
        self._write(deployment, status)
        return due

    def _write_scaled_status(self, deployment: Json) -> None:
        newest, old = self._replica_sets(deployment)
        every = [*old, *([newest] if newest else [])]
        self._write(deployment, state.calculated(deployment, every, newest, self._around.now()))

    def _write(self, deployment: Json, status: Json) -> Json:
        new = {**deployment, "status": status}
        return self._around.registry.update(DEPLOYMENTS, deployment, new, CONTROLLER_MANAGER, subresource="status")

    def _tell(self, deployment: Json, text: str) -> None:
        self._around.recorder.record(deployment, "Deployment", "ScalingReplicaSet", text, component=_COMPONENT)


def _is_saturated(deployment: Json, newest: Json) -> bool:
    wanted = deployment["spec"]["replicas"]
    desired = newest["metadata"].get("annotations", {}).get(rollout.DESIRED)
    available = rollout.status_total([newest], "availableReplicas")
    return bool(newest["spec"]["replicas"] == wanted and desired == str(wanted) and available == wanted)
