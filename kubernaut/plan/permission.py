"""Whether a plan that could run may run by itself: the policy, the AI's own confidence and risk, what nothing can check.

Called by `kubernaut.plan.examine` (names alone) and by `kubernaut.plan.live` (with labels read from the cluster); the
claim asks the policy once more. Pure. A denial is a fault; everything else is a reason for a human to look (`human`) or
to approve (`approval`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from kubernaut.actions import registry
from kubernaut.cluster.objects import BY_KIND, escape
from kubernaut.errors import Fault
from kubernaut.examination import HumanReason
from kubernaut.plan.model import (
    ActionUndo,
    ListCondition,
    NamedCondition,
    ObjectCondition,
    PlanBody,
    Risk,
    Step,
    Target,
)
from kubernaut.plan.normalise import action_spec
from kubernaut.plan.validate import conditions_of
from kubernaut.policy import Decision, Policy, Rule, Ruling, Subject, rule
from kubernaut.settings import Settings
from kubernaut.workflow.compile import readable

_EXTREMES = (1e308, -1e308)
_READ = "read"
"""Stands for the action where a condition looks at an object."""


@dataclass
class Permission:
    """What was found; grows while a plan is looked at. Pointers are into the plan."""

    faults: list[Fault] = field(default_factory=list)
    human: list[HumanReason] = field(default_factory=list)
    approval: list[HumanReason] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    def ruling(self, ruling: Ruling, subject: Subject, pointer: str) -> None:
        """What the policy says of one step."""
        if ruling.decision is Decision.DENY:
            self.faults.append(denied(ruling, pointer))
        elif ruling.decision is Decision.HUMAN:
            self.human.append(HumanReason(code="policy_human", message=ruling.text, pointer=pointer))
        elif ruling.decision is Decision.ASK:
            self.approval.append(HumanReason(code="policy_ask", message=ruling.text, pointer=pointer))
        for waiting in ruling.unread:
            self.unchecked += [text for text in unread_labels(waiting, subject) if text not in self.unchecked]


def permission_of(body: PlanBody, *, policy: Policy, settings: Settings) -> Permission:
    """All of it for one plan that `normalise` completed."""
    found = Permission()
    for index, step in enumerate(body.steps):
        at = f"/steps/{index}"
        for subject, place in zip(changed_by(step), ("", "/undo"), strict=False):
            _judge_subject(found, policy, subject, f"{at}{place}")
        if step.requires_approval:
            message = f"step {step.id!r} asks for an approval"
            found.approval.append(HumanReason(code="step_requires_approval", message=message, pointer=at))
    _judge_conditions(found, body, policy)
    _judge_confidence(found, body, settings)
    if body.risk in (Risk.HIGH, Risk.CRITICAL):
        message = f"the plan calls its own risk {body.risk.value}"
        found.approval.append(HumanReason(code="high_risk", message=message, pointer="/risk"))
    return found


def changed_by(step: Step) -> tuple[Subject, ...]:
    """What the policy is asked about one step: its action, and the action that would undo it where it names one."""
    named = [(step.action, step.params)]
    if isinstance(step.undo, ActionUndo):
        named.append((step.undo.action, step.undo.params))
    target = step.target or Target()
    specs = [(action_spec(action), params) for action, params in named]
    return tuple(subject_of(spec.name, spec.changes_cluster, target, params) for spec, params in specs if spec)


def _judge_subject(found: Permission, policy: Policy, subject: Subject, at: str) -> None:
    found.ruling(rule(policy, subject), subject, at)
    for ruling in _deferred(policy, subject):
        message = f"the value is computed when the step runs, and it may be one that needs an approval: {ruling.text}"
        if ruling.decision is not Decision.ALLOW:
            found.approval.append(HumanReason(code="policy_ask", message=message, pointer=f"{at}/params"))


def subject_of(action: str, changes: bool, target: Target, params: Mapping[str, JsonValue]) -> Subject:
    """What the policy is asked about; labels are not read yet."""
    return Subject(
        action=action,
        changes=changes,
        cluster=target.cluster,
        kind=target.kind,
        namespace=target.namespace,
        name=target.name,
        params=dict(params),
    )


def _deferred(policy: Policy, subject: Subject) -> Iterator[Ruling]:
    """What the limits would say of values that are known only when the step runs: the strictest ruling of each side."""
    computed = [name for name, value in subject.params.items() if registry.is_deferred(value)]
    if not computed:
        return
    limited = policy.model_copy(
        update={"rules": tuple(one for one in policy.rules if one.limit and one.limit.parameter in computed)}
    )
    for extreme in _EXTREMES:
        yield rule(limited, subject.model_copy(update={"params": dict.fromkeys(computed, extreme)}))


def denied(ruling: Ruling, pointer: str) -> Fault:
    """:param pointer: of the step or check; the fault is about the part of it that the first rule speaks of"""
    return Fault(
        pointer=f"{pointer}{_place(ruling.rules[0])}",
        code="policy_denied",
        message=f"the policy denies it: {ruling.text}",
        remedy="Choose another target or action; only an administrator changes the policy (docs/security.md).",
    )


def _place(decisive: Rule) -> str:
    if decisive.limit is not None:
        return f"/params/{escape(decisive.limit.parameter)}"
    parts = {"name": decisive.names, "kind": decisive.kinds, "namespace": decisive.namespaces}
    part = next((f"/{part}" for part, patterns in parts.items() if patterns), "")
    if not part and decisive.actions:
        return "/action"
    return f"/target{part}"


def unread_labels(waiting: Rule, subject: Subject) -> tuple[str, ...]:
    """What only a cluster can tell, as `unchecked` names it."""
    owner = label_owner(Target(**subject.model_dump(include={"cluster", "kind", "namespace", "name"})))
    return tuple(f"label {label} of {owner}" for label in sorted(waiting.unless_label or {}))


def label_owner(target: Target) -> str:
    """Whose labels decide about a target: its namespace's, or a cluster-scoped object's own."""
    namespaced = target.kind is None or target.kind not in BY_KIND or BY_KIND[target.kind].namespaced
    if namespaced and target.namespace:
        place = f"namespace {target.namespace}"
    elif target.name and target.kind:
        place = f"{target.kind} {target.name}"
    else:
        place = "the target"
    return f"{place} in cluster {target.cluster}" if target.cluster else place


def _judge_conditions(found: Permission, body: PlanBody, policy: Policy) -> None:
    for pointer, condition in conditions_of(body):
        check = condition.check
        if not readable(check):
            found.unchecked += [condition.name] if condition.name not in found.unchecked else []
            message = (
                f"nothing here can read {condition.name!r}; approved, the plan can end as a partial success at best"
            )
            found.approval.append(HumanReason(code="unchecked_criterion", message=message, pointer=pointer))
        elif isinstance(check, ObjectCondition | ListCondition | NamedCondition):
            ruling = rule(policy, subject_of(_READ, False, check.target, {}))
            if ruling.decision is Decision.DENY:
                found.faults.append(denied(ruling, f"{pointer}/check"))


def _judge_confidence(found: Permission, body: PlanBody, settings: Settings) -> None:
    confidence = body.confidence
    if confidence is None:
        message = "the plan does not say how sure it is of itself"
        found.approval.append(HumanReason(code="no_confidence", message=message, pointer="/confidence"))
    elif confidence < settings.confidence_human:
        message = f"its confidence {confidence:g} is below {settings.confidence_human:g} (setting confidence_human)"
        found.human.append(HumanReason(code="low_confidence", message=message, pointer="/confidence"))
    elif confidence < settings.confidence_approval:
        message = (
            f"its confidence {confidence:g} is below {settings.confidence_approval:g} (setting confidence_approval)"
        )
        found.approval.append(HumanReason(code="moderate_confidence", message=message, pointer="/confidence"))
