"""Reaching a cluster through an Airflow connection, with the provider's own async hook."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from kubernaut_operators.transport import MAX_AGE, ApiClient, HookTransport, log_in, transport_for

from kubernaut.actions.spec import StepFailure
from kubernaut.cluster.client import KubeClient
from kubernaut.cluster.objects import ObjectRef
from kubernaut.cluster.practice.requests import Injection
from kubernaut.cluster.practice.server import PracticeServer
from kubernaut.cluster.transport import USER_AGENT
from kubernaut.errors import ErrorClass

CHECKOUT = ObjectRef.of("Deployment", "shop", "checkout")


def connect(monkeypatch: pytest.MonkeyPatch, conn_id: str, extra: dict[str, Any]) -> None:
    connection = json.dumps({"conn_type": "kubernetes", "extra": json.dumps(extra)})
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", connection)


class CountedLogins:
    """Logs in as the provider does, and counts."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0

    @asynccontextmanager
    async def __call__(self, conn_id: str) -> AsyncIterator[ApiClient]:
        async with log_in(conn_id) as client:
            self.opened += 1
            yield client
        self.closed += 1


@pytest.mark.parametrize("form", ["text", "document", "path"])
async def test_a_kubeconfig_in_the_connection_is_used(
    server: PracticeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, form: str
) -> None:
    config = server.kubeconfig()
    path = tmp_path / "config"
    path.write_text(json.dumps(config))
    extra: dict[str, dict[str, Any]] = {
        "text": {"kube_config": json.dumps(config)},
        "document": {"kube_config": config},
        "path": {"kube_config_path": str(path)},
    }
    connect(monkeypatch, "practice", extra[form])
    transport = HookTransport("practice")
    assert (await KubeClient(transport, timeout=5).get(CHECKOUT))["metadata"]["name"] == "checkout"
    await transport.close()


async def test_patches_and_watches_go_through_the_hook(server: PracticeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "practice", {"kube_config": server.kubeconfig()})
    transport = HookTransport("practice")
    client = KubeClient(transport, timeout=5)
    start = (await client.list("Deployment", "shop")).resource_version
    await client.json_patch(CHECKOUT, [{"op": "replace", "path": "/spec/replicas", "value": 4}])
    async with aclosing(client.watch("Deployment", "shop", resource_version=start, timeout=5)) as events:
        replicas = (await anext(events)).object["spec"]["replicas"]
    await transport.close()
    (request,) = [record for record in server.requests if record.method == "PATCH"]
    assert (replicas, request.user_agent, request.content_type) == (4, USER_AGENT, "application/json-patch+json")


async def test_a_login_is_shared_until_it_is_too_old(server: PracticeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    connect(monkeypatch, "practice", {"kube_config": server.kubeconfig()})
    logins, now = CountedLogins(), [0.0]
    transport = HookTransport("practice", login=logins, clock=lambda: now[0])
    client = KubeClient(transport, timeout=5)
    await asyncio.gather(*(client.get(CHECKOUT) for _ in range(5)))
    assert logins.opened == 1
    now[0] = MAX_AGE
    await client.get(CHECKOUT)
    assert (logins.opened, logins.closed) == (2, 1)
    await transport.close()
    assert logins.closed == 2


async def test_a_token_that_was_replaced_is_read_again_from_the_connection(
    server: PracticeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = server.kubeconfig()
    good = config["users"][0]["user"]["token"]
    config["users"][0]["user"]["token"] = "old"
    connect(monkeypatch, "practice", {"kube_config": config})
    logins = CountedLogins()
    transport = HookTransport("practice", login=logins)
    await transport._new_session()
    config["users"][0]["user"]["token"] = good
    connect(monkeypatch, "practice", {"kube_config": config})
    await KubeClient(transport, timeout=5).get(CHECKOUT)
    assert (logins.opened, logins.closed) == (2, 1)
    await transport.close()


async def test_a_request_under_way_outlives_the_login_it_was_made_with(
    server: PracticeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(monkeypatch, "practice", {"kube_config": server.kubeconfig()})
    now = [0.0]
    transport = HookTransport("practice", clock=lambda: now[0])
    client = KubeClient(transport, timeout=5)
    await client.get(CHECKOUT)
    server.inject(Injection(method="GET", path="deployments", delay=0.3))
    slow = asyncio.create_task(client.get(CHECKOUT))
    await asyncio.sleep(0.1)
    now[0] = MAX_AGE
    await client.namespace_labels("shop")
    assert (await slow)["metadata"]["name"] == "checkout"
    await transport.close()


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (None, "no Airflow connection 'practice'"),
        ({"kube_config_path": "/nowhere/config"}, "'practice' gives no access"),
        ({"in_cluster": True}, "'practice' gives no access"),
    ],
)
async def test_a_connection_that_gives_no_access_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any] | None, said: str
) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_PRACTICE", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    if extra is not None:
        connect(monkeypatch, "practice", extra)
    with pytest.raises(StepFailure, match=said) as caught:
        await KubeClient(HookTransport("practice"), timeout=5).get(CHECKOUT)
    assert caught.value.error_class is ErrorClass.VALIDATION


def test_each_connection_has_one_transport_on_each_loop() -> None:
    async def both() -> tuple[HookTransport, HookTransport, HookTransport]:
        return transport_for("a"), transport_for("a"), transport_for("b")

    first, again, other = asyncio.run(both())
    assert first is again
    assert other is not first
    assert asyncio.run(both())[0] is not first
