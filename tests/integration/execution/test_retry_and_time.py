"""Tries, delays and timeouts of a step: written as rows, so that whoever takes over continues where the last one was.

Delays are told from the clock that the step sleeps by; timeouts of a step are the store's time and therefore short here.
"""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from kubernaut.errors import ConfigurationError
from kubernaut.execution import progress
from kubernaut.execution.environment import Environment, TaskResult
from kubernaut.execution.step_runner import run_step
from kubernaut.plan.model import FailurePolicy, NamedCondition, PostCondition, Target
from kubernaut.store.audit import Actor
from kubernaut.store.engine import async_session, session
from kubernaut.store.halts import end_halt, set_halt
from kubernaut.store.tables import JournalStatus, StepRow
from tests.integration.execution.conftest import Clock, Log, World


def scale(**binding: Any) -> tuple[str, dict[str, Any]]:
    return ("kubernetes.scale", {"params": {"replicas": 5}, **binding})


def act_by(world: World, execution: str, clock: Clock, **settings: Any) -> TaskResult:
    """Act by a clock of the test's own: sleeping takes no time, and is written down."""

    async def scenario(env: Environment) -> TaskResult:
        timed = dataclasses.replace(env, now=clock.now, sleep=clock.sleep)
        return await run_step(timed, world.run_ref(execution), "s01", world.lines.append)

    return world.run(scenario, poll_interval=3_600.0, **settings)


def events(world: World, execution: str, text: str) -> list[str]:
    return [line["event"] for line in world.step(execution).timeline if text in line["event"]]


# --- retry


@pytest.mark.requirement("BR-WF-014")
@pytest.mark.requirement("BR-REL-007")
@pytest.mark.parametrize(
    ("strategy", "delays"),
    [("fixed", [2, 2, 2]), ("linear", [2, 4, 6]), ("exponential", [2, 4, 8])],
)
def test_a_failed_try_is_followed_by_another_after_the_strategys_delay(
    world: World, strategy: str, delays: list[int]
) -> None:
    """Three answers of 500, then none: the step waits as its strategy says, and acts with its fourth try."""
    retry = {"max_attempts": 4, "strategy": strategy, "delay": 2, "cap": 60, "jitter": 0}
    execution = world.execution(scale(timeout=600, retry=retry))
    world.disturb(method="GET", path="deployments", status=500, count=3)
    clock = Clock()

    assert act_by(world, execution, clock).state == "success"

    assert clock.slept == pytest.approx(delays)
    assert world.step(execution).tries == 4
    assert len(world.sent()) == 1


def test_a_delay_is_never_longer_than_its_cap(world: World) -> None:
    retry = {"max_attempts": 4, "strategy": "exponential", "delay": 2, "cap": 3, "jitter": 0}
    execution = world.execution(scale(timeout=600, retry=retry))
    world.disturb(method="GET", path="deployments", status=500, count=3)
    clock = Clock()

    act_by(world, execution, clock)

    assert clock.slept == pytest.approx([2, 3, 3])


def test_the_server_that_asks_to_wait_is_given_the_time(world: World) -> None:
    """429 with `Retry-After: 7` outweighs a delay of 2 s; nothing was changed by it, and the change is made once."""
    execution = world.execution(scale(timeout=600, retry={"delay": 2, "jitter": 0}))
    world.disturb(method="PATCH", status=429, retry_after=7)
    clock = Clock()

    assert act_by(world, execution, clock).state == "success"

    assert clock.slept == pytest.approx([7])
    assert [row.status for row in world.journal(execution)] == [JournalStatus.APPLIED]


def test_when_its_tries_are_used_up_the_step_has_failed(world: World) -> None:
    execution = world.execution(scale(timeout=600, retry={"max_attempts": 3, "delay": 2, "jitter": 0}))
    world.disturb(method="GET", path="deployments", status=503, retry_after=0, count=10)
    clock = Clock()

    assert act_by(world, execution, clock).state == "failed"

    assert (world.step(execution).tries, len(clock.slept)) == (3, 2)
    assert "503" in str(world.step(execution).message)
    assert world.sent() == []


def test_a_process_that_takes_over_in_a_wait_continues_with_what_is_left_of_it(world: World) -> None:
    """Two tries were made and 7 s of the wait are left: it waits these 7 s, and its try is the third."""
    execution = world.execution(scale(timeout=600))
    clock = Clock()
    world.disturb(method="GET", path="deployments", status=500, count=1)

    async def first(env: Environment) -> None:
        log = Log()
        slow = dataclasses.replace(env, sleep=lambda _: asyncio.Event().wait())
        task = asyncio.ensure_future(run_step(slow, world.run_ref(execution), "s01", log))
        await log.said("next try in")
        task.cancel()
        await asyncio.wait([task])

    world.run(first)
    row = world.step(execution)
    assert (row.state, row.tries, row.next_try_at is not None) == ("waiting", 1, True)
    with session() as store:
        store.execute(
            update(StepRow)
            .where(StepRow.execution_id == execution)
            .values(next_try_at=clock.now() + timedelta(seconds=7), tries=2)
        )

    assert act_by(world, execution, clock).state == "success"

    assert clock.slept == pytest.approx([7])
    assert world.step(execution).tries == 3


