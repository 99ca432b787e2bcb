"""Commands for whoever runs a site: Airflow's settings, the store's schema, the version."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from kubernaut.cli.exits import Exit

database = typer.Typer(
    help="The store's schema (needs KUBERNAUT_STORE_URL or --url).", no_args_is_help=True, rich_markup_mode=None
)

Url = Annotated[str | None, typer.Option(help="postgresql://…; KUBERNAUT_STORE_URL unless given.")]


class Form(StrEnum):
    ENV = "env"
    INI = "ini"


def airflow_config(
    form: Annotated[
        Form, typer.Option("--format", help="Environment variables, or sections of airflow.cfg.")
    ] = Form.ENV,
) -> None:
    """What Airflow must be told: the bundle with our DAG files, and the settings that make it quick."""
    from kubernaut.cli.output import emit

    values = airflow_settings()
    if form is Form.ENV:
        emit(f"AIRFLOW__{section.upper()}__{key.upper()}={_quoted(value)}" for (section, key), value in values.items())
        return
    last = ""
    for (section, key), value in values.items():
        if section != last:
            emit([*([""] if last else []), f"[{section}]"])
            last = section
        emit([f"{key} = {value.replace('%', '%%')}"])


def airflow_settings() -> dict[tuple[str, str], str]:
    """(section, key) → value, each as docs/operations.md explains it."""
    from kubernaut.dag_files import dag_folder
    from kubernaut.settings import get_settings

    bundle = {
        "name": get_settings().bundle_name,
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(dag_folder()), "refresh_interval": 600},
    }
    return {
        ("dag_processor", "dag_bundle_config_list"): json.dumps([bundle]),
        ("dag_processor", "refresh_interval"): "600",
        ("dag_processor", "min_file_process_interval"): "600",
        ("scheduler", "scheduler_idle_sleep_time"): "0.1",
        ("triggerer", "max_trigger_to_select_per_loop"): "1000",
        ("core", "max_active_runs_per_dag"): "1000",
    }


def _quoted(value: str) -> str:
    """For a shell, and for Docker's env files where nothing needs quoting."""
    import shlex

    return shlex.quote(value)


@database.command("migrate")
def migrate(
    url: Url = None, revision: Annotated[str, typer.Option(help="Where to; the newest unless given.")] = "head"
) -> None:
    """Bring the schema up. Any number may run at once."""
    _migrate(["upgrade", "--revision", revision], url)


@database.command("downgrade")
def downgrade(
    revision: Annotated[str, typer.Argument(help="Where to; `base` removes every table.")], url: Url = None
) -> None:
    """Take the schema down to a revision. Tables that go take their rows with them."""
    _migrate(["downgrade", "--revision", revision], url)


@database.command("current")
def current(url: Url = None) -> None:
    """The revision that the store has."""
    _migrate(["current"], url)


def _migrate(arguments: list[str], url: str | None) -> None:
    from kubernaut.cli.output import complain
    from kubernaut.store import migrate as migrations

    try:
        code = migrations.main([*arguments, *(["--url", url] if url else [])])
    except Exception as error:  # a driver's or Alembic's own: one line is enough at a command line
        complain(f"the store's schema was not changed: {str(error).splitlines()[0] if str(error) else error!r}")
        raise typer.Exit(Exit.FAILED) from None
    raise typer.Exit(Exit.FAILED if code else Exit.OK)


def version() -> None:
    """The version of this installation."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    from kubernaut.cli.output import emit
    from kubernaut.plan.model import PLAN_VERSION
    from kubernaut.workflow.version import FACTORY_VERSION

    try:
        own = installed("kubernaut-airflow")
    except PackageNotFoundError:
        own = "not installed"
    emit([f"kubernaut {own}", f"plan form {PLAN_VERSION}", f"DAG factory {FACTORY_VERSION}"])
