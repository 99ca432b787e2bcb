"""Completes a plan: canonical action names, and for every step and condition the object that it is about.

Called by `kubernaut.plan.examine` between translation and validation. What a target leaves out is taken from the plan's
target, then from the signal, and only where the two can mean the same object: a name is never carried over to another
kind, namespace or cluster. What cannot be told stays empty, and validation says so. Steps and conditions keep their
places in the lists, so that JSON pointers into the plan stay true. Also brings what the compiler asks about a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from pydantic import JsonValue

from kubernaut.actions import registry
from kubernaut.actions.spec import ActionSpec
from kubernaut.cluster.objects import BY_KIND, canonical_kind
from kubernaut.errors import InvalidInput
from kubernaut.plan import signals
from kubernaut.plan.graph import object_identity
from kubernaut.plan.model import (
    AutomaticUndo,
    ListCondition,
    NamedCondition,
    NoUndo,
    ObjectCondition,
    Plan,
    PlanBody,
    PostCondition,
    RollbackTrigger,
    Signal,
    Step,
    Target,
    Undo,
)
from kubernaut.settings import Settings
from kubernaut.workflow.compile import StepLookups

_Body = TypeVar("_Body", bound=PlanBody)
_Condition = TypeVar("_Condition", PostCondition, RollbackTrigger)


@lru_cache(maxsize=1_024)
def action_spec(name: str) -> ActionSpec | None:
    """As `registry.find`; asked many times for each step, so remembered."""
    return registry.find(name)


def _known(name: str) -> ActionSpec:
    spec = action_spec(name)
    assert spec is not None, name  # validation has refused it otherwise
    return spec


def default_cluster(settings: Settings) -> str | None:
    """The cluster that is meant where neither plan nor signal names one: the setting's, or the only one there is."""
    if settings.default_cluster is not None:
        return settings.default_cluster
    return next(iter(settings.clusters)) if len(settings.clusters) == 1 else None


def normalise(plan: Plan, *, cluster: str | None) -> Plan:
    """The plan with its targets completed. `cluster`: the one meant where none is named."""
    signal = _with_target(plan.signal)
    completion = _Completion(signal=signal, cluster=cluster)
    return completion.body(
        plan.model_copy(
            update={
                "signal": signal,
                "alternatives": tuple(completion.body(alternative) for alternative in plan.alternatives),
            }
        )
    )


def _with_target(signal: Signal | None) -> Signal | None:
    """A signal inside a plan may leave its target to its labels, as one that comes beside it may."""
    if signal is None:
        return None
    try:
        return signals.parse_signal(signal.model_dump(mode="json", exclude_none=True))
    except InvalidInput:
        return signal


@dataclass(frozen=True, kw_only=True)
class _Completion:
    signal: Signal | None
    cluster: str | None

    def body(self, body: _Body) -> _Body:
        about = self._completed(body.target, self.signal.target if self.signal else Target())
        return body.model_copy(
            update={
                "target": about,
                "steps": tuple(self._step(step, about) for step in body.steps),
                "success_criteria": self._conditions(body.success_criteria, about),
                "rollback_triggers": self._conditions(body.rollback_triggers, about),
            }
        )

    def _step(self, step: Step, about: Target) -> Step:
        spec = action_spec(step.action)
        own = step.target or Target()
        target = own if spec is None else self._target_of(own, spec, about)
        within = target if target.kind else about
        return step.model_copy(
            update={
                "action": spec.name if spec else step.action,
                "target": target,
                "post_conditions": self._conditions(step.post_conditions, within),
            }
        )

    def _target_of(self, own: Target, spec: ActionSpec, about: Target) -> Target:
        if not spec.target_kinds:
            return own
        kind = _kind(own.kind) or (about.kind if about.kind in spec.target_kinds else None)
        if kind is None and len(spec.target_kinds) == 1:
            kind = spec.target_kinds[0]
        return self._completed(own.model_copy(update={"kind": kind}), about)

    def _conditions(self, conditions: Sequence[_Condition], about: Target) -> tuple[_Condition, ...]:
        return tuple(self._condition(condition, about) for condition in conditions)

    def _condition(self, condition: _Condition, about: Target) -> _Condition:
        check = condition.check
        if isinstance(check, ObjectCondition | NamedCondition | ListCondition):
            target = self._completed(check.target, about)
            if isinstance(check, ListCondition):
                target = target.model_copy(update={"name": check.target.name})
            return condition.model_copy(update={"check": check.model_copy(update={"target": target})})
        return condition

    def _completed(self, own: Target, outer: Target) -> Target:
        """`own`, with what it leaves out taken from `outer` where both can mean one object."""
        kind = _kind(own.kind) or outer.kind
        same_cluster = own.cluster in (None, outer.cluster)
        same_place = same_cluster and own.namespace in (None, outer.namespace)
        namespace, name = own.namespace, own.name
        if namespace is None and same_cluster and _namespaced(kind):
            namespace = outer.namespace
        if name is None and same_place:
            name = outer.name if kind == outer.kind else self._name_in_signal(kind, namespace)
        return Target(
            cluster=own.cluster or outer.cluster or self.cluster,
            kind=kind,
            namespace=namespace,
            name=name,
        )

    def _name_in_signal(self, kind: str | None, namespace: str | None) -> str | None:
        if self.signal is None or kind is None:
            return None
        if namespace is not None and namespace != self.signal.target.namespace:
            return None
        return signals.name_for(self.signal.labels, kind)


