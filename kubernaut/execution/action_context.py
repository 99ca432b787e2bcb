"""What an executor sees of its step: target, reads, expressions. Built by the step runner for each try."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, JsonValue

from kubernaut.actions.registry import resolve_params
from kubernaut.actions.spec import ActionSpec, StepFailure
from kubernaut.cluster.client import KubeClient
from kubernaut.cluster.objects import ObjectRef
from kubernaut.errors import ConfigurationError, ErrorClass
from kubernaut.execution import progress
from kubernaut.execution.environment import Environment
from kubernaut.expressions import Context, ResultType, Scope, evaluate
from kubernaut.plan.model import Target


def merged(target: Target, fallback: Target) -> Target:
    """The step's target, each absent field taken from the plan's."""
    return Target(
        cluster=target.cluster or fallback.cluster,
        kind=target.kind or fallback.kind,
        namespace=target.namespace or fallback.namespace,
        name=target.name or fallback.name,
    )


class StepActionContext:
    """An `ActionContext` (see `kubernaut.actions.spec`) over the store and one cluster."""

    def __init__(self, env: Environment, situation: progress.Situation, key: str, log: Callable[[str], None]) -> None:
        self._env = env
        self._situation = situation
        self._key = key
        self._log = log

    @property
    def target(self) -> Target:
        binding = self._situation.bindings.steps.get(self._key)
        own = binding.target if binding else Target()
        return merged(own, self._situation.bindings.target)

    @property
    def tracking_id(self) -> str:
        return self._situation.tracking_id

    @property
    def execution_id(self) -> str:
        return self._situation.execution_id

    @property
    def step_id(self) -> str:
        return self._situation.bindings.steps[self._key].id

    @property
    def client(self) -> KubeClient:
        """The client of the step's cluster. Raises `StepFailure(VALIDATION)` where it names none that is configured here."""
        cluster = self.target.cluster
        if cluster is None:
            raise StepFailure(ErrorClass.VALIDATION, "the step names no cluster and there is no default one")
        try:
            return self._env.cluster(cluster)
        except ConfigurationError as error:
            raise StepFailure(ErrorClass.VALIDATION, str(error)) from error

    async def get(self, ref: ObjectRef) -> Mapping[str, Any]:
        return await self.client.get(ref)

    async def list(
        self, api_version: str, kind: str, namespace: str, *, label_selector: str | None = None
    ) -> Sequence[Mapping[str, Any]]:
        return (await self.client.list(kind, namespace, label_selector=label_selector)).items

    def now(self) -> datetime:
        return self._env.now()

    def log(self, line: str) -> None:
        self._log(line)

    async def expression_context(self, *, object: Any = None, objects: Sequence[Any] | None = None) -> Context:
        """What CEL sees: `signal`, `target`, `vars`, `steps`, `now`, and the objects that were read."""
        rows = await progress.rows(self.execution_id)
        bindings = self._situation.bindings
        steps = {}
        for key, binding in bindings.steps.items():
            row = rows.get(key)
            steps[binding.id] = {
                "status": row.state if row else "not_reached",
                "outputs": row.outputs if row else {},
            }
        return Context(
            signal=bindings.signal.model_dump(mode="json") if bindings.signal else {},
            target=self.target.model_dump(mode="json"),
            variables=bindings.variables,
            steps=steps,
            now=self._env.now(),
            object=object,
            objects=objects,
        )

    async def evaluate(
        self, expression: str, *, object: Mapping[str, Any] | None = None, wants: ResultType = ResultType.ANY
    ) -> JsonValue:
        """CEL. Raises `StepFailure(VALIDATION)`: what cannot be evaluated is neither true nor false."""
        scope = Scope.PLAN if object is None else Scope.OBJECT
        found = await evaluate(expression, await self.expression_context(object=object), scope=scope, wants=wants)
        if found.error is not None:
            raise StepFailure(ErrorClass.VALIDATION, f"{expression!r} cannot be evaluated: {found.error}")
        value: JsonValue = found.value
        return value

    async def params(self, spec: ActionSpec, given: Mapping[str, JsonValue]) -> BaseModel:
        """The parameters, `$cel` evaluated, checked against the action's model. Raises `StepFailure(VALIDATION)`."""
        values: dict[str, JsonValue] = {}
        for name, value in given.items():
            if isinstance(value, dict) and set(value) == {"$cel"}:
                values[name] = await self.evaluate(str(value["$cel"]))
            else:
                values[name] = value
        return resolve_params(spec.name, values)
