"""What the client makes of an API server's answers, and of their absence."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from kubernaut.actions.spec import ABSENT, FieldChange, ObjectPatch, StepFailure
from kubernaut.cluster.client import KubeClient, WatchEvent, WatchExpired, refusal
from kubernaut.cluster.objects import ObjectRef
from kubernaut.cluster.patch import patch_operations
from kubernaut.cluster.practice.requests import Injection
from kubernaut.cluster.practice.server import PracticeServer
from kubernaut.cluster.transport import USER_AGENT, AiohttpTransport, Response
from kubernaut.errors import ErrorClass

CHECKOUT = ObjectRef.of("Deployment", "shop", "checkout")


async def scale_operations(client: KubeClient, replicas: int, before: int = 2) -> list[Any]:
    found = await client.get(CHECKOUT)
    change = FieldChange(pointer="/spec/replicas", before=before, after=replicas)
    return patch_operations(
        ObjectPatch(
            target=CHECKOUT,
            uid=found["metadata"]["uid"],
            resource_version=found["metadata"]["resourceVersion"],
            fields=(change,),
            summary="",
        )
    )


async def failing(work: Any) -> StepFailure:
    with pytest.raises(StepFailure) as caught:
        await work
    return caught.value


# --- reading and writing


async def test_an_object_is_read_as_the_server_has_it(client: KubeClient) -> None:
    found = await client.get(CHECKOUT)
    assert (found["kind"], found["spec"]["replicas"]) == ("Deployment", 2)


async def test_items_of_a_list_carry_their_kind(client: KubeClient) -> None:
    listing = await client.list("Deployment", "shop", label_selector="app=checkout")
    assert [(item["kind"], item["metadata"]["name"]) for item in listing.items] == [("Deployment", "checkout")]
    assert listing.resource_version


async def test_a_patch_is_written_under_our_name(client: KubeClient, server: PracticeServer) -> None:
    stored = await client.json_patch(CHECKOUT, await scale_operations(client, 5))
    assert stored["spec"]["replicas"] == 5
    (request,) = [record for record in server.requests if record.method == "PATCH"]
    assert (request.query["fieldManager"], request.user_agent) == ("kubernaut", USER_AGENT)
    assert request.content_type == "application/json-patch+json"


async def test_labels_of_a_namespace(client: KubeClient) -> None:
    assert (await client.namespace_labels("shop"))["team"] == "payments"


@pytest.mark.parametrize("name", ["../../secrets/x", "a/b", "a?b", "..", "a b", ""])
async def test_a_name_that_would_change_the_path_is_refused_before_it_is_sent(client: KubeClient, name: str) -> None:
    failure = await failing(client.get(ObjectRef.of("Deployment", "shop", name)))
    assert failure.error_class is ErrorClass.VALIDATION


# --- refusals


async def test_a_missing_object_is_not_found_and_named(client: KubeClient) -> None:
    failure = await failing(client.get(ObjectRef.of("Deployment", "shop", "nobody")))
    assert failure.error_class is ErrorClass.NOT_FOUND
    assert "Deployment shop/nobody" in failure.message
    assert "404" in failure.message


async def test_a_test_that_fails_is_a_conflict_and_changes_nothing(client: KubeClient) -> None:
    failure = await failing(client.json_patch(CHECKOUT, await scale_operations(client, 5, before=3)))
    assert (failure.error_class, failure.effect_known) == (ErrorClass.CONFLICT, True)
    assert (await client.get(CHECKOUT))["spec"]["replicas"] == 2


async def test_a_value_that_the_server_refuses_is_a_validation_error(client: KubeClient) -> None:
    failure = await failing(client.json_patch(CHECKOUT, await scale_operations(client, -1)))
    assert failure.error_class is ErrorClass.VALIDATION
    assert "spec.replicas" in failure.message


async def test_a_wrong_token_is_an_authorization_error(server: PracticeServer) -> None:
    transport = AiohttpTransport(server.url, "wrong")
    failure = await failing(KubeClient(transport, timeout=5).get(CHECKOUT))
    await transport.close()
    assert failure.error_class is ErrorClass.AUTHORIZATION


@pytest.mark.parametrize(
    ("status", "method", "error_class", "effect_known"),
    [
        (409, "PATCH", ErrorClass.CONFLICT, True),
        (429, "PATCH", ErrorClass.THROTTLED, True),
        (500, "PATCH", ErrorClass.NETWORK, False),
        (503, "PATCH", ErrorClass.NETWORK, False),
        (500, "GET", ErrorClass.NETWORK, True),
        (429, "GET", ErrorClass.THROTTLED, True),
    ],
)
async def test_error_class_and_whether_the_effect_is_known(
    client: KubeClient,
    server: PracticeServer,
    status: Any,
    method: str,
    error_class: ErrorClass,
    effect_known: bool,
) -> None:
    operations = await scale_operations(client, 5)
    server.inject(Injection(method=method, status=status, retry_after=7))
    failure = await failing(client.get(CHECKOUT) if method == "GET" else client.json_patch(CHECKOUT, operations))
    assert (failure.error_class, failure.effect_known, failure.status) == (error_class, effect_known, status)
    assert failure.retry_after == (7.0 if status in (429, 503) else None)


def test_a_page_of_a_proxy_is_not_repeated() -> None:
    failure = refusal(
        Response(status=502, body=b"<html>Authorization: Bearer s3cret</html>"), about="read x", mutating=False
    )
    assert "s3cret" not in failure.message
    assert "502" in failure.message


def test_a_long_message_is_cut() -> None:
    body = json.dumps({"kind": "Status", "message": "m" * 10_000}).encode()
    assert len(refusal(Response(status=400, body=body), about="read x", mutating=False).message) < 600


# --- no answer


async def test_a_server_that_is_down_has_not_got_the_request() -> None:
    transport = AiohttpTransport("http://127.0.0.1:9")
    failure = await failing(KubeClient(transport, timeout=2).json_patch(CHECKOUT, []))
    await transport.close()
    assert (failure.error_class, failure.effect_known) == (ErrorClass.NETWORK, True)


@pytest.mark.parametrize(("close", "replicas"), [("before", 2), ("after", 5)])
async def test_a_connection_closed_instead_of_an_answer_leaves_the_effect_unknown(
    client: KubeClient, server: PracticeServer, close: Any, replicas: int
) -> None:
    operations = await scale_operations(client, 5)
    server.inject(Injection(method="PATCH", close=close))
    failure = await failing(client.json_patch(CHECKOUT, operations))
    assert (failure.error_class, failure.effect_known) == (ErrorClass.NETWORK, False)
    assert (await client.get(CHECKOUT))["spec"]["replicas"] == replicas


async def test_a_patch_is_sent_once_when_its_connection_is_closed(client: KubeClient, server: PracticeServer) -> None:
    operations = await scale_operations(client, 5)
    server.inject(Injection(method="PATCH", close="before"))
    await failing(client.json_patch(CHECKOUT, operations))
    assert len([record for record in server.requests if record.method == "PATCH"]) == 1


async def test_a_slow_server_is_a_timeout(server: PracticeServer) -> None:
    transport = AiohttpTransport(server.url, server.token)
    client = KubeClient(transport, timeout=0.2)
    operations = await scale_operations(client, 5)
    server.inject(Injection(method="PATCH", delay=2))
    failure = await failing(client.json_patch(CHECKOUT, operations))
    await transport.close()
    assert (failure.error_class, failure.effect_known) == (ErrorClass.TIMEOUT, False)


# --- watching


async def test_a_watch_tells_what_changes_after_the_list(client: KubeClient) -> None:
    listing = await client.list("Deployment", "shop")
    operations = await scale_operations(client, 3)
    async with aclosing(
        client.watch("Deployment", "shop", resource_version=listing.resource_version, timeout=10)
    ) as events:
        await client.json_patch(CHECKOUT, operations)
        async for event in events:
            if event.object["spec"]["replicas"] == 3:
                break
    assert event.type == "MODIFIED"


async def test_a_watch_that_is_closed_ends_so_that_the_caller_lists_again(
    client: KubeClient, server: PracticeServer
) -> None:
    listing = await client.list("Namespace", None)

    async def collect() -> list[WatchEvent]:
        watch = client.watch("Namespace", None, resource_version=listing.resource_version, timeout=30)
        return [event async for event in watch if event.type != "BOOKMARK"]

    watching = asyncio.create_task(collect())
    while not watching.done():
        server.inject(Injection(kill_watches=True))
        await asyncio.sleep(0.02)
    assert await watching == []


async def test_a_watch_ends_when_its_time_is_over(client: KubeClient) -> None:
    listing = await client.list("Namespace", None)
    watch = client.watch("Namespace", None, resource_version=listing.resource_version, timeout=1)
    assert [event async for event in watch if event.type != "BOOKMARK"] == []


# --- answers that the practice cluster never gives


Answer = tuple[int, bytes, dict[str, str]]


class Scripted:
    """An API server that gives prepared answers, one after the other."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.queries: list[dict[str, str]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.queries.append(dict(request.query))
        status, body, headers = self.answers.pop(0)
        return web.Response(status=status, body=body, headers=headers)


