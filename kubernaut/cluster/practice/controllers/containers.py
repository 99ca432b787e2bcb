"""One container's life: waiting, running, ending, and waiting longer each time. A state machine without I/O.

Why it exists: crash loops and failing pulls have a rhythm (at once, then 10 s, 20 s, … up to 5 minutes) and show it in
`containerStatuses`; both come from here. Used by the kubelet, one `ContainerRun` per container. Whether a container is
faulty is looked up anew at each start, so that a changed image is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from kubernaut.cluster.practice.clock import Timing
from kubernaut.cluster.practice.faults import Effect, Fault
from kubernaut.cluster.practice.registry import stamp
from kubernaut.cluster.practice.resources import Json


class State(Enum):
    CREATING = auto()
    PULL_ERROR = auto()
    PULL_BACKOFF = auto()
    RUNNING = auto()
    EXITED = auto()
    CRASH_BACKOFF = auto()
    FINAL = auto()


@dataclass(frozen=True)
class Happening:
    """Something that the kubelet reports as an event."""

    reason: str
    message: str
    warning: bool = False


@dataclass
class ContainerRun:
    """The mutable record of one container. `due` is when it changes next by itself, None when it does not."""

    name: str
    image: str
    pod_name: str
    pod_full_name: str
    due: datetime | None
    state: State = State.CREATING
    ready: bool = False
    restarts: int = 0
    backoff: float = 0.0
    message: str = ""
    fault: Fault | None = None
    started_at: datetime | None = None
    last: Json | None = None
    started_once: bool = False
    slow_until: datetime | None = None

    def advance(
        self, spec: Json, fault: Fault | None, restart_policy: str, timing: Timing, now: datetime
    ) -> list[Happening]:
        """One transition that is due. `fault` is what the container's spec meets now."""
        if self.state in (State.CREATING, State.PULL_BACKOFF):
            return self._start(spec, fault, timing, now)
        if self.state in (State.EXITED, State.CRASH_BACKOFF):
            self.restarts += 1
            return self._start(spec, fault, timing, now)
        if self.state is State.PULL_ERROR:
            return self._back_off_pull(timing, now)
        if self.state is State.RUNNING and self._is_ending():
            return self._exit(restart_policy, timing, now)
        self.ready = True
        self.due = None
        return []

    def image_changed(self, image: str, timing: Timing, now: datetime) -> list[Happening]:
        """The kubelet's answer to another image in the spec of a pod that exists: it restarts the container."""
        self.image = image
        self.backoff = 0.0
        self.due = now + timing.span(timing.restart_seconds)
        if self.state is not State.RUNNING:
            return []
        self._end("Completed", 0, now)
        self.state = State.EXITED
        return [Happening("Killing", f"Container {self.name} definition changed, will be restarted")]

    def _is_ending(self) -> bool:
        return self.fault is not None and self.fault.effect in (Effect.CRASH, Effect.OOM)

    def _start(self, spec: Json, fault: Fault | None, timing: Timing, now: datetime) -> list[Happening]:
        self.fault = fault
        if fault is not None and fault.effect is Effect.IMAGE_PULL:
            return self._fail_pull(fault, timing, now)
        if fault is not None and fault.effect is Effect.SLOW_START and self._is_slow(fault, timing, now):
            return []
        self.state, self.started_at, self.started_once, self.ready = State.RUNNING, now, True, False
        happenings = [
            Happening("Pulled", f'Container image "{self.image}" already present on machine'),
            Happening("Created", f"Created container {self.name}"),
            Happening("Started", f"Started container {self.name}"),
        ]
        self._run(spec, fault, timing, now, happenings)
        return happenings

    def _run(self, spec: Json, fault: Fault | None, timing: Timing, now: datetime, happenings: list[Happening]) -> None:
        delay = spec.get("readinessProbe", {}).get("initialDelaySeconds", 0)
        self.due = None
        if fault is not None and fault.effect is Effect.NEVER_READY:
            text = fault.message or "the container does not answer its probe"
            happenings.append(Happening("Unhealthy", f"Readiness probe failed: {text}", warning=True))
        elif self._is_ending() and fault is not None:
            self.due = now + timing.span(fault.after_seconds)
            self.ready = fault.after_seconds > 0 and "readinessProbe" not in spec
        elif delay:
            self.due = now + timing.span(delay)
        else:
            self.ready = True

    def _is_slow(self, fault: Fault, timing: Timing, now: datetime) -> bool:
        """A slow container is being created until its time is over, counted from its first try."""
        if self.slow_until is None:
            self.slow_until = now + timing.span(fault.seconds)
        if now >= self.slow_until:
            self.slow_until = None
            return False
        self.state, self.due = State.CREATING, self.slow_until
        return True

    def _fail_pull(self, fault: Fault, timing: Timing, now: datetime) -> list[Happening]:
        self.state, self.ready = State.PULL_ERROR, False
        self.message = fault.message or f'failed to pull image "{self.image}": not found'
        self.due = now + timing.span(timing.pull_error_seconds)
        return [
            Happening("Pulling", f'Pulling image "{self.image}"'),
            Happening("Failed", f'Failed to pull image "{self.image}": {self.message}', warning=True),
            Happening("Failed", "Error: ErrImagePull", warning=True),
        ]

    def _back_off_pull(self, timing: Timing, now: datetime) -> list[Happening]:
        self._grow_backoff(timing)
        self.state, self.message = State.PULL_BACKOFF, f'Back-off pulling image "{self.image}"'
        self.due = now + timing.span(self.backoff)
        return [Happening("BackOff", self.message), Happening("Failed", "Error: ImagePullBackOff", warning=True)]

    def _exit(self, restart_policy: str, timing: Timing, now: datetime) -> list[Happening]:
        if self.fault is None:
            return []
        reason, code = self.fault.termination
        ran = (now - self.started_at) if self.started_at else timing.span(0)
        self._end(reason, code, now)
        if restart_policy == "Never":
            self.state, self.due = State.FINAL, None
            return []
        if ran >= timing.span(timing.backoff_reset_seconds):
            self.backoff = 0.0
        if self.restarts == 0 or self.backoff == 0.0:
            self._first_backoff(timing, now)
            return []
        self.state = State.CRASH_BACKOFF
        self.due = now + timing.span(self.backoff)
        self.message = (
            f"back-off {_duration(self.backoff)} restarting failed container={self.name} pod={self.pod_full_name}"
        )
        self._grow_backoff(timing)
        return [
            Happening("BackOff", f"Back-off restarting failed container {self.name} in pod {self.pod_full_name}", True)
        ]

    def _first_backoff(self, timing: Timing, now: datetime) -> None:
        """The first restart comes at once; only the next ones wait."""
        self.backoff = timing.backoff_seconds
        self.state = State.EXITED
        self.due = now + timing.span(timing.restart_seconds)

    def _grow_backoff(self, timing: Timing) -> None:
        self.backoff = min(self.backoff * 2 or timing.backoff_seconds, timing.backoff_limit_seconds)

    def _end(self, reason: str, code: int, now: datetime) -> None:
        self.ready = False
        self.last = {
            "exitCode": code,
            "reason": reason,
            "startedAt": stamp(self.started_at or now),
            "finishedAt": stamp(now),
            "containerID": self.container_id,
        } | ({"message": self.fault.message} if self.fault and self.fault.message else {})

    @property
    def container_id(self) -> str:
        return f"practice://{self.pod_name}/{self.name}/{self.restarts}"

    def status(self) -> Json:
        """The entry in `containerStatuses`."""
        result: Json = {"name": self.name, "state": self._state(), "lastState": {}, "ready": self.ready}
        if self.last is not None and self.state not in (State.EXITED, State.FINAL):
            result["lastState"] = {"terminated": self.last}
        result |= {"restartCount": self.restarts, "image": self.image, "imageID": ""}
        if self.started_once:
            result |= {"imageID": f"practice://{self.image}", "containerID": self.container_id}
        result["started"] = self.state is State.RUNNING
        return result

    def _state(self) -> Json:
        if self.state is State.RUNNING:
            return {"running": {"startedAt": stamp(self.started_at)}} if self.started_at else {"running": {}}
        if self.state in (State.EXITED, State.FINAL):
            return {"terminated": self.last}
        if self.state is State.CREATING:
            return {"waiting": {"reason": "ContainerCreating"}}
        return {"waiting": {"reason": _WAITING[self.state], "message": self.message}}


_WAITING = {
    State.PULL_ERROR: "ErrImagePull",
    State.PULL_BACKOFF: "ImagePullBackOff",
    State.CRASH_BACKOFF: "CrashLoopBackOff",
}


def _duration(seconds: float) -> str:
    """As Go prints a duration: 10s, 1m20s, 5m0s."""
    whole = int(seconds)
    return f"{whole}s" if whole < 60 else f"{whole // 60}m{whole % 60}s"
