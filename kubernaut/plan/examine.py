"""From an AI's answer to a verdict about it: parse → translate → validate → normalise → compile.

The one way in for everything that comes from outside: the CLI, the REST API, `execute_plan` and adoption call it, and
`accept` takes nothing else. Pure: nothing is rendered, resolved, fetched, registered or changed. All faults come at
once, each with a pointer into the input as it was sent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from pydantic import JsonValue

from kubernaut.cluster.objects import resolve
from kubernaut.errors import Fault, InvalidInput
from kubernaut.examination import (
    UNANSWERABLE,
    Examination,
    ExaminedDependency,
    ExaminedStep,
    HumanReason,
    Outcome,
    ResolvedTarget,
)
from kubernaut.json_input import read_json
from kubernaut.plan import graph, permission, validate
from kubernaut.plan.dialects import Translation, translate
from kubernaut.plan.dialects.recognise import KUBERNAUT
from kubernaut.plan.model import ActionUndo, Plan, PlanBody, Signal, Step, Target
from kubernaut.plan.normalise import action_spec, default_cluster, lookups, normalise
from kubernaut.plan.permission import Permission
from kubernaut.plan.salvage import salvage
from kubernaut.plan.signals import parse_signal
from kubernaut.plan.validate_expressions import expression_faults
from kubernaut.policy import Policy
from kubernaut.settings import Settings
from kubernaut.workflow.compile import Compiled, compile_plan
from kubernaut.workflow.version import FACTORY_VERSION

_DISORDER = frozenset({graph.GraphFaultCode.CYCLE, graph.GraphFaultCode.DUPLICATE_ID})
_PART_OF_TARGET = re.compile(
    r"(?P<body>(/alternatives/\d+)?)/(steps|success_criteria|rollback_triggers)/\d+.*/target(?P<part>/\w+)"
)
_TRACKING_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")


def examine(
    raw: bytes | str | JsonValue,
    *,
    settings: Settings,
    policy: Policy,
    signal: JsonValue | None = None,
    tracking_id: str | None = None,
) -> Examination:
    """What an answer amounts to.

    :param raw: the answer as text, or as a JSON value that was read before
    :param signal: the signal that came beside it, in any form that `plan.signals` reads
    :param tracking_id: one that came with the request; wins over the plan's own
    """
    faults: list[Fault] = []
    answers = _read_signal(signal, faults)
    if tracking_id is not None and not _TRACKING_ID.fullmatch(tracking_id):
        faults.append(
            Fault(
                pointer="",
                code="invalid_tracking_id",
                message="the tracking id that came with the request cannot be used",
                remedy="Use up to 128 letters, digits and '._:/-'.",
            )
        )
        tracking_id = None
    try:
        document = _read(raw, settings)
    except InvalidInput as error:
        return _unreadable([*error.faults, *faults])
    translation = translate(document, signal=answers, default_cluster=default_cluster(settings))
    return _Work(
        translation=translation, document=document, settings=settings, policy=policy, tracking_id=tracking_id
    ).examination(faults)


def _read_signal(signal: JsonValue | None, faults: list[Fault]) -> Signal | None:
    if signal is None:
        return None
    try:
        return parse_signal(signal)
    except InvalidInput as error:
        faults += [
            fault.model_copy(
                update={
                    "pointer": f"/signal{fault.pointer}",
                    "message": f"in the signal that came with the plan: {fault.message}",
                }
            )
            for fault in error.faults
        ]
        return None


def _read(raw: bytes | str | JsonValue, settings: Settings) -> JsonValue:
    """A value that was read elsewhere goes the same way again: whoever read it may have checked less."""
    if not isinstance(raw, bytes | str):
        try:
            raw = json.dumps(raw)
        except RecursionError:
            raise InvalidInput(
                [
                    Fault(
                        pointer="",
                        code="json_too_deep",
                        message="objects and arrays are nested too deeply",
                        remedy="Send a flatter document.",
                    )
                ]
            ) from None
    return read_json(raw, max_bytes=settings.max_plan_bytes, max_nesting=settings.max_nesting)


def _unreadable(faults: Iterable[Fault]) -> Examination:
    return Examination(
        outcome=Outcome.INVALID, dialect=None, confidence=None, approval_required=False, faults=tuple(faults)
    )


@dataclass(kw_only=True)
class _Work:
    """One examination under way."""

    translation: Translation
    document: JsonValue
    settings: Settings
    policy: Policy
    tracking_id: str | None
    faults: list[Fault] = field(default_factory=list)
    human: list[HumanReason] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    permission: Permission = field(default_factory=Permission)

    @property
    def _native(self) -> bool:
        return self.translation.dialect == KUBERNAUT

    def examination(self, faults: list[Fault]) -> Examination:
        self.faults = [*faults, *self.translation.faults]
        self.human = list(self.translation.questions)
        given, ordered = self.translation.plan, True
        if given is None and self._native:
            self._correct_counts()
            saved = salvage(self.document)
            if saved is not None:
                given, ordered = saved.plan, saved.whole_graph
                self.translation = _with_reported(self.translation, saved.removed)
        plan = self._look_at(given, ordered=ordered) if given is not None else None
        compiled = self._compile(plan)
        return self._result(plan, compiled)

    def _correct_counts(self) -> None:
        """The model's own words for the number of steps: too many is named as such, and too few is only true where
        there are none (pydantic counts the items that fitted)."""
        steps = self.document.get("steps") if isinstance(self.document, dict) else None
        if not isinstance(steps, list) or not steps:
            return
        self.faults = [fault for fault in self.faults if (fault.pointer, fault.code) != ("/steps", "invalid_value")]
        if len(steps) > self.settings.max_steps:
            self.faults.append(validate.too_many_steps(len(steps), self.settings.max_steps))

    # --- validate

    def _look_at(self, given: Plan, *, ordered: bool) -> Plan:
        if self.tracking_id is not None:
            if given.tracking_id not in (None, self.tracking_id):
                self.warnings.append(
                    f"the plan's tracking id {given.tracking_id} gives way to that of the request, {self.tracking_id}"
                )
            given = given.model_copy(update={"tracking_id": self.tracking_id})
        plan = normalise(given, cluster=default_cluster(self.settings))
        self._validate(plan, given, "", ordered=ordered)
        self.permission = permission.permission_of(plan, policy=self.policy, settings=self.settings)
        self._add(self.permission.faults, "")
        self._require_installed(plan)
        self._require_cluster(plan)
        self.warnings += validate.timeout_warnings(plan, self.settings)
        for index, alternative in enumerate(plan.alternatives):
            prefix = f"/alternatives/{index}"
            self._validate(alternative, given.alternatives[index], prefix, ordered=True)
            ruled = permission.permission_of(alternative, policy=self.policy, settings=self.settings)
            self._add(ruled.faults, prefix)
        return plan

    def _validate(self, body: PlanBody, given: PlanBody, prefix: str, *, ordered: bool) -> None:
        findings = graph.analyse(body.steps) if ordered else None
        if findings is not None:
            self._add(validate.graph_faults(body.steps, findings), prefix)
        self._add(validate.validate(body, given, settings=self.settings), prefix)
        has_order = findings is not None and not any(fault.code in _DISORDER for fault in findings.faults)
        self._add(expression_faults(body, ordered=has_order), prefix)

    def _add(self, faults: Iterable[Fault], prefix: str) -> None:
        """Faults at the input's own places; what the translation has said already is not said again."""
        known = set(self.faults)
        for fault in faults:
            place = f"{prefix}{fault.pointer}"
            if self.translation.already_reported(place):
                continue
            found = fault.model_copy(update={"pointer": self._source(place)})
            if found not in known:
                self.faults.append(found)
            known.add(found)

    def _source(self, plan_pointer: str) -> str:
        if not self._native:
            return self.translation.source_of(plan_pointer)
        # a part of a target that the step left out was written once, in the plan's target
        inherited = _PART_OF_TARGET.fullmatch(plan_pointer)
        if inherited is not None and resolve(self.document, plan_pointer) is None:
            above = f"{inherited['body']}/target{inherited['part']}"
            return above if resolve(self.document, above) is not None else plan_pointer
        return plan_pointer

    def _require_installed(self, plan: Plan) -> None:
        for index, step in enumerate(plan.steps):
            self._require_one(step.action, step.target, f"/steps/{index}/action")
            if isinstance(step.undo, ActionUndo):
                self._require_one(step.undo.action, step.target, f"/steps/{index}/undo/action")

    def _require_one(self, action: str, target: Target | None, plan_pointer: str) -> None:
        spec = action_spec(action)
        kind = target.kind if target else None
        if spec is None:
            return
        if not spec.installed:
            message = f"no executor is installed for {spec.name}; its parameters are kept as given"
        elif kind and kind not in spec.target_kinds and kind in validate.kinds_meant(spec):
            message = f"the executor of {spec.name} acts on {', '.join(spec.target_kinds)} only, not yet on a {kind}"
        else:
            return
        self.human.append(HumanReason(code="action_not_installed", message=message, pointer=self._source(plan_pointer)))

    def _require_cluster(self, plan: Plan) -> None:
        """Without a single known cluster (a CLI far from any server) which one is meant cannot be told."""
        if not self.settings.clusters and any(_needs_cluster(step) for step in plan.steps):
            self.permission.unchecked.append("cluster: none is named, and none is known here (setting clusters)")

    # --- compile

    def _compile(self, plan: Plan | None) -> Compiled | None:
        if plan is None or self.faults or any(reason.code in UNANSWERABLE for reason in self.human):
            return None
        compiled = compile_plan(
            plan,
            factory_version=FACTORY_VERSION,
            placement=self.settings.step_placement,
            settings=self.settings,
            plan_target=plan.target,
            lookups=lookups(),
        )
        self.warnings += compiled.warnings
        unchecked = tuple(dict.fromkeys((*compiled.bindings.unchecked, *self._not_understood())))
        return replace(compiled, bindings=compiled.bindings.model_copy(update={"unchecked": unchecked}))

    def _not_understood(self) -> Iterator[str]:
        """Criteria in words that nobody understood: once approved, the verdict names them as it names unread ones."""
        for question in self.translation.questions:
            text = resolve(self.document, question.pointer)
            if isinstance(text, str):
                yield text.strip()

    # --- result

    def _result(self, plan: Plan | None, compiled: Compiled | None) -> Examination:
        human = (*self.human, *self._at_source(self.permission.human))
        approval = tuple(self._at_source(self.permission.approval))
        outcome = Outcome.INVALID if self.faults else Outcome.HUMAN if human else Outcome.RUNNABLE
        answerable = bool(approval) or any(reason.code not in UNANSWERABLE for reason in human)
        return Examination(
            outcome=outcome,
            dialect=self.translation.dialect,
            confidence=plan.confidence if plan else None,
            approval_required=answerable,
            approval_reasons=approval,
            human_reasons=human,
            steps=tuple(self._examined(step) for step in plan.steps) if plan else (),
            unchecked=tuple(self.permission.unchecked),
            warnings=tuple(self.warnings),
            faults=tuple(self.faults),
            provenance=self.translation.provenance,
            plan=plan,
            workflow=compiled.workflow if compiled else None,
            bindings=compiled.bindings if compiled else None,
            pointers={step.id: self._source(f"/steps/{index}") for index, step in enumerate(plan.steps)}
            if plan
            else {},
        )

    def _at_source(self, reasons: Iterable[HumanReason]) -> Iterator[HumanReason]:
        for reason in reasons:
            yield reason.model_copy(update={"pointer": self._source(reason.pointer)})

    def _examined(self, step: Step) -> ExaminedStep:
        target = step.target or Target()
        condition = step.when if self._native else self.translation.conditions.get(step.id)
        return ExaminedStep(
            id=step.id,
            action=step.action,
            target=ResolvedTarget.model_validate(target.model_dump()),
            depends_on=tuple(ExaminedDependency(id=edge.step, outcome=edge.outcome) for edge in step.depends_on),
            condition=condition,
        )


def _needs_cluster(step: Step) -> bool:
    spec = action_spec(step.action)
    return spec is not None and bool(spec.target_kinds) and (step.target is None or step.target.cluster is None)


def _with_reported(translation: Translation, places: Iterable[str]) -> Translation:
    return replace(translation, reported=translation.reported | frozenset(places))
