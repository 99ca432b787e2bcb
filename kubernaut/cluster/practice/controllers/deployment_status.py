"""A Deployment's status and its conditions Available and Progressing, as kube-controller-manager computes them.

Why it exists: `kubectl rollout status`, and our checks, read nothing else. Pure functions; called by `deployment`.
"""

from __future__ import annotations

from datetime import datetime

from kubernaut.cluster.practice.clock import Timing, parse_time
from kubernaut.cluster.practice.controllers.rollout import max_unavailable, spec_total, status_total
from kubernaut.cluster.practice.registry import stamp
from kubernaut.cluster.practice.resources import Json

NEW_AVAILABLE = "NewReplicaSetAvailable"
TIMED_OUT = "ProgressDeadlineExceeded"
PAUSED = "DeploymentPaused"
RESUMED = "DeploymentResumed"


def condition(status: Json, kind: str) -> Json | None:
    return next((item for item in status.get("conditions", []) if item["type"] == kind), None)


def with_condition(status: Json, kind: str, value: str, reason: str, message: str, now: datetime) -> Json:
    """Unchanged if status and reason are what they were; lastTransitionTime moves only with the status."""
    old = condition(status, kind)
    if old and (old["status"], old["reason"]) == (value, reason):
        return status
    return _replaced(status, old, _condition(kind, value, reason, message, old, now))


def _condition(kind: str, value: str, reason: str, message: str, old: Json | None, now: datetime) -> Json:
    moved = old["lastTransitionTime"] if old and old["status"] == value else stamp(now)
    return {
        "type": kind,
        "status": value,
        "lastUpdateTime": stamp(now),
        "lastTransitionTime": moved,
        "reason": reason,
        "message": message,
    }


def _replaced(status: Json, old: Json | None, new: Json) -> Json:
    others = [item for item in status.get("conditions", []) if item is not old]
    return {**status, "conditions": [*others, new]}


def has_deadline(deployment: Json) -> bool:
    return bool(deployment["spec"].get("progressDeadlineSeconds", 2**31 - 1) != 2**31 - 1)


def calculated(deployment: Json, replica_sets: list[Json], newest: Json | None, now: datetime) -> Json:
    """Counts and the condition Available."""
    available = status_total(replica_sets, "availableReplicas")
    counts = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": status_total(replica_sets, "replicas"),
        "updatedReplicas": status_total([newest] if newest else [], "replicas"),
        "readyReplicas": status_total(replica_sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, spec_total(replica_sets) - available),
    }
    status: Json = {name: count for name, count in counts.items() if count}
    for name in ("conditions", "collisionCount"):
        if name in deployment.get("status", {}):
            status[name] = deployment["status"][name]
    if available >= deployment["spec"]["replicas"] - max_unavailable(deployment):
        text = "Deployment has minimum availability."
        return with_condition(status, "Available", "True", "MinimumReplicasAvailable", text, now)
    text = "Deployment does not have minimum availability."
    return with_condition(status, "Available", "False", "MinimumReplicasUnavailable", text, now)


def is_complete(deployment: Json, status: Json) -> bool:
    wanted = deployment["spec"]["replicas"]
    counts = [status.get(name, 0) for name in ("updatedReplicas", "replicas", "availableReplicas")]
    return counts == [wanted] * 3 and status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]


def _progressed(old: Json, new: Json) -> bool:
    def gone(status: Json) -> int:
        return int(status.get("replicas", 0) - status.get("updatedReplicas", 0))

    if gone(new) < gone(old):
        return True
    return any(
        new.get(name, 0) > old.get(name, 0) for name in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )


def rollout_status(
    deployment: Json, replica_sets: list[Json], newest: Json | None, timing: Timing, now: datetime
) -> tuple[Json, datetime | None]:
    """The status of a rollout under way or done, and when its deadline passes if nothing happens before."""
    status = calculated(deployment, replica_sets, newest, now)
    old = deployment.get("status", {})
    current = condition(old, "Progressing")
    if not has_deadline(deployment):
        conditions = [item for item in status["conditions"] if item["type"] != "Progressing"]
        return {**status, "conditions": conditions}, None
    settled = status.get("replicas", 0) == status.get("updatedReplicas", 0)
    if settled and current and current["reason"] == NEW_AVAILABLE:
        return status, None
    name = f'ReplicaSet "{newest["metadata"]["name"]}"' if newest else f'Deployment "{deployment["metadata"]["name"]}"'
    if is_complete(deployment, status):
        text = f"{name} has successfully progressed."
        return with_condition(status, "Progressing", "True", NEW_AVAILABLE, text, now), None
    if _progressed(old, status):
        new = _condition("Progressing", "True", "ReplicaSetUpdated", f"{name} is progressing.", current, now)
        status = _replaced(status, current, new)
    elif timed_out(deployment, current, timing, now):
        text = f"{name} has timed out progressing."
        status = with_condition(status, "Progressing", "False", TIMED_OUT, text, now)
    return status, deadline(deployment, condition(status, "Progressing"), timing)


def deadline(deployment: Json, progressing: Json | None, timing: Timing) -> datetime | None:
    if progressing is None or progressing["reason"] in (NEW_AVAILABLE, TIMED_OUT, PAUSED):
        return None
    wait = timing.span(deployment["spec"]["progressDeadlineSeconds"])
    return parse_time(progressing["lastUpdateTime"]) + wait


def timed_out(deployment: Json, progressing: Json | None, timing: Timing, now: datetime) -> bool:
    if progressing is not None and progressing["reason"] == TIMED_OUT:
        return True
    moment = deadline(deployment, progressing, timing)
    return moment is not None and now >= moment
