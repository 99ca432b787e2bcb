"""Runs the command line in this process, and a server that answers as it is told."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kubernaut.cli.app import run
from kubernaut.settings import get_settings


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Kubernaut = Callable[..., Ended]


@pytest.fixture
def kubernaut(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Kubernaut]:
    """`kubernaut("plan", "validate", …)`: the whole command line, its exit code and what it wrote."""
    for name in ("KUBERNAUT_TOKEN", "KUBERNAUT_USER", "KUBERNAUT_PASSWORD", "KUBERNAUT_STORE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBERNAUT_CLUSTERS", '{"prod": "kubernetes_prod"}')
    get_settings.cache_clear()

    def call(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["kubernaut", *arguments])
        get_settings.cache_clear()
        code = 0
        try:
            run()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    yield call
    get_settings.cache_clear()


@dataclass
class Server:
    """Answers in the order in which they were told; remembers what was asked."""

    url: str = ""
    answers: list[tuple[int, Any]] = field(default_factory=list)
    asked: list[tuple[str, str, Any, dict[str, str]]] = field(default_factory=list)

    def will_answer(self, status: int, document: Any) -> None:
        self.answers.append((status, document))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on loopback to which the command line is pointed, with a token."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            state.asked.append((self.command, self.path, body, dict(self.headers)))
            status, document = state.answers.pop(0)
            raw = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}"
    monkeypatch.setenv("KUBERNAUT_API_URL", state.url)
    monkeypatch.setenv("KUBERNAUT_POLL_INTERVAL", "0.001")
    yield state
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.fixture
def logged_in(monkeypatch: pytest.MonkeyPatch, kubernaut: Kubernaut) -> None:
    monkeypatch.setenv("KUBERNAUT_TOKEN", "secret-token")
