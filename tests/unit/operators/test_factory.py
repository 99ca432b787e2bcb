"""From shape to DAG: what Airflow is told, and that it is told the same every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from kubernaut_operators.factory import build_dag, dag_file, task_ids
from kubernaut_operators.step import PostConditionSensor, StepOperator, VerdictOperator

from kubernaut.plan.model import EdgeOutcome, FailurePolicy
from kubernaut.workflow.model import Edge, Workflow, WorkflowStep


def workflow(*steps: WorkflowStep, placement: str = "triggerer") -> Workflow:
    return Workflow.model_validate(
        {
            "steps": steps,
            "failure_policy": FailurePolicy.TERMINATE,
            "factory_version": 1,
            "placement": placement,
        }
    )


SCALE = WorkflowStep(key="s01", action="kubernetes.scale", verified=True)
CHECK = WorkflowStep(key="s02", action="monitoring.check", edges=(Edge(upstream="s01", outcome=EdgeOutcome.SUCCESS),))
FALLBACK = WorkflowStep(key="s03", action="noop", edges=(Edge(upstream="s01", outcome=EdgeOutcome.FAILURE),))
SHAPE = workflow(SCALE, CHECK, FALLBACK)


def test_a_verified_step_is_a_group_of_act_and_verify_and_edges_leave_from_verify() -> None:
    dag = build_dag(SHAPE)

    assert task_ids(SCALE) == ("s01_kubernetes_scale.act", "s01_kubernetes_scale.verify")
    act, verify = (dag.get_task(task) for task in task_ids(SCALE))
    assert isinstance(act, StepOperator)
    assert isinstance(verify, PostConditionSensor)
    assert act.downstream_task_ids == {verify.task_id}
    assert dag.get_task("s02_monitoring_check").upstream_task_ids == {verify.task_id}
    assert dag.get_task("s03_noop").trigger_rule == "one_failed"


def test_the_verdict_is_the_only_leaf_and_waits_for_every_step() -> None:
    dag = build_dag(SHAPE)

    assert [task.task_id for task in dag.leaves] == ["verdict"]
    verdict = dag.get_task("verdict")
    assert isinstance(verdict, VerdictOperator)
    assert verdict.trigger_rule == "all_done"
    assert verdict.upstream_task_ids == {"s01_kubernetes_scale.verify", "s02_monitoring_check", "s03_noop"}


def test_nothing_is_templated_and_nothing_is_retried_by_airflow() -> None:
    for task in build_dag(SHAPE).tasks:
        assert tuple(task.template_fields) == ()
        assert task.retries == 0
        assert task.start_from_trigger is True


def test_the_worker_placement_builds_the_same_tasks_without_triggers_under_another_id() -> None:
    in_worker = workflow(SCALE, CHECK, FALLBACK, placement="worker")
    dag = build_dag(in_worker)

    assert dag.dag_id != SHAPE.dag_id
    assert all(not task.start_from_trigger for task in dag.tasks)


def test_the_dag_id_reads_as_its_actions_and_its_file_is_its_first_digit() -> None:
    assert SHAPE.dag_id == f"kn.scale-check-noop.{SHAPE.digest[:16]}"
    assert dag_file(SHAPE) == f"workflows/{SHAPE.digest[0]}.py"


def test_the_form_of_the_dag_is_not_copied_into_its_tasks() -> None:
    """Airflow would: a hundred steps were 12 MB then, and minutes to serialize."""
    dag = build_dag(SHAPE)

    assert set(dag.params) == {"approve", "target", "s01", "s02", "s03"}
    assert all(not dict(task.params) for task in dag.tasks)


def test_every_dag_carries_the_failure_callback() -> None:
    assert build_dag(SHAPE).has_on_failure_callback


_SERIALIZE = """
import json, sys
from airflow.serialization.serialized_objects import DagSerialization
from kubernaut.workflow.model import Workflow
from kubernaut_operators.factory import build_dag
workflow = Workflow.model_validate_json(sys.stdin.read())
print(json.dumps(DagSerialization.to_dict(build_dag(workflow))))
"""


@pytest.mark.parametrize("seed", ["0", "4711"])
def test_the_serialized_dag_is_the_same_in_every_process(seed: str) -> None:
    """Another hash seed would show every place where the order of a set or dict got into the DAG."""
    from airflow.serialization.serialized_objects import DagSerialization

    here = DagSerialization.to_dict(build_dag(SHAPE))
    there = subprocess.run(
        [sys.executable, "-c", _SERIALIZE],
        input=SHAPE.model_dump_json(),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )

    assert json.loads(there.stdout.splitlines()[-1]) == json.loads(json.dumps(here))
