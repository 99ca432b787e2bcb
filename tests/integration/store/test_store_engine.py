"""Engines on a real PostgreSQL: one a process, never across a fork, with errors that name the remedy."""

import asyncio
import os
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, NoResultFound

from devstack.postgres import Postgres
from kubernaut.settings import get_settings
from kubernaut.store import engine, halts
from kubernaut.store.tables import OutboxRow
from tests.integration.store.store_rows import ALICE

BACKEND = text("SELECT pg_backend_pid()")


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """`configured.setenv("KUBERNAUT_STORE_URL", …)` before the first use."""
    get_settings.cache_clear()
    yield monkeypatch
    engine.dispose()
    get_settings.cache_clear()


def test_transactions_of_a_process_share_its_connections(store: str) -> None:
    with engine.session() as session:
        first = session.scalar(BACKEND)
    with engine.session() as session:
        assert session.scalar(BACKEND) == first


def test_a_worker_keeps_no_connection(store: str) -> None:
    engine.use_null_pool()
    try:
        with engine.session() as session:
            first = session.scalar(BACKEND)
        with engine.session() as session:
            assert session.scalar(BACKEND) != first
    finally:
        engine.use_null_pool(False)


def test_a_forked_child_makes_connections_of_its_own(store: str) -> None:
    with engine.session() as session:
        parents = session.scalar(BACKEND)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with engine.session() as session:
            os.write(writing, str(session.scalar(BACKEND)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reading, 100)) != parents
    with engine.session() as session:  # the child's end did not take the parent's connection along
        assert session.scalar(BACKEND) == parents


def test_each_loop_has_its_own_engine(store: str) -> None:
    async def backend() -> int | None:
        async with engine.async_session() as session:
            first: int | None = await session.scalar(BACKEND)
        async with engine.async_session() as session:
            assert await session.scalar(BACKEND) == first
        await engine.dispose_async()
        return first

    assert asyncio.run(backend()) != asyncio.run(backend())


async def test_repository_functions_run_in_an_async_session(store: str) -> None:
    async with engine.async_session() as session:
        made = await session.run_sync(halts.set_halt, cluster="c1", reason="drill", actor=ALICE)
        assert made.created_at is not None
    async with engine.async_session() as session:
        assert (await session.scalars(halts.open_halts())).all()[0].cluster == "c1"
        await session.run_sync(halts.end_halt, cluster="c1", reason=None, actor=ALICE)
    await engine.dispose_async()


def test_every_connection_has_limits_and_utc(store: str) -> None:
    async def shown() -> list[str | None]:
        async with engine.async_session() as session:
            found = [await session.scalar(text(f"SHOW {name}")) for name in names]
        await engine.dispose_async()
        return found

    names = ("statement_timeout", "idle_in_transaction_session_timeout", "timezone", "application_name")
    expected = ["15s", "2min", "UTC", "kubernaut"]
    with engine.session() as session:
        assert [session.scalar(text(f"SHOW {name}")) for name in names] == expected
    assert asyncio.run(shown()) == expected


def test_an_unreachable_store_is_named_without_its_password(configured: pytest.MonkeyPatch) -> None:
    async def use() -> None:
        async with engine.async_session() as session:
            await session.scalar(BACKEND)

    configured.setenv("KUBERNAUT_STORE_URL", "postgresql://me:hunter2@127.0.0.1:1/none")
    named = r"127\.0\.0\.1:1/none.*KUBERNAUT_STORE_URL"
    with pytest.raises(engine.StoreUnavailable, match=named) as sync_error, engine.session() as session:
        session.scalar(BACKEND)
    with pytest.raises(engine.StoreUnavailable, match=named) as async_error:
        asyncio.run(use())
    assert "hunter2" not in f"{sync_error.value} {async_error.value}"


def test_a_wrong_password_is_not_shown(configured: pytest.MonkeyPatch, pg: Postgres) -> None:
    url = engine.parse_url(pg.admin_url).set(password="hunter2")
    configured.setenv("KUBERNAUT_STORE_URL", engine.dsn(url))
    with pytest.raises(engine.StoreUnavailable, match="authentication failed") as caught, engine.session() as session:
        session.scalar(BACKEND)
    assert "hunter2" not in str(caught.value)


def test_a_store_without_tables_names_the_command(configured: pytest.MonkeyPatch, pg: Postgres) -> None:
    async def use() -> None:
        async with engine.async_session() as session:
            await session.scalars(halts.open_halts())

    configured.setenv("KUBERNAUT_STORE_URL", pg.create_database("never_migrated"))
    try:
        with pytest.raises(engine.StoreNotMigrated, match="kubernaut db migrate"), engine.session() as session:
            session.scalars(halts.open_halts())
        with pytest.raises(engine.StoreNotMigrated, match="kubernaut db migrate"):
            asyncio.run(use())
    finally:
        engine.dispose()
        pg.drop_database("never_migrated")


def test_a_connection_that_broke_within_a_transaction_says_so(store: str) -> None:
    with pytest.raises(engine.StoreUnavailable, match="broke"), engine.session() as session:
        session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    with engine.session() as session:  # and the next one is made anew
        assert session.scalar(text("SELECT 1")) == 1


def test_an_idle_connection_that_broke_is_replaced_unnoticed(store: str) -> None:
    with engine.session() as session:
        first = session.scalar(BACKEND)
    with psycopg.connect(store, autocommit=True) as admin:
        # Waits until the server's process is gone.
        assert admin.execute("SELECT pg_terminate_backend(%s, 5000)", [first]).fetchone() == (True,)
    with engine.session() as session:
        assert session.scalar(BACKEND) != first


def test_the_parameters_of_a_failed_statement_are_not_shown(store: str) -> None:
    with pytest.raises(DBAPIError) as caught, engine.session() as session:
        session.execute(text("SELECT CAST(:value AS int[]) / :secret"), {"value": "{1}", "secret": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_number_that_is_no_json_is_refused_with_its_name(store: str) -> None:
    with pytest.raises(Exception, match="not JSON compliant"), engine.session() as session:
        session.add(OutboxRow(kind="x", payload={"value": float("nan")}))


def test_an_error_of_the_caller_passes_as_it_is(store: str) -> None:
    with pytest.raises(NoResultFound), engine.session() as session:
        session.execute(text("SELECT 1 WHERE false")).one()
