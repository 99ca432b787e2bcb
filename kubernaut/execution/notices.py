"""What people must be told: rows of the outbox, written once for each event. Sending them is the loop's work."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from kubernaut.store.engine import session
from kubernaut.store.tables import ExecutionRow, OutboxRow


def run_failed(*, dag_id: str, run_id: str, reason: str) -> None:
    """One row for a failed run, however often Airflow calls: its dedup key is the run and the execution's round."""
    with session() as open_session:
        execution = open_session.execute(
            select(ExecutionRow.id, ExecutionRow.tracking_id, ExecutionRow.round).where(
                ExecutionRow.dag_id == dag_id, ExecutionRow.run_id == run_id
            )
        ).first()
        open_session.execute(
            insert(OutboxRow)
            .values(
                kind="run_failed",
                dedup_key=f"run_failed:{dag_id}:{run_id}:{execution[2] if execution else 1}",
                payload={
                    "dag_id": dag_id,
                    "run_id": run_id,
                    "execution": execution[0] if execution else None,
                    "tracking_id": execution[1] if execution else None,
                    "reason": reason[:2_000],
                },
            )
            .on_conflict_do_nothing(index_elements=[OutboxRow.dedup_key])
        )
