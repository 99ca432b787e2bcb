"""From the parameters that an AI gave to the parameters and the target of one step.

Used by every dialect whose actions have a `parameters` object. Other names of a parameter become ours, numbers
written as strings become numbers where the action wants one, and what names the object becomes the step's target; a
part of the target that is missing is taken from the signal where that is unambiguous. Nothing is guessed: two names
with different values, an unknown parameter of an installed action and a missing quantity are faults. Parameters of an
action that is not installed are kept as given.
"""

from __future__ import annotations

import re
import types as types_module
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from kubernaut.actions import catalogue, registry
from kubernaut.actions.spec import ActionSpec
from kubernaut.cluster.objects import BY_KIND, canonical_kind, escape
from kubernaut.plan import signals
from kubernaut.plan.dialects import plain
from kubernaut.plan.model import Signal, Target
from kubernaut.plan.provenance import Ledger, near_miss, shown, wrong_type

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
NOTE_KEYS = ("reason", "description", "comment")
_KIND_OF_KEY = {key: kind for kind, keys in NAME_KEYS.items() for key in keys}
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d{0,17})(\.\d{1,17})?")


@dataclass(frozen=True, kw_only=True)
class World:
    """What is known beside the answer."""

    signal: Signal | None = None
    default_cluster: str | None = None

    @property
    def target(self) -> Target:
        return self.signal.target if self.signal else Target()

    def name_of(self, kind: str) -> str | None:
        """The object of this kind that the signal is about."""
        if self.signal is None:
            return None
        if self.signal.target.kind == kind:
            return self.signal.target.name
        return signals.name_for(self.signal.labels, kind)


