"""Deployments, ReplicaSets and pods over time: rollouts, revisions, faults and what heals them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from practice_simulation import Simulation, container, deployment

from kubernaut.cluster.practice import Effect, Fault, FaultMatch, Timing
from kubernaut.cluster.practice.admission import WriteOptions
from kubernaut.cluster.practice.api import PatchType
from kubernaut.cluster.practice.controllers.rollout import (
    REVISION,
    REVISION_HISTORY,
    max_unavailable,
    surge_and_unavailable,
)
from kubernaut.cluster.practice.listing import ListOptions
from kubernaut.cluster.practice.resources import DEPLOYMENTS, EVENTS, PODS, REPLICA_SETS, Json

BAD = Fault(match=FaultMatch(image="web:bad"), effect=Effect.CRASH, message="no such table", exit_code=3)


def with_image(image: str, **options: Any) -> Json:
    return deployment(containers=[container(image=image)], **options)


def set_template(simulation: Simulation, template: Json) -> None:
    """What kubectl's undo does: the old ReplicaSet's template, without the label that the controller added."""
    labels = {key: value for key, value in template["metadata"]["labels"].items() if key != "pod-template-hash"}
    template = {**template, "metadata": {**template["metadata"], "labels": labels}}
    operations = [{"op": "replace", "path": "/spec/template", "value": template}]
    simulation.api.patch(DEPLOYMENTS, "default", "web", operations, PatchType.JSON, WriteOptions("kubectl"))


def counts(simulation: Simulation) -> dict[str, int]:
    return {key: value for key, value in simulation.deployment()["status"].items() if isinstance(value, int)}


def waiting_reasons(simulation: Simulation) -> set[str]:
    return {item["state"].get("waiting", {}).get("reason", "") for item in simulation.container_statuses()}


# -- rollouts ----------------------------------------------------------------------------------------------------


def test_a_new_deployment_becomes_available(simulation: Simulation) -> None:
    simulation.put(deployment())
    simulation.run(0)
    assert simulation.condition("Available") == ("False", "MinimumReplicasUnavailable")
    assert {pod["status"]["phase"] for pod in simulation.pods()} == {"Pending"}
    assert waiting_reasons(simulation) == {"ContainerCreating"}
    simulation.run(1)
    assert counts(simulation) == {
        "observedGeneration": 1,
        "replicas": 2,
        "updatedReplicas": 2,
        "readyReplicas": 2,
        "availableReplicas": 2,
    }
    assert simulation.condition("Available") == ("True", "MinimumReplicasAvailable")
    assert simulation.condition("Progressing") == ("True", "NewReplicaSetAvailable")
    assert simulation.deployment()["metadata"]["annotations"] == {REVISION: "1"}


def test_owners_labels_and_names_lead_from_the_deployment_to_its_pods(simulation: Simulation) -> None:
    simulation.put(deployment())
    simulation.run(5)
    (replica_set,) = simulation.cluster.store.all(REPLICA_SETS)
    value = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert replica_set["metadata"]["name"] == f"web-{value}"
    assert replica_set["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": value}
    owner = replica_set["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["uid"]) == ("Deployment", simulation.deployment()["metadata"]["uid"])
    for pod in simulation.pods():
        assert pod["metadata"]["name"].startswith(f"web-{value}-")
        assert pod["metadata"]["labels"] == {"app": "web", "pod-template-hash": value}
        assert pod["metadata"]["ownerReferences"][0]["uid"] == replica_set["metadata"]["uid"]


@settings(max_examples=40, deadline=None)
@given(
    replicas=st.integers(1, 9),
    surge=st.integers(0, 3) | st.sampled_from(["25%", "50%", "100%"]),
    unavailable=st.integers(0, 3) | st.sampled_from(["25%", "50%", "100%"]),
)
def test_a_rollout_keeps_within_surge_and_unavailability(
    replicas: int, surge: int | str, unavailable: int | str
) -> None:
    if surge == 0 and unavailable == 0:
        unavailable = 1
    rolling = {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    simulation = Simulation()
    simulation.put(with_image("web:1", replicas=replicas, strategy=rolling))
    simulation.run(10)
    simulation.put(with_image("web:2", replicas=replicas, strategy=rolling))
    most = replicas + surge_and_unavailable(simulation.deployment())[0]
    least = replicas - max_unavailable(simulation.deployment())
    due = simulation.cluster.step()
    while simulation.condition("Progressing")[1] != "NewReplicaSetAvailable" or len(simulation.pods()) != replicas:
        alive = [pod for pod in simulation.pods() if "deletionTimestamp" not in pod["metadata"]]
        ready = [pod for pod in alive if pod["status"].get("containerStatuses", [{}])[0].get("ready")]
        assert len(alive) <= most
        assert len(ready) >= least
        assert due is not None
        simulation.clock.now = due
        due = simulation.cluster.step()
    assert {pod["spec"]["containers"][0]["image"] for pod in simulation.pods()} == {"web:2"}


def test_recreate_starts_nothing_new_before_the_last_old_pod_is_gone(simulation: Simulation) -> None:
    simulation.put(with_image("web:1", strategy={"type": "Recreate"}))
    simulation.run(5)
    simulation.put(with_image("web:2", strategy={"type": "Recreate"}))
    simulation.run(0)
    assert {pod["spec"]["containers"][0]["image"] for pod in simulation.pods()} == {"web:1"}
    assert all("deletionTimestamp" in pod["metadata"] for pod in simulation.pods())
    simulation.run(10)
    assert {pod["spec"]["containers"][0]["image"] for pod in simulation.pods()} == {"web:2"}
    assert simulation.condition("Progressing") == ("True", "NewReplicaSetAvailable")


def test_a_template_that_comes_back_takes_its_old_replica_set_to_the_next_revision(simulation: Simulation) -> None:
    simulation.put(with_image("web:1"))
    simulation.run(5)
    first = simulation.replica_sets()["1"]
    simulation.put(with_image("web:2"))
    simulation.run(10)
    set_template(simulation, first["spec"]["template"])
    simulation.run(10)
    again = simulation.replica_sets()
    assert set(again) == {"2", "3"}
    assert again["3"]["metadata"]["uid"] == first["metadata"]["uid"]
    assert again["3"]["metadata"]["annotations"][REVISION_HISTORY] == "1"
    assert simulation.deployment()["metadata"]["annotations"][REVISION] == "3"


def test_the_revision_history_has_its_limit(simulation: Simulation) -> None:
    for number in range(6):
        simulation.put(with_image(f"web:{number}", revisionHistoryLimit=2))
        simulation.run(10)
    assert set(simulation.replica_sets()) == {"4", "5", "6"}


def test_a_paused_deployment_scales_but_does_not_roll_out(simulation: Simulation) -> None:
    simulation.put(with_image("web:1"))
    simulation.run(5)
    simulation.put(with_image("web:2", paused=True, replicas=3))
    simulation.run(10)
    assert [pod["spec"]["containers"][0]["image"] for pod in simulation.pods()] == ["web:1"] * 3
    assert simulation.condition("Progressing") == ("Unknown", "DeploymentPaused")
    simulation.put(with_image("web:2", replicas=3))
    simulation.run(20)
    assert {pod["spec"]["containers"][0]["image"] for pod in simulation.pods()} == {"web:2"}


@pytest.mark.parametrize("replicas", [0, 1, 5])
def test_scaling_to_any_size_and_no_new_revision(simulation: Simulation, replicas: int) -> None:
    simulation.put(deployment(replicas=2))
    simulation.run(5)
    simulation.api.patch(
        DEPLOYMENTS, "default", "web", {"spec": {"replicas": replicas}}, PatchType.MERGE, subresource="scale"
    )
    simulation.run(10)
    assert len(simulation.pods()) == replicas
    assert set(simulation.replica_sets()) == {"1"}
    assert simulation.deployment()["status"]["observedGeneration"] == 2


def test_a_scale_in_the_middle_of_a_rollout_is_shared_by_size() -> None:
    """Kubernetes' own example: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#proportional-scaling"""
    simulation = Simulation(faults=[BAD])
    rolling = {"rollingUpdate": {"maxSurge": 3, "maxUnavailable": 2}}
    simulation.put(with_image("web:1", replicas=10, strategy=rolling))
    simulation.run(5)
    simulation.put(with_image("web:bad", replicas=10, strategy=rolling))
    simulation.run(5)
    before = {key: item["spec"]["replicas"] for key, item in simulation.replica_sets().items()}
    assert before == {"1": 8, "2": 5}
    simulation.api.patch(DEPLOYMENTS, "default", "web", {"spec": {"replicas": 15}}, PatchType.MERGE)
    simulation.cluster.step()
    sizes = {key: item["spec"]["replicas"] for key, item in simulation.replica_sets().items()}
    assert sizes == {"1": 11, "2": 7}


