"""Connections to the store: where it is, one small engine per process (and per event loop), one transaction at a time.

Called by everything that reads or writes the store. `session()` and `async_session()` are one transaction each:
committed at the end of the block, rolled back by an exception. Keep them short, and await nothing else inside one.
Engines are made after a fork, never before: a child process forgets its parent's without closing them.

It does not create tables (`migrate`), does not retry, and puts no password into any text.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import asyncpg  # type: ignore[import-untyped]
import psycopg
from sqlalchemy import URL, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from kubernaut.errors import ConfigurationError
from kubernaut.settings import get_settings

IDLE_IN_TRANSACTION_MS = 120_000
"""The registrar holds a row while it registers a DAG in Airflow's database; whoever hangs longer loses the row."""


def _server_settings() -> dict[str, str]:
    return {
        "application_name": "kubernaut",
        "timezone": "UTC",
        "statement_timeout": str(int(get_settings().store_statement_timeout * 1_000)),
        "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
    }


_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
"""Seconds and times: whoever only listens would not notice a network that went away."""

_MISSING = {"3F000": "schema", "42P01": "table", "42703": "column"}
"""SQLSTATEs of what a migration would have made."""


class StoreUnavailable(ConfigurationError):
    """No connection to the store: it may come back. Whoever loops goes on looping; a request is answered 503."""


class StoreNotMigrated(ConfigurationError):
    """The store has no tables, or those of another version."""


class StoreSession(Session):
    """A session that sends its wake-up calls with its commit: see `kubernaut.store.wake.notify`."""


_url_provider: Callable[[], str | None] | None = None
_null_pool = False
_sync_engines: dict[str, Engine] = {}
_async_engines: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, AsyncEngine]] = WeakKeyDictionary()


def set_url_provider(provider: Callable[[], str | None] | None) -> None:
    """Where the URL comes from when `KUBERNAUT_STORE_URL` is not set: Airflow's side passes its connection here."""
    global _url_provider
    _url_provider = provider


def use_null_pool(value: bool = True) -> None:
    """Keep no connection between transactions in this process: for workers, whose processes are many and short."""
    global _null_pool
    _null_pool = value


def store_url() -> URL:
    """Where the store is, without a driver. Its `str` masks the password. Raises `ConfigurationError`."""
    settings = get_settings()
    given = settings.store_url.get_secret_value() if settings.store_url else None
    if not given and _url_provider is not None:
        given = _url_provider()
    if not given:
        raise ConfigurationError(
            "no store is configured: set KUBERNAUT_STORE_URL=postgresql://user:password@host/database, or the Airflow "
            f"connection {settings.store_connection!r}."
        )
    return parse_url(given)


def parse_url(text: str) -> URL:
    """`postgres://`, `postgresql://` and forms with a driver → `postgresql://`. Raises `ConfigurationError`."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # The text may hold a password wherever it is broken: it is not shown.
        raise ConfigurationError(
            "the store's URL cannot be read: write postgresql://user:password@host:port/database and percent-encode "
            "special characters of the password."
        ) from None
    if url.drivername.partition("+")[0] not in ("postgresql", "postgres"):
        raise ConfigurationError(
            f"the store's URL begins with {url.drivername}://, but only PostgreSQL is supported: postgresql://…"
        )
    return url.set(drivername="postgresql")


def dsn(url: URL) -> str:
    """For the drivers: with the password, so never for a text that people read."""
    return url.render_as_string(hide_password=False)


def unavailable(url: URL, error: BaseException) -> StoreUnavailable:
    """What to raise where no connection could be made. `str(url)` masks the password; a driver's text may hold it."""
    text = " ".join(str(error).split()).rstrip(".?") or type(error).__name__
    if url.password:
        text = text.replace(str(url.password), "***")
    return StoreUnavailable(
        f"the store at {url} cannot be reached: {text}. Check that PostgreSQL runs there and that KUBERNAUT_STORE_URL "
        f"(or the Airflow connection {get_settings().store_connection!r}) is right."
    )


def connect(url: URL, **options: Any) -> psycopg.Connection[Any]:
    """A psycopg connection with our timeouts. Raises `StoreUnavailable`. `options`: as psycopg.connect has them."""
    server = " ".join(f"-c {name}={value}" for name, value in _server_settings().items())
    values = {
        "connect_timeout": int(get_settings().store_connect_timeout),
        "options": server,
        **_KEEPALIVE,
        **url.query,
        **options,
    }
    try:
        return psycopg.connect(dsn(url.set(query={})), **values)
    except psycopg.Error as error:
        raise unavailable(url, error) from None


