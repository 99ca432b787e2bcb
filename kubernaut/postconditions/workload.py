"""Judging a workload from its objects, as an operator would: pure functions over what the API server returned.

Called by `evaluate` after it has read the objects, and by the demo's summary (`describe_problem`). Deployments, and for
what concerns pods alone a single Pod. Status of an older generation proves nothing, and neither does a container that
happens to run between two crashes: readiness and quiet time are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from kubernaut.actions.spec import ActionParams
from kubernaut.cluster.objects import resolve
from kubernaut.postconditions.result import CheckResult

JsonObject = Mapping[str, Any]

QUIET_SECONDS = 10.0
"""A restarted container counts as healthy only after it has run this long; kubelet's first back-off is 10 s."""

STUCK_REASONS = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Reasons of a waiting container that do not go away by waiting."""


class CheckParams(ActionParams):
    """Parameters of the named checks."""

    replicas: Annotated[int, Field(ge=0)] | None = None
    """The workload must also ask for exactly this many replicas."""
    steady_seconds: Annotated[float, Field(ge=0, le=3_600, strict=False)] = 0.0
    """Every container must have been running for this long, in seconds."""


@dataclass(frozen=True, kw_only=True)
class WorkloadFacts:
    """A Deployment with the pods that its ReplicaSets own, or (`workload` None) a single Pod."""

    workload: JsonObject | None
    pods: tuple[JsonObject, ...] = ()

    @property
    def live_pods(self) -> tuple[JsonObject, ...]:
        """Pods that are meant to run: neither being deleted nor finished (an evicted pod's record stays for long)."""
        return tuple(
            pod
            for pod in self.pods
            if not resolve(pod, "/metadata/deletionTimestamp")
            and resolve(pod, "/status/phase") not in ("Succeeded", "Failed")
        )


def rollout_complete(facts: WorkloadFacts, params: CheckParams, now: datetime) -> CheckResult:
    """What `kubectl rollout status` waits for, and no container of it in a crash loop."""
    problem = _rollout_problem(facts, params)
    if problem:
        return _judged(facts, problem)
    return _steady(
        facts, params, now, f"rolled out: {_replicas(facts)} of the latest revision available, no older left"
    )


def workload_available(facts: WorkloadFacts, params: CheckParams, now: datetime) -> CheckResult:
    """All wanted replicas available, at least one, none unavailable."""
    problem = _stale(facts) or _wrong_size(facts, params) or _availability_problem(facts)
    return _judged(facts, problem) if problem else _steady(facts, params, now, f"{_replicas(facts)} available")


def no_crash_loops(facts: WorkloadFacts, params: CheckParams, now: datetime) -> CheckResult:
    """No container that waits in a crash or image loop, is not ready after a restart, or was restarted just now."""
    if facts.workload is not None and _wanted(facts) > 0 and not facts.live_pods:
        return _judged(facts, "there is no pod to look at")
    return _steady(facts, params, now, f"no crash loop in {len(facts.live_pods)} pods")


def pods_running(facts: WorkloadFacts, params: CheckParams, now: datetime) -> CheckResult:
    """As many pods as wanted, every one of them Running and Ready."""
    pods = facts.live_pods
    unready = [problem for pod in pods if (problem := _unready(pod))]
    wanted = 1 if facts.workload is None else _wanted(facts)
    if unready:
        return _judged(facts, f"{len(unready)} of {len(pods)} pods are not ready: {_some(unready)}")
    if len(pods) < wanted or not pods:
        return _judged(facts, f"{len(pods)} of {wanted} pods are there")
    problem = _wrong_size(facts, params)
    return _judged(facts, problem) if problem else _steady(facts, params, now, f"{len(pods)} pods running and ready")


def describe_problem(facts: WorkloadFacts, now: datetime) -> list[str]:
    """What is broken, one line each, for people; empty where nothing is."""
    lines = []
    if facts.workload is not None and (
        problem := _rollout_problem(facts, CheckParams()) or _availability_problem(facts)
    ):
        lines.append(problem)
    lines += [problem for pod in facts.live_pods for problem, _ in _container_problems(pod, now)]
    lines += [problem for pod in facts.live_pods if not lines and (problem := _unready(pod))]
    return lines


# --- the workload's own status


def _rollout_problem(facts: WorkloadFacts, params: CheckParams) -> str | None:
    problem = _stale(facts) or _deadline_exceeded(facts) or _wrong_size(facts, params)
    if problem:
        return problem
    wanted, updated = _wanted(facts), _count(facts, "updatedReplicas")
    replicas, available = _count(facts, "replicas"), _count(facts, "availableReplicas")
    if updated < wanted:
        return f"{updated} of {wanted} replicas are of the latest revision"
    if replicas > updated:
        return f"{replicas - updated} replicas of older revisions are still there"
    if available < updated:
        return f"{available} of {updated} replicas are available"
    return None


def _availability_problem(facts: WorkloadFacts) -> str | None:
    wanted, available = _wanted(facts), _count(facts, "availableReplicas")
    unavailable = _count(facts, "unavailableReplicas")
    if wanted == 0:
        return "scaled to 0: nothing is available"
    if available < wanted or unavailable > 0:
        return f"{available} of {wanted} replicas are available" + (f", {unavailable} are not" if unavailable else "")
    return None


def _stale(facts: WorkloadFacts) -> str | None:
    generation = resolve(facts.workload, "/metadata/generation")
    observed = resolve(facts.workload, "/status/observedGeneration")
    if not isinstance(generation, int) or not isinstance(observed, int) or observed < generation:
        return "the controller has not seen the latest change yet"
    return None


def _deadline_exceeded(facts: WorkloadFacts) -> str | None:
    for condition in resolve(facts.workload, "/status/conditions") or ():
        if condition.get("type") == "Progressing" and condition.get("reason") == "ProgressDeadlineExceeded":
            return "the rollout exceeded its progress deadline"
    return None


def _wrong_size(facts: WorkloadFacts, params: CheckParams) -> str | None:
    if params.replicas is None or facts.workload is None or _wanted(facts) == params.replicas:
        return None
    return f"{_wanted(facts)} replicas are asked for, not {params.replicas}"


def _wanted(facts: WorkloadFacts) -> int:
    replicas = resolve(facts.workload, "/spec/replicas")
    return replicas if isinstance(replicas, int) else 1


def _count(facts: WorkloadFacts, name: str) -> int:
    number = resolve(facts.workload, f"/status/{name}")
    return number if isinstance(number, int) else 0


def _replicas(facts: WorkloadFacts) -> str:
    wanted = _wanted(facts)
    return f"{_count(facts, 'availableReplicas')} of {wanted} replicas"


# --- pods and containers


def _steady(facts: WorkloadFacts, params: CheckParams, now: datetime, healthy: str) -> CheckResult:
    """No container stuck or crashing, each running long enough. Time alone may change this answer: `recheck_after`."""
    problems = [found for pod in facts.live_pods for found in _container_problems(pod, now)]
    problems += [found for pod in facts.live_pods for found in _too_young(pod, params.steady_seconds, now)]
    if not problems:
        return _judged(facts, None, healthy)
    waits = [wait for _, wait in problems]
    recheck = max((wait for wait in waits if wait is not None), default=None) if None not in waits else None
    return _judged(facts, _some([text for text, _ in problems]), recheck_after=recheck)


def _container_problems(pod: JsonObject, now: datetime) -> Iterator[tuple[str, float | None]]:
    """Each problem, with the seconds after which it is over if nothing happens."""
    for status in _container_statuses(pod):
        where = f"pod {_name(pod)}: container {status.get('name')}"
        state, restarts = status.get("state") or {}, status.get("restartCount") or 0
        reason = (state.get("waiting") or {}).get("reason")
        if reason in STUCK_REASONS:
            yield f"{where} is in {reason}{_history(status)}", None
        elif restarts and not status.get("ready") and not _finished(state):
            yield f"{where} is not ready after a restart{_history(status)}", None
        elif restarts and (wait := _remaining(state, QUIET_SECONDS, now)) > 0:
            yield f"{where} was restarted a moment ago{_history(status)}", wait


def _too_young(pod: JsonObject, seconds: float, now: datetime) -> Iterator[tuple[str, float | None]]:
    if seconds <= 0:
        return
    for status in resolve(pod, "/status/containerStatuses") or ():
        wait = _remaining(status.get("state") or {}, seconds, now)
        if wait > 0:
            yield f"pod {_name(pod)}: container {status.get('name')} has not run for {seconds:g} s yet", wait


def _unready(pod: JsonObject) -> str | None:
    phase = resolve(pod, "/status/phase")
    if phase != "Running":
        return f"pod {_name(pod)} is {phase or 'without a phase'}{_waiting(pod)}"
    conditions = resolve(pod, "/status/conditions") or ()
    if not any(condition.get("type") == "Ready" and condition.get("status") == "True" for condition in conditions):
        return f"pod {_name(pod)} runs but is not ready{_waiting(pod)}"
    return None


def _waiting(pod: JsonObject) -> str:
    for status in _container_statuses(pod):
        if reason := ((status.get("state") or {}).get("waiting") or {}).get("reason"):
            return f" ({status.get('name')}: {reason})"
    return ""


def _container_statuses(pod: JsonObject) -> list[JsonObject]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _remaining(state: JsonObject, seconds: float, now: datetime) -> float:
    """How much of `seconds` a container has yet to run; a finished one (init) nothing, an unknown start everything."""
    if _finished(state):
        return 0.0
    started = (state.get("running") or {}).get("startedAt")
    try:
        age = (now - datetime.fromisoformat(str(started))).total_seconds()
    except ValueError:
        return seconds
    return seconds - max(age, 0.0)


def _finished(state: JsonObject) -> bool:
    return (state.get("terminated") or {}).get("exitCode") == 0


def _history(status: JsonObject) -> str:
    restarts = status.get("restartCount") or 0
    last = (status.get("lastState") or {}).get("terminated") or {}
    ended = f"; it last ended with exit code {last['exitCode']}" if "exitCode" in last else ""
    reason = f" ({last['reason']})" if last.get("reason") else ""
    return f" (restarted {restarts} times{ended}{reason})" if restarts else ""


def _name(item: JsonObject) -> str:
    return str(resolve(item, "/metadata/name"))


def _some(lines: list[str]) -> str:
    return "; ".join(lines[:3]) + (f"; and {len(lines) - 3} more" if len(lines) > 3 else "")


def _judged(
    facts: WorkloadFacts, problem: str | None, healthy: str = "", *, recheck_after: float | None = None
) -> CheckResult:
    judged = facts.workload if facts.workload is not None else next(iter(facts.pods), {})
    return CheckResult(
        holds=problem is None,
        observed=problem or healthy,
        resource_version=resolve(judged, "/metadata/resourceVersion"),
        recheck_after=recheck_after,
    )