def test_min_ready_seconds_delay_availability(simulation: Simulation) -> None:
    simulation.put(deployment(minReadySeconds=20))
    simulation.run(10)
    assert counts(simulation)["readyReplicas"] == 2
    assert "availableReplicas" not in counts(simulation)
    simulation.run(20)
    assert counts(simulation)["availableReplicas"] == 2


def test_a_pod_that_is_deleted_comes_back_under_another_name(simulation: Simulation) -> None:
    simulation.put(deployment())
    simulation.run(5)
    names = {pod["metadata"]["name"] for pod in simulation.pods()}
    simulation.api.delete(PODS, "default", min(names))
    simulation.run(10)
    assert len(simulation.pods()) == 2
    assert min(names) not in {pod["metadata"]["name"] for pod in simulation.pods()}


def test_a_pod_whose_labels_no_longer_fit_is_let_go_and_replaced(simulation: Simulation) -> None:
    simulation.put(deployment())
    simulation.run(5)
    name = simulation.pods()[0]["metadata"]["name"]
    simulation.api.patch(PODS, "default", name, {"metadata": {"labels": {"app": "quarantine"}}}, PatchType.MERGE)
    simulation.run(10)
    assert "ownerReferences" not in simulation.api.get(PODS, "default", name)["metadata"]
    assert len(simulation.pods()) == 3
    assert counts(simulation)["availableReplicas"] == 2


