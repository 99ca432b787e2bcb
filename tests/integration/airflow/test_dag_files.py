"""The DAG files: they never raise, make no new DAG versions, and a run goes on when the store was away."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from devstack import Stack
from tests.integration.airflow.conftest import Runs, noop, plan

_LOAD = """
import json, logging, sys
logging.disable(logging.CRITICAL)
from kubernaut_operators.dag_files import workflows
print(json.dumps(sorted(dag_id for digit in "0123456789abcdef" for dag_id in workflows(digit))))
"""


def load(stack: Stack, **changes: str) -> list[str]:
    """The dag_ids that the files give in a fresh process."""
    found = subprocess.run(
        [sys.executable, "-c", _LOAD],
        env={**stack.env, **changes},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    names: list[str] = json.loads(found.stdout.splitlines()[-1])
    return names


def test_the_files_serve_what_was_registered(runs: Runs) -> None:
    shown = runs.run(plan(noop("one"), noop("two", "one"), noop("three", "two")))

    assert shown["dag_id"] in load(runs.stack)


def test_with_the_store_away_the_last_good_copy_is_served(runs: Runs, tmp_path: Path) -> None:
    shown = runs.run(plan(noop("one"), noop("two", "one"), noop("three", "two")))
    folder = {"KUBERNAUT_CACHE_DIR": str(tmp_path)}
    assert shown["dag_id"] in load(runs.stack, **folder)

    away = {**folder, "KUBERNAUT_STORE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    assert shown["dag_id"] in load(runs.stack, **away)


def test_without_store_and_copy_the_files_are_empty_and_raise_nothing(runs: Runs, tmp_path: Path) -> None:
    away = {"KUBERNAUT_CACHE_DIR": str(tmp_path), "KUBERNAUT_STORE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}

    assert load(runs.stack, **away) == []


def execute(stack: Stack, statement: str, **values: Any) -> None:
    engine = create_engine(stack.airflow_db_url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.begin() as connection:
            connection.execute(text(statement), values)
    finally:
        engine.dispose()


def query(stack: Stack, statement: str, **values: Any) -> list[Any]:
    engine = create_engine(stack.airflow_db_url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.connect() as connection:
            return list(connection.execute(text(statement), values))
    finally:
        engine.dispose()


def test_the_same_shape_is_one_dag_and_one_version_also_after_a_parse(runs: Runs) -> None:
    """Other ids, values and order: the same DAG; the dag-processor's own parse of it adds no version."""
    first = runs.run(plan(noop("a"), noop("b", "a"), noop("c", "a")))
    second = runs.run(plan(noop("zwei", "eins"), noop("drei", "eins"), noop("eins"), id="quite-another"))
    assert first["dag_id"] == second["dag_id"]

    file = f"workflows/{first['dag_id'].rpartition('.')[2][0]}.py"
    parsed = "SELECT last_parsed_time FROM dag WHERE dag_id = :dag_id"
    before = query(runs.stack, parsed, dag_id=first["dag_id"])
    token = next(dag["file_token"] for dag in [runs.stack.airflow("GET", f"/dags/{first['dag_id']}/details").json()])
    assert runs.stack.airflow("PUT", f"/parseDagFile/{token}").status_code == 201, file
    runs.stack.wait_until(lambda: query(runs.stack, parsed, dag_id=first["dag_id"]) != before, 60, f"a parse of {file}")

    versions = query(runs.stack, "SELECT count(*) FROM dag_version WHERE dag_id = :dag_id", dag_id=first["dag_id"])
    assert versions == [(1,)]
    assert query(runs.stack, "SELECT is_stale FROM dag WHERE dag_id = :dag_id", dag_id=first["dag_id"]) == [(False,)]
    assert query(runs.stack, "SELECT count(*) FROM import_error") == [(0,)]


def test_a_dag_that_was_called_stale_is_registered_again_while_a_run_of_it_goes_on(runs: Runs) -> None:
    """The scheduler leaves runs of stale DAGs alone: the reconciler brings the DAG back, and the run ends."""
    sent = runs.send(plan(noop("slow", params={"seconds": 4}), noop("after", "slow"), noop("last", "after")))
    runs.until(sent["execution_id"], lambda shown: shown["steps"][0]["state"] == "running", "a running step")

    execute(runs.stack, "UPDATE dag SET is_stale = true WHERE dag_id = :dag_id", dag_id=sent["dag_id"])

    assert runs.end(sent["execution_id"])["outcome"] == "success"


def revive(stack: Stack) -> None:
    """Airflow's own parts may end when their database goes away; whatever runs them starts them again."""
    for name in ("scheduler", "dag-processor", "triggerer", "api-server"):
        if not stack.parts[name].running:
            stack.restart(name)


def test_a_run_goes_on_after_the_database_was_away(runs: Runs) -> None:
    """PostgreSQL is restarted while a step acts: the step ends, the next one runs, the execution succeeds."""
    sent = runs.send(plan(noop("slow", params={"seconds": 3}), noop("after", "slow")))
    runs.until(
        sent["execution_id"], lambda shown: shown["steps"] and shown["steps"][0]["state"] == "running", "a running step"
    )

    runs.stack.restart("postgres")
    revive(runs.stack)

    def ended() -> bool:
        revive(runs.stack)  # a part may notice late
        answer = runs.stack.kubernaut("GET", f"/executions/{sent['execution_id']}")
        return answer.status_code == 200 and answer.json()["phase"] in ("completed", "failed")

    runs.stack.wait_until(ended, 150, "the end after the restart")
    assert runs.show(sent["execution_id"])["outcome"] == "success"
