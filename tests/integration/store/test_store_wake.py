"""Wake-up calls on a real PostgreSQL: with the commit, never before it, and again after the connection broke."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator

import psycopg
import pytest

from kubernaut.execution.phases import Phase
from kubernaut.store import engine, halts, wake
from tests.integration.store.store_rows import ALICE, move


@pytest.fixture
async def waker(store: str) -> AsyncIterator[wake.Waker]:
    made = wake.waker()
    assert await made.ready()
    yield made
    await made.close()
    await engine.dispose_async()


@pytest.fixture
def listener(store: str) -> Iterator[wake.SyncListener]:
    with wake.SyncListener() as made:
        assert made.wait(5) == {wake.EVERYTHING}
        yield made


def hang_up(store: str) -> int:
    """End every connection that listens, as a restart of the server would; returns how many there were."""
    with psycopg.connect(store, autocommit=True) as admin:
        return admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND query ILIKE 'LISTEN%'"
        ).rowcount


class TestNotify:
    """Sent with the commit."""

    @pytest.mark.requirement("BR-REL-012")
    def test_a_call_arrives_after_the_commit_only(self, listener: wake.SyncListener) -> None:
        with engine.session() as session:
            wake.notify(session, wake.REGISTRAR)
            session.flush()
            assert listener.wait(0.2) == frozenset()
        assert listener.wait(5) == {wake.REGISTRAR}

    def test_a_rollback_sends_nothing(self, listener: wake.SyncListener) -> None:
        with contextlib.suppress(ZeroDivisionError), engine.session() as session:
            wake.notify(session, "rolled back")
            raise ZeroDivisionError
        with engine.session() as session:
            wake.notify(session, "afterwards")
        assert listener.wait(5) == {"afterwards"}

    def test_a_call_within_a_savepoint_leaves_with_the_outer_commit(self, listener: wake.SyncListener) -> None:
        with engine.session() as session:
            with session.begin_nested():
                wake.notify(session, "inner")
            assert listener.wait(0.2) == frozenset()
        assert listener.wait(5) == {"inner"}

    async def test_an_async_session_sends_too(self, listener: wake.SyncListener) -> None:
        async with engine.async_session() as session:
            wake.notify(session, "from async", "twice", "twice")
        await engine.dispose_async()
        assert await asyncio.to_thread(listener.wait, 5) == {"from async", "twice"}

    def test_each_change_wakes_whoever_it_concerns(
        self, listener: wake.SyncListener, queue: Callable[..., str]
    ) -> None:
        execution_id = queue()
        mine = wake.execution(execution_id)
        assert listener.wait(5) == {wake.REGISTRAR, mine}
        move(execution_id, Phase.RUNNING)
        assert listener.wait(5) == {wake.RECONCILER, mine}
        move(execution_id, Phase.COMPLETED)
        assert listener.wait(5) == {wake.REGISTRAR, wake.RECONCILER, mine}
        with engine.session() as session:
            halts.set_halt(session, cluster=None, reason="drill", actor=ALICE)
        assert listener.wait(5) == {wake.HALT}
        with engine.session() as session:
            halts.end_halt(session, cluster=None, reason=None, actor=ALICE)
        assert listener.wait(5) == {wake.HALT, wake.REGISTRAR, wake.RECONCILER}


class TestWaker:
    """The LISTEN of an event loop."""

    async def test_a_coroutine_wakes_when_its_execution_changes(
        self, waker: wake.Waker, queue: Callable[..., str]
    ) -> None:
        execution_id, other_id = await asyncio.to_thread(queue), await asyncio.to_thread(queue)
        async with waker.subscribe(wake.execution(execution_id)) as mine, waker.subscribe("halt") as other:
            await asyncio.to_thread(move, other_id, Phase.RUNNING)
            assert not await mine.wait(0.2)
            await asyncio.to_thread(move, execution_id, Phase.RUNNING)
            assert await mine.wait(5)
            assert not await other.wait(0)

    async def test_a_loop_has_one_waker_and_a_thousand_waits_one_connection(
        self, waker: wake.Waker, store: str
    ) -> None:
        assert wake.waker() is waker

        async def one() -> bool:
            async with wake.waker().subscribe("all of us") as wakeup:
                arrived.release()
                return await wakeup.wait(10)

        arrived = asyncio.Semaphore(0)
        waits = [asyncio.create_task(one()) for _ in range(1_000)]
        for _ in waits:
            await arrived.acquire()
        async with engine.async_session() as session:
            wake.notify(session, "all of us")
        assert all(await asyncio.gather(*waits))
        assert await asyncio.to_thread(hang_up, store) == 1

    async def test_it_listens_again_after_the_server_hung_up(
        self, waker: wake.Waker, store: str, queue: Callable[..., str]
    ) -> None:
        async with waker.subscribe(wake.REGISTRAR) as wakeup, asyncio.timeout(20):
            assert await asyncio.to_thread(hang_up, store) == 1
            assert await wakeup.wait(5)  # "look yourself"
            while not waker.listening:
                await wakeup.wait(0.05)
            wakeup.clear()
            await asyncio.to_thread(queue)
            assert await wakeup.wait(5)


class TestSyncListener:
    """The LISTEN of a thread."""

    def test_it_hears_its_topics_only(self, store: str) -> None:
        with wake.SyncListener(wake.REGISTRAR) as listener:
            listener.wait(5)
            with engine.session() as session:
                wake.notify(session, wake.REGISTRAR, wake.RECONCILER)
            assert listener.wait(5) == {wake.REGISTRAR}

    def test_calls_between_two_waits_are_kept(self, listener: wake.SyncListener) -> None:
        for topic in ("one", "two"):
            with engine.session() as session:
                wake.notify(session, topic)
        heard: set[str] = set()
        while heard != {"one", "two"}:
            new = listener.wait(5)
            assert new
            heard |= new

    def test_it_connects_again_and_says_look_at_everything(self, listener: wake.SyncListener, store: str) -> None:
        assert hang_up(store) == 1
        assert listener.wait(10) == {wake.EVERYTHING}
        with engine.session() as session:
            wake.notify(session, "again")
        assert listener.wait(5) == {"again"}

    def test_another_thread_ends_a_wait(self, listener: wake.SyncListener) -> None:
        heard: list[frozenset[str]] = []
        waiting = threading.Thread(target=lambda: heard.append(listener.wait(60)))
        waiting.start()
        listener.wake()
        waiting.join(5)
        assert heard == [frozenset()]
        assert not listener.closed

    def test_another_thread_closes_it_for_good(self, listener: wake.SyncListener) -> None:
        waiting = threading.Thread(target=lambda: listener.wait(60))
        waiting.start()
        listener.close()
        waiting.join(5)
        assert not waiting.is_alive()
        assert not listener.listening
        began = time.monotonic()
        assert listener.wait(60) == frozenset()
        assert time.monotonic() - began < 5

    def test_without_a_server_it_waits_by_the_clock(
        self, store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(wake, "store_url", lambda: engine.parse_url("postgresql://me:hunter2@127.0.0.1:1/none"))
        with wake.SyncListener() as listener:
            began = time.monotonic()
            assert listener.wait(0.5) == frozenset()
            assert 0.5 <= time.monotonic() - began < 5
            assert not listener.listening
            monkeypatch.undo()
            monkeypatch.setenv("KUBERNAUT_STORE_URL", store)
            assert listener.wait(15) == {wake.EVERYTHING}
        assert "looking by the clock" in caplog.text
        assert "hunter2" not in caplog.text
