"""The stack itself: it is whole, its users differ, parts can be broken and put back, and nothing stays behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from devstack import Stack, StartFailed
from devstack.airflow import PARTS, REPOSITORY, Home, environment
from devstack.postgres import Postgres
from devstack.processes import Part, StopScope, run_command, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

SHELL_ENV = {"PATH": os.defpath}


# --- a part and its guard -------------------------------------------------------------------------------------------


def processes_of(mark: str) -> list[str]:
    """Command lines of all living processes that have `mark` in their command, environment or working directory."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            command = (folder / "cmdline").read_bytes()
            about = command + (folder / "environ").read_bytes() + os.fsencode((folder / "cwd").readlink())
        except OSError:
            continue  # it has ended, or is a zombie
        if mark.encode() in about:
            found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def eventually(predicate: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not predicate() and time.monotonic() < deadline:
        time.sleep(0.05)
    return predicate()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Callable[..., Part]]:
    """Starts `sh -c script` as a part and waits until it has written `ready`."""
    started: list[Part] = []

    def start(script: str, **options: object) -> Part:
        part = Part(
            "shell",
            ["sh", "-c", script],
            log=tmp_path / "shell.log",
            env=SHELL_ENV,
            cwd=tmp_path,
            **options,  # type: ignore[arg-type]
        )
        started.append(part)
        part.start()
        wait_for(lambda: "ready" in part.log.read_text(), [part], timeout=10, what="the script", poll=0.01)
        return part

    yield start
    for part in started:
        part.stop()


STUBBORN = "setsid sh -c 'trap \"\" TERM HUP; echo ready; while :; do sleep 0.1; done' & "


def test_stop_ends_a_grandchild_that_left_the_group_and_ignores_the_signal(
    shell: Callable[..., Part], tmp_path: Path
) -> None:
    part = shell(STUBBORN + "wait", grace=0.5)
    part.stop()
    assert processes_of(str(tmp_path)) == []


def test_a_command_that_ends_takes_what_it_left_behind_with_it(shell: Callable[..., Part], tmp_path: Path) -> None:
    part = shell(STUBBORN + "sleep 0.3; exit 7")
    assert eventually(lambda: not part.running, 5)
    assert part.exit_code == 7
    assert processes_of(str(tmp_path)) == []


def test_kill_gives_no_time_to_clean_up(shell: Callable[..., Part], tmp_path: Path) -> None:
    part = shell(f"trap 'touch {tmp_path}/tidied' TERM; echo ready; while :; do sleep 0.1; done")
    part.kill()
    assert part.exit_code == 128 + signal.SIGKILL
    assert not (tmp_path / "tidied").exists()


def test_a_paused_part_makes_no_progress_until_it_is_resumed(shell: Callable[..., Part], tmp_path: Path) -> None:
    part = shell(f"echo ready; while :; do echo x >> {tmp_path}/beats; sleep 0.02; done")
    beats = tmp_path / "beats"
    assert eventually(beats.exists, 5)
    part.pause()
    before = beats.read_text()
    time.sleep(0.2)  # long enough for ten more lines, were it running
    assert beats.read_text() == before
    part.resume()
    assert eventually(lambda: beats.read_text() != before, 5)


def test_a_paused_part_can_be_stopped(shell: Callable[..., Part], tmp_path: Path) -> None:
    part = shell(f"trap 'touch {tmp_path}/tidied; exit' TERM; echo ready; while :; do sleep 0.05; done")
    part.pause()
    part.stop()
    assert (tmp_path / "tidied").exists()
    assert processes_of(str(tmp_path)) == []


def test_scope_main_sends_the_signal_to_the_command_alone(shell: Callable[..., Part], tmp_path: Path) -> None:
    child = f"sh -c 'trap \"touch {tmp_path}/child-got-it\" TERM; echo ready; while :; do sleep 0.05; done' & "
    part = shell(child + "trap 'sleep 0.3; exit 3' TERM; while :; do sleep 0.05; done", stop_scope=StopScope.MAIN)
    part.stop()
    assert part.exit_code == 3
    assert not (tmp_path / "child-got-it").exists()


def test_a_failed_command_is_reported_with_name_code_log_and_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "step.log"
    with pytest.raises(StartFailed) as failure:
        run_command(
            ["sh", "-c", "seq 1 50; echo out of luck; exit 9"], log=log, env=SHELL_ENV, cwd=tmp_path, what="the step"
        )
    text = str(failure.value)
    assert "the step ended with exit code 9" in text
    assert str(log) in text
    assert "out of luck" in text
    assert "\n  29\n" not in text, "only the last 20 lines"


def test_a_command_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="cannot run no-such-program"):
        run_command(["no-such-program"], log=tmp_path / "log", env=SHELL_ENV, cwd=tmp_path, what="it")


# --- PostgreSQL alone -----------------------------------------------------------------------------------------------


def test_the_server_wants_a_password_on_tcp_and_on_its_socket(pg: Postgres) -> None:
    ways = [f"postgresql://postgres:wrong@127.0.0.1:{pg.port}/postgres"]
    if pg.socket_folder is not None:
        ways.append(f"postgresql://postgres:wrong@/postgres?host={pg.socket_folder}&port={pg.port}")
    for way in ways:
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(way)
    with psycopg.connect(pg.admin_url) as connection:
        row = connection.execute("SHOW max_connections").fetchone()
    assert row is not None
    assert int(row[0]) >= 200


