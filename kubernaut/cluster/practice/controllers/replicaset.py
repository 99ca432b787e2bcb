"""The ReplicaSet controller: as many pods as the spec says, adopted or created, and a status that counts them.

Why it exists: pods of a faulty template come back for ever only because someone recreates them. Follows
kube-controller-manager: claiming by selector, the order in which pods are chosen for deletion, availability.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from kubernaut.cluster.practice.admission import qos_class
from kubernaut.cluster.practice.clock import parse_time
from kubernaut.cluster.practice.controllers.runtime import (
    CONTROLLER_MANAGER,
    Surroundings,
    WorkKey,
    controller_of,
    owner_reference,
)
from kubernaut.cluster.practice.defaults import apply_defaults
from kubernaut.cluster.practice.resources import PODS, REPLICA_SETS, Json
from kubernaut.cluster.practice.selectors import object_selector
from kubernaut.cluster.practice.store import Change

_COMPONENT = "replicaset-controller"


class ReplicaSetController:
    """Keys are (namespace, name) of ReplicaSets."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    def keys_for(self, change: Change) -> Iterable[WorkKey]:
        metadata = change.obj["metadata"]
        if change.resource is REPLICA_SETS:
            yield (metadata["namespace"], metadata["name"])
        elif change.resource is PODS:
            yield from self._owners_of_pod(change)

    def _owners_of_pod(self, change: Change) -> Iterable[WorkKey]:
        namespace = change.obj["metadata"]["namespace"]
        for state in (change.before, change.after):
            owner = controller_of(state) if state else None
            if owner and owner["kind"] == "ReplicaSet":
                yield (namespace, owner["name"])
        if change.after is not None and controller_of(change.after) is None:
            labels = change.after["metadata"].get("labels")
            for replica_set in self._around.store.all(REPLICA_SETS, namespace):
                if object_selector(replica_set["spec"]["selector"]).matches(labels):
                    yield (namespace, replica_set["metadata"]["name"])

    def sync(self, key: WorkKey) -> datetime | None:
        replica_set = self._around.store.get(REPLICA_SETS, key[0], key[1])
        if replica_set is None:
            return None
        pods = self._claimed(replica_set)
        if "deletionTimestamp" not in replica_set["metadata"]:
            self._match_count(replica_set, [pod for pod in pods if is_active(pod)])
        pods = [pod for pod in self._around.store.owned_by(PODS, replica_set["metadata"]["uid"]) if is_active(pod)]
        return self._write_status(replica_set, pods)

    def _claimed(self, replica_set: Json) -> list[Json]:
        """Own pods; those that the selector no longer fits are let go, those without an owner that it fits are
        taken.
        """
        store, registry = self._around.store, self._around.registry
        selector = object_selector(replica_set["spec"]["selector"])
        claimed = []
        for pod in store.owned_by(PODS, replica_set["metadata"]["uid"]):
            if selector.matches(pod["metadata"].get("labels")):
                claimed.append(pod)
            elif "deletionTimestamp" not in pod["metadata"]:
                metadata = {key: value for key, value in pod["metadata"].items() if key != "ownerReferences"}
                registry.update(PODS, pod, {**pod, "metadata": metadata}, CONTROLLER_MANAGER)
        if "deletionTimestamp" in replica_set["metadata"]:
            return claimed
        for pod in store.owned_by(PODS, ""):
            same_namespace = pod["metadata"]["namespace"] == replica_set["metadata"]["namespace"]
            if same_namespace and is_active(pod) and selector.matches(pod["metadata"].get("labels")):
                metadata = {**pod["metadata"], "ownerReferences": [owner_reference(replica_set)]}
                claimed.append(registry.update(PODS, pod, {**pod, "metadata": metadata}, CONTROLLER_MANAGER))
        return claimed

    def _match_count(self, replica_set: Json, active: list[Json]) -> None:
        missing = replica_set["spec"]["replicas"] - len(active)
        for _ in range(missing):
            self._create_pod(replica_set)
        if missing < 0:
            for pod in sorted(active, key=_deletion_rank)[:-missing]:
                self._delete_pod(replica_set, pod)

    def _create_pod(self, replica_set: Json) -> None:
        registry = self._around.registry
        template = replica_set["spec"]["template"]
        prefix = f"{replica_set['metadata']['name']}-"
        metadata = {key: template["metadata"][key] for key in ("labels", "annotations") if key in template["metadata"]}
        metadata |= {
            "generateName": prefix,
            "name": prefix + registry.name_suffix(),
            "namespace": replica_set["metadata"]["namespace"],
            "ownerReferences": [owner_reference(replica_set)],
        }
        pod = apply_defaults("Pod", {"metadata": metadata, "spec": template["spec"]})
        pod["status"] = {"phase": "Pending", "qosClass": qos_class(pod["spec"])}
        created = registry.create(PODS, pod, CONTROLLER_MANAGER)
        text = f"Created pod: {created['metadata']['name']}"
        self._around.recorder.record(replica_set, "ReplicaSet", "SuccessfulCreate", text, component=_COMPONENT)

    def _delete_pod(self, replica_set: Json, pod: Json) -> None:
        registry = self._around.registry
        name = pod["metadata"]["name"]
        if pod["spec"].get("nodeName"):
            grace = pod["spec"]["terminationGracePeriodSeconds"]
            registry.mark_deleted(PODS, pod, CONTROLLER_MANAGER, grace=grace)
        else:
            registry.remove(PODS, pod)
        text = f"Deleted pod: {name}"
        self._around.recorder.record(replica_set, "ReplicaSet", "SuccessfulDelete", text, component=_COMPONENT)

    def _write_status(self, replica_set: Json, pods: list[Json]) -> datetime | None:
        registry = self._around.registry
        wait = self._around.timing.span(replica_set["spec"].get("minReadySeconds", 0))
        now = self._around.now()
        ready = [moment for pod in pods if (moment := ready_since(pod))]
        pending = [moment + wait for moment in ready if moment + wait > now]
        labels = object_selector({"matchLabels": replica_set["spec"]["template"]["metadata"].get("labels", {})})
        counts = {
            "fullyLabeledReplicas": sum(labels.matches(pod["metadata"].get("labels")) for pod in pods),
            "readyReplicas": len(ready),
            "availableReplicas": len(ready) - len(pending),
            "observedGeneration": replica_set["metadata"]["generation"],
        }
        status = {"replicas": len(pods)} | {name: count for name, count in counts.items() if count}
        new = {**replica_set, "status": status}
        registry.update(REPLICA_SETS, replica_set, new, CONTROLLER_MANAGER, subresource="status")
        return min(pending, default=None)


def is_active(pod: Json) -> bool:
    return "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") not in ("Succeeded", "Failed")


def ready_since(pod: Json) -> datetime | None:
    for condition in pod["status"].get("conditions", []):
        if condition["type"] == "Ready" and condition["status"] == "True":
            return parse_time(condition["lastTransitionTime"])
    return None


_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def _deletion_rank(pod: Json) -> tuple[int, int, int, float, int, float]:
    """Unassigned, pending and unready pods go first, then those ready for a shorter time, restarted more, younger."""
    since = ready_since(pod)
    restarts = max((item["restartCount"] for item in pod["status"].get("containerStatuses", [])), default=0)
    return (
        1 if pod["spec"].get("nodeName") else 0,
        _PHASES.get(pod["status"].get("phase", "Unknown"), 1),
        1 if since else 0,
        -since.timestamp() if since else 0.0,
        -restarts,
        -parse_time(pod["metadata"]["creationTimestamp"]).timestamp(),
    )
