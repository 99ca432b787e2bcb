"""What becomes of plans in a real Airflow: the four worlds of a fallback, stages, and every line of the outcome rule.

All plans are sent at once and run side by side; each test then asks for its own. States come from the store, the colours
from Airflow, and no worker process may have been started for any of it.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.airflow.conftest import TARGET, Runs, failing, noop, plan, states, step

CRITERION_HOLDS = {
    "name": "the worker exists",
    "check": {"kind": "object", "target": TARGET, "expression": "object.spec.replicas >= 0"},
    "timeout": 5,
}
CRITERION_FALSE = {
    "name": "the worker has a thousand replicas",
    "check": {"kind": "object", "target": TARGET, "expression": "object.spec.replicas == 1000"},
    "timeout": 2,
}
METRIC = {
    "name": "error_rate < 5%",
    "check": {"kind": "metric", "metric": "error_rate", "comparison": "<", "value": 0.05},
}
TRIGGER = {"name": "the worker exists", "check": CRITERION_HOLDS["check"]}
SCALE = step(
    "change",
    "kubernetes.scale",
    params={"replicas": 2},
    post_conditions=[{**CRITERION_HOLDS, "name": "two replicas wanted"}],
)

PLANS: dict[str, dict[str, Any]] = {
    "primary succeeds": plan(noop("primary"), noop("fallback", ("primary", "failure")), noop("after", "primary")),
    "primary fails, fallback saves": plan(
        failing("primary"),
        noop("fallback", ("primary", "failure")),
        noop("next", ("primary", "stage")),
        noop("after", "primary"),
    ),
    "primary is skipped": plan(
        noop("primary", when="1 == 2"), noop("fallback", ("primary", "failure")), noop("after", "primary")
    ),
    "primary is never reached": plan(
        failing("first", optional=True),
        noop("primary", "first"),
        noop("fallback", ("primary", "failure")),
        failure_policy="continue",
    ),
    "fallbacks in a chain": plan(
        failing("primary"),
        failing("second", ("primary", "failure")),
        noop("third", ("primary", "failure"), ("second", "failure")),
        noop("next", ("primary", "stage")),
    ),
    "nothing saves it": plan(
        failing("primary"), noop("independent", ("slow", "success")), noop("slow", params={"seconds": 8})
    ),
    "independent branches go on": plan(
        failing("primary"), noop("other"), noop("more", "other"), failure_policy="continue"
    ),
    "optional step fails": plan(noop("one"), failing("two", "one", optional=True)),
    "nothing is changed": plan(noop("one")),
    "a criterion is false": plan(noop("one"), success_criteria=[CRITERION_FALSE]),
    "an optional criterion is false": plan(noop("one"), success_criteria=[{**CRITERION_FALSE, "optional": True}]),
    "a rollback trigger fires": plan(noop("one"), success_criteria=[CRITERION_HOLDS], rollback_triggers=[TRIGGER]),
    "a change that is proved": plan(SCALE, success_criteria=[CRITERION_HOLDS]),
    "a join of any end": plan(
        failing("one", optional=True), noop("two"), noop("three", ("one", "end"), ("two", "end"))
    ),
}


@pytest.fixture(scope="module")
def worlds(runs: Runs) -> dict[str, dict[str, Any]]:
    """Every plan, ended. One of them needs an approval, which its hash gives."""
    sent = {name: runs.send(document)["execution_id"] for name, document in PLANS.items()}
    needs = plan(noop("one"), success_criteria=[METRIC])
    refused = runs.stack.kubernaut("POST", "executions", {"plan": needs})
    assert refused.status_code == 409, refused.text
    sent["an approved criterion that nothing reads"] = runs.send(needs, approve=refused.json()["hash"])["execution_id"]
    return {name: runs.end(execution, timeout=240) for name, execution in sent.items()}


EXPECTED: dict[str, tuple[str, str | None, dict[str, str]]] = {
    "primary succeeds": ("success", None, {"primary": "succeeded", "fallback": "not_reached", "after": "succeeded"}),
    "primary fails, fallback saves": (
        "success",
        None,
        {"primary": "failed", "fallback": "succeeded", "next": "succeeded", "after": "not_reached"},
    ),
    "primary is skipped": (
        "success",
        None,
        {"primary": "skipped", "fallback": "not_reached", "after": "not_reached"},
    ),
    "primary is never reached": (
        "partial_success",
        "first",
        {"first": "failed", "primary": "not_reached", "fallback": "not_reached"},
    ),
    "fallbacks in a chain": (
        "success",
        None,
        {"primary": "failed", "second": "failed", "third": "succeeded", "next": "succeeded"},
    ),
    "nothing saves it": (
        "failure",
        "primary",
        {"primary": "failed", "slow": "succeeded", "independent": "not_reached"},
    ),
    "independent branches go on": (
        "failure",
        "primary",
        {"primary": "failed", "other": "succeeded", "more": "succeeded"},
    ),
    "optional step fails": ("partial_success", "two", {"one": "succeeded", "two": "failed"}),
    "nothing is changed": ("success", None, {"one": "succeeded"}),
    "a criterion is false": ("failure", "thousand replicas", {"one": "succeeded"}),
    "an optional criterion is false": ("partial_success", "thousand replicas", {"one": "succeeded"}),
    "a rollback trigger fires": ("failure", "rollback trigger", {"one": "succeeded"}),
    "a change that is proved": ("success", None, {"change": "succeeded"}),
    "a join of any end": ("partial_success", "one", {"one": "failed", "two": "succeeded", "three": "succeeded"}),
    "an approved criterion that nothing reads": ("partial_success", "error_rate", {"one": "succeeded"}),
}


@pytest.mark.requirement("BR-WF-018")
@pytest.mark.parametrize("name", EXPECTED)
def test_the_outcome_and_the_states(worlds: dict[str, dict[str, Any]], name: str) -> None:
    """Each world ends with its outcome, names what is missing, and each step is in the state that the rule says."""
    outcome, named, expected = EXPECTED[name]
    shown = worlds[name]

    assert shown["outcome"] == outcome, shown["reason"]
    assert states(shown) == expected
    assert shown["phase"] == ("failed" if outcome == "failure" else "completed")
    if named is not None:
        assert named in shown["reason"]


def test_the_run_in_airflow_ends_as_the_execution_does(worlds: dict[str, dict[str, Any]], runs: Runs) -> None:
    for shown in worlds.values():
        run = runs.stack.airflow("GET", f"/dags/{shown['dag_id']}/dagRuns/{shown['run_id']}").json()
        assert run["state"] == ("success" if shown["phase"] == "completed" else "failed"), shown


def test_a_change_is_proved_and_the_rest_says_that_nothing_was(worlds: dict[str, dict[str, Any]]) -> None:
    assert worlds["nothing is changed"]["verdict"]["proof"] == "none"


@pytest.mark.requirement("BR-WF-003")
def test_parallel_steps_run_side_by_side_and_dependent_ones_in_order(worlds: dict[str, dict[str, Any]]) -> None:
    """`other` and `primary` overlap or are unordered; `more` starts after `other` has ended."""
    shown = {each["id"]: each for each in worlds["independent branches go on"]["steps"]}

    assert shown["more"]["started_at"] >= shown["other"]["ended_at"]
    assert shown["primary"]["started_at"] < shown["more"]["started_at"]


def test_a_failed_run_leaves_one_row_in_the_outbox_and_a_good_one_none(
    worlds: dict[str, dict[str, Any]], runs: Runs
) -> None:
    """Airflow's failure callback of the DAG writes it, in the dag-processor, a moment later."""
    rows = "SELECT payload FROM kubernaut.outbox WHERE kind = 'run_failed' AND payload ->> 'execution' = :id"
    failed, good = worlds["nothing saves it"], worlds["primary succeeds"]

    runs.stack.wait_until(lambda: runs.stored(rows, id=failed["id"]), 60, "the outbox row of the failed run")

    (row,) = runs.stored(rows, id=failed["id"])
    assert row[0]["tracking_id"] == failed["tracking_id"]
    assert runs.stored(rows, id=good["id"]) == []


