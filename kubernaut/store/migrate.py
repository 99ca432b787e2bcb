"""Bringing the store's schema up (and, for tests and emergencies, down): Alembic inside one transaction under a lock.

Run as `python -m kubernaut.store.migrate [upgrade|downgrade|current|check] [--url URL] [--revision R]`, and by
`kubernaut db migrate`. Any number may run at once: the second waits and finds nothing to do. A migration that fails
leaves nothing behind. Needs no Airflow.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, text
from sqlalchemy.schema import CreateSchema

from kubernaut.errors import KubernautError
from kubernaut.store.engine import make_engine, not_migrated, parse_url, store_url
from kubernaut.store.tables import SCHEMA

_LOCK = 0x6B75626572
"""Of the transaction that migrates; the number says "kuber"."""


def upgrade(url: URL | None = None, revision: str = "head") -> None:
    """Up to `revision`; makes the schema where it is absent. `url`: the configured store unless told."""
    _run(url, lambda config: command.upgrade(config, revision))


def downgrade(url: URL | None = None, revision: str = "base") -> None:
    """Down to `revision`. Tables that go take their rows with them."""
    _run(url, lambda config: command.downgrade(config, revision))


def current(url: URL | None = None) -> str | None:
    """The revision that the store has; None where it has none."""
    with _connected(url) as connection:
        return _revision(connection)


def head() -> str:
    """The revision that this version of the code needs."""
    found = ScriptDirectory.from_config(_config(None)).get_current_head()
    assert found is not None
    return found


def check(url: URL | None = None) -> None:
    """Raises `StoreNotMigrated` where the store has another revision than this code needs."""
    found = current(url)
    if found != head():
        raise not_migrated(f"it has revision {found or 'none'}, needed is {head()}")


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _connected(url: URL | None) -> Iterator[Connection]:
    engine = make_engine(url or store_url(), null_pool=True)
    with engine.begin() as connection:
        yield connection


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA}).get_current_revision()


def _run(url: URL | None, change: Callable[[Config], None]) -> None:
    with _connected(url) as connection:
        # Whoever comes second waits for the first one's whole migration.
        connection.execute(text("SET LOCAL statement_timeout = '10min'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        # Asked first: IF NOT EXISTS needs the right to create schemas even where there is nothing to create.
        if connection.scalar(text("SELECT to_regnamespace(:name)"), {"name": SCHEMA}) is None:
            connection.execute(CreateSchema(SCHEMA))
        change(_config(connection))


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit code 1, with one line on stderr, where it cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m kubernaut.store.migrate", description="The store's schema.")
    parser.add_argument("action", nargs="?", default="upgrade", choices=["upgrade", "downgrade", "current", "check"])
    parser.add_argument("--url", help="postgresql://…; KUBERNAUT_STORE_URL unless given")
    parser.add_argument("--revision", help="head (upgrade) or base (downgrade) unless given")
    given = parser.parse_args(arguments)
    try:
        url = parse_url(given.url) if given.url else None
        if given.action == "upgrade":
            upgrade(url, given.revision or "head")
        elif given.action == "downgrade":
            downgrade(url, given.revision or "base")
        elif given.action == "check":
            check(url)
        print(current(url) or "no revision")
    except KubernautError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
