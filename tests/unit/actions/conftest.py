"""An executor's surroundings: a fixed clock, objects in memory, a log that is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import JsonValue

from kubernaut.actions.spec import StepFailure
from kubernaut.cluster.objects import ObjectRef
from kubernaut.errors import ErrorClass
from kubernaut.plan.model import Target

CHECKOUT = Target(cluster="prod", kind="Deployment", namespace="shop", name="checkout")


def template(image: str, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"creationTimestamp": None, "labels": {"app": "checkout", **labels}},
        "spec": {"containers": [{"name": "app", "image": image}]},
    }


def deployment(revision: int, image: str, *, replicas: int = 2, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "checkout",
            "namespace": "shop",
            "uid": "u-1",
            "resourceVersion": "7",
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "checkout"}},
            "template": template(image),
            **spec,
        },
    }


def replica_set(revision: int, image: str, *, owner: str = "u-1") -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"checkout-{revision}",
            "uid": f"rs-{owner}-{revision}",
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
            "ownerReferences": [{"uid": owner, "controller": True}],
        },
        "spec": {"template": template(image, **{"pod-template-hash": f"h{revision}"})},
    }


@dataclass
class FakeContext:
    """An `ActionContext` over objects in memory."""

    target: Target = CHECKOUT
    tracking_id: str = "trk-1"
    execution_id: str = "ex-1"
    step_id: str = "fix"
    objects: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    listed: list[Mapping[str, Any]] = field(default_factory=list)
    answers: dict[str, JsonValue] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    async def get(self, ref: ObjectRef) -> Mapping[str, Any]:
        if str(ref) not in self.objects:
            raise StepFailure(ErrorClass.NOT_FOUND, f"{ref} does not exist")
        return self.objects[str(ref)]

    async def list(
        self, api_version: str, kind: str, namespace: str, *, label_selector: str | None = None
    ) -> Sequence[Mapping[str, Any]]:
        assert (api_version, kind, namespace, label_selector) == ("apps/v1", "ReplicaSet", "shop", "app=checkout")
        return self.listed

    async def evaluate(self, expression: str, *, object: Mapping[str, Any] | None = None) -> JsonValue:
        assert object is not None
        return self.answers[expression]

    def now(self) -> datetime:
        return datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

    def log(self, line: str) -> None:
        self.lines.append(line)

    def holds(self, found: Mapping[str, Any], *replica_sets: Mapping[str, Any]) -> "FakeContext":
        self.objects["Deployment shop/checkout"] = found
        self.listed = list(replica_sets)
        return self


@pytest.fixture
def context() -> FakeContext:
    return FakeContext()
