"""Scenarios: how they are read, how they begin in the middle of a story, and that only the right value ends it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from practice_simulation import container, deployment

from kubernaut.cluster.practice import PracticeCluster, SimulatedClock, run_for
from kubernaut.cluster.practice.api import PatchType
from kubernaut.cluster.practice.controllers.rollout import REVISION
from kubernaut.cluster.practice.resources import DEPLOYMENTS, PODS, REPLICA_SETS, Json
from kubernaut.cluster.practice.scenario import ScenarioError, load_scenario
from kubernaut.cluster.practice.server import PracticeServer, wall_clock

NAMESPACE = "demo-checkout"


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def crashloop(clock: SimulatedClock) -> PracticeCluster:
    opened = load_scenario("crashloop").open(clock)
    assert opened.later == ()
    return opened.cluster


def worker(cluster: PracticeCluster) -> Json:
    return cluster.api.get(DEPLOYMENTS, NAMESPACE, "worker")


def template_of_revision(cluster: PracticeCluster, revision: int) -> Json:
    for item in cluster.store.all(REPLICA_SETS, NAMESPACE):
        if item["metadata"]["annotations"][REVISION] == str(revision):
            metadata = {"labels": {"app": "worker"}}
            return {**item["spec"]["template"], "metadata": metadata}
    raise AssertionError(f"there is no revision {revision}")


def patch_template(cluster: PracticeCluster, template: Json) -> None:
    operations = [{"op": "replace", "path": "/spec/template", "value": template}]
    cluster.api.patch(DEPLOYMENTS, NAMESPACE, "worker", operations, PatchType.JSON)


def is_healthy(cluster: PracticeCluster) -> bool:
    status = worker(cluster)["status"]
    return status.get("availableReplicas") == status.get("updatedReplicas") == worker(cluster)["spec"]["replicas"]


def test_crashloop_begins_in_the_third_revision_of_a_managed_deployment(crashloop: PracticeCluster) -> None:
    assert worker(crashloop)["metadata"]["annotations"][REVISION] == "3"
    assert worker(crashloop)["metadata"]["labels"]["kubernaut.ai/managed"] == "true"
    revisions = {item["metadata"]["annotations"][REVISION] for item in crashloop.store.all(REPLICA_SETS, NAMESPACE)}
    assert revisions == {"1", "2", "3"}


def test_crashloop_shows_crashing_pods_beside_one_that_serves(crashloop: PracticeCluster) -> None:
    statuses = [pod["status"]["containerStatuses"][0] for pod in crashloop.store.all(PODS, NAMESPACE)]
    crashing = [item for item in statuses if item["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"]
    assert len(crashing) == 2
    assert min(item["restartCount"] for item in crashing) >= 3
    assert sum(item["ready"] for item in statuses) == 1
    assert not is_healthy(crashloop)


@pytest.mark.parametrize("revision", [1, 2])
def test_a_good_revision_heals_crashloop(crashloop: PracticeCluster, clock: SimulatedClock, revision: int) -> None:
    patch_template(crashloop, template_of_revision(crashloop, revision))
    run_for(crashloop, clock, 30)
    assert is_healthy(crashloop)
    assert worker(crashloop)["metadata"]["annotations"][REVISION] == "4"


def test_restart_scale_and_the_bad_revision_itself_do_not(crashloop: PracticeCluster, clock: SimulatedClock) -> None:
    template = template_of_revision(crashloop, 3)
    patch_template(crashloop, template)
    run_for(crashloop, clock, 60)
    assert not is_healthy(crashloop)
    annotated = {**template, "metadata": template["metadata"] | {"annotations": {"restartedAt": "now"}}}
    patch_template(crashloop, annotated)
    crashloop.api.patch(DEPLOYMENTS, NAMESPACE, "worker", {"spec": {"replicas": 4}}, PatchType.MERGE)
    run_for(crashloop, clock, 60)
    assert not is_healthy(crashloop)


def later_bad() -> dict[str, Any]:
    """A deployment that gets a bad image 20 seconds after the cluster is opened."""
    of = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    bad = {"spec": {"template": {"spec": {"containers": [container(image="web:bad")]}}}}
    return {
        "name": "later",
        "age_seconds": 10,
        "faults": [{"effect": "crash", "match": {"image": "web:bad"}}],
        "objects": [deployment()],
        "changes": [{"at_seconds": 30, "of": of, "merge": bad}],
    }


def test_changes_after_the_age_are_still_to_come(clock: SimulatedClock) -> None:
    opened = load_scenario(later_bad()).open(clock)
    ((moment, change),) = opened.later
    assert (moment - clock.now).total_seconds() == 20
    assert opened.cluster.api.get(DEPLOYMENTS, "default", "web")["status"]["availableReplicas"] == 2
    change.play(opened.cluster)
    run_for(opened.cluster, clock, 30)
    assert opened.cluster.api.get(DEPLOYMENTS, "default", "web")["status"]["unavailableReplicas"] == 1


def test_the_server_plays_later_changes_by_itself() -> None:
    opened = load_scenario(later_bad()).open(wall_clock, time_factor=100)
    with PracticeServer(opened.cluster, changes=opened.later) as server:
        headers = {"Authorization": f"Bearer {server.token}"}
        path = f"{server.url}/apis/apps/v1/deployments?watch=1"
        with httpx.stream("GET", path, headers=headers) as response:
            for line in response.iter_lines():
                if json.loads(line)["object"]["status"].get("unavailableReplicas"):
                    break


BAD_SCENARIOS: dict[str, tuple[Any, str]] = {
    "no name": ({"objects": []}, "name: Field required"),
    "an unknown field": ({"name": "x", "colour": "red"}, "colour: Extra inputs are not permitted"),
    "a fault that nothing could heal": (
        {"name": "x", "faults": [{"effect": "crash", "match": {"container": "c"}}]},
        r"faults.0.match: .* needs a condition on a value",
    ),
    "an unknown effect": (
        {"name": "x", "faults": [{"effect": "explode", "match": {"image": "a"}}]},
        "faults.0.effect: Input should be 'crash', 'oom'",
    ),
    "a change that is two things": (
        {
            "name": "x",
            "changes": [{"at_seconds": 0, "apply": {}, "delete": {"apiVersion": "v1", "kind": "Pod", "name": "p"}}],
        },
        "changes.0: .* one of apply, merge, delete; here: apply, delete",
    ),
    "a patch of nothing": ({"name": "x", "changes": [{"at_seconds": 0, "merge": {}}]}, "merge and of belong together"),
}


@pytest.mark.parametrize(("data", "words"), BAD_SCENARIOS.values(), ids=BAD_SCENARIOS)
def test_a_bad_scenario_is_refused_with_its_place(data: Any, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        load_scenario(data)


def test_an_object_that_the_cluster_refuses_is_named(clock: SimulatedClock) -> None:
    scenario = load_scenario({"name": "x", "objects": [deployment(), deployment(replicas=-1)]})
    with pytest.raises(ScenarioError, match=r"scenario 'x', objects\[1\]: Deployment.apps \"web\" is invalid"):
        scenario.open(clock)


def test_files_in_yaml_and_json(tmp_path: Path) -> None:
    for name, text in (("a.json", json.dumps(later_bad())), ("b.yaml", "name: small\n")):
        (tmp_path / name).write_text(text)
    assert load_scenario(tmp_path / "a.json").name == "later"
    assert load_scenario(str(tmp_path / "b.yaml")).name == "small"
    (tmp_path / "c.yaml").write_text("a: [")
    with pytest.raises(ScenarioError, match="is not YAML"):
        load_scenario(tmp_path / "c.yaml")
    with pytest.raises(ScenarioError, match="packaged ones: crashloop"):
        load_scenario(tmp_path / "missing.yaml")


# -- the command -------------------------------------------------------------------------------------------------

_COMMAND = [sys.executable, "-m", "kubernaut.cluster.practice.cli"]


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path, sign: signal.Signals) -> None:
    kubeconfig = tmp_path / "kube" / "config"
    command = [*_COMMAND, "--scenario", "crashloop", "--kubeconfig", str(kubeconfig)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.stdout.readline()
        config = json.loads(kubeconfig.read_text())
        url, token = config["clusters"][0]["cluster"]["server"], config["users"][0]["user"]["token"]
        assert first == f"practice cluster (crashloop) at {url}\n"
        answer = httpx.get(f"{url}/apis/apps/v1/deployments", headers={"Authorization": f"Bearer {token}"})
        assert [item["metadata"]["name"] for item in answer.json()["items"]] == ["worker"]
        process.send_signal(sign)
        assert process.stdout.read() == "practice cluster stopped\n"
    assert process.returncode == 0
    assert stat.S_IMODE(kubeconfig.stat().st_mode) == 0o600


def test_the_command_says_what_is_wrong() -> None:
    done = subprocess.run([*_COMMAND, "--scenario", "nope"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "scenario nope: No such file or directory; packaged ones: crashloop" in done.stderr


def test_neither_the_core_nor_the_command_imports_airflow_or_the_kubernetes_client() -> None:
    code = (
        "import sys, kubernaut.cluster.practice.cli, kubernaut.cluster.practice.server\n"
        "print([name for name in ('airflow', 'kubernetes', 'kubernetes_asyncio') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
