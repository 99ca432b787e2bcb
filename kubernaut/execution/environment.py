"""What a step needs from the process that it runs in: settings, policy, clusters, the clock. Made by the Airflow side and
by tests; the runners below know nothing else of where they are."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from kubernaut.cluster.client import KubeClient
from kubernaut.policy import Policy
from kubernaut.settings import Settings


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Time and chance are arguments: tests bring their own."""

    settings: Settings
    policy: Policy
    cluster: Callable[[str], KubeClient]
    """The client of a cluster by its name in the setting `clusters`. Raises `ConfigurationError`."""
    now: Callable[[], datetime] = utc_now
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    rng: random.Random = field(default_factory=random.Random)

    def tracked(self, tracking_id: str) -> Environment:
        """The same, for one incident: its id is in every request to a cluster."""
        return replace(self, cluster=lambda name: self.cluster(name).tracked(tracking_id))


@dataclass(frozen=True, kw_only=True)
class RunRef:
    """One task of one run of a DAG, as Airflow names it. Airflow tells a trigger no more of a run than this: who started it
    and how often it was cleared is read where its database can be."""

    dag_id: str
    run_id: str
    task_id: str
    try_number: int
    """1 for the first; higher means that a person cleared the task."""


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """How a task ends: Airflow's state for it, one line for people, and the structured result that becomes its XCom."""

    state: str
    """`success`, `failed` or `skipped`."""
    text: str
    result: dict[str, object]
