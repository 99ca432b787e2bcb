"""The last word over an execution: each line of the outcome rule, with steps that ran and a cluster that is read.

The rule itself is a pure function with tables of its own; here it is what the verdict reads, waits for and writes.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kubernaut.execution.environment import Environment, TaskResult
from kubernaut.execution.phases import Phase
from kubernaut.execution.verdict_runner import give_verdict
from kubernaut.plan.model import (
    Comparison,
    FailurePolicy,
    MetricCondition,
    ObjectCondition,
    PostCondition,
    RollbackTrigger,
    StepsCondition,
    Target,
)
from tests.integration.execution.conftest import Log, World

MARK = {"op": "add", "path": "/metadata/labels/mark", "value": "yes"}


def object_check(expression: str) -> ObjectCondition:
    return ObjectCondition(target=Target(), expression=expression)


def criterion(expression: str = "object.spec.replicas == 5", **fields: Any) -> PostCondition:
    return PostCondition.model_validate({"name": "scaled", "check": object_check(expression), "timeout": 0.3, **fields})


def trigger(expression: str) -> RollbackTrigger:
    return RollbackTrigger(name="marked", check=object_check(expression))


SCALE = ("kubernetes.scale", {"params": {"replicas": 5}})
FAILS = ("noop", {"when": "vars.missing"})
FALSE = criterion("object.spec.replicas == 9", name="nine")
METRIC = PostCondition(
    name="error rate < 0.01", check=MetricCondition(metric="error rate", comparison=Comparison.LT, value=0.01)
)


def judged(world: World, execution: str, *keys: str, **settings: Any) -> dict[str, Any]:
    """Run these steps (with their sensors) and judge; the verdict as the store has it."""
    for key in keys:
        world.act(execution, key)
        if world.step(execution, key).state == "verifying":
            world.verify(execution, key)
    result = world.judge(execution, **settings)
    verdict = world.row(execution).verdict
    assert verdict is not None
    assert result.state == ("failed" if verdict["outcome"] == "failure" else "success")
    assert result.result == verdict
    return verdict


def only(verdict: dict[str, Any], outcome: str, proof: str) -> None:
    assert (verdict["outcome"], verdict["proof"]) == (outcome, proof), verdict["text"]


# --- the outcome rule


@pytest.mark.requirement("BR-WF-016")
def test_a_change_whose_criterion_was_read_afterwards_is_a_success(world: World) -> None:
    """Proof `read`: the cluster was asked after the last change, and said so; what was seen is kept."""
    execution = world.execution(SCALE, success_criteria=(criterion(),))

    verdict = judged(world, execution, "s01")

    only(verdict, "success", "read")
    assert verdict["criteria"][0]["observed"] == "`object.spec.replicas == 5` is true"
    assert verdict["tracking_id"] == "track-1"


def test_the_proof_of_a_step_is_proof_enough(world: World) -> None:
    execution = world.execution((SCALE[0], {**SCALE[1], "post_conditions": (criterion(),)}))

    only(judged(world, execution, "s01"), "success", "read")


def test_a_change_that_nothing_proves_is_a_failure(world: World) -> None:
    execution = world.execution(SCALE)

    verdict = judged(world, execution, "s01")

    only(verdict, "failure", "none")
    assert "nothing proves that it helped" in verdict["text"]


def test_a_proof_that_was_read_before_the_last_change_proves_nothing(world: World) -> None:
    """The first step's proof holds, then a second step changes the cluster and nobody looks again."""
    proved = (SCALE[0], {**SCALE[1], "post_conditions": (criterion(),)})
    execution = world.execution(
        proved, ("kubernetes.scale", {"params": {"replicas": 6}}), edges={"s02": [("s01", "success")]}
    )

    only(judged(world, execution, "s01", "s02"), "failure", "none")


def test_a_plan_that_changes_nothing_succeeds_and_says_that_nothing_is_proved(world: World) -> None:
    verdict = judged(world, world.execution(("noop", {})), "s01")

    only(verdict, "success", "none")
    assert "nothing was changed" in verdict["note"]


