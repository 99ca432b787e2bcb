"""Waking whoever waits: NOTIFY with the commit that changed something, LISTEN once per process and event loop.

A wake-up call says only *look again*; the truth is in the rows. So a call may be lost or come twice without harm: every
wait ends by itself after a while, sooner when nobody listens (PostgreSQL away, a pooler in between that drops LISTEN).
Waiting code subscribes first, then looks at the rows, then waits, then looks again.

`notify` is for whoever writes, `waker` for coroutines, `SyncListener` for the threads of the registrar and reconciler.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from kubernaut.errors import ConfigurationError
from kubernaut.settings import get_settings
from kubernaut.store.engine import StoreSession, connect, connect_async, store_url

log = logging.getLogger(__name__)

CHANNEL = "kubernaut"
REGISTRAR = "registrar"
"""Something was queued, or a place became free."""
RECONCILER = "reconciler"
"""A run changed, or somebody asked for something."""
HALT = "halt"
"""A halt was set or ended."""
EVERYTHING = "*"
"""Calls may have been missed (the connection is new): look at everything."""

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
"""Seconds between two attempts to connect."""
PROBE_SECONDS = 30.0
"""How often a silent connection is asked whether it is still there."""

_PENDING = "kubernaut_wake"
_NOTIFY = text("SELECT pg_notify(:channel, topic) FROM unnest(CAST(:topics AS text[])) AS topic")


def execution(execution_id: str) -> str:
    """The topic of one execution: phase, steps or a cancellation changed."""
    return f"execution:{execution_id}"


def notify(session: Session | AsyncSession, *topics: str) -> None:
    """Wake whoever waits for these topics, when this session commits; a rollback sends nothing."""
    sync = session.sync_session if isinstance(session, AsyncSession) else session
    if not isinstance(sync, StoreSession):
        raise TypeError(f"notify needs a session of kubernaut.store.engine, not a {type(sync).__name__}")
    sync.info.setdefault(_PENDING, {}).update(dict.fromkeys(topics))


@event.listens_for(StoreSession, "before_commit")
def _send(session: Session) -> None:
    # A savepoint's release comes here too: sent then, the call still leaves with the outer commit only.
    topics = session.info.pop(_PENDING, None)
    if topics:
        session.execute(_NOTIFY, {"channel": CHANNEL, "topics": list(topics)})


@event.listens_for(StoreSession, "after_rollback")
def _drop(session: Session) -> None:
    session.info.pop(_PENDING, None)


class Wakeup:
    """One subscription. Made by `Waker.subscribe`."""

    def __init__(self, patience: Callable[[], float]) -> None:
        self._patience = patience
        self._event = asyncio.Event()

    async def wait(self, timeout: float | None = None) -> bool:
        """Until a topic was called since the last wait, `timeout` seconds passed, or it is time to look anyway.

        Returns whether there was a call. Callers look at the rows in every case.
        """
        limit = self._patience() if timeout is None else min(timeout, self._patience())
        # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with the call.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._event.wait()
        woken = self._event.is_set()
        self._event.clear()
        return woken

    def set(self) -> None:
        """Wake it, from within the loop."""
        self._event.set()

    def clear(self) -> None:
        """Forget the calls so far. Before looking at the rows, never after: the look would not see what they meant."""
        self._event.clear()


class Waker:
    """The one LISTEN of an event loop; most callers want `waker()`.

    :param connect: opens an asyncpg connection, raising `ConfigurationError` where that cannot be done
    :param poll: the longest wait in seconds while nothing is heard
    :param patience: the longest wait in seconds while it listens
    """

    def __init__(self, connect: Callable[[], Awaitable[Any]], *, poll: float, patience: float) -> None:
        self._connect = connect
        self._poll = poll
        self._patience = max(poll, patience)
        self._subscribers: dict[str, set[Wakeup]] = {}
        self._task: asyncio.Task[None] | None = None
        self._listens = asyncio.Event()

    @property
    def listening(self) -> bool:
        return self._listens.is_set()

    async def ready(self, timeout: float = 5.0) -> bool:
        """Wait until it listens (for tests and health; nobody else needs to). Returns whether it does."""
        self._start()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._listens.wait()
        return self.listening

    @asynccontextmanager
    async def subscribe(self, *topics: str) -> AsyncIterator[Wakeup]:
        """Calls to any of `topics` from here on end a `wait` of what this yields."""
        self._start()
        wakeup = Wakeup(lambda: self._patience if self.listening else self._poll)
        for topic in topics:
            self._subscribers.setdefault(topic, set()).add(wakeup)
        try:
            yield wakeup
        finally:
            for topic in topics:
                left = self._subscribers[topic]
                left.discard(wakeup)
                if not left:
                    del self._subscribers[topic]

    async def close(self) -> None:
        """Stop listening; a new subscription starts it again."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def _start(self) -> None:
        # The loop's end cancels the task, and so closes the connection.
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen_forever(), name="kubernaut-waker")

    def _call(self, topic: str) -> None:
        for wakeup in self._subscribers.get(topic, ()):
            wakeup.set()

    def _call_all(self) -> None:
        for topic in self._subscribers:
            self._call(topic)

    async def _listen_forever(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                connection = await self._connect()
            except Exception as error:  # whatever it is, whoever waits must not depend on it
                log.warning("waiting code polls every %.1f s instead of being woken: %s", self._poll, error)
            else:
                pause = FIRST_PAUSE
                await self._listen(connection)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _listen(self, connection: Any) -> None:
        """Returns when the connection is lost."""
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _connection: lost.set())
        try:
            await connection.add_listener(CHANNEL, lambda _connection, _pid, _channel, topic: self._call(topic))
            self._listens.set()
            self._call_all()  # what was called before LISTEN was not heard
            while not lost.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PROBE_SECONDS):
                        await lost.wait()
                if not lost.is_set():
                    await connection.execute("SELECT 1", timeout=5)
        except Exception as error:
            log.warning("the connection that listens for wake-up calls broke: %s", type(error).__name__)
        finally:
            self._listens.clear()
            self._call_all()  # whoever waits patiently must poll from now on
            connection.terminate()


