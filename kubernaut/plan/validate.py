"""What is wrong with a plan, given the actions, checks and clusters of this site. All of it, not the first only.

Called by `kubernaut.plan.examine` with a plan that `normalise` completed; pointers are into the plan. Pure: nothing is
rendered, resolved or fetched. Expressions are in `validate_expressions`, the policy in `permission`, the graph itself
in `graph`; what the models say of one field alone has been said before.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from pydantic import JsonValue, ValidationError

from kubernaut.actions import catalogue, registry
from kubernaut.actions.spec import ActionSpec
from kubernaut.cluster.objects import BY_KIND, escape
from kubernaut.errors import Fault
from kubernaut.plan.dialects import plain, urls
from kubernaut.plan.dialects.native import faults_of
from kubernaut.plan.graph import GraphFault, GraphFindings
from kubernaut.plan.model import (
    ActionUndo,
    AutomaticUndo,
    ListCondition,
    NamedCondition,
    ObjectCondition,
    PlanBody,
    PostCondition,
    QueryCondition,
    RollbackTrigger,
    Step,
    Target,
)
from kubernaut.plan.normalise import action_spec
from kubernaut.plan.provenance import shown
from kubernaut.plan.validate_texts import forbidden_url, mark_faults, prose_faults, url_faults
from kubernaut.settings import Settings
from kubernaut.workflow.compile import readable

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_SEGMENT = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._:-]+")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
_PROSE = frozenset({("notify", "message")})
"""Parameters that are text for people: `;` and `|` are punctuation there; a template would still be taken literally."""
_CEL_PARAMS = frozenset({("monitoring.check", "expression")})

Condition = PostCondition | RollbackTrigger


def validate(body: PlanBody, given: PlanBody, *, settings: Settings) -> Iterator[Fault]:
    """Faults of steps and conditions; pointers are relative to `body`.

    :param body: as `normalise` completed it
    :param given: the same before that, which says at what place a value was written
    """
    if len(body.steps) > settings.max_steps:
        yield too_many_steps(len(body.steps), settings.max_steps)
    clusters = _Clusters(given.target, settings)
    for index, step in enumerate(body.steps):
        own = given.steps[index].target or Target()
        yield from _step_faults(step, own, f"/steps/{index}", clusters)
    for pointer, condition in conditions_of(body):
        yield from _condition_faults(condition, pointer, clusters)
    yield from _ambiguous_names(body)
    for name, value in body.variables.items():
        yield from mark_faults(value, f"/variables/{escape(name)}")


def too_many_steps(count: int, most: int) -> Fault:
    return Fault(
        pointer="/steps",
        code="too_many_steps",
        message=f"the plan has {count} steps, fallbacks included; {most} are allowed",
        remedy="Split the plan, or leave out what is not needed.",
    )


def conditions_of(body: PlanBody) -> Iterator[tuple[str, Condition]]:
    """Every condition of a plan beside `when`, with its pointer."""
    for index, step in enumerate(body.steps):
        for number, condition in enumerate(step.post_conditions):
            yield f"/steps/{index}/post_conditions/{number}", condition
    for number, condition in enumerate(body.success_criteria):
        yield f"/success_criteria/{number}", condition
    for number, trigger in enumerate(body.rollback_triggers):
        yield f"/rollback_triggers/{number}", trigger


def graph_faults(steps: Sequence[Step], findings: GraphFindings) -> Iterator[Fault]:
    """The graph's findings as faults of the plan."""
    for found in findings.faults:
        yield Fault(
            pointer=_graph_pointer(steps, found), code=found.code.value, message=found.message, remedy=found.remedy
        )


def _graph_pointer(steps: Sequence[Step], found: GraphFault) -> str:
    if found.dependency is not None:
        return f"/steps/{found.step}/depends_on/{found.dependency}"
    if found.code.value == "duplicate_id":
        return f"/steps/{found.step}/id"
    return f"/steps/{found.step}/depends_on" if steps[found.step].depends_on else f"/steps/{found.step}"


def timeout_warnings(body: PlanBody, settings: Settings) -> Iterator[str]:
    """Steps that could never use the time they ask for."""
    whole = body.timeout or settings.plan_timeout
    for step in body.steps:
        if step.timeout is not None and step.timeout > whole:
            yield (
                f"step {step.id!r} may take {step.timeout:g} s, but the whole plan ends after {whole:g} s"
                " (its timeout, or the setting plan_timeout)"
            )


# --- steps


def _step_faults(step: Step, own: Target, at: str, clusters: _Clusters) -> Iterator[Fault]:
    yield from prose_faults(step.name, f"{at}/name")
    spec = action_spec(step.action)
    if spec is None:
        yield unknown_action(step.action, f"{at}/action")
        yield from mark_faults(step.params, f"{at}/params")
        return
    yield from _param_faults(step.action, step.params, f"{at}/params")
    yield from _undo_faults(step, spec, at)
    if spec.target_kinds or own != Target():
        target = step.target or Target()
        if spec.installed and spec.target_kinds:
            yield from _incomplete(step, target, spec, at)
        yield from target_faults(target, f"{at}/target")
        yield from clusters.faults(target, own, f"{at}/target")


