"""Taking an execution back and pulling the brake, by REST, in a real Airflow."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kubernaut.cluster.client import KubeClient
from kubernaut.cluster.objects import ObjectRef
from kubernaut.cluster.practice.server import PracticeServer
from kubernaut.cluster.transport import AiohttpTransport
from tests.integration.airflow.conftest import TARGET, Runs, failing, plan, states, step

WORKER = ObjectRef.of("Deployment", TARGET["namespace"], TARGET["name"])


def replicas(practice: PracticeServer) -> int:
    """spec.replicas as the cluster has it now."""

    async def read() -> Any:
        transport = AiohttpTransport(practice.url, practice.token)
        try:
            return await KubeClient(transport, timeout=5).get(WORKER)
        finally:
            await transport.close()

    return int(asyncio.run(read())["spec"]["replicas"])


def scale(identifier: str, number: int, *depends_on: str) -> dict[str, Any]:
    return step(identifier, "kubernetes.scale", *depends_on, params={"replicas": number}, target=TARGET)


@pytest.mark.requirement("BR-WF-015")
def test_a_finished_execution_is_taken_back_by_a_run_of_its_own(runs: Runs, practice: PracticeServer) -> None:
    """Undo by REST: a DAG run with one task per undone step; afterwards the field is as before and the step is undone."""
    before = replicas(practice)
    shown = runs.run(plan(scale("more", before + 1)))
    assert shown["outcome"] == "success", shown["reason"]
    assert replicas(practice) == before + 1

    answer = runs.stack.kubernaut("POST", f"executions/{shown['id']}/undo", {})
    assert answer.status_code == 202, answer.text
    undo = runs.end(answer.json()["execution_id"])

    assert undo["outcome"] == "success", undo["reason"]
    assert undo["kind"] == "undo"
    assert replicas(practice) == before
    assert states(runs.show(shown["id"])) == {"more": "undone"}
    tasks = [task for task in runs.tasks(undo) if task != "verdict"]
    assert len(tasks) == 1


def test_a_plan_that_fails_after_a_change_is_compensated_by_itself(runs: Runs, practice: PracticeServer) -> None:
    before = replicas(practice)
    shown = runs.run(plan(scale("more", before + 2), failing("proof", "more"), on_failure="compensate"))
    assert shown["outcome"] == "failure"

    undo = runs.until(shown["id"], lambda now: now["undos"], "an undo")["undos"][0]
    assert runs.end(undo["id"])["outcome"] == "success"
    assert replicas(practice) == before


def test_what_is_to_be_kept_is_kept(runs: Runs, practice: PracticeServer) -> None:
    before = replicas(practice)
    shown = runs.run(plan(scale("more", before + 1), failing("proof", "more"), on_failure="keep"))

    assert shown["outcome"] == "failure"
    assert runs.show(shown["id"])["undos"] == []
    assert replicas(practice) == before + 1
    runs.run(plan(scale("back", before)))


def test_undo_twice_is_a_conflict(runs: Runs, practice: PracticeServer) -> None:
    before = replicas(practice)
    shown = runs.run(plan(scale("more", before + 1)))
    first = runs.stack.kubernaut("POST", f"executions/{shown['id']}/undo", {})
    assert first.status_code == 202
    runs.end(first.json()["execution_id"])

    assert runs.stack.kubernaut("POST", f"executions/{shown['id']}/undo", {}).status_code == 409


def test_while_halted_nothing_new_is_registered_and_resume_lets_it_go_on(runs: Runs) -> None:
    halted = runs.stack.kubernaut("POST", "halt", {"reason": "maintenance of the test", "cluster": "practice"})
    assert halted.status_code in (200, 201), halted.text
    try:
        sent = runs.send(plan(scale("more", 2)))
        shown = runs.show(sent["execution_id"])
        assert shown["phase"] == "queued"
        assert runs.stack.kubernaut("GET", "health").json()["halts"]
        listed = runs.stack.kubernaut("GET", "executions").json()
        assert listed["halts"]
    finally:
        resumed = runs.stack.kubernaut("DELETE", "halt", {"cluster": "practice", "reason": "done"})
    assert resumed.status_code == 200, resumed.text
    assert runs.end(sent["execution_id"])["outcome"] == "success"