@pytest.mark.parametrize("error", [409, 422], ids=["conflict", "validation"])
def test_only_what_may_pass_is_tried_again(world: World, error: int) -> None:
    """The table of error classes: a conflict is tried again, an invalid parameter never."""
    params = {"replicas": 5 if error == 409 else "many"}
    execution = world.execution(("kubernetes.scale", {"params": params}))
    if error == 409:
        world.disturb(method="PATCH", status=409, count=3)

    result = world.act(execution)

    assert (result.state, world.step(execution).tries) == (("success", 2) if error == 409 else ("failed", 1))


def test_no_try_is_awaited_for_which_the_steps_time_will_be_over(world: World) -> None:
    """The server asks for 100 s and the step has 20: it fails at once, with the server's reason and not as a timeout."""
    execution = world.execution(scale(timeout=20))
    world.disturb(method="GET", path="deployments", status=429, retry_after=100, count=5)
    clock = Clock()

    assert act_by(world, execution, clock).state == "failed"

    assert clock.slept == []
    assert world.step(execution).error_class == "throttled"


# --- the step's timeout


@pytest.mark.requirement("BR-WF-TIMEOUT-002")
def test_a_step_that_takes_too_long_is_ended_by_its_own_timeout(world: World) -> None:
    """Each step has the timeout of its binding: the slower one fails with error class `timeout`, the other is not touched."""
    slow = {"params": {"seconds": 0.5}}
    steps = ("noop", {**slow, "timeout": 0.3}), ("noop", {**slow, "timeout": 30})
    execution = world.execution(*steps, policy=FailurePolicy.CONTINUE)

    assert world.act(execution, "s01").state == "failed"
    assert world.act(execution, "s02").state == "success"

    row = world.step(execution, "s01")
    assert (row.state, row.error_class) == ("failed", "timeout")
    assert row.message == "the step took longer than 0.3 s"


@pytest.mark.requirement("BR-WF-TIMEOUT-002")
def test_a_slow_read_is_cut_off_by_the_timeout_and_nothing_was_changed(world: World) -> None:
    execution = world.execution(scale(timeout=0.4))
    world.disturb(method="GET", path="deployments", delay=0.9)

    assert world.act(execution, request_timeout=30.0).state == "failed"

    assert world.step(execution).error_class == "timeout"
    assert world.sent() == []


def test_a_timeout_while_the_change_is_made_ends_as_the_object_says(world: World) -> None:
    """The answer is slow, the change was made: the step succeeded, and the journal has the stored value."""
    execution = world.execution(scale(timeout=0.5))
    real_time = 0.8

    async def scenario(env: Environment) -> TaskResult:
        client = env.cluster("practice")
        real = client.json_patch

        async def slow(*args: Any, **kwargs: Any) -> Any:
            answer = await real(*args, **kwargs)
            await asyncio.sleep(real_time)  # longer than the step may take
            return answer

        client.json_patch = slow  # type: ignore[method-assign]
        return await run_step(env, world.run_ref(execution), "s01", world.lines.append)

    assert world.run(scenario).state == "success"
    (row,) = world.journal(execution)
    assert (row.status, row.fields[0]["stored"]) == (JournalStatus.APPLIED, 5)


def test_a_timeout_with_an_object_that_cannot_be_read_ends_in_doubt(world: World) -> None:
    """The change may have been made: the step is `unknown`, not failed, and does not hang."""
    execution = world.execution(scale(timeout=0.5))
    world.disturb(method="PATCH", delay=0.8)

    async def scenario(env: Environment) -> TaskResult:
        client = env.cluster("practice")
        real = client.json_patch

        async def then_nothing_can_be_read(*args: Any, **kwargs: Any) -> Any:
            world.disturb(method="GET", path="deployments", close="before", count=50)
            return await real(*args, **kwargs)

        client.json_patch = then_nothing_can_be_read  # type: ignore[method-assign]
        return await run_step(env, world.run_ref(execution), "s01", world.lines.append)

    world.run(scenario)

    assert world.step(execution).state == "unknown"
    assert [row.status for row in world.journal(execution)] == [JournalStatus.UNKNOWN]


def test_a_timeout_that_strikes_in_a_statement_to_the_store_is_a_timeout(world: World) -> None:
    """Cancelling a statement breaks its connection; what the caller gets is its own timeout, not an unavailable store."""
    execution = world.execution(("noop", {}))
    world.act(execution)

    async def scenario(env: Environment) -> None:
        async with async_session() as locked:
            await locked.get_one(StepRow, (execution, "s01"), with_for_update=True)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await progress.write(execution, "s01", 1, message="waits for the lock")

    world.run(scenario)


# --- errors at each point of a step

NOT_FOUND = {"cluster": "practice", "kind": "Deployment", "namespace": "demo-checkout", "name": "nobody"}


