"""The child process: answers requests for evaluations on one socket until its parent is gone.

Started by `sandbox` and by nothing else. Holds no secret: its environment is empty and it inherits one descriptor,
the socket, as standard input. Frames are a length (4 bytes, big-endian) and JSON. Before each evaluation it sets its
own limits, so that the kernel ends it (SIGXCPU, or a failed allocation) even when nobody watches.
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import sys
from typing import Any

from kubernaut.expressions.engine import TOO_DEEP, run
from kubernaut.expressions.library import load
from kubernaut.expressions.terms import EvaluationCode

_SOCKET = 0
_ORPHAN_CHECK = 5.0  # seconds; a fork of the parent can hold the socket open after the parent's death


class _Gone(Exception):
    """The parent has closed the socket, or has died."""


def main() -> None:
    parent = os.getppid()
    sys.setrecursionlimit(2000)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        load()
    except Exception as error:
        _send({"failed": f"{type(error).__name__}: {error}"})
        return
    _send({"ready": True})
    try:
        while True:
            _answer(_receive(parent), parent)
    except (_Gone, OSError):
        return


def _answer(frame: bytes, parent: int) -> None:
    try:
        body = json.loads(frame)
    except RecursionError:
        _send({"code": EvaluationCode.DATA.value, "message": TOO_DEEP})
        return
    _limit(body["limits"])
    try:
        _send(run(body))
    except MemoryError:
        _send({"code": EvaluationCode.LIMIT.value, "message": "The memory for one evaluation is used up."})


def _limit(limits: dict[str, Any]) -> None:
    memory = limits["memory_mb"] * 1024 * 1024
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(used.ru_utime + used.ru_stime + limits["timeout"]) + 1
    resource.setrlimit(resource.RLIMIT_AS, (memory, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def _receive(parent: int) -> bytes:
    size = int.from_bytes(_read(4, parent), "big")
    return _read(size, parent)


def _read(size: int, parent: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        ready, _, _ = select.select([_SOCKET], [], [], _ORPHAN_CHECK)
        if os.getppid() != parent:
            raise _Gone
        if not ready:
            continue
        chunk = os.read(_SOCKET, min(size - len(data), 1 << 20))
        if not chunk:
            raise _Gone
        data += chunk
    return bytes(data)


def _send(answer: dict[str, Any]) -> None:
    payload = json.dumps(answer).encode()
    frame = memoryview(len(payload).to_bytes(4, "big") + payload)
    while frame:
        frame = frame[os.write(_SOCKET, frame) :]
