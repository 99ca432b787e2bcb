"""The arithmetic of a rollout: how many pods of which ReplicaSet, and which ReplicaSet is which revision.

Why it exists: these rules are Kubernetes' own (deployment_util.go) and worth reading without the controller around
them. Pure functions over objects as stored; called by `deployment`.
"""

from __future__ import annotations

import json

from kubernaut.cluster.practice.quantities import scaled
from kubernaut.cluster.practice.resources import Json

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
TEMPLATE_HASH = "pod-template-hash"

_NOT_COPIED = {REVISION, REVISION_HISTORY, DESIRED, MAXIMUM, "kubectl.kubernetes.io/last-applied-configuration"}
_HASH_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def is_rolling(deployment: Json) -> bool:
    return bool(deployment["spec"]["strategy"]["type"] == "RollingUpdate")


def surge_and_unavailable(deployment: Json) -> tuple[int, int]:
    """maxSurge rounded up and maxUnavailable rounded down, never both zero; zero for Recreate."""
    if not is_rolling(deployment):
        return 0, 0
    replicas = deployment["spec"]["replicas"]
    rolling = deployment["spec"]["strategy"]["rollingUpdate"]
    surge = scaled(rolling["maxSurge"], replicas, round_up=True)
    unavailable = scaled(rolling["maxUnavailable"], replicas, round_up=False)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def max_unavailable(deployment: Json) -> int:
    replicas: int = deployment["spec"]["replicas"]
    return min(surge_and_unavailable(deployment)[1], replicas)


def spec_total(replica_sets: list[Json]) -> int:
    return sum(item["spec"]["replicas"] for item in replica_sets)


def status_total(replica_sets: list[Json], name: str) -> int:
    return sum(item.get("status", {}).get(name, 0) for item in replica_sets)


def replicas_of_new(deployment: Json, replica_sets: list[Json], current: int) -> int:
    """How many pods the newest ReplicaSet may have now."""
    wanted: int = deployment["spec"]["replicas"]
    if not is_rolling(deployment):
        return wanted
    room = wanted + surge_and_unavailable(deployment)[0] - spec_total(replica_sets)
    return current if room <= 0 else current + min(room, wanted - current)


def _unhashed(template: Json) -> Json:
    """The template's metadata without the label that the controller adds."""
    metadata = template["metadata"]
    labels = {key: value for key, value in metadata.get("labels", {}).items() if key != TEMPLATE_HASH}
    return {**metadata, "labels": labels}


def same_template(left: Json, right: Json) -> bool:
    return left["spec"] == right["spec"] and _unhashed(left) == _unhashed(right)


def template_hash(template: Json, collisions: int) -> str:
    """Ten characters at most, stable for equal templates. Not Kubernetes' own value, which is a hash of Go's memory
    dump.
    """
    text = json.dumps(template, sort_keys=True) + (str(collisions) if collisions else "")
    number = 2166136261
    for byte in text.encode():
        number = ((number ^ byte) * 16777619) & 0xFFFFFFFF
    return "".join(_HASH_ALPHABET[ord(digit) % 27] for digit in str(number))


def revision(obj: Json) -> int:
    text = obj["metadata"].get("annotations", {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def annotations_for(deployment: Json, replica_set: Json | None, new_revision: int) -> Json:
    """The annotations of the newest ReplicaSet: the deployment's own, the revision, and the revisions it had before."""
    result = dict(replica_set["metadata"].get("annotations", {})) if replica_set else {}
    for key, value in deployment["metadata"].get("annotations", {}).items():
        if key not in _NOT_COPIED:
            result[key] = value
    old = revision(replica_set) if replica_set else 0
    if old < new_revision:
        result[REVISION] = str(new_revision)
        if old:
            history = [item for item in result.get(REVISION_HISTORY, "").split(",") if item]
            result[REVISION_HISTORY] = ",".join([*history, str(old)])
    return result


def size_annotations(deployment: Json) -> Json:
    replicas = deployment["spec"]["replicas"]
    return {DESIRED: str(replicas), MAXIMUM: str(replicas + surge_and_unavailable(deployment)[0])}


def proportional_sizes(deployment: Json, replica_sets: list[Json]) -> list[int]:
    """New sizes of the active ReplicaSets when the deployment is scaled in the middle of a rollout.

    The order is that of `replica_sets`, which the caller has sorted (largest first; the newest first when growing)."""
    wanted: int = deployment["spec"]["replicas"]
    allowed = wanted + surge_and_unavailable(deployment)[0] if wanted else 0
    to_add = allowed - spec_total(replica_sets)
    added = 0
    sizes = []
    for item in replica_sets:
        share = _share(deployment, item, to_add, added)
        sizes.append(max(0, item["spec"]["replicas"] + share))
        added += share
    if to_add and sizes:
        sizes[0] = max(0, sizes[0] + to_add - added)
    return sizes


def _share(deployment: Json, replica_set: Json, to_add: int, added: int) -> int:
    size = replica_set["spec"]["replicas"]
    if not size or not to_add or to_add == added:
        return 0
    allowed = to_add - added
    fraction = _fraction(deployment, replica_set)
    return min(fraction, allowed) if to_add > 0 else max(fraction, allowed)


def _fraction(deployment: Json, replica_set: Json) -> int:
    size: int = replica_set["spec"]["replicas"]
    if not deployment["spec"]["replicas"]:
        return -size
    maximum = deployment["spec"]["replicas"] + surge_and_unavailable(deployment)[0]
    annotations = replica_set["metadata"].get("annotations", {})
    former = int(annotations.get(MAXIMUM, "0")) or deployment.get("status", {}).get("replicas", 0) or maximum
    return int(size * maximum / former + 0.5) - size