# -- faults ------------------------------------------------------------------------------------------------------


def test_a_crash_loop_waits_longer_each_time() -> None:
    simulation = Simulation(faults=[BAD])
    simulation.put(with_image("web:bad", replicas=1))
    seen = []
    for seconds in (2, 2, 12, 21, 41, 81, 161, 301):
        simulation.run(seconds)
        (status,) = simulation.container_statuses()
        seen.append((status["restartCount"], status["state"]["waiting"]["message"].split(" restarting")[0]))
    assert seen == [
        (1, "back-off 10s"),
        (1, "back-off 10s"),
        (2, "back-off 20s"),
        (3, "back-off 40s"),
        (4, "back-off 1m20s"),
        (5, "back-off 2m40s"),
        (6, "back-off 5m0s"),
        (7, "back-off 5m0s"),
    ]
    assert status["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    terminated = status["lastState"]["terminated"]
    assert (terminated["reason"], terminated["exitCode"], terminated["message"]) == ("Error", 3, "no such table")
    assert simulation.pods()[0]["status"]["phase"] == "Running"


@pytest.mark.parametrize(
    ("effect", "phase", "waiting", "last"),
    [
        (Effect.CRASH, "Running", "CrashLoopBackOff", ("Error", 1)),
        (Effect.OOM, "Running", "CrashLoopBackOff", ("OOMKilled", 137)),
        (Effect.IMAGE_PULL, "Pending", "ImagePullBackOff", None),
        (Effect.NEVER_READY, "Running", "", None),
        (Effect.SLOW_START, "Pending", "ContainerCreating", None),
    ],
)
def test_what_each_effect_looks_like(effect: Effect, phase: str, waiting: str, last: tuple[str, int] | None) -> None:
    simulation = Simulation(faults=[Fault(match=FaultMatch(image="web:bad"), effect=effect)])
    simulation.put(with_image("web:bad", replicas=1))
    simulation.run(8)
    (status,) = simulation.container_statuses()
    terminated = status["lastState"].get("terminated")
    assert simulation.pods()[0]["status"]["phase"] == phase
    assert waiting_reasons(simulation) == {waiting}
    assert (terminated and (terminated["reason"], terminated["exitCode"])) == last
    assert not status["ready"]
    assert simulation.condition("Available")[0] == "False"


def test_a_slow_start_ends(simulation: Simulation) -> None:
    simulation.cluster.faults = (Fault(match=FaultMatch(image="web:1"), effect=Effect.SLOW_START, seconds=30),)
    simulation.put(deployment())
    simulation.run(29)
    assert simulation.condition("Available")[0] == "False"
    simulation.run(3)
    assert simulation.condition("Available")[0] == "True"


def test_the_events_tell_what_happened() -> None:
    simulation = Simulation(faults=[BAD])
    simulation.put(with_image("web:bad", replicas=1))
    simulation.run(60)
    pod = simulation.pods()[0]["metadata"]["name"]
    selector = ListOptions(field_selector=f"involvedObject.name={pod}")
    events = simulation.api.list(EVENTS, "default", selector)["items"]
    assert {event["reason"]: event["type"] for event in events} == {
        "Scheduled": "Normal",
        "Pulled": "Normal",
        "Created": "Normal",
        "Started": "Normal",
        "BackOff": "Warning",
    }
    assert next(event["count"] for event in events if event["reason"] == "BackOff") == 3


def test_a_bad_rollout_stops_half_way_and_times_out() -> None:
    simulation = Simulation(faults=[BAD])
    simulation.put(with_image("web:1"))
    simulation.run(5)
    simulation.put(with_image("web:bad"))
    simulation.run(30)
    assert counts(simulation) == {
        "observedGeneration": 2,
        "replicas": 3,
        "updatedReplicas": 1,
        "readyReplicas": 2,
        "availableReplicas": 2,
        "unavailableReplicas": 1,
    }
    assert simulation.condition("Progressing") == ("True", "ReplicaSetUpdated")
    simulation.run(600)
    assert simulation.condition("Progressing") == ("False", "ProgressDeadlineExceeded")


WRONG_REMEDIES: dict[str, Json] = {
    "restart": {"spec": {"template": {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}}}},
    "scale": {"spec": {"replicas": 4}},
    "another bad value": {"spec": {"template": {"spec": {"containers": [container(image="web:bad", args=["-v"])]}}}},
}


