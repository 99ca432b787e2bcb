"""What is measured: one Airflow, one durable PostgreSQL and one practice cluster, and a way to send plans and wait for moments.

Called by `tests.bench.measures`. Journal and audit cannot be turned off, so they are on. Plans go one at a time; the next
one is sent when the one before has ended, so that no sample pays for another.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from devstack import Stack
from devstack.airflow import REPOSITORY
from kubernaut.cluster.practice.cluster import PracticeCluster
from kubernaut.cluster.practice.resources import DEPLOYMENTS
from kubernaut.cluster.practice.scenario import load_scenario
from kubernaut.cluster.practice.server import PracticeServer, wall_clock
from tests.bench.moments import DEFERRED, ENDED, REGISTERED, RUN_STARTED, Moments
from tests.bench.plans import CLUSTER, NAME, NAMESPACE, Document

CONNECTION = "kubernaut_bench"
HOME = REPOSITORY / "build" / "bench"
MOMENT_TIMEOUT = 60.0
END_TIMEOUT = 600.0

_LABELS = {"app": NAME}
SCENARIO: dict[str, Any] = {
    "name": "bench",
    "age_seconds": 120,
    "objects": [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"kubernaut.ai/managed": "true"}},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": _LABELS},
                "template": {
                    "metadata": {"labels": _LABELS},
                    "spec": {"containers": [{"name": NAME, "image": "demo-http-server:1.0.0"}]},
                },
            },
        },
    ],
}
"""A managed namespace with one healthy workload."""


class BenchFailed(RuntimeError):
    """Nothing can be measured: a plan was refused or ended otherwise than it should."""


@dataclass
class Arrivals:
    """When requests about the worker reached the cluster; its own log keeps only those that change something.

    The API server reads the namespace's labels before it accepts a plan; that is no request of a step and is not here.
    """

    reads: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)

    def record(self, cluster: PracticeCluster) -> None:
        """From now on, on this cluster."""
        for verb, moments in (("get", self.reads), ("patch", self.changes)):
            setattr(cluster.api, verb, _noting(getattr(cluster.api, verb), moments))


def _noting(answer: Callable[..., Any], moments: list[float]) -> Callable[..., Any]:
    def call(resource: Any, namespace: str, name: str, *rest: Any, **options: Any) -> Any:
        if resource is DEPLOYMENTS and name == NAME:
            moments.append(time.monotonic())
        return answer(resource, namespace, name, *rest, **options)

    return call


@dataclass(frozen=True)
class Sent:
    """An accepted plan. Moments are `time.monotonic()`."""

    at: float
    """Just before the request was written."""
    answered: float
    execution_id: str
    run_id: str


@dataclass(frozen=True)
class World:
    """Everything that runs. Moments are `time.monotonic()`; each is waited for."""

    stack: Stack
    arrivals: Arrivals
    airflow: Moments
    store: Moments
    failures: list[str] = field(default_factory=list)
    """Executions that have not completed. A moment before their end is as good as any other; their end is not."""

    def send(self, plan: Document) -> Sent:
        """Raises `BenchFailed` where it is not accepted."""
        at = time.monotonic()
        answer = self.stack.kubernaut("POST", "/executions", {"plan": plan})
        answered = time.monotonic()
        if answer.status_code != 202:
            raise BenchFailed(f"plan {plan['id']} was answered {answer.status_code}: {answer.text[:2_000]}")
        body = answer.json()
        return Sent(at, answered, body["execution_id"], body["run_id"])

    def registered(self, sent: Sent) -> float:
        """When the registrar's transaction was committed: the run exists."""
        return self._moment(self.store, f"registered {sent.execution_id} ")

    def run_started(self, sent: Sent) -> float:
        """When the scheduler's change of the run to `running` was committed."""
        return self._moment(self.airflow, f"started {sent.run_id} ")

    def first_step(self, sent: Sent) -> float:
        """When the first task instance of its run was committed as `deferred`."""
        return self._moment(self.airflow, f"deferred {sent.run_id} ")

    def end(self, sent: Sent) -> float:
        """When the execution was committed as ended. One that has not completed goes to `failures`."""
        phase, moment = self.store.first(f"ended {sent.execution_id} ", END_TIMEOUT)
        if phase != "completed":
            reason = self.stack.kubernaut("GET", f"/executions/{sent.execution_id}").json().get("reason")
            self.failures.append(f"execution {sent.execution_id} ended as {phase}: {reason}")
        return moment

    def _moment(self, moments: Moments, prefix: str) -> float:
        return moments.first(prefix, MOMENT_TIMEOUT)[1]


def first_after(begin: float, moments: list[float], what: str) -> float:
    """Raises `BenchFailed` where there is none."""
    found = min((moment for moment in moments if moment > begin), default=None)
    if found is None:
        raise BenchFailed(f"{what} did not reach the cluster")
    return found


@contextmanager
def open_world(say: Callable[[str], None]) -> Iterator[World]:
    """Starts everything and stops it again; about 20 s."""
    opened = load_scenario(SCENARIO).open(wall_clock, time_factor=20)
    arrivals = Arrivals()
    arrivals.record(opened.cluster)
    with (
        PracticeServer(opened.cluster) as cluster,
        Stack(
            HOME,
            connections={CONNECTION: cluster.connection_json()},
            extra_env={"KUBERNAUT_CLUSTERS": json.dumps({CLUSTER: CONNECTION})},
            durable=True,
            progress=say,
        ) as stack,
        Moments(stack.airflow_db_url, DEFERRED, RUN_STARTED) as airflow,
        Moments(stack.store_url, REGISTERED, ENDED) as store,
    ):
        stack.token()  # the login is not part of any figure
        yield World(stack=stack, arrivals=arrivals, airflow=airflow, store=store)
