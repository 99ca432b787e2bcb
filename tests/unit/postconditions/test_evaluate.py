"""Reading one condition once, against a practice cluster over HTTP."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from pydantic import JsonValue

from kubernaut.actions.spec import StepFailure
from kubernaut.cluster.client import KubeClient
from kubernaut.cluster.objects import ObjectRef
from kubernaut.cluster.practice.clock import SimulatedClock
from kubernaut.cluster.practice.cluster import PracticeCluster, run_for
from kubernaut.cluster.practice.faults import Effect, Fault, FaultMatch
from kubernaut.cluster.practice.requests import Injection
from kubernaut.cluster.practice.server import PracticeServer
from kubernaut.cluster.transport import AiohttpTransport
from kubernaut.errors import ErrorClass
from kubernaut.plan.model import (
    Check,
    Comparison,
    ListCondition,
    MetricCondition,
    NamedCondition,
    ObjectCondition,
    QueryCondition,
    StepsCondition,
    Target,
)
from kubernaut.postconditions import CheckResult, WatchTarget, evaluate, readable, watch_target

CHECKOUT = Target(kind="Deployment", namespace="shop", name="checkout")
PODS = Target(kind="Pod", namespace="shop")
BAD_IMAGE = "shop/checkout:bad"


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


class World:
    """A simulated cluster whose time is moved by the test, served over HTTP."""

    def __init__(self) -> None:
        self.clock = SimulatedClock(datetime(2026, 3, 1, tzinfo=UTC))
        self.cluster = PracticeCluster(self.clock)
        crash = Fault(match=FaultMatch(image=BAD_IMAGE), effect=Effect.CRASH, after_seconds=2)
        self.cluster.faults = (crash,)
        self.cluster.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        self.cluster.put(checkout("shop/checkout:1"))
        run_for(self.cluster, self.clock, 60)
        self.server = PracticeServer(self.cluster)

    def deploy(self, image: str) -> None:
        self.server.run(lambda cluster: cluster.put(checkout(image)))

    def pass_time(self, seconds: float) -> None:
        self.server.run(lambda cluster: run_for(cluster, self.clock, seconds))


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with made.server:
        yield made


@pytest_asyncio.fixture
async def client(world: World) -> AsyncIterator[KubeClient]:
    transport = AiohttpTransport(world.server.url, world.server.token)
    yield KubeClient(transport, timeout=5)
    await transport.close()


class Cel:
    """Answers by a Python function instead of CEL."""

    def __init__(self, answer: Callable[[Any], JsonValue] = lambda seen: True) -> None:
        self.answer = answer

    async def evaluate(
        self,
        expression: str,
        *,
        object: Mapping[str, Any] | None = None,
        objects: Sequence[Mapping[str, Any]] | None = None,
    ) -> JsonValue:
        return self.answer(object if object is not None else objects)


async def read(check: Check, client: KubeClient, world: World, cel: Cel | None = None) -> CheckResult:
    return await evaluate(check, reader=client, cel=cel or Cel(), now=world.clock())


async def test_a_named_check_reads_the_workload_and_the_pods_that_it_owns(client: KubeClient, world: World) -> None:
    for name in ("rollout_complete", "workload_available", "no_crash_loops", "pods_running"):
        result = await read(NamedCondition(check=name, target=CHECKOUT), client, world)
        assert (result.holds, result.error) == (True, None), result.observed


async def test_a_crash_loop_never_passes_as_repaired_at_any_moment(client: KubeClient, world: World) -> None:
    """Sampled each half second for two minutes, containers that run for 2 s between crashes included."""
    world.deploy(BAD_IMAGE)
    check = NamedCondition(check="rollout_complete", target=CHECKOUT, params={"steady_seconds": 3.0})
    seen_running = False
    for _ in range(240):
        world.pass_time(0.5)
        result = await read(check, client, world)
        assert result.holds is False, result.observed
        pods = (await client.list("Pod", "shop")).items
        seen_running |= any(
            status.get("ready") and status.get("restartCount")
            for pod in pods
            for status in pod["status"].get("containerStatuses", ())
        )
    assert seen_running, "the moment that is dangerous never came"


async def test_the_repair_passes_once_the_old_pods_are_gone(client: KubeClient, world: World) -> None:
    world.deploy(BAD_IMAGE)
    world.pass_time(120)
    world.deploy("shop/checkout:1")
    world.pass_time(60)
    for name in ("rollout_complete", "no_crash_loops"):
        result = await read(NamedCondition(check=name, target=CHECKOUT), client, world)
        assert result.holds is True, result.observed


async def test_an_object_is_handed_to_the_expression(client: KubeClient, world: World) -> None:
    check = ObjectCondition(target=CHECKOUT, expression="object.spec.replicas == 2")
    result = await read(check, client, world, Cel(lambda found: found["spec"]["replicas"] == 2))
    assert result.holds is True
    assert result.resource_version
    assert result.observed == "`object.spec.replicas == 2` is true"


async def test_a_list_is_handed_to_the_expression_as_the_selectors_leave_it(client: KubeClient, world: World) -> None:
    check = ListCondition(target=PODS, label_selector="app=checkout", expression="size(objects) == 2")
    result = await read(check, client, world, Cel(lambda found: len(found) == 2))
    assert (result.holds, result.observed) == (True, "`size(objects) == 2` is true (2 found)")


async def test_steps_need_no_cluster(client: KubeClient, world: World) -> None:
    result = await read(StepsCondition(expression="true"), client, world, Cel(lambda seen: seen is None))
    assert result.holds is True


async def test_an_expression_without_a_value_does_not_hold_yet(client: KubeClient, world: World) -> None:
    def fail(_: Any) -> JsonValue:
        raise StepFailure(ErrorClass.VALIDATION, "no such key: readyReplicas")

    result = await read(ObjectCondition(target=CHECKOUT, expression="x"), client, world, Cel(fail))
    assert (result.holds, result.error, result.observed) == (
        False,
        ErrorClass.VALIDATION,
        "no such key: readyReplicas",
    )


@pytest.mark.parametrize("value", [1, "true", None])
async def test_a_value_that_is_neither_true_nor_false_is_no_answer(
    client: KubeClient, world: World, value: JsonValue
) -> None:
    result = await read(ObjectCondition(target=CHECKOUT, expression="x"), client, world, Cel(lambda _: value))
    assert (result.holds, result.error) == (None, ErrorClass.VALIDATION)


async def test_a_missing_object_does_not_hold(client: KubeClient, world: World) -> None:
    target = CHECKOUT.model_copy(update={"name": "nobody"})
    result = await read(NamedCondition(check="rollout_complete", target=target), client, world)
    assert (result.holds, result.error) == (False, ErrorClass.NOT_FOUND)


@pytest.mark.parametrize(
    ("injection", "error"),
    [
        (Injection(status=500), ErrorClass.NETWORK),
        (Injection(status=429), ErrorClass.THROTTLED),
        (Injection(close="before", count=3), ErrorClass.NETWORK),
    ],
)
async def test_a_reading_that_fails_says_neither_yes_nor_no(
    client: KubeClient, world: World, injection: Injection, error: ErrorClass
) -> None:
    world.server.inject(injection)
    result = await read(NamedCondition(check="rollout_complete", target=CHECKOUT), client, world)
    assert (result.holds, result.error) == (None, error)


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (NamedCondition(check="nothing_like_it", target=CHECKOUT), "there is no check"),
        (NamedCondition(check="rollout_complete", version=9, target=CHECKOUT), "version 9"),
        (
            NamedCondition(check="rollout_complete", target=Target(kind="Pod", namespace="shop", name="x")),
            "judges Deployment, not Pod",
        ),
        (NamedCondition(check="rollout_complete", target=Target(kind="Deployment")), "names no single Deployment"),
        (NamedCondition(check="rollout_complete", target=CHECKOUT, params={"x": 1}), "parameters of rollout_complete"),
        (
            ObjectCondition(target=Target(kind="Secret", namespace="shop", name="x"), expression="true"),
            "do not read objects of kind Secret",
        ),
        (ListCondition(target=Target(kind="Secret", namespace="shop"), expression="true"), "Secret"),
        (ListCondition(target=Target(kind="Widget", namespace="shop"), expression="true"), "'Widget' cannot be read"),
    ],
)
async def test_a_condition_that_cannot_be_read_says_why(
    client: KubeClient, world: World, check: Check, said: str
) -> None:
    result = await read(check, client, world)
    assert (result.holds, result.error) == (None, ErrorClass.VALIDATION)
    assert said in result.observed


METRIC = MetricCondition(metric="error_rate", comparison=Comparison.LT, value=0.05)
QUERY = QueryCondition(source="http", query="https://example.com/")


@pytest.mark.parametrize("check", [METRIC, QUERY])
async def test_what_nothing_can_read_yet_is_not_readable(client: KubeClient, world: World, check: Check) -> None:
    result = await read(check, client, world)
    assert (readable(check), result.readable, result.holds) == (False, False, None)


@pytest.mark.parametrize(
    ("check", "watched"),
    [
        (
            NamedCondition(check="rollout_complete", target=CHECKOUT),
            WatchTarget(kind="Deployment", namespace="shop", name="checkout"),
        ),
        (
            ObjectCondition(target=Target(kind="Node", name="n1"), expression="true"),
            WatchTarget(kind="Node", namespace=None, name="n1"),
        ),
        (
            ListCondition(
                target=PODS, label_selector="app=x", field_selector="status.phase=Running", expression="true"
            ),
            WatchTarget(kind="Pod", namespace="shop", label_selector="app=x", field_selector="status.phase=Running"),
        ),
        (ObjectCondition(target=Target(kind="Deployment", namespace="shop"), expression="true"), None),
        (StepsCondition(expression="true"), None),
        (METRIC, None),
    ],
)
def test_where_a_change_shows_first(check: Check, watched: WatchTarget | None) -> None:
    assert watch_target(check) == watched


async def test_a_watch_target_selects_exactly_its_object(client: KubeClient, world: World) -> None:
    watched = watch_target(NamedCondition(check="rollout_complete", target=CHECKOUT))
    assert watched is not None
    listing = await client.list(watched.kind, watched.namespace, **watched.selectors)
    assert [item["metadata"]["name"] for item in listing.items] == ["checkout"]
    assert ObjectRef.of(watched.kind, watched.namespace, "checkout").path.endswith("/deployments/checkout")
