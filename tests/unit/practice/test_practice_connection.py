"""The practice cluster as an Airflow connection: the provider's own hooks reach it and its client can read it."""

from __future__ import annotations

import pytest
from practice_simulation import deployment

from kubernaut.cluster.practice.resources import DEPLOYMENTS
from kubernaut.cluster.practice.server import PracticeServer

hooks = pytest.importorskip("airflow.providers.cncf.kubernetes.hooks.kubernetes")


@pytest.fixture
def connection(server: PracticeServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW_CONN_PRACTICE", server.connection_json())
    server.run(lambda cluster: cluster.api.create(DEPLOYMENTS, "default", deployment()))
    return "practice"


async def test_the_async_hook_reads_and_patches(connection: str, server: PracticeServer) -> None:
    from kubernetes_asyncio import client

    hook = hooks.AsyncKubernetesHook(conn_id=connection)
    async with hook.get_conn() as api_client:
        apps = client.AppsV1Api(api_client)
        found = await apps.read_namespaced_deployment("web", "default")
        assert found.spec.replicas == 2
        body = [{"op": "replace", "path": "/spec/replicas", "value": 3}]
        scaled = await apps.patch_namespaced_deployment_scale(
            "web", "default", body, field_manager="kubernaut", _content_type="application/json-patch+json"
        )
        assert scaled.spec.replicas == 3
    (record,) = server.requests
    assert (record.method, record.query["fieldManager"], record.status) == ("PATCH", "kubernaut", 200)


async def test_the_async_client_watches(connection: str) -> None:
    from kubernetes_asyncio import client, watch

    hook = hooks.AsyncKubernetesHook(conn_id=connection)
    async with hook.get_conn() as api_client:
        apps = client.AppsV1Api(api_client)
        async with watch.Watch().stream(apps.list_namespaced_deployment, "default", timeout_seconds=10) as stream:
            async for event in stream:
                if event["object"].status.available_replicas == 2:
                    break


def test_the_sync_hook_reads_lists_and_deletes(connection: str) -> None:
    from kubernetes import client

    hook = hooks.KubernetesHook(conn_id=connection)
    assert hook.get_namespace() == "default"
    api_client = hook.get_conn()
    apps = client.AppsV1Api(api_client)
    assert [item.metadata.name for item in apps.list_deployment_for_all_namespaces().items] == ["web"]
    assert "practice" in client.VersionApi(api_client).get_code().git_version
    options = client.V1DeleteOptions(preconditions=client.V1Preconditions(uid="other"))
    with pytest.raises(client.ApiException) as error:
        apps.delete_namespaced_deployment("web", "default", body=options)
    assert error.value.status == 409
    assert apps.delete_namespaced_deployment("web", "default").status == "Success"
