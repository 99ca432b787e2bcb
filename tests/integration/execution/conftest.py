"""One engine without Airflow: a store of the module's own, a practice cluster, and the runners called directly."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from sqlalchemy import select, update

from kubernaut.actions.spec import StepFailure
from kubernaut.cluster.client import TRACKING_HEADER, KubeClient
from kubernaut.cluster.objects import ObjectRef
from kubernaut.cluster.practice.requests import Injection
from kubernaut.cluster.practice.scenario import load_scenario
from kubernaut.cluster.practice.server import PracticeServer, wall_clock
from kubernaut.cluster.transport import AiohttpTransport
from kubernaut.errors import ErrorClass
from kubernaut.execution.accept import execution_row
from kubernaut.execution.environment import Environment, RunRef, TaskResult
from kubernaut.execution.phases import Phase
from kubernaut.execution.step_runner import run_step
from kubernaut.execution.verdict_runner import give_verdict
from kubernaut.execution.verify_runner import verify_step
from kubernaut.expressions import close as close_expressions
from kubernaut.plan.model import (
    AutomaticUndo,
    EdgeOutcome,
    FailurePolicy,
    PostCondition,
    Retry,
    RetryStrategy,
    RollbackTrigger,
    Signal,
    Target,
)
from kubernaut.policy import DEFAULT_POLICY
from kubernaut.settings import Settings
from kubernaut.store import engine as store_engine
from kubernaut.store.audit import Actor
from kubernaut.store.engine import session
from kubernaut.store.executions import insert_execution, put_workflow
from kubernaut.store.tables import ExecutionKind, ExecutionRow, JournalRow, StepRow
from kubernaut.workflow.model import Bindings, Edge, StepBinding, Workflow, WorkflowStep

NAMESPACE, NAME = "demo-checkout", "worker"
TARGET = Target(cluster="practice", kind="Deployment", namespace=NAMESPACE, name=NAME)
WORKER = ObjectRef.of("Deployment", NAMESPACE, NAME)
CHECKOUT = ObjectRef.of("Namespace", None, NAMESPACE)
QUICK = Retry(max_attempts=3, strategy=RetryStrategy.FIXED, delay=0.05, cap=0.2, jitter=0)

T = TypeVar("T")


class Log:
    """What a runner says, and a way to await that it says it. For one event loop."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._said = asyncio.Event()

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        self._said.set()

    async def said(self, text: str, *, times: int = 1) -> None:
        """Until so many lines hold `text`. Raises `TimeoutError` after 10 s."""
        async with asyncio.timeout(10):
            while sum(text in line for line in self.lines) < times:
                self._said.clear()
                await self._said.wait()


