"""`kubernaut practice-cluster`: a practice cluster in the foreground, until SIGINT or SIGTERM.

Why it exists: to look at it, and to give Airflow a cluster on a machine that has none. A thin shell over
`scenario` and `server`; mounted by the `kubernaut` CLI.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

app = typer.Typer(
    help="Runs a simulated Kubernetes API on loopback, for rehearsals. It is no real cluster and says so in /version."
)

_READABLE_BY_OWNER = 0o600


@app.callback(invoke_without_command=True)
def practice_cluster(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = 0,
    scenario: Annotated[
        str | None, typer.Option(help="A scenario file (YAML or JSON), or the name of a packaged one: crashloop.")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Where to write a kubeconfig with the address and token.", dir_okay=False)
    ] = None,
    time_factor: Annotated[
        float, typer.Option(help="How many times faster pods start, back off and time out.", min=0.01)
    ] = 1.0,
) -> None:
    """Serves until it is interrupted."""
    # Imported here so that `kubernaut --help` does not pay for a web server.
    from kubernaut.cluster.practice.scenario import ScenarioError, load_scenario
    from kubernaut.cluster.practice.server import PracticeServer, wall_clock

    stop = threading.Event()

    def interrupted(_: int, __: FrameType | None) -> None:
        stop.set()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, interrupted)
    try:
        opened = load_scenario(scenario or {"name": "empty"}).open(wall_clock, time_factor=time_factor)
        server = PracticeServer(opened.cluster, port=port, changes=opened.later)
        server.start()
    except (ScenarioError, OSError) as error:
        typer.echo(f"practice-cluster: {error}", err=True)
        raise typer.Exit(1) from error
    try:
        if kubeconfig is not None:
            _write_private(kubeconfig, json.dumps(server.kubeconfig(), indent=2) + "\n")
        typer.echo(f"practice cluster ({opened.scenario.name}) at {server.url}")
        typer.echo(f"kubeconfig: {kubeconfig}" if kubeconfig else f"token: {server.token}")
        stop.wait()
    finally:
        server.stop()
    typer.echo("practice cluster stopped")


def _write_private(path: Path, text: str) -> None:
    """A kubeconfig holds a token: nobody else may read it, from the first moment on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _READABLE_BY_OWNER)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


if __name__ == "__main__":
    app()
