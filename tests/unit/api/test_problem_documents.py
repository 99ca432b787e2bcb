"""What cannot be used is refused with a problem document that names the place and the remedy, before the store is asked."""

import gzip
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from kubernaut.settings import get_settings
from tests.unit.api.asking import asking, problem
from tests.unit.api.conftest import AWAY

JSON = {"content-type": "application/json"}
START = "/api/v1/executions"


async def sent(client: httpx.AsyncClient, body: bytes | Any, path: str = START) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await client.post(path, content=content, headers=JSON)


def places(document: dict[str, Any]) -> dict[str, str]:
    return {fault["pointer"]: fault["code"] for fault in document["faults"]}


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        (b"{", "json_syntax", ""),
        (b'{"plan": {"a": 1,}}', "json_syntax", ""),
        (b'```json\n{"plan": 1}\n```', "json_syntax", ""),
        (b'{"plan": {"a": NaN}}', "json_not_finite", "/plan/a"),
        (b'{"plan": {"a": 1, "a": 2}}', "json_duplicate_key", "/plan/a"),
        (b'{"plan": "\xff"}', "json_encoding", ""),
        (b'{"plan": ' + b"[" * 200 + b"]" * 200 + b"}", "json_too_deep", ""),
    ],
)
@pytest.mark.parametrize("path", [START, "/api/v1/plans/validate"])
async def test_a_body_that_is_no_json(
    admin: httpx.AsyncClient, path: str, body: bytes, code: str, pointer: str
) -> None:
    document = problem(await sent(admin, body, path), 400, "malformed_json")
    assert document["faults"][0]["pointer"] == pointer
    assert document["faults"][0]["remedy"]
    assert document["faults"][0]["code"] == code


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_of_10_mb_is_never_held_whole(admin: httpx.AsyncClient, declared: bool) -> None:
    """With and without a Content-Length; the client that sends it all gets its answer."""
    piece = b"x" * 65_536

    async def body() -> AsyncIterator[bytes]:
        for _ in range(160):
            yield piece

    content: Any = piece * 160 if declared else body()
    answer = await admin.post(START, content=content, headers=JSON)
    document = problem(answer, 413, "too_large")
    assert places(document) == {"": "json_too_large"}


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, {"/plan": "missing"}),
        ([], {"": "not_an_object"}),
        ("plan", {"": "not_an_object"}),
        ({"plan": {}, "sginal": {}, "dry_run": True}, {"/sginal": "unknown_field", "/dry_run": "unknown_field"}),
        ({"plan": {}, "priority": "urgent"}, {"/priority": "enum"}),
        ({"plan": {}, "approve": True}, {"/approve": "string_type"}),
        ({"signal": {}, "priority": 1, "a/b": 0}, {"/plan": "missing", "/priority": "enum", "/a~1b": "unknown_field"}),
    ],
)
async def test_all_faults_of_a_body_at_once(admin: httpx.AsyncClient, body: Any, faults: dict[str, str]) -> None:
    document = problem(await sent(admin, body), 422, "invalid_request")
    assert places(document) == faults


async def test_two_tracking_ids_that_differ(admin: httpx.AsyncClient) -> None:
    answer = await admin.post(START, json={"plan": {}, "tracking_id": "a"}, headers={"X-Tracking-Id": "b"})
    assert places(problem(answer, 422, "invalid_request")) == {"/tracking_id": "conflicting_tracking_ids"}


@pytest.mark.parametrize("key", ["", "with space", "x" * 256])
async def test_an_idempotency_key_that_is_none(admin: httpx.AsyncClient, key: str) -> None:
    answer = await admin.post(START, json={"plan": {}}, headers={"Idempotency-Key": key})
    assert places(problem(answer, 400, "invalid_header")) == {"/Idempotency-Key": "invalid_header"}


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"content-type": "text/plain"}, b'{"plan": {}}'),
        ({"content-type": "application/x-www-form-urlencoded"}, b"plan=1"),
        ({"content-type": "application/x-www-form-urlencoded"}, b""),
        ({"content-type": "multipart/form-data; boundary=x"}, b"--x--"),
        ({}, b'{"plan": {}}'),
        ({"content-type": "application/json", "content-encoding": "gzip"}, gzip.compress(b'{"plan": {}}')),
    ],
)
async def test_writes_take_json_and_nothing_else(
    admin: httpx.AsyncClient, headers: dict[str, str], content: bytes
) -> None:
    for path in (START, "/api/v1/plans/validate", "/api/v1/halt", f"{START}/ex-0000000000000000000/undo"):
        problem(await admin.post(path, content=content, headers=headers), 415, "unsupported_media_type")


# --- parameters


@pytest.mark.parametrize(
    ("query", "faults"),
    [
        ("?user=x", {"/user": "unknown_parameter"}),
        ("?phases=running&limt=3", {"/phases": "unknown_parameter", "/limt": "unknown_parameter"}),
        ("?limit=0", {"/limit": "greater_than_equal"}),
        ("?limit=201", {"/limit": "less_than_equal"}),
        ("?limit=1&limit=2", {"/limit": "repeated_parameter"}),
        ("?phase=runing", {"/phase": "enum"}),
        ("?phase=running&phase=runing", {"/phase/1": "enum"}),
        ("?outcome=great&kind=dream", {"/outcome": "enum", "/kind": "enum"}),
        ("?cursor=nonsense", {"/cursor": "invalid_parameter"}),
        ("?since=yesterday", {"/since": "datetime_from_date_parsing"}),
        ("?since=2026-01-01T00:00:00", {"/since": "timezone_aware"}),
        ("?namespace=%00", {"/namespace": "invalid_text"}),
    ],
)
async def test_a_filter_that_cannot_be_used(admin: httpx.AsyncClient, query: str, faults: dict[str, str]) -> None:
    document = problem(await admin.get(START + query), 400, "invalid_parameter")
    assert places(document) == faults


