"""Waits for post-conditions: all of a list at once, each until it holds, its time is over, or the execution ends.

Watches where the API has a watch and polls at a bounded interval beside it; every reading is a fresh one from the
cluster. Used for the post-conditions of a step and for the success criteria of a whole plan (BR-WF-016, BR-WF-050).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import JsonValue

from kubernaut.actions.spec import StepFailure
from kubernaut.cluster.client import KubeClient, WatchExpired
from kubernaut.errors import ConfigurationError, ErrorClass
from kubernaut.execution import progress
from kubernaut.execution.action_context import StepActionContext, merged
from kubernaut.execution.environment import Environment
from kubernaut.execution.phases import terminal
from kubernaut.expressions import ResultType, Scope
from kubernaut.expressions import evaluate as evaluate_cel
from kubernaut.plan.model import Check, PostCondition, Target
from kubernaut.postconditions.evaluate import WatchTarget, evaluate, readable, watch_target
from kubernaut.postconditions.result import CheckResult


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Where one condition stands. `holds` None: it could not be read, or nothing can read it (`readable` False).

    :param at: when the reading began, by the store's clock: the journal's times, with which the verdict compares it, are
        by the same one, and what changed while it was read may not have been seen
    """

    name: str
    holds: bool | None
    optional: bool
    readable: bool
    observed: str
    at: datetime
    readings: int

    def document(self) -> dict[str, Any]:
        """For the step's row, the XCom and people."""
        return {
            "name": self.name,
            "holds": self.holds,
            "optional": self.optional,
            "readable": self.readable,
            "observed": self.observed,
            "at": self.at.isoformat(),
            "readings": self.readings,
        }


class ExecutionEnded(Exception):
    """The execution ended while its conditions were awaited."""


class _Cel:
    """CEL over the execution's context, for conditions."""

    def __init__(self, context: StepActionContext) -> None:
        self._context = context

    async def evaluate(
        self,
        expression: str,
        *,
        object: Mapping[str, Any] | None = None,
        objects: Sequence[Mapping[str, Any]] | None = None,
    ) -> JsonValue:
        scope = Scope.OBJECT if object is not None else Scope.LIST if objects is not None else Scope.PLAN
        data = await self._context.expression_context(object=object, objects=objects)
        found = await evaluate_cel(expression, data, scope=scope, wants=ResultType.ANY)
        if found.error is not None:
            raise StepFailure(ErrorClass.VALIDATION, f"{expression!r} cannot be evaluated: {found.error}")
        value: JsonValue = found.value
        return value