async def connect_async(url: URL) -> asyncpg.Connection:
    """An asyncpg connection with our timeouts. Raises `StoreUnavailable`."""
    # libpq takes this one from the URL; asyncpg would send it to the server as a setting.
    timeout = float(str(url.query.get("connect_timeout", get_settings().store_connect_timeout)))
    target = dsn(url.difference_update_query(["connect_timeout"]))
    try:
        return await asyncpg.connect(target, timeout=timeout, server_settings=dict(_server_settings()))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise unavailable(url, error) from None


def _json(value: object) -> str:
    # NaN and Infinity are no JSON: refused here with their name, not by the server with a parse error.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _translate(context: ExceptionContext) -> None:
    """Names the remedy of two errors that say nothing to whoever runs the system."""
    if context.is_pre_ping:
        return  # the pool replaces the connection
    original = context.original_exception
    if not isinstance(original, Exception):
        return  # a cancellation ends the connection, too; whoever cancelled waits for it by its own name
    state = getattr(original, "sqlstate", None)
    if context.is_disconnect:
        raise StoreUnavailable(f"the connection to the store broke: {type(original).__name__}") from original
    if state in _MISSING:
        raise not_migrated(f"a {_MISSING[state]} is missing: {original}".splitlines()[0]) from original


def not_migrated(found: str) -> StoreNotMigrated:
    return StoreNotMigrated(
        f"the store's schema does not fit this version of Kubernaut ({found}): run `kubernaut db migrate`."
    )


def _options(null_pool: bool) -> dict[str, Any]:
    common: dict[str, Any] = {"hide_parameters": True, "json_serializer": _json}
    if null_pool:
        return common | {"poolclass": NullPool}
    return common | {
        "pool_size": get_settings().store_pool_size,
        "max_overflow": get_settings().store_pool_size,
        "pool_timeout": get_settings().store_pool_timeout,
        "pool_pre_ping": True,
    }


def make_engine(url: URL, *, null_pool: bool = False) -> Engine:
    """A new engine (psycopg 3); most callers want `sync_engine`."""
    engine = create_engine("postgresql+psycopg://", **_options(null_pool))
    event.listen(engine, "handle_error", _translate)

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]) -> object:
        # The dialect's own context holds how JSON is written and read.
        return connect(url, context=parameters["context"])

    return engine


def make_async_engine(url: URL, *, null_pool: bool = False) -> AsyncEngine:
    """A new engine (asyncpg); most callers want `async_engine`."""
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=partial(connect_async, url), **_options(null_pool)
    )
    event.listen(engine.sync_engine, "handle_error", _translate)
    return engine


def sync_engine() -> Engine:
    """This process's engine."""
    url = store_url()
    key = f"{_null_pool} {dsn(url)}"
    if key not in _sync_engines:
        # Two threads may both make one; an engine without a connection costs nothing, and the first one stays.
        _sync_engines.setdefault(key, make_engine(url, null_pool=_null_pool))
    return _sync_engines[key]


def async_engine() -> AsyncEngine:
    """The engine of this process and of the running loop."""
    url = store_url()
    loop = asyncio.get_running_loop()
    if loop not in _async_engines:
        for old in [each for each in _async_engines if each.is_closed()]:
            del _async_engines[old]
    engines = _async_engines.setdefault(loop, {})
    key = f"{_null_pool} {dsn(url)}"
    if key not in engines:
        engines[key] = make_async_engine(url, null_pool=_null_pool)
    return engines[key]


def is_away(error: BaseException) -> bool:
    """Whether this error says that the store cannot be reached now, and may be again: whoever loops goes on looping."""
    if isinstance(error, StoreUnavailable | PoolTimeout | OperationalError | InterfaceError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


@contextmanager
def session() -> Iterator[StoreSession]:
    """One transaction. Objects stay readable after it."""
    with StoreSession(sync_engine(), expire_on_commit=False) as opened, opened.begin():
        yield opened


@asynccontextmanager
async def async_session() -> AsyncIterator[AsyncSession]:
    """One transaction. The repository functions, which take a sync session: `await session.run_sync(function, …)`."""
    made = AsyncSession(async_engine(), sync_session_class=StoreSession, expire_on_commit=False)
    async with made as opened, opened.begin():
        yield opened


def dispose() -> None:
    """Close this process's idle connections (at exit, and between tests)."""
    while _sync_engines:
        _sync_engines.popitem()[1].dispose()


async def dispose_async() -> None:
    """Close the idle connections of the running loop; before a loop ends."""
    for engine in _async_engines.pop(asyncio.get_running_loop(), {}).values():
        await engine.dispose()


def _forget() -> None:
    """In a forked child: the connections are the parent's; closing them here would end them there. (The async engines
    belong to the parent's loop, which does not run here.)"""
    for engine in _sync_engines.values():
        engine.dispose(close=False)
    _sync_engines.clear()


os.register_at_fork(after_in_child=_forget)
