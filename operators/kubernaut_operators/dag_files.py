"""What the DAG files `dags/workflows/0.py … f.py` hold: the workflows whose hash begins with the file's digit.

Never raises: one import error would make Airflow call all DAGs of the file stale, and stop their runs. What cannot be
built is left out and reported in the log; when the store is away, the last good copy on disk is served. Where Airflow
says which DAG it wants (a worker, a callback), only that one is built.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, get_parsing_context

from kubernaut.settings import get_settings
from kubernaut.workflow.model import Workflow
from kubernaut_operators.factory import build_dag
from kubernaut_operators.process import configure

log = logging.getLogger(__name__)


def workflows(digit: str) -> dict[str, DAG]:
    """The DAGs of one file, by dag_id; for `globals().update(…)`."""
    try:
        wanted = get_parsing_context().dag_id
        documents = _documents(digit)
    except Exception:  # a DAG file must never raise, whatever is wrong
        log.exception("no workflow can be read for file %s; its DAGs are left as they are", digit)
        return {}
    dags: dict[str, DAG] = {}
    for dag_id, document in documents.items():
        if wanted is not None and wanted != dag_id:
            continue
        try:
            dags[dag_id] = build_dag(Workflow.model_validate(document))
        except Exception:
            log.exception("workflow %s cannot be built; it is left out", dag_id)
    return dags


def _documents(digit: str) -> dict[str, Any]:
    """Workflow documents by dag_id: from the store, else from the last good copy."""
    try:
        configure()
        documents = _from_store(digit)
    except Exception as error:
        log.warning("the store cannot be read (%s); serving the last good copy of file %s", error, digit)
        return _from_copy(digit)
    _keep_copy(digit, documents)
    return documents


def _from_store(digit: str) -> dict[str, Any]:
    from kubernaut.store.engine import session
    from kubernaut.store.workflows import workflows_for_prefix

    with session() as open_session:
        rows = open_session.scalars(workflows_for_prefix(digit, get_settings().recent_workflows))
        return {row.dag_id: row.document for row in rows}


def _copy_path(digit: str) -> Path:
    folder = get_settings().cache_dir or Path(os.environ.get("AIRFLOW_HOME", Path.home() / "airflow")) / "kubernaut"
    return folder / f"workflows-{digit}.json"


def _keep_copy(digit: str, documents: dict[str, Any]) -> None:
    """Write the copy whole or not at all; a disk that is full costs the copy, never the parse."""
    path = _copy_path(digit)
    text = json.dumps(documents, sort_keys=True)
    try:
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
            file.write(text)
        os.replace(file.name, path)
    except OSError as error:
        log.warning("no copy of file %s could be kept: %s", digit, error)


def _from_copy(digit: str) -> dict[str, Any]:
    path = _copy_path(digit)
    if not path.exists():
        return {}
    documents: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return documents