def _kind(name: str | None) -> str | None:
    return (canonical_kind(name) or name) if name else None


def _namespaced(kind: str | None) -> bool:
    return kind is None or kind not in BY_KIND or BY_KIND[kind].namespaced


# --- what the compiler asks


def lookups() -> StepLookups:
    """For a plan that `normalise` completed and whose actions are all installed."""
    return StepLookups(
        target=lambda step: step.target or Target(),
        step_name=step_name,
        default_timeout=lambda step: _known(step.action).default_timeout,
        undo_of=undo_of,
        default_check=default_check,
        changed_object=lambda step, target: object_identity(target) if _known(step.action).changes_cluster else None,
    )


def undo_of(step: Step) -> Undo:
    """How the step is taken back: as it says, else as its action's effect allows."""
    if step.undo is not None:
        return step.undo
    spec = _known(step.action)
    if spec.undo_reason is not None:
        return NoUndo(reason=spec.undo_reason)
    return AutomaticUndo() if spec.changes_cluster else NoUndo(reason="it changes nothing in the cluster")


def default_check(step: Step, target: Target) -> PostCondition | None:
    """The check that proves the action where the step brings none that can be read."""
    check = registry.executor(step.action).default_check(target, step.params)
    if check is None:
        return None
    what = check.check if isinstance(check, NamedCondition) else f"the effect of {step.action}"
    return PostCondition(name=f"{what} of {describe(target)}", check=check)


_PHRASES = {
    "kubernetes.scale": ("replicas", "Scale {name} to {value}"),
    "kubernetes.rollout_undo": ("revision", "Roll {name} back to revision {value}"),
}
_PLAIN_PHRASES = {
    "kubernetes.scale": "Scale {name}",
    "kubernetes.rollout_undo": "Roll {name} back",
    "kubernetes.rollout_restart": "Restart {name}",
    "monitoring.check": "Check {name}",
}


def step_name(step: Step, target: Target) -> str:
    """For people, where the step has no name of its own: "Scale checkout to 5"."""
    name = target.name or ""
    parameter, phrase = _PHRASES.get(step.action, ("", ""))
    value = step.params.get(parameter)
    if isinstance(value, int):
        return phrase.format(name=name, value=value)[:200]
    plain = _PLAIN_PHRASES.get(step.action)
    if plain is not None:
        return plain.format(name=name)[:200]
    verb = step.action.rpartition(".")[2].replace("_", " ").capitalize()
    return f"{verb} {name}".strip()[:200]


def change_summary(action: str, target: Target, params: Mapping[str, JsonValue]) -> str:
    """What a step would change, in a line, from the plan alone; the card asks."""
    spec = action_spec(action)
    if spec is None or not spec.installed or (target.kind and target.kind not in (spec.target_kinds or (target.kind,))):
        return f"not known: no executor is installed ({spec.meaning if spec else action})"
    return registry.executor(spec.name).change_summary(target, params)


def describe(target: Target) -> str:
    """`Deployment shop/checkout`, as people write it; "no object" where nothing is named."""
    place = "/".join(part for part in (target.namespace, target.name) if part)
    return " ".join(part for part in (target.kind, place) if part) or "no object"
