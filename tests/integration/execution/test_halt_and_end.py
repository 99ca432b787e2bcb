"""What holds a step back before it acts: the queue, a round to come, a halt, a slot; and what ends it there.

Each waits for an event and not for a time, acts exactly once when it may, and never when it may not.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from kubernaut.execution.environment import Environment, TaskResult
from kubernaut.execution.phases import Phase
from kubernaut.execution.step_runner import run_step
from kubernaut.store import wake
from kubernaut.store.audit import Actor
from kubernaut.store.engine import session
from kubernaut.store.executions import get_execution, request_cancel, set_phase
from kubernaut.store.halts import end_halt, set_halt
from kubernaut.store.tables import ExecutionRow, JournalStatus, StepRow
from tests.integration.execution.conftest import Log, World

SCALE = ("kubernetes.scale", {"params": {"replicas": 5}})
SLOW_POLL = 300.0
"""Whoever goes on earlier than this was woken."""

TESTER = Actor.user("tester")
Happening = Callable[[Environment, Log], Awaitable[None]]


def halt(cluster: str | None = None) -> None:
    with session() as store:
        set_halt(store, cluster=cluster, reason="test", actor=TESTER)


def resume(cluster: str | None = None) -> None:
    with session() as store:
        end_halt(store, cluster=cluster, reason=None, actor=TESTER)


@pytest.fixture(autouse=True)
def _nothing_halted(world: World) -> Any:
    yield
    for cluster in (None, "practice", "another"):
        resume(cluster)


def columns(execution: str, **values: Any) -> None:
    """Set columns of an execution and wake whoever waits for it."""
    with session() as store:
        store.execute(update(ExecutionRow).where(ExecutionRow.id == execution).values(**values))
        wake.notify(store, wake.execution(execution))


def step_columns(execution: str, **values: Any) -> None:
    with session() as store:
        store.execute(update(StepRow).where(StepRow.execution_id == execution).values(**values))


def cancel(execution: str) -> None:
    with session() as store:
        row = get_execution(store, execution)
        assert row is not None
        assert request_cancel(store, row, actor=TESTER, reason="test")


def mend(world: World, execution: str, *keys: str) -> None:
    """Take away the condition that fails these steps."""
    bindings = {**world.row(execution).bindings}
    for key in keys:
        bindings["steps"][key]["when"] = None
    columns(execution, bindings=bindings)


def clear(world: World, execution: str) -> None:
    """The execution failed, and a person's clear returned it to `running`, as the reconciler writes it."""
    world.set_phase(execution, Phase.FAILED)
    with session() as store:
        row = get_execution(store, execution)
        assert row is not None
        set_phase(store, row, Phase.RUNNING, actor=TESTER, deadline_at=datetime.now(UTC) + timedelta(seconds=60))


def act_while(
    world: World,
    execution: str,
    waits: str,
    happening: Happening,
    *,
    key: str = "s01",
    try_number: int = 1,
    **settings: Any,
) -> TaskResult:
    """Act, and let something happen when the step says that it waits."""

    async def scenario(env: Environment) -> TaskResult:
        log = Log()
        ref = world.run_ref(execution, try_number=try_number)
        async with asyncio.timeout(15), asyncio.TaskGroup() as group:
            await wake.waker().ready()
            step = group.create_task(run_step(env, ref, key, log))
            await log.said(waits)
            await happening(env, log)
        return step.result()

    return world.run(scenario, **settings)


# --- halt


def test_a_halted_step_waits_at_its_claim_and_acts_once_after_resume(world: World) -> None:
    """While halted: state `waiting`, reason `halted`, nothing sent. `resume` wakes it at once."""
    execution = world.execution(SCALE)
    halt()

    async def look_and_resume(env: Environment, log: Log) -> None:
        row = world.step(execution)
        assert (row.state, row.reason) == ("waiting", "halted")
        assert world.sent() == []
        resume()

    result = act_while(world, execution, "halted", look_and_resume, poll_interval=SLOW_POLL)

    row = world.step(execution)
    assert (result.state, row.state, row.reason) == ("success", "succeeded", None)
    assert len(world.sent()) == 1


def test_a_wait_for_the_end_of_a_halt_is_no_try(world: World) -> None:
    execution = world.execution(SCALE)
    halt()

    async def go_on(env: Environment, log: Log) -> None:
        resume()

    act_while(world, execution, "halted", go_on)

    assert world.step(execution).tries == 1


