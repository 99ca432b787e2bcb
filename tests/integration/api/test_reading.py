"""Lists and single executions by REST, and what is hidden in them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from kubernaut.execution.phases import ExecutionOutcome, Phase
from kubernaut.store.audit import Actor
from kubernaut.store.engine import session
from kubernaut.store.executions import lock_execution, set_phase
from kubernaut.store.tables import AuditEventRow, JournalRow, JournalStatus, StepRow
from tests.integration.api.conftest import STEPS, TARGET, plan
from tests.unit.api.asking import problem

PATH = "/api/v1/executions"
NOW = datetime.now(UTC)


async def started(client: httpx.AsyncClient, **changes: Any) -> str:
    answer = await client.post(PATH, json={"plan": plan(**changes)})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["execution_id"])


def move(execution: str, *phases: Phase, outcome: ExecutionOutcome | None = None) -> None:
    with session() as store:
        for phase in phases:
            row = lock_execution(store, execution)
            assert row is not None
            last = outcome if phase is phases[-1] else None
            set_phase(store, row, phase, actor=Actor.system("test"), outcome=last)


def acted(execution: str, **changes: Any) -> None:
    """The second step has changed something, and waits to be verified."""
    with session() as store:
        for key, state in (("s01", "succeeded"), ("s02", "verifying")):
            store.add(
                StepRow(
                    execution_id=execution,
                    key=key,
                    step_id="wait" if key == "s01" else "restart",
                    name=f"step {key}",
                    action="noop",
                    state=state,
                    tries=2,
                    outputs={"log": "x" * 10_000, "revision": 3},
                    started_at=NOW,
                    ended_at=NOW + timedelta(seconds=1.5) if state == "succeeded" else None,
                )
            )
        store.flush()
        row = {
            "execution_id": execution,
            "step_key": "s02",
            "round": 1,
            "request_no": 1,
            "effect": "in_object",
            "cluster": "practice",
            "api_version": "apps/v1",
            "kind": "Deployment",
            "namespace": "demo-checkout",
            "name": "worker",
            "uid": "u-1",
            "summary": "restart worker",
            "fields": [{"pointer": "/spec/replicas", "before": 1, "after": 5, "stored": 5}],
            "status": JournalStatus.APPLIED,
            "sent_at": NOW,
            "done_at": NOW,
            **changes,
        }
        store.add(JournalRow(**row))


async def ids(client: httpx.AsyncClient, **filters: Any) -> list[str]:
    answer = await client.get(PATH, params=filters)
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["executions"]]


@pytest.mark.requirement("BR-EXEC-019")
async def test_every_filter(admin: httpx.AsyncClient) -> None:
    mine = await started(admin, tracking_id="t-mine")
    other = await started(admin, tracking_id="t-other", steps=STEPS[:1], target={**TARGET, "name": "api"})
    move(other, Phase.FAILED, outcome=ExecutionOutcome.FAILURE)
    found = {
        "phase": await ids(admin, phase="queued"),
        "outcome": await ids(admin, outcome="failure"),
        "kind": await ids(admin, kind="undo"),
        "action": await ids(admin, action="kubernetes.rollout_restart"),
        "cluster": await ids(admin, cluster="practice"),
        "target": await ids(admin, target="worker"),
        "kind/name": await ids(admin, target="Deployment/api"),
        "other kind/name": await ids(admin, target="StatefulSet/api"),
        "namespace": await ids(admin, namespace="elsewhere"),
        "tracking_id": await ids(admin, tracking_id="t-other"),
        "since": await ids(admin, since=(NOW + timedelta(hours=1)).isoformat()),
        "until": await ids(admin, until=(NOW + timedelta(hours=1)).isoformat()),
        "two phases": await ids(admin, phase=["queued", "failed"]),
    }
    assert found == {
        "phase": [mine],
        "outcome": [other],
        "kind": [],
        "action": [mine],
        "cluster": [other, mine],
        "target": [mine],
        "kind/name": [other],
        "other kind/name": [],
        "namespace": [],
        "tracking_id": [other],
        "since": [],
        "until": [other, mine],
        "two phases": [other, mine],
    }


async def test_pages_follow_each_other_without_a_gap(admin: httpx.AsyncClient) -> None:
    made = [await started(admin, tracking_id="t-pages") for _ in range(5)]
    seen, cursor = [], None
    while True:
        params = {"tracking_id": "t-pages", "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await admin.get(PATH, params=params)).json()
        seen += [row["id"] for row in page["executions"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == made[::-1]


async def test_a_cursor_that_is_none(admin: httpx.AsyncClient) -> None:
    document = problem(await admin.get(PATH, params={"cursor": "x"}), 400, "invalid_parameter")
    assert [fault["pointer"] for fault in document["faults"]] == ["/cursor"]


@pytest.mark.requirement("BR-EXEC-002")
async def test_steps_changes_and_progress(admin: httpx.AsyncClient) -> None:
    execution = await started(admin)
    move(execution, Phase.RUNNING)
    acted(execution)
    found = (await admin.get(f"{PATH}/{execution}")).json()
    assert found["progress"] == {"total": 2, "done": 1, "percent": 50, "current": ["Restart the worker"]}
    first, second = found["steps"]
    assert (first["state"], first["tries"], first["seconds"]) == ("succeeded", 2, 1.5)
    assert second["depends_on"] == [{"step": "s01", "outcome": "success"}]
    assert second["target"] == TARGET
    assert first["outputs"]["revision"] == 3
    assert first["outputs"]["log"].endswith("(10002 characters)")
    assert len(first["outputs"]["log"]) < 600
    (change,) = found["journal"]
    assert change["fields"] == [{"pointer": "/spec/replicas", "before": 1, "after": 5, "stored": 5}]
    assert (change["step"], change["status"], change["summary"]) == ("s02", "applied", "restart worker")


async def test_the_values_of_a_secret_are_not_shown(admin: httpx.AsyncClient) -> None:
    execution = await started(admin)
    acted(execution, kind="Secret", fields=[{"pointer": "/data/password", "before": "b2xk", "stored": "bmV3"}])
    answer = await admin.get(f"{PATH}/{execution}")
    assert "b2xk" not in answer.text
    assert "bmV3" not in answer.text
    assert answer.json()["journal"][0]["fields"] == [
        {"pointer": "/data/password", "before": "(hidden)", "stored": "(hidden)"}
    ]


async def test_the_address_and_the_headers_of_a_receiver_are_not_shown(admin: httpx.AsyncClient) -> None:
    execution = await started(admin)
    call = {
        "method": "POST",
        "url": "https://hooks.example/services/T0K3N",
        "headers": {"X-Key": "K3Y"},
        "body": {"text": "B0DY"},
        "idempotent": False,
    }
    acted(execution, effect="external", kind=None, fields=[], call=call)
    answer = await admin.get(f"{PATH}/{execution}")
    assert answer.json()["journal"][0]["call"] == {"method": "POST", "host": "hooks.example"}
    assert not [word for word in ("T0K3N", "K3Y", "B0DY") if word in answer.text]


# --- undo


async def test_what_has_not_ended_is_not_taken_back(admin: httpx.AsyncClient) -> None:
    execution = await started(admin)
    problem(await admin.post(f"{PATH}/{execution}/undo"), 409, "not_ended")


async def test_an_ended_execution_is_taken_back_by_one_of_its_own(admin: httpx.AsyncClient) -> None:
    scale = {"id": "scale", "name": "Scale worker to 5", "action": "kubernetes.scale", "params": {"replicas": 5}}
    execution = await started(admin, steps=[STEPS[0], {**scale, "depends_on": STEPS[1]["depends_on"]}])
    move(execution, Phase.RUNNING)
    acted(execution)
    move(execution, Phase.COMPLETED, outcome=ExecutionOutcome.SUCCESS)
    answer = await admin.post(f"{PATH}/{execution}/undo", json={"reason": "it did not help"})
    assert answer.status_code == 202, answer.text
    undo = answer.json()
    assert undo["undoes"] == execution
    found = (await admin.get(f"{PATH}/{undo['execution_id']}")).json()
    assert (found["kind"], found["phase"], found["undoes"]) == ("undo", "queued", execution)
    assert [step["name"] for step in found["steps"]] == ["Undo: Scale worker to 5"]
    story = (await admin.get(f"{PATH}/{execution}")).json()
    assert [each["id"] for each in story["undos"]] == [undo["execution_id"]]
    assert story["undone_by"] is None
    refused = problem(await admin.post(f"{PATH}/{execution}/undo"), 409, "undo_under_way")
    assert refused["undo"] == undo["execution_id"]
    move(undo["execution_id"], Phase.RUNNING, Phase.COMPLETED, outcome=ExecutionOutcome.SUCCESS)
    assert (await admin.get(f"{PATH}/{execution}")).json()["undone_by"] == undo["execution_id"]
    problem(await admin.post(f"{PATH}/{undo['execution_id']}/undo"), 409, "not_undoable")


async def test_nothing_to_take_back(admin: httpx.AsyncClient) -> None:
    execution = await started(admin)
    move(execution, Phase.RUNNING, Phase.COMPLETED, outcome=ExecutionOutcome.SUCCESS)
    refused = problem(await admin.post(f"{PATH}/{execution}/undo"), 409, "nothing_to_undo")
    assert refused["detail"] == "it changed nothing"


async def test_what_cannot_be_taken_back_is_named_with_its_reason(admin: httpx.AsyncClient) -> None:
    execution = await started(admin)
    move(execution, Phase.RUNNING)
    acted(execution)
    move(execution, Phase.COMPLETED, outcome=ExecutionOutcome.SUCCESS)
    refused = problem(await admin.post(f"{PATH}/{execution}/undo"), 409, "nothing_to_undo")
    assert list(refused["cannot_be_undone"]) == ["Restart the worker"]
    assert "the pods that were replaced are gone" in refused["detail"]


async def test_an_execution_that_nobody_knows(admin: httpx.AsyncClient) -> None:
    for path in ("ex-0000000000000000000", "ex-0000000000000000000/undo"):
        method = "POST" if path.endswith("undo") else "GET"
        problem(await admin.request(method, f"{PATH}/{path}"), 404, "not_found")


@pytest.mark.requirement("BR-SEC-004")
async def test_whatever_is_done_by_rest_leaves_an_audit_event_with_its_user(admin: httpx.AsyncClient) -> None:
    with session() as store:
        before = store.scalar(select(func.max(AuditEventRow.id))) or 0
    await admin.post("/api/v1/plans/validate", json={"plan": plan()})
    await admin.post(PATH, json={"plan": plan(steps=[])})
    unsure = plan(confidence=0.7)
    refused = (await admin.post(PATH, json={"plan": unsure})).json()
    execution = (await admin.post(PATH, json={"plan": unsure, "approve": refused["hash"]})).json()["execution_id"]
    move(execution, Phase.RUNNING, Phase.COMPLETED, outcome=ExecutionOutcome.SUCCESS)
    await admin.post(f"{PATH}/{execution}/undo")
    await admin.post("/api/v1/halt", json={"reason": "stop"})
    await admin.delete("/api/v1/halt")
    with session() as store:
        found = store.execute(
            select(AuditEventRow.operation, AuditEventRow.actor_kind, AuditEventRow.actor)
            .where(AuditEventRow.id > before, AuditEventRow.actor_kind != "system")
            .order_by(AuditEventRow.id)
        )
        done = [tuple(row) for row in found]
    operations = ["validate", "refusal", "refusal", "trigger", "approval", "undo", "halt", "resume"]
    assert done == [(operation, "user", "admin") for operation in operations]
