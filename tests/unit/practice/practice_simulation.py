"""What the practice cluster's tests build on: manifests, and a cluster in simulated time."""

from __future__ import annotations

from typing import Any

from kubernaut.cluster.practice import PracticeCluster, SimulatedClock, run_for
from kubernaut.cluster.practice.resources import DEPLOYMENTS, PODS, REPLICA_SETS, Json


def container(**fields: Any) -> Json:
    return {"name": "web", "image": "web:1"} | fields


def deployment(name: str = "web", replicas: int = 2, containers: list[Json] | None = None, **spec: Any) -> Json:
    """A manifest as a person would write it."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers or [container()]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec},
    }


class Simulation:
    """A practice cluster in simulated time, with the questions that tests ask."""

    def __init__(self, **options: Any) -> None:
        self.clock = SimulatedClock()
        self.cluster = PracticeCluster(self.clock, **options)
        self.api = self.cluster.api

    def put(self, obj: Json) -> Json:
        return self.cluster.put(obj)

    def run(self, seconds: float) -> None:
        run_for(self.cluster, self.clock, seconds)

    def deployment(self, name: str = "web") -> Json:
        return self.api.get(DEPLOYMENTS, "default", name)

    def replica_sets(self) -> dict[str, Json]:
        """By revision."""
        found = self.cluster.store.all(REPLICA_SETS)
        return {item["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: item for item in found}

    def pods(self) -> list[Json]:
        return self.cluster.store.all(PODS)

    def container_statuses(self) -> list[Json]:
        return [status for pod in self.pods() for status in pod["status"]["containerStatuses"]]

    def condition(self, kind: str, name: str = "web") -> tuple[str, str]:
        """Status and reason of a condition of the Deployment."""
        found = next(item for item in self.deployment(name)["status"]["conditions"] if item["type"] == kind)
        return found["status"], found["reason"]
