"""Three kinds of routes and no fourth: who is answered by which, and that none can be added without a guard."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount, Route

from tests.unit.api.asking import StandInAuthManager, asking, problem

LIVENESS, READ, WRITE = "liveness", "read", "write"
ROUTES = {
    ("GET", "/livez"): LIVENESS,
    ("GET", "/api/v1/health"): READ,
    ("GET", "/api/v1/openapi.json"): READ,
    ("POST", "/api/v1/plans/validate"): READ,
    ("GET", "/api/v1/plans/schema"): READ,
    ("POST", "/api/v1/executions"): WRITE,
    ("GET", "/api/v1/executions"): READ,
    ("GET", "/api/v1/executions/{execution_id}"): READ,
    ("POST", "/api/v1/executions/{execution_id}/undo"): WRITE,
    ("POST", "/api/v1/halt"): WRITE,
    ("DELETE", "/api/v1/halt"): WRITE,
    ("GET", "/api/v1/halts"): READ,
}
"""Every route of the app. A new one is added here, with the thought of who may ask it."""
PERSONS = [(method, path, kind) for (method, path), kind in ROUTES.items() if kind != LIVENESS]
WRITES = [(method, path) for method, path, kind in PERSONS if kind == WRITE]


def walk(routes: list[BaseRoute], prefix: str = "") -> list[tuple[str, str, BaseRoute]]:
    """Every route of an app, those of mounted apps and nested routers too."""
    found = []
    for route in routes:
        if isinstance(route, Mount):
            found += walk(list(route.routes), prefix + route.path)
        else:
            methods = getattr(route, "methods", None) or {"?"}
            found += [(method, prefix + getattr(route, "path", "?"), route) for method in sorted(methods)]
    return found


def concrete(path: str) -> str:
    return path.replace("{execution_id}", "ex-0000000000000000000")


def test_the_table_above_has_every_route(app: FastAPI) -> None:
    assert {(method, path) for method, path, _ in walk(app.routes)} == set(ROUTES)


def test_every_route_has_the_guard_of_its_kind_first(app: FastAPI) -> None:
    from kubernaut_plugin.api.security import GUARDS, Authority, LivenessRoute, PersonRoute, guards_of

    for method, path, route in walk(app.routes):
        kind = ROUTES[method, path]
        if kind == LIVENESS:
            assert type(route) is LivenessRoute, path
        else:
            assert type(route) is PersonRoute, path
            assert guards_of(route)[0] is GUARDS[Authority(kind)], path


def test_no_parameter_of_a_route_is_a_user_or_a_session(app: FastAPI) -> None:
    """What FastAPI cannot resolve as a dependency it reads from the query: such a name must never appear there."""
    from fastapi.dependencies.utils import get_flat_dependant

    for _, path, route in walk(app.routes):
        assert isinstance(route, APIRoute)
        names = {field.alias for field in get_flat_dependant(route.dependant).query_params}
        assert not names & {"user", "who", "actor", "session", "request", "body", "here"}, path


@pytest.mark.parametrize(("method", "path", "kind"), PERSONS)
@pytest.mark.parametrize("query", ["", "?user=admin", "?who=admin&user=admin&token=admin-token"])
async def test_without_a_token_nobody_is_answered(
    as_user: Callable[[str | None], Any], method: str, path: str, kind: str, query: str
) -> None:
    async with as_user(None) as client:
        answer = await client.request(method, concrete(path) + query)
    problem(answer, 401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path", "kind"), PERSONS)
async def test_a_bad_token_is_answered_by_a_refusal(app: FastAPI, method: str, path: str, kind: str) -> None:
    async with asking(app, "forged") as client:
        problem(await client.request(method, concrete(path)), 403, "forbidden")


@pytest.mark.parametrize(("method", "path", "kind"), PERSONS)
async def test_a_user_without_any_right_is_refused(app: FastAPI, method: str, path: str, kind: str) -> None:
    async with asking(app, "nobody") as client:
        problem(await client.request(method, concrete(path) + "?user=admin"), 403, "forbidden")


@pytest.mark.parametrize(("method", "path"), WRITES)
async def test_whoever_may_only_read_changes_nothing(app: FastAPI, method: str, path: str) -> None:
    async with asking(app, "viewer") as client:
        problem(await client.request(method, concrete(path) + "?user=admin"), 403, "forbidden")


async def test_a_sender_without_rights_learns_nothing_about_the_request(app: FastAPI) -> None:
    """Authority is asked before parameters and body are looked at."""
    async with asking(app, "viewer") as client:
        answer = await client.post(
            "/api/v1/executions?nonsense=1", content=b"{", headers={"content-type": "text/plain"}
        )
    problem(answer, 403, "forbidden")


@pytest.mark.parametrize(("method", "path", "kind"), PERSONS)
async def test_the_right_that_counts_is_the_one_on_runs_of_execute_plan(
    app: FastAPI, auth: StandInAuthManager, method: str, path: str, kind: str
) -> None:
    """Whatever the request says: `dag_id` in the query decides nothing."""
    async with asking(app, "nobody") as client:
        await client.request(method, concrete(path) + "?dag_id=somebody_elses")
    assert auth.asked == [("nobody", "GET" if kind == READ else "POST", "RUN", "execute_plan")]


async def test_livez_answers_anybody_and_says_nothing(as_user: Callable[[str | None], Any]) -> None:
    async with as_user(None) as client:
        answer = await client.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"])
async def test_fastapis_own_public_pages_are_off(as_user: Callable[[str | None], Any], path: str) -> None:
    async with as_user(None) as client:
        problem(await client.get(path), 404, "not_found")


async def test_the_description_is_for_those_who_may_read(app: FastAPI) -> None:
    async with asking(app, "viewer") as client:
        document = (await client.get("/api/v1/openapi.json")).json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == set(ROUTES)


def _plain() -> BaseRoute:
    return Route("/open", lambda request: None)


def _fastapi() -> BaseRoute:
    router = APIRouter()
    router.get("/open")(lambda: None)
    return router.routes[0]


def _person_without_guard() -> BaseRoute:
    from kubernaut_plugin.api.security import PersonRoute

    return PersonRoute("/open", lambda: None)


def _mounted() -> BaseRoute:
    return Mount("/static", FastAPI())


@pytest.mark.parametrize("made", [_plain, _fastapi, _person_without_guard, _mounted])
def test_an_app_with_a_route_of_a_fourth_kind_cannot_be_made(app: FastAPI, made: Callable[[], BaseRoute]) -> None:
    from kubernaut_plugin.api.security import require_kinds

    with pytest.raises(RuntimeError, match="no liveness, machine or person route"):
        require_kinds([*app.routes, made()])


async def test_a_machine_route_is_behind_its_own_verification(auth: StandInAuthManager) -> None:
    from kubernaut_plugin.api.problems import Problem, install
    from kubernaut_plugin.api.security import machine_router, require_kinds

    def never() -> None:
        raise Problem(401, "unauthenticated", "no signature")

    router = machine_router(never)
    router.post("/hook")(lambda: "in")
    app = FastAPI()
    app.include_router(router)
    install(app)
    require_kinds(app.router.routes[-1:])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://airflow.test") as client:
        problem(await client.post("/hook", headers={"Authorization": "Bearer admin-token"}), 401, "unauthenticated")
