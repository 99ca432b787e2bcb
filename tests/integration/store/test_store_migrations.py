"""The migrations on a real PostgreSQL: up, down, up again on data, two at once."""

import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import URL, inspect

from devstack.postgres import Postgres
from kubernaut.store import migrate
from kubernaut.store.engine import StoreNotMigrated, dsn, make_engine, parse_url
from kubernaut.store.tables import SCHEMA, Base

DATA = """
INSERT INTO kubernaut.workflow (digest, dag_id, document, factory_version) VALUES (repeat('a', 64), 'kn.a', '{}', 1);
INSERT INTO kubernaut.execution (id, plan_hash, workflow_digest, dag_id, run_id, bindings, tracking_id, actor)
    VALUES ('ex-1', 'h', repeat('a', 64), 'kn.a', 'ex-1', '{}', 't', 'alice');
INSERT INTO kubernaut.step (execution_id, key, step_id, name, action) VALUES ('ex-1', 's01', 'a', 'A', 'noop');
INSERT INTO kubernaut.journal (execution_id, step_key, round, request_no, effect)
    VALUES ('ex-1', 's01', 1, 1, 'in_object');
INSERT INTO kubernaut.run_request (dag_id, run_id, conf) VALUES ('kn.a', 'manual', '{}');
INSERT INTO kubernaut.halt (reason, actor) VALUES ('drill', 'alice');
INSERT INTO kubernaut.audit_event (actor_kind, actor, operation, subject_kind, subject_id)
    VALUES ('user', 'alice', 'halt', 'halt', '1');
INSERT INTO kubernaut.outbox (kind, payload) VALUES ('dag_failed', '{}');
"""

_serial = itertools.count(1)


@pytest.fixture
def empty(pg: Postgres) -> Iterator[URL]:
    """A database with nothing in it."""
    name = f"migrations_{next(_serial)}"
    yield parse_url(pg.create_database(name))
    pg.drop_database(name)


def tables(url: URL) -> set[str]:
    engine = make_engine(url, null_pool=True)
    return set(inspect(engine).get_table_names(schema=SCHEMA))


def test_up_makes_every_table_of_the_models_and_nothing_outside_the_schema(empty: URL) -> None:
    migrate.upgrade(empty)
    engine = make_engine(empty, null_pool=True)
    assert tables(empty) == {table.name for table in Base.metadata.tables.values()} | {"alembic_version"}
    assert inspect(engine).get_table_names(schema="public") == []


def test_the_migrated_schema_is_the_models(empty: URL) -> None:
    migrate.upgrade(empty)
    with make_engine(empty, null_pool=True).connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _parents: kind != "schema" or name == SCHEMA,
                "version_table_schema": SCHEMA,
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, Base.metadata) == []


def test_every_check_of_the_models_is_in_the_migrated_schema(empty: URL) -> None:
    """Alembic does not compare CHECK constraints: a schema made from the models is the yardstick."""
    migrate.upgrade(empty)
    question = (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'kubernaut'::regnamespace AND conrelid <> 0 "
        "AND conrelid::regclass::text <> 'kubernaut.alembic_version' ORDER BY 1, 2"
    )
    indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'kubernaut' ORDER BY 1"
    engine = make_engine(empty, null_pool=True)
    with engine.begin() as connection:
        migrated = connection.exec_driver_sql(question).all()
        migrated_indexes = [row for row in connection.exec_driver_sql(indexes) if "alembic" not in row[0]]
    migrate.downgrade(empty)
    with engine.begin() as connection:
        Base.metadata.create_all(connection)
        assert connection.exec_driver_sql(question).all() == migrated
        assert [row for row in connection.exec_driver_sql(indexes) if "alembic" not in row[0]] == migrated_indexes


def test_up_down_and_up_again_on_data(empty: URL) -> None:
    migrate.upgrade(empty)
    with psycopg.connect(dsn(empty)) as connection:
        connection.execute(DATA)
    migrate.downgrade(empty)
    assert tables(empty) == {"alembic_version"}
    assert migrate.current(empty) is None
    migrate.upgrade(empty)
    with psycopg.connect(dsn(empty)) as connection:
        connection.execute(DATA)
    assert migrate.current(empty) == migrate.head()


def test_an_upgrade_of_what_is_up_to_date_keeps_the_data(empty: URL) -> None:
    migrate.upgrade(empty)
    with psycopg.connect(dsn(empty)) as connection:
        connection.execute(DATA)
    migrate.upgrade(empty)
    with psycopg.connect(dsn(empty)) as connection:
        assert connection.execute("SELECT id FROM kubernaut.execution").fetchall() == [("ex-1",)]


def test_several_upgrades_at_once_all_succeed(empty: URL) -> None:
    failures: list[Exception] = []
    start = threading.Barrier(4)

    def upgrade() -> None:
        start.wait()
        try:
            # A process each: Alembic's context is one for all threads of a process.
            subprocess.run(
                [sys.executable, "-m", "kubernaut.store.migrate", "upgrade", "--url", dsn(empty)],
                check=True,
                capture_output=True,
            )
        except subprocess.CalledProcessError as error:
            failures.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert migrate.current(empty) == migrate.head()


def test_a_schema_that_somebody_else_made_is_used_without_the_right_to_make_one(pg: Postgres, empty: URL) -> None:
    with psycopg.connect(pg.url(str(empty.database), owner="postgres"), autocommit=True) as admin:
        admin.execute(f"CREATE SCHEMA kubernaut AUTHORIZATION {empty.username}")
        admin.execute(f"ALTER DATABASE {empty.database} OWNER TO postgres")
    migrate.upgrade(empty)
    assert migrate.current(empty) == migrate.head()


def test_check_names_what_is_missing_and_the_command(empty: URL) -> None:
    with pytest.raises(StoreNotMigrated, match=r"revision none.*kubernaut db migrate"):
        migrate.check(empty)
    migrate.upgrade(empty)
    migrate.check(empty)


def test_the_command_says_in_one_line_why_it_cannot(capsys: pytest.CaptureFixture[str]) -> None:
    assert migrate.main(["upgrade", "--url", "postgresql://me:hunter2@127.0.0.1:1/none"]) == 1
    error = capsys.readouterr().err
    assert "cannot be reached" in error
    assert "hunter2" not in error
    assert "Traceback" not in error
