"""`make demo` as a person and a script start it: a process of its own with a whole stack, against the practice cluster.

Each start takes seconds, so each test asks for everything that its one start can show.
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack.airflow import REPOSITORY
from devstack.demo.story import STORED_ANSWER

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

DEMO = [sys.executable, "-m", "devstack.demo"]
LIMIT = 170.0
"""Seconds: the demo must be over in three minutes with its set-up, which takes some."""
_STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def processes_of(home: Path) -> list[str]:
    """Command lines of all living processes that know `home`, by their command, environment or working folder."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            command = (folder / "cmdline").read_bytes()
            about = command + (folder / "environ").read_bytes() + os.fsencode((folder / "cwd").readlink())
        except OSError:
            continue  # it has ended, or is a zombie
        if str(home).encode() in about:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def start(home: Path, *options: str, stdout: int = subprocess.PIPE, **more: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*DEMO, "--home", str(home), *options], cwd=REPOSITORY, stdout=stdout, **more)


def through_a_pipe(home: Path, *options: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a demo whose stdout is no terminal."""
    process = start(home, *options, stderr=subprocess.PIPE)
    try:
        out, err = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    return process.returncode, out.decode(), err.decode()


@dataclass
class Terminal:
    """A demo on a terminal of its own."""

    process: subprocess.Popen[bytes]
    screen: int
    raw: str = ""

    @property
    def text(self) -> str:
        """What was written so far, without colours and movements of the cursor."""
        lines = _STYLES.sub("", self.raw).replace("\r", "").split("\n")
        return "\n".join(line.rstrip() for line in lines)

    def read_until(self, wanted: str, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while wanted not in self.text:
            assert time.monotonic() < deadline, f"{wanted!r} was not written; so far:\n{self.text}"
            assert self._read(), f"the demo ended before it wrote {wanted!r}:\n{self.text}"

    def read_to_end(self, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while self._read() and time.monotonic() < deadline:
            pass
        return self.process.wait(timeout=max(0.1, deadline - time.monotonic()))

    def press_ctrl_c(self) -> None:
        os.write(self.screen, b"\x03")

    def _read(self) -> bool:
        """Waits a moment for more; False at the end."""
        if not select.select([self.screen], [], [], 0.2)[0]:
            return True
        try:
            chunk = os.read(self.screen, 65536)
        except OSError:  # the other side is closed: all its processes have ended
            return False
        self.raw += chunk.decode(errors="replace")
        return bool(chunk)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """The demo's folder. After the test nothing may run in it, even where the test killed the demo."""
    yield tmp_path / "demo"
    deadline = time.monotonic() + 30
    while processes_of(tmp_path / "demo") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(tmp_path / "demo") == []


@pytest.fixture
def terminal(home: Path) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (60, 250))  # wide, so that no line is broken
    env = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = start(
        home, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=_own_terminal
    )
    os.close(theirs)
    yield Terminal(process, ours)
    process.kill()
    process.wait()
    os.close(ours)


def _own_terminal() -> None:
    """Makes stdin the controlling terminal, so that Ctrl-C written to it is one."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def answer_with(tmp_path: Path, primary: Mapping[str, Any]) -> Path:
    """The stored answer with another repair; it soon stops hoping."""
    answer = json.loads(STORED_ANSWER.read_text())
    answer["primary_action"] = {"execution_order": 1, "urgency": "immediate", "timeout": "5s", **primary}
    answer["secondary_actions"] = [one for one in answer["secondary_actions"] if one["condition"] != "if_primary_fails"]
    answer["monitoring"]["monitoring_duration"] = "4s"
    file = tmp_path / "answer.json"
    file.write_text(json.dumps(answer))
    return file


def section(text: str, title: str) -> str:
    """The lines of the summary below a title, up to the next one."""
    summary = text.split("5  Summary", 1)[1]
    below = summary.split(f"   {title}\n", 1)[1]
    return re.split(r"\n   \S", below, maxsplit=1)[0]


def test_the_demo_repairs_and_stays_up_until_ctrl_c(terminal: Terminal, home: Path) -> None:
    """On a terminal: the repair, the proof, the undo's fields, a login that works, and nothing left after Ctrl-C."""
    terminal.read_until("Ctrl-C stops everything.", LIMIT)
    text = terminal.text
    assert "Deployment demo-checkout/worker is healthy again" in text
    assert "CrashLoopBackOff" in section(text, "What was wrong")
    assert "template of revision 3 → that of revision 2" in section(text, "What was done")
    assert "holds  rollout_complete" in section(text, "Proof")
    assert '/containers/0/command: (not set)  →  ["demo-http-server"' in section(text, "What an undo would restore")
    assert "THE REPAIR" in section(text, "Time")
    _log_in_as_told(text)
    # the folder belongs to this one
    code, _, err = through_a_pipe(home)
    assert code == 3
    assert "Another stack runs in" in err
    terminal.press_ctrl_c()
    assert terminal.read_to_end(60) == 0
    assert processes_of(home) == []
    assert {file.name for file in (home / "logs").iterdir()} >= {
        *("api-server.log", "scheduler.log", "dag-processor.log", "triggerer.log", "postgres.log"),
        *("demo.log", "card.txt", "summary.txt", "execution.json", "practice-cluster.requests.jsonl"),
    }


def _log_in_as_told(text: str) -> None:
    """The printed login opens the printed run."""
    url = httpx.URL(re.search(r"The run in Airflow: (\S+)", text)[1])  # type: ignore[index]
    user, password = re.search(r"Login: (\S+), password (\S+)", text).groups()  # type: ignore[union-attr]
    with httpx.Client(base_url=f"{url.scheme}://{url.netloc.decode()}", trust_env=False, timeout=30) as client:
        assert client.get(url.path).status_code == 200
        token = client.post("/auth/token", json={"username": user, "password": password}).json()["access_token"]
        _, dag_id, _, run_id = url.path.strip("/").split("/")
        run = client.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", headers={"Authorization": f"Bearer {token}"}).json()
    assert run["state"] == "success"


@pytest.mark.parametrize(
    "primary",
    [
        pytest.param({"action": "noop", "parameters": {}}, id="noop"),
        pytest.param(
            {
                "action": "rollback_deployment",
                "parameters": {"deployment": "worker", "namespace": "demo-checkout", "revision": 3},
            },
            id="wrong revision",
        ),
    ],
)
def test_a_repair_that_does_not_help_ends_with_exit_code_1_and_says_what_is_still_broken(
    home: Path, tmp_path: Path, primary: Mapping[str, Any]
) -> None:
    """Through a pipe, where it stops by itself: with its repair replaced by noop, and with the revision that crashes."""
    code, text, err = through_a_pipe(home, "--answer", str(answer_with(tmp_path, primary)))
    assert code == 1, text + err
    broken = section(text, "No proof: what is still broken").split("Still broken:")[1]
    assert "is in CrashLoopBackOff" in broken
    assert "Deployment demo-checkout/worker is still broken." in text
    assert "\x1b" not in text
    assert processes_of(home) == []


def test_ctrl_c_during_the_start_leaves_nothing_behind(home: Path) -> None:
    process = start(home, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        for line in process.stdout:  # PostgreSQL is there, Airflow is starting
            if b"postgres ready" in line:
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    assert process.returncode == 130
    assert b"Every process has ended. Logs: " in out
    assert b"stopped by Ctrl-C" in err
    assert b"Traceback" not in err
    assert processes_of(home) == []
