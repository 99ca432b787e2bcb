"""From a validated plan to a workflow (its shape) and the bindings of one execution (everything else).

Called by `kubernaut.plan.examine` for plans and by the undo for compensations. Pure: what must be known of actions
comes in as `StepLookups`, so that this module knows neither registry nor cluster. It expects a plan without faults;
it adds the edges that conflicts of objects need, drops those that say nothing new, and numbers the steps canonically.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from kubernaut.plan.graph import links_of as plan_links
from kubernaut.plan.graph import object_conflicts
from kubernaut.plan.links import Link, Reach, effective, plain, reduce
from kubernaut.plan.model import (
    Check,
    EdgeOutcome,
    FailurePolicy,
    MetricCondition,
    Plan,
    PostCondition,
    QueryCondition,
    Retry,
    RollbackTrigger,
    Step,
    Target,
    Undo,
)
from kubernaut.settings import Settings
from kubernaut.workflow.canonical import canonical_order
from kubernaut.workflow.gate import links_of
from kubernaut.workflow.model import Bindings, Edge, StepBinding, Workflow, WorkflowStep


def readable(check: Check) -> bool:
    """Whether anything here can read what the check speaks of: metrics and outside queries have no reader yet."""
    return not isinstance(check, MetricCondition | QueryCondition)


@dataclass(frozen=True, kw_only=True)
class StepLookups:
    """What the compiler asks about a step of the plan.

    :param target: the step's own target, completed from the plan and the signal
    :param step_name: the name for people where the step has none
    :param default_timeout: seconds, where the step names none
    :param undo_of: how the step is taken back (its own, or what the action's effect allows)
    :param default_check: the mandatory check that proves the action; None for what changes nothing
    :param changed_object: identity of the object that the step changes; None for none
    """

    target: Callable[[Step], Target]
    step_name: Callable[[Step, Target], str]
    default_timeout: Callable[[Step], float]
    undo_of: Callable[[Step], Undo]
    default_check: Callable[[Step, Target], PostCondition | None]
    changed_object: Callable[[Step, Target], str | None]
    readable: Callable[[Check], bool] = readable
    default_retry: Retry = field(default_factory=Retry)


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """`keys` maps the AI's step ids to step keys."""

    workflow: Workflow
    bindings: Bindings
    warnings: tuple[str, ...]
    keys: Mapping[str, str]


def compile_plan(
    plan: Plan,
    *,
    factory_version: int,
    placement: Literal["triggerer", "worker"],
    settings: Settings,
    plan_target: Target,
    lookups: StepLookups,
) -> Compiled:
    """The workflow and the bindings of a plan without faults.

    :param plan_target: the plan's target, completed from the signal
    """
    targets = {step.id: lookups.target(step) for step in plan.steps}
    links = plan_links(plan.steps)
    conflicts, warnings = object_conflicts(
        [(step.id, lookups.changed_object(step, targets[step.id])) for step in plan.steps], links
    )
    bound = {step.id: _bind(step, targets[step.id], lookups) for step in plan.steps}
    nodes = {
        step.id: Node(action=step.action, verified=_verified(bound[step.id], lookups.readable)) for step in plan.steps
    }
    workflow, keys = build_workflow(
        nodes,
        reduce(plain((*links, *conflicts))),
        failure_policy=plan.failure_policy,
        kind="plan",
        placement=placement,
        factory_version=factory_version,
    )
    bindings = Bindings(
        plan_id=plan.id,
        signal=plan.signal,
        target=plan_target,
        variables=plan.variables,
        steps={keys[name]: bound[name] for name in sorted(bound, key=keys.__getitem__)},
        success_criteria=plan.success_criteria,
        rollback_triggers=plan.rollback_triggers,
        unchecked=_unchecked(plan, lookups.readable),
        on_failure=plan.on_failure,
        priority=plan.priority,
        timeout=plan.timeout or settings.plan_timeout,
    )
    return Compiled(workflow=workflow, bindings=bindings, warnings=warnings, keys=keys)


def _bind(step: Step, target: Target, lookups: StepLookups) -> StepBinding:
    checks = step.post_conditions
    if not any(not check.optional and lookups.readable(check.check) for check in checks):
        # nothing that must hold could be read: the action's own check says whether it worked
        proof = lookups.default_check(step, target)
        checks = (*checks, proof) if proof is not None else checks
    return StepBinding(
        id=step.id,
        name=step.name or lookups.step_name(step, target),
        params=step.params,
        target=target,
        when=step.when,
        optional=step.optional,
        retry=step.retry or lookups.default_retry,
        timeout=step.timeout or lookups.default_timeout(step),
        post_conditions=checks,
        undo=lookups.undo_of(step),
        requires_approval=step.requires_approval,
    )


def _verified(step: StepBinding, can_read: Callable[[Check], bool]) -> bool:
    """A sensor follows only where it has something to read."""
    return any(can_read(condition.check) for condition in step.post_conditions)


def _unchecked(plan: Plan, can_read: Callable[[Check], bool]) -> tuple[str, ...]:
    conditions: list[PostCondition | RollbackTrigger] = [*plan.success_criteria, *plan.rollback_triggers]
    conditions += [condition for step in plan.steps for condition in step.post_conditions]
    return tuple(dict.fromkeys(condition.name for condition in conditions if not can_read(condition.check)))


@dataclass(frozen=True, kw_only=True)
class Node:
    """What a shape knows of a step beside its edges."""

    action: str
    verified: bool = False


def build_workflow(
    nodes: Mapping[str, Node],
    links: Sequence[Link],
    *,
    failure_policy: FailurePolicy,
    kind: Literal["plan", "undo"],
    placement: Literal["triggerer", "worker"],
    factory_version: int,
) -> tuple[Workflow, Mapping[str, str]]:
    """The workflow of a shape, and the key that each name of `nodes` got."""
    order = canonical_order({name: (node.action, str(node.verified)) for name, node in nodes.items()}, links)
    width = max(2, len(str(len(order))))
    keys = {name: f"s{index:0{width}}" for index, name in enumerate(order, start=1)}
    edges: dict[str, list[Edge]] = {name: [] for name in nodes}
    for link in links:
        edges[link.downstream].append(Edge(upstream=keys[link.upstream], outcome=link.outcome))
    steps = tuple(
        WorkflowStep(
            key=keys[name],
            action=nodes[name].action,
            verified=nodes[name].verified,
            edges=tuple(sorted(edges[name], key=lambda edge: (edge.upstream, edge.outcome))),
        )
        for name in order
    )
    workflow = Workflow(
        steps=steps,
        failure_policy=failure_policy,
        kind=kind,
        placement=placement,
        factory_version=factory_version,
    )
    return workflow, keys


def compile_undo(
    workflow: Workflow, undone: Collection[str], *, factory_version: int
) -> tuple[Workflow, Mapping[str, str]]:
    """The compensation of an execution: one step for each step to be undone, in reverse dependency order.

    What came later is undone first, also where steps in between are not undone. The edges are `end` edges and the
    policy is to continue: a step whose undo fails keeps nobody else's undo from running.

    :param undone: keys of the steps whose changes are to be taken back
    :returns: the workflow of kind `undo`, and for each of its keys the key of the step that it undoes
    """
    reach = Reach([step.key for step in workflow.steps], effective(links_of(workflow)))
    nodes = {step.key: Node(action=step.action) for step in workflow.steps if step.key in undone}
    links = [
        Link(later, earlier, EdgeOutcome.END) for earlier in nodes for later in nodes if reach.before(earlier, later)
    ]
    compensation, keys = build_workflow(
        nodes,
        reduce(links),
        failure_policy=FailurePolicy.CONTINUE,
        kind="undo",
        placement=workflow.placement,
        factory_version=factory_version,
    )
    return compensation, {key: name for name, key in keys.items()}
