"""CEL in a running step: its condition, its parameters, what other steps left behind; text that nobody vouches for.

What cannot be evaluated is neither true nor false: the step fails, and nothing is sent.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kubernaut.execution.environment import Environment
from kubernaut.execution.step_runner import run_step
from kubernaut.expressions import Context, ResultType, Scope, evaluate, sandbox
from kubernaut.plan.model import FailurePolicy, Signal, Target
from tests.integration.execution.conftest import World

SIGNAL = Signal(
    name="KubePodCrashLooping",
    labels={"replicas": "4", "team": "shop"},
    target=Target(kind="Deployment", namespace="demo-checkout", name="worker"),
)
HOSTILE = "vars.list.all(x, vars.text.matches('(a?){1000}b') || true)"
"""It passes every check and would run for minutes."""


def scale(replicas: Any, **binding: Any) -> tuple[str, dict[str, Any]]:
    return ("kubernetes.scale", {"params": {"replicas": replicas}, **binding})


# --- conditions


@pytest.mark.parametrize(
    ("when", "state", "sent"),
    [
        ("vars.go", "succeeded", 1),
        ("!vars.go", "skipped", 0),
        ("signal.labels.team == 'shop' && target.name == 'worker'", "succeeded", 1),
        ("now < timestamp('2020-01-01T00:00:00Z')", "skipped", 0),
        ("vars.missing", "failed", 0),
        ("signal.labels.nobody == 'x'", "failed", 0),
        ("1 / 0 == 1", "failed", 0),
        ("vars.text", "failed", 0),
        ("this is no expression", "failed", 0),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)
def test_a_condition_is_true_false_or_fails_the_step(world: World, when: str, state: str, sent: int) -> None:
    """False is `skipped`; no value, or none that is true or false, is a failure and never a silent yes or no."""
    execution = world.execution(scale(5, when=when), variables={"go": True, "text": "yes"}, signal=SIGNAL)

    world.act(execution)

    row = world.step(execution)
    assert (row.state, len(world.sent())) == (state, sent)
    assert row.error_class == ("validation" if state == "failed" else None)


def test_a_skipped_step_says_which_condition_was_false(world: World) -> None:
    execution = world.execution(scale(5, when="vars.go"), variables={"go": False})

    result = world.act(execution)

    assert (result.state, result.text) == ("skipped", "its condition is false: vars.go")


# --- parameters


@pytest.mark.requirement("BR-WF-007")
@pytest.mark.parametrize(
    ("expression", "replicas"),
    [
        ("2 + 2", 4),
        ("vars.base * 2", 6),
        ("int(signal.labels.replicas)", 4),
        ("target.name == 'worker' ? 7 : 8", 7),
        ("steps['step-s01'].outputs.replicas.after + 1", 6),
    ],
    ids=["constants", "vars", "signal", "target", "outputs-of-a-step"],
)
def test_a_parameter_is_computed_from_the_context_when_the_step_runs(
    world: World, expression: str, replicas: int
) -> None:
    """Variables, signal, target and the outputs of earlier steps are injected; the value reaches the cluster."""
    execution = world.execution(
        scale(5), scale({"$cel": expression}), edges={"s02": [("s01", "success")]}, variables={"base": 3}, signal=SIGNAL
    )
    world.act(execution, "s01")

    assert world.act(execution, "s02").state == "success"
    assert world.worker()["spec"]["replicas"] == replicas


@pytest.mark.parametrize(
    "expression",
    ["'5'", "5.5", "true", "[5]", "-1", "null", "vars.missing", "steps['step-s02'].outputs.replicas.after"],
)
def test_a_parameter_of_the_wrong_type_or_without_a_value_fails_the_step(world: World, expression: str) -> None:
    """The action's own schema judges the result; nothing is converted, nothing is sent."""
    execution = world.execution(scale({"$cel": expression}), ("noop", {}))

    assert world.act(execution).state == "failed"
    assert (world.step(execution).error_class, world.step(execution).tries) == ("validation", 1)
    assert world.sent() == []


@pytest.mark.parametrize("text", ["{{ 5 }}", "$(echo 5)", "vars.base"])
def test_a_text_is_never_evaluated(world: World, text: str) -> None:
    """Only `{"$cel": …}` is an expression; whatever else looks like one is a text, and here of the wrong type."""
    execution = world.execution(scale(text), variables={"base": 3})

    assert world.act(execution).state == "failed"
    assert world.sent() == []


# --- other steps


@pytest.mark.parametrize(
    ("when", "state"),
    [
        ("steps['step-s01'].status == 'failed'", "succeeded"),
        ("steps['step-s01'].status == 'succeeded'", "skipped"),
        ("steps['step-s01'].outputs.replicas.before == 2", "failed"),
    ],
)
def test_a_step_sees_how_another_ended(world: World, when: str, state: str) -> None:
    execution = world.execution(
        ("noop", {"when": "1 / 0 == 1"}), ("noop", {"when": when}), edges={"s02": [("s01", "failure")]}
    )
    world.act(execution, "s01")

    world.act(execution, "s02")

    assert world.step(execution, "s02").state == state


# --- hostile text


def test_an_expression_that_does_not_come_to_an_end_is_killed_and_fails_the_step(world: World) -> None:
    """Its process is ended; the loop that all steps share goes on meanwhile, and the next expression has an answer."""
    variables = {"list": list(range(1_000)), "text": "a" * 20_000, "go": True}
    steps = scale(5, when=HOSTILE), ("noop", {"when": "vars.go"})
    execution = world.execution(*steps, policy=FailurePolicy.CONTINUE, variables=variables)

    async def scenario(env: Environment) -> tuple[int, int | None, int | None]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ref = world.run_ref(execution)
        context = Context(signal={}, target={}, variables={}, steps={}, now=env.now())
        await evaluate("true", context, scope=Scope.PLAN, wants=ResultType.BOOL)
        child = sandbox.current().child
        ticker = asyncio.ensure_future(tick())
        await run_step(env, ref, "s01", world.lines.append)
        ticker.cancel()
        await run_step(env, ref, "s02", world.lines.append)
        return ticks, child, sandbox.current().child

    ticks, before, after = world.run(scenario)

    row = world.step(execution)
    assert (row.state, row.error_class) == ("failed", "validation")
    assert before != after
    assert ticks > 10
    assert world.step(execution, "s02").state == "succeeded"
    assert world.sent() == []