async def test_all_faults_of_a_query_at_once(admin: httpx.AsyncClient) -> None:
    answer = await admin.get(f"{START}?phse=running&limit=many&phase=runing&since=yesterday&cursor=nonsense")
    assert set(places(problem(answer, 400, "invalid_parameter"))) == {"/phse", "/limit", "/phase", "/since", "/cursor"}


@pytest.mark.parametrize(
    ("query", "remedy"),
    [
        ("since=yesterday", "2026-01-31T12:00:00Z"),
        ("since=2026-01-01T00:00:00", "with its zone"),
        ("phase=runing", "'running'"),
        ("limit=many", "Give a whole number."),
        ("limit=0", "Give at least 1."),
        ("limit=201", "Give at most 200."),
    ],
)
async def test_a_remedy_names_what_is_expected(admin: httpx.AsyncClient, query: str, remedy: str) -> None:
    (fault,) = problem(await admin.get(f"{START}?{query}"), 400, "invalid_parameter")["faults"]
    assert remedy in fault["remedy"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", f"{START}/ex-0000000000000000000"), ("DELETE", "/api/v1/halt"), ("GET", "/api/v1/health")],
)
async def test_no_route_ignores_a_parameter(admin: httpx.AsyncClient, method: str, path: str) -> None:
    """A misspelt `cluster` would release the halt of all of them."""
    document = problem(await admin.request(method, path + "?clutser=prod"), 400, "invalid_parameter")
    assert places(document) == {"/clutser": "unknown_parameter"}


# --- addresses


@pytest.mark.parametrize("execution", ["ex-1", "ex-%00", "..", "ex-000000000000000000%0a", "x" * 3_000])
async def test_an_id_that_is_none(admin: httpx.AsyncClient, execution: str) -> None:
    problem(await admin.get(f"{START}/{execution}"), 404, "not_found")


async def test_an_address_that_nobody_serves(admin: httpx.AsyncClient) -> None:
    problem(await admin.get("/api/v1/remediations"), 404, "not_found")


async def test_a_method_that_the_address_does_not_know(admin: httpx.AsyncClient) -> None:
    answer = await admin.put("/api/v1/halt", json={})
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"]


# --- other sites


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, False),
        ({"Authorization": "Bearer admin-token"}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "http://airflow.test"}, True),
        ({"Origin": "http://airflow.example"}, True),
        ({"Origin": "http://airflow.test", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": "https://evil.test"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://airflow.test.evil.test"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Authorization": "Basic eDp5", "Origin": "https://evil.test"}, False),
        ({"Authorization": "Bearer admin-token", "Origin": "https://evil.test"}, True),
    ],
)
async def test_with_the_logins_cookie_only_our_own_pages_write(
    app: FastAPI, headers: dict[str, str], allowed: bool
) -> None:
    async with asking(app, None) as client:
        answer = await client.post(START, json={}, headers={"Cookie": "_token=admin-token", **headers})
    if allowed:
        problem(answer, 422, "invalid_request")
    else:
        problem(answer, 403, "cross_site")


# --- what is nobody's fault but ours


async def test_an_unexpected_error_is_logged_under_a_reference_and_tells_nothing(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from kubernaut_plugin.api import service

    def broken(_: str) -> None:
        raise LookupError("the password is hush-hush")

    monkeypatch.setattr(service, "story_sync", broken)
    with caplog.at_level(logging.ERROR):
        async with asking(app) as client:
            answer = await client.get(f"{START}/ex-0000000000000000000")
    document = problem(answer, 500, "internal")
    assert "hush" not in answer.text
    assert "Traceback" not in answer.text
    assert document["reference"] in caplog.text
    assert "hush-hush" in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", START, None),
        ("GET", "/api/v1/halts", None),
        ("POST", "/api/v1/plans/validate", {"plan": {}}),
        ("POST", START, {"plan": {}}),
        ("DELETE", "/api/v1/halt", None),
    ],
)
async def test_a_store_that_is_away(admin: httpx.AsyncClient, method: str, path: str, body: Any) -> None:
    answer = await admin.request(method, path, json=body)
    problem(answer, 503, "store_unavailable")
    assert answer.headers["retry-after"]
    assert "hush-hush" not in answer.text
    assert "somebody" not in answer.text


async def test_health_says_that_the_store_is_away(admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernaut_plugin.api import health

    parts = ("scheduler", "triggerer", "dag_processor")
    healthy = {name: {"status": "healthy", f"latest_{name}_heartbeat": None} for name in parts}
    monkeypatch.setattr(health, "get_airflow_health", lambda: healthy)
    document = problem(await admin.get("/api/v1/health"), 503, "store_unavailable")
    assert document["health"]["status"] == "degraded"
    assert document["health"]["store"]["reachable"] is False
    assert "hush-hush" not in json.dumps(document)
    assert AWAY not in json.dumps(document)


async def test_a_setting_that_cannot_be_read_is_named(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    async with asking(app) as client:
        monkeypatch.setenv("KUBERNAUT_MAX_STEPS", "many")
        get_settings.cache_clear()
        document = problem(await client.post(START, json={"plan": {}}), 503, "configuration")
    assert "KUBERNAUT_MAX_STEPS" in document["detail"]
