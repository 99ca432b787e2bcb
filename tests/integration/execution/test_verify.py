"""Proving a step: what the sensor waits for, how it waits, and what it says in the end.

The cluster is the one that the step changed; that a wait was ended by a watch is proved by a poll interval of an hour.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from kubernaut.actions.registry import executor
from kubernaut.cluster.client import WatchExpired
from kubernaut.cluster.practice.requests import Injection
from kubernaut.errors import ConfigurationError
from kubernaut.execution.environment import Environment, TaskResult
from kubernaut.execution.phases import Phase
from kubernaut.execution.step_runner import run_step
from kubernaut.execution.verify_runner import verify_step
from kubernaut.plan.model import (
    Comparison,
    MetricCondition,
    ObjectCondition,
    PostCondition,
    StepsCondition,
    Target,
)
from tests.integration.execution.conftest import Log, World

HOUR = 3_600.0
MARKED = "object.metadata.labels.mark == 'yes'"
MARK = {"op": "add", "path": "/metadata/labels/mark", "value": "yes"}
UNMARK = {"op": "remove", "path": "/metadata/labels/mark"}


def over_object(expression: str = MARKED, **fields: Any) -> PostCondition:
    """A condition over the worker; its target is completed from the step's."""
    check = ObjectCondition(target=Target(), expression=expression)
    return PostCondition.model_validate({"name": "marked", "check": check, **fields})


def acted(world: World, *conditions: PostCondition, action: str = "noop", params: Any = None) -> str:
    """An execution whose only step has acted and waits for its proof."""
    execution = world.execution((action, {"params": params or {}, "post_conditions": conditions}))
    assert world.act(execution).state == "success"
    assert world.step(execution).state == "verifying"
    return execution


Happening = Callable[[Environment, Log], Awaitable[None]]


def verify_while(world: World, execution: str, happening: Happening, **settings: Any) -> TaskResult:
    """Verify, and let something happen as soon as the sensor has found its condition false."""

    async def scenario(env: Environment) -> TaskResult:
        log = Log()
        async with asyncio.timeout(15), asyncio.TaskGroup() as group:
            sensor = group.create_task(verify_step(env, world.run_ref(execution), "s01", log))
            await log.said("not yet")
            await happening(env, log)
        return sensor.result()

    return world.run(scenario, **settings)


def evaluation(world: World, execution: str) -> dict[str, Any]:
    (found,) = world.step(execution).evaluations
    return dict(found)


# --- how it waits


@pytest.mark.requirement("BR-WF-050")
def test_a_change_in_the_cluster_ends_the_wait_although_the_next_poll_is_an_hour_away(world: World) -> None:
    """The sensor reads again because the watch saw something, proves the step, and records what it read."""
    execution = acted(world, over_object())

    async def mark(env: Environment, log: Log) -> None:
        await world.change_within(env, MARK)

    result = verify_while(world, execution, mark, post_condition_interval=HOUR)

    assert (result.state, world.step(execution).state) == ("success", "succeeded")
    assert evaluation(world, execution)["holds"] is True
    assert evaluation(world, execution)["readings"] >= 2


def test_where_nothing_can_be_watched_it_polls(world: World) -> None:
    """A condition over the plan alone has no object to watch; another step's end makes it true."""
    said = PostCondition(name="said", check=StepsCondition(expression="steps['step-s02'].status == 'succeeded'"))
    execution = world.execution(("noop", {"post_conditions": (said,)}), ("noop", {}))
    world.act(execution)

    async def end_the_other(env: Environment, log: Log) -> None:
        await run_step(env, world.run_ref(execution), "s02", log)

    assert verify_while(world, execution, end_the_other).state == "success"