class Clock:
    """A clock that only sleeping moves; for `dataclasses.replace(env, now=clock.now, sleep=clock.sleep)`."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self._now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._now += timedelta(seconds=seconds)
        await asyncio.sleep(0)


class _SameClient(KubeClient):
    """Tracked in place, so that a method which a test replaced stays replaced."""

    def tracked(self, tracking_id: str) -> KubeClient:
        self._headers = {**self._headers, TRACKING_HEADER: tracking_id}
        return self


@dataclass
class World:
    """A cluster, a store, and what a test does with them."""

    server: PracticeServer
    settings: Settings
    lines: list[str] = field(default_factory=list)
    others: list[int] = field(default_factory=list)

    def environment(self, transport: AiohttpTransport, **changes: Any) -> Environment:
        """For one event loop."""
        client = _SameClient(transport, timeout=self.settings.request_timeout)
        return Environment(
            settings=self.settings.model_copy(update=changes),
            policy=DEFAULT_POLICY,
            cluster=lambda _: client,
            rng=random.Random(7),
        )

    def execution(
        self,
        *steps: tuple[str, dict[str, Any]],
        edges: dict[str, list[tuple[str, str]]] | None = None,
        phase: Phase = Phase.RUNNING,
        approved: bool = False,
        success_criteria: tuple[PostCondition, ...] = (),
        rollback_triggers: tuple[RollbackTrigger, ...] = (),
        timeout: float = 60.0,
        policy: FailurePolicy = FailurePolicy.TERMINATE,
        unchecked: tuple[str, ...] = (),
        variables: dict[str, Any] | None = None,
        signal: Signal | None = None,
    ) -> str:
        """An execution whose steps are `s01`, `s02`, …: (action, columns of its binding); it runs already."""
        keys = [f"s{number:02d}" for number in range(1, len(steps) + 1)]
        workflow = Workflow(
            steps=tuple(
                WorkflowStep(
                    key=key,
                    action=action,
                    verified=bool(binding.get("post_conditions")),
                    edges=tuple(
                        Edge(upstream=upstream, outcome=EdgeOutcome(outcome))
                        for upstream, outcome in (edges or {}).get(key, [])
                    ),
                )
                for key, (action, binding) in zip(keys, steps, strict=True)
            ),
            failure_policy=policy,
            factory_version=1,
        )
        bindings = Bindings(
            plan_id="test",
            target=TARGET,
            steps={
                key: StepBinding.model_validate(
                    {
                        "id": f"step-{key}",
                        "name": f"{action} {key}",
                        "retry": QUICK,
                        "timeout": 20.0,
                        "target": TARGET,
                        "undo": AutomaticUndo(),
                        **binding,
                    }
                )
                for key, (action, binding) in zip(keys, steps, strict=True)
            },
            success_criteria=success_criteria,
            rollback_triggers=rollback_triggers,
            unchecked=unchecked,
            variables=variables or {},
            signal=signal,
            timeout=timeout,
        )
        return self.insert(workflow, bindings, phase=phase, approved=approved)

    def insert(
        self, workflow: Workflow, bindings: Bindings, *, phase: Phase = Phase.RUNNING, approved: bool = False
    ) -> str:
        with session() as store:
            put_workflow(store, workflow)
            row = execution_row(
                workflow=workflow,
                bindings=bindings,
                actor=Actor.user("tester"),
                tracking_id="track-1",
                kind=ExecutionKind.PLAN,
                approved_by="tester" if approved else None,
            )
            row.phase = phase
            row.registered_at = datetime.now(UTC)
            row.deadline_at = datetime.now(UTC) + timedelta(seconds=bindings.timeout)
            insert_execution(store, row)
            return row.id

    def run_ref(self, execution: str, *, try_number: int = 1) -> RunRef:
        row = self.row(execution)
        return RunRef(
            dag_id=row.dag_id,
            run_id=row.run_id,
            task_id="task",
            try_number=try_number,
        )

    def act(self, execution: str, key: str = "s01", *, try_number: int = 1, **changes: Any) -> TaskResult:
        """Run one step to its end in a loop of its own, as a triggerer would."""
        ref = self.run_ref(execution, try_number=try_number)
        return asyncio.run(self._within(lambda env: run_step(env, ref, key, self.lines.append), changes))

    def verify(self, execution: str, key: str = "s01", *, try_number: int = 1, **changes: Any) -> TaskResult:
        ref = self.run_ref(execution, try_number=try_number)
        return asyncio.run(self._within(lambda env: verify_step(env, ref, key, self.lines.append), changes))

    def judge(self, execution: str, **changes: Any) -> TaskResult:
        ref = self.run_ref(execution)
        return asyncio.run(self._within(lambda env: give_verdict(env, ref, self.lines.append), changes))

    def run(self, scenario: Callable[[Environment], Awaitable[T]], **changes: Any) -> T:
        """Run a scenario in which things happen side by side, in a loop of its own; `changes` of settings."""
        found: T = asyncio.run(self._within(scenario, changes))
        return found

    async def _within(self, work: Any, changes: dict[str, Any]) -> Any:
        """Run in a loop of its own and leave nothing of it behind."""
        transport = AiohttpTransport(self.server.url, self.server.token)
        try:
            return await work(self.environment(transport, **changes))
        finally:
            await transport.close()
            await close_expressions()
            await store_engine.dispose_async()
            await asyncio.sleep(0)

    # -- what is in the store and in the cluster

    def row(self, execution: str) -> ExecutionRow:
        with session() as store:
            return store.get_one(ExecutionRow, execution)

    def step(self, execution: str, key: str = "s01") -> StepRow:
        with session() as store:
            return store.get_one(StepRow, (execution, key))

    def journal(self, execution: str) -> list[JournalRow]:
        with session() as store:
            return list(
                store.scalars(select(JournalRow).where(JournalRow.execution_id == execution).order_by(JournalRow.id))
            )

    def set_phase(self, execution: str, phase: Phase, *, round_: int | None = None) -> None:
        """Put an execution into a phase, past every rule: the situations that a step may find."""
        values: dict[str, Any] = {"phase": phase}
        if phase is Phase.FAILED:
            values |= {"outcome": "failure", "ended_at": datetime.now(UTC)}
        elif phase is Phase.CANCELLED:
            values |= {"ended_at": datetime.now(UTC)}
        elif phase is Phase.RUNNING:
            values |= {"outcome": None, "ended_at": None}
        if round_ is not None:
            values["round"] = round_
        with session() as store:
            store.execute(update(ExecutionRow).where(ExecutionRow.id == execution).values(**values))

    def worker(self) -> dict[str, Any]:
        """The Deployment, as the cluster has it now."""

        found: dict[str, Any] = asyncio.run(self._within(lambda env: env.cluster("practice").get(WORKER), {}))
        return found

    def change(self, *operations: dict[str, Any], of: ObjectRef = WORKER, manager: str = "somebody-else") -> None:
        """A change by somebody else; it does not count among `sent`."""

        async def patch() -> None:
            transport = AiohttpTransport(self.server.url, self.server.token)
            client = KubeClient(transport, timeout=5, field_manager=manager)
            await client.json_patch(of, list(operations))
            await transport.close()

        asyncio.run(patch())
        self.others.append(self.server.log.records[-1].number)

    async def change_within(self, env: Environment, *operations: dict[str, Any]) -> None:
        """As `change`, within a scenario."""
        await env.cluster("practice").json_patch(WORKER, list(operations))
        self.others.append(self.server.log.records[-1].number)

    def act_blind_after_the_change(self, execution: str) -> TaskResult:
        """Act while every read after the first request of this step fails."""

        async def run(env: Environment) -> TaskResult:
            client = env.cluster("practice")
            real = client.get

            async def get(ref: ObjectRef) -> Any:
                if ref == WORKER and self.sent():
                    raise StepFailure(ErrorClass.NETWORK, "the API server is away")
                return await real(ref)

            client.get = get  # type: ignore[method-assign]
            return await run_step(env, self.run_ref(execution), "s01", self.lines.append)

        return asyncio.run(self._within(run, {}))

    def disturb(self, **injection: Any) -> None:
        self.server.log.inject(Injection.model_validate(injection))

    def sent(self) -> list[Any]:
        """The engine's mutating requests so far."""
        return [record for record in self.server.log.records if record.number not in self.others]


@pytest.fixture
def world(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A fresh cluster with the crash-looping worker, and the module's store."""
    monkeypatch.setenv("KUBERNAUT_STORE_URL", store_url)
    from kubernaut.settings import get_settings

    get_settings.cache_clear()
    settings = get_settings().model_copy(
        update={
            "poll_interval": 0.1,
            "post_condition_interval": 0.1,
            "post_condition_timeout": 20.0,
            "request_timeout": 1.0,
            "settle_seconds": 0.3,
            "clusters": {"practice": "unused"},
        }
    )
    opened = load_scenario("crashloop").open(wall_clock, time_factor=20)
    with PracticeServer(opened.cluster, changes=opened.later) as server:
        yield World(server=server, settings=settings)
    store_engine.dispose()
    get_settings.cache_clear()
