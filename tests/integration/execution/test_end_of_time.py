"""When a plan's time is over: what runs stops at a safe point, and what had not begun is said to be not reached."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from kubernaut.execution.phases import Phase
from kubernaut.store.engine import session
from kubernaut.store.tables import ExecutionRow
from tests.integration.execution.conftest import World

LONG = ("noop", {"params": {"seconds": 30}})
SCALE = ("kubernetes.scale", {"params": {"replicas": 5}})


def late_in(execution: str, seconds: float) -> None:
    with session() as store:
        store.execute(
            update(ExecutionRow)
            .where(ExecutionRow.id == execution)
            .values(deadline_at=datetime.now(UTC) + timedelta(seconds=seconds))
        )


def test_a_step_at_work_stops_when_the_plans_time_is_over(world: World) -> None:
    """A step that waits for half a minute ends with the plan, as not reached: it changed nothing."""
    execution = world.execution(LONG)
    late_in(execution, 0.5)

    result = world.act(execution)

    row = world.step(execution)
    assert (row.state, row.reason) == ("not_reached", "timeout")
    assert result.state == "skipped"
    assert row.ended_at is not None
    assert (row.ended_at - row.started_at).total_seconds() < 15  # type: ignore[operator]


def test_what_had_not_begun_is_not_reached_and_says_why(world: World) -> None:
    execution = world.execution(LONG, SCALE, edges={"s02": [("s01", "success")]})
    late_in(execution, 0.3)
    world.act(execution)
    world.set_phase(execution, Phase.FAILED)

    assert world.judge(execution).state == "failed"

    row = world.step(execution, "s02")
    assert (row.state, row.reason) == ("not_reached", "timeout")
    assert world.sent() == []