@pytest.mark.parametrize(("cluster", "held"), [("practice", True), ("another", False)])
def test_a_halt_holds_the_steps_of_its_own_cluster(world: World, cluster: str, held: bool) -> None:
    execution = world.execution(SCALE)
    halt(cluster)

    async def go_on(env: Environment, log: Log) -> None:
        resume(cluster)

    result = act_while(world, execution, "halted", go_on) if held else world.act(execution)

    assert result.state == "success"


def test_the_steps_own_timeout_stands_still_while_it_is_halted(world: World) -> None:
    """Halted for longer than the step may take, it still has its time when it goes on."""
    execution = world.execution(("kubernetes.scale", {"params": {"replicas": 5}, "timeout": 1.0}))
    halt()

    async def go_on_after_the_timeout(env: Environment, log: Log) -> None:
        await asyncio.sleep(1.2)  # the real clock is what is tested: the deadline is the store's
        resume()

    assert act_while(world, execution, "halted", go_on_after_the_timeout).state == "success"


def test_a_process_that_takes_over_during_a_halt_leaves_the_step_its_time(world: World) -> None:
    """The first process died while the step was halted, and its deadline has passed meanwhile: the halt counts for none."""
    execution = world.execution(("kubernetes.scale", {"params": {"replicas": 5}, "timeout": 5.0}))
    halt()

    async def die(env: Environment, log: Log) -> None:
        raise InterruptedError

    with pytest.raises(ExceptionGroup):
        act_while(world, execution, "halted", die)
    ten_minutes_ago = (datetime.now(UTC) - timedelta(minutes=10)).isoformat()
    (*earlier, last) = world.step(execution).timeline
    step_columns(
        execution,
        deadline_at=datetime.now(UTC) - timedelta(minutes=9.95),
        timeline=[*earlier, {**last, "at": ten_minutes_ago}],
    )

    async def go_on(env: Environment, log: Log) -> None:
        resume()

    assert act_while(world, execution, "halted", go_on).state == "success"


def test_the_plans_timeout_ends_a_halted_step_without_acting(world: World) -> None:
    execution = world.execution(SCALE)
    halt()

    async def run_out(env: Environment, log: Log) -> None:
        columns(execution, deadline_at=datetime.now(UTC) - timedelta(seconds=1))

    result = act_while(world, execution, "halted", run_out, poll_interval=SLOW_POLL)

    row = world.step(execution)
    assert (result.state, row.state, row.reason) == ("skipped", "not_reached", "timeout")
    assert world.sent() == []


def test_cancelling_ends_a_halted_step_without_acting(world: World) -> None:
    execution = world.execution(SCALE)
    halt()

    async def stop(env: Environment, log: Log) -> None:
        cancel(execution)

    act_while(world, execution, "halted", stop, poll_interval=SLOW_POLL)

    assert (world.step(execution).state, world.step(execution).reason) == ("not_reached", "cancelled")
    assert world.sent() == []


# --- phases


def test_a_step_of_a_queued_execution_acts_when_it_runs(world: World) -> None:
    """It is woken by the phase's change, long before it would look again."""
    execution = world.execution(SCALE, phase=Phase.QUEUED)

    async def start(env: Environment, log: Log) -> None:
        assert world.sent() == []
        columns(execution, phase=Phase.RUNNING)

    result = act_while(world, execution, "waiting for the execution", start, poll_interval=SLOW_POLL)

    assert result.state == "success"
    assert len(world.sent()) == 1


def test_a_step_of_a_queued_execution_that_is_cancelled_never_acts(world: World) -> None:
    execution = world.execution(SCALE, phase=Phase.QUEUED)

    async def end(env: Environment, log: Log) -> None:
        columns(execution, phase=Phase.CANCELLED, ended_at=datetime.now(UTC))

    result = act_while(world, execution, "waiting for the execution", end)

    assert result.state == "skipped"
    assert world.sent() == []


def test_a_cleared_step_waits_for_its_new_round(world: World) -> None:
    """A person cleared it after the execution had failed: it acts when the execution runs again in round 2, not before."""
    execution = world.execution(("kubernetes.scale", {"params": {"replicas": 5}, "when": "vars.missing"}))
    assert world.act(execution).state == "failed"
    mend(world, execution, "s01")
    columns(execution, phase=Phase.FAILED, outcome="failure", ended_at=datetime.now(UTC))

    async def open_round(env: Environment, log: Log) -> None:
        assert world.sent() == []
        columns(execution, phase=Phase.RUNNING, round=2, outcome=None, ended_at=None)

    result = act_while(world, execution, "waiting", open_round, try_number=2, poll_interval=SLOW_POLL)

    assert (result.state, world.step(execution).round) == ("success", 2)


