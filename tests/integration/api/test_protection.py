"""Every route of the mounted app in a real Airflow, asked by everybody: the statuses that Airflow's own users get."""

from typing import Any

import httpx
import pytest

from devstack import Stack

PREFIX = "/kubernaut"
EXECUTION = "ex-0000000000000000000"
NOBODY, VIEWER, USER, ADMIN = "nobody", "viewer", "user", "admin"

READ = {None: {401}, "forged": {403}, NOBODY: {403}, VIEWER: "in", USER: "in", ADMIN: "in"}
WRITE = {None: {401}, "forged": {403}, NOBODY: {403}, VIEWER: {403}, USER: "in", ADMIN: "in"}
ALIVE = dict.fromkeys(READ, "in")
ROUTES: dict[tuple[str, str], dict[str | None, Any]] = {
    ("GET", "/livez"): ALIVE,
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
IN = {200, 400, 404, 409, 422}
"""Let in. Bodies are empty and the execution is nobody's, so that nothing happens."""


def ask(stack: Stack, method: str, path: str, who: str | None, query: str = "") -> httpx.Response:
    if method == "DELETE":  # no halt that another test may need
        query += ("&" if query else "?") + "cluster=nowhere"
    address = PREFIX + path.replace("{execution_id}", EXECUTION) + query
    if who == "forged":
        return stack.request(method, address, user=None, headers={"Authorization": "Bearer a.forged.token"})
    return stack.request(method, address, user=who)


def test_the_table_above_has_every_route(stack: Stack) -> None:
    document = stack.request("GET", f"{PREFIX}/api/v1/openapi.json").json()
    assert {(method.upper(), path) for path, methods in document["paths"].items() for method in methods} == set(ROUTES)


@pytest.mark.requirement("BR-SEC-001")
@pytest.mark.parametrize("query", ["", "?user=admin&dag_id=execute_plan"])
def test_who_is_let_in(stack: Stack, query: str) -> None:
    """Airflow's roles as they are: who may read DAG runs may read, who may create them may start and stop."""
    wrong = []
    for (method, path), table in ROUTES.items():
        for who, expected in table.items():
            answer = ask(stack, method, path, who, query)
            if answer.status_code not in (IN if expected == "in" else expected):
                wrong.append((method, path, who, answer.status_code, answer.text[:200]))
    assert wrong == []


def test_every_refusal_is_a_problem_document(stack: Stack) -> None:
    for who in (None, "forged", NOBODY):
        for method, path in ROUTES:
            if path != "/livez":
                answer = ask(stack, method, path, who)
                assert answer.headers["content-type"] == "application/problem+json", (method, path, who)


def test_the_logins_cookie_writes_only_from_our_own_pages(stack: Stack) -> None:
    cookie = {"Cookie": f"_token={stack.token(ADMIN)}"}
    path = f"{PREFIX}/api/v1/executions"
    for said, status in (({"Origin": stack.api_url}, 422), ({"Origin": "https://evil.test"}, 403), ({}, 403)):
        answer = stack.request("POST", path, {}, user=None, headers={**cookie, **said})
        assert answer.status_code == status, answer.text


def test_a_body_of_10_mb_is_answered(stack: Stack) -> None:
    answer = stack.kubernaut("POST", "/executions", {"plan": "x" * 10_000_000})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_health_of_a_stack_that_is_well(stack: Stack) -> None:
    def well() -> dict[str, Any] | None:
        answer = stack.kubernaut("GET", "/health")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found if found["status"] == "ok" else None

    found = stack.wait_until(well, 30, "the health is ok")
    assert found is not None
    assert found["clusters"]["practice"]["reachable"] is True
    assert found["registrar"]["healthy"] is found["reconciler"]["healthy"] is True
