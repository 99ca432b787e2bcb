"""The child process: it answers like this process does, is bounded, is replaced, and outlives nobody."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubernaut import expressions
from kubernaut.expressions import Context, EvaluationCode, Limits, ResultType, Scope, evaluate, evaluate_here
from kubernaut.expressions.engine import prepare
from kubernaut.expressions.sandbox import current, spawn

Build = Callable[..., Context]

SLOW = "vars.list.all(x, vars.text.matches('(a?){1000}b') || true)"  # passes every check and runs for minutes
SLOW_DATA = {"list": list(range(3000)), "text": "a" * 5000}
SHORT = Limits(timeout=0.3)
PLAN_BOOL: dict[str, Any] = {"scope": Scope.PLAN, "wants": ResultType.BOOL}

pytestmark = pytest.mark.usefixtures("sandbox")


def ended(pid: int, within: float = 20.0) -> bool:
    """Wait for the end of a process that need not be our child."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], within)[0])
    finally:
        os.close(handle)


@pytest.mark.parametrize(
    "text",
    [
        "steps.scale.outputs.replicas",
        "signal.nope",
        "now",
        "{'a': [null, 1.5, 'ä', true]}",
        "1 / 0",
        "&& true",
        "b'abc'",
        "9223372036854775807",
    ],
)
async def test_the_child_answers_as_this_process_does(context: Build, text: str) -> None:
    there = await evaluate(text, context(), scope=Scope.PLAN, wants=ResultType.ANY)
    here = evaluate_here(text, context(), scope=Scope.PLAN, wants=ResultType.ANY)
    assert (there.value, there.error, there.trace.inputs) == (here.value, here.error, here.trace.inputs)


async def test_one_child_serves_many_evaluations(context: Build) -> None:
    await evaluate("true", context(), **PLAN_BOOL)
    child = current().child
    answers = await asyncio.gather(*(evaluate(f"{n} % 2 == 0", context(), **PLAN_BOOL) for n in range(20)))
    assert [answer.value for answer in answers] == [n % 2 == 0 for n in range(20)]
    assert current().child == child


async def test_a_slow_expression_is_stopped_and_the_next_one_works(context: Build) -> None:
    over = context(variables=SLOW_DATA)
    slow, *others = await asyncio.gather(
        evaluate(SLOW, over, **PLAN_BOOL, limits=SHORT),
        *(evaluate("size(vars.list) == 3000", over, **PLAN_BOOL) for _ in range(3)),
    )
    assert slow.error is not None
    assert slow.error.code is EvaluationCode.TIMEOUT
    assert "0.3 s" in slow.error.message
    assert all(other.holds for other in others)


async def test_the_loop_goes_on_while_an_expression_is_slow(context: Build) -> None:
    await evaluate("true", context(), **PLAN_BOOL)
    slow = asyncio.create_task(evaluate(SLOW, context(variables=SLOW_DATA), **PLAN_BOOL, limits=SHORT))
    turns = 0
    while not slow.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 20


@pytest.mark.parametrize(
    "text", ["vars.list.map(x, vars.list)", "vars.list.map(x, vars.list.map(y, vars.text + vars.text))"]
)
async def test_memory_is_bounded(context: Build, text: str) -> None:
    over = context(variables=SLOW_DATA)
    limits = Limits(memory_mb=96, timeout=10)
    evaluation = await evaluate(text, over, scope=Scope.PLAN, wants=ResultType.ANY, limits=limits)
    assert evaluation.error is not None
    assert evaluation.error.code is EvaluationCode.LIMIT
    assert (await evaluate("true", over, **PLAN_BOOL)).holds


async def test_deep_data_does_not_end_the_child(context: Build) -> None:
    deep: Any = 1
    for _ in range(800):
        deep = {"a": deep}
    await evaluate("true", context(), **PLAN_BOOL)
    child = current().child
    evaluation = await evaluate("has(object.a)", context(object=deep), scope=Scope.OBJECT, wants=ResultType.BOOL)
    assert evaluation.error is not None
    assert evaluation.error.code is EvaluationCode.DATA
    assert current().child == child


async def test_a_child_that_was_killed_is_replaced(context: Build) -> None:
    await evaluate("true", context(), **PLAN_BOOL)
    child = current().child
    assert child is not None
    os.kill(child, signal.SIGKILL)
    assert (await evaluate("1 == 1", context(), **PLAN_BOOL)).holds
    assert current().child != child


async def test_a_child_that_dies_at_work_is_replaced_and_asked_again(context: Build) -> None:
    await evaluate("true", context(), **PLAN_BOOL)
    sandbox = current()
    child = sandbox.child
    assert child is not None
    os.kill(child, signal.SIGSTOP)  # it takes the request and does not answer
    task = asyncio.create_task(evaluate("1 == 1", context(), **PLAN_BOOL, limits=Limits(timeout=20)))
    await asyncio.sleep(0)
    os.kill(child, signal.SIGKILL)
    assert (await task).holds
    assert sandbox.child not in (None, child)


