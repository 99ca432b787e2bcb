"""The REST app with a store that must not be asked: whatever is tested here ends before it."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest

from kubernaut.settings import get_settings
from kubernaut.store import engine as store_engine
from tests.unit.api.asking import StandInAuthManager, asking, one_app, stand_in

AWAY = "postgresql://somebody:hush-hush@127.0.0.1:9/nowhere"


@pytest.fixture
def auth(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInAuthManager]:
    monkeypatch.setenv("KUBERNAUT_STORE_URL", AWAY)
    monkeypatch.setenv("KUBERNAUT_CLUSTERS", '{"practice": "kubernetes_practice"}')
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow.example/")
    get_settings.cache_clear()
    yield stand_in(monkeypatch)
    store_engine.dispose()
    get_settings.cache_clear()


@pytest.fixture
def app(auth: StandInAuthManager) -> Any:
    return one_app()


@pytest.fixture
async def admin(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with asking(app) as client:
        yield client


@pytest.fixture
def as_user(app: Any) -> Callable[[str | None], Any]:
    return lambda user: asking(app, user)