def unknown_action(name: str, pointer: str) -> Fault:
    """For a name that no action has: a template in it is named as such, a near miss is suggested."""
    found = plain.mark(name)
    if found is not None:
        return plain.template_fault(pointer, found)
    near = catalogue.near_miss(name)
    return Fault(
        pointer=pointer,
        code="unknown_action",
        message=f"there is no action {shown(name)}",
        remedy=f"Did you mean {near!r}? A near miss is never executed."
        if near
        else "Name an action of the catalogue (docs/plan-reference.md lists them).",
    )


def _param_faults(action: str, params: Mapping[str, JsonValue], at: str) -> Iterator[Fault]:
    for fault in registry.validate_params(action, params):
        yield fault.model_copy(update={"pointer": f"{at}{fault.pointer}"})
    installed = (spec := action_spec(action)) is not None and spec.installed
    for name, value in params.items():
        place = f"{at}/{escape(name)}"
        if (action, name) in _PROSE:
            yield from prose_faults(value, place)
        elif (action, name) not in _CEL_PARAMS:
            yield from mark_faults(value, place)
        if not installed:
            yield from url_faults(value, place)


def _undo_faults(step: Step, spec: ActionSpec, at: str) -> Iterator[Fault]:
    if isinstance(step.undo, AutomaticUndo) and not (spec.changes_cluster and spec.undo_reason is None):
        yield Fault(
            pointer=f"{at}/undo",
            code="undo_impossible",
            message=f"{spec.name} cannot be taken back automatically: {spec.undo_reason or 'it changes no object'}",
            remedy='Leave undo out, name another action, or say {"kind": "none", "reason": "…"}.',
        )
    if isinstance(step.undo, ActionUndo):
        undo = action_spec(step.undo.action)
        if undo is None:
            yield unknown_action(step.undo.action, f"{at}/undo/action")
        else:
            yield from _param_faults(undo.name, step.undo.params, f"{at}/undo/params")


def _incomplete(step: Step, target: Target, spec: ActionSpec, at: str) -> Iterator[Fault]:
    namespaced = target.kind is None or target.kind not in BY_KIND or BY_KIND[target.kind].namespaced
    parts = {"kind": target.kind, "namespace": target.namespace if namespaced else "-", "name": target.name}
    missing = [part for part, value in parts.items() if not value]
    if missing:
        yield Fault(
            pointer=f"{at}/target",
            code="missing_target",
            message=f"step {step.id!r} does not say which object {spec.name} acts on: {' and '.join(missing)} missing, "
            "and neither the plan's target nor the signal says it",
            remedy=f"Give {', '.join(missing)} in the step's target or the plan's.",
        )
    if target.kind and target.kind not in (*spec.target_kinds, *kinds_meant(spec)):
        yield Fault(
            pointer=f"{at}/target/kind",
            code="wrong_kind",
            message=f"{spec.name} acts on {_list(spec.target_kinds)}, not on a {shown(target.kind)[1:-1]}",
            remedy="Name an object of a kind that the action acts on, or another action.",
        )


def kinds_meant(spec: ActionSpec) -> tuple[str, ...]:
    """The kinds that an action means, whether or not its executor already acts on all of them."""
    entry = catalogue.CATALOGUE.get(spec.name)
    return entry.target_kinds if entry is not None else ()


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)


# --- targets


def target_faults(target: Target, at: str) -> Iterator[Fault]:
    """Parts of a target that are no names of Kubernetes, whatever would be done with it."""
    known = target.kind is None or target.kind in BY_KIND
    patterns = {"namespace": _LABEL, "name": _SUBDOMAIN if known else _SEGMENT, "kind": _KIND, "cluster": _SEGMENT}
    for part, pattern in patterns.items():
        value = getattr(target, part)
        if value is None or pattern.fullmatch(value):
            continue
        found = plain.mark(value)
        if found is not None:
            yield plain.template_fault(f"{at}/{part}", found)
            continue
        yield Fault(
            pointer=f"{at}/{part}",
            code="invalid_name",
            message=f"{shown(value)} is no {part} of Kubernetes"
            if part != "cluster"
            else f"{shown(value)} is no name of a cluster",
            remedy="Use lower-case letters, digits and '-' as Kubernetes does."
            if part in ("namespace", "name")
            else "Give the name itself.",
        )


