"""When a workload counts as repaired: judged from its objects, as an operator would."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubernaut.postconditions.registry import find, named_checks
from kubernaut.postconditions.result import CheckResult
from kubernaut.postconditions.workload import CheckParams, WorkloadFacts, describe_problem

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def deployment(wanted: int = 2, generation: int = 4, **status: Any) -> dict[str, Any]:
    healthy = {
        "observedGeneration": generation,
        "replicas": wanted,
        "updatedReplicas": wanted,
        "availableReplicas": wanted,
        "readyReplicas": wanted,
    }
    return {
        "kind": "Deployment",
        "metadata": {"name": "checkout", "generation": generation, "resourceVersion": "70"},
        "spec": {"replicas": wanted},
        "status": {**healthy, **status},
    }


def started(seconds_ago: float) -> str:
    return (NOW - timedelta(seconds=seconds_ago)).isoformat().replace("+00:00", "Z")


def pod(
    name: str = "checkout-1",
    *,
    state: dict[str, Any] | None = None,
    ready: bool = True,
    restarts: int = 0,
    age: float = 600,
    phase: str = "Running",
    deleted: bool = False,
    last_exit: int | None = None,
    init: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    last = {"terminated": {"exitCode": last_exit, "reason": "Error"}} if last_exit is not None else {}
    return {
        "metadata": {"name": name} | ({"deletionTimestamp": "2026-03-01T11:59:00Z"} if deleted else {}),
        "status": {
            "phase": phase,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "initContainerStatuses": init or [],
            "containerStatuses": [
                {
                    "name": "app",
                    "ready": ready,
                    "restartCount": restarts,
                    "state": state or {"running": {"startedAt": started(age)}},
                    "lastState": last,
                }
            ],
        },
    }


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason}}


def facts(workload: dict[str, Any] | None = None, *pods: dict[str, Any]) -> WorkloadFacts:
    return WorkloadFacts(workload=workload or deployment(), pods=pods or (pod("a"), pod("b")))


def judged(check: str, found: WorkloadFacts, **params: Any) -> CheckResult:
    named = find(check)
    assert named is not None
    return named.judge(found, CheckParams(**params), NOW)


@pytest.mark.parametrize("check", [check.name for check in named_checks()])
def test_a_healthy_workload_passes_every_check(check: str) -> None:
    result = judged(check, facts())
    assert (result.holds, result.resource_version) == (True, "70")


@pytest.mark.parametrize(
    ("workload", "said"),
    [
        (deployment(observedGeneration=3), "has not seen the latest change"),
        (deployment(observedGeneration=None), "has not seen the latest change"),
        (deployment(wanted=3, updatedReplicas=1), "1 of 3 replicas are of the latest revision"),
        (deployment(replicas=3), "1 replicas of older revisions"),
        (deployment(availableReplicas=1), "1 of 2 replicas are available"),
        (deployment(availableReplicas=None), "0 of 2 replicas are available"),
        (
            deployment(conditions=[{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]),
            "progress deadline",
        ),
    ],
)
def test_a_rollout_is_complete_only_as_kubectl_means_it(workload: dict[str, Any], said: str) -> None:
    result = judged("rollout_complete", facts(workload))
    assert result.holds is False
    assert said in result.observed


def test_a_rollout_to_zero_is_complete_but_not_available() -> None:
    empty = WorkloadFacts(workload=deployment(wanted=0, availableReplicas=None))
    assert judged("rollout_complete", empty).holds is True
    assert judged("workload_available", empty).holds is False


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"availableReplicas": 1, "unavailableReplicas": 1}, "1 of 2 replicas are available, 1 are not"),
        ({"unavailableReplicas": 1}, "1 are not"),
        ({"observedGeneration": 3}, "has not seen"),
    ],
)
def test_available_means_that_none_is_unavailable(status: dict[str, Any], said: str) -> None:
    result = judged("workload_available", facts(deployment(**status)))
    assert result.holds is False
    assert said in result.observed


@pytest.mark.parametrize("check", ["rollout_complete", "workload_available", "pods_running"])
def test_the_number_of_replicas_may_be_part_of_the_check(check: str) -> None:
    assert judged(check, facts(), replicas=2).holds is True
    result = judged(check, facts(), replicas=5)
    assert (result.holds, result.observed) == (False, "2 replicas are asked for, not 5")


@pytest.mark.parametrize("check", [check.name for check in named_checks()])
@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (pod(state=waiting("CrashLoopBackOff"), ready=False, restarts=5, last_exit=1), "CrashLoopBackOff (restarted 5"),
        (pod(restarts=5, age=1, last_exit=1), "was restarted a moment ago"),
    ],
)
def test_a_crash_loop_passes_no_check_even_while_its_container_runs(
    check: str, broken: dict[str, Any], said: str
) -> None:
    result = judged(check, facts(deployment(), broken, pod("b")))
    assert result.holds is False
    if check != "pods_running" or broken["status"]["containerStatuses"][0]["ready"]:
        assert said in result.observed


@pytest.mark.parametrize(
    ("broken", "holds"),
    [
        (pod(state=waiting("ImagePullBackOff"), ready=False), False),
        (pod(state=waiting("ErrImagePull"), ready=False), False),
        (pod(state=waiting("CreateContainerConfigError"), ready=False), False),
        (pod(state=waiting("ContainerCreating"), ready=False), True),
        (pod(restarts=2, ready=False, age=600), False),
        (pod(restarts=2, ready=True, age=600), True),
        (pod(restarts=2, state={"running": {}}), False),
        (pod(state=waiting("CrashLoopBackOff"), ready=False, deleted=True), True),
        (pod(state={"terminated": {"exitCode": 137}}, ready=False, restarts=1, phase="Failed"), True),
        (pod(init=[{"name": "init", "restartCount": 3, "state": waiting("CrashLoopBackOff")}]), False),
        (pod(init=[{"name": "init", "restartCount": 1, "state": {"terminated": {"exitCode": 0}}}]), True),
    ],
)
def test_what_counts_as_a_crash_loop(broken: dict[str, Any], holds: bool) -> None:
    assert judged("no_crash_loops", facts(deployment(), broken, pod("b"))).holds is holds


def test_a_workload_without_its_pods_proves_nothing() -> None:
    assert judged("no_crash_loops", WorkloadFacts(workload=deployment())).holds is False


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ([pod("a")], "1 of 2 pods are there"),
        ([pod("a"), pod("b", ready=False)], "1 of 2 pods are not ready: pod b runs but is not ready"),
        ([pod("a"), pod("b", phase="Pending", ready=False)], "pod b is Pending"),
        ([pod("a"), pod("b", deleted=True)], "1 of 2 pods are there"),
    ],
)
def test_running_means_as_many_as_wanted_running_and_ready(pods: list[dict[str, Any]], said: str) -> None:
    result = judged("pods_running", facts(deployment(), *pods))
    assert result.holds is False
    assert said in result.observed


def test_one_pod_can_be_judged_by_itself() -> None:
    assert judged("pods_running", WorkloadFacts(workload=None, pods=(pod(),))).holds is True
    assert judged("no_crash_loops", WorkloadFacts(workload=None, pods=(pod(restarts=1, ready=False),))).holds is False


def test_steady_asks_each_container_to_have_run_that_long() -> None:
    young = facts(deployment(), pod("a", age=1), pod("b"))
    result = judged("rollout_complete", young, steady_seconds=3)
    assert (result.holds, result.recheck_after) == (False, 2.0)
    assert judged("rollout_complete", facts(deployment(), pod("a", age=3), pod("b")), steady_seconds=3).holds is True


def test_what_only_time_can_change_says_when_to_look_again() -> None:
    restarted = facts(deployment(), pod("a", restarts=1, age=4), pod("b"))
    assert judged("no_crash_loops", restarted).recheck_after == 6.0
    stuck = facts(deployment(), pod("a", restarts=1, age=4), pod("b", state=waiting("CrashLoopBackOff"), ready=False))
    assert judged("no_crash_loops", stuck).recheck_after is None


def test_a_clock_behind_the_clusters_does_not_make_a_container_older() -> None:
    assert judged("rollout_complete", facts(deployment(), pod("a", age=-30)), steady_seconds=3).holds is False


def test_a_problem_is_described_in_words() -> None:
    broken = facts(
        deployment(availableReplicas=1, unavailableReplicas=1),
        pod("a"),
        pod("b", state=waiting("CrashLoopBackOff"), ready=False, restarts=5, last_exit=1),
    )
    assert describe_problem(broken, NOW) == [
        "1 of 2 replicas are available",
        "pod b: container app is in CrashLoopBackOff (restarted 5 times; it last ended with exit code 1 (Error))",
    ]


def test_a_healthy_workload_has_no_problem() -> None:
    assert describe_problem(facts(), NOW) == []


def test_each_check_says_what_it_means_and_what_it_reads() -> None:
    for check in named_checks():
        assert check.meaning.endswith(".")
        assert check.reads
        assert check.target_kinds
    assert find("rollout_complete", 2) is None
