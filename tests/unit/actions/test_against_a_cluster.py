"""The changing actions on a practice cluster over HTTP: planned, sent, proved by their own check, taken back."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest_asyncio
from pydantic import JsonValue

from kubernaut.actions.registry import executor, resolve_params
from kubernaut.actions.spec import ActionPlan, ObjectPatch
from kubernaut.cluster.client import KubeClient
from kubernaut.cluster.objects import ObjectRef
from kubernaut.cluster.patch import UndoRefusal, WrittenField, patch_operations, stored_values, undo_patch
from kubernaut.cluster.practice.clock import Timing
from kubernaut.cluster.practice.cluster import PracticeCluster
from kubernaut.cluster.practice.faults import Effect, Fault, FaultMatch
from kubernaut.cluster.practice.server import PracticeServer, wall_clock
from kubernaut.cluster.transport import AiohttpTransport
from kubernaut.plan.model import NamedCondition
from kubernaut.postconditions import CheckResult, evaluate
from tests.unit.actions.conftest import CHECKOUT, FakeContext

REF = ObjectRef.of("Deployment", "shop", "checkout")


def checkout(image: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "checkout", "namespace": "shop"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "checkout"}},
            "template": {
                "metadata": {"labels": {"app": "checkout"}},
                "spec": {"containers": [{"name": "app", "image": image}]},
            },
        },
    }


class NoCel:
    async def evaluate(
        self,
        expression: str,
        *,
        object: Mapping[str, Any] | None = None,
        objects: Sequence[Mapping[str, Any]] | None = None,
    ) -> JsonValue:
        raise AssertionError("no expression is evaluated here")


class Cluster(FakeContext):
    """An executor's context over a real client, and what the step runner would do with a plan."""

    client: KubeClient
    server: PracticeServer

    async def get(self, ref: ObjectRef) -> Mapping[str, Any]:
        return await self.client.get(ref)

    async def list(
        self, api_version: str, kind: str, namespace: str, *, label_selector: str | None = None
    ) -> Sequence[Mapping[str, Any]]:
        return (await self.client.list(kind, namespace, label_selector=label_selector)).items

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def act(self, name: str, **params: JsonValue) -> tuple[ActionPlan, tuple[WrittenField, ...]]:
        plan = await executor(name).plan(self, resolve_params(name, params))
        (patch,) = plan.changes
        assert isinstance(patch, ObjectPatch)
        answer = await self.client.json_patch(REF, patch_operations(patch, execution_id="ex-1"))
        return plan, stored_values(patch.fields, answer)

    async def take_back(self, fields: Sequence[WrittenField]) -> ObjectPatch | UndoRefusal:
        current = await self.get(REF)
        undo = undo_patch(REF, current["metadata"]["uid"], fields, current)
        if isinstance(undo, ObjectPatch):
            await self.client.json_patch(REF, patch_operations(undo))
        return undo

    async def proved(self, name: str, **params: JsonValue) -> CheckResult:
        """The action's own check, read until it holds; what it says after ten seconds otherwise."""
        check = executor(name).default_check(CHECKOUT, params)
        assert isinstance(check, NamedCondition)
        # the cluster runs a hundred times as fast, but its timestamps are real
        quick = check.model_copy(update={"params": {**check.params, "steady_seconds": 0.1}})
        return await self.settled(quick)

    async def settled(self, check: NamedCondition) -> CheckResult:
        for _ in range(200):
            result = await evaluate(check, reader=self.client, cel=NoCel(), now=self.now())
            if result.holds:
                break
            await asyncio.sleep(0.05)
        return result


@pytest_asyncio.fixture
async def cluster() -> AsyncIterator[Cluster]:
    simulated = PracticeCluster(wall_clock, timing=Timing(factor=100))
    simulated.faults = (Fault(match=FaultMatch(image="shop:bad"), effect=Effect.CRASH),)
    simulated.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    simulated.put(checkout("shop:1"))
    with PracticeServer(simulated) as server:
        transport = AiohttpTransport(server.url, server.token)
        made = Cluster()
        made.client, made.server = KubeClient(transport, timeout=5), server
        await made.settled(NamedCondition(check="rollout_complete", target=CHECKOUT))
        yield made
        await transport.close()


async def test_scale_is_proved_and_taken_back(cluster: Cluster) -> None:
    plan, fields = await cluster.act("kubernetes.scale", replicas=5)
    assert plan.outputs == {"replicas": {"before": 2, "after": 5}}
    assert (await cluster.proved("kubernetes.scale", replicas=5)).holds is True
    assert len((await cluster.client.list("Pod", "shop")).items) == 5
    await cluster.take_back(fields)
    assert (await cluster.get(REF))["spec"]["replicas"] == 2


async def test_a_rollback_repairs_a_crash_loop_and_can_itself_be_taken_back(cluster: Cluster) -> None:
    cluster.server.run(lambda simulated: simulated.put(checkout("shop:bad")))
    before = (await cluster.get(REF))["spec"]
    for _ in range(100):  # until the controller has made the new revision
        if len((await cluster.client.list("ReplicaSet", "shop")).items) == 2:
            break
        await asyncio.sleep(0.02)
    plan, fields = await cluster.act("kubernetes.rollout_undo")
    assert plan.outputs["revision"] == {"before": 2, "restored": 1}
    result = await cluster.proved("kubernetes.rollout_undo")
    assert result.holds is True, result.observed
    undo = await cluster.take_back(fields)
    assert isinstance(undo, ObjectPatch), undo
    assert (await cluster.get(REF))["spec"] == before


async def test_undo_refuses_after_somebody_elses_scale_and_names_the_writer(cluster: Cluster) -> None:
    _, fields = await cluster.act("kubernetes.scale", replicas=5)
    person = KubeClient(cluster.client._transport, timeout=5, field_manager="kubectl-scale")
    await person.json_patch(REF, [{"op": "replace", "path": "/spec/replicas", "value": 7}])
    refused = await cluster.take_back(fields)
    assert isinstance(refused, UndoRefusal)
    assert "kubectl-scale" in refused.message
    assert (await cluster.get(REF))["spec"]["replicas"] == 7


async def test_a_restart_replaces_every_pod(cluster: Cluster) -> None:
    before = {pod["metadata"]["uid"] for pod in (await cluster.client.list("Pod", "shop")).items}
    await cluster.act("kubernetes.rollout_restart")
    assert (await cluster.proved("kubernetes.rollout_restart")).holds is True
    listing = await cluster.client.list("Pod", "shop")
    now = {pod["metadata"]["uid"] for pod in listing.items if not pod["metadata"].get("deletionTimestamp")}
    assert len(now) == 2
    assert not now & before


async def test_the_object_names_the_execution_for_people(cluster: Cluster) -> None:
    await cluster.act("kubernetes.scale", replicas=3)
    annotations = (await cluster.get(REF))["metadata"]["annotations"]
    assert annotations["kubernaut.ai/execution"] == "ex-1"
