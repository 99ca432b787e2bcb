"""The values that the API server fills in where a client sets none.

Why it exists: a client compares objects field by field, and a template that was sent is stored with a dozen more
fields. Pure functions, called by `api` after decoding and before validation. Values are those of Kubernetes 1.31.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubernaut.cluster.practice.resources import Json


def apply_defaults(kind: str, obj: Json) -> Json:
    """The object with defaults; the argument is not changed."""
    default = _BY_KIND.get(kind)
    return default(obj) if default else obj


def _deployment(obj: Json) -> Json:
    spec = {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600} | obj.get("spec", {})
    strategy = {"type": "RollingUpdate"} | spec.get("strategy", {})
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {"maxUnavailable": "25%", "maxSurge": "25%"} | (strategy.get("rollingUpdate") or {})
    spec["strategy"] = strategy
    return _with_template(obj, spec)


def _replica_set(obj: Json) -> Json:
    return _with_template(obj, {"replicas": 1} | obj.get("spec", {}))


def _with_template(obj: Json, spec: Json) -> Json:
    if "template" in spec:
        template = spec["template"]
        metadata = {"creationTimestamp": None} | template.get("metadata", {})
        spec = {**spec, "template": {**template, "metadata": metadata, "spec": pod_spec(template.get("spec", {}))}}
    return {**obj, "spec": spec}


def pod_spec(spec: Json) -> Json:
    defaults: Json = {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    }
    result = defaults | spec
    for name in ("containers", "initContainers"):
        if name in result:
            result[name] = [_container(item) for item in result[name]]
    if "volumes" in result:
        result["volumes"] = [_volume(item) for item in result["volumes"]]
    if "serviceAccountName" in result:
        result["serviceAccount"] = result["serviceAccountName"]
    return result


def _container(container: Json) -> Json:
    image = str(container.get("image", ""))
    tag = image.rsplit("/", 1)[-1]
    latest = tag.endswith(":latest") or (":" not in tag and "@" not in tag)
    result: Json = {
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "Always" if latest else "IfNotPresent",
    } | container
    if "ports" in result:
        result["ports"] = [{"protocol": "TCP"} | port for port in result["ports"]]
    if "env" in result:
        result["env"] = [_env(item) for item in result["env"]]
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if name in result:
            result[name] = _probe(result[name])
    return result


def _env(item: Json) -> Json:
    source = item.get("valueFrom", {})
    if "fieldRef" not in source:
        return item
    return {**item, "valueFrom": {**source, "fieldRef": {"apiVersion": "v1"} | source["fieldRef"]}}


def _probe(probe: Json) -> Json:
    result: Json = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3} | probe
    if "httpGet" in result:
        result["httpGet"] = {"path": "/", "scheme": "HTTP"} | result["httpGet"]
    return result


def _volume(volume: Json) -> Json:
    if set(volume) == {"name"}:
        return {**volume, "emptyDir": {}}
    for source in ("configMap", "secret", "projected", "downwardAPI"):
        if source in volume:
            return {**volume, source: {"defaultMode": 420} | volume[source]}
    return volume


def _pod(obj: Json) -> Json:
    """A pod of its own, or one that a ReplicaSet creates: also what admission adds."""
    spec: Json = {
        "enableServiceLinks": True,
        "serviceAccount": "default",
        "serviceAccountName": "default",
        "priority": 0,
        "preemptionPolicy": "PreemptLowerPriority",
    } | pod_spec(obj.get("spec", {}))
    spec.setdefault("tolerations", [_tolerates("not-ready"), _tolerates("unreachable")])
    spec["containers"] = [_with_requests(item) for item in spec.get("containers", [])]
    return {**obj, "spec": spec}


def _tolerates(state: str) -> Json:
    return {
        "key": f"node.kubernetes.io/{state}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 300,
    }


def _with_requests(container: Json) -> Json:
    resources = container["resources"]
    if "limits" not in resources:
        return container
    return {**container, "resources": {**resources, "requests": resources["limits"] | resources.get("requests", {})}}


def _namespace(obj: Json) -> Json:
    metadata = obj["metadata"]
    labels = metadata.get("labels", {}) | {"kubernetes.io/metadata.name": metadata.get("name", "")}
    spec = {"finalizers": ["kubernetes"]} | obj.get("spec", {})
    return {**obj, "metadata": {**metadata, "labels": labels}, "spec": spec}


def _service(obj: Json) -> Json:
    spec: Json = {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    } | obj.get("spec", {})
    spec["ports"] = [_service_port(port) for port in spec.get("ports", [])]
    return {**obj, "spec": spec}


def _service_port(port: Json) -> Json:
    result: dict[str, Any] = {"protocol": "TCP"} | port
    if "port" in result:
        result.setdefault("targetPort", result["port"])
    return result


_BY_KIND: dict[str, Callable[[Json], Json]] = {
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "Pod": _pod,
    "Namespace": _namespace,
    "Service": _service,
}
