"""Plans and runs that come through Airflow itself: `execute_plan`, a workflow's own DAG, and clears in its UI."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.integration.airflow.conftest import TARGET, Runs, failing, noop, plan, states, step


def trigger(runs: Runs, dag_id: str, conf: dict[str, Any], user: str = "admin") -> str:
    """A run by Airflow's own REST API; its id."""
    run_id = f"manual-{uuid.uuid4().hex[:8]}"
    body = {"dag_run_id": run_id, "logical_date": None, "conf": conf}
    answer = runs.stack.airflow("POST", f"/dags/{dag_id}/dagRuns", body, user=user)
    assert answer.status_code == 200, answer.text
    return run_id


def run_ended(runs: Runs, dag_id: str, run_id: str) -> str:
    """Airflow's final state of a run."""

    def state() -> str | None:
        found = runs.stack.airflow("GET", f"/dags/{dag_id}/dagRuns/{run_id}").json()["state"]
        return found if found in ("success", "failed") else None

    return str(runs.stack.wait_until(state, 90, f"the end of {dag_id} {run_id}"))


def result_of(runs: Runs, dag_id: str, run_id: str, task_id: str) -> Any:
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
    return runs.stack.airflow("GET", path, params={"deserialize": "true"}).json()["value"]


@pytest.mark.requirement("BR-INT-010")
def test_a_plan_through_airflows_own_rest_api_runs_to_its_end(runs: Runs) -> None:
    """`execute_plan` accepts the plan for the user who triggered it, and its run ends as the execution does."""
    run_id = trigger(runs, "execute_plan", {"plan": plan(noop("one"))}, user="op")

    assert run_ended(runs, "execute_plan", run_id) == "success"
    result = result_of(runs, "execute_plan", run_id, "submit")
    shown = runs.show(result["execution"])
    assert shown["outcome"] == "success"
    assert shown["actor"] == "op"


def test_a_faulty_plan_through_execute_plan_fails_with_every_fault(runs: Runs) -> None:
    run_id = trigger(runs, "execute_plan", {"plan": plan(step("one", "scale_deploymnt"), noop("two", "three"))})

    assert run_ended(runs, "execute_plan", run_id) == "failed"
    result = result_of(runs, "execute_plan", run_id, "submit")
    assert {fault["code"] for fault in result["faults"]} >= {"unknown_action"}
    assert len(result["faults"]) >= 2


def test_execute_plan_runs_what_needs_approval_only_with_its_hash(runs: Runs) -> None:
    doubtful = plan(noop("one"), confidence=0.7)
    refused = trigger(runs, "execute_plan", {"plan": doubtful})
    assert run_ended(runs, "execute_plan", refused) == "failed"
    digest = result_of(runs, "execute_plan", refused, "submit")["hash"]

    approved = trigger(runs, "execute_plan", {"plan": doubtful, "approve": digest})
    assert run_ended(runs, "execute_plan", approved) == "success"


def test_a_run_of_a_workflows_own_dag_is_adopted(runs: Runs) -> None:
    """The trigger form of a known workflow runs it with other values, as an execution of the user who triggered it."""
    known = runs.run(plan(step("s", "kubernetes.scale", params={"replicas": 2}, target=TARGET)))
    assert known["outcome"] == "success", known["reason"]
    conf = {"target": TARGET, "s01": {"params": {"replicas": 3}, "name": "Three workers"}}

    run_id = trigger(runs, known["dag_id"], conf, user="op")

    assert run_ended(runs, known["dag_id"], run_id) == "success"
    (adopted,) = [
        each
        for each in runs.stack.kubernaut("GET", "executions", params={"limit": 20}).json()["executions"]
        if each["run_id"] == run_id
    ]
    assert adopted["adopted"] is True
    assert adopted["actor"] == "op"
    assert runs.end(adopted["id"])["outcome"] == "success"  # the phase follows the run a moment later


def test_an_adopted_run_meets_the_policy(runs: Runs) -> None:
    known = runs.run(plan(step("s", "kubernetes.scale", params={"replicas": 2}, target=TARGET)))
    forbidden = {**TARGET, "namespace": "kube-system"}

    run_id = trigger(runs, known["dag_id"], {"target": forbidden, "s01": {"params": {"replicas": 3}}})

    assert run_ended(runs, known["dag_id"], run_id) == "failed"


def test_airflow_itself_refuses_bindings_of_the_wrong_type(runs: Runs) -> None:
    known = runs.run(plan(step("s", "kubernetes.scale", params={"replicas": 2}, target=TARGET)))
    body = {"logical_date": None, "conf": {"s01": {"params": {"replicas": "many"}}}}

    assert runs.stack.airflow("POST", f"/dags/{known['dag_id']}/dagRuns", body).status_code == 400


def test_a_forged_conf_does_not_reach_another_execution(runs: Runs) -> None:
    """The execution is found by the run's own id; what a `conf` says of executions is ignored."""
    known = runs.run(plan(noop("one"), noop("two", "one")))
    conf = {"kubernaut": {"execution": known["id"]}}

    run_id = trigger(runs, known["dag_id"], conf)

    run_ended(runs, known["dag_id"], run_id)
    assert runs.show(known["id"])["ended_at"] == known["ended_at"]


@pytest.mark.requirement("BR-WF-LIFECYCLE-001")
def test_a_clear_returns_an_ended_execution_to_running_in_a_new_round(runs: Runs) -> None:
    """Cleared in Airflow after a failure: running again, round 2, the steps run anew, audited."""
    shown = runs.run(plan(noop("one"), failing("two", "one"), on_failure="keep"))
    assert shown["phase"] == "failed"
    body = {
        "dry_run": False,
        "dag_run_id": shown["run_id"],
        "reset_dag_runs": True,
        "only_failed": False,
        "include_downstream": True,
        "task_ids": [next(task for task in runs.tasks(shown) if task.startswith("s02"))],
    }
    answer = runs.stack.airflow("POST", f"/dags/{shown['dag_id']}/clearTaskInstances", body)
    assert answer.status_code == 200, answer.text

    runs.until(shown["id"], lambda now: now["round"] == 2, "a second round")
    again = runs.end(shown["id"])

    assert again["round"] == 2
    assert states(again) == {"one": "succeeded", "two": "failed"}
    rounds = {each["id"]: each["round"] for each in again["steps"]}
    assert rounds == {"one": 1, "two": 2}
