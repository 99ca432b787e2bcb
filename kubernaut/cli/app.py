"""The tree of commands. Each command is a thin shell: read, call, print, exit."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from kubernaut.cli import executions, operations, plans, site
from kubernaut.cli.exits import Exit, exit_of, text_of
from kubernaut.cli.output import complain

app = typer.Typer(
    name="kubernaut",
    help="Turns an AI's remediation plan into an Airflow DAG that repairs a Kubernetes cluster.",
    epilog="Exit codes: 0 done; 1 refused, invalid or failed; 2 wrong usage; 3 a human or an approval is needed; "
    "4 the server gave no answer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(plans.app, name="plan")
app.add_typer(executions.app, name="executions")
app.add_typer(site.database, name="db")
app.command("execute")(executions.execute)
app.command("undo")(executions.undo)
app.command("halt")(operations.halt)
app.command("resume")(operations.resume)
app.command("airflow-config")(site.airflow_config)
app.command("version")(site.version)


@app.command(
    "practice-cluster",
    help="A simulated Kubernetes API on loopback, until Ctrl-C.",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def practice_cluster(
    context: typer.Context,
    help_wanted: Annotated[bool, typer.Option("--help", "-h", help="Show the options.")] = False,
) -> None:
    """Passed on as it is: the practice cluster brings a web server, which nothing else here should pay for."""
    from kubernaut.cluster.practice.cli import app as practice

    practice([*context.args, *(["--help"] if help_wanted else [])], prog_name="kubernaut practice-cluster")


def run() -> None:
    """Run the command line, and end the process with its exit code."""
    try:
        app(prog_name="kubernaut")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # whoever read the output has gone (`| head`); the interpreter must not complain about it while it ends
        sys.stdout = None
        sys.exit(Exit.FAILED)
    except Exception as error:
        sys.exit(_ended_by(error))


def _ended_by(error: Exception) -> Exit:
    from kubernaut.errors import KubernautError

    if isinstance(error, KubernautError):
        complain(text_of(error))
        return exit_of(error)
    if os.environ.get("KUBERNAUT_TRACEBACK"):
        raise error
    complain(f"unexpected: {type(error).__name__}: {error}\nThis is a defect; KUBERNAUT_TRACEBACK=1 shows where.")
    return Exit.FAILED
