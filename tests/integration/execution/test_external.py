"""Calling a receiver outside the cluster: at most once, with its key, and never an address that no plan may call."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import update

from kubernaut.execution.environment import Environment, TaskResult
from kubernaut.execution.step_runner import run_step
from kubernaut.settings import get_settings
from kubernaut.store.engine import session
from kubernaut.store.tables import JournalRow, JournalStatus, StepRow
from tests.integration.execution.conftest import World


@dataclass
class Receiver:
    """A webhook in the test's own loop: answers with what it is told, the last answer again and again."""

    answers: list[Any]
    calls: list[tuple[dict[str, str], Any]] = field(default_factory=list)
    port: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.calls.append((dict(request.headers), await request.json()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "close":
            assert request.transport is not None
            request.transport.abort()
        if answer == "hang":
            await asyncio.sleep(30)
        headers = {"Retry-After": "0"} if answer == 429 else {"Location": "/elsewhere"} if answer == 302 else {}
        return web.Response(status=answer if isinstance(answer, int) else 200, headers=headers)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.01)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        try:
            yield
        finally:
            await runner.cleanup()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(autouse=True)
def _listed(world: World, free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The site lists this machine and two names."""
    monkeypatch.setenv("KUBERNAUT_WEBHOOK_HOSTS", f'["127.0.0.1:{free_port}", "hooks.example", "rebound.example"]')
    get_settings.cache_clear()


def notifying(world: World, url: str, **binding: Any) -> str:
    params = {"channel": "webhook", "url": url, "message": "the worker crashes; {{ nothing }} is rendered"}
    return world.execution(("notify", {"params": params, **binding}))


def act_with(world: World, execution: str, receiver: Receiver, **settings: Any) -> TaskResult:
    async def scenario(env: Environment) -> TaskResult:
        async with receiver.serving():
            return await run_step(env, world.run_ref(execution), "s01", world.lines.append)

    return world.run(scenario, **settings)


def status_of(world: World, execution: str) -> JournalStatus:
    (row,) = world.journal(execution)
    return row.status


def test_a_webhook_is_called_once_with_its_key(world: World, free_port: int) -> None:
    """The message arrives as it is, with the tracking id and the journal's key; a second run calls nobody."""
    execution = notifying(world, f"http://127.0.0.1:{free_port}/hook")
    receiver = Receiver([200], port=free_port)

    results = [act_with(world, execution, receiver) for _ in range(2)]

    assert [result.state for result in results] == ["success", "success"]
    ((headers, body),) = receiver.calls
    (row,) = world.journal(execution)
    assert headers["Idempotency-Key"] == row.idempotency_key == f"{execution}/s01/1/1"
    assert (body["text"], body["tracking_id"]) == ("the worker crashes; {{ nothing }} is rendered", "track-1")
    assert (row.status, row.response_status) == (JournalStatus.APPLIED, 200)


def test_a_process_that_died_while_it_called_leaves_a_doubt_and_no_second_call(world: World, free_port: int) -> None:
    execution = notifying(world, f"http://127.0.0.1:{free_port}/hook")
    receiver = Receiver([200], port=free_port)
    act_with(world, execution, receiver)
    with session() as store:
        store.execute(update(StepRow).where(StepRow.execution_id == execution).values(state="running", ended_at=None))
        store.execute(
            update(JournalRow)
            .where(JournalRow.execution_id == execution)
            .values(status=JournalStatus.SENT, sent_at=datetime.now(UTC), done_at=None)
        )

    act_with(world, execution, receiver)

    assert len(receiver.calls) == 1
    assert (world.step(execution).state, status_of(world, execution)) == ("unknown", JournalStatus.UNKNOWN)


@pytest.mark.parametrize("answer", [500, 503, "close", "hang"], ids=str)
def test_an_answer_that_does_not_say_whether_it_arrived_is_a_doubt_and_not_repeated(
    world: World, free_port: int, answer: Any
) -> None:
    execution = notifying(world, f"http://127.0.0.1:{free_port}/hook")
    receiver = Receiver([answer], port=free_port)

    act_with(world, execution, receiver, external_timeout=0.4)

    assert len(receiver.calls) == 1
    assert (world.step(execution).state, status_of(world, execution)) == ("unknown", JournalStatus.UNKNOWN)


def test_a_receiver_that_asks_to_wait_is_called_again(world: World, free_port: int) -> None:
    """429 says that nothing was done: the next try is no repetition."""
    execution = notifying(world, f"http://127.0.0.1:{free_port}/hook")
    receiver = Receiver([429, 200], port=free_port)

    assert act_with(world, execution, receiver).state == "success"

    assert len(receiver.calls) == 2
    assert (world.step(execution).tries, status_of(world, execution)) == (2, JournalStatus.APPLIED)


def test_a_receiver_that_was_not_reached_is_called_again(world: World, free_port: int) -> None:
    """Nobody listens at the first try: it is certain that nothing arrived."""
    execution = notifying(world, f"http://127.0.0.1:{free_port}/hook")
    receiver = Receiver([200], port=free_port)

    async def scenario(env: Environment) -> TaskResult:
        lines: list[str] = []
        told = asyncio.Event()

        def log(line: str) -> None:
            lines.append(line)
            if "next try in" in line:
                told.set()

        step = asyncio.ensure_future(run_step(env, world.run_ref(execution), "s01", log))
        await told.wait()
        async with receiver.serving():
            return await step

    assert world.run(scenario).state == "success"
    assert len(receiver.calls) == 1
    assert world.step(execution).tries >= 2


@pytest.mark.parametrize("answer", [302, 404])
def test_a_refusal_or_a_redirect_fails_the_step_and_is_not_followed(world: World, free_port: int, answer: int) -> None:
    execution = notifying(world, f"http://127.0.0.1:{free_port}/hook")
    receiver = Receiver([answer], port=free_port)

    assert act_with(world, execution, receiver).state == "failed"

    assert len(receiver.calls) == 1
    assert f"HTTP {answer}" in str(world.step(execution).message)
    assert status_of(world, execution) is JournalStatus.REFUSED


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://metadata.google.internal/",
        "http://127.0.0.1:1/hook",
        "http://nobody.example/hook",
        "file:///etc/passwd",
        "http://user:secret@hooks.example/",
    ],
)
def test_an_address_that_the_site_has_not_listed_is_not_called(world: World, url: str) -> None:
    """Refused with the parameters, before the journal has a row."""
    execution = notifying(world, url)

    assert world.act(execution).state == "failed"
    assert (world.step(execution).error_class, world.step(execution).tries) == ("validation", 1)
    assert world.journal(execution) == []


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "0.0.0.0", "224.0.0.1"])
def test_a_listed_name_that_resolves_to_a_forbidden_address_is_not_called(
    world: World, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """The name was fine when the plan was validated; what it resolves to is judged where the call is made, and is final."""
    resolve_as(monkeypatch, "rebound.example", address)
    execution = notifying(world, "http://rebound.example/hook")

    assert world.act(execution).state == "failed"

    row = world.step(execution)
    assert (row.error_class, row.tries) == ("authorization", 1)
    assert "which no plan may call" in str(row.message)
    assert status_of(world, execution) is JournalStatus.REFUSED


def test_a_name_is_resolved_once_and_the_checked_address_is_the_one_that_is_called(
    world: World, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second answer of the DNS would be another address: it is never asked for."""
    asked = resolve_as(monkeypatch, "hooks.example", "127.0.0.1", "169.254.169.254")
    execution = notifying(world, f"http://hooks.example:{free_port}/hook")
    receiver = Receiver([200], port=free_port)

    assert act_with(world, execution, receiver).state == "success"

    assert (len(receiver.calls), len(asked)) == (1, 1)
    assert receiver.calls[0][0]["Host"] == f"hooks.example:{free_port}"


def resolve_as(monkeypatch: pytest.MonkeyPatch, name: str, *addresses: str) -> list[str]:
    """Answers of the DNS for one name, one after the other; returns the list of what was asked."""
    asked: list[str] = []
    real = asyncio.BaseEventLoop.getaddrinfo

    async def getaddrinfo(loop: Any, host: Any, port: Any, **options: Any) -> Any:
        if host != name:
            return await real(loop, host, port, **options)
        address = addresses[min(len(asked), len(addresses) - 1)]
        asked.append(address)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked
