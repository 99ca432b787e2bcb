"""The emergency brake and the health of everything, by REST."""

import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from kubernaut_plugin.loop import Loop

from kubernaut.cluster.practice.server import PracticeServer
from tests.integration.api.conftest import Events, plan
from tests.unit.api.asking import asking, problem

HALT = "/api/v1/halt"


async def test_a_halt_is_shown_everywhere_until_it_ends(admin: httpx.AsyncClient, events: Events) -> None:
    made = await admin.post(HALT, json={"reason": "the cluster burns"})
    assert made.status_code == 200, made.text
    halt = made.json()
    assert (halt["cluster"], halt["reason"], halt["actor"]) == (None, "the cluster burns", "admin")
    execution = (await admin.post("/api/v1/executions", json={"plan": plan()})).json()["execution_id"]
    shown = {
        "list": (await admin.get("/api/v1/executions")).json()["halts"],
        "one": (await admin.get(f"/api/v1/executions/{execution}")).json()["halts"],
        "halts": (await admin.get("/api/v1/halts")).json()["halts"],
        "health": (await admin.get("/api/v1/health")).json()["halts"],
    }
    assert shown == {place: [halt] for place in shown}
    ended = await admin.delete(HALT, params={"reason": "it is out"})
    assert (ended.status_code, ended.json()["ended_by"], ended.json()["end_reason"]) == (200, "admin", "it is out")
    assert (await admin.get("/api/v1/halts")).json() == {"halts": []}
    assert [(event.operation, event.actor) for event in events(str(halt["id"]))] == [
        ("halt", "admin"),
        ("resume", "admin"),
    ]


@pytest.mark.parametrize("given", ["parameter", "body"])
async def test_only_the_halt_that_is_named_ends(admin: httpx.AsyncClient, given: str) -> None:
    await admin.post(HALT, json={"reason": "all"})
    await admin.post(HALT, json={"reason": "one", "cluster": "practice"})
    named: dict[str, Any] = {"params" if given == "parameter" else "json": {"cluster": "practice"}}
    ended = await admin.request("DELETE", HALT, **named)
    assert (ended.status_code, ended.json()["cluster"]) == (200, "practice")
    assert [halt["reason"] for halt in (await admin.get("/api/v1/halts")).json()["halts"]] == ["all"]


async def test_parameter_and_body_that_name_different_clusters_end_none(admin: httpx.AsyncClient) -> None:
    await admin.post(HALT, json={"reason": "one", "cluster": "practice"})
    answer = await admin.request("DELETE", HALT, params={"cluster": "practice"}, json={"cluster": "other"})
    problem(answer, 422, "invalid_request")
    assert len((await admin.get("/api/v1/halts")).json()["halts"]) == 1


async def test_a_halt_that_is_not_there_cannot_end(admin: httpx.AsyncClient) -> None:
    await admin.post(HALT, json={"reason": "one", "cluster": "practice"})
    refused = problem(await admin.delete(HALT), 404, "not_halted")
    assert "cluster practice" in refused["detail"]


async def test_a_halt_of_a_cluster_that_is_misspelt_would_stop_nothing(admin: httpx.AsyncClient) -> None:
    refused = problem(await admin.post(HALT, json={"reason": "x", "cluster": "practise"}), 422, "invalid_request")
    (fault,) = refused["faults"]
    assert (fault["pointer"], fault["code"]) == ("/cluster", "unknown_cluster")
    assert "practice" in fault["remedy"]


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x", "clusters": ["a"]}])
async def test_a_halt_has_a_reason(admin: httpx.AsyncClient, body: dict[str, Any]) -> None:
    problem(await admin.post(HALT, json=body), 422, "invalid_request")


# --- health


def loop(name: str, *, lag: float | None, error: str | None = None) -> Loop:
    made = Loop(name, interval=2.0, work=lambda: False)
    made.last_round = None if lag is None else time.monotonic() - lag
    made.last_error = error
    return made


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    from kubernaut_plugin.api import health

    parts = ("scheduler", "triggerer", "dag_processor")
    made = {name: {"status": "healthy", f"latest_{name}_heartbeat": "2026-01-01T00:00:00Z"} for name in parts}
    monkeypatch.setattr(health, "get_airflow_health", lambda: made)
    return made


async def health_with(app: FastAPI, registrar: Loop, reconciler: Loop) -> dict[str, Any]:
    async with asking(app) as client:
        app.state.loops = {"registrar": registrar, "reconciler": reconciler}
        answer = await client.get("/api/v1/health")
        app.state.loops = {}
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_all_is_well(app: FastAPI, airflow: dict[str, Any]) -> None:
    found = await health_with(app, loop("registrar", lag=0.5), loop("reconciler", lag=3))
    assert (found["status"], found["problems"]) == ("ok", [])
    assert found["store"]["reachable"] is True
    assert found["store"]["schema_version"] == found["store"]["schema_expected"]
    assert found["registrar"]["lag"] == pytest.approx(0.5, abs=1)
    assert found["scheduler"]["latest_heartbeat"] == "2026-01-01T00:00:00Z"
    assert found["clusters"]["practice"]["reachable"] is True
    assert found["clusters"]["practice"]["version"].endswith("practice")


@pytest.mark.requirement("BR-ORCH-012")
async def test_what_is_wrong_is_named(app: FastAPI, airflow: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernaut.settings import get_settings

    monkeypatch.setenv("KUBERNAUT_CLUSTERS", '{"gone": "kubernetes_gone"}')
    monkeypatch.setenv(
        "AIRFLOW_CONN_KUBERNETES_GONE",
        PracticeServer().connection_json(),  # never started: nobody answers there
    )
    get_settings.cache_clear()
    airflow["triggerer"]["status"] = "unhealthy"
    found = await health_with(app, loop("registrar", lag=500, error="OSError: full"), loop("reconciler", lag=None))
    assert found["status"] == "degraded"
    starts = [problem.partition(":")[0] for problem in found["problems"]]
    assert starts == ["registrar", "reconciler", "triggerer", "cluster gone"]
    assert "OSError: full" in found["problems"][0]
    assert found["clusters"]["gone"]["reachable"] is False


async def test_a_cluster_that_hangs_does_not_make_health_hang(
    app: FastAPI, airflow: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    from kubernaut_plugin.api import health

    from kubernaut.cluster.client import KubeClient

    async def hangs(_: KubeClient) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr(KubeClient, "version", hangs)
    monkeypatch.setattr(health, "CLUSTER_TIMEOUT", 0.05)
    found = await health_with(app, loop("registrar", lag=0.5), loop("reconciler", lag=3))
    assert found["clusters"]["practice"] == {
        "reachable": False,
        "version": None,
        "latency_ms": None,
        "error": "no answer within 0.05 s",
    }