class Watched:
    """Counts the watches that a scenario's client begins, and may refuse the first."""

    def __init__(self, env: Environment, *, first: Exception | None = None) -> None:
        self._client = env.cluster("practice")
        self._real = self._client.watch
        self._first = first
        self._begun = asyncio.Condition()
        self.count = 0
        self._client.watch = self._watch  # type: ignore[method-assign]

    async def _watch(self, *args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        async with self._begun:
            self.count += 1
            self._begun.notify_all()
        if self._first is not None and self.count == 1:
            raise self._first
        async for event in self._real(*args, **kwargs):
            yield event

    async def begun(self, count: int) -> None:
        async with self._begun:
            await self._begun.wait_for(lambda: self.count >= count)


@pytest.mark.parametrize("end", ["cut", "410"])
def test_a_watch_that_ends_is_begun_again_from_a_new_list(world: World, end: str) -> None:
    """Its connection is cut, or the server no longer has the version: the next watch sees the change."""
    execution = acted(world, over_object())

    async def scenario(env: Environment) -> TaskResult:
        log = Log()
        watched = Watched(env, first=WatchExpired("expired") if end == "410" else None)
        async with asyncio.timeout(15), asyncio.TaskGroup() as group:
            sensor = group.create_task(verify_step(env, world.run_ref(execution), "s01", log))
            await watched.begun(1)
            await log.said("not yet")
            if end == "cut":
                await asyncio.to_thread(world.server.inject, Injection(kill_watches=True))
            await watched.begun(2)
            await world.change_within(env, MARK)
        return sensor.result()

    assert world.run(scenario).state == "success"


def test_an_api_server_that_is_down_for_a_while_does_not_fail_the_step(world: World) -> None:
    """Reads that answer 500 are neither true nor false: it goes on reading until one answers."""
    execution = acted(world, over_object())
    world.change(MARK)
    world.disturb(method="GET", path="deployments", status=500, count=6)

    assert world.verify(execution).state == "success"
    assert evaluation(world, execution)["readings"] > 1


def test_stable_for_wants_it_without_a_break(world: World) -> None:
    """It holds, breaks before its time is over, and holds again: the time counts from the second beginning."""
    execution = acted(world, over_object(stable_for=0.5))

    async def flicker(env: Environment, log: Log) -> None:
        await world.change_within(env, MARK)
        await log.said("not yet: `object.metadata.labels.mark == 'yes'` is true")
        await world.change_within(env, UNMARK)
        await log.said("not yet", times=3)
        await world.change_within(env, MARK)

    result = verify_while(world, execution, flicker)

    assert result.state == "success"
    assert evaluation(world, execution)["readings"] >= 4


def test_what_holds_but_not_for_long_enough_fails(world: World) -> None:
    execution = acted(world, over_object(stable_for=30, timeout=0.3))
    world.change(MARK)

    assert world.verify(execution).state == "failed"
    assert "but not for 30 s without a break" in str(world.step(execution).message)


# --- how it ends


def test_a_condition_that_stays_false_fails_the_step_with_what_was_seen(world: World) -> None:
    """Error class `post_condition`; the text holds name and observation; acting again is not the answer to it."""
    execution = acted(world, over_object("object.spec.replicas == 9", timeout=0.3))

    result = world.verify(execution)

    row = world.step(execution)
    assert (result.state, row.state, row.error_class) == ("failed", "failed", "post_condition")
    assert row.message == "marked: `object.spec.replicas == 9` is false"
    assert evaluation(world, execution)["holds"] is False
    assert row.tries == 1


def test_the_setting_bounds_the_wait_where_the_condition_does_not(world: World) -> None:
    execution = acted(world, over_object())

    assert world.verify(execution, post_condition_timeout=0.2).state == "failed"


def test_an_optional_condition_that_is_false_is_recorded_and_fails_nothing(world: World) -> None:
    execution = acted(world, over_object(optional=True, timeout=0.2))

    assert world.verify(execution).state == "success"
    assert world.step(execution).state == "succeeded"
    assert evaluation(world, execution) | {"holds": False, "optional": True} == evaluation(world, execution)


def test_a_condition_that_nothing_can_read_is_recorded_and_fails_nothing(world: World) -> None:
    """A metric: `holds` is neither true nor false, and nobody waits for it."""
    check = MetricCondition(metric="error rate", comparison=Comparison.LT, value=0.01)
    execution = acted(world, PostCondition(name="errors", check=check))

    assert world.verify(execution, post_condition_interval=HOUR).state == "success"
    found = evaluation(world, execution)
    assert (found["holds"], found["readable"], found["readings"]) == (None, False, 1)


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.CANCELLED], ids=str)
def test_an_execution_that_ends_ends_the_wait(world: World, phase: Phase) -> None:
    """The step is in doubt: it acted, and nobody will prove it any more."""
    execution = acted(world, over_object())

    async def end(env: Environment, log: Log) -> None:
        world.set_phase(execution, phase)

    result = verify_while(world, execution, end, post_condition_interval=HOUR)

    assert (result.state, world.step(execution).state) == ("failed", "unknown")