def test_a_plan_whose_steps_were_all_skipped_is_judged_by_its_criteria(world: World) -> None:
    """Nothing needed to be done; whether that is well is what the criteria say."""
    skipped = ("noop", {"when": "false"})
    well = criterion("object.spec.replicas == 2")

    only(judged(world, world.execution(skipped, success_criteria=(well,)), "s01"), "success", "none")
    only(judged(world, world.execution(skipped, success_criteria=(FALSE,)), "s01"), "failure", "none")


@pytest.mark.requirement("BR-WF-016")
def test_a_mandatory_criterion_that_does_not_hold_is_a_failure(world: World) -> None:
    """All steps succeeded; what was expected of the whole did not come true."""
    execution = world.execution(SCALE, success_criteria=(criterion(), FALSE))

    verdict = judged(world, execution, "s01")

    assert verdict["outcome"] == "failure"
    assert verdict["reasons"] == ['criterion "nine" does not hold']


@pytest.mark.parametrize("missing", ["criterion", "step", "condition"])
def test_something_optional_that_is_missing_makes_it_a_partial_success(world: World, missing: str) -> None:
    optional = FALSE.model_copy(update={"optional": True})
    criteria = (criterion(), optional) if missing == "criterion" else (criterion(),)
    conditions = {"post_conditions": (criterion(), optional)} if missing == "condition" else {}
    steps = [(SCALE[0], {**SCALE[1], **conditions})]
    if missing == "step":
        steps.append((FAILS[0], {**FAILS[1], "optional": True}))
    execution = world.execution(*steps, success_criteria=criteria)

    verdict = judged(world, execution, *(f"s{number:02d}" for number in range(1, len(steps) + 1)))

    only(verdict, "partial_success", "read")
    assert len(verdict["missing"]) == 1


def test_a_criterion_that_nothing_can_read_and_somebody_approved_is_named(world: World) -> None:
    """It counts as optional: the outcome is a partial success that says what nobody has read."""
    execution = world.execution(SCALE, success_criteria=(criterion(), METRIC), unchecked=(METRIC.name,), approved=True)

    verdict = judged(world, execution, "s01")

    only(verdict, "partial_success", "read")
    assert METRIC.name in verdict["missing"][0]
    assert next(each for each in verdict["criteria"] if each["name"] == METRIC.name)["readable"] is False


def test_a_step_that_failed_is_a_failure_and_nobody_waits_for_the_criteria(world: World) -> None:
    """Nothing that the criteria could say would change it: what was changed is taken back the sooner."""
    slow = FALSE.model_copy(update={"timeout": 3_600.0})
    execution = world.execution(SCALE, FAILS, success_criteria=(slow,), policy=FailurePolicy.CONTINUE)

    verdict = judged(world, execution, "s01", "s02")

    assert verdict["outcome"] == "failure"
    assert "step 'step-s02' failed" in verdict["text"]


@pytest.mark.parametrize(("fallback", "outcome"), [("noop", "success"), ("fails", "failure")])
def test_a_fallback_that_succeeded_saves_the_step_that_failed(world: World, fallback: str, outcome: str) -> None:
    steps = [FAILS, FAILS if fallback == "fails" else ("noop", {})]
    execution = world.execution(*steps, edges={"s02": [("s01", "failure")]})

    assert judged(world, execution, "s01", "s02")["outcome"] == outcome


def test_a_step_in_doubt_is_a_failure(world: World) -> None:
    execution = world.execution(SCALE, success_criteria=(criterion(),))
    world.disturb(method="PATCH", close="after")
    world.disturb(method="PATCH", close="before", count=5)
    world.act_blind_after_the_change(execution)
    assert world.step(execution).state == "unknown"

    verdict = judged(world, execution)

    assert verdict["outcome"] == "failure"
    assert "in doubt" in verdict["text"]


def test_a_step_that_was_held_back_is_a_failure_although_the_others_succeeded(world: World) -> None:
    """Not reached for another reason than its own edge: here the failure policy."""
    execution = world.execution(FAILS, SCALE, success_criteria=(criterion("true"),))

    verdict = judged(world, execution, "s01", "s02")

    assert world.step(execution, "s02").reason == "terminated"
    assert verdict["outcome"] == "failure"


