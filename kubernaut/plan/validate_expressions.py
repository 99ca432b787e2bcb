"""Every expression of a plan, checked where it stands: names, types, and that what it reads has happened by then.

Called by `kubernaut.plan.examine` beside `validate`; pointers are into the plan. A condition that reads a step which
does not lie upstream would see whatever state that step happens to be in, so it is refused. Nothing is evaluated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

from kubernaut import expressions
from kubernaut.actions import registry
from kubernaut.cluster.objects import escape
from kubernaut.errors import Fault
from kubernaut.expressions import ResultType, Scope
from kubernaut.plan.graph import links_of
from kubernaut.plan.links import Reach, effective
from kubernaut.plan.model import (
    ActionUndo,
    Check,
    ListCondition,
    ObjectCondition,
    Params,
    PlanBody,
    Step,
    StepsCondition,
)
from kubernaut.plan.normalise import action_spec
from kubernaut.plan.provenance import shown

_TYPES = {
    "integer": ResultType.INT,
    "number": ResultType.DOUBLE,
    "string": ResultType.STRING,
    "boolean": ResultType.BOOL,
    "array": ResultType.LIST,
    "object": ResultType.MAP,
}
_SCOPES: Mapping[type[Any], Scope] = {
    ObjectCondition: Scope.OBJECT,
    ListCondition: Scope.LIST,
    StepsCondition: Scope.PLAN,
}
_CHECKED = ("monitoring.check", "expression")
"""The one parameter that is itself an expression, over the step's target."""


def expression_faults(body: PlanBody, *, ordered: bool) -> Iterator[Fault]:
    """:param ordered: whether the graph has an order; without one nothing is said of upstream and downstream"""
    ids = frozenset(step.id for step in body.steps)
    reader = _Reader(ids=ids, variables=frozenset(body.variables), upstream=_upstream(body) if ordered else {})
    for index, step in enumerate(body.steps):
        yield from _step_faults(step, f"/steps/{index}", reader)
    for number, criterion in enumerate(body.success_criteria):
        yield from _check_faults(criterion.check, f"/success_criteria/{number}/check", reader, None)
    for number, trigger in enumerate(body.rollback_triggers):
        yield from _check_faults(trigger.check, f"/rollback_triggers/{number}/check", reader, None)


def _upstream(body: PlanBody) -> dict[str, frozenset[str]]:
    """For each step the steps that have ended before it may begin."""
    ids = {step.id for step in body.steps}
    links = [link for link in links_of(body.steps) if link.upstream in ids]  # a dangling one has its own fault
    reach = Reach([step.id for step in body.steps], effective(links))
    return {step.id: reach.before_any([step.id]) for step in body.steps}


class _Reader:
    """What an expression of one plan may read."""

    def __init__(
        self, *, ids: Collection[str], variables: Collection[str], upstream: Mapping[str, Collection[str]]
    ) -> None:
        self._ids = ids
        self._variables = variables
        self._upstream = upstream

    def faults(
        self, text: str, at: str, scope: Scope, wants: ResultType, step: str | None, *, after: bool = False
    ) -> Iterator[Fault]:
        """:param step: the step that reads; None where all steps have ended
        :param after: whether the step's own result may be read
        """
        found = expressions.check(text, scope=scope, wants=wants, step_ids=self._ids, variables=self._variables)
        for fault in found:
            yield Fault(pointer=at, code=fault.code, message=fault.message, remedy=fault.remedy)
        if found or step is None or step not in self._upstream:
            return
        allowed = {*self._upstream[step], *([step] if after else [])}
        for other in sorted(expressions.references(text).steps - allowed):
            yield Fault(
                pointer=at,
                code="not_upstream",
                message=f"step {step!r} reads the result of {other!r}, which need not have ended by then",
                remedy=f"Let {step!r} depend on {other!r}, directly or through other steps, or do not read it.",
            )


def _step_faults(step: Step, at: str, reader: _Reader) -> Iterator[Fault]:
    if step.when is not None:
        yield from reader.faults(step.when, f"{at}/when", Scope.PLAN, ResultType.BOOL, step.id)
    yield from _param_faults(step.action, step.params, f"{at}/params", reader, step.id, after=False)
    if isinstance(step.undo, ActionUndo):
        # an undo is planned after the execution: every step has ended by then
        yield from _param_faults(step.undo.action, step.undo.params, f"{at}/undo/params", reader, None, after=True)
    for number, condition in enumerate(step.post_conditions):
        yield from _check_faults(condition.check, f"{at}/post_conditions/{number}/check", reader, step.id)


def _check_faults(check: Check, at: str, reader: _Reader, step: str | None) -> Iterator[Fault]:
    scope = _SCOPES.get(type(check))
    if scope is not None and isinstance(check, ObjectCondition | ListCondition | StepsCondition):
        yield from reader.faults(check.expression, f"{at}/expression", scope, ResultType.BOOL, step, after=True)


def _param_faults(
    action: str, params: Params, at: str, reader: _Reader, step: str | None, *, after: bool
) -> Iterator[Fault]:
    spec = action_spec(action)
    name = spec.name if spec else action
    wanted = _wanted(name)
    for key, value in params.items():
        place = f"{at}/{escape(key)}"
        checked = (name, key) == _CHECKED
        if checked and registry.is_deferred(value):
            yield Fault(
                pointer=place,
                code="param_invalid",
                message=f"{name}: the expression of a check cannot itself be computed",
                remedy="Write the expression as text.",
            )
        elif checked and isinstance(value, str):
            yield from reader.faults(value, place, Scope.OBJECT, ResultType.BOOL, step)
        elif registry.is_deferred(value):
            assert isinstance(value, dict)  # is_deferred says so
            text = str(value["$cel"])
            yield from reader.faults(
                text, f"{place}/$cel", Scope.PLAN, wanted.get(key, ResultType.ANY), step, after=after
            )
        elif isinstance(value, dict) and "$cel" in value:
            yield Fault(
                pointer=place,
                code="param_computed",
                message=f"{shown(key)[1:-1]}: a computed value is an object with the one key '$cel' and a text",
                remedy='Write {"$cel": "…"} and nothing beside it.',
            )


@cache
def _wanted(action: str) -> Mapping[str, ResultType]:
    """The type that each parameter of an installed action takes; ANY where it takes several."""
    spec = action_spec(action)
    if spec is None or spec.params is None:
        return {}
    properties: Mapping[str, Any] = spec.params.model_json_schema().get("properties", {})
    return {name: _type(schema) for name, schema in properties.items()}


def _type(schema: Mapping[str, Any]) -> ResultType:
    options = schema.get("anyOf", [schema])
    types = {_TYPES.get(option.get("type", ""), ResultType.ANY) for option in options if option.get("type") != "null"}
    return types.pop() if len(types) == 1 else ResultType.ANY
