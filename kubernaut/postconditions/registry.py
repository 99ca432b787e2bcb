"""The named checks: name, version, what each means in words, and what it reads.

A check's meaning never changes under its version: another meaning is another version, and a stored plan keeps the one
that was approved. Validation reads this to refuse unknown names, versions, kinds and parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from kubernaut.postconditions import workload
from kubernaut.postconditions.result import CheckResult
from kubernaut.postconditions.workload import CheckParams, WorkloadFacts

Judge = Callable[[WorkloadFacts, CheckParams, datetime], CheckResult]


@dataclass(frozen=True, kw_only=True)
class NamedCheck:
    """One version of one check.

    :param reads: what the cluster's RBAC must allow, as `verb group/resource`
    """

    name: str
    version: int
    meaning: str
    target_kinds: tuple[str, ...]
    reads: tuple[str, ...]
    judge: Judge
    params: type[CheckParams] = CheckParams


_WORKLOAD_READS = ("get apps/deployments", "list apps/replicasets", "list pods")

_CHECKS = (
    NamedCheck(
        name="rollout_complete",
        version=1,
        meaning="The controller has seen the latest template, every replica is of the latest revision and available, "
        "no older one is left, and no container is in a crash loop or was restarted within the last "
        f"{workload.QUIET_SECONDS:g} s.",
        target_kinds=("Deployment",),
        reads=_WORKLOAD_READS,
        judge=workload.rollout_complete,
    ),
    NamedCheck(
        name="workload_available",
        version=1,
        meaning="The controller has seen the latest template, at least one replica is wanted, all wanted replicas are "
        "available, none is unavailable, and no container is in a crash loop or was restarted within the last "
        f"{workload.QUIET_SECONDS:g} s.",
        target_kinds=("Deployment",),
        reads=_WORKLOAD_READS,
        judge=workload.workload_available,
    ),
    NamedCheck(
        name="no_crash_loops",
        version=1,
        meaning="Among the pods that the workload owns, no container waits in a crash or image-pull loop, none is "
        f"unready after a restart, and none was restarted within the last {workload.QUIET_SECONDS:g} s; pods that are "
        "being deleted do not count.",
        target_kinds=("Deployment", "Pod"),
        reads=(*_WORKLOAD_READS, "get pods"),
        judge=workload.no_crash_loops,
    ),
    NamedCheck(
        name="pods_running",
        version=1,
        meaning="The workload owns as many pods as it wants, at least one, each Running and Ready, and no container is "
        f"in a crash loop or was restarted within the last {workload.QUIET_SECONDS:g} s.",
        target_kinds=("Deployment", "Pod"),
        reads=(*_WORKLOAD_READS, "get pods"),
        judge=workload.pods_running,
    ),
)
_BY_KEY: Mapping[tuple[str, int], NamedCheck] = {(check.name, check.version): check for check in _CHECKS}


def named_checks() -> tuple[NamedCheck, ...]:
    return _CHECKS


def find(name: str, version: int = 1) -> NamedCheck | None:
    return _BY_KEY.get((name, version))
