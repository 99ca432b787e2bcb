"""The card of a plan: what a person reads before approving it, or at 3 a.m.: the graph, and what each step does.

Built from an examination by the CLI (`plan show`) and the REST API (the answer that asks for an approval); drawn by
`plan.card_text` and `plan.card_mermaid`. Pure. All text in a card that is not ours has gone through `visible`: it is
one line, shortened, with nothing hidden in it. What a step changes is said by its action's executor, which comes in
as a function. A plan whose actions are not all installed has a card as well; one with faults has none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, JsonValue

from kubernaut.examination import Examination
from kubernaut.plan.foreign_text import visible
from kubernaut.plan.graph import links_of as plan_links
from kubernaut.plan.links import Link, effective, levels, plain, reduce
from kubernaut.plan.model import (
    ActionUndo,
    AutomaticUndo,
    Check,
    EdgeOutcome,
    FailurePolicy,
    ListCondition,
    MetricCondition,
    NamedCondition,
    NoUndo,
    ObjectCondition,
    OnFailure,
    Plan,
    PostCondition,
    QueryCondition,
    RollbackTrigger,
    Step,
    StepsCondition,
    Target,
    Undo,
)
from kubernaut.workflow.compile import readable
from kubernaut.workflow.gate import links_of as workflow_links
from kubernaut.workflow.model import Bindings, StepBinding, Workflow

Summarise = Callable[[str, Target, Mapping[str, JsonValue]], str]
"""Action, target and parameters → what it changes, in a line."""

_LONG = 600
"""Characters of foreign text where somebody has to judge it: parameters, expressions, reasoning."""


class CardModel(BaseModel):
    model_config = ConfigDict(frozen=True)


class CardEdge(CardModel):
    """`step` waits for `outcome` of `upstream`; both are the AI's ids."""

    upstream: str
    step: str
    outcome: EdgeOutcome


class CardStep(CardModel):
    """One step. `key` is None where the plan could not be compiled."""

    id: str
    key: str | None
    name: str
    action: str
    target: str
    change: str
    params: str
    when: str | None
    waits: tuple[CardEdge, ...]
    post_conditions: tuple[str, ...]
    undo: str
    optional: bool
    requires_approval: bool
    limits: str


class Card(CardModel):
    """`levels` are step ids: steps of one level may run at the same time."""

    plan_id: str
    signal: str | None
    target: str
    assessment: str
    policy: str
    hash: str | None
    dag_id: str | None
    levels: tuple[tuple[str, ...], ...]
    steps: tuple[CardStep, ...]
    edges: tuple[CardEdge, ...]
    success_criteria: tuple[str, ...]
    rollback_triggers: tuple[str, ...]
    unchecked: tuple[str, ...]
    questions: tuple[str, ...]
    """Why a human must look, and why an approval is needed."""
    warnings: tuple[str, ...]
    reasoning: str | None

    def step(self, step_id: str) -> CardStep:
        return next(step for step in self.steps if step.id == step_id)


def build_card(examination: Examination, *, summarise: Summarise) -> Card | None:
    """The card; None where there is no plan without faults."""
    plan = examination.plan
    if plan is None or examination.faults:
        return None
    links, keys = _graph(plan, examination.workflow, examination.bindings)
    ids = tuple(step.id for step in plan.steps)
    edges = tuple(CardEdge(upstream=link.upstream, step=link.downstream, outcome=link.outcome) for link in links)
    bound = examination.bindings.steps if examination.bindings else {}
    order = levels(ids, effective(links))
    by_id = {step.id: step for step in plan.steps}
    return Card(
        plan_id=plan.id,
        signal=_signal_text(plan),
        target=target_text(plan.target),
        assessment=_assessment(plan),
        policy=_policy_text(plan, examination.bindings),
        hash=examination.hash,
        dag_id=examination.workflow.dag_id if examination.workflow else None,
        levels=order,
        steps=tuple(
            _card_step(by_id[name], keys.get(name), bound.get(keys.get(name, "")), edges, summarise)
            for level in order
            for name in level
        ),
        edges=edges,
        success_criteria=tuple(condition_text(one) for one in plan.success_criteria),
        rollback_triggers=tuple(_trigger_text(one) for one in plan.rollback_triggers),
        unchecked=tuple(visible(name) for name in examination.unchecked),
        questions=tuple(
            visible(f"{reason.message} [{reason.code}]", _LONG)
            for reason in (*examination.human_reasons, *examination.approval_reasons)
        ),
        warnings=tuple(visible(text, _LONG) for text in examination.warnings),
        reasoning=visible(plan.reasoning.summary, _LONG) if plan.reasoning.summary else None,
    )


def _graph(plan: Plan, workflow: Workflow | None, bindings: Bindings | None) -> tuple[tuple[Link, ...], dict[str, str]]:
    """Edges between the AI's ids, as they will be waited for, and the step key of each id."""
    if workflow is None or bindings is None:
        return reduce(plain(plan_links(plan.steps))), {}
    names = {key: step.id for key, step in bindings.steps.items()}
    links = tuple(Link(names[up], names[down], outcome) for up, down, outcome in workflow_links(workflow))
    return links, {name: key for key, name in names.items()}


