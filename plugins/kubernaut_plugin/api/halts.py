"""Routes of the emergency brake. Halting and resuming need the same right as starting a plan."""

from typing import Annotated

from fastapi import Depends, Query

from kubernaut.errors import Fault
from kubernaut.settings import get_settings
from kubernaut.store.engine import session
from kubernaut.store.halts import end_halt, open_halts, set_halt
from kubernaut_plugin.api import views
from kubernaut_plugin.api.bodies import json_body, takes
from kubernaut_plugin.api.models import ClusterName, Halt, HaltBody, Halts, Reason, ReleaseBody
from kubernaut_plugin.api.problems import Problem, faulty
from kubernaut_plugin.api.security import Authority, Who, person_router

reads = person_router(Authority.READ)
writes = person_router(Authority.WRITE)


@reads.get("/halts", tags=["halt"])
def read_halts() -> Halts:
    """The halts in force."""
    with session() as store:
        return Halts(halts=[views.halt(row) for row in store.scalars(open_halts())])


@writes.post("/halt", openapi_extra=takes(HaltBody), tags=["halt"])
def halt(body: Annotated[HaltBody, Depends(json_body(HaltBody))], who: Who) -> Halt:
    """Stop: nothing new is registered, and a step that meets the halt waits at its claim.

    Where it is halted already, that halt stays and is the answer.
    """
    _require_known(body.cluster)
    with session() as store:
        return views.halt(set_halt(store, cluster=body.cluster, reason=body.reason, actor=who))


@writes.delete("/halt", openapi_extra=takes(ReleaseBody, required=False), tags=["halt"])
def resume(
    body: Annotated[ReleaseBody, Depends(json_body(ReleaseBody))],
    who: Who,
    cluster: Annotated[ClusterName | None, Query(description="The halt of this cluster; else the one for all.")] = None,
    reason: Annotated[Reason | None, Query(description="Why it may go on.")] = None,
) -> Halt:
    """End a halt: what waited goes on. Cluster and reason may be parameters or the body."""
    wanted = _either("/cluster", cluster, body.cluster)
    with session() as store:
        ended = end_halt(store, cluster=wanted, reason=_either("/reason", reason, body.reason), actor=who)
        in_force = [f"cluster {row.cluster}" if row.cluster else "all clusters" for row in store.scalars(open_halts())]
    if ended is None:
        listed = ", ".join(in_force) or "none"
        raise Problem(
            404,
            "not_halted",
            f"there is no halt of {f'cluster {wanted}' if wanted else 'all clusters'}; halts in force: {listed}",
        )
    return views.halt(ended)


def _require_known(cluster: str | None) -> None:
    """A halt of a cluster that is misspelt would stop nothing."""
    known = get_settings().clusters
    if cluster is not None and cluster not in known:
        fault = Fault(
            pointer="/cluster",
            code="unknown_cluster",
            message=f"there is no cluster {cluster!r}",
            remedy=f"Name one of the setting clusters ({', '.join(sorted(known)) or 'none'}), or halt all by naming none.",
        )
        raise faulty(422, "invalid_request", [fault])


def _either(pointer: str, parameter: str | None, member: str | None) -> str | None:
    if parameter is not None and member is not None and parameter != member:
        fault = Fault(
            pointer=pointer,
            code="conflicting_values",
            message="parameter and body name different ones",
            remedy="Send one of them.",
        )
        raise faulty(422, "invalid_request", [fault])
    return parameter if parameter is not None else member
