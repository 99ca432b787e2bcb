"""Routes about executions: start a plan, list them, read one, take one back."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Depends, Query, Response
from pydantic import AwareDatetime

from kubernaut.execution.phases import ExecutionOutcome, Phase
from kubernaut.store.engine import session
from kubernaut.store.halts import open_halts
from kubernaut.store.history import MAX_PAGE, Filters, list_executions
from kubernaut.store.tables import ExecutionKind
from kubernaut_plugin.api import service, views
from kubernaut_plugin.api.bodies import json_body, takes
from kubernaut_plugin.api.models import Accepted, Details, Page, SubmitBody, UndoAccepted, UndoBody
from kubernaut_plugin.api.requests import Here, IdempotencyKey, TrackingId, one_tracking_id
from kubernaut_plugin.api.security import Authority, Who, person_router

reads = person_router(Authority.READ)
writes = person_router(Authority.WRITE)


@writes.post("/executions", status_code=202, openapi_extra=takes(SubmitBody), tags=["executions"])
async def start_execution(
    body: Annotated[SubmitBody, Depends(json_body(SubmitBody))],
    who: Who,
    key: IdempotencyKey,
    tracking_id: TrackingId,
    here: Here,
    response: Response,
) -> Accepted:
    """Start a plan: 202 when it is in the store.

    409 `human_required` or `approval_required` has the plan's card, the reasons and its `hash`; the same request with
    `approve: <hash>` by a user who may start it approves exactly that plan. 422 `invalid_plan` has every fault.
    """
    found = await service.submit(
        service.Request(body=body, actor=who, key=key, tracking_id=one_tracking_id(tracking_id, body.tracking_id))
    )
    links = here.execution(found.execution_id, found.dag_id, found.run_id)
    response.headers["Location"] = links.self
    return Accepted(
        execution_id=found.execution_id,
        dag_id=found.dag_id,
        run_id=found.run_id,
        tracking_id=found.tracking_id,
        created=found.created,
        links=links,
    )


@reads.get("/executions", tags=["executions"])
def list_all(
    here: Here,
    phase: Annotated[list[Phase], Query(description="Any of these.")] = [],  # noqa: B006  (FastAPI copies it)
    outcome: Annotated[list[ExecutionOutcome], Query(description="Any of these.")] = [],  # noqa: B006
    kind: Annotated[list[ExecutionKind], Query(description="Any of these.")] = [],  # noqa: B006
    action: Annotated[str | None, Query(description="With a step of this action.")] = None,
    cluster: Annotated[str | None, Query(description="Of the target.")] = None,
    target: Annotated[str | None, Query(description="The target's name, or `kind/name`.")] = None,
    namespace: Annotated[str | None, Query(description="Of the target.")] = None,
    since: Annotated[AwareDatetime | None, Query(description="Created then or later.")] = None,
    until: Annotated[AwareDatetime | None, Query(description="Created earlier.")] = None,
    tracking_id: Annotated[str | None, Query()] = None,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
) -> Page:
    """Executions, newest first, a page at a time. All filters that are given must hold."""
    target_kind, _, target_name = (target or "").rpartition("/")
    filters = Filters(
        phases=tuple(phase),
        outcomes=tuple(outcome),
        kinds=tuple(kind),
        action=action,
        cluster=cluster,
        target_kind=target_kind or None,
        target_name=target_name or None,
        namespace=namespace,
        since=since,
        until=until,
        tracking_id=tracking_id,
    )
    with session() as store:
        page = list_executions(store, filters, cursor=cursor, limit=limit)
        halts = list(store.scalars(open_halts()))
    return Page(
        executions=[views.summary(row, here) for row in page.executions],
        next_cursor=page.next_cursor,
        halts=[views.halt(row) for row in halts],
    )


@reads.get("/executions/{execution_id}", tags=["executions"])
def read_execution(execution_id: str, here: Here) -> Details:
    """One execution: phase, progress, its steps with what they brought, what was changed, the verdict, its undos."""
    return views.details(service.story_sync(execution_id), here, datetime.now(UTC))


@writes.post(
    "/executions/{execution_id}/undo",
    status_code=202,
    openapi_extra=takes(UndoBody, required=False),
    tags=["executions"],
)
def undo_execution(
    execution_id: str,
    body: Annotated[UndoBody, Depends(json_body(UndoBody))],
    who: Who,
    here: Here,
    response: Response,
) -> UndoAccepted:
    """Take back what an ended execution changed, as an execution of its own.

    409 where it has not ended, where there is nothing to take back (and why), or where an undo is under way.
    """
    queued = service.undo_sync(execution_id, who, body.reason)
    found = queued.accepted
    links = here.execution(found.execution_id, found.dag_id, found.run_id)
    response.headers["Location"] = links.self
    return UndoAccepted(
        execution_id=found.execution_id,
        dag_id=found.dag_id,
        run_id=found.run_id,
        tracking_id=found.tracking_id,
        created=True,
        links=links,
        undoes=execution_id,
        cannot_be_undone=dict(queued.left_out),
    )
