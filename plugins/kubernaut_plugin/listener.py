"""Airflow's DAG-run listener: wakes the reconciler, nothing more.

It runs inside the scheduler's transaction, before its commit: it must not block, not raise, and what it tells is only
*look again*. Without it everything works, at the reconciler's interval.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

log = logging.getLogger(__name__)
_called = threading.Event()
_thread: threading.Thread | None = None
_lock = threading.Lock()


@hookimpl
def on_dag_run_running(dag_run: DagRun, msg: str) -> None:
    """A run started."""
    _wake(dag_run)


@hookimpl
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:
    """A run ended well."""
    _wake(dag_run)


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:
    """A run ended badly."""
    _wake(dag_run)


def _wake(dag_run: DagRun) -> None:
    """Hand over to a thread of our own; the scheduler goes on at once."""
    if not dag_run.dag_id.startswith("kn."):
        return
    global _thread
    with _lock:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_send_forever, name="kubernaut-wake", daemon=True)
            _thread.start()
    _called.set()


def _send_forever() -> None:
    """NOTIFY after each call; twice, since the first may overtake the scheduler's commit."""
    from kubernaut_operators.process import configure

    from kubernaut.store import wake
    from kubernaut.store.engine import session

    while True:
        _called.wait()
        _called.clear()
        for pause in (0.02, 0.15):
            threading.Event().wait(pause)
            try:
                configure()
                with session() as open_session:
                    wake.notify(open_session, wake.RECONCILER)
            except Exception as error:  # the reconciler's interval makes up for it
                log.warning("the reconciler could not be woken: %s", error)
                break
