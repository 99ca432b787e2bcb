"""Which object an action is about, from the parameters that an AI gave and from the signal.

Used by `parameters`. What is missing in the parameters is taken from the signal where that is unambiguous; a pod's name
is never read as the name of its workload. A target that stays incomplete is a fault of an installed action.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from kubernaut.actions import catalogue
from kubernaut.cluster.objects import BY_KIND, canonical_kind
from kubernaut.plan.dialects.given import Parameters, agreed
from kubernaut.plan.model import Target
from kubernaut.plan.provenance import shown, wrong_type

NAME_KEYS: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("deployment", "deployment_name", "deploymentName"),
    "StatefulSet": ("statefulset", "statefulset_name", "statefulSetName", "stateful_set"),
    "DaemonSet": ("daemonset", "daemonset_name", "daemonSetName", "daemon_set"),
    "Pod": ("pod", "pod_name", "podName"),
    "Node": ("node", "node_name", "nodeName"),
    "PersistentVolumeClaim": ("pvc", "pvc_name", "pvcName"),
}
"""Parameters that name an object and say its kind."""
ANY_NAME_KEYS = ("name", "resource_name", "resourceName")
KIND_KEYS = ("resource_type", "resourceType", "kind", "resource_kind", "resourceKind")
NAMESPACE_KEYS = ("namespace", "ns", "resource_namespace", "resourceNamespace")
CLUSTER_KEYS = ("cluster", "cluster_name", "clusterName")
KIND_OF_KEY = {key: kind for kind, keys in NAME_KEYS.items() for key in keys}


_RESTARTS_OF_PODS = ("restart_pod", "restart_pods", "rolling_restart_pods")
_WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet"})


def means_one_pod(action: str, value: Mapping[str, JsonValue]) -> bool:
    """Whether a restart means one pod and not the rollout of its workload.

    Restarting all pods where one was meant would be wider than what was proposed; so `restart_pod` is a rollout only
    where a workload is named, and no restart of pods is one where a pod is named.
    """
    name = catalogue.snake(action)
    if name not in _RESTARTS_OF_PODS:
        return False
    if any(value.get(key) is not None for key in NAME_KEYS["Pod"]):
        return True
    named = {KIND_OF_KEY[key] for key in value if key in KIND_OF_KEY}
    named |= {canonical_kind(str(value[key])) or "" for key in KIND_KEYS if isinstance(value.get(key), str)}
    return name == "restart_pod" and not named & _WORKLOADS


@dataclass
class Targeting:
    """Finds the object that one step acts on."""

    parameters: Parameters

    def read(self) -> Target | None:
        kind, kind_ok = self._kind()
        name, name_ok = self._name(kind)
        namespace, namespace_ok = self._word("namespace", NAMESPACE_KEYS)
        cluster, cluster_ok = self._word("cluster", CLUSTER_KEYS)
        if not self.parameters.kinds and not (kind or name or namespace or cluster):
            return None
        world = self.parameters.world
        if kind is None and kind_ok:
            kind = self._kind_from_outside(name)
        if name is None and name_ok and kind is not None:
            name = world.name_of(kind)
        if namespace is None and namespace_ok and _namespaced(kind):
            namespace = world.target.namespace
        if cluster is None and cluster_ok:
            cluster = world.target.cluster or world.default_cluster
        if self._required() and kind_ok and name_ok and namespace_ok:
            self._report_missing(kind, name, namespace)
        return Target(
            cluster=self._fitting("cluster", cluster, 253),
            kind=self._fitting("kind", kind, 63),
            namespace=self._fitting("namespace", namespace, 63),
            name=self._fitting("name", name, 253),
        )

    def _fitting(self, part: str, text: str | None, longest: int) -> str | None:
        if text is None or len(text) <= longest:
            return text
        plan = f"{self.parameters.step}/target/{part}"
        self.parameters.ledger.fault(
            self.parameters.ledger.sources.get(plan, self.parameters.at),
            "invalid_value",
            f"the {part} has more than {longest} characters",
            "Give the name as Kubernetes has it.",
            plan=plan,
        )
        return None

    @property
    def _strict(self) -> bool:
        """Of an action that has no executor and no kind of its own, what its parameters mean is not known."""
        return self.parameters.spec.installed or bool(self.parameters.kinds)

    def _required(self) -> bool:
        return self.parameters.spec.installed and bool(self.parameters.kinds)

    def _report_missing(self, kind: str | None, name: str | None, namespace: str | None) -> None:
        missing = [
            word
            for word, absent in (
                ("kind", kind is None),
                ("name", name is None),
                ("namespace", namespace is None and _namespaced(kind)),
            )
            if absent
        ]
        if missing:
            parameters = self.parameters
            example = NAME_KEYS.get(kind or "Deployment", ANY_NAME_KEYS)[0]
            parameters.ledger.fault(
                parameters.fault_place,
                "missing_target",
                f"which object {parameters.action} is about is not said: {' and '.join(missing)} missing, "
                "and the signal does not say it either",
                f"Give the parameters {example!r} and 'namespace', or a signal whose labels name the object.",
                covers=False,
                plan=f"{parameters.step}/target",
            )

    def _kind(self) -> tuple[str | None, bool]:
        """The kind that the action's name, a `resource_type` or the name of a parameter says; False after a fault."""
        parameters = self.parameters
        fixed = catalogue.fixed_kind(parameters.action)
        given = [key for key in KIND_KEYS if self._is_ours(key) and parameters.value.get(key) is not None]
        kinds = {key: canonical_kind(str(parameters.value[key])) or str(parameters.value[key]) for key in given}
        if not self._strict:
            named = {kind for kind in kinds.values() if kind in BY_KIND}
            return named.pop() if len(named) == 1 else fixed or self._kind_of_keys(), True
        parameters.used.update(given)
        if not self._all_texts(given) or (given and not agreed(parameters, given, kinds)):
            return None, False
        stated = kinds[given[0]] if given else None
        if fixed and stated and stated != fixed:
            parameters.ledger.fault(
                parameters.place(given[0]),
                "conflicting_aliases",
                f"{given[0]!r} says {stated}, {parameters.action!r} means a {fixed}",
                "Use the action's name and the kind that belong together.",
                plan=f"{parameters.step}/target",
            )
            return fixed, False
        for key in given:
            self._place(key, "kind")
        if stated and self._required() and stated not in BY_KIND and stated not in parameters.kinds:
            parameters.ledger.fault(
                parameters.place(given[0]),
                "unknown_kind",
                f"{shown(stated)} is no kind of object that is known here",
                f"{parameters.spec.name} acts on: {', '.join(parameters.kinds)}.",
                plan=f"{parameters.step}/target",
            )
            return None, False
        return fixed or stated or self._kind_of_keys(), True

    def _kind_of_keys(self) -> str | None:
        named = {
            kind: key
            for key, kind in KIND_OF_KEY.items()
            if self._is_ours(key) and self.parameters.value.get(key) is not None
        }
        wanted = self.parameters.kinds
        fitting = [kind for kind in named if kind in wanted] or list(named)
        return fitting[0] if len(fitting) == 1 else None

    def _kind_from_outside(self, name: str | None) -> str | None:
        """The signal's kind where it is about the same object; else a bare name is a Deployment's where it can be."""
        wanted = self.parameters.kinds
        about = self.parameters.world.target
        if about.kind in wanted and name in (None, about.name):
            return about.kind
        if len(wanted) == 1:
            return wanted[0]
        is_service = catalogue.snake(self.parameters.action) == "restart_service"
        if name is not None and "Deployment" in wanted and _WORKLOADS.issuperset(wanted) and not is_service:
            return "Deployment"
        return None

    def _name(self, kind: str | None) -> tuple[str | None, bool]:
        keys = (*NAME_KEYS.get(kind or "", ()), *ANY_NAME_KEYS)
        return self._word("name", keys)

    def _word(self, part: str, keys: tuple[str, ...]) -> tuple[str | None, bool]:
        """The one value under these names; False after a fault."""
        parameters = self.parameters
        given = [key for key in keys if self._is_ours(key) and parameters.value.get(key) is not None]
        if not given:
            return None, True
        if not self._strict and len({str(parameters.value[key]) for key in given}) > 1:
            return None, True
        if not self._all_texts(given) or not agreed(
            parameters, given, parameters.value, plan=f"{parameters.step}/target"
        ):
            parameters.used.update(given)
            return None, False
        for key in given:
            self._place(key, part)
        return str(parameters.value[given[0]]), True

    def _all_texts(self, keys: list[str]) -> bool:
        if not self._strict:
            return all(isinstance(self.parameters.value[key], str) for key in keys)
        wrong = [
            key for key in keys if not isinstance(self.parameters.value[key], str) or not self.parameters.value[key]
        ]
        for key in wrong:
            wrong_type(
                self.parameters.ledger,
                self.parameters.place(key),
                "a name",
                self.parameters.value[key],
                plan=f"{self.parameters.step}/target",
            )
            self.parameters.used.add(key)
        return not wrong

    def _place(self, key: str, part: str) -> None:
        self.parameters.used.add(key)
        self.parameters.ledger.field(self.parameters.place(key), f"{self.parameters.step}/target/{part}")

    def _is_ours(self, key: str) -> bool:
        """A parameter of the action itself comes before a part of the target of the same name."""
        return key not in self.parameters.fields


def _namespaced(kind: str | None) -> bool:
    return kind is None or kind not in BY_KIND or BY_KIND[kind].namespaced