@pytest_asyncio.fixture
async def scripted() -> AsyncIterator[tuple[Scripted, KubeClient]]:
    script = Scripted()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", script.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    transport = AiohttpTransport(f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield script, KubeClient(transport, timeout=5)
    await transport.close()
    await runner.cleanup()


Setup = tuple[Scripted, KubeClient]


async def test_an_applied_patch_with_an_unreadable_answer_is_in_doubt(scripted: Setup) -> None:
    script, client = scripted
    script.answers.append((200, b"<html>", {}))
    failure = await failing(client.json_patch(CHECKOUT, []))
    assert (failure.error_class, failure.effect_known) == (ErrorClass.NETWORK, False)


async def test_redirects_are_not_followed(scripted: Setup) -> None:
    script, client = scripted
    script.answers.append((307, b"", {"Location": "http://169.254.169.254/"}))
    assert (await failing(client.get(CHECKOUT))).status == 307


async def test_a_long_list_is_read_page_by_page(scripted: Setup) -> None:
    script, client = scripted
    for name, more in (("a", "token-1"), ("b", "")):
        page = {"metadata": {"resourceVersion": "9", "continue": more}, "items": [{"metadata": {"name": name}}]}
        script.answers.append((200, json.dumps(page).encode(), {}))
    listing = await client.list("Pod", "shop")
    assert [item["metadata"]["name"] for item in listing.items] == ["a", "b"]
    assert script.queries[1]["continue"] == "token-1"


