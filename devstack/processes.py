"""One part of the stack seen from its owner: a command under a guard, its log file, and what to say when it fails.

Called by `postgres`, `airflow` and `stack`. It knows nothing about what the commands are. All calls block and may be
made from any thread; two threads must not drive the same part at once.
"""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

GUARD = Path(__file__).with_name("guard.py")


class StartFailed(RuntimeError):
    """A part did not come up; the text names it, its exit code, its log file and the last lines of it."""


class StopScope(Enum):
    """Who receives the stop signal: the whole process group, or the command alone, which ends its children itself."""

    GROUP = "group"
    MAIN = "main"


@dataclass(frozen=True)
class Account:
    """The user and group ids that a part runs under."""

    uid: int
    gid: int


def free_port() -> int:
    """A loopback port that is free now. Somebody may take it before we do; the part's log says so then."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, indented, for an error's text."""
    if not log.exists():
        return "  (no log was written)"
    return (
        "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-lines:])
        or "  (the log is empty)"
    )


class Part:
    """One process of the stack under its guard. Start it once; `Stack.restart` makes a new one."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: Path,
        grace: float = 10.0,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_scope: StopScope = StopScope.GROUP,
        account: Account | None = None,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.env = dict(env)
        self.cwd = cwd
        self.grace = grace
        self.stop_signal = stop_signal
        self.stop_scope = stop_scope
        self.account = account
        self.started_at = 0.0
        self._guard: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def start(self) -> None:
        """Returns when the guard runs; the command may still fail. The log is appended to, so a restart keeps it."""
        ours, theirs = socket.socketpair()
        account = self.account or Account(-1, -1)
        arguments = [
            str(int(self.stop_signal)),
            self.stop_scope.value,
            str(self.grace),
            str(account.uid),
            str(account.gid),
        ]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with theirs, self.log.open("ab") as output:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", "-S", str(GUARD), *arguments, *self.command],
                stdin=theirs.fileno(),
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,  # Ctrl-C in the terminal reaches the owner, who ends the parts in order
            )
        self._control = ours
        self.started_at = time.time()

    @property
    def exit_code(self) -> int | None:
        """None while it runs (and before it was started)."""
        return self._guard.poll() if self._guard else None

    @property
    def running(self) -> bool:
        return self._guard is not None and self._guard.poll() is None

    def check(self) -> None:
        """Raises StartFailed when the process has ended."""
        if self.exit_code is not None:
            raise StartFailed(
                f"{self.name} ended with exit code {self.exit_code} while the stack was starting.\n"
                f"Log: {self.log}\nIts last lines:\n{tail(self.log)}"
            )

    def request_stop(self) -> None:
        """Begins the stop and returns at once, so that several parts can end side by side; `stop` waits for the end."""
        if self._control is not None:
            self._control.close()
            self._control = None

    def stop(self) -> None:
        """The stop signal, after the grace period SIGKILL. Returns when nothing of the part is left."""
        self.request_stop()
        self._join()

    def kill(self) -> None:
        """SIGKILL to the process and everything below it, as a crash of the machine would."""
        self._order(b"K")
        self._join()

    def pause(self) -> None:
        """SIGSTOP to the whole tree: it hangs, keeps its connections and says nothing."""
        self._order(b"S")

    def resume(self) -> None:
        self._order(b"C")

    def _order(self, order: bytes) -> None:
        if self._control is None or not self.running:
            raise RuntimeError(f"{self.name} is not running; start or restart it first")
        self._control.sendall(order)
        self._control.settimeout(self.grace + 30)
        self._control.recv(1)

    def _join(self) -> None:
        if self._guard is None:
            return
        try:
            self._guard.wait(self.grace + 30)
        except subprocess.TimeoutExpired:  # the guard itself hangs: its death ends the command (PR_SET_PDEATHSIG)
            self._guard.kill()
            self._guard.wait()
        if self._control is not None:
            self._control.close()
            self._control = None


def run_command(command: Sequence[str], *, log: Path, env: Mapping[str, str], cwd: Path, what: str) -> None:
    """Runs a command of the start-up to its end, under a guard too. Raises StartFailed when its exit code is not 0."""
    part = Part(what, command, log=log, env=env, cwd=cwd)
    part.start()
    try:
        while part.running:
            time.sleep(0.02)
    finally:
        part.stop()
    if part.exit_code != 0:
        part.check()


def wait_for(ready: Callable[[], bool], parts: Sequence[Part], *, timeout: float, what: str, poll: float = 0.1) -> None:
    """Polls until `ready`; StartFailed as soon as one of the parts has ended, or after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not ready():
        for part in parts:
            part.check()
        if time.monotonic() > deadline:
            logs = "\n".join(f"{part.name}, {part.log}:\n{tail(part.log)}" for part in parts)
            raise StartFailed(f"{what} was not ready after {timeout:.0f} s. The last lines of the logs:\n{logs}")
        time.sleep(poll)