_wakers: WeakKeyDictionary[asyncio.AbstractEventLoop, Waker] = WeakKeyDictionary()


def waker() -> Waker:
    """The waker of the running loop. Raises `ConfigurationError` where no store is configured."""
    loop = asyncio.get_running_loop()
    if loop not in _wakers:
        for old in [each for each in _wakers if each.is_closed()]:
            del _wakers[old]
        url, settings = store_url(), get_settings()
        _wakers[loop] = Waker(
            lambda: connect_async(url), poll=settings.poll_interval, patience=settings.reconcile_interval
        )
    return _wakers[loop]


class SyncListener:
    """LISTEN for one thread: `while not listener.closed: look(); listener.wait(interval)`.

    `wait` is for the thread that owns it, `wake` and `close` for any other. It never raises for a store that is away:
    `wait` then returns when the time is up, and connects again in between.

    :param topics: what to be woken for; all topics unless given
    """

    def __init__(self, *topics: str) -> None:
        self._topics = frozenset(topics)
        self._connection: psycopg.Connection[Any] | None = None
        self._pause = FIRST_PAUSE
        self._retry_at = 0.0
        self._closed = threading.Event()
        self._inbox, self._outbox = socket.socketpair()
        self._inbox.setblocking(False)
        self._outbox.setblocking(False)

    @property
    def closed(self) -> bool:
        return self._closed.is_set()

    @property
    def listening(self) -> bool:
        return self._connection is not None

    def wait(self, timeout: float) -> frozenset[str]:
        """The topics that were called, at the latest after `timeout` seconds (none); `EVERYTHING` after connecting.

        Returns at once, with none, when it was woken locally or is closed.
        """
        end = time.monotonic() + timeout
        while not self.closed:
            if self._connection is None and time.monotonic() >= self._retry_at and self._open():
                return frozenset({EVERYTHING})
            remaining = end - time.monotonic()
            if self._connection is None:
                remaining = min(remaining, self._retry_at - time.monotonic())
            if self._ready(max(0.0, remaining)):
                break
            heard = self._heard()
            if heard or time.monotonic() >= end:
                return heard
        if self.closed:
            self._drop()
        return frozenset()

    def wake(self) -> None:
        """End the current (or next) wait. From any thread, and from signal handlers."""
        with contextlib.suppress(OSError):  # full: it is awake already; closed: nobody waits
            self._outbox.send(b"\0")

    def close(self) -> None:
        """End the current wait and every later one. The connection closes with it, or here where nobody waits."""
        self._closed.set()
        self.wake()

    def __enter__(self) -> SyncListener:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
        self._drop()
        self._inbox.close()
        self._outbox.close()

    def _open(self) -> bool:
        try:
            connection = connect(store_url(), autocommit=True)
            connection.execute(f"LISTEN {CHANNEL}")
        except (ConfigurationError, psycopg.Error) as error:
            log.warning("no wake-up calls from the store, looking by the clock instead: %s", error)
            self._retry_at = time.monotonic() + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
            return False
        self._connection = connection
        self._pause = FIRST_PAUSE
        return True

    def _ready(self, seconds: float) -> bool:
        """Wait for the socket, a wake or the time. True when it was a wake."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._inbox, selectors.EVENT_READ)
            if self._connection is not None:
                selector.register(self._connection.fileno(), selectors.EVENT_READ)
            ready = {key.fileobj for key, _ in selector.select(seconds)}
        if self._inbox not in ready:
            return False
        with contextlib.suppress(BlockingIOError):
            while self._inbox.recv(4_096):
                pass
        return True

    def _heard(self) -> frozenset[str]:
        if self._connection is None:
            return frozenset()
        try:
            topics = {call.payload for call in self._connection.notifies(timeout=0)}
        except psycopg.Error as error:
            log.warning("the connection that listens for wake-up calls broke: %s", type(error).__name__)
            self._drop()
            return frozenset()
        return frozenset(topics & self._topics if self._topics else topics)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
