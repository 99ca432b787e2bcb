"""Once per process: hand Airflow's configuration and connections to the domain, which knows nothing of Airflow.

Called at the start of every trigger, worker task, DAG file and plugin; cheap after the first time.
"""

from __future__ import annotations

from functools import lru_cache
from urllib.parse import quote, urlencode

from kubernaut.errors import ConfigurationError


def _section() -> dict[str, str]:
    from airflow.providers.common.compat.sdk import conf

    return {
        key: str(value)
        for key, value in (conf.getsection("kubernaut") or {}).items()
        if value not in (None, "", "None")
    }


def _connection_url() -> str:
    """PostgreSQL URL of the connection that the setting `store_connection` names. Raises `ConfigurationError`."""
    from airflow.providers.common.compat.sdk import BaseHook

    from kubernaut.settings import get_settings

    conn_id = get_settings().store_connection
    try:
        connection = BaseHook.get_connection(conn_id)
    except Exception as error:
        raise ConfigurationError(
            f"no store: neither KUBERNAUT_STORE_URL is set nor does the Airflow connection {conn_id!r} exist ({error})"
        ) from error
    login = ""
    if connection.login:
        login = f"{quote(connection.login, safe='')}:{quote(connection.password or '', safe='')}@"
    options = {name: value for name, value in connection.extra_dejson.items() if name.startswith("ssl")}
    query = f"?{urlencode(options)}" if options else ""
    return f"postgresql://{login}{connection.host}:{connection.port or 5432}/{connection.schema or 'kubernaut'}{query}"


@lru_cache(maxsize=1)
def configure() -> None:
    """Use Airflow's `[kubernaut]` section and the connection of the store in this process."""
    from kubernaut.settings import use
    from kubernaut.store.engine import set_url_provider

    use(_section())
    set_url_provider(_connection_url)
