"""Routes about plans that nobody runs yet: look at one, and the schema of ours."""

from typing import Annotated, Any

from fastapi import Depends, Query

from kubernaut.plan.model import plan_schema
from kubernaut_plugin.api import service
from kubernaut_plugin.api.bodies import json_body, takes
from kubernaut_plugin.api.cards import card_text
from kubernaut_plugin.api.models import ValidateBody, Validated
from kubernaut_plugin.api.requests import TrackingId
from kubernaut_plugin.api.security import Authority, Who, person_router

reads = person_router(Authority.READ)


@reads.post("/plans/validate", openapi_extra=takes(ValidateBody), tags=["plans"])
async def validate_plan(
    body: Annotated[ValidateBody, Depends(json_body(ValidateBody))],
    who: Who,
    tracking_id: TrackingId,
    provenance: Annotated[bool, Query(description="Also where each leaf of the answer went.")] = False,
    card: Annotated[bool, Query(description="Also the plan for people.")] = False,
) -> Validated:
    """Look at a plan: whether it may run, what it would do, and everything that is wrong with it.

    Nothing is rendered, resolved, fetched, registered or changed, and no cluster is read; what only a cluster can tell is
    in `unchecked`. A plan with faults is a result (200, `outcome: invalid`); only a body that is no JSON is a problem.
    """
    found = await service.validate(body, who, tracking_id)
    return Validated(
        **found.public(),
        provenance=list(found.provenance) if provenance else None,
        card=card_text(found) if card else None,
    )


@reads.get("/plans/schema", tags=["plans"])
def read_plan_schema() -> dict[str, Any]:
    """The JSON Schema of a plan in Kubernaut's own form."""
    return plan_schema()