def test_no_worker_was_started_for_any_step(worlds: dict[str, dict[str, Any]], runs: Runs) -> None:
    """A task that ran in a worker has the worker's process id and a host name; these have none."""
    for shown in worlds.values():
        for task in runs.tasks(shown).values():
            assert task["pid"] is None, task
            assert task["executor_config"] in ({}, "{}"), task


@pytest.mark.requirement("BR-UX-009")
def test_the_persons_names_and_the_structured_result_are_in_airflow(
    worlds: dict[str, dict[str, Any]], runs: Runs
) -> None:
    """The task instance shows the step's name; its XCom has status, tries, outputs, evaluations, timeline and journal."""
    shown = worlds["a change that is proved"]
    tasks = runs.tasks(shown)
    act = next(task_id for task_id in tasks if task_id.endswith(".act"))

    assert tasks[act]["task_display_name"] == "Scale worker to 2"
    run = f"/dags/{shown['dag_id']}/dagRuns/{shown['run_id']}"
    path = f"{run}/taskInstances/{act.replace('.act', '.verify')}/xcomEntries/return_value"
    value = runs.stack.airflow("GET", path, params={"deserialize": "true"}).json()["value"]
    assert value["status"] == "succeeded"
    assert value["tracking_id"] == shown["tracking_id"]
    assert set(value) >= {"outputs", "evaluations", "tries", "timeline", "journal"}
