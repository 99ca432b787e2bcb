"""The outcome of an execution, computed from the rows and never from the colours of tasks.

The last task of every workflow, the verdict, asks `judge` once everything has ended and the conditions were read. The
rule, in one paragraph: *failure* where a rollback trigger fired, a step failed or is in doubt and no fallback saved
it, a step was not reached for another reason than its own edge, a mandatory condition does not hold, or a cluster was
changed and nothing mandatory was read after the last change. *Partial success* where only something optional is
missing, and something that was approved although nothing can read it counts as optional. Else *success*. Every reason
is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal

from kubernaut.plan.foreign_text import visible
from kubernaut.plan.links import Reach, effective, fallbacks
from kubernaut.workflow.gate import NotReachedReason, StepState, gate, links_of
from kubernaut.workflow.model import Bindings, Workflow


class ExecutionOutcome(StrEnum):
    SUCCESS = "success"
    PARTIAL_SUCCESS = "partial_success"
    FAILURE = "failure"


@dataclass(frozen=True, kw_only=True)
class ConditionResult:
    """The last evaluation of one post-condition.

    :param holds: None where it could not be evaluated (an error, nothing to read); that is not "holds"
    :param checked_at: when the reading that decided it began; None where it was never read
    """

    name: str
    holds: bool | None
    optional: bool = False
    checked_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class StepFacts:
    """One step's row and journal.

    :param reason: why it was not reached; None for other states
    :param last_change_at: when the answer to its last request that changed a cluster, or may have, was known; None
        where it sent none
    :param conditions: the last evaluations of its post-conditions
    """

    state: StepState
    reason: NotReachedReason | None = None
    last_change_at: datetime | None = None
    conditions: tuple[ConditionResult, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`reasons` say why it is a failure, `missing` what is missing to a full success (also beside a failure).

    `proof` is `read` where a mandatory condition was read and held after the last change, else `none`.
    """

    outcome: ExecutionOutcome
    proof: Literal["read", "none"]
    reasons: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    note: str = ""
    """One more line for people, where there is something to be said about the proof."""


def judge(
    workflow: Workflow,
    bindings: Bindings,
    steps: Mapping[str, StepFacts],
    conditions: Sequence[ConditionResult] = (),
    triggers_fired: Sequence[str] = (),
) -> Verdict:
    """The verdict over an execution.

    :param steps: by step key; a step without a row, or `pending`, was never attempted
    :param conditions: evaluations of the plan's success criteria
    :param triggers_fired: names of the rollback triggers that became true
    """
    facts = _settled(workflow, bindings, steps)
    if workflow.kind == "undo":
        return _judge_undo(bindings, facts)
    findings = _Findings()
    for name in triggers_fired:
        findings.reasons.append(f"rollback trigger {_quoted(name)} became true")
    _judge_steps(workflow, bindings, facts, findings)
    _judge_step_conditions(bindings, facts, findings)
    _judge_criteria(bindings, conditions, findings)
    findings.missing.extend(
        f"{_quoted(name)} was approved although nothing here can read it" for name in bindings.unchecked
    )
    proof, note = _proof(facts, bindings, conditions, findings)
    if findings.reasons:
        outcome = ExecutionOutcome.FAILURE
    else:
        outcome = ExecutionOutcome.PARTIAL_SUCCESS if findings.missing else ExecutionOutcome.SUCCESS
    return Verdict(
        outcome=outcome, proof=proof, reasons=tuple(findings.reasons), missing=tuple(findings.missing), note=note
    )


