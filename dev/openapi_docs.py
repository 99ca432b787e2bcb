"""Renders `docs/openapi.json`, the description of the REST API: the same document that the API serves.

Called by `dev.generated_docs`. Imports Airflow's API server, which takes seconds; no database and no setting is needed.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

PAGE = Path("docs/openapi.json")


def render() -> str:
    with tempfile.TemporaryDirectory(prefix="kubernaut-airflow-") as home:
        # Airflow writes a configuration there when it is imported
        os.environ.setdefault("AIRFLOW_HOME", home)
        from kubernaut_plugin.api.app import make_app
        from kubernaut_plugin.api.openapi import document

        return json.dumps(document(make_app().routes), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