def test_what_an_earlier_round_left_behind_does_not_stop_a_cleared_step(world: World) -> None:
    """Two steps failed and both were cleared: the first to run is not terminated because of the other's old failure."""
    execution = world.execution(("noop", {"when": "vars.missing"}), ("noop", {"when": "vars.missing"}))
    assert world.act(execution, "s01").state == "failed"
    with session() as store:
        failed = {"state": "failed", "ended_at": datetime.now(UTC)}
        store.merge(StepRow(execution_id=execution, key="s02", step_id="step-s02", name="b", action="noop", **failed))
    mend(world, execution, "s01", "s02")
    clear(world, execution)

    assert world.act(execution, "s01", try_number=2).state == "success"
    assert world.act(execution, "s02", try_number=2).state == "success"


def test_a_step_that_nobody_asked_in_the_first_round_runs_when_it_is_cleared(world: World) -> None:
    """The verdict wrote `not_reached` for it; Airflow had never started it, so its first try is the second round's."""
    execution = world.execution(("noop", {"when": "vars.missing"}), ("noop", {}), edges={"s02": [("s01", "success")]})
    assert world.act(execution, "s01").state == "failed"
    world.judge(execution)
    assert world.step(execution, "s02").state == "not_reached"
    mend(world, execution, "s01")
    clear(world, execution)
    assert world.act(execution, "s01", try_number=2).state == "success"

    async def scenario(env: Environment) -> TaskResult:
        return await run_step(env, world.run_ref(execution, try_number=1), "s02", world.lines.append)

    assert world.run(scenario).state == "success"
    assert world.step(execution, "s02").state == "succeeded"


# --- a process that takes over


def restart_after_sending(world: World, execution: str, status: JournalStatus = JournalStatus.SENT) -> None:
    """Step and journal as a process that died after sending leaves them."""
    from tests.integration.execution.test_changing_once import reopen

    world.act(execution, "s01")
    reopen(execution, status=status)


def test_a_step_that_has_begun_is_not_asked_for_its_condition_again(world: World) -> None:
    """Its request is out when the process dies, and its `when` is false by then: it is finished, not skipped."""
    execution = world.execution(
        ("kubernetes.scale", {"params": {"replicas": 5}, "when": "vars.go"}), variables={"go": True}
    )
    restart_after_sending(world, execution)
    bindings = {**world.row(execution).bindings}
    bindings["variables"] = {"go": False}
    columns(execution, bindings=bindings)

    assert world.act(execution).state == "success"
    assert [row.status for row in world.journal(execution)] == [JournalStatus.APPLIED]


def test_a_step_that_has_begun_finishes_although_another_failed_meanwhile(world: World) -> None:
    """Failure policy terminate: running steps finish, also when they have to be taken over by another process."""
    execution = world.execution(SCALE, ("noop", {"when": "vars.missing"}))
    restart_after_sending(world, execution)
    assert world.act(execution, "s02").state == "failed"

    assert world.act(execution).state == "success"
    assert world.step(execution).state == "succeeded"


@pytest.mark.parametrize("stop", ["cancel", "end"])
def test_a_step_that_is_stopped_with_its_request_under_way_says_what_became_of_it(world: World, stop: str) -> None:
    """The request's answer was lost and the next try is far away; the execution is stopped; the change is in the cluster."""
    execution = world.execution(
        ("kubernetes.scale", {"params": {"replicas": 5}, "timeout": 7200, "retry": {"delay": 3600, "cap": 3600}})
    )
    world.disturb(method="PATCH", close="after")

    async def happening(env: Environment, log: Log) -> None:
        if stop == "cancel":
            cancel(execution)
        else:
            world.set_phase(execution, Phase.FAILED)

    act_while(world, execution, "next try in", happening)

    assert world.step(execution).state == "succeeded"
    assert [row.status for row in world.journal(execution)] == [JournalStatus.APPLIED]


# --- two at the same time


@pytest.mark.parametrize("action", ["kubernetes.scale", "noop"])
def test_two_triggerers_run_the_same_step_in_one_loop(world: World, action: str) -> None:
    """One change, one result."""
    params = {"replicas": 5} if action == "kubernetes.scale" else {}
    execution = world.execution((action, {"params": params}))
    generation = world.worker()["metadata"]["generation"]

    async def scenario(env: Environment) -> list[TaskResult]:
        ref = world.run_ref(execution)
        return list(await asyncio.gather(*(run_step(env, ref, "s01", world.lines.append) for _ in range(2))))

    first, second = world.run(scenario)

    assert (first.state, first.result["status"]) == (second.state, second.result["status"]) == ("success", "succeeded")
    assert world.worker()["metadata"]["generation"] == generation + len(world.journal(execution))
    assert [row.status for row in world.journal(execution)] == [JournalStatus.APPLIED] * (action != "noop")


