"""Evaluation of text that is not ours: in a child process with limits, behind an async interface.

The CEL library holds the GIL while it evaluates, and a hostile text can burn time and memory or crash it. So
`evaluate` sends each evaluation to one long-lived child per process and event loop, started on first use and replaced
when it was killed. The child is reached by a socket pair and reaped by hand, without asyncio's child watchers: any
loop in any thread will do, also in a process that was forked (the parent's child is never used there). One evaluation
at a time: the library would not run two.

Cancelling a caller kills the child, because an answer would be left on the wire; the next evaluation starts another.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubernaut.expressions.engine import Refusal, conclude, prepare
from kubernaut.expressions.terms import (
    DEFAULT_LIMITS,
    Context,
    Evaluation,
    EvaluationCode,
    EvaluationError,
    Limits,
    ResultType,
    Scope,
)

_START_TIMEOUT = 30.0  # seconds until a child must be ready; 0.2 on an idle machine
_LARGEST_FRAME = 64 * 1024 * 1024
_PROGRAM = "import sys; sys.path.extend(sys.argv[1:]); from kubernaut.expressions.child import main; main()"


class _ChildDied(Exception):
    """The child ended before it answered."""


async def evaluate(
    text: str, context: Context, *, scope: Scope, wants: ResultType, limits: Limits = DEFAULT_LIMITS
) -> Evaluation:
    """Evaluate a text that nobody vouches for. Never raises for what text or data do: see `Evaluation.error`."""
    began = time.perf_counter()
    try:
        request = prepare(text, context, scope=scope, wants=wants, limits=limits)
    except Refusal as refusal:
        return conclude(text, refusal.error, began, {})
    answer = await current().ask(request.encoded, limits)
    return conclude(text, answer, began, request.inputs)


class Sandbox:
    """One child process and the loop that talks to it, and only that loop. Use `current()`."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        # Not a stream or transport of asyncio: those stay registered with the loop's selector, which a forked process
        # shares, and their end there would deafen this one.
        self._socket: socket.socket | None = None
        self._ended: list[subprocess.Popen[bytes]] = []

    @property
    def child(self) -> int | None:
        """The child's process id, if one is running."""
        return self._process.pid if self._process and self._process.poll() is None else None

    async def ask(self, encoded: bytes, limits: Limits) -> Mapping[str, Any] | EvaluationError:
        """Send one request and wait for its answer. A child that dies is replaced, and the request tried again."""
        async with self._turn:
            for _ in range(2):
                try:
                    return await self._ask_once(encoded, limits)
                except TimeoutError:
                    self.kill()
                    message = f"The evaluation took longer than {limits.timeout:g} s and was stopped."
                    return EvaluationError(EvaluationCode.TIMEOUT, message)
                except _ChildDied as death:
                    self.kill()
                    reason = str(death)
                except Refusal as refusal:
                    self.kill()
                    return refusal.error
                except BaseException:
                    self.kill()
                    raise
            message = f"The process that evaluates ended twice ({reason}): time, memory or a crash."
            return EvaluationError(EvaluationCode.LIMIT, message)

    async def _ask_once(self, encoded: bytes, limits: Limits) -> Mapping[str, Any]:
        if self.child is None:
            await self._start()
        async with asyncio.timeout(limits.timeout):
            return await self._exchange(encoded)

    async def _start(self) -> None:
        self.kill()
        await asyncio.to_thread(self._reap)
        ours, theirs = socket.socketpair()
        try:
            self._process = spawn(theirs)
        except OSError as error:
            ours.close()
            message = f"The process that evaluates expressions cannot be started: {error}."
            raise Refusal(EvaluationCode.UNAVAILABLE, message) from error
        finally:
            theirs.close()
        ours.setblocking(False)
        self._socket = ours
        try:
            async with asyncio.timeout(_START_TIMEOUT):
                answer = await self._receive()
        except (_ChildDied, TimeoutError) as error:
            message = f"The process that evaluates expressions did not start: {error or 'too slow'}."
            raise Refusal(EvaluationCode.UNAVAILABLE, message) from error
        if "ready" not in answer:
            message = f"The process that evaluates expressions did not start: {answer.get('failed')}."
            raise Refusal(EvaluationCode.UNAVAILABLE, message)

    async def _exchange(self, encoded: bytes) -> Mapping[str, Any]:
        assert self._socket is not None
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, len(encoded).to_bytes(4, "big") + encoded)
        except OSError as error:
            raise _ChildDied(await self._cause()) from error
        return await self._receive()

    async def _receive(self) -> Mapping[str, Any]:
        try:
            data = await self._read(bytearray(), 4)
            size = int.from_bytes(data[:4], "big")
            if size > _LARGEST_FRAME:
                raise _ChildDied(f"its answer claims {size} bytes")
            answer = json.loads(bytes(await self._read(data, 4 + size))[4:])
        except (OSError, ValueError) as error:
            raise _ChildDied(await self._cause()) from error
        if not isinstance(answer, dict):
            raise _ChildDied("its answer is no JSON object")
        return answer

    async def _read(self, data: bytearray, until: int) -> bytearray:
        assert self._socket is not None
        while len(data) < until:
            chunk = await asyncio.get_running_loop().sock_recv(self._socket, 65536)
            if not chunk:
                raise _ChildDied(await self._cause())
            data += chunk
        return data

    async def _cause(self) -> str:
        """Why the child ended. Its socket closes a moment before the kernel says why, so wait that moment."""
        if self._process is None:
            return "not started"
        try:
            code = await asyncio.to_thread(self._process.wait, 0.5)
        except subprocess.TimeoutExpired:
            return "connection lost"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        """End the child now, if there is one. Its entry in the process table is cleared at the next start or close."""
        if self._process is not None:
            self._process.kill()
            self._ended.append(self._process)
        self._let_go()

    def forget(self) -> None:
        """Let go without ending the child: in a forked process it belongs to somebody else."""
        if self._process is not None:
            self._process.returncode = 0  # or Popen would complain that a process that is not ours still runs
        self._let_go()

    def _let_go(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._process = self._socket = None

    def end(self) -> None:
        """End the child and wait until it is gone; for a loop that is closed, where nothing can be awaited."""
        self.kill()
        self._reap()

    def _reap(self) -> None:
        for process in self._ended:
            process.wait()
        self._ended.clear()

    async def close(self) -> None:
        """End the child and wait until it is gone."""
        async with self._turn:
            self.kill()
            await asyncio.to_thread(self._reap)


_sandboxes: dict[asyncio.AbstractEventLoop, Sandbox] = {}
_owner = os.getpid()


def current() -> Sandbox:
    """The sandbox of the running loop in this process; made on first use."""
    global _owner
    if _owner != os.getpid():
        for inherited in _sandboxes.values():
            inherited.forget()
        _sandboxes.clear()
        _owner = os.getpid()
    loop = asyncio.get_running_loop()
    if loop not in _sandboxes:
        for closed in [known for known in _sandboxes if known.is_closed()]:
            _sandboxes.pop(closed).end()
        _sandboxes[loop] = Sandbox()
    return _sandboxes[loop]


async def close() -> None:
    """End the child of the running loop; for an orderly shutdown (without it, the child ends with its parent)."""
    sandbox = _sandboxes.pop(asyncio.get_running_loop(), None)
    if sandbox is not None and _owner == os.getpid():
        await sandbox.close()


def spawn(stdin: socket.socket) -> subprocess.Popen[bytes]:
    """Start a child whose standard input is `stdin`, one end of a socket pair; the caller closes its copy."""
    # -I: no environment, no current directory, no user's site-packages decide what is imported; only the two places
    # from which this process itself imports, after the interpreter's own.
    keep = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _PROGRAM, *_import_roots()],
        stdin=stdin.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=keep,
        cwd="/",
        close_fds=True,
        start_new_session=True,
    )


def _import_roots() -> list[str]:
    roots = [str(Path(__file__).resolve().parents[2])]
    spec = importlib.util.find_spec("cel_expr_python")
    if spec is not None and spec.submodule_search_locations:
        roots.append(str(Path(next(iter(spec.submodule_search_locations))).parent))
    return roots
