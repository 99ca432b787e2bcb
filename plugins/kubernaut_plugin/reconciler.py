"""The reconciler's loop: gathers the facts of every execution that has not ended (and of those that were cleared), asks
`kubernaut.execution.reconcile`, and writes the transition, the audit event and the undo in one transaction.

Also answers runs that Airflow started itself and that ask to be adopted. Runs in every API server; rows are taken by
`FOR UPDATE SKIP LOCKED`.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from airflow.utils.state import DagRunState
from sqlalchemy import Row, exists, select, tuple_, update
from sqlalchemy.orm import Session

from kubernaut.actions.spec import EffectClass
from kubernaut.execution.phases import ExecutionOutcome, Phase
from kubernaut.execution.reconcile import Facts, RunFacts, RunState, Transition, VerdictFacts, reconcile
from kubernaut.execution.undo import queue_undo
from kubernaut.plan.model import OnFailure
from kubernaut.settings import get_settings
from kubernaut.store import wake
from kubernaut.store.audit import Actor, Operation, record
from kubernaut.store.engine import session
from kubernaut.store.executions import lock_execution, set_phase
from kubernaut.store.tables import ExecutionKind, ExecutionRow, JournalRow, JournalStatus, WorkflowRow
from kubernaut.workflow.model import Workflow
from kubernaut_plugin.adopter import answer_requests
from kubernaut_plugin.airflow_runs import read_runs, register, stale_dags
from kubernaut_plugin.loop import Loop

log = logging.getLogger(__name__)
RECONCILER = Actor.system("reconciler")
_OPEN = (Phase.QUEUED, Phase.RUNNING, Phase.PAUSED)


def reconciler_loop() -> Loop:
    return Loop("reconciler", wake.RECONCILER, interval=get_settings().reconcile_interval, work=reconcile_all)


def reconcile_all() -> bool:
    """Look at everything once. True where something moved, so that it is worth looking again at once."""
    answer_requests()
    _revive()
    moved = [_apply(execution_id) for execution_id in _candidates()]
    return any(moved)


def _revive() -> None:
    """Register the DAGs of open executions again that a parse called stale: the scheduler would leave their runs alone.

    A DAG file that could not read the store for a moment, and had no copy, is enough to bring that about.
    """
    with session() as store:
        wanted = set(store.scalars(select(ExecutionRow.dag_id).where(ExecutionRow.phase.in_(_OPEN))))
        if not wanted:
            return
        with create_session(scoped=False) as airflow:
            stale = stale_dags(airflow, wanted)
        documents = (
            store.scalars(select(WorkflowRow.document).where(WorkflowRow.dag_id.in_(stale))).all() if stale else []
        )
    for document in documents:
        workflow = Workflow.model_validate(document)
        log.warning("DAG %s was called stale while a run of it goes on; registering it again", workflow.dag_id)
        register(workflow)


def _candidates() -> list[str]:
    """Executions that may have to move: those that have not ended and are not simply running, and those that were cleared."""
    with session() as store:
        open_rows = store.execute(
            select(
                ExecutionRow.id,
                ExecutionRow.dag_id,
                ExecutionRow.run_id,
                ExecutionRow.phase,
                ExecutionRow.round,
                ExecutionRow.deadline_at,
            ).where(ExecutionRow.phase.in_(_OPEN), ExecutionRow.registered_at.is_not(None))
        ).all()
    with create_session(scoped=False) as airflow:
        runs = read_runs(airflow, [(row.dag_id, row.run_id) for row in open_rows])
        cleared = airflow.execute(
            select(DagRun.dag_id, DagRun.run_id).where(
                DagRun.state.in_((DagRunState.QUEUED, DagRunState.RUNNING)),
                DagRun.clear_number > 0,
                DagRun.dag_id.like("kn.%"),
            )
        ).all()
    now = datetime.now(UTC)
    found = [row.id for row in open_rows if not _simply_running(row, runs.get((row.dag_id, row.run_id)), now)]
    known = {(row.dag_id, row.run_id) for row in open_rows}
    ended = [(dag_id, run_id) for dag_id, run_id in cleared if (dag_id, run_id) not in known]
    if ended:
        with session() as store:
            found += store.scalars(
                select(ExecutionRow.id).where(tuple_(ExecutionRow.dag_id, ExecutionRow.run_id).in_(ended))
            )
    return found


def _simply_running(row: Row[*tuple[Any, ...]], run: RunFacts | None, now: datetime) -> bool:
    return (
        row.phase is Phase.RUNNING
        and run is not None
        and run.state is RunState.RUNNING
        and run.clear_number + 1 <= row.round
        and (row.deadline_at is None or row.deadline_at > now)
    )


def _apply(execution_id: str) -> bool:
    """Lock the execution, read its run, decide, write. True where a transition was written.

    The run is read after the row is locked: an older look at Airflow beside a newer row would see a run that was just
    created as one that is gone.
    """
    with session() as store:
        row = lock_execution(store, execution_id, skip_locked=True)
        if row is None:
            return False
        with create_session(scoped=False) as airflow:
            run = read_runs(airflow, [(row.dag_id, row.run_id)]).get((row.dag_id, row.run_id))
        decision = reconcile(_facts(store, row, run))
        if decision is None:
            return False
        _write(store, row, decision)
    return True


def _facts(store: Session, row: ExecutionRow, run: RunFacts | None) -> Facts:
    changed = store.scalar(
        select(
            exists().where(
                JournalRow.execution_id == row.id,
                JournalRow.effect != EffectClass.EXTERNAL.value,
                JournalRow.status != JournalStatus.REFUSED,
                JournalRow.undone_by.is_(None),
            )
        )
    )
    undo_exists = store.scalar(select(exists().where(ExecutionRow.undoes == row.id, ExecutionRow.phase.in_(_OPEN))))
    verdict = row.verdict
    return Facts(
        phase=row.phase,
        round=row.round,
        is_plan=row.kind is ExecutionKind.PLAN,
        on_failure=OnFailure(row.bindings["on_failure"]),
        registered=row.registered_at is not None,
        late=row.deadline_at is not None and row.deadline_at < datetime.now(UTC),
        changed=bool(changed),
        undo_exists=bool(undo_exists),
        run=run,
        verdict=VerdictFacts(
            outcome=ExecutionOutcome(verdict["outcome"]), reason=verdict["text"], round=verdict["round"]
        )
        if verdict
        else None,
    )


def _write(store: Session, row: ExecutionRow, decision: Transition) -> None:
    if decision.to is None:
        store.execute(
            update(ExecutionRow)
            .where(ExecutionRow.id == row.id)
            .values(round=decision.round)
            .execution_options(synchronize_session=False)
        )
        record(
            store,
            RECONCILER,
            Operation.CLEAR,
            subject_kind="execution",
            subject_id=row.id,
            tracking_id=row.tracking_id,
            details={"round": decision.round, "reason": decision.reason},
        )
        wake.notify(store, wake.execution(row.id))
        return
    limited = decision.to is Phase.RUNNING and row.kind is ExecutionKind.PLAN
    set_phase(
        store,
        row,
        decision.to,
        actor=RECONCILER,
        operation=Operation.TIMEOUT if decision.reason.startswith("timeout") else Operation.PHASE,
        outcome=decision.outcome,
        reason=decision.reason or None,
        deadline_at=datetime.now(UTC) + timedelta(seconds=row.bindings["timeout"]) if limited else None,
    )
    if decision.undo:
        queue_undo(store, row, RECONCILER, decision.reason, get_settings())