def test_an_execution_that_ended_before_the_sensor_began_leaves_no_step_verifying(world: World) -> None:
    execution = acted(world, over_object())
    world.set_phase(execution, Phase.FAILED)

    assert world.verify(execution).state == "failed"
    assert world.step(execution).state == "unknown"


def test_a_step_that_did_not_act_has_nothing_to_verify(world: World) -> None:
    execution = world.execution(("noop", {"when": "false", "post_conditions": (over_object(),)}))
    assert world.act(execution).state == "skipped"

    result = world.verify(execution)

    assert (result.state, result.result["status"]) == ("failed", "skipped")
    assert world.step(execution).state == "skipped"


def test_clearing_the_sensor_verifies_again_without_acting_again(world: World) -> None:
    """The first proof failed; somebody helped; the second one holds, and the step has sent one request in all."""
    condition = over_object(timeout=0.2)
    execution = acted(world, condition, action="kubernetes.scale", params={"replicas": 5})
    assert world.verify(execution).state == "failed"
    world.change(MARK)

    assert world.verify(execution, try_number=2).state == "success"

    assert (world.step(execution).state, world.step(execution).error_class) == ("succeeded", None)
    assert len(world.sent()) == 1


def test_a_sensor_that_runs_a_second_time_after_its_end_repeats_its_answer(world: World) -> None:
    """Two triggerers ran it: what comes after the step must not see it unproved again, whatever the cluster says now."""
    execution = acted(world, over_object(timeout=0.2))
    world.change(MARK)
    first = world.verify(execution)
    world.change(UNMARK)

    second = world.verify(execution)

    assert (first.state, second.state) == ("success", "success")
    assert world.step(execution).state == "succeeded"


def test_a_condition_on_a_cluster_that_is_not_configured_fails_the_step(world: World) -> None:
    """Nothing is raised: the text names the cluster."""
    check = ObjectCondition(target=Target(cluster="elsewhere"), expression="true")
    execution = acted(world, PostCondition(name="there", check=check, timeout=0.2))

    def no_such_cluster(name: str) -> Any:
        raise ConfigurationError(f"cluster {name!r} is not in the setting clusters")

    async def scenario(env: Environment) -> TaskResult:
        lost = dataclasses.replace(env, cluster=no_such_cluster)
        return await verify_step(lost, world.run_ref(execution), "s01", world.lines.append)

    assert world.run(scenario).state == "failed"
    assert "'elsewhere'" in str(world.step(execution).message)


# --- a workload that crashes again and again


def default_check(action: str, params: dict[str, Any], *, timeout: float) -> PostCondition:
    """What the engine adds where a plan proves nothing itself; the target is completed from the step's."""
    check = executor(action).default_check(Target(), params)
    assert check is not None
    return PostCondition(name="healthy", check=check, timeout=timeout)


@pytest.mark.requirement("BR-WF-016")
def test_the_rollback_heals_the_crashing_workload_and_is_proved(world: World) -> None:
    """The repair that helps is told from those that do not by reading the cluster, not by the answer to the request."""
    action, params = "kubernetes.rollout_undo", {"revision": "previous"}
    execution = acted(world, default_check(action, params, timeout=20), action=action, params=params)

    assert world.verify(execution).state == "success"
    assert "available" in str(world.step(execution).message)


@pytest.mark.requirement("BR-WF-016")
@pytest.mark.parametrize(
    ("action", "params"),
    [("kubernetes.rollout_restart", {}), ("kubernetes.scale", {"replicas": 3})],
    ids=["restart", "scale"],
)
def test_what_does_not_heal_is_failed_by_the_proof(world: World, action: str, params: dict[str, Any]) -> None:
    """The request was carried out, the workload still crashes: the step failed."""
    execution = acted(world, default_check(action, params, timeout=2), action=action, params=params)

    result = world.verify(execution)

    assert (result.state, world.step(execution).error_class) == ("failed", "post_condition"), result.text