@dataclass
class Parameters:
    """The `parameters` object of one action while it is read.

    :param at: its pointer in the answer
    :param action_at: the pointer of the action that it belongs to
    :param step: the step's pointer in the plan
    """

    ledger: Ledger
    value: Mapping[str, JsonValue]
    at: str
    action_at: str
    action: str
    spec: ActionSpec
    step: str
    world: World
    used: set[str] = field(default_factory=set)

    def place(self, key: str) -> str:
        return f"{self.at}/{escape(key)}"

    @property
    def fields(self) -> Mapping[str, typing.Any]:
        return self.spec.params.model_fields if self.spec.params else {}

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that the action means, whether or not its executor already knows all of them."""
        entry = catalogue.CATALOGUE.get(self.spec.name)
        return (entry.target_kinds if entry else ()) or self.spec.target_kinds

    @property
    def fault_place(self) -> str:
        """Where something that is missing belongs: the parameters, or the action where it has none."""
        return self.at if self.value else self.action_at


def read(parameters: Parameters) -> tuple[dict[str, JsonValue], Target | None]:
    """Parameters and target in our form. Every leaf of `parameters` gets its destination in the ledger."""
    _refuse_templates(parameters)
    target = _Targeting(parameters).read()
    if parameters.spec.params is None:
        return _kept(parameters), target
    return _translated(parameters), target


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
    named = {_KIND_OF_KEY[key] for key in value if key in _KIND_OF_KEY}
    named |= {canonical_kind(str(value[key])) or "" for key in KIND_KEYS if isinstance(value.get(key), str)}
    return name == "restart_pod" and not named & _WORKLOADS


# --- parameters


def _refuse_templates(parameters: Parameters) -> None:
    expressions = (f"{parameters.at}/expression",) if parameters.spec.name == "monitoring.check" else ()
    for pointer, found in plain.marks(dict(parameters.value), parameters.at, expressions=expressions):
        fault = plain.template_fault(pointer, found)
        parameters.ledger.fault(fault.pointer, fault.code, fault.message, fault.remedy)


def _kept(parameters: Parameters) -> dict[str, JsonValue]:
    """As given; but two names of one parameter that disagree are a contradiction whoever will read them."""
    by_name: dict[str, list[str]] = {}
    for key in parameters.value:
        by_name.setdefault(parameters.spec.param_aliases.get(key, key), []).append(key)
        parameters.ledger.field(parameters.place(key), f"{parameters.step}/params/{escape(key)}")
    for keys in by_name.values():
        _agreed(parameters, keys, {key: _plain_number(parameters.value[key]) for key in keys})
    return dict(parameters.value)


def _translated(parameters: Parameters) -> dict[str, JsonValue]:
    by_name: dict[str, dict[str, JsonValue]] = {}
    failed: set[str] = set()
    for key, value in parameters.value.items():
        if key in parameters.used:
            continue
        name = _parameter_name(parameters, key)
        if name is None:
            _unknown(parameters, key)
            continue
        if value is None:
            parameters.ledger.note(parameters.place(key), "null: not given")
            continue
        ok, converted = _converted(parameters, key, name, value)
        if not ok:
            failed.add(name)
        else:
            by_name.setdefault(name, {})[key] = converted
    given: dict[str, JsonValue] = {}
    for name, values in by_name.items():
        destination = f"{parameters.step}/params/{escape(name)}"
        if not _agreed(parameters, list(values), values, plan=destination):
            failed.add(name)
            continue
        given[name] = next(iter(values.values()))
        for key in values:
            parameters.ledger.field(parameters.place(key), destination)
    _check(parameters, given, failed)
    return given


def _parameter_name(parameters: Parameters, key: str) -> str | None:
    """Our name of the parameter: itself, an alias, or the same word in another spelling."""
    fields = parameters.fields
    entry = catalogue.CATALOGUE.get(parameters.spec.name)
    aliases = {**(entry.param_aliases if entry else {}), **parameters.spec.param_aliases}
    for name in (key, aliases.get(key), catalogue.snake(key)):
        if name is not None and name in fields:
            return name
    return None


def _unknown(parameters: Parameters, key: str) -> None:
    place, value = parameters.place(key), parameters.value[key]
    if key in NOTE_KEYS and isinstance(value, str):
        parameters.ledger.note(place, f"why {parameters.spec.name} is proposed")
        return
    entry = catalogue.CATALOGUE.get(parameters.spec.name)
    known = sorted({*parameters.fields, *(entry.param_aliases if entry else ()), *parameters.spec.param_aliases})
    near = near_miss(key, [*known, *_KIND_OF_KEY, *NAMESPACE_KEYS, *CLUSTER_KEYS], cutoff=0.6)
    hint = f"Did you mean {near!r}? " if near else ""
    parameters.ledger.fault(
        place,
        "param_unknown",
        f"{parameters.spec.name} has no parameter {shown(key)}",
        f"{hint}It has: {', '.join(parameters.fields) or 'none'}.",
    )


def _converted(parameters: Parameters, key: str, name: str, value: JsonValue) -> tuple[bool, JsonValue]:
    """The value as the action wants it: a number where it wants one. False after a fault."""
    wanted, words = _types(parameters.fields[name].annotation)
    if not wanted & {int, float} or str in wanted or value in words:
        return True, value
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            parameters.ledger.fault(
                parameters.place(key),
                "param_invalid",
                f"{name} is a number, this is the text {shown(value)}",
                "Give the number itself.",
                plan=f"{parameters.step}/params/{escape(name)}",
            )
            return False, None
        value = float(value) if "." in value else int(value)
    if isinstance(value, float) and value.is_integer() and float not in wanted:
        value = int(value)
    return True, value


def _agreed(parameters: Parameters, keys: list[str], values: Mapping[str, JsonValue], *, plan: str = "") -> bool:
    """Whether all names of one thing have one value; a fault that names two of them where they do not."""
    first = keys[0]
    other = next((key for key in keys[1:] if values[key] != values[first]), None)
    if other is None:
        return True
    for key in keys:
        parameters.ledger.fault(
            parameters.place(key),
            "conflicting_aliases",
            f"{first!r} and {other!r} name the same parameter and have different values",
            "Give it once; which of them is meant is not guessed.",
            plan=plan,
        )
    return False


def _check(parameters: Parameters, given: dict[str, JsonValue], failed: set[str]) -> None:
    """What the action's own model says about the parameters; what already has a fault is not reported twice."""
    for fault in registry.validate_params(parameters.spec.name, given):
        if fault.pointer[1:] in map(escape, failed):
            continue
        plan = f"{parameters.step}/params{fault.pointer}"
        place = parameters.ledger.sources.get(plan)
        parameters.ledger.fault(
            place or parameters.fault_place,
            fault.code,
            fault.message,
            fault.remedy,
            covers=place is not None,
            plan=plan,
        )


def _types(annotation: typing.Any) -> tuple[set[type], set[JsonValue]]:
    """The plain types in an annotation, through unions and Annotated, and the words of its literals."""
    types: set[type] = set()
    words: set[JsonValue] = set()
    waiting = [annotation]
    while waiting:
        part = waiting.pop()
        origin = typing.get_origin(part)
        if origin is typing.Literal:
            words.update(typing.get_args(part))
        elif origin is typing.Annotated:
            waiting.append(typing.get_args(part)[0])
        elif isinstance(part, type):
            types.add(part)
        elif origin in (typing.Union, types_module.UnionType):
            waiting.extend(typing.get_args(part))
        elif isinstance(origin, type):
            types.add(origin)
    return types, words


def _plain_number(value: JsonValue) -> JsonValue:
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


# --- the target


@dataclass
class _Targeting:
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
        if not self._all_texts(given) or (given and not _agreed(parameters, given, kinds)):
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
        return fixed or stated or self._kind_of_keys(), True

    def _kind_of_keys(self) -> str | None:
        named = {
            kind: key
            for key, kind in _KIND_OF_KEY.items()
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
        if not self._all_texts(given) or not _agreed(
            parameters, given, parameters.value, plan=f"{parameters.step}/target"
        ):
            parameters.used.update(given)
            return None, False
        for key in given:
            self._place(key, part)
        return str(parameters.value[given[0]]), True

    def _all_texts(self, keys: list[str]) -> bool:
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
