"""`kubernaut halt` and `kubernaut resume`: the emergency brake."""

from __future__ import annotations

from typing import Annotated

import typer

from kubernaut.cli.server import AsJson, Password, User, connect

Cluster = Annotated[str | None, typer.Option("--cluster", help="Only this cluster; all of them unless given.")]


def halt(
    reason: Annotated[str, typer.Option("--reason", help="Why; everybody who meets the halt reads it.")],
    cluster: Cluster = None,
    as_json: AsJson = False,
    user: User = None,
    password: Password = None,
) -> None:
    """Stop: nothing new is registered, and steps wait at their next claim until `resume`."""
    from kubernaut.cli.output import emit, emit_json, shown

    with connect(user, password) as client:
        answer = client.halt(cluster=cluster, reason=reason)
    if as_json:
        emit_json(answer)
    else:
        emit([f"halted: {shown(cluster) if cluster else 'all clusters'} ({shown(reason)})"])


def resume(
    cluster: Cluster = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why it may go on.")] = None,
    as_json: AsJson = False,
    user: User = None,
    password: Password = None,
) -> None:
    """End a halt: what waited goes on."""
    from kubernaut.cli.output import emit, emit_json, shown

    with connect(user, password) as client:
        answer = client.resume(cluster=cluster, reason=reason)
    if as_json:
        emit_json(answer)
    else:
        emit([f"resumed: {shown(cluster) if cluster else 'all clusters'}"])