class _Clusters:
    """Which clusters a plan may name: those of the setting `clusters`."""

    def __init__(self, about: Target, settings: Settings) -> None:
        self._about = about
        self._known = tuple(settings.clusters)

    def faults(self, target: Target, own: Target, at: str) -> Iterator[Fault]:
        """:param own: the target before it was completed; says where the cluster was named"""
        if target.cluster is not None and target.cluster in self._known:
            return
        pointer = f"{at}/cluster" if own.cluster else "/target/cluster" if self._about.cluster else at
        if target.cluster is not None:
            near = difflib.get_close_matches(target.cluster, self._known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            yield Fault(
                pointer=pointer,
                code="unknown_cluster",
                message=f"there is no cluster {shown(target.cluster)} here",
                remedy=f"{hint}Known (setting clusters): {_list(self._known) or 'none'}.",
            )
        elif self._known:
            yield Fault(
                pointer=pointer,
                code="missing_cluster",
                message="which cluster is meant is not said, and there are several",
                remedy=f"Name one of {_list(self._known)}, or set default_cluster.",
            )


# --- conditions


def _condition_faults(condition: Condition, at: str, clusters: _Clusters) -> Iterator[Fault]:
    check = condition.check
    yield from prose_faults(condition.name, f"{at}/name")
    if isinstance(check, ObjectCondition | NamedCondition | ListCondition):
        place = f"{at}/check/target"
        yield from _unreadable(check, place)
        yield from target_faults(check.target, place)
        yield from clusters.faults(check.target, Target(), place)
    if isinstance(check, NamedCondition):
        yield from _named_faults(check, f"{at}/check")
    if isinstance(check, ListCondition):
        for part in ("label_selector", "field_selector"):
            yield from mark_faults(getattr(check, part), f"{at}/check/{part}")
    if isinstance(check, QueryCondition):
        yield from _query_faults(check, f"{at}/check/query")


def _ambiguous_names(body: PlanBody) -> Iterator[Fault]:
    """What nobody can read is excused by its name: nothing that can be read may hide behind the same name."""
    excused = {condition.name for _, condition in conditions_of(body) if not readable(condition.check)}
    for pointer, condition in conditions_of(body):
        if condition.name in excused and readable(condition.check):
            yield Fault(
                pointer=f"{pointer}/name",
                code="ambiguous_name",
                message=f"two conditions are called {shown(condition.name)}, and one of them cannot be read here",
                remedy="Give each condition a name of its own.",
            )


def _unreadable(check: ObjectCondition | NamedCondition | ListCondition, at: str) -> Iterator[Fault]:
    target = check.target
    if target.kind == "Secret" or (target.kind and target.kind not in BY_KIND):
        yield Fault(
            pointer=f"{at}/kind",
            code="wrong_kind",
            message=f"objects of kind {shown(target.kind)[1:-1]} are not read by conditions",
            remedy=f"Name one of {_list(kind for kind in BY_KIND if kind != 'Secret')}.",
        )
    needs = {"kind": target.kind}
    if not isinstance(check, ListCondition):
        needs["name"] = target.name
    if target.kind and target.kind in BY_KIND and BY_KIND[target.kind].namespaced:
        needs["namespace"] = target.namespace
    missing = [part for part, value in needs.items() if not value]
    if missing:
        yield Fault(
            pointer=at,
            code="missing_target",
            message=f"the condition does not say what it reads: {' and '.join(missing)} missing",
            remedy=f"Give {', '.join(missing)} in its target, the step's or the plan's.",
        )


def _named_faults(check: NamedCondition, at: str) -> Iterator[Fault]:
    from kubernaut.postconditions import registry as checks

    entry = checks.find(check.check, check.version)
    if entry is None:
        versions = sorted(one.version for one in checks.named_checks() if one.name == check.check)
        names = sorted({one.name for one in checks.named_checks()})
        near = difflib.get_close_matches(check.check, names, n=1)
        hint = f"Did you mean {near[0]!r}? " if near and not versions else ""
        yield Fault(
            pointer=f"{at}/version" if versions else f"{at}/check",
            code="unknown_check",
            message=f"there is no check {check.check!r} of version {check.version}",
            remedy=f"{hint}There are versions {', '.join(map(str, versions))}."
            if versions
            else f"{hint}There are: {_list(names)}.",
        )
        return
    if check.target.kind and check.target.kind not in entry.target_kinds:
        yield Fault(
            pointer=f"{at}/target/kind",
            code="wrong_kind",
            message=f"the check {entry.name} reads {_list(entry.target_kinds)}, not a {shown(check.target.kind)[1:-1]}",
            remedy="Name an object of a kind that the check reads, or use a condition over an object.",
        )
    try:
        entry.params.model_validate(dict(check.params))
    except ValidationError as error:
        for fault in faults_of(error, check.params):
            yield fault.model_copy(update={"pointer": f"{at}/params{fault.pointer}"})


def _query_faults(check: QueryCondition, at: str) -> Iterator[Fault]:
    if check.source == "http":
        why = urls.why_forbidden(check.query)
        if why is not None:
            yield forbidden_url(at, why)
    elif check.source != "promql":  # `|` and braces are syntax of PromQL; nothing reads it yet
        yield from mark_faults(check.query, at)
