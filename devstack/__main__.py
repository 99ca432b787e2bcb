"""``python -m devstack``: starts a stack, prints how to reach it, and stays until Ctrl-C."""

import argparse
import sys
import time
from pathlib import Path

from devstack.airflow import REPOSITORY, USERS
from devstack.processes import StartFailed
from devstack.stack import Stack


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devstack", description="PostgreSQL and Airflow on loopback ports.")
    parser.add_argument("--home", type=Path, default=REPOSITORY / "build" / "devstack", help="the stack's folder")
    parser.add_argument("--exit-after", type=float, metavar="SECONDS", help="stop by itself, for scripts")
    parser.add_argument(
        "--bundle",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="a further folder with DAG files (repeatable)",
    )
    parser.add_argument(
        "--connection", action="append", default=[], metavar="ID=URI", help="an Airflow connection (repeatable)"
    )
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="a variable of all parts")
    chosen = parser.parse_args()
    for option in (*chosen.bundle, *chosen.connection, *chosen.env):
        if "=" not in option:
            parser.error(f"{option!r} is not of the form NAME=VALUE")
    return chosen


def pairs(options: list[str]) -> dict[str, str]:
    return dict(option.split("=", 1) for option in options)


def say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    chosen = arguments()
    stack = Stack(
        chosen.home,
        connections=pairs(chosen.connection),
        extra_env=pairs(chosen.env),
        extra_bundles={name: Path(folder) for name, folder in pairs(chosen.bundle).items()},
        progress=say,
    )
    try:
        with stack:
            exports = stack.home.root / "env.sh"
            exports.touch(mode=0o600)
            exports.write_text(stack.exports())
            logins = ", ".join(f"{user.name}/{user.password} ({user.role or 'no role'})" for user in USERS)
            say(f"Airflow: {stack.api_url}\nusers: {logins}\nstore: {stack.store_url}")
            say(f"variables: . {exports}\nlogs: {stack.home.logs}\nCtrl-C stops everything")
            deadline = time.monotonic() + chosen.exit_after if chosen.exit_after is not None else float("inf")
            while time.monotonic() < deadline:
                time.sleep(0.2)
                for part in stack.parts.values():
                    part.check()
    except KeyboardInterrupt:
        say("stopped")
    except StartFailed as error:
        print(f"devstack: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
