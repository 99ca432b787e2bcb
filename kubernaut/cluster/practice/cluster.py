"""The practice cluster itself: store, API and controllers under one injected clock.

Why it exists: a rehearsal needs a cluster that does what a real one would, as fast as the processor allows. Nothing
here waits, starts a thread or does I/O: whoever owns the cluster calls `step()` after requests and when the returned
moment has come. `server` does so in real time; simulations use a `SimulatedClock` and `run_for`. Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from kubernaut.cluster.practice.api import Api
from kubernaut.cluster.practice.clock import SimulatedClock, Timing
from kubernaut.cluster.practice.controllers.deployment import DeploymentController
from kubernaut.cluster.practice.controllers.kubelet import Kubelet
from kubernaut.cluster.practice.controllers.removal import RemovalController
from kubernaut.cluster.practice.controllers.replicaset import ReplicaSetController
from kubernaut.cluster.practice.controllers.runtime import EventRecorder, Surroundings, WorkQueue
from kubernaut.cluster.practice.errors import ApiError
from kubernaut.cluster.practice.faults import Fault
from kubernaut.cluster.practice.registry import Registry
from kubernaut.cluster.practice.resources import BY_KIND, NAMESPACES, Json, ResourceType
from kubernaut.cluster.practice.store import Store

_FIRST_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")


class PracticeCluster:
    """`api` has the verbs, `store` the objects and their history.

    :param clock: the present moment, with a time zone; asked, never set
    :param faults: what goes wrong, and for which values
    :param timing: how long things take
    :param seed: names and uids are the same for the same seed and the same requests
    :param history_limit: how many changes watches and pages can look back on
    :param track_fields: whether managedFields are kept; simulations that ask nobody's name do without
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        *,
        faults: Iterable[Fault] = (),
        timing: Timing | None = None,
        seed: int = 0,
        history_limit: int = 20_000,
        track_fields: bool = True,
    ) -> None:
        self.clock = clock
        self.store = Store(history_limit=history_limit)
        self.registry = Registry(self.store, clock, seed, track_fields=track_fields)
        self.api = Api(self.registry)
        self._around = Surroundings(self.registry, timing or Timing(), tuple(faults), EventRecorder(self.registry))
        around = self._around
        self._queue = WorkQueue(
            (DeploymentController(around), ReplicaSetController(around), Kubelet(around), RemovalController(around))
        )
        self.store.listeners.append(self._queue.changed)
        for name in _FIRST_NAMESPACES:
            self.api.create(NAMESPACES, "", {"metadata": {"name": name}})

    @property
    def faults(self) -> tuple[Fault, ...]:
        return self._around.faults

    @faults.setter
    def faults(self, faults: Iterable[Fault]) -> None:
        """Takes effect when containers start next."""
        self._around.faults = tuple(faults)

    @property
    def timing(self) -> Timing:
        return self._around.timing

    def step(self) -> datetime | None:
        """Runs the controllers until they are quiet at the clock's time; returns when the next timed thing is due."""
        return self._queue.run(self.clock())

    def put(self, obj: Json) -> Json:
        """Creates the object, or replaces the one of its name: how scenarios bring objects in. Raises `ApiError`."""
        resource, namespace = locate(obj)
        name = obj["metadata"]["name"]
        if self.store.get(resource, namespace, name) is None:
            return self.api.create(resource, namespace, obj)
        return self.api.replace(resource, namespace, name, obj)


def locate(obj: Any) -> tuple[ResourceType, str]:
    """Kind and namespace of a manifest (`default` where it names none). Raises `ApiError` for a kind that is not
    modelled.
    """
    resource = BY_KIND.get((obj.get("apiVersion", ""), obj.get("kind", "")))
    if resource is None:
        known = ", ".join(sorted(f"{version}/{kind}" for version, kind in BY_KIND))
        raise ApiError(
            501,
            "NotImplemented",
            f"the practice cluster does not model {obj.get('apiVersion')}/{obj.get('kind')}; it models {known}",
        )
    return resource, obj["metadata"].get("namespace", "default") if resource.namespaced else ""


def run_for(cluster: PracticeCluster, clock: SimulatedClock, seconds: float) -> None:
    """Lets simulated time pass, stopping at every moment at which something is due."""
    end = clock.now + timedelta(seconds=seconds)
    while (due := cluster.step()) is not None and due <= end:
        clock.now = due
    clock.now = end
    cluster.step()