def test_a_step_whose_own_edge_did_not_come_true_is_no_failure(world: World) -> None:
    """The fallback of a step that succeeded: never asked, and the row says so."""
    execution = world.execution(
        SCALE, ("noop", {}), edges={"s02": [("s01", "failure")]}, success_criteria=(criterion(),)
    )

    only(judged(world, execution, "s01"), "success", "read")
    assert (world.step(execution, "s02").state, world.step(execution, "s02").reason) == ("not_reached", "edge")


# --- rollback triggers


def test_a_rollback_trigger_that_holds_makes_it_a_failure_whatever_else_holds(world: World) -> None:
    execution = world.execution(SCALE, success_criteria=(criterion(),), rollback_triggers=(trigger("true"),))

    verdict = judged(world, execution, "s01")

    assert verdict["outcome"] == "failure"
    assert verdict["reasons"] == ['rollback trigger "marked" became true']


@pytest.mark.parametrize("criteria", ["that hold", "that are still awaited"])
def test_a_trigger_that_becomes_true_while_the_plan_settles_ends_it(world: World, criteria: str) -> None:
    """Also while a criterion is still awaited, long after the settling time; it is then not awaited any longer."""
    awaited = FALSE.model_copy(update={"timeout": 3_600.0})
    execution = world.execution(
        SCALE,
        success_criteria=(criterion(),) if criteria == "that hold" else (criterion(), awaited),
        rollback_triggers=(trigger("has(object.metadata.labels.mark)"),),
    )
    world.act(execution)

    async def scenario(env: Environment) -> TaskResult:
        log = Log()
        async with asyncio.timeout(15), asyncio.TaskGroup() as group:
            verdict = group.create_task(give_verdict(env, world.run_ref(execution), log))
            await log.said("scaled: holds" if criteria == "that hold" else "nine: not yet")
            await world.change_within(env, MARK)
        return verdict.result()

    settle = 30.0 if criteria == "that hold" else 0.0
    assert world.run(scenario, settle_seconds=settle).state == "failed"

    verdict = world.row(execution).verdict
    assert verdict is not None
    assert 'rollback trigger "marked" became true' in verdict["reasons"]
    assert "scaled" in [each["name"] for each in verdict["criteria"]]


def test_a_trigger_that_never_becomes_true_costs_the_settling_time_and_nothing_else(world: World) -> None:
    execution = world.execution(SCALE, success_criteria=(criterion(),), rollback_triggers=(trigger("false"),))

    only(judged(world, execution, "s01", settle_seconds=0.2), "success", "read")


def test_a_trigger_that_cannot_be_read_for_a_moment_does_not_fire(world: World) -> None:
    execution = world.execution(
        SCALE, success_criteria=(criterion(timeout=5.0),), rollback_triggers=(trigger("object.spec.replicas == 9"),)
    )
    world.act(execution)
    world.disturb(method="GET", path="deployments", status=500, count=3)

    only(judged(world, execution), "success", "read")


# --- where it is written


def test_a_criterion_over_the_plan_sees_how_its_steps_ended(world: World) -> None:
    said = PostCondition(name="said", check=StepsCondition(expression="steps['step-s01'].status == 'succeeded'"))

    only(judged(world, world.execution(("noop", {}), success_criteria=(said,)), "s01"), "success", "none")


def test_a_verdict_of_an_execution_that_ends_meanwhile_is_none(world: World) -> None:
    """Cancelled while a criterion is awaited: no verdict is written, and nobody waits on."""
    execution = world.execution(SCALE, success_criteria=(FALSE.model_copy(update={"timeout": 3_600.0}),))
    world.act(execution)

    async def scenario(env: Environment) -> TaskResult:
        log = Log()
        async with asyncio.timeout(15), asyncio.TaskGroup() as group:
            verdict = group.create_task(give_verdict(env, world.run_ref(execution), log))
            await log.said("nine: not yet")
            world.set_phase(execution, Phase.CANCELLED)
        return verdict.result()

    assert world.run(scenario).state == "failed"
    assert world.row(execution).verdict is None


def test_a_verdict_carries_the_round_that_it_judges(world: World) -> None:
    execution = world.execution(("noop", {}))
    world.act(execution)
    world.set_phase(execution, Phase.RUNNING, round_=3)

    assert judged(world, execution)["round"] == 3