class _Findings:
    """What was found so far. `reasons` make it a failure, `missing` a partial success."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.missing: list[str] = []

    def add(self, text: str, *, optional: bool) -> None:
        (self.missing if optional else self.reasons).append(text)


def _settled(workflow: Workflow, bindings: Bindings, steps: Mapping[str, StepFacts]) -> dict[str, StepFacts]:
    """The facts of every step; one that was never attempted gets the reason that the gate gives for it.

    Where the gate would have let it run, the state stays `pending`: somebody kept it from running, and nobody said why.
    """
    facts = {step.key: steps.get(step.key, StepFacts(state=StepState.PENDING)) for step in workflow.steps}
    states = {key: fact.state for key, fact in facts.items()}
    optional = {key for key, binding in bindings.steps.items() if binding.optional}
    for step in workflow.steps:
        if facts[step.key].state is StepState.PENDING:
            answer = gate(step, workflow, states, optional=optional)
            if not answer.run:
                facts[step.key] = replace(facts[step.key], state=StepState.NOT_REACHED, reason=answer.reason)
    return facts


def _judge_undo(bindings: Bindings, facts: Mapping[str, StepFacts]) -> Verdict:
    reasons = tuple(
        f"the undo {_label(bindings, key)} is {fact.state}: its change may still be in place"
        for key, fact in facts.items()
        if fact.state is not StepState.SUCCEEDED
    )
    outcome = ExecutionOutcome.FAILURE if reasons else ExecutionOutcome.SUCCESS
    note = "an undo is proved by the API server's answer to each of its requests; nothing is read afterwards"
    return Verdict(outcome=outcome, proof="none", reasons=reasons, note=note)


def _judge_steps(workflow: Workflow, bindings: Bindings, facts: Mapping[str, StepFacts], findings: _Findings) -> None:
    saved_by = fallbacks(links_of(workflow))
    reach = Reach(list(facts), effective(links_of(workflow)))
    stopped = {key for key, fact in facts.items() if fact.reason not in (None, NotReachedReason.EDGE)}
    for key, fact in facts.items():
        optional = bindings.steps[key].optional
        label = _label(bindings, key)
        match fact.state:
            case StepState.SUCCEEDED | StepState.SKIPPED:
                pass
            case StepState.FAILED | StepState.UNKNOWN:
                saviours = saved_by.get(key, ())
                if not any(facts[other].state is StepState.SUCCEEDED for other in saviours):
                    tail = " and no fallback saved it" if saviours else ""
                    word = "failed" if fact.state is StepState.FAILED else "ended in doubt (unknown)"
                    findings.add(f"{label} {word}{tail}", optional=optional)
            case StepState.NOT_REACHED:
                cause = _cause(key, fact, facts, sorted(stopped & reach.before_any([key])))
                if cause is not None:
                    findings.add(f"{label} was not reached: {cause}", optional=optional)
            case StepState.PENDING:
                findings.add(f"{label} was never attempted although its edges came true", optional=optional)
            case StepState.UNDONE:
                findings.add(f"{label} was undone", optional=optional)
            case _:
                findings.add(f"{label} has not ended: it is {fact.state}", optional=False)


def _cause(key: str, fact: StepFacts, facts: Mapping[str, StepFacts], before: Iterable[str]) -> str | None:
    """Why a step was not reached, where that is not its own edge alone; also through a step before it."""
    if fact.reason is None:
        return "nobody recorded why"
    if fact.reason is not NotReachedReason.EDGE:
        return fact.reason.value
    through = next((other for other in before if other != key), None)
    return None if through is None else f"a step before it was not reached either ({facts[through].reason})"


def _judge_step_conditions(bindings: Bindings, facts: Mapping[str, StepFacts], findings: _Findings) -> None:
    """A step that succeeded did so with its mandatory conditions; what is optional among them may be missing."""
    for key, fact in facts.items():
        if fact.state is not StepState.SUCCEEDED:
            continue
        for condition in fact.conditions:
            if condition.holds is not True and condition.name not in bindings.unchecked:
                text = f"condition {_quoted(condition.name)} of {_label(bindings, key)} {_verdict_word(condition)}"
                findings.add(text, optional=condition.optional or bindings.steps[key].optional)


def _judge_criteria(bindings: Bindings, results: Sequence[ConditionResult], findings: _Findings) -> None:
    """Every success criterion needs a result that holds; one that nothing can read is named elsewhere."""
    by_name: dict[str, list[ConditionResult]] = {}
    for result in results:
        by_name.setdefault(result.name, []).append(result)
    for criterion in bindings.success_criteria:
        if criterion.name in bindings.unchecked:
            continue
        found = by_name.get(criterion.name, [])
        failed = [result for result in found if result.holds is not True]
        if failed or not found:
            word = _verdict_word(failed[0]) if failed else "was never checked"
            findings.add(f"criterion {_quoted(criterion.name)} {word}", optional=criterion.optional)


def _proof(
    facts: Mapping[str, StepFacts],
    bindings: Bindings,
    conditions: Sequence[ConditionResult],
    findings: _Findings,
) -> tuple[Literal["read", "none"], str]:
    changes = [fact.last_change_at for fact in facts.values() if fact.last_change_at is not None]
    if not changes:
        return "none", "nothing was changed in any cluster, so there is nothing to prove"
    last = max(changes)
    mandatory_names = {criterion.name for criterion in bindings.success_criteria if not criterion.optional}
    readings = [result for result in conditions if result.name in mandatory_names and not result.optional]
    for fact in facts.values():
        if fact.state is StepState.SUCCEEDED:
            readings.extend(result for result in fact.conditions if not result.optional)
    if any(result.holds is True and result.checked_at is not None and result.checked_at >= last for result in readings):
        return "read", ""
    if not findings.reasons:  # beside a reason of its own this would only blur why it failed
        findings.reasons.append(
            "no mandatory condition was read after the last change, so nothing proves that it helped"
        )
    return "none", ""


def _verdict_word(result: ConditionResult) -> str:
    return "does not hold" if result.holds is False else "could not be evaluated"


def _label(bindings: Bindings, key: str) -> str:
    binding = bindings.steps[key]
    return f"{'optional ' if binding.optional else ''}step {binding.id!r}"


def _quoted(name: str) -> str:
    return f'"{visible(name, 120)}"'
