"""Airflow's side of an execution, over its core models: register the DAG, create the run, read the run.

The only module that writes into Airflow's metadata. Every function takes Airflow's session and is idempotent: a workflow
that is registered already and a run that exists already are left as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from airflow._shared.timezones import timezone
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from airflow.utils.types import DagRunTriggeredByType, DagRunType
from kubernaut_operators.factory import build_dag, task_ids
from sqlalchemy import Table, bindparam, func, select, tuple_, update
from sqlalchemy.exc import IntegrityError, PendingRollbackError
from sqlalchemy.orm import Session

from kubernaut.dag_files import dag_folder
from kubernaut.execution.reconcile import RunFacts, RunState
from kubernaut.settings import get_settings
from kubernaut.workflow.model import Bindings, Workflow

log = logging.getLogger(__name__)


def ensure_registered(session: Session, workflow: Workflow) -> bool:
    """Write the workflow's DAG into Airflow's metadata, unless it is there and alive; whether it was written.

    One registration of a `dag_id` at a time, over all API servers.
    """
    session.execute(select(func.pg_advisory_xact_lock(func.hashtext(workflow.dag_id))))
    stale = session.scalar(select(DagModel.is_stale).where(DagModel.dag_id == workflow.dag_id))
    if stale is False:
        return False
    folder = dag_folder()
    bag = DagBag(dag_folder=folder, collect_dags=False, bundle_path=folder)
    dag = build_dag(workflow, dag_folder=folder)
    bag.bag_dag(dag)
    sync_bag_to_db(bag, get_settings().bundle_name, None, session=session)
    return True


def register(workflow: Workflow) -> bool:
    """`ensure_registered` in a transaction of its own. The dag-processor may write the same DAG now: then look again."""
    for attempt in (1, 2, 3):
        try:
            with create_session(scoped=False) as airflow:
                return ensure_registered(airflow, workflow)
        except (IntegrityError, PendingRollbackError):
            if attempt == 3:
                raise
    raise AssertionError("unreachable")


def stale_dags(session: Session, dag_ids: Collection[str]) -> list[str]:
    """Those whose runs the scheduler leaves alone, because a parse of their file did not find them."""
    return list(session.scalars(select(DagModel.dag_id).where(DagModel.dag_id.in_(dag_ids), DagModel.is_stale)))


def create_run(
    session: Session, workflow: Workflow, run_id: str, conf: Mapping[str, Any], user: str, note: str
) -> None:
    """Create the run `run_id` of the workflow's DAG; nothing where it exists.

    :raises LookupError: the DAG is not in Airflow's metadata
    """
    exists = session.scalar(select(DagRun.id).where(DagRun.dag_id == workflow.dag_id, DagRun.run_id == run_id))
    if exists is not None:
        return
    dag = SerializedDagModel.get_dag(workflow.dag_id, session=session)
    if dag is None:
        raise LookupError(f"DAG {workflow.dag_id} is not registered")
    run = dag.create_dagrun(
        run_id=run_id,
        run_after=timezone.utcnow(),
        conf=dict(conf),
        run_type=DagRunType.MANUAL,
        triggered_by=DagRunTriggeredByType.REST_API,
        triggering_user_name=user,
        state=DagRunState.QUEUED,
        note=note,
        session=session,
    )
    session.flush([run])


def name_steps(session: Session, workflow: Workflow, bindings: Bindings, run_id: str) -> None:
    """Give the run's task instances the person's names of the steps."""
    names = {}
    for step in workflow.steps:
        name = bindings.steps[step.key].name
        for task_id in task_ids(step):
            names[task_id] = f"{name}: proof" if task_id.endswith(".verify") else name
    names["verdict"] = "Verdict"
    table = cast("Table", TaskInstance.__table__)
    session.connection().execute(
        update(table)
        .where(table.c.dag_id == workflow.dag_id, table.c.run_id == run_id, table.c.task_id == bindparam("of_task"))
        .values(task_display_name=bindparam("shown")),
        [{"of_task": task_id, "shown": name} for task_id, name in names.items()],
    )


def read_runs(session: Session, runs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], RunFacts]:
    """The runs that exist, of the (dag_id, run_id) asked for."""
    if not runs:
        return {}
    found = session.execute(
        select(DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.clear_number).where(
            tuple_(DagRun.dag_id, DagRun.run_id).in_(list(runs))
        )
    )
    return {
        (dag_id, run_id): RunFacts(state=RunState(str(state)), clear_number=clear_number)
        for dag_id, run_id, state, clear_number in found
    }


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Who started a run, and with which `conf` (`Any`: JSON)."""

    user: str | None
    conf: dict[str, Any]


def read_run(session: Session, dag_id: str, run_id: str) -> RunRecord | None:
    """One run, or None where it is gone."""
    row = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).first()
    return None if row is None else RunRecord(user=row.triggering_user_name, conf=dict(row.conf or {}))
