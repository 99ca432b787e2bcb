"""Airflow's failure callback of every workflow. It runs late, in the dag-processor, and only enqueues."""

from __future__ import annotations

from typing import Any


def record_failure(context: Any) -> None:
    """Write one outbox row for a failed run; a second call for the same run and round adds nothing (`Any`: Airflow's context)."""
    from kubernaut.execution.notices import run_failed
    from kubernaut_operators.process import configure

    configure()
    run_failed(
        dag_id=context["dag"].dag_id,
        run_id=context["run_id"],
        reason=str(context.get("reason") or ""),
    )
