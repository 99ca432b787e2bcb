"""`kubernaut halt` and `kubernaut resume`: the emergency brake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

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
    from kubernaut.cli.output import emit, emit_json

    with connect(user, password) as client:
        answer = client.halt(cluster=cluster, reason=reason)
    if as_json:
        emit_json(answer)
    else:
        emit(_in_force(answer, reason))


def _in_force(halt: Mapping[str, Any], asked: str) -> Iterator[str]:
    """What the server says: where it was halted already, that halt and its reason stay (`Any`: JSON)."""
    from kubernaut.cli.output import shown

    cluster, reason = halt.get("cluster"), halt.get("reason")
    yield f"halted: {shown(cluster) if cluster else 'all clusters'} ({shown(reason)})"
    if reason != asked:
        since = f" since {shown(halt['created_at'])}" if halt.get("created_at") else ""
        by = f" by {shown(halt['actor'])}" if halt.get("actor") else ""
        yield f"  it was halted already{since}{by}; that halt stays, and the new reason is not kept"


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
        ended = answer.get("cluster", cluster)
        emit([f"resumed: {shown(ended) if ended else 'all clusters'}"])
