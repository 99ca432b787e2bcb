"""Who may ask what: the three kinds of routes, and no fourth (DESIGN: what a plan may touch).

*Liveness* says nothing and asks nothing. *Machine* routes bring the check of their own token or signature. *Person*
routes ask Airflow who it is, and Airflow's auth manager whether that user may read (or create) runs of the DAG
`execute_plan`, which is ours: the rights of existing roles fit without any set-up. Routers are made here and nowhere
else, so no route can forget its guard; `require_kinds` refuses an app that has one of another origin.

No `from __future__ import annotations` in modules with routes: a dependency that cannot be resolved becomes a query
parameter, and `?user=…` would be believed.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from airflow.configuration import conf
from fastapi import APIRouter, Depends, Request
from fastapi.dependencies.utils import get_flat_dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from kubernaut.store.audit import Actor
from kubernaut_plugin.api.problems import Problem, ProblemDocument, faulty
from kubernaut_plugin.api.requests import query_faults

DAG_ID = "execute_plan"
"""The DAG whose runs stand for executions where Airflow is asked for rights."""


class Authority(StrEnum):
    """What a person's route needs."""

    READ = "read"
    WRITE = "write"


GUARDS: Mapping[Authority, Callable[..., Any]] = {
    Authority.READ: requires_access_dag("GET", DagAccessEntity.RUN, param_dag_id=DAG_ID),
    Authority.WRITE: requires_access_dag("POST", DagAccessEntity.RUN, param_dag_id=DAG_ID),
}


class LivenessRoute(APIRoute):
    """Answers anybody, and holds no secret."""


class MachineRoute(APIRoute):
    """Answers whoever passes its own verification."""


class PersonRoute(APIRoute):
    """Answers users of Airflow who have the right."""


def liveness_router() -> APIRouter:
    return APIRouter(route_class=LivenessRoute)


def machine_router(verify: Callable[..., Any]) -> APIRouter:
    """`verify`: a dependency that raises `Problem` where token or signature are wrong."""
    return APIRouter(route_class=MachineRoute, dependencies=[Depends(verify)], responses=_PROBLEMS)


def person_router(authority: Authority) -> APIRouter:
    """Order matters: nothing of a request is looked at before its sender is known."""
    return APIRouter(
        prefix="/api/v1",
        route_class=PersonRoute,
        dependencies=[Depends(GUARDS[authority]), Depends(decent)],
        responses=_PROBLEMS,
    )


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {"model": ProblemDocument, "description": "Anything else: a problem document (RFC 9457)."}
}


def guards_of(route: BaseRoute) -> list[Callable[..., Any]]:
    """The dependencies of the route's router, in the order in which they are asked."""
    if not isinstance(route, APIRoute):
        return []
    return [dependency.call for dependency in route.dependant.dependencies if dependency.call is not None]


def require_kinds(routes: Iterable[BaseRoute]) -> None:
    """Raises `RuntimeError` for a route that is of none of the three kinds, or has lost its guard."""
    for route in routes:
        first = next(iter(guards_of(route)), None)
        allowed = isinstance(route, LivenessRoute)
        allowed = allowed or (isinstance(route, MachineRoute) and first is not None)
        allowed = allowed or (isinstance(route, PersonRoute) and first in GUARDS.values())
        if not allowed:
            raise RuntimeError(f"the route {route} is no liveness, machine or person route; use their routers")


def actor(user: GetUserDep) -> Actor:
    """The user, as Airflow names them in its own audit log."""
    return Actor.user(user.get_name() or str(user.get_id()))


Who = Annotated[Actor, Depends(actor)]


# --- what a request of a person may look like


def decent(request: Request) -> None:
    """No parameter that nobody reads; of writes, only JSON (a form of another site cannot send it), and from here."""
    _usable_parameters(request)
    if request.method not in ("GET", "HEAD"):
        _only_json(request)
        _same_site(request)


def _usable_parameters(request: Request) -> None:
    """A filter that is silently ignored shows, or releases, more than was meant. Everything that is wrong comes at once."""
    route = request.scope["route"]
    faults = query_faults(request.query_params, get_flat_dependant(route.dependant).query_params)
    if faults:
        raise faulty(400, "invalid_parameter", faults)


def _only_json(request: Request) -> None:
    given = request.headers.get("content-type")
    media_type = (given or "").partition(";")[0].strip().lower()
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    encoding = request.headers.get("content-encoding", "identity").lower()
    if (given is None and not has_body) or (media_type == "application/json" and encoding == "identity"):
        return
    shown = given if encoding == "identity" else f"{given} ({encoding})"
    raise Problem(
        415,
        "unsupported_media_type",
        f"the body is {shown or 'of no stated type'}; send it as `Content-Type: application/json`, not compressed",
        headers={"Accept": "application/json"},
    )


def _same_site(request: Request) -> None:
    """A browser sends the login's cookie along with what another site makes it send: only our own pages may write.

    Every browser of today says where a write comes from; what says nothing is refused, and programs have their token.
    """
    if request.headers.get("authorization", "").partition(" ")[0].lower() == "bearer":
        return  # no browser adds that by itself
    fetched_from = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    foreign = fetched_from not in (None, "same-origin", "none") or (
        origin is not None and not _is_ours(request, origin)
    )
    if foreign or (fetched_from is None and origin is None):
        raise Problem(
            403,
            "cross_site",
            f"with the login's cookie, only this server's own pages may change something; this comes from "
            f"{origin or fetched_from or 'an unknown place (no Origin)'}. Programs send `Authorization: Bearer …`",
        )


def _is_ours(request: Request, origin: str) -> bool:
    ours = {request.headers.get("host", ""), urlsplit(conf.get("api", "base_url", fallback="") or "").netloc}
    return urlsplit(origin).netloc in ours - {""}
