"""The REST app over a real store and a practice cluster; no Airflow runs."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update

from kubernaut.cluster.practice.scenario import load_scenario
from kubernaut.cluster.practice.server import PracticeServer, wall_clock
from kubernaut.settings import get_settings
from kubernaut.store import engine as store_engine
from kubernaut.store.engine import session
from kubernaut.store.tables import AuditEventRow, HaltRow
from tests.unit.api.asking import StandInAuthManager, asking, one_app, stand_in

TARGET = {"cluster": "practice", "kind": "Deployment", "namespace": "demo-checkout", "name": "worker"}
STEPS = [
    {"id": "wait", "name": "Do nothing first", "action": "noop"},
    {
        "id": "restart",
        "name": "Restart the worker",
        "action": "kubernetes.rollout_restart",
        "depends_on": [{"step": "wait", "outcome": "success"}],
    },
]


def plan(**changes: Any) -> dict[str, Any]:
    """A plan that may run without anybody's approval."""
    return {
        "version": "kubernaut.ai/plan/v1",
        "id": "restart-worker",
        "confidence": 0.95,
        "target": TARGET,
        "steps": STEPS,
        **changes,
    }


@pytest.fixture(scope="module")
def crashing() -> Iterator[PracticeServer]:
    """A cluster in which `demo-checkout/worker` crash-loops."""
    opened = load_scenario("crashloop").open(wall_clock, time_factor=20)
    with PracticeServer(opened.cluster, changes=opened.later) as server:
        yield server


@pytest.fixture
def auth(monkeypatch: pytest.MonkeyPatch, store_url: str, crashing: PracticeServer) -> Iterator[StandInAuthManager]:
    monkeypatch.setenv("KUBERNAUT_STORE_URL", store_url)
    monkeypatch.setenv("KUBERNAUT_CLUSTERS", json.dumps({"practice": "api_practice"}))
    monkeypatch.setenv("AIRFLOW_CONN_API_PRACTICE", crashing.connection_json())
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example/")
    get_settings.cache_clear()
    yield stand_in(monkeypatch)
    with session() as store:
        store.execute(
            update(HaltRow).where(HaltRow.ended_at.is_(None)).values(ended_at=HaltRow.created_at, ended_by="t")
        )
    store_engine.dispose()
    get_settings.cache_clear()


@pytest.fixture
def app(auth: StandInAuthManager) -> FastAPI:
    return one_app()


@pytest.fixture
async def admin(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(app) as client:
        yield client


Events = Callable[..., list[AuditEventRow]]


@pytest.fixture
def events(auth: StandInAuthManager) -> Events:
    """The audit events about something, oldest first."""

    def read(subject: str) -> list[AuditEventRow]:
        with session() as store:
            return list(
                store.scalars(
                    select(AuditEventRow).where(AuditEventRow.subject_id == subject).order_by(AuditEventRow.id)
                )
            )

    return read
