"""The store on a real PostgreSQL: one database for each module."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kubernaut.settings import get_settings
from kubernaut.store import engine
from kubernaut.store.executions import insert_execution, put_workflow
from tests.integration.store.store_rows import new_row, shape


@pytest.fixture
def store(store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The module's store is the configured one."""
    monkeypatch.setenv("KUBERNAUT_STORE_URL", store_url)
    get_settings.cache_clear()
    yield store_url
    engine.dispose()
    get_settings.cache_clear()


@pytest.fixture
def queue(store: str) -> Callable[..., str]:
    """`queue(**columns)`: an execution in phase `queued`, committed; returns its id."""

    def write(**columns: Any) -> str:
        with engine.session() as session:
            put_workflow(session, shape("noop"))
            return insert_execution(session, new_row(**columns)).execution.id

    return write
