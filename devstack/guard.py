"""Runs one command and makes sure that nothing of it is left, however the owner of this process ends.

Started by `processes.Part` as ``python -I -S guard.py SIGNAL SCOPE GRACE UID GID COMMAND…``; stdin is one end of a
socket pair to the owner. A process of its own, and not a `preexec_fn` with `PR_SET_PDEATHSIG`, for three reasons:
that signal is sent when the *thread* that forked ends, it reaches no grandchildren (server workers, executor workers,
trigger runners), and an owner that dies by SIGKILL cannot tidy up. The end of the socket can be noticed in every one
of these cases.

Protocol, one byte each way: the owner sends `T` (stop: signal, grace, then SIGKILL to the whole tree), `K` (SIGKILL
to the whole tree at once), `S` and `C` (SIGSTOP, SIGCONT to the whole tree); each is answered by `.` when it is done.
End of file means `T`. The exit status is the command's, 128 + n when signal n ended it.

Only the standard library, and nothing that is slow to import: five of these start with each stack.
"""

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def prctl(option: int, value: int) -> None:
    """Best effort: only Linux has it; elsewhere process groups and the socket do the work."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def process_table() -> dict[int, int]:
    """pid → parent pid, zombies left out."""
    table: dict[int, int] = {}
    if not os.path.isdir("/proc/self"):
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,state="], capture_output=True, text=True, check=False)
        for line in listing.stdout.splitlines():
            pid, parent, state = line.split()
            if not state.startswith("Z"):
                table[int(pid)] = int(parent)
        return table
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    status, above = file.read().rpartition(b")")[2].split()[:2]
            except OSError:
                continue  # it ended while we looked
            if status != b"Z":
                table[int(name)] = int(above)
    return table


def descendants() -> list[int]:
    """Every living process below this one, parents first."""
    table = process_table()
    found = [os.getpid()]
    for pid in found:
        found.extend(child for child, parent in table.items() if parent == pid)
    return found[1:]


def send(pids: list[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


class Guard:
    """The command, its group and its tree; `status` is set when the command itself has ended."""

    def __init__(self, command: list[str], stop_signal: int, scope: str, grace: float, uid: int, gid: int) -> None:
        self.stop_signal = stop_signal
        self.scope = scope
        self.grace = grace
        self.status: int | None = None
        self.owner = os.getppid()
        self.control = socket.socket(fileno=0)
        self.pid = os.fork()
        if self.pid == 0:
            self._become(command, uid, gid)

    def _become(self, command: list[str], uid: int, gid: int) -> None:
        """The child: never returns."""
        try:
            os.setsid()
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            if uid >= 0:
                os.setgroups([])
                os.setgid(gid)
                os.setuid(uid)
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # after setuid, which clears it
            os.execvp(command[0], command)
        except BaseException as error:
            os.write(2, f"guard: cannot run {command[0]}: {error}\n".encode())
        finally:
            os._exit(127)

    def reap(self) -> None:
        """Collects what ended: our command, and orphans of its tree, which become our children (subreaper)."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.pid:
                code = os.waitstatus_to_exitcode(status)
                self.status = code if code >= 0 else 128 - code

    def kill(self) -> None:
        """SIGKILL to everything below, until nothing is left."""
        while True:
            if self.status is None:
                self._signal_group(signal.SIGKILL)
            left = descendants()
            send(left, signal.SIGKILL)
            self.reap()
            if not left and self.status is not None:
                return
            time.sleep(0.005)

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            send([self.pid], number)

    def stop(self) -> None:
        """The stop signal, the grace period, then `kill`, which also ends whatever outlived the command."""
        if self.status is None:
            if self.scope == "group":
                self._signal_group(self.stop_signal)
            else:
                send([self.pid], self.stop_signal)
            send(descendants(), signal.SIGCONT)  # a stopped process never sees a signal
            deadline = time.monotonic() + self.grace
            while self.status is None and time.monotonic() < deadline:
                time.sleep(0.01)
                self.reap()
        self.kill()

    def freeze(self) -> None:
        """SIGSTOP to the tree, again until a pass finds nobody new: a process may fork while we walk."""
        stopped: set[int] = set()
        while new := [pid for pid in descendants() if pid not in stopped]:
            send(new, signal.SIGSTOP)
            stopped.update(new)

    def obey(self) -> None:
        """One command of the owner, or its end."""
        try:
            order = self.control.recv(1)
        except OSError:
            order = b""
        if order in (b"", b"T"):
            self.stop()
        elif order == b"K":
            self.kill()
        elif order == b"S":
            self.freeze()
        elif order == b"C":
            send(descendants(), signal.SIGCONT)
        if order:
            try:
                self.control.send(b".")
            except OSError:
                self.stop()

    def run(self) -> int:
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        self.reap()
        while self.status is None:
            # The timeout covers an owner whose end of the socket lives on in a forked child: our parent changes then.
            ready, _, _ = select.select([self.control.fileno(), wake_read], [], [], 2.0)
            if self.control.fileno() in ready:
                self.obey()
            if wake_read in ready:
                os.read(wake_read, 4096)
            if os.getppid() != self.owner:
                self.stop()
            self.reap()
        self.kill()
        return self.status


def main(arguments: list[str]) -> int:
    number, scope, grace, uid, gid, *command = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    return Guard(command, int(number), scope, float(grace), int(uid), int(gid)).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