def test_each_module_has_a_store_of_its_own(pg: Postgres, store_url: str) -> None:
    other = pg.create_database("somebody_elses", template="kubernaut_template", owner="kubernaut")
    with psycopg.connect(store_url, autocommit=True) as mine, psycopg.connect(other) as theirs:
        mine.execute("CREATE TABLE only_here (id int)")
        assert theirs.execute("SELECT to_regclass('only_here')").fetchone() == (None,)
    pg.drop_database("somebody_elses")
    assert not pg.has_database("somebody_elses")


def test_a_killed_server_comes_back_with_its_data_and_password(tmp_path: Path) -> None:
    with Postgres(tmp_path / "pg", log=tmp_path / "pg.log") as server:
        url = server.create_database("kept")
        assert server.part is not None
        server.part.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        server.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == ("kept",)
    assert processes_of(str(tmp_path)) == []


# --- the whole stack ------------------------------------------------------------------------------------------------


def test_the_stack_is_healthy_and_each_part_has_its_log(stack: Stack) -> None:
    assert stack.healthy()
    for name in ("postgres", *PARTS):
        assert stack.logs(name).stat().st_size > 0, name


@pytest.mark.parametrize(
    ("user", "read", "write"),
    [
        ("admin", 200, 404),
        ("op", 200, 404),
        ("user", 200, 404),
        ("viewer", 200, 403),
        ("nobody", 403, 403),
        (None, 401, 401),
    ],
)
def test_each_user_may_do_what_its_role_says(stack: Stack, user: str | None, read: int, write: int) -> None:
    """404: the user was let through to a DAG that does not exist."""
    assert stack.airflow("GET", "/dags", user=user).status_code == read
    assert stack.airflow("PATCH", "/dags/missing", {"is_paused": False}, user=user).status_code == write


def test_the_environment_of_the_caller_does_not_reach_airflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AIRFLOW__CORE__PLUGINS_FOLDER", "AIRFLOW_CONN_ELSEWHERE", "KUBECONFIG", "https_proxy", "PYTHONPATH"):
        monkeypatch.setenv(name, "the caller's")
    server = Postgres(tmp_path / "pg", log=tmp_path / "log")
    env = environment(
        Home(tmp_path), server, 1, connections={"here": "http://x"}, extra_bundles={}, extra_env={"KUBERNAUT_X": "1"}
    )
    assert "the caller's" not in env.values()
    assert env["HOME"] == str(tmp_path)
    assert env["AIRFLOW_CONN_HERE"] == "http://x"
    assert env["KUBERNAUT_X"] == "1"


def test_a_killed_triggerer_is_put_back_by_restart(stack: Stack) -> None:
    stack.kill("triggerer")
    assert not stack.healthy()
    stack.restart("triggerer")
    assert stack.healthy()


def test_wait_until_says_what_did_not_come(stack: Stack) -> None:
    with pytest.raises(TimeoutError, match="the moon is full"):
        stack.wait_until(lambda: False, 0.1, "the moon is full")


def test_a_second_stack_in_the_same_folder_is_refused(stack: Stack) -> None:
    with pytest.raises(StartFailed, match="Another stack runs in"):
        Stack(stack.home.root).start()
    assert stack.healthy()


# --- nothing stays --------------------------------------------------------------------------------------------------


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """``python -m devstack`` with a folder of its own; what a failing test leaves behind is ended."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "devstack", "--home", str(tmp_path / "home"), *options],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for_line(process: subprocess.Popen[str], start: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return
    raise AssertionError(f"ended without a line {start!r}: {process.stderr.read() if process.stderr else ''}")


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["ctrl-c", "sigterm", "sigkill"],
)
def test_no_process_outlives_an_owner_that_is_ended_in_the_middle_of_the_start(
    command: Callable[..., subprocess.Popen[str]], tmp_path: Path, number: signal.Signals, exit_code: int
) -> None:
    home = str(tmp_path / "home")
    process = command()
    wait_for_line(process, "postgres ready")
    assert eventually(lambda: len([line for line in processes_of(home) if "airflow" in line]) >= len(PARTS), 30)
    process.send_signal(number)
    assert process.wait(30) == exit_code
    if number == signal.SIGKILL:  # the guards notice it by themselves, a moment later
        eventually(lambda: processes_of(home) == [], 15)
    assert processes_of(home) == []


def test_a_stack_that_was_up_leaves_nothing_but_its_folder(
    command: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    """Ctrl-C on a healthy stack: by then it has workers, trigger runners and file processors too."""
    home = tmp_path / "home"
    process = command()
    wait_for_line(process, "Ctrl-C stops everything")
    assert "export KUBERNAUT_STORE_URL=" in (home / "env.sh").read_text()
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert processes_of(str(home)) == []
    assert (home / "logs" / "scheduler.log").stat().st_size > 0


def test_a_part_that_dies_during_the_start_ends_the_start_and_is_named(
    command: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = command("--env", "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC=soon")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "triggerer ended with exit code 1" in errors
    assert "job_heartbeat_sec" in errors.lower()
    assert str(tmp_path / "home" / "logs" / "triggerer.log") in errors
    assert processes_of(str(tmp_path / "home")) == []
