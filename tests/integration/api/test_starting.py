"""POST /executions over a real store and a cluster: what is started, what a person must answer first, what is refused."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select

from kubernaut.cluster.practice.server import PracticeServer
from kubernaut.store.engine import session
from kubernaut.store.tables import AuditEventRow, ExecutionRow
from tests.integration.api.conftest import STEPS, TARGET, Events, plan
from tests.unit.api.asking import asking, problem

PATH = "/api/v1/executions"


def executions() -> int:
    with session() as store:
        return store.scalar(select(func.count()).select_from(ExecutionRow)) or 0


async def start(client: httpx.AsyncClient, document: Any, key: str | None = None, **more: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await client.post(PATH, json={"plan": document, **more}, headers=headers)


@pytest.mark.requirement("BR-INT-010")
async def test_a_plan_that_may_run_is_queued(admin: httpx.AsyncClient, events: Events) -> None:
    answer = await start(admin, plan(), priority="P1")
    assert answer.status_code == 202, answer.text
    accepted = answer.json()
    execution = accepted["execution_id"]
    assert accepted["run_id"] == execution
    assert accepted["created"] is True
    assert accepted["links"]["airflow"] == f"http://airflow.example/dags/{accepted['dag_id']}/runs/{execution}"
    assert answer.headers["location"] == accepted["links"]["self"] == f"/kubernaut{PATH}/{execution}"
    found = (await admin.get(f"{PATH}/{execution}")).json()
    assert (found["phase"], found["priority"], found["actor"]) == ("queued", "P1", "admin")
    assert [step["name"] for step in found["steps"]] == ["Do nothing first", "Restart the worker"]
    assert {step["state"] for step in found["steps"]} == {"pending"}
    assert found["progress"] == {"total": 2, "done": 0, "percent": 0, "current": []}
    assert [(event.operation, event.actor) for event in events(execution)] == [("trigger", "admin")]


@pytest.mark.parametrize("given", ["header", "body"])
async def test_a_tracking_id_that_comes_in_wins(admin: httpx.AsyncClient, given: str) -> None:
    headers = {"X-Tracking-Id": "incident-7"} if given == "header" else {}
    more = {"tracking_id": "incident-7"} if given == "body" else {}
    answer = await admin.post(PATH, json={"plan": plan(tracking_id="the-plans-own"), **more}, headers=headers)
    assert answer.json()["tracking_id"] == "incident-7"
    found = (await admin.get(PATH, params={"tracking_id": "incident-7", "limit": 1})).json()["executions"]
    assert found[0]["id"] == answer.json()["execution_id"]


# --- the same request again


async def test_the_same_request_with_the_same_key_starts_once(admin: httpx.AsyncClient) -> None:
    before = executions()
    answers = await asyncio.gather(*(start(admin, plan(), key="once") for _ in range(5)))
    answers.append(await start(admin, plan(), key="once"))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["execution_id"] for answer in answers}) == 1
    assert sum(answer.json()["created"] for answer in answers) == 1
    assert executions() == before + 1


async def test_a_repeat_is_answered_whatever_the_cluster_and_the_policy_say_by_then(
    admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubernaut_plugin.api import service

    first = await start(admin, plan(), key="answered-before")

    async def never(*_: Any) -> None:
        raise AssertionError("a repeat is not examined again")

    monkeypatch.setattr(service, "_examined", never)
    again = await start(admin, plan(), key="answered-before")
    assert (again.status_code, again.json()["execution_id"]) == (202, first.json()["execution_id"])


async def test_another_request_with_the_same_key_is_a_conflict(admin: httpx.AsyncClient) -> None:
    await start(admin, plan(), key="taken")
    problem(await start(admin, plan(id="another"), key="taken"), 409, "idempotency_key_reused")


# --- what needs a person


async def test_too_little_confidence_needs_an_approval_of_exactly_this_plan(
    admin: httpx.AsyncClient, events: Events
) -> None:
    unsure = plan(confidence=0.7)
    refused = problem(await start(admin, unsure), 409, "approval_required")
    assert [reason["code"] for reason in refused["reasons"]]
    assert [step["id"] for step in refused["steps"]] == ["wait", "restart"]
    assert "Restart the worker" in refused["card"]
    other = {**unsure, "steps": [{**STEPS[0], "name": "Something else"}, STEPS[1]]}
    problem(await start(admin, other, approve=refused["hash"]), 409, "hash_mismatch")
    problem(await start(admin, unsure, approve="0" * 64), 409, "hash_mismatch")
    answer = await start(admin, unsure, approve=refused["hash"])
    assert answer.status_code == 202, answer.text
    found = (await admin.get(f"{PATH}/{answer.json()['execution_id']}")).json()
    assert (found["approved_by"], found["plan_hash"]) == ("admin", refused["hash"])
    assert [event.operation for event in events(found["id"])] == ["trigger", "approval"]


async def test_little_confidence_needs_a_human_whose_approval_answers(admin: httpx.AsyncClient) -> None:
    refused = problem(await start(admin, plan(confidence=0.3)), 409, "human_required")
    assert (await start(admin, plan(confidence=0.3), approve=refused["hash"])).status_code == 202


async def test_an_action_that_is_not_installed_no_approval_starts(admin: httpx.AsyncClient) -> None:
    steps = [{"id": "drain", "name": "Drain", "action": "kubernetes.drain", "target": {"kind": "Node", "name": "n"}}]
    refused = problem(await start(admin, plan(steps=steps)), 409, "human_required")
    assert "action_not_installed" in [reason["code"] for reason in refused["reasons"]]
    assert refused["hash"] is None
    problem(await start(admin, plan(steps=steps), approve="0" * 64), 409, "human_required")


async def test_a_namespace_that_nobody_gave_to_kubernaut_needs_an_approval(admin: httpx.AsyncClient) -> None:
    """The labels are read from the cluster when the plan is accepted."""
    elsewhere = plan(target={**TARGET, "namespace": "default", "name": "web"})
    refused = problem(await start(admin, elsewhere), 409, "approval_required")
    assert refused["hash"]


async def test_labels_that_cannot_be_read_are_a_reason_to_ask(
    admin: httpx.AsyncClient, crashing: PracticeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubernaut_plugin.api import service

    async def hangs(*_: Any) -> dict[str, str]:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr(service, "labels_of", hangs)
    monkeypatch.setattr(service, "LABELS_TIMEOUT", 0.05)
    refused = problem(await start(admin, plan()), 409, "approval_required")
    reasons = {reason["code"]: reason["message"] for reason in refused["reasons"]}
    assert "did not answer within" in reasons["labels_unread"]


# --- what is refused


@pytest.mark.parametrize("text", [False, True])
async def test_all_faults_of_a_plan_at_once_and_nothing_is_written(admin: httpx.AsyncClient, text: bool) -> None:
    before = executions()
    steps = [
        {**STEPS[0], "action": "nope", "depends_on": [{"step": "restart", "outcome": "success"}]},
        {**STEPS[1], "retries": 3},
    ]
    bad = plan(steps=steps, target={**TARGET, "namespace": "kube-system"})
    refused = problem(await start(admin, json.dumps(bad) if text else bad), 422, "invalid_plan")
    pointers = {fault["pointer"] for fault in refused["faults"]}
    assert {"/steps/0/action", "/steps/1/retries"} <= pointers
    assert all(fault["remedy"] for fault in refused["faults"])
    assert executions() == before
    with session() as store:
        last = store.scalars(select(AuditEventRow).order_by(AuditEventRow.id.desc()).limit(1)).one()
    assert (last.operation, last.actor) == ("refusal", "admin")


async def test_a_plan_given_as_text_starts_as_if_it_were_a_value(admin: httpx.AsyncClient) -> None:
    answer = await start(admin, json.dumps(plan()))
    assert answer.status_code == 202, answer.text
    with session() as store:
        assert store.get_one(ExecutionRow, answer.json()["execution_id"]).answer == plan()


async def test_a_plan_given_as_text_that_is_no_json(admin: httpx.AsyncClient) -> None:
    refused = problem(await start(admin, '{"steps": [,]}'), 422, "invalid_plan")
    assert refused["faults"][0]["code"] == "json_syntax"


async def test_a_viewer_cannot_approve(app: FastAPI, admin: httpx.AsyncClient) -> None:
    refused = problem(await start(admin, plan(confidence=0.7)), 409, "approval_required")
    async with asking(app, "viewer") as viewer:
        problem(await start(viewer, plan(confidence=0.7), approve=refused["hash"]), 403, "forbidden")


# --- looking first


async def test_validating_changes_nothing_and_is_audited(admin: httpx.AsyncClient, events: Events) -> None:
    before = executions()
    answer = await admin.post("/api/v1/plans/validate?provenance=true&card=true", json={"plan": plan()})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["outcome"], found["faults"]) == ("runnable", [])
    assert {entry["pointer"] for entry in found["provenance"]} >= {"/confidence", "/steps/0/action"}
    assert "Restart the worker" in found["card"]
    assert executions() == before
    last = events(found["hash"])[-1]
    assert (last.operation, last.actor, last.details["outcome"]) == ("validate", "admin", "runnable")


async def test_the_faults_of_a_plan_are_what_validating_finds(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/api/v1/plans/validate", json={"plan": {"version": "kubernaut.ai/plan/v1"}})
    assert (answer.status_code, answer.json()["outcome"]) == (200, "invalid")
    assert (answer.json()["provenance"], answer.json()["card"]) == (None, None)
    assert {fault["pointer"] for fault in answer.json()["faults"]} >= {"/steps", "/id"}


async def test_validating_reads_no_cluster(admin: httpx.AsyncClient, crashing: PracticeServer) -> None:
    before = len(crashing.log.records)
    found = (await admin.post("/api/v1/plans/validate", json={"plan": plan()})).json()
    assert len(crashing.log.records) == before
    assert any("kubernaut.ai/managed" in text for text in found["unchecked"])