@pytest.mark.parametrize("delay", [0.0, 0.15])
def test_two_triggerers_run_the_same_step_in_two_threads(world: World, delay: float) -> None:
    """Also where the API server is slow, so that the second finds the first one's request under way."""
    execution = world.execution(SCALE)
    generation = world.worker()["metadata"]["generation"]
    if delay:
        world.disturb(method="PATCH", delay=delay)
    results: list[TaskResult] = []
    threads = [threading.Thread(target=lambda: results.append(world.act(execution))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert [result.state for result in results] == ["success", "success"]
    assert world.step(execution).state == "succeeded"
    assert world.worker()["metadata"]["generation"] == generation + 1
    assert [row.status for row in world.journal(execution)] == [JournalStatus.APPLIED]


def test_a_late_second_run_leaves_a_step_that_has_ended_as_it_is(world: World) -> None:
    """The second triggerer stood before the slot when the first one finished: nothing becomes `running` again."""
    execution = world.execution(SCALE, ("noop", {}))

    async def scenario(env: Environment) -> TaskResult:
        log = Log()
        with session() as store:
            store.merge(
                StepRow(execution_id=execution, key="s02", step_id="step-s02", name="x", action="noop", state="running")
            )
        async with asyncio.timeout(15), asyncio.TaskGroup() as group:
            late = group.create_task(run_step(env, world.run_ref(execution), "s01", log))
            await log.said("slot")
            step_columns(execution, state="succeeded", message="done by the other", ended_at=datetime.now(UTC))
        return late.result()

    result = world.run(scenario, max_parallel_steps=1)

    assert (result.state, result.text) == ("success", "done by the other")
    assert world.step(execution).state == "succeeded"
    assert world.sent() == []


# --- slots


def test_no_more_steps_act_at_the_same_time_than_the_setting_says(world: World) -> None:
    """Two steps, one slot: both act, and their times do not overlap."""
    execution = world.execution(("noop", {"params": {"seconds": 0.3}}), ("noop", {"params": {"seconds": 0.3}}))

    async def scenario(env: Environment) -> list[TaskResult]:
        ref = world.run_ref(execution)
        return list(await asyncio.gather(*(run_step(env, ref, key, world.lines.append) for key in ("s01", "s02"))))

    results = world.run(scenario, max_parallel_steps=1)

    assert [result.state for result in results] == ["success", "success"]
    first, second = sorted(
        ((row.started_at, row.ended_at) for row in map(lambda key: world.step(execution, key), ("s01", "s02"))),
        key=lambda pair: str(pair[0]),
    )
    assert first[1] is not None
    assert second[0] is not None
    assert first[1] <= second[0]


def test_a_step_that_waits_for_a_slot_ends_with_its_execution(world: World) -> None:
    execution = world.execution(SCALE, ("noop", {}))
    with session() as store:
        store.merge(
            StepRow(execution_id=execution, key="s02", step_id="step-s02", name="x", action="noop", state="running")
        )

    async def stop(env: Environment, log: Log) -> None:
        cancel(execution)

    act_while(world, execution, "slot", stop, max_parallel_steps=1)

    assert (world.step(execution).state, world.step(execution).reason) == ("not_reached", "cancelled")


def test_the_slower_of_two_triggerers_does_not_call_the_others_change_somebody_elses(world: World) -> None:
    """Both send; the first to be answered writes last. The change is ours, and the journal says so: an undo needs it."""
    execution = world.execution(SCALE)

    async def scenario(env: Environment) -> list[TaskResult]:
        client = env.cluster("practice")
        real, calls = client.json_patch, 0
        applied, conflicted = asyncio.Event(), asyncio.Event()

        async def json_patch(*args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 1:  # its answer comes when the other has been refused
                await second_waits.wait()
                answer = await real(*args, **kwargs)
                applied.set()
                await conflicted.wait()
                return answer
            second_waits.set()
            await applied.wait()
            return await real(*args, **kwargs)

        second_waits = asyncio.Event()
        client.json_patch = json_patch  # type: ignore[method-assign]
        ref = world.run_ref(execution)
        async with asyncio.timeout(15), asyncio.TaskGroup() as group:
            tasks = [group.create_task(run_step(env, ref, "s01", world.lines.append)) for _ in range(2)]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            conflicted.set()
        return [task.result() for task in tasks]

    results = world.run(scenario)

    assert [result.result["status"] for result in results] == ["succeeded", "succeeded"]
    (row,) = world.journal(execution)
    assert row.status is JournalStatus.APPLIED
    assert row.fields[0]["stored"] == 5