async def test_cancelling_a_caller_leaves_nothing_on_the_wire(context: Build) -> None:
    await evaluate("true", context(), **PLAN_BOOL)
    child = current().child
    assert child is not None
    task = asyncio.create_task(evaluate(SLOW, context(variables=SLOW_DATA), **PLAN_BOOL, limits=Limits(timeout=60)))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await evaluate("vars.whole == 2", context(), **PLAN_BOOL)).holds
    assert ended(child)


async def test_the_child_inherits_no_environment_and_no_files(context: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNAUT_TEST_PASSWORD", "hunter2")
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    inheritable = os.dup(1)
    os.set_inheritable(inheritable, True)
    try:
        await evaluate("true", context(), **PLAN_BOOL)
    finally:
        os.close(inheritable)
    proc = Path(f"/proc/{current().child}")
    assert proc.joinpath("environ").read_bytes() == b""
    assert sorted(int(entry.name) for entry in proc.joinpath("fd").iterdir()) == [0, 1, 2]


async def test_without_an_interpreter_the_answer_is_an_error(context: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    evaluation = await evaluate("true", context(), **PLAN_BOOL)
    assert evaluation.error is not None
    assert evaluation.error.code is EvaluationCode.UNAVAILABLE
    assert not evaluation.holds


def test_it_works_in_a_loop_of_another_thread_and_in_loops_that_follow_each_other(context: Build) -> None:
    answers: list[tuple[bool, int | None]] = []

    async def once() -> None:
        evaluation = await evaluate("vars.whole == 2", context(), **PLAN_BOOL)
        answers.append((evaluation.holds, current().child))

    def thread() -> None:
        asyncio.run(once())
        asyncio.run(once())
        asyncio.run(expressions.close())

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join(timeout=60)
    assert [holds for holds, _ in answers] == [True, True]
    first, second = (child for _, child in answers)
    assert first != second
    assert first is not None
    assert ended(first)  # the child of the closed loop went when the next loop asked for one


def test_a_child_that_nobody_watches_ends_by_itself(context: Build) -> None:
    """The kernel counts its processor time: 0.1 s allowed here, and a second or two of grace."""
    request = prepare(SLOW, context(variables=SLOW_DATA), **PLAN_BOOL, limits=Limits(timeout=0.1))
    ours, theirs = socket.socketpair()
    process = spawn(theirs)
    theirs.close()
    with ours:
        ours.sendall(len(request.encoded).to_bytes(4, "big") + request.encoded)
        assert process.wait(timeout=60) == -signal.SIGXCPU


SCRIPT_HEAD = """
import asyncio, json, os, signal, sys
from datetime import UTC, datetime
from kubernaut.expressions import Context, ResultType, Scope, evaluate
from kubernaut.expressions.sandbox import current
CONTEXT = Context(signal={}, target={}, variables={}, steps={}, now=datetime(2026, 1, 1, tzinfo=UTC))
async def once():
    evaluation = await evaluate("1 == 1", CONTEXT, scope=Scope.PLAN, wants=ResultType.BOOL)
    return evaluation.holds, current().child
"""


def run_script(body: str) -> tuple[int, Any]:
    script = SCRIPT_HEAD + textwrap.dedent(body)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_the_child_ends_when_its_parent_is_killed() -> None:
    code, child = run_script("""
        async def main():
            _, child = await once()
            print(json.dumps(child), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(main())
    """)
    assert code == -signal.SIGKILL
    assert ended(child)


def test_a_forked_process_has_a_child_of_its_own() -> None:
    code, answers = run_script("""
        loop = asyncio.new_event_loop()
        before = loop.run_until_complete(once())
        read, write = os.pipe()
        if os.fork() == 0:
            answer = asyncio.new_event_loop().run_until_complete(once())
            os.write(write, json.dumps(answer).encode())
            os._exit(0)
        os.wait()
        after = loop.run_until_complete(once())
        print(json.dumps([before, json.loads(os.read(read, 100)), after]), flush=True)
    """)
    (_, ours), (_, forked), (_, still) = answers
    assert code == 0
    assert all(holds for holds, _ in answers)
    assert still == ours != forked


def test_importing_is_cheap() -> None:
    """Neither the library nor asyncio is loaded until a text is looked at: the command line starts without them."""
    script = "import json, sys, kubernaut.expressions; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(done.stdout))
    assert "kubernaut.expressions.checking" in loaded
    assert not loaded & {"cel_expr_python.cel", "google.protobuf", "asyncio", "pydantic", "airflow"}