@pytest.mark.parametrize("remedy", WRONG_REMEDIES.values(), ids=WRONG_REMEDIES)
def test_a_wrong_remedy_does_not_heal(remedy: Json) -> None:
    simulation = Simulation(faults=[BAD])
    simulation.put(with_image("web:bad"))
    simulation.run(60)
    simulation.api.patch(DEPLOYMENTS, "default", "web", remedy, PatchType.MERGE)
    simulation.run(120)
    assert simulation.condition("Available")[0] == "False"
    for pod in simulation.pods():
        simulation.api.delete(PODS, "default", pod["metadata"]["name"])
    simulation.run(120)
    assert simulation.condition("Available")[0] == "False"


def test_the_right_template_heals_at_once() -> None:
    simulation = Simulation(faults=[BAD])
    simulation.put(with_image("web:1"))
    simulation.run(5)
    good = simulation.replica_sets()["1"]["spec"]["template"]
    simulation.put(with_image("web:bad"))
    simulation.run(700)
    set_template(simulation, good)
    simulation.run(10)
    assert simulation.condition("Progressing") == ("True", "NewReplicaSetAvailable")
    assert counts(simulation)["availableReplicas"] == 2
    assert "unavailableReplicas" not in counts(simulation)


MATCHES: dict[str, tuple[FaultMatch, Json, bool]] = {
    "image": (FaultMatch(image="web:1"), container(), True),
    "another image": (FaultMatch(image="web:2"), container(), False),
    "image by pattern": (FaultMatch(image_regex=r"web:\d"), container(), True),
    "a pattern is for the whole image": (FaultMatch(image_regex="web"), container(), False),
    "variable": (FaultMatch(env={"A": "1"}), container(env=[{"name": "A", "value": "1"}]), True),
    "variable of another value": (FaultMatch(env={"A": "1"}), container(env=[{"name": "A", "value": "2"}]), False),
    "missing variable": (FaultMatch(env_missing=("A",)), container(), True),
    "missing variable that is there": (FaultMatch(env_missing=("A",)), container(env=[{"name": "A"}]), False),
    "command": (FaultMatch(command=("a", "b")), container(command=["a", "b"]), True),
    "longer command": (FaultMatch(command=("a",)), container(command=["a", "b"]), False),
    "arguments": (FaultMatch(args=("x",)), container(args=["x"]), True),
    "one word of either": (FaultMatch(argument="b"), container(command=["a"], args=["b"]), True),
    "low memory": (
        FaultMatch(memory_limit_below="128Mi"),
        container(resources={"limits": {"memory": "64Mi"}}),
        True,
    ),
    "just enough memory": (
        FaultMatch(memory_limit_below="128Mi"),
        container(resources={"limits": {"memory": "134217728"}}),
        False,
    ),
    "no memory limit": (FaultMatch(memory_limit_below="128Mi"), container(), False),
    "another container": (FaultMatch(container="sidecar", image="web:1"), container(), False),
    "another namespace": (FaultMatch(namespace="shop", image="web:1"), container(), False),
    "one condition of two": (FaultMatch(image="web:1", env={"A": "1"}), container(), False),
}