@pytest.mark.requirement("BR-REL-006")
@pytest.mark.parametrize(
    ("binding", "injection", "error_class"),
    [
        ({"when": "vars.missing"}, None, "validation"),
        ({"params": {"replicas": {"$cel": "'five'"}}}, None, "validation"),
        ({"params": {"replicas": -1}}, None, "validation"),
        ({"target": NOT_FOUND}, None, "not_found"),
        ({"target": {**NOT_FOUND, "cluster": "elsewhere"}}, None, "validation"),
        ({}, {"method": "GET", "path": "deployments", "status": 500}, "network"),
        ({}, {"method": "GET", "path": "namespaces/demo-checkout$", "status": 500}, "network"),
        ({}, {"method": "GET", "path": "deployments", "status": 429, "retry_after": 0}, "throttled"),
        ({}, {"method": "GET", "path": "deployments", "close": "before"}, "network"),
        ({"timeout": 0.4}, {"method": "GET", "path": "deployments", "delay": 0.7}, "timeout"),
        ({}, {"method": "PATCH", "status": 409}, "conflict"),
        ({}, {"method": "PATCH", "status": 429, "retry_after": 0}, "throttled"),
    ],
    ids=[
        "condition",
        "computed-parameter",
        "parameter",
        "no-object",
        "no-cluster",
        "read-500",
        "policy-read-500",
        "read-429",
        "read-closed",
        "read-slow",
        "change-409",
        "change-429",
    ],
)
def test_whatever_goes_wrong_in_a_step_fails_it_with_its_class_and_a_reason(
    world: World, binding: dict[str, Any], injection: dict[str, Any] | None, error_class: str
) -> None:
    """At each point of a step: no exception leaves it, its row has a class and a text, and the cluster is as it was."""
    execution = world.execution(scale(**binding))
    if injection is not None:
        world.disturb(count=100, **injection)

    async def scenario(env: Environment) -> TaskResult:
        known = env.cluster("practice")

        def cluster(name: str) -> Any:
            if name != "practice":
                raise ConfigurationError(f"cluster {name!r} is not in the setting clusters")
            return known

        lost = dataclasses.replace(env, cluster=cluster)
        return await run_step(lost, world.run_ref(execution), "s01", world.lines.append)

    result = world.run(scenario)

    row = world.step(execution)
    assert (result.state, row.state, row.error_class) == ("failed", "failed", error_class)
    assert row.message
    world.server.log._injections.clear()
    assert world.worker()["spec"]["replicas"] == 2


# --- what is reported of a step


@pytest.mark.requirement("BR-EXEC-002")
def test_a_steps_result_says_where_it_stands_and_how_long_each_part_took(world: World) -> None:
    """Status, tries, outputs, the journal's rows, and a timeline whose moments are in order."""
    condition = PostCondition(name="there", check=NamedCondition(check="no_crash_loops", target=Target()), timeout=0.2)
    execution = world.execution(scale(post_conditions=(condition,)))
    world.disturb(method="GET", path="deployments", status=500)

    acted = world.act(execution).result
    ended = world.verify(execution).result

    assert (acted["status"], ended["status"]) == ("verifying", "failed")
    assert (ended["tries"], ended["tracking_id"], ended["step"]) == (2, "track-1", "step-s01")
    assert ended["outputs"] == {"replicas": {"before": 2, "after": 5}}
    assert [entry["status"] for entry in ended["journal"]] == ["applied"]  # type: ignore[index, union-attr]
    told = [line["event"] for line in ended["timeline"]]  # type: ignore[index, union-attr]
    expected = ["try 1", "next try", "try 2", "replicas 2 → 5", "acted", "verifying", "failed"]
    assert [wanted in line for wanted, line in zip(expected, told, strict=True)] == [True] * len(expected)
    moments = [datetime.fromisoformat(line["at"]) for line in ended["timeline"]]  # type: ignore[index, union-attr]
    assert moments == sorted(moments)
    row = world.step(execution)
    assert row.started_at and row.acted_at and row.ended_at  # noqa: PT018
    assert row.started_at <= row.acted_at <= row.ended_at


def test_nothing_is_sent_again_while_halted(world: World) -> None:
    """The first request's answer was lost before it took effect; the second one waits for the end of the halt."""
    execution = world.execution(scale(retry={"delay": 0.2, "jitter": 0}))
    world.disturb(method="PATCH", close="before")

    async def scenario(env: Environment) -> TaskResult:
        log, tester = Log(), Actor.user("tester")
        async with asyncio.timeout(15), asyncio.TaskGroup() as group:
            step = group.create_task(run_step(env, world.run_ref(execution), "s01", log))
            await log.said("next try in")
            with session() as store:
                set_halt(store, cluster=None, reason="test", actor=tester)
            try:
                await log.said("halted")
                assert len(world.sent()) == 1
            finally:
                with session() as store:
                    end_halt(store, cluster=None, reason=None, actor=tester)
        return step.result()

    assert world.run(scenario).state == "success"
    assert len(world.sent()) == 2
