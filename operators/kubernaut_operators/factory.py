"""From a workflow (the shape) to an Airflow DAG. Pure: the same workflow gives the same serialized DAG, always.

Called by the registrar (API server), by the DAG files (dag-processor, workers) and by `execute_plan`'s neighbours in
tests. Holds no text of any plan. Whatever changes what is built here must raise `FACTORY_VERSION`, which is part of the
hash in the `dag_id`: runs in flight follow the latest version of their DAG and must never be rewritten.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseOperator, Param, TaskGroup
from airflow.sdk.definitions.param import ParamsDict

from kubernaut.actions.registry import spec
from kubernaut.workflow.describe import describe_workflow
from kubernaut.workflow.gate import airflow_wiring
from kubernaut.workflow.model import Workflow, WorkflowStep
from kubernaut_operators.callbacks import record_failure
from kubernaut_operators.step import PostConditionSensor, StepOperator, VerdictOperator

_EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
"""A fixed start date: a moving one would be a new DAG version at every parse."""

_DRAFT = "http://json-schema.org/draft-07/schema#"
"""Airflow checks every schema against its meta-schema over and over: in the form, at each run, and in the triggerer before
each step. This one is checked in a quarter of the newest one's time, and says the same of what is used here."""

_DETAILED_STEPS = 5
"""Up to so many steps the form asks for each step and says what its parameters are; for the same reason a larger one takes
all of them as one JSON object. The whole plan is examined in both cases when the run is adopted."""

_TARGET_SCHEMA: dict[str, Any] = {
    "type": ["object", "null"],
    "additionalProperties": False,
    "properties": {name: {"type": ["string", "null"]} for name in ("cluster", "kind", "name", "namespace")},
}


def step_name(step: WorkflowStep) -> str:
    """`s03_kubernetes_scale`: the step's task id, or its group's where it is verified."""
    return f"{step.key}_{step.action.replace('.', '_')}"


def task_ids(step: WorkflowStep) -> tuple[str, ...]:
    """The task ids of a step, first to last."""
    name = step_name(step)
    return (f"{name}.act", f"{name}.verify") if step.verified else (name,)


def dag_file(workflow: Workflow) -> str:
    """The workflow's file below the DAG bundle: `workflows/a.py`, by the first digit of its hash."""
    return f"workflows/{workflow.digest[0]}.py"


def build_dag(workflow: Workflow, *, dag_folder: Path | None = None) -> DAG:
    """Build the DAG of a workflow.

    :param dag_folder: the bundle's folder; given where the DAG is registered without its file being parsed
    """
    dag = DAG(
        dag_id=workflow.dag_id,
        schedule=None,
        start_date=_EPOCH,
        catchup=False,
        max_active_runs=1_000,
        max_active_tasks=1_000,
        is_paused_upon_creation=False,
        default_args={"retries": 0},
        tags=sorted({"kubernaut", workflow.kind, *(step.action for step in workflow.steps)}),
        doc_md=describe_workflow(workflow),
        on_failure_callback=record_failure,
    )
    deferred = workflow.placement == "triggerer"
    first: dict[str, BaseOperator] = {}
    last: dict[str, BaseOperator] = {}
    wiring = airflow_wiring(workflow)
    for step in workflow.steps:
        first[step.key], last[step.key] = _step_tasks(dag, step, wiring[step.key].rule, deferred)
    for step in workflow.steps:
        for upstream in wiring[step.key].upstreams:
            first[step.key].set_upstream(last[upstream])
    verdict = VerdictOperator(task_id="verdict", trigger_rule="all_done", deferred=deferred, dag=dag)
    verdict.set_upstream([last[step.key] for step in workflow.steps])
    # Last: every task made before would carry a copy of them (a hundred steps: 12 MB, minutes to serialize).
    dag.params = ParamsDict(_params(workflow))
    if dag_folder is not None:
        dag.fileloc = str(dag_folder / dag_file(workflow))
        dag.relative_fileloc = dag_file(workflow)
    return dag


def _step_tasks(dag: DAG, step: WorkflowStep, rule: str, deferred: bool) -> tuple[BaseOperator, BaseOperator]:
    """The first and the last task of a step."""
    if not step.verified:
        task = StepOperator(
            task_id=step_name(step), step=step.key, action=step.action, trigger_rule=rule, deferred=deferred, dag=dag
        )
        return task, task
    with TaskGroup(group_id=step_name(step), tooltip=step.action, dag=dag) as group:
        act = StepOperator(
            task_id="act",
            step=step.key,
            action=step.action,
            trigger_rule=rule,
            deferred=deferred,
            dag=dag,
            task_group=group,
        )
        verify = PostConditionSensor(task_id="verify", step=step.key, deferred=deferred, dag=dag, task_group=group)
        act.set_downstream(verify)
    return act, verify


def _params(workflow: Workflow) -> dict[str, Any]:
    """The bindings that Airflow's own trigger form may give, checked by JSON Schema; in a fixed order."""
    if workflow.kind != "plan":
        return {}
    params = {
        "approve": Param(None, type=["string", "null"], description="Hash of the plan that is approved."),
        "target": Param(None, description="What the steps act on.", **_TARGET_SCHEMA),
    }
    if len(workflow.steps) <= _DETAILED_STEPS:
        params |= {step.key: Param(None, title=step.action, **_step_schema(step.action)) for step in workflow.steps}
    else:
        params["steps"] = Param(None, type=["object", "null"], description="Bindings of each step, by its key (`s01`).")
    for param in params.values():
        param.schema = {"$schema": _DRAFT, **param.schema}
    return dict(sorted(params.items()))


def _step_schema(action: str) -> dict[str, Any]:
    """JSON Schema of one step's bindings; its parameters are those of the action, or a CEL expression each."""
    model = spec(action).params
    properties = {} if model is None else model.model_json_schema().get("properties", {})
    cel = {"type": "object", "required": ["$cel"], "properties": {"$cel": {"type": "string"}}}
    return {
        "type": ["object", "null"],
        "properties": {
            "name": {"type": "string"},
            "params": {
                "type": "object",
                "properties": {name: {"anyOf": [schema, cel]} for name, schema in sorted(properties.items())},
            },
            "target": _TARGET_SCHEMA,
        },
    }
