"""Takes accepted executions from the store, highest priority first, registers their workflow as a DAG and starts the run.

Any number of API servers do this side by side: a row is taken by `FOR UPDATE SKIP LOCKED` and stays locked until its run
exists, and the run's id is the execution's, so that one that is taken twice creates one run. An execution that cannot be
registered waits and is tried again; after `_GIVE_UP` tries it fails, saying why.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta

from airflow.utils.session import create_session
from sqlalchemy import select

from kubernaut.execution.adoption import RUN_KEY, conf_of
from kubernaut.execution.phases import ExecutionOutcome, Phase
from kubernaut.settings import get_settings
from kubernaut.store import wake
from kubernaut.store.audit import Actor, Operation, record
from kubernaut.store.engine import StoreSession, session
from kubernaut.store.executions import queued_for_registration, registration_failed, running, set_phase
from kubernaut.store.tables import ExecutionRow, WorkflowRow
from kubernaut.workflow.model import Bindings, Workflow
from kubernaut_plugin.airflow_runs import create_run, name_steps, register
from kubernaut_plugin.loop import Loop

log = logging.getLogger(__name__)
REGISTRAR = Actor.system("registrar")
_GIVE_UP = 10
_LONGEST_PAUSE = 60.0


def registrar_loop() -> Loop:
    return Loop("registrar", wake.REGISTRAR, wake.HALT, interval=get_settings().registrar_interval, work=register_next)


def register_next() -> bool:
    """Register and start the next execution; False where nothing waits or no place is free."""
    settings = get_settings()
    with session() as store:
        if (store.scalar(running()) or 0) >= settings.max_running_executions:
            return False
        waiting = queued_for_registration(store, 1)
        if not waiting:
            return False
        execution = waiting[0]
        try:
            _register(execution, _workflow(store, execution))
        except Exception as error:
            log.exception("execution %s cannot be registered", execution.id)
            _postpone(store, execution, f"{type(error).__name__}: {error}")
            return True
        execution.registered_at = datetime.now(UTC)
        execution.registration_error = None
        record(
            store,
            REGISTRAR,
            Operation.REGISTER,
            subject_kind="execution",
            subject_id=execution.id,
            tracking_id=execution.tracking_id,
            details={"dag_id": execution.dag_id, "run_id": execution.run_id},
        )
        wake.notify(store, wake.RECONCILER)
    return True


def _workflow(store: StoreSession, execution: ExecutionRow) -> tuple[Workflow, WorkflowRow]:
    row = store.scalars(select(WorkflowRow).where(WorkflowRow.digest == execution.workflow_digest)).one()
    return Workflow.model_validate(row.document), row


def _register(execution: ExecutionRow, found: tuple[Workflow, WorkflowRow]) -> None:
    workflow, row = found
    bindings = Bindings.model_validate(execution.bindings)
    conf = conf_of(execution.id, execution.tracking_id, execution.plan_hash, bindings)
    if len(json.dumps(conf).encode()) > get_settings().max_conf_bytes:
        conf = {RUN_KEY: conf[RUN_KEY]}  # the rest stays in the store, by the digest in here
    note = f"tracking id `{execution.tracking_id}`, execution `{execution.id}`"
    written = register(workflow)
    with create_session(scoped=False) as airflow:
        create_run(airflow, workflow, execution.run_id, conf, execution.actor, note)
        name_steps(airflow, workflow, bindings, execution.run_id)
    if written or row.registered_at is None:
        row.registered_at = datetime.now(UTC)


def _postpone(store: StoreSession, execution: ExecutionRow, error: str) -> None:
    pause = min(_LONGEST_PAUSE, 2.0**execution.attempts_to_register)
    retry_at = datetime.now(UTC) + timedelta(seconds=pause)
    registration_failed(store, execution, error[:2_000], retry_at=retry_at)
    if execution.attempts_to_register >= _GIVE_UP:
        set_phase(
            store,
            execution,
            Phase.FAILED,
            actor=REGISTRAR,
            outcome=ExecutionOutcome.FAILURE,
            reason=f"it could not be registered with Airflow: {error[:500]}",
        )
