"""Every action that a plan may name: our name, the names under which AIs know it, and how it touches the world.

Read by the dialects (to translate names), by validation and by `kubernaut.actions.registry`, which puts the spec
of an installed executor in the place of the entry here. An entry without an executor is known but not installed: its
parameters are kept as given, and a plan that uses it needs a human. Names that depend on what a site runs (database
failover, Git, service mesh) are `other.<snake_case>` until the site binds an executor.

A name is matched exactly, in snake_case, kebab-case or VerbNoun. A near miss is suggested, never executed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from kubernaut.actions.spec import ActionSpec, EffectClass
from kubernaut.plan.model import Risk

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
_SCALABLE = ("Deployment", "StatefulSet")

REPLICAS = ("targetReplicas", "target_replicas", "desired_replicas", "desiredReplicas", "replica_count", "replicaCount")
GRACE_PERIOD = ("grace_period", "gracePeriod", "gracePeriodSeconds")
MEMORY = ("memory", "memory_limit", "memoryLimit", "newMemoryLimit", "new_memory_limit")
CPU = ("cpu", "cpu_limit", "cpuLimit", "newCPULimit", "new_cpu_limit")


def _to(name: str, *aliases: str) -> dict[str, str]:
    return dict.fromkeys(aliases, name)


def _entry(
    name: str,
    meaning: str,
    effect: EffectClass,
    *aliases: str,
    kinds: tuple[str, ...] = (),
    params: Mapping[str, str] | None = None,
    risk: Risk = Risk.MEDIUM,
    undo_reason: str | None = None,
) -> ActionSpec:
    return ActionSpec(
        name=name,
        meaning=meaning,
        effect=effect,
        aliases=aliases,
        param_aliases=MappingProxyType(dict(params or {})),
        target_kinds=kinds,
        risk=risk,
        undo_reason=undo_reason,
    )


_IN, _ID, _EXT, _READ = EffectClass.IN_OBJECT, EffectClass.BY_IDENTITY, EffectClass.EXTERNAL, EffectClass.READ_ONLY
_SENT = "what was sent cannot be called back"
_LOOKS = "it changes nothing"

_KUBERNETES = (
    _entry(
        "kubernetes.scale",
        "Set the number of replicas of a workload.",
        _IN,
        "scale_deployment",
        "scale_statefulset",
        "scale_up",
        "scale_out",
        "scale_replicas",
        "scale_down",
        "scale_in",
        kinds=_SCALABLE,
        params=_to("replicas", *REPLICAS),
    ),
    _entry(
        "kubernetes.rollout_restart",
        "Replace all pods of a workload, one after the other.",
        _IN,
        "restart_pod",
        "restart_pods",
        "rolling_restart_pods",
        "restart_deployment",
        "restart_statefulset",
        "restart_daemonset",
        "restart_service",
        "graceful_restart",
        "rollout_restart",
        kinds=_WORKLOADS,
    ),
    _entry(
        "kubernetes.rollout_undo",
        "Put a Deployment back to an earlier revision.",
        _IN,
        "rollback_deployment",
        "rollout_undo",
        "undo_rollout",
        kinds=("Deployment",),
        params=_to("revision", "to_revision", "toRevision", "target_revision", "targetRevision"),
    ),
    _entry(
        "kubernetes.delete_pod",
        "Delete one pod; its controller makes another.",
        _ID,
        "delete_pod",
        kinds=("Pod",),
        params=_to("grace_period_seconds", *GRACE_PERIOD),
        undo_reason="a deleted pod does not come back",
    ),
    _entry(
        "kubernetes.set_resources",
        "Set requests and limits of a workload's containers.",
        _IN,
        "increase_resources",
        "increase_memory",
        "increase_memory_limit",
        "increase_memory_limits",
        "increase_cpu",
        "increase_cpu_limit",
        "increase_cpu_limits",
        "patch_resource_limits",
        "optimize_resources",
        "optimize_deployment",
        kinds=_WORKLOADS,
        params=_to("memory_limit", *MEMORY) | _to("cpu_limit", *CPU),
    ),
    _entry("kubernetes.set_image", "Set the image of a container.", _IN, "set_image", "update_image", kinds=_WORKLOADS),
    _entry(
        "kubernetes.patch",
        "Set fields of one object.",
        _IN,
        "update_deployment",
        "patch_resource",
        "update_configmap",
        "patch_configmap",
        "update_configuration",
        "patch_configuration",
        "patch_service",
        "update_service",
        "update_ingress",
        "update_node_labels",
        "update_network_policy",
        "update_resource_quota",
    ),
    _entry("kubernetes.rollout_pause", "Stop a rollout where it is.", _IN, "rollout_pause", kinds=("Deployment",)),
    _entry("kubernetes.rollout_resume", "Let a paused rollout go on.", _IN, "rollout_resume", kinds=("Deployment",)),
    _entry(
        "kubernetes.drain",
        "Evict the pods of a node.",
        _ID,
        "drain_node",
        kinds=("Node",),
        params=_to("grace_period_seconds", *GRACE_PERIOD),
        risk=Risk.HIGH,
        undo_reason="an evicted pod does not come back",
    ),
    _entry("kubernetes.cordon", "Let no new pods onto a node.", _IN, "cordon_node", kinds=("Node",)),
    _entry("kubernetes.uncordon", "Let pods onto a node again.", _IN, "uncordon_node", kinds=("Node",)),
    _entry("kubernetes.taint", "Put a taint on a node.", _IN, "taint_node", kinds=("Node",)),
    _entry("kubernetes.untaint", "Remove a taint from a node.", _IN, "untaint_node", "remove_taint", kinds=("Node",)),
    _entry(
        "kubernetes.update_hpa",
        "Set the bounds of a HorizontalPodAutoscaler.",
        _IN,
        "update_hpa",
        "patch_hpa",
        kinds=("HorizontalPodAutoscaler",),
        params=_to("min_replicas", "minReplicas") | _to("max_replicas", "maxReplicas"),
    ),
    _entry(
        "kubernetes.update_pdb",
        "Set what a PodDisruptionBudget allows.",
        _IN,
        "update_pdb",
        "relax_pdb",
        kinds=("PodDisruptionBudget",),
    ),
    _entry(
        "kubernetes.expand_pvc",
        "Ask for a larger volume.",
        _IN,
        "expand_pvc",
        "resize_persistent_volume",
        kinds=("PersistentVolumeClaim",),
        params=_to("size", "new_size", "newSize"),
        undo_reason="a volume does not shrink",
    ),
    _entry("kubernetes.quarantine_pod", "Cut one pod off.", _IN, "quarantine_pod", kinds=("Pod",), risk=Risk.HIGH),
    _entry(
        "kubernetes.collect_diagnostics",
        "Keep events, logs and descriptions of an object.",
        _READ,
        "collect_diagnostics",
        "get_events",
        "investigate_logs",
        risk=Risk.NONE,
        undo_reason=_LOOKS,
    ),
)

_LOOKING_AND_TELLING = (
    _entry(
        "monitoring.check",
        "Evaluate an expression over one object.",
        _READ,
        "monitoring_check",
        "check_object",
        risk=Risk.NONE,
        undo_reason=_LOOKS,
    ),
    _entry(
        "monitoring.probe",
        "Call an HTTP or TCP endpoint and look at the answer.",
        _READ,
        "health_check",
        "verify_connectivity",
        risk=Risk.NONE,
        undo_reason=_LOOKS,
    ),
    _entry(
        "monitoring.query",
        "Ask Prometheus.",
        _READ,
        "monitor_metrics",
        "query_metrics",
        risk=Risk.NONE,
        undo_reason=_LOOKS,
    ),
    _entry("http.request", "Call an HTTP endpoint.", _EXT, "http_request", undo_reason=_SENT),
    _entry("webhook", "Send a message to a webhook.", _EXT, "call_webhook", risk=Risk.LOW, undo_reason=_SENT),
    _entry(
        "notify",
        "Tell people.",
        _EXT,
        "notify_only",
        "notify_oncall",
        "notification",
        "send_notification",
        "log",
        risk=Risk.NONE,
        undo_reason=_SENT,
    ),
    _entry("noop", "Do nothing.", _READ, "no_op", "no_action", risk=Risk.NONE, undo_reason=_LOOKS),
)

_OTHER: Mapping[str, EffectClass] = {
    # rollbacks of other tools
    "helm_rollback": _EXT,
    "git_revert_commit": _EXT,
    # objects that come, go, or hold secrets and rights
    "create_resource": _ID,
    "delete_resource": _ID,
    "create_configmap": _ID,
    "create_secret": _ID,
    "update_secret": _IN,
    "rotate_secrets": _EXT,
    "refresh_image_pull_secret": _IN,
    "restore_role_binding": _IN,
    # nodes and storage
    "scale_node_pool": _EXT,
    "cleanup_node": _EXT,
    "create_persistent_volume": _ID,
    "cleanup_storage": _EXT,
    "emergency_cleanup": _EXT,
    "backup_data": _EXT,
    "compact_storage": _EXT,
    # availability and network
    "create_hpa": _ID,
    "enable_autoscaling": _ID,
    "create_pdb": _ID,
    "create_network_policy": _ID,
    "fix_network_policy": _IN,
    "restart_network": _EXT,
    "reset_service_mesh": _EXT,
    # databases
    "failover_database": _EXT,
    "repair_database": _EXT,
    # looking
    "audit_logs": _READ,
    "verify_deployment": _READ,
    "verify_recovery": _READ,
    "create_heap_dump": _EXT,
    "enable_debug_mode": _EXT,
    # monitoring and people
    "enable_monitoring": _EXT,
    "disable_monitoring": _EXT,
    "silence_alert": _EXT,
    "create_alert": _EXT,
    "acknowledge_alert": _EXT,
    "escalate_alert": _EXT,
    "escalate": _EXT,
    "wait": _READ,
    "migrate_workload": _ID,
}

CATALOGUE: Mapping[str, ActionSpec] = MappingProxyType(
    {entry.name: entry for entry in (*_KUBERNETES, *_LOOKING_AND_TELLING)}
    | {
        f"other.{name}": _entry(
            f"other.{name}",
            f"{name.replace('_', ' ').capitalize()}: depends on what a site runs.",
            effect,
            name,
            risk=Risk.NONE if effect is _READ else Risk.HIGH,
            undo_reason=_LOOKS if effect is _READ else "no executor is installed",
        )
        for name, effect in _OTHER.items()
    }
)
"""Every known action by our name."""

_KIND_OF_NAME: Mapping[str, str] = {
    "scale_deployment": "Deployment",
    "scale_statefulset": "StatefulSet",
    "restart_deployment": "Deployment",
    "restart_statefulset": "StatefulSet",
    "restart_daemonset": "DaemonSet",
    "rollback_deployment": "Deployment",
    "optimize_deployment": "Deployment",
    "update_deployment": "Deployment",
    "update_configmap": "ConfigMap",
    "patch_configmap": "ConfigMap",
    "patch_service": "Service",
    "update_service": "Service",
    "update_ingress": "Ingress",
    "update_node_labels": "Node",
    "update_network_policy": "NetworkPolicy",
    "update_resource_quota": "ResourceQuota",
}

_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_CAMEL = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_CAMEL_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+|[0-9]+")
_LONGEST = 100


def snake(name: str) -> str | None:
    """`scale-deployment`, `ScaleDeployment`, `IncreaseCPULimits` → snake_case; None for what is none of the three."""
    if len(name) > _LONGEST:
        return None
    if _SNAKE.fullmatch(name):
        return name
    if _KEBAB.fullmatch(name):
        return name.replace("-", "_")
    if _CAMEL.fullmatch(name) and not name.isupper():
        return "_".join(part.lower() for part in _CAMEL_PARTS.findall(name))
    return None


def find(name: str) -> ActionSpec | None:
    """The entry that `name` names, ours or any of its other names, in any of the three spellings; never a near miss."""
    if name in CATALOGUE:
        return CATALOGUE[name]
    spelled = snake(name)
    return _by_alias().get(spelled) if spelled else None


def near_miss(name: str) -> str | None:
    """The name that was probably meant, for a fault's remedy."""
    if len(name) > _LONGEST:
        return None
    spelled = snake(name) or re.sub(r"[\s\-]+", "_", name.strip()).lower()
    return next(iter(difflib.get_close_matches(spelled, [*_by_alias(), *CATALOGUE], n=1, cutoff=0.75)), None)


def fixed_kind(name: str) -> str | None:
    """The kind of object that a name fixes: `scale_statefulset` → StatefulSet, `scale_up` → None."""
    spelled = snake(name)
    return _KIND_OF_NAME.get(spelled) if spelled else None


@lru_cache(maxsize=1)
def _by_alias() -> Mapping[str, ActionSpec]:
    names: dict[str, ActionSpec] = {}
    for entry in CATALOGUE.values():
        for alias in entry.aliases:
            if names.setdefault(alias, entry) is not entry:
                raise AssertionError(f"{alias!r} names both {names[alias].name} and {entry.name}")
    return MappingProxyType(names)