@dataclass(frozen=True, kw_only=True)
class Observer:
    """Reads the conditions of one execution. `key`: whose target completes theirs; any key for the whole plan's."""

    env: Environment
    situation: progress.Situation
    key: str
    log: Callable[[str], None]

    def _complete(self, check: Check) -> Check:
        """The check with its target completed from the step's and the plan's."""
        target: Target | None = getattr(check, "target", None)
        if target is None:
            return check
        binding = self.situation.bindings.steps.get(self.key)
        fallback = merged(binding.target, self.situation.bindings.target) if binding else self.situation.bindings.target
        same_kind = target.kind is None or target.kind == fallback.kind
        filled = Target(
            cluster=target.cluster or fallback.cluster,
            kind=target.kind or fallback.kind,
            namespace=target.namespace or fallback.namespace,
            name=target.name or (fallback.name if same_kind else None),
        )
        return check.model_copy(update={"target": filled})

    def _client(self, check: Check) -> KubeClient | None:
        """Raises `ConfigurationError` for a cluster that is not configured here."""
        target: Target | None = getattr(check, "target", None)
        return self.env.cluster(target.cluster) if target is not None and target.cluster else None

    async def read(self, check: Check) -> CheckResult:
        """One reading, now."""
        complete = self._complete(check)
        context = StepActionContext(self.env, self.situation, self.key, self.log)
        try:
            client = self._client(complete)
        except ConfigurationError as error:
            return CheckResult(holds=None, observed=str(error), error=ErrorClass.VALIDATION)
        if client is None and getattr(complete, "target", None) is not None:
            return CheckResult(holds=None, observed="the condition names no cluster", error=ErrorClass.VALIDATION)
        return await evaluate(complete, reader=client or _NoReader(), cel=_Cel(context), now=self.env.now())

    async def all(self, conditions: Sequence[PostCondition]) -> list[Reading]:
        """Wait for all of them, side by side. Raises `ExecutionEnded`."""
        async with asyncio.TaskGroup() as group:
            guard = group.create_task(self._until_ended())
            waits = [group.create_task(self._until_true(condition)) for condition in conditions]
            pending: set[asyncio.Task[Any]] = set(waits)
            while pending and not guard.done():
                _, pending = await asyncio.wait({guard, *pending}, return_when=asyncio.FIRST_COMPLETED)
                pending.discard(guard)
            for task in (guard, *waits):
                task.cancel()
        if pending:
            raise ExecutionEnded
        return [task.result() for task in waits]

    async def _until_ended(self) -> None:
        while True:
            phase, _, cancelled = await progress.phase_of(self.situation.execution_id)
            if terminal(phase) or cancelled:
                return
            await self.env.sleep(self.env.settings.poll_interval)

    async def _until_true(self, condition: PostCondition) -> Reading:
        settings = self.env.settings
        if not readable(condition.check):
            return await self._once(condition)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (condition.timeout or settings.post_condition_timeout)
        since: float | None = None
        count, told = 0, ""
        async with self._changes(condition.check) as changed:
            while True:
                changed.clear()
                at = await progress.store_time()
                result = await self.read(condition.check)
                count += 1
                now = loop.time()
                since = (now if since is None else since) if result.holds else None
                stable = since is not None and now - since >= condition.stable_for
                if stable or now >= deadline:
                    done = self._reading(condition, result, at, count)
                    return done if stable or not result.holds else _unstable(done, condition)
                if result.observed != told:
                    told = result.observed
                    self.log(f"{condition.name}: not yet: {told}")
                pause = min(settings.post_condition_interval, result.recheck_after or 1e9, max(0.05, deadline - now))
                if since is not None:
                    pause = min(pause, max(0.05, condition.stable_for - (now - since)))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await changed.wait()

    async def once(self, conditions: Sequence[PostCondition]) -> list[Reading]:
        """One reading of each, without waiting: where the outcome is decided already and people are only to be told."""
        return [await self._once(condition) for condition in conditions]

    async def _once(self, condition: PostCondition) -> Reading:
        at = await progress.store_time()
        return self._reading(condition, await self.read(condition.check), at, 1)

    def _reading(self, condition: PostCondition, result: CheckResult, at: datetime, count: int) -> Reading:
        self.log(f"{condition.name}: {'holds' if result.holds else 'does not hold'}: {result.observed}")
        return Reading(
            name=condition.name,
            holds=result.holds,
            optional=condition.optional,
            readable=result.readable,
            observed=result.observed,
            at=at,
            readings=count,
        )

    @contextlib.asynccontextmanager
    async def _changes(self, check: Check) -> Any:
        """An event that is set when a watch saw something move; a watch that fails leaves the polling."""
        changed = asyncio.Event()
        complete = self._complete(check)
        target, task = watch_target(complete), None
        try:
            client = self._client(complete)
        except ConfigurationError:
            client = None  # the reading says so
        if target is not None and client is not None:
            task = asyncio.ensure_future(self._watch(client, target, changed))
        try:
            yield changed
        finally:
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _watch(self, client: KubeClient, target: WatchTarget, changed: asyncio.Event) -> None:
        while True:
            try:
                listing = await client.list(target.kind, target.namespace, **target.selectors)
                changed.set()
                async for _ in client.watch(
                    target.kind,
                    target.namespace,
                    resource_version=listing.resource_version,
                    timeout=60.0,
                    **target.selectors,
                ):
                    changed.set()
            except WatchExpired:
                self.log(f"the watch of {target.kind} is too old; listing again")
            except StepFailure as failure:
                self.log(f"the watch of {target.kind} failed ({failure.message}); polling")
            await self.env.sleep(self.env.settings.post_condition_interval)


def _unstable(reading: Reading, condition: PostCondition) -> Reading:
    return Reading(
        name=reading.name,
        holds=False,
        optional=reading.optional,
        readable=True,
        observed=f"{reading.observed}, but not for {condition.stable_for:g} s without a break",
        at=reading.at,
        readings=reading.readings,
    )


class _NoReader:
    """For conditions over the plan alone."""

    async def get(self, ref: object) -> Any:
        raise StepFailure(ErrorClass.VALIDATION, "this condition reads no cluster")

    async def list(self, *args: object, **kwargs: object) -> Any:
        raise StepFailure(ErrorClass.VALIDATION, "this condition reads no cluster")