def _card_step(
    step: Step, key: str | None, bound: StepBinding | None, edges: Sequence[CardEdge], summarise: Summarise
) -> CardStep:
    target = bound.target if bound else step.target or Target()
    retry = bound.retry if bound else step.retry
    timeout = bound.timeout if bound else step.timeout
    limits = [f"timeout {_seconds(timeout)}"] if timeout else []
    if retry is not None:
        limits.append("one try" if retry.max_attempts == 1 else f"up to {retry.max_attempts} tries")
    return CardStep(
        id=step.id,
        key=key,
        name=visible(bound.name if bound else step.name or step.action),
        action=visible(step.action),
        target=target_text(target),
        change=visible(summarise(step.action, target, step.params), _LONG),
        params=_json(step.params) if step.params else "",
        when=visible(step.when, _LONG) if step.when else None,
        waits=tuple(edge for edge in edges if edge.step == step.id),
        post_conditions=tuple(condition_text(one) for one in (bound or step).post_conditions),
        undo=undo_text(bound.undo if bound else step.undo),
        optional=step.optional,
        requires_approval=step.requires_approval,
        limits=", ".join(limits),
    )


# --- what the parts of a plan say, in a line each


def target_text(target: Target) -> str:
    """`Deployment shop/checkout, cluster prod`; "no object" where nothing is named."""
    place = "/".join(part for part in (target.namespace, target.name) if part)
    what = " ".join(part for part in (target.kind, place) if part) or "no object"
    return visible(f"{what}, cluster {target.cluster}" if target.cluster else what, 500)


def condition_text(condition: PostCondition) -> str:
    """A post-condition with its name, its check and how strict it is."""
    notes = ["optional" if condition.optional else "mandatory"]
    if not readable(condition.check):
        notes = ["nothing here can read it: once approved it counts as optional"]
    if condition.timeout:
        notes.append(f"within {_seconds(condition.timeout)}")
    if condition.stable_for:
        notes.append(f"for {_seconds(condition.stable_for)} without a break")
    return f"{_named(condition.name, check_text(condition.check))} ({', '.join(notes)})"


def _trigger_text(trigger: RollbackTrigger) -> str:
    note = "" if readable(trigger.check) else " (nothing here can read it: nobody watches it)"
    return _named(trigger.name, check_text(trigger.check)) + note


def _named(name: str, check: str) -> str:
    shown = visible(name)
    return check if shown == check else f"{shown}: {check}"


def check_text(check: Check) -> str:
    """What a check looks at."""
    match check:
        case ObjectCondition():
            return f"{visible(check.expression, _LONG)} on {target_text(check.target)}"
        case ListCondition():
            selectors = " ".join(part for part in (check.label_selector, check.field_selector) if part)
            chosen = f" with {visible(selectors)}" if selectors else ""
            return f"{visible(check.expression, _LONG)} over the list of {target_text(check.target)}{chosen}"
        case NamedCondition():
            params = f" {_json(check.params)}" if check.params else ""
            return f"{check.check} v{check.version} of {target_text(check.target)}{params}"
        case MetricCondition():
            unit = "" if check.unit in ("number", "count") else f" {check.unit}"
            return f"{visible(check.metric)} {check.comparison} {check.value:g}{unit}"
        case QueryCondition():
            return f"{check.source}: {visible(check.query, _LONG)}"
        case StepsCondition():
            return visible(check.expression, _LONG)


def undo_text(undo: Undo | None) -> str:
    """How a step is taken back."""
    match undo:
        case AutomaticUndo():
            return "automatic: the fields that it set get their values back"
        case ActionUndo():
            params = f" {_json(undo.params)}" if undo.params else ""
            return f"by the action {visible(undo.action)}{params}"
        case NoUndo():
            return f"none: {visible(undo.reason, _LONG)}"
        case None:
            return "what its action's effect allows"


def _signal_text(plan: Plan) -> str | None:
    if plan.signal is None:
        return None
    severity = f", severity {plan.signal.severity}" if plan.signal.severity else ""
    return visible(f"{plan.signal.name} ({plan.signal.status}{severity})", _LONG)


def _assessment(plan: Plan) -> str:
    confidence = "none given" if plan.confidence is None else f"{plan.confidence:g}"
    return f"risk {plan.risk or 'not given'}, confidence {confidence}, priority {plan.priority}"


def _policy_text(plan: Plan, bindings: Bindings | None) -> str:
    policy = {
        FailurePolicy.TERMINATE: "a failure that no fallback saves ends it (terminate)",
        FailurePolicy.CONTINUE: "independent branches go on after a failure (continue)",
    }[plan.failure_policy]
    after = {
        OnFailure.COMPENSATE: "a failed plan is undone (compensate)",
        OnFailure.KEEP: "what a failed plan changed is kept (keep)",
    }[plan.on_failure]
    timeout = bindings.timeout if bindings else plan.timeout
    return f"{policy}; {after}" + (f"; ends after {_seconds(timeout)}" if timeout else "")


def _seconds(value: float) -> str:
    return f"{value / 60:g} min" if value >= 120 and value % 60 == 0 else f"{value:g} s"


def _json(value: Mapping[str, JsonValue]) -> str:
    return visible(json.dumps(value, ensure_ascii=False, sort_keys=True), _LONG)
