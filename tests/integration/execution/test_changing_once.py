"""A change is made exactly once, and taken back exactly: the journal against a cluster that misbehaves.

Each case is one that a triggerer's death or an API server's bad day brings about. What is compared is the cluster itself
and its own log of requests, not what the engine says of itself.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from kubernaut.cluster.transport import AiohttpTransport
from kubernaut.execution.phases import Phase
from kubernaut.store.engine import session
from kubernaut.store.tables import ExecutionRow, JournalRow, JournalStatus, StepRow
from tests.integration.execution.conftest import CHECKOUT, World

SCALE = ("kubernetes.scale", {"params": {"replicas": 5}})
UNDO_TEMPLATE = ("kubernetes.rollout_undo", {"params": {"revision": "previous"}})


def reopen(execution: str, *, status: JournalStatus, key: str = "s01") -> None:
    """Put step and journal row back to where a process that was killed would have left them."""
    with session() as store:
        store.execute(
            update(StepRow)
            .where(StepRow.execution_id == execution, StepRow.key == key)
            .values(state="running", ended_at=None, acted_at=None)
        )
        store.execute(
            update(JournalRow)
            .where(JournalRow.execution_id == execution)
            .values(status=status, done_at=None, sent_at=datetime.now(UTC) if status is JournalStatus.SENT else None)
        )


@pytest.mark.requirement("BR-WF-EXECUTOR-005")
def test_a_step_changes_the_cluster_through_its_executor_and_the_journal_says_so(world: World) -> None:
    """A scale step sets spec.replicas by one request, with before, after and stored in the journal."""
    execution = world.execution(SCALE)

    result = world.act(execution)

    assert result.state == "success"
    assert world.worker()["spec"]["replicas"] == 5
    assert len(world.sent()) == 1
    (row,) = world.journal(execution)
    assert row.status is JournalStatus.APPLIED
    assert row.fields == [{"pointer": "/spec/replicas", "before": 2, "after": 5, "stored": 5}]
    assert row.uid == world.worker()["metadata"]["uid"]


def test_applied_twice_is_one_change(world: World) -> None:
    """A trigger that runs again after the end does nothing and reports the same."""
    execution = world.execution(SCALE)

    first, second = world.act(execution), world.act(execution)

    assert first.state == second.state == "success"
    assert len(world.sent()) == 1


def test_killed_between_claim_and_request_sends_it_once(world: World) -> None:
    execution = world.execution(SCALE)
    world.act(execution)
    world.change({"op": "replace", "path": "/spec/replicas", "value": 2})
    reopen(execution, status=JournalStatus.PREPARED)

    assert world.act(execution).state == "success"
    assert world.worker()["spec"]["replicas"] == 5
    assert [row.status for row in world.journal(execution)] == [JournalStatus.APPLIED]


def test_killed_after_the_answer_but_before_the_journal_finds_it_applied(world: World) -> None:
    execution = world.execution(SCALE)
    world.act(execution)
    reopen(execution, status=JournalStatus.SENT)

    assert world.act(execution).state == "success"
    assert len(world.sent()) == 1
    assert [row.status for row in world.journal(execution)] == [JournalStatus.APPLIED]


def test_killed_while_it_was_on_its_way_and_somebody_else_changed_it_is_never_sent_again(world: World) -> None:
    execution = world.execution(SCALE)
    world.act(execution)
    reopen(execution, status=JournalStatus.SENT)
    world.change({"op": "replace", "path": "/spec/replicas", "value": 7})

    assert world.act(execution).state == "failed"
    assert world.worker()["spec"]["replicas"] == 7
    assert world.step(execution).error_class == "precondition"


@pytest.mark.requirement("BR-REL-007")
@pytest.mark.parametrize(
    "injection",
    [
        {"status": 409},
        {"status": 429, "retry_after": 0},
        {"status": 500},
        {"close": "before"},
        {"close": "after"},
        {"delay": 1.5},
    ],
    ids=lambda injection: "-".join(f"{key}-{value}" for key, value in injection.items()),
)
def test_a_bad_answer_is_tried_again_and_changes_once(world: World, injection: dict[str, Any]) -> None:
    """409, 429, 500, a connection closed before or after the change, a slow answer: one change in the end."""
    execution = world.execution(SCALE)
    world.disturb(method="PATCH", **injection)
    generation = world.worker()["metadata"]["generation"]

    result = world.act(execution)

    assert result.state == "success", result.text
    assert world.worker()["spec"]["replicas"] == 5
    assert world.worker()["metadata"]["generation"] == generation + 1
    assert [row.status for row in world.journal(execution)] == [JournalStatus.APPLIED]


@pytest.mark.requirement("BR-REL-006")
def test_an_api_server_that_stays_down_fails_the_step_and_says_so(world: World) -> None:
    """Every read answers 500: after the last try the step failed, nothing was sent, the class is named."""
    execution = world.execution(SCALE)
    world.disturb(method="GET", status=500, count=50)

    result = world.act(execution)

    assert result.state == "failed"
    assert world.step(execution).error_class == "network"
    assert world.step(execution).tries == 3
    assert world.sent() == []


def test_in_doubt_to_the_end_is_unknown_and_not_failed(world: World) -> None:
    """The change was carried out, its answer was lost, and the object cannot be read any more: nobody knows."""
    execution = world.execution(SCALE)
    world.disturb(method="PATCH", close="after")
    world.disturb(method="PATCH", close="before", count=5)
    world.act_blind_after_the_change(execution)

    assert world.step(execution).state == "unknown"
    assert [row.status for row in world.journal(execution)] == [JournalStatus.UNKNOWN]


def test_a_foreign_change_to_other_fields_does_not_matter(world: World) -> None:
    execution = world.execution(SCALE)
    world.change({"op": "add", "path": "/metadata/labels/team", "value": "shop"})

    assert world.act(execution).state == "success"


def test_a_missing_object_is_not_found_and_not_tried_again(world: World) -> None:
    target = {"cluster": "practice", "kind": "Deployment", "namespace": "demo-checkout", "name": "nobody"}
    execution = world.execution(("kubernetes.scale", {"params": {"replicas": 5}, "target": target}))

    assert world.act(execution).state == "failed"
    assert world.step(execution).error_class == "not_found"
    assert world.step(execution).tries == 1


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.COMPLETED])
def test_a_step_of_an_ended_execution_never_acts(world: World, phase: Phase) -> None:
    execution = world.execution(SCALE)
    values: dict[str, Any] = {"phase": phase, "ended_at": datetime.now(UTC)}
    values["outcome"] = "failure" if phase is Phase.FAILED else "success"
    with session() as store:
        store.execute(update(ExecutionRow).where(ExecutionRow.id == execution).values(**values))

    assert world.act(execution).state == "skipped"
    assert world.sent() == []


def test_a_step_whose_plan_is_out_of_time_never_acts(world: World) -> None:
    execution = world.execution(SCALE)
    with session() as store:
        store.execute(
            update(ExecutionRow)
            .where(ExecutionRow.id == execution)
            .values(deadline_at=datetime.now(UTC) - timedelta(seconds=1))
        )

    assert world.act(execution).state == "skipped"
    assert world.step(execution).reason == "timeout"
    assert world.sent() == []


@pytest.mark.requirement("BR-SEC-002")
def test_the_policy_is_asked_again_at_the_claim(world: World) -> None:
    """The namespace lost its label after the plan was accepted: the step fails, nothing is sent."""
    execution = world.execution(SCALE)
    unlabel(world)

    assert world.act(execution).state == "failed"
    assert world.step(execution).error_class == "authorization"
    assert "approval" in str(world.step(execution).message)
    assert world.sent() == []


def test_an_approved_plan_may_act_in_an_unmanaged_namespace(world: World) -> None:
    execution = world.execution(SCALE, approved=True)
    unlabel(world)

    assert world.act(execution).state == "success"


def unlabel(world: World) -> None:
    """Take the label from the namespace that says that it is managed."""
    world.change({"op": "remove", "path": "/metadata/labels/kubernaut.ai~1managed"}, of=CHECKOUT, manager="admin")


def test_a_rollback_restores_the_earlier_template(world: World) -> None:
    execution = world.execution(UNDO_TEMPLATE)

    assert world.act(execution).state == "success"
    container = world.worker()["spec"]["template"]["spec"]["containers"][0]
    assert container.get("args", container.get("command")) is None
    assert [row.fields[0]["pointer"] for row in world.journal(execution)] == ["/spec/template"]


@pytest.mark.requirement("BR-WF-017")
def test_every_request_to_the_cluster_carries_the_tracking_id(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads, the change, and the proof: each with the header that names the incident."""
    seen: list[str | None] = []
    request = AiohttpTransport.request

    async def recording(self: AiohttpTransport, method: str, path: str, **options: Any) -> Any:
        seen.append(options["headers"].get("X-Tracking-Id"))
        return await request(self, method, path, **options)

    monkeypatch.setattr(AiohttpTransport, "request", recording)
    execution = world.execution(SCALE)

    world.act(execution)

    assert len(seen) >= 3
    assert set(seen) == {"track-1"}
