"""The waker with connections that the test opens and breaks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy.orm import Session

from kubernaut.store import wake
from kubernaut.store.engine import StoreUnavailable


class Connection:
    """What the waker needs of asyncpg's."""

    def __init__(self) -> None:
        self.call: Callable[..., None] = lambda *_: None
        self.lost: Callable[..., None] = lambda *_: None
        self.terminated = False

    def add_termination_listener(self, callback: Callable[..., None]) -> None:
        self.lost = callback

    async def add_listener(self, channel: str, callback: Callable[..., None]) -> None:
        assert channel == wake.CHANNEL
        self.call = lambda topic: callback(self, 1, channel, topic)

    def terminate(self) -> None:
        self.terminated = True


class Server:
    """Connects, or not, as the test says."""

    def __init__(self) -> None:
        self.up = True
        self.connections: list[Connection] = []

    async def connect(self) -> Any:
        if not self.up:
            raise StoreUnavailable("away")
        self.connections.append(Connection())
        return self.connections[-1]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def waker(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[wake.Waker]:
    monkeypatch.setattr(wake, "FIRST_PAUSE", 0.01)
    made = wake.Waker(server.connect, poll=0.05, patience=30.0)
    yield made
    await made.close()


async def test_a_call_ends_the_wait_of_whoever_subscribed_to_its_topic(server: Server, waker: wake.Waker) -> None:
    async with waker.subscribe("execution:1", "halt") as mine, waker.subscribe("execution:2") as other:
        await waker.ready()
        mine.clear()
        other.clear()
        server.connections[0].call("execution:1")
        assert await mine.wait()
        assert not await other.wait(0)


async def test_a_call_between_two_waits_is_not_lost_and_counts_once(server: Server, waker: wake.Waker) -> None:
    async with waker.subscribe("halt") as wakeup:
        await waker.ready()
        wakeup.clear()
        server.connections[0].call("halt")
        server.connections[0].call("halt")
        assert await wakeup.wait(0.01)
        assert not await wakeup.wait(0.01)


async def test_who_subscribed_before_anybody_listened_looks_again(waker: wake.Waker) -> None:
    async with waker.subscribe("halt") as wakeup:
        assert await wakeup.wait(5)


async def test_without_a_connection_waits_end_at_the_poll_interval(server: Server, waker: wake.Waker) -> None:
    server.up = False
    async with waker.subscribe("halt") as wakeup, asyncio.timeout(2):
        assert not await wakeup.wait(60)


async def test_a_broken_connection_wakes_everybody_and_is_made_anew(server: Server, waker: wake.Waker) -> None:
    async with waker.subscribe("halt") as wakeup, asyncio.timeout(5):
        await waker.ready()
        wakeup.clear()
        server.connections[0].lost(server.connections[0])
        assert await wakeup.wait(60)
        assert server.connections[0].terminated
        assert await waker.ready()
        wakeup.clear()
        server.connections[1].call("halt")
        assert await wakeup.wait(60)


async def test_a_cancellation_that_comes_together_with_a_call_is_not_lost(server: Server, waker: wake.Waker) -> None:
    async def wait() -> None:
        async with waker.subscribe("halt") as wakeup:
            wakeup.clear()
            started.set()
            await wakeup.wait(60)

    started = asyncio.Event()
    await waker.ready()
    task = asyncio.create_task(wait())
    await started.wait()
    await asyncio.sleep(0)
    server.connections[0].call("halt")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_it_can_be_closed_at_the_moment_the_connection_breaks(server: Server, waker: wake.Waker) -> None:
    await waker.ready()
    server.connections[0].lost(server.connections[0])
    async with asyncio.timeout(2):
        await waker.close()


async def test_all_subscriptions_share_one_connection(server: Server, waker: wake.Waker) -> None:
    async with waker.subscribe("a"), waker.subscribe("b"), waker.subscribe("c"):
        await waker.ready()
        assert len(server.connections) == 1


async def test_the_end_of_a_subscription_leaves_the_others(server: Server, waker: wake.Waker) -> None:
    async with waker.subscribe("halt") as outer:
        async with waker.subscribe("halt"):
            await waker.ready()
        outer.clear()
        server.connections[0].call("halt")
        assert await outer.wait(1)


def test_notify_refuses_a_session_that_would_never_send() -> None:
    with pytest.raises(TypeError, match=r"kubernaut\.store\.engine"):
        wake.notify(Session(), "halt")
