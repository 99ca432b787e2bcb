"""`kubernaut execute`, `executions …` and `undo`: start plans on a server and look at what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kubernaut.cli.exits import Exit, exit_of
from kubernaut.cli.plans import PlanFile, SignalFile
from kubernaut.cli.server import AsJson, Password, User, connect

if TYPE_CHECKING:
    from kubernaut.rest_client import Problem, RestClient

app = typer.Typer(help="Executions on the server.", no_args_is_help=True, rich_markup_mode=None)

_PATIENCE = 10
"""How often in a row a server may give no answer while somebody waits."""
TERMINAL = frozenset({"completed", "failed", "cancelled"})
_COLUMNS = {
    "id": "ID",
    "phase": "PHASE",
    "outcome": "OUTCOME",
    "target": "TARGET",
    "created_at": "CREATED",
    "reason": "REASON",
}
Wait = Annotated[bool, typer.Option("--wait", help="Until it has ended; the steps are shown as they change.")]
Document = Mapping[str, Any]
"""A document of the REST API (`Any`: JSON)."""


def execute(
    file: PlanFile,
    signal: SignalFile = None,
    priority: Annotated[str | None, typer.Option(help="P0 (first) to P3; the plan's own unless given.")] = None,
    approve: Annotated[
        str | None, typer.Option(metavar="HASH", help="Approve exactly the plan with this hash, as this user.")
    ] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Sent again with the same key, the plan starts once.")
    ] = None,
    wait: Wait = False,
    as_json: AsJson = False,
    user: User = None,
    password: Password = None,
) -> None:
    """Start a plan. Exit 3 where it needs a human or an approval: look at the card, then --approve its hash."""
    from kubernaut.cli.inputs import read_document
    from kubernaut.cli.output import emit, emit_json, shown
    from kubernaut.rest_client import Refused

    plan = read_document(file, "plan file")
    answered = read_document(signal, "signal file") if signal else None
    with connect(user, password) as client:
        try:
            accepted = client.submit(
                plan, signal=answered, priority=priority, approve=approve, idempotency_key=idempotency_key
            )
        except Refused as refused:
            if as_json:
                emit_json(refused.problem.model_dump(mode="json"))
                raise typer.Exit(exit_of(refused)) from None
            emit(_approval(refused.problem))
            raise
        if not wait:
            if as_json:
                emit_json(accepted)
            else:
                emit(_accepted(accepted))
            return
        if not as_json:
            emit([*_accepted(accepted), ""])
        _finish(client, str(accepted.get("execution_id")), as_json, shown)


def undo(
    execution_id: Annotated[str, typer.Argument(help="The execution whose changes are taken back.")],
    reason: Annotated[str | None, typer.Option(help="Why, for the audit log.")] = None,
    wait: Wait = False,
    as_json: AsJson = False,
    user: User = None,
    password: Password = None,
) -> None:
    """Take back what a finished execution changed, as an execution of its own."""
    from kubernaut.cli.output import emit, emit_json, shown

    with connect(user, password) as client:
        accepted = client.undo(execution_id, reason=reason)
        if not wait:
            if as_json:
                emit_json(accepted)
            else:
                emit(_accepted(accepted))
            return
        if not as_json:
            emit([*_accepted(accepted), ""])
        _finish(client, str(accepted.get("execution_id")), as_json, shown)


@app.command("list")
def list_executions(
    phase: Annotated[str | None, typer.Option(help="queued, running, paused, completed, failed or cancelled.")] = None,
    outcome: Annotated[str | None, typer.Option(help="success, partial_success or failure.")] = None,
    action: Annotated[str | None, typer.Option(help="An action that it contains.")] = None,
    target: Annotated[str | None, typer.Option(help="The object it is about: NAME or KIND/NAME.")] = None,
    namespace: Annotated[str | None, typer.Option(help="The namespace it is about.")] = None,
    cluster: Annotated[str | None, typer.Option(help="The cluster it is about.")] = None,
    tracking_id: Annotated[str | None, typer.Option(help="What follows the signal through every log line.")] = None,
    since: Annotated[str | None, typer.Option(help="Created at or after (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="Created before (RFC 3339).")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many on one page.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the page begins: next_cursor of the one before.")] = None,
    as_json: AsJson = False,
    user: User = None,
    password: Password = None,
) -> None:
    """Executions, newest first."""
    from kubernaut.cli.output import emit, emit_json, shown, table
    from kubernaut.cli.story import halts

    filters = {
        "phase": phase,
        "outcome": outcome,
        "action": action,
        "target": target,
        "namespace": namespace,
        "cluster": cluster,
        "tracking_id": tracking_id,
        "since": since,
        "until": until,
        "limit": limit,
        "cursor": cursor,
    }
    with connect(user, password) as client:
        page = client.executions(filters)
    if as_json:
        emit_json(page)
        return
    rows = [{**row, "target": _target(row)} for row in page.get("executions", [])]
    emit(table(rows, _COLUMNS) if rows else ["no executions"])
    emit(halts(page))
    if page.get("next_cursor"):
        emit([f"more: --cursor {shown(page['next_cursor'])}"])


@app.command("show")
def show(
    execution_id: Annotated[str, typer.Argument(help="ex-…")],
    as_json: AsJson = False,
    user: User = None,
    password: Password = None,
) -> None:
    """One execution: its steps, what they changed, and the verdict."""
    from kubernaut.cli.output import emit, emit_json
    from kubernaut.cli.story import story

    with connect(user, password) as client:
        found = client.execution(execution_id)
    if as_json:
        emit_json(found)
    else:
        emit(story(found))


# --- waiting


def _finish(client: RestClient, execution_id: str, as_json: bool, shown: Callable[[object], str]) -> None:
    """Show the steps as they change until the execution has ended; exit 0 where it completed."""
    from kubernaut.cli.output import complain, emit, emit_json
    from kubernaut.cli.story import ending

    last: dict[str, str] = {}
    ended: Document = {}
    try:
        for ended in watch(client, execution_id):
            if not as_json:
                emit(_news(ended, last, shown))
    except KeyboardInterrupt:
        complain(f"\nno longer watching; it goes on: kubernaut executions show {shown(execution_id)}")
        raise typer.Exit(130) from None
    if as_json:
        emit_json(ended)
    else:
        emit(["", *ending(ended)])
    if ended.get("phase") != "completed":
        raise typer.Exit(Exit.FAILED)


def watch(client: RestClient, execution_id: str) -> Iterator[Document]:
    """The execution again and again, until it has ended. A server that is away for some moments is asked again."""
    import time

    from kubernaut.rest_client import Unreachable
    from kubernaut.settings import get_settings

    missed = 0
    while True:
        try:
            found = client.execution(execution_id)
        except Unreachable:
            missed += 1
            if missed > _PATIENCE:
                raise
        else:
            missed = 0
            yield found
            if found.get("phase") in TERMINAL:
                return
        time.sleep(get_settings().poll_interval)


def _news(found: Document, last: dict[str, str], shown: Callable[[object], str]) -> Iterator[str]:
    """A line for each step whose state changed since the last look."""
    from kubernaut.cli.story import because, halts, named

    names = named(found)
    for line in halts(found):
        if last.get(line) is None:
            last[line] = "said"
            yield line
    for step in found.get("steps", []):
        key, state = str(step.get("key") or step.get("id")), str(step.get("state"))
        if last.get(key, "pending") != state:
            last[key] = state
            yield f"  {state.ljust(12)} {shown(step.get('name') or step.get('id') or key)}{because(step, names)}"


# --- for people


def _accepted(accepted: Document) -> Iterator[str]:
    from kubernaut.cli.output import shown

    yield f"accepted: {shown(accepted.get('execution_id'))}"
    for field, title in (("dag_id", "DAG"), ("run_id", "run"), ("tracking_id", "tracking id")):
        if accepted.get(field):
            yield f"  {title}: {shown(accepted[field])}"
    for name, reason in (accepted.get("cannot_be_undone") or {}).items():
        yield f"  cannot be undone: {shown(name)}: {shown(reason)}"
    links = accepted.get("links")
    for name, link in links.items() if isinstance(links, dict) else ():
        yield f"  {name}: {shown(link)}"


def _approval(problem: Problem) -> Iterator[str]:
    """What the server wants a person to look at before the plan starts: its card, the reasons, and the hash."""
    from kubernaut.cli.output import printable, shown

    card = problem.member("card")
    if isinstance(card, str):
        yield printable(card)
        yield ""
    for reason in problem.member("reasons") or ():
        if isinstance(reason, dict):
            yield f"  [{shown(reason.get('code'))}] {shown(reason.get('message'))}"
    digest = problem.member("hash")
    if digest:
        yield f"to approve exactly this plan: --approve {shown(digest)}"


def _target(row: Document) -> str | None:
    target = row.get("target")
    if isinstance(target, dict):
        parts = [str(target[part]) for part in ("namespace", "name") if target.get(part)]
        return " ".join(part for part in (str(target.get("kind") or ""), "/".join(parts)) if part) or None
    return str(target) if target else None
