"""What only a cluster can tell about an examined plan: the labels that the policy asks for.

Called when a plan is about to be accepted (`kubernaut.execution.submit_runner`), never by the CLI. The caller brings
the reading; this module knows no client. Labels can only make an answer stricter: the entries of `unchecked` that they
answer go, faults and reasons come. **A cluster that cannot be read is a reason for an approval, never a pass**: the
person who approves sees which labels nobody has read, and the claim reads them again before anything is changed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from kubernaut.errors import Fault
from kubernaut.examination import UNANSWERABLE, Examination, HumanReason, Outcome
from kubernaut.plan.model import Plan, Target
from kubernaut.plan.normalise import action_spec
from kubernaut.plan.permission import Permission, changed_by, label_owner, unread_labels
from kubernaut.policy import Policy, Rule, Subject, rule

ReadLabels = Callable[[Target], Awaitable[Mapping[str, str]]]
"""The labels that decide about a target (its namespace's, or a cluster-scoped object's own); raises where they cannot
be read."""


async def with_live_policy(examination: Examination, *, policy: Policy, labels_of: ReadLabels) -> Examination:
    """The examination with the policy's answer over labels that were read now; each namespace is read once."""
    plan = examination.plan
    if plan is None or examination.outcome is Outcome.INVALID:
        return examination
    reading = _Reading(labels_of=labels_of)
    for index, step in enumerate(plan.steps):
        pointer = examination.pointers.get(step.id, f"/steps/{index}")
        for subject in changed_by(step):
            await _judge(reading, policy, subject, pointer)
    return _stricter(examination, reading, _without_cluster(plan, examination.pointers))


@dataclass(kw_only=True)
class _Reading:
    """What was read so far, and what follows from it."""

    labels_of: ReadLabels
    found: Permission = field(default_factory=Permission)
    answered: set[str] = field(default_factory=set)
    labels: dict[str, Mapping[str, str] | Exception] = field(default_factory=dict)

    async def read(self, target: Target) -> Mapping[str, str] | Exception:
        owner = label_owner(target)
        if owner not in self.labels:
            try:
                self.labels[owner] = await self.labels_of(target)
            except Exception as error:  # whatever went wrong: nobody knows the labels
                self.labels[owner] = error
        return self.labels[owner]


async def _judge(reading: _Reading, policy: Policy, subject: Subject, pointer: str) -> None:
    by_name = rule(policy, subject)
    if not by_name.unread:
        return
    target = Target(cluster=subject.cluster, kind=subject.kind, namespace=subject.namespace, name=subject.name)
    if target.cluster is None:
        return
    labels = await reading.read(target)
    if isinstance(labels, Exception):
        reading.found.approval.append(_unread(by_name.unread, subject, labels, pointer))
        return
    reading.answered.update(text for waiting in by_name.unread for text in unread_labels(waiting, subject))
    ruling = rule(policy, subject.model_copy(update={"labels": dict(labels)}))
    added = tuple(one for one in ruling.rules if one not in by_name.rules)
    if added:
        reading.found.ruling(ruling.model_copy(update={"rules": added}), subject, pointer)


def _unread(waiting: tuple[Rule, ...], subject: Subject, error: Exception, pointer: str) -> HumanReason:
    labels = ", ".join(dict.fromkeys(text for one in waiting for text in unread_labels(one, subject)))
    return HumanReason(
        code="labels_unread", message=f"{labels} could not be read ({str(error)[:200]})", pointer=pointer
    )


def _without_cluster(plan: Plan, pointers: Mapping[str, str]) -> list[Fault]:
    """Here is the place where the clusters are known: a step that still names none cannot run."""
    return [
        Fault(
            pointer=pointers.get(step.id, f"/steps/{index}"),
            code="missing_cluster",
            message=f"step {step.id!r} is about no cluster, and none is configured here",
            remedy="Name the cluster, and list it in the setting clusters.",
        )
        for index, step in enumerate(plan.steps)
        if (spec := action_spec(step.action)) is not None
        and spec.installed
        and spec.target_kinds
        and (step.target is None or step.target.cluster is None)
    ]


def _stricter(examination: Examination, reading: _Reading, faults: list[Fault]) -> Examination:
    faults = list(dict.fromkeys([*reading.found.faults, *faults]))
    human = tuple(dict.fromkeys((*examination.human_reasons, *reading.found.human)))
    approval = tuple(dict.fromkeys((*examination.approval_reasons, *reading.found.approval)))
    answerable = bool(approval) or any(reason.code not in UNANSWERABLE for reason in human)
    return examination.model_copy(
        update={
            "faults": (*examination.faults, *faults),
            "human_reasons": human,
            "approval_reasons": approval,
            "approval_required": answerable,
            "unchecked": tuple(text for text in examination.unchecked if text not in reading.answered),
            "outcome": Outcome.INVALID if faults else Outcome.HUMAN if human else Outcome.RUNNABLE,
            # what may not run is not compiled: nobody can approve it by its hash
            **({"workflow": None, "bindings": None} if faults else {}),
        }
    )
