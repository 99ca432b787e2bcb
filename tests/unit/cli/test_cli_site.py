"""`airflow-config`, `db`, `version`, help: what works without a server; and that the command starts quickly."""

from __future__ import annotations

import configparser
import json
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from kubernaut.dag_files import dag_folder
from tests.unit.cli.conftest import Kubernaut

BUNDLE = "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"

COMMANDS = [
    (),
    ("plan",),
    ("plan", "validate"),
    ("plan", "show"),
    ("plan", "schema"),
    ("execute",),
    ("executions",),
    ("executions", "list"),
    ("executions", "show"),
    ("undo",),
    ("halt",),
    ("resume",),
    ("airflow-config",),
    ("db",),
    ("db", "migrate"),
    ("db", "downgrade"),
    ("db", "current"),
    ("practice-cluster",),
    ("version",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(kubernaut: Kubernaut, command: tuple[str, ...]) -> None:
    ended = kubernaut(*command, "--help")
    assert ended.code == 0
    assert "Usage: kubernaut" in ended.out


def test_the_configuration_as_environment_can_be_read_by_a_shell(kubernaut: Kubernaut) -> None:
    lines = [shlex.split(line) for line in kubernaut("airflow-config").out.splitlines()]
    values = dict(line[0].split("=", 1) for line in lines)
    (bundle,) = json.loads(values[BUNDLE])
    assert bundle["name"] == "kubernaut"
    assert bundle["classpath"] == "airflow.dag_processing.bundles.local.LocalDagBundle"
    assert (Path(bundle["kwargs"]["path"]) / "execute_plan.py").is_file()
    assert values["AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME"] == "0.1"
    assert values["AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP"] == "1000"
    assert values["AIRFLOW__CORE__MAX_ACTIVE_RUNS_PER_DAG"] == "1000"


def test_both_forms_of_the_configuration_say_the_same(kubernaut: Kubernaut) -> None:
    parser = configparser.ConfigParser()
    parser.read_string(kubernaut("airflow-config", "--format", "ini").out)
    lines = [shlex.split(line)[0] for line in kubernaut("airflow-config", "--format", "env").out.splitlines()]
    assert lines == [
        f"AIRFLOW__{section.upper()}__{key.upper()}={value}"
        for section in parser.sections()
        for key, value in parser[section].items()
    ]


def test_the_bundle_has_the_name_that_the_settings_give_it(
    kubernaut: Kubernaut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNAUT_BUNDLE_NAME", "repairs")
    assert '"name": "repairs"' in kubernaut("airflow-config").out


def test_the_folder_of_dag_files_is_found_without_airflow() -> None:
    code = "import sys; from kubernaut.dag_files import dag_folder; dag_folder(); sys.exit('airflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert (dag_folder() / "workflows").is_dir()


def test_without_a_store_the_database_commands_say_what_to_set(kubernaut: Kubernaut) -> None:
    ended = kubernaut("db", "current")
    assert ended.code == 1
    assert "KUBERNAUT_STORE_URL" in ended.err


def test_a_store_that_does_not_answer_is_one_line(kubernaut: Kubernaut) -> None:
    ended = kubernaut("db", "migrate", "--url", "postgresql://nobody:x@127.0.0.1:9/none")
    assert ended.code == 1
    assert "Traceback" not in ended.err


def test_the_version_names_the_forms_that_go_with_it(kubernaut: Kubernaut) -> None:
    out = kubernaut("version").out
    assert out.startswith("kubernaut ")
    assert "kubernaut.ai/plan/v1" in out


def test_a_defect_ends_in_a_line_and_not_in_a_traceback(kubernaut: Kubernaut, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Path:
        raise RuntimeError("out of luck")

    monkeypatch.setattr("kubernaut.dag_files.dag_folder", broken)
    ended = kubernaut("airflow-config")
    assert ended.code == 1
    assert "out of luck" in ended.err
    assert "Traceback" not in ended.err


HEAVY = {
    "airflow",
    "alembic",
    "cel_expr_python",
    "httpx",
    "kubernetes_asyncio",
    "pydantic",
    "rich",
    "rustworkx",
    "sqlalchemy",
}


def test_building_the_commands_imports_nothing_heavy() -> None:
    code = "import sys, kubernaut.cli.app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not HEAVY & set(loaded)


def test_the_command_starts_in_under_half_a_second() -> None:
    command = [sys.executable, "-c", "from kubernaut.cli import main; main()", "--help"]
    took = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # processor time: on a machine that does something else too, the wall's says nothing of the command
        took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(took) < 0.5