@pytest.mark.parametrize(("match", "spec", "expected"), MATCHES.values(), ids=MATCHES)
def test_when_a_fault_matches(match: FaultMatch, spec: Json, expected: bool) -> None:
    assert match.matches("default", spec) is expected


def test_a_fault_must_be_bound_to_a_value() -> None:
    with pytest.raises(ValueError, match="needs a condition on a value"):
        FaultMatch(container="web")


def test_more_memory_heals_an_oom() -> None:
    fault = Fault(match=FaultMatch(memory_limit_below="128Mi"), effect=Effect.OOM)
    simulation = Simulation(faults=[fault])
    simulation.put(deployment(containers=[container(resources={"limits": {"memory": "64Mi"}})]))
    simulation.run(60)
    assert simulation.condition("Available")[0] == "False"
    simulation.put(deployment(containers=[container(resources={"limits": {"memory": "256Mi"}})]))
    simulation.run(30)
    assert simulation.condition("Available")[0] == "True"


def test_a_crash_after_a_while_is_ready_in_between() -> None:
    fault = Fault(match=FaultMatch(image="web:1"), effect=Effect.CRASH, after_seconds=30)
    simulation = Simulation(faults=[fault])
    simulation.put(deployment(replicas=1))
    simulation.run(30)
    assert simulation.container_statuses()[0]["ready"]
    simulation.run(1.5)
    assert not simulation.container_statuses()[0]["ready"]
    simulation.run(1)
    (status,) = simulation.container_statuses()
    assert (status["ready"], status["restartCount"]) == (True, 1)


def test_a_pod_that_never_restarts_fails() -> None:
    simulation = Simulation(faults=[BAD])
    spec = {"containers": [container(image="web:bad")], "restartPolicy": "Never"}
    simulation.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "once"}, "spec": spec})
    simulation.run(30)
    assert simulation.pods()[0]["status"]["phase"] == "Failed"
    assert simulation.container_statuses()[0]["state"]["terminated"]["exitCode"] == 3


def test_another_image_in_a_running_pod_restarts_its_container() -> None:
    simulation = Simulation(faults=[BAD])
    spec = {"containers": [container(image="web:bad")]}
    simulation.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    simulation.run(30)
    operations = [{"op": "replace", "path": "/spec/containers/0/image", "value": "web:1"}]
    simulation.api.patch(PODS, "default", "p", operations, PatchType.JSON)
    simulation.run(5)
    assert simulation.container_statuses()[0]["ready"]


def test_a_readiness_probe_delays_readiness(simulation: Simulation) -> None:
    probe = {"httpGet": {"port": 80}, "initialDelaySeconds": 15}
    simulation.put(deployment(containers=[container(readinessProbe=probe)]))
    simulation.run(10)
    assert simulation.condition("Available")[0] == "False"
    simulation.run(10)
    assert simulation.condition("Available")[0] == "True"


def test_the_time_factor_shortens_durations_and_keeps_the_clock() -> None:
    simulation = Simulation(faults=[BAD], timing=Timing(factor=10))
    simulation.put(with_image("web:bad"))
    simulation.run(6.5)
    assert simulation.container_statuses()[0]["restartCount"] == 3
    simulation.run(60)
    assert simulation.condition("Progressing") == ("False", "ProgressDeadlineExceeded")
    assert simulation.deployment()["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
