"""A practice cluster over HTTP with one healthy Deployment, and a client for it."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import pytest_asyncio

from kubernaut.cluster.client import KubeClient
from kubernaut.cluster.practice.clock import Timing
from kubernaut.cluster.practice.cluster import PracticeCluster
from kubernaut.cluster.practice.server import PracticeServer, wall_clock
from kubernaut.cluster.transport import AiohttpTransport


def checkout(image: str = "shop/checkout:1", replicas: int = 2) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "checkout", "namespace": "shop", "labels": {"app": "checkout"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "checkout"}},
            "template": {
                "metadata": {"labels": {"app": "checkout"}},
                "spec": {"containers": [{"name": "app", "image": image}]},
            },
        },
    }


def namespace(name: str, **labels: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


@pytest.fixture
def server() -> Iterator[PracticeServer]:
    cluster = PracticeCluster(wall_clock, timing=Timing(factor=50))
    cluster.put(namespace("shop", team="payments"))
    cluster.put(checkout())
    with PracticeServer(cluster) as running:
        yield running


@pytest_asyncio.fixture
async def client(server: PracticeServer) -> AsyncIterator[KubeClient]:
    transport = AiohttpTransport(server.url, server.token)
    yield KubeClient(transport, timeout=5.0)
    await transport.close()
