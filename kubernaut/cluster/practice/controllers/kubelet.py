"""The kubelet (and, in one line, the scheduler): pods get a node, start, fail by their faults, and stop.

Why it exists: this is where faults meet pods. One node, always big enough: scheduling, volumes, networks and probes are
not modelled. Driven by the work queue; it writes pod status and events, nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from kubernaut.cluster.practice.admission import qos_class
from kubernaut.cluster.practice.controllers.containers import ContainerRun, Happening, State
from kubernaut.cluster.practice.controllers.runtime import KUBELET, Surroundings, WorkKey, set_condition
from kubernaut.cluster.practice.faults import fault_for
from kubernaut.cluster.practice.registry import stamp
from kubernaut.cluster.practice.resources import PODS, Json
from kubernaut.cluster.practice.store import Change

NODE = "practice-node-1"
SCHEDULER = "default-scheduler"
_HOST_IP = "10.0.0.1"


@dataclass
class _PodRun:
    """What runs for one pod. `stop_at` is set once it is being deleted."""

    uid: str
    ip: str
    containers: list[ContainerRun]
    stop_at: datetime | None = None


class Kubelet:
    """Keys are (namespace, name) of pods."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._runs: dict[WorkKey, _PodRun] = {}
        self._addresses = 0

    def keys_for(self, change: Change) -> Iterable[WorkKey]:
        if change.resource is PODS:
            metadata = change.obj["metadata"]
            yield (metadata["namespace"], metadata["name"])

    def sync(self, key: WorkKey) -> datetime | None:
        pod = self._around.store.get(PODS, key[0], key[1])
        if pod is None:
            self._runs.pop(key, None)
            return None
        run = self._runs.get(key)
        if run is None or run.uid != pod["metadata"]["uid"]:
            pod, run = self._take(key, pod)
        if "deletionTimestamp" in pod["metadata"]:
            return self._stop(pod, run)
        self._advance(pod, run)
        self._write_status(key, run)
        return min((item.due for item in run.containers if item.due), default=None)

    def _take(self, key: WorkKey, pod: Json) -> tuple[Json, _PodRun]:
        around = self._around
        now = around.now()
        pod = around.registry.update(PODS, pod, {**pod, "spec": {**pod["spec"], "nodeName": NODE}}, SCHEDULER)
        name = pod["metadata"]["name"]
        text = f"Successfully assigned {key[0]}/{name} to {NODE}"
        around.recorder.record(pod, "Pod", "Scheduled", text, component=SCHEDULER)
        full_name = f"{name}_{key[0]}({pod['metadata']['uid']})"
        due = now + around.timing.span(around.timing.start_seconds)
        containers = [
            ContainerRun(item["name"], item["image"], name, full_name, due) for item in pod["spec"]["containers"]
        ]
        self._addresses += 1
        run = _PodRun(
            pod["metadata"]["uid"], f"10.244.{self._addresses // 254}.{self._addresses % 254 + 1}", containers
        )
        self._runs[key] = run
        return pod, run

    def _advance(self, pod: Json, run: _PodRun) -> None:
        around = self._around
        now = around.now()
        specs = {item["name"]: item for item in pod["spec"]["containers"]}
        for container in run.containers:
            spec = specs[container.name]
            if spec["image"] != container.image:
                self._report(pod, container.image_changed(spec["image"], around.timing, now))
            while container.due is not None and container.due <= now:
                fault = fault_for(around.faults, pod["metadata"]["namespace"], spec)
                policy = pod["spec"]["restartPolicy"]
                self._report(pod, container.advance(spec, fault, policy, around.timing, now))

    def _report(self, pod: Json, happenings: list[Happening]) -> None:
        for item in happenings:
            self._around.recorder.record(pod, "Pod", item.reason, item.message, component=KUBELET, warning=item.warning)

    def _stop(self, pod: Json, run: _PodRun) -> datetime | None:
        around = self._around
        now = around.now()
        grace = pod["metadata"].get("deletionGracePeriodSeconds", 0)
        if run.stop_at is None:
            run.stop_at = now + around.timing.span(min(grace, around.timing.stop_seconds))
            running = [item.name for item in run.containers if item.state is State.RUNNING]
            self._report(pod, [Happening("Killing", f"Stopping container {name}") for name in running])
        if now < run.stop_at and grace:
            return run.stop_at
        metadata = {**pod["metadata"], "deletionGracePeriodSeconds": 0}
        around.registry.update(PODS, pod, {**pod, "metadata": metadata}, KUBELET)
        return None

    def _write_status(self, key: WorkKey, run: _PodRun) -> None:
        pod = self._around.store.get(PODS, key[0], key[1])
        if pod is None:
            return
        status = self._status(pod, run)
        self._around.registry.update(PODS, pod, {**pod, "status": status}, KUBELET, subresource="status")

    def _status(self, pod: Json, run: _PodRun) -> Json:
        now = self._around.now()
        unready = [item.name for item in run.containers if not item.ready]
        old: Json = pod.get("status", {})
        conditions: list[Json] = old.get("conditions", [])
        finished = all(item.state is State.FINAL for item in run.containers)
        ready: Json = {"status": "False" if unready else "True"}
        if unready:
            ready |= {"reason": "PodFailed" if finished else "ContainersNotReady"}
            if not finished:
                ready["message"] = f"containers with unready status: [{' '.join(unready)}]"
        for condition in (
            {"type": "PodReadyToStartContainers", "status": "True"},
            {"type": "Initialized", "status": "True"},
            {"type": "Ready"} | ready,
            {"type": "ContainersReady"} | ready,
            {"type": "PodScheduled", "status": "True"},
        ):
            conditions = set_condition(conditions, condition, now)
        return {
            "phase": _phase(run, finished),
            "conditions": conditions,
            "hostIP": _HOST_IP,
            "hostIPs": [{"ip": _HOST_IP}],
            "podIP": run.ip,
            "podIPs": [{"ip": run.ip}],
            "startTime": old.get("startTime", stamp(now)),
            "containerStatuses": [item.status() for item in run.containers],
            "qosClass": qos_class(pod["spec"]),
        }


def _phase(run: _PodRun, finished: bool) -> str:
    if finished:
        return "Failed"
    return "Running" if all(item.started_once for item in run.containers) else "Pending"