async def test_pages_whose_snapshot_has_expired_are_read_again_at_once(scripted: Setup) -> None:
    script, client = scripted
    first = {"metadata": {"resourceVersion": "9", "continue": "old"}, "items": [{"metadata": {"name": "a"}}]}
    whole = {"metadata": {"resourceVersion": "10"}, "items": [{"metadata": {"name": n}} for n in "ab"]}
    script.answers += [
        (200, json.dumps(first).encode(), {}),
        (410, b'{"kind":"Status","reason":"Expired","message":"too old"}', {}),
        (200, json.dumps(whole).encode(), {}),
    ]
    assert len((await client.list("Pod", "shop")).items) == 2
    assert "limit" not in script.queries[2]


@pytest.mark.parametrize(
    "answer",
    [
        (410, b'{"kind":"Status","code":410}', {}),
        (200, b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}\n', {}),
    ],
)
async def test_a_watch_from_a_version_that_is_gone_expires(scripted: Setup, answer: Answer) -> None:
    script, client = scripted
    script.answers.append(answer)
    with pytest.raises(WatchExpired):
        async for _ in client.watch("Pod", "shop", resource_version="1", timeout=5):
            pass


async def test_a_watch_that_is_not_allowed_is_a_failure_not_an_end(scripted: Setup) -> None:
    script, client = scripted
    script.answers.append((403, b'{"kind":"Status","message":"pods is forbidden"}', {}))
    with pytest.raises(StepFailure) as caught:
        async for _ in client.watch("Pod", "shop", resource_version="1", timeout=5):
            pass
    assert caught.value.error_class is ErrorClass.AUTHORIZATION


async def test_events_may_come_in_pieces_and_with_blank_lines(scripted: Setup) -> None:
    script, client = scripted
    events = b'{"type":"ADDED","object":{"n":1}}\n\n{"type":"DELETED","object":{"n":2}}\n{"type":"ADD'
    script.answers.append((200, events, {}))
    seen = [event async for event in client.watch("Pod", "shop", resource_version="1", timeout=5)]
    assert [(event.type, event.object["n"]) for event in seen] == [("ADDED", 1), ("DELETED", 2)]


async def test_a_patch_for_an_absent_field_is_bound_to_the_version_that_was_read(client: KubeClient) -> None:
    shop = ObjectRef.of("Namespace", None, "shop")
    found = (await client.get(shop))["metadata"]
    label = FieldChange(pointer="/metadata/labels/tier", before=ABSENT, after="gold")

    def operations(version: str) -> list[Any]:
        return patch_operations(
            ObjectPatch(target=shop, uid=found["uid"], resource_version=version, fields=(label,), summary="")
        )

    failure = await failing(client.json_patch(shop, operations("1")))
    assert failure.error_class is ErrorClass.CONFLICT
    stored = await client.json_patch(shop, operations(found["resourceVersion"]))
    assert stored["metadata"]["labels"]["tier"] == "gold"
