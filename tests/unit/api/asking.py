"""The REST app without an Airflow around it: a stand-in for the auth manager knows who sends which token and may do what.

Everything else is real, Airflow's dependencies included. Used by the tests of the API here and in `tests/integration/api`.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

if "AIRFLOW_HOME" not in os.environ:  # Airflow writes a configuration there when it is imported
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="kubernaut-airflow-")
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)

import httpx
import pytest
from airflow.api_fastapi.app import _AuthManagerState
from airflow.models.dag import DagModel
from fastapi import FastAPI
from jwt import InvalidTokenError

TOKENS = {"admin-token": "admin", "viewer-token": "viewer", "nobody-token": "nobody"}
RIGHTS = {"admin": {"GET", "POST"}, "viewer": {"GET"}, "nobody": set()}


@dataclass(frozen=True)
class StandInUser:
    name: str

    def get_id(self) -> str:
        return f"id-of-{self.name}"

    def get_name(self) -> str:
        return self.name


@dataclass
class StandInAuthManager:
    """`asked`: every question about a right, as (user, method, entity, dag_id)."""

    asked: list[tuple[str, str, str, str | None]] = field(default_factory=list)

    async def get_user_from_token(self, token: str) -> StandInUser:
        if token not in TOKENS:
            raise InvalidTokenError(token)
        return StandInUser(TOKENS[token])

    def is_authorized_dag(self, *, method: str, access_entity: Any, details: Any, user: StandInUser) -> bool:
        self.asked.append((user.name, method, access_entity.value, details.id))
        return method in RIGHTS[user.name]


def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandInAuthManager:
    """Airflow's auth manager is this one, and its database need not be there."""
    from kubernaut_plugin.api import app as module

    made = StandInAuthManager()
    monkeypatch.setattr(_AuthManagerState, "instance", made)
    monkeypatch.setattr(DagModel, "get_team_name", staticmethod(lambda _: None))
    monkeypatch.setattr(module, "_loops", dict)
    return made


@cache
def one_app() -> FastAPI:
    """The same for all tests: it is made without settings, and its lifespan begins anew for each client."""
    from kubernaut_plugin.api.app import make_app

    return make_app()


@asynccontextmanager
async def asking(app: FastAPI, user: str | None = "admin") -> AsyncIterator[httpx.AsyncClient]:
    """A client as one of the users, or as nobody at all; the app lives as long as it does."""
    outer = FastAPI()
    outer.mount("/kubernaut", app)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(outer, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {user}-token"} if user else {}
        async with httpx.AsyncClient(
            transport=transport, base_url="http://airflow.test/kubernaut", headers=headers
        ) as client:
            yield client


def problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The document of a refusal, checked for what every one has."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    assert document["code"] == code, document
    assert document["type"] == f"https://kubernaut.ai/problems/{code}"
    assert document["title"]
    assert document["detail"]
    for fault in document["faults"]:
        assert set(fault) == {"pointer", "code", "message", "remedy"}
    return document
