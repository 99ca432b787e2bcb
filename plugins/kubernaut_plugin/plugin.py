"""The Airflow plugin: what Airflow loads by the entry point `airflow.plugins`. Light: every component of Airflow imports it."""

from __future__ import annotations

import sys
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from kubernaut_plugin import listener


def _is_api_server() -> bool:
    return any(part in ("api-server", "standalone") for part in sys.argv) or "uvicorn" in sys.argv[0]


def _load_what_steps_need() -> None:
    """In a triggerer, before it serves: its first step would import for seconds, on the event loop that all triggers share."""
    if "triggerer" in sys.argv:
        import airflow.providers.cncf.kubernetes.hooks.kubernetes  # noqa: F401

        import kubernaut.execution.step_runner
        import kubernaut.execution.verdict_runner  # noqa: F401


def _apps() -> list[dict[str, Any]]:
    """The REST app, built only where it is served."""
    if not _is_api_server():
        return []
    # Needed by the first plan's look at its cluster; imported there, it would hold up the event loop for seconds.
    import airflow.providers.cncf.kubernetes.hooks.kubernetes  # noqa: F401

    from kubernaut_plugin.api.app import make_app

    return [{"app": make_app(), "url_prefix": "/kubernaut", "name": "Kubernaut"}]


_load_what_steps_need()


class KubernautPlugin(AirflowPlugin):
    """Registers the REST app and the listener."""

    name = "kubernaut"
    fastapi_apps = _apps()
    listeners = [listener]  # noqa: RUF012  (Airflow's own form)
