"""PostgreSQL and Airflow as one thing that is started, asked, broken on purpose and stopped.

Called by the demo, the benchmarks, the integration tests and ``python -m devstack``. Synchronous; use one `Stack`
from one thread (requests may be sent from any). It knows nothing about plans or clusters: connections and settings
come in as arguments.
"""

import fcntl
import shlex
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any, TypeVar

import httpx

from devstack import airflow as definition
from devstack.airflow import PARTS, USERS, Home
from devstack.postgres import AIRFLOW_DATABASE, STORE_DATABASE, Postgres
from devstack.prepared import prepare
from devstack.processes import Part, StartFailed, free_port, tail, wait_for

T = TypeVar("T")

START_TIMEOUT = 240.0
"""Seconds for Airflow's parts, on a machine that does something else too."""

HEARTBEATS = {
    definition.SCHEDULER: ("scheduler", "latest_scheduler_heartbeat"),
    definition.DAG_PROCESSOR: ("dag_processor", "latest_dag_processor_heartbeat"),
    definition.TRIGGERER: ("triggerer", "latest_triggerer_heartbeat"),
}


def silent(_: str) -> None:
    """The progress of those who do not watch."""


class Stack:
    """One PostgreSQL and one Airflow on free loopback ports; a context manager, or `start` and `stop`.

    :param home: a folder of the stack's own: databases, logs, passwords. Each start begins with new databases; the
        logs of the start before are kept as `logs.previous`.
    :param connections: Airflow connections, id → URI or JSON.
    :param extra_env: further environment variables of all parts; they win over the stack's own.
    :param extra_bundles: further DAG folders, bundle name → folder.
    :param prepare_store: the commands that create the store's tables; None: those of the product.
    :param durable: True makes PostgreSQL wait for the disk, as a real one does (benchmarks).
    :param progress: receives lines for people.
    :raises StartFailed: from `start`; nothing is left running then.
    """

    def __init__(
        self,
        home: Path,
        *,
        connections: Mapping[str, str] | None = None,
        extra_env: Mapping[str, str] | None = None,
        extra_bundles: Mapping[str, Path] | None = None,
        prepare_store: Sequence[Sequence[str]] | None = None,
        durable: bool = False,
        progress: Callable[[str], None] = silent,
    ) -> None:
        self.home = Home(home.resolve())
        self.postgres = Postgres(self.home.postgres, log=self.home.log("postgres"), durable=durable)
        self.env: dict[str, str] = {}
        self.parts: dict[str, Part] = {}
        self.seconds: dict[str, float] = {}
        """How long each part took to be ready, in the order in which they were."""
        self._connections = dict(connections or {})
        self._extra_env = dict(extra_env or {})
        self._extra_bundles = dict(extra_bundles or {})
        self._prepare_store = prepare_store
        self._progress = progress
        self._api_port = free_port()
        self._tokens: dict[str, str] = {}
        self._http = httpx.Client(base_url=self.api_url, trust_env=False, timeout=30)
        self._lock: IO[str] | None = None
        self._old_handler: Any = None

    # --- life -------------------------------------------------------------------------------------------------------

    def __enter__(self) -> "Stack":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when every part is healthy; on any failure, Ctrl-C included, stops what was started and raises."""
        begun = time.monotonic()
        try:
            self._take_home()
            self._handle_sigterm()
            self._start_postgres()
            self._start_airflow()
        except BaseException:
            self.stop()
            raise
        self.seconds["all"] = time.monotonic() - begun
        self._progress(f"stack ready at {self.api_url}, {self.seconds['all']:.1f} s")

    def stop(self) -> None:
        """Airflow's parts side by side, then PostgreSQL. May be called at any time, and again."""
        airflow_parts = [part for name, part in self.parts.items() if name != "postgres"]
        for part in airflow_parts:
            part.request_stop()
        for part in airflow_parts:
            part.stop()
        self.postgres.stop()
        self._release_sigterm()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_home(self) -> None:
        self.home.root.mkdir(parents=True, exist_ok=True)
        self._lock = (self.home.root / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartFailed(
                f"Another stack runs in {self.home.root}. Stop it, or choose another folder for this one."
            ) from None
        previous = self.home.root / "logs.previous"
        if self.home.logs.exists():
            shutil.rmtree(previous, ignore_errors=True)
            self.home.logs.rename(previous)
        self._await_old_server()
        shutil.rmtree(self.home.postgres, ignore_errors=True)
        self.home.create()

    def _await_old_server(self) -> None:
        """After an owner that was killed, its guard may still be stopping the server that uses our folder."""
        deadline = time.monotonic() + 15
        while (self.home.postgres / "postmaster.pid").exists() and time.monotonic() < deadline:
            pid = (self.home.postgres / "postmaster.pid").read_text().split("\n", 1)[0]
            if not Path(f"/proc/{pid}").exists():
                return
            time.sleep(0.1)

    def _handle_sigterm(self) -> None:
        """SIGTERM ends the owner as an exception, so that `with` stops the stack; only where nobody else handles it."""
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:

            def leave(number: int, frame: FrameType | None) -> None:
                raise SystemExit(128 + number)

            self._old_handler = signal.signal(signal.SIGTERM, leave)

    def _release_sigterm(self) -> None:
        if self._old_handler is not None:
            signal.signal(signal.SIGTERM, self._old_handler)
            self._old_handler = None

    def _start_postgres(self) -> None:
        commands = definition.store_commands() if self._prepare_store is None else self._prepare_store
        layers = [
            definition.airflow_layer(self.home, self._environment),
            definition.store_layer(self.home, self._environment, commands),
        ]
        begun = time.monotonic()
        prepare(self.postgres, layers, self._progress)
        if self.postgres.part is not None:
            self.parts["postgres"] = self.postgres.part
        self._ready("postgres", begun)
        self.env = self._environment()

    def _start_airflow(self) -> None:
        begun = time.monotonic()
        self.parts.update(definition.parts(self.home, self.env))
        for name in PARTS:
            self.parts[name].start()
        waiting = list(PARTS)

        def all_ready() -> bool:
            for name in [name for name in waiting if self._is_ready(name)]:
                waiting.remove(name)
                self._ready(name, begun)
            return not waiting

        wait_for(all_ready, list(self.parts.values()), timeout=START_TIMEOUT, what="Airflow", poll=0.2)

    def _environment(self) -> dict[str, str]:
        if self.env:
            return self.env
        return definition.environment(
            self.home,
            self.postgres,
            self._api_port,
            connections=self._connections,
            extra_bundles=self._extra_bundles,
            extra_env=self._extra_env,
        )

    def _ready(self, name: str, begun: float) -> None:
        self.seconds[name] = time.monotonic() - begun
        self._progress(f"{name} ready, {self.seconds[name]:.1f} s")

    # --- where things are -------------------------------------------------------------------------------------------

    @property
    def api_url(self) -> str:
        """The API server and UI, without a slash at the end."""
        return f"http://127.0.0.1:{self._api_port}"

    @property
    def store_url(self) -> str:
        return self.postgres.url(STORE_DATABASE)

    @property
    def airflow_db_url(self) -> str:
        return self.postgres.url(AIRFLOW_DATABASE)

    def logs(self, name: str) -> Path:
        """The log file of a part."""
        return self.home.log(name)

    def exports(self) -> str:
        """The stack's variables as shell text, for a terminal that wants to talk to it."""
        names = sorted(name for name in self.env if name.startswith(("AIRFLOW", "KUBERNAUT")))
        return "".join(f"export {name}={shlex.quote(self.env[name])}\n" for name in names)

    # --- questions --------------------------------------------------------------------------------------------------

    def token(self, user: str = "admin") -> str:
        """A JWT of one of `airflow.USERS`, kept for the life of the stack."""
        if user not in self._tokens:
            if user not in {known.name for known in USERS}:
                raise KeyError(f"no user {user!r} in the stack; there are {', '.join(known.name for known in USERS)}")
            answer = self._http.post("/auth/token", json={"username": user, "password": user})
            answer.raise_for_status()
            self._tokens[user] = str(answer.json()["access_token"])
        return self._tokens[user]

    def request(
        self, method: str, path: str, json: Any = None, *, user: str | None = "admin", **options: Any
    ) -> httpx.Response:
        """Any route of the API server as one of the users, or as nobody at all with None. Statuses are not checked."""
        headers = dict(options.pop("headers", None) or {})
        if user is not None:
            headers["Authorization"] = f"Bearer {self.token(user)}"
        if json is not None:
            options["json"] = json
        return self._http.request(method, path, headers=headers, **options)

    def airflow(
        self, method: str, path: str, json: Any = None, *, user: str | None = "admin", **options: Any
    ) -> httpx.Response:
        """A route below ``/api/v2``, e.g. ``stack.airflow("GET", "/dags")``."""
        return self.request(method, f"/api/v2/{path.lstrip('/')}", json, user=user, **options)

    def kubernaut(
        self, method: str, path: str, json: Any = None, *, user: str | None = "admin", **options: Any
    ) -> httpx.Response:
        """A route below ``/kubernaut/api/v1``."""
        return self.request(method, f"/kubernaut/api/v1/{path.lstrip('/')}", json, user=user, **options)

    def healthy(self) -> bool:
        """Every part runs, and the last heartbeat of each is from its present process."""
        running = all(part.running for part in self.parts.values())
        return running and bool(self.parts) and all(self._is_ready(name) for name in PARTS)

    def wait_until(self, predicate: Callable[[], T], timeout: float, what: str, *, poll: float = 0.1) -> T:
        """Polls until the predicate's value is true; returns it. TimeoutError names `what` and the ended parts."""
        deadline = time.monotonic() + timeout
        while not (value := predicate()):
            if time.monotonic() > deadline:
                ended = [
                    f"\n{part.name} has ended ({part.exit_code}), {part.log}:\n{tail(part.log)}"
                    for part in self.parts.values()
                    if not part.running
                ]
                raise TimeoutError(f"not within {timeout:g} s: {what}. Logs: {self.home.logs}{''.join(ended)}")
            time.sleep(poll)
        return value

    def _is_ready(self, name: str) -> bool:
        try:
            answer = self._http.get("/api/v2/monitor/health", timeout=5)
        except httpx.HTTPError:
            return False
        if name == definition.API_SERVER:
            return answer.status_code == httpx.codes.OK
        section, field = HEARTBEATS[name]
        state = answer.json().get(section, {}) if answer.status_code == httpx.codes.OK else {}
        heartbeat = state.get(field)
        if state.get("status") != "healthy" or not heartbeat:
            return False
        return datetime.fromisoformat(heartbeat).timestamp() >= self.parts[name].started_at

    # --- breaking things on purpose ---------------------------------------------------------------------------------

    def restart(self, name: str, *, timeout: float = 120) -> None:
        """Stops the part if it runs, starts it again with the same port and environment, waits until it is ready."""
        part = self.parts[name]
        part.stop()
        if name == "postgres":
            self.postgres.start()
            self.parts[name] = self.postgres.part or part
            return
        part.start()
        wait_for(lambda: self._is_ready(name), [part], timeout=timeout, what=name)

    def stop_process(self, name: str) -> None:
        """As an operator would: the stop signal, and time to end."""
        self.parts[name].stop()

    def kill(self, name: str) -> None:
        """SIGKILL to the part and all its children."""
        self.parts[name].kill()

    def pause(self, name: str) -> None:
        """SIGSTOP to the part and all its children: it hangs."""
        self.parts[name].pause()

    def resume(self, name: str) -> None:
        self.parts[name].resume()
