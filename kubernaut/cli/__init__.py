"""The command `kubernaut`: a client of the REST API, and what needs no server (plans, configuration, practice).

Starts without Airflow and in well under half a second: what is heavy is imported inside the command that needs it.
Exit codes, for every command: 0 done, 1 refused or failed, 2 wrong usage, 3 a human or an approval is needed, 4 the
server gave no answer. No command ends in a traceback.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the wheel."""
    from kubernaut.cli.app import run

    run()
