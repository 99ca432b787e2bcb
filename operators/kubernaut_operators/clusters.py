"""The client of a cluster, by the name that plans and policy use, through its Airflow connection."""

from __future__ import annotations

from kubernaut.cluster.client import KubeClient
from kubernaut.errors import ConfigurationError
from kubernaut.settings import get_settings
from kubernaut_operators.transport import transport_for


def client_of(cluster: str) -> KubeClient:
    """On the running loop. Raises `ConfigurationError` for a cluster that the setting `clusters` does not name."""
    settings = get_settings()
    conn_id = settings.clusters.get(cluster)
    if conn_id is None:
        known = ", ".join(sorted(settings.clusters)) or "none"
        raise ConfigurationError(f"cluster {cluster!r} is not in the setting clusters; known: {known}")
    return KubeClient(transport_for(conn_id), timeout=settings.request_timeout)
