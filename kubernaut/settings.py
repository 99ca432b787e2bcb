"""One table of settings: every number that a site may want to change has a name, a unit and a safe default here.

Read from `KUBERNAUT_<NAME>`; inside Airflow's processes the section `[kubernaut]` of airflow.cfg is put below the
environment (`kubernaut_plugin` and `kubernaut_operators` pass it to `use`). `docs/settings.md` is generated from this.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from kubernaut.errors import ConfigurationError


class Settings(BaseSettings):
    """Times are seconds, sizes are bytes."""

    model_config = SettingsConfigDict(env_prefix="KUBERNAUT_", frozen=True, extra="ignore")

    # --- where things are
    store_url: SecretStr | None = Field(default=None, description="PostgreSQL URL of the store (`postgresql://…`).")
    store_connection: str = Field(
        default="kubernaut_store", description="Airflow connection used where `store_url` is not set."
    )
    clusters: dict[str, str] = Field(
        default_factory=dict,
        description='Clusters that plans may name → Airflow connection id, as JSON: `{"prod": "kubernetes_prod"}`.',
    )
    default_cluster: str | None = Field(
        default=None,
        description="Cluster meant where neither plan nor signal names one; the only one where there is only one.",
    )
    policy_file: Path | None = Field(
        default=None, description="Policy (YAML); the built-in default policy where absent."
    )
    bundle_name: str = Field(
        default="kubernaut", description="Name of the Airflow DAG bundle that holds our DAG files."
    )
    api_url: str = Field(default="http://localhost:8080", description="Airflow's base URL, for the CLI and for links.")
    cache_dir: Path | None = Field(
        default=None,
        description="Where the last good copy of the workflows is kept for when the store is away; "
        "`$AIRFLOW_HOME/kubernaut` where absent.",
    )

    # --- what a plan may be
    max_plan_bytes: int = Field(default=1_048_576, ge=1_024, description="Largest request body or plan file.")
    max_nesting: int = Field(default=50, ge=5, le=90, description="Deepest nesting of JSON that is read.")
    max_steps: int = Field(default=100, ge=1, le=100, description="Steps in a plan, fallbacks included.")
    max_conf_bytes: int = Field(
        default=65_536, ge=1_024, description="Largest bindings that travel in a DAG run's `conf`."
    )
    confidence_human: float = Field(default=0.6, ge=0, le=1, description="Below this confidence a human must look.")
    confidence_approval: float = Field(
        default=0.8, ge=0, le=1, description="Below this confidence (or without one) an approval is needed."
    )

    # --- how steps run
    step_placement: Literal["triggerer", "worker"] = Field(default="triggerer", description="Where steps run.")
    step_timeout: float = Field(default=300.0, gt=0, description="Timeout of a step whose plan and action name none.")
    plan_timeout: float = Field(default=1_800.0, gt=0, description="Timeout of an execution whose plan names none.")
    post_condition_timeout: float = Field(
        default=300.0, gt=0, description="How long a post-condition may take to become true."
    )
    post_condition_interval: float = Field(
        default=2.0, gt=0, description="Poll interval of a post-condition where no watch is possible."
    )
    settle_seconds: float = Field(
        default=2.0,
        ge=0,
        description="How long rollback triggers are watched after the last step of a plan that has any.",
    )
    max_parallel_steps: int = Field(default=20, ge=1, description="Steps of one execution that act at the same time.")
    max_running_executions: int = Field(
        default=100, ge=1, description="Executions that run at the same time; more wait in `queued`."
    )
    request_timeout: float = Field(default=30.0, gt=0, description="One request to a cluster's API.")
    external_timeout: float = Field(default=10.0, gt=0, description="One request to a webhook.")
    webhook_hosts: tuple[str, ...] = Field(
        default=(), description="Hosts that `notify` may call, as JSON list; none by default."
    )

    # --- the store and the loops around it
    store_pool_size: int = Field(
        default=5,
        ge=1,
        description="Connections to the store that a process keeps; as many more are opened under load.",
    )
    store_pool_timeout: float = Field(default=30.0, gt=0, description="Longest wait for one of these connections.")
    store_connect_timeout: float = Field(default=5.0, gt=0, description="Longest wait for a new connection.")
    store_statement_timeout: float = Field(
        default=15.0, gt=0, description="One statement. None takes a second; a longer one waits for somebody's lock."
    )
    poll_interval: float = Field(default=1.0, gt=0, description="How often waiting code looks when no NOTIFY arrives.")
    reconcile_interval: float = Field(
        default=10.0, gt=0, description="How often every non-terminal execution is looked at."
    )
    registrar_interval: float = Field(
        default=2.0, gt=0, description="How often the registrar looks when no NOTIFY arrives."
    )
    recent_workflows: int = Field(
        default=200, ge=0, description="Workflows without a running execution that the DAG files keep serving."
    )
    idempotency_hours: float = Field(
        default=24.0, gt=0, description="How long an `Idempotency-Key` is remembered, in hours."
    )


_section: dict[str, str] = {}


def use(section: Mapping[str, str]) -> None:
    """Put the values of Airflow's `[kubernaut]` section below the environment. Clears what was read before."""
    _section.clear()
    _section.update(section)
    get_settings.cache_clear()


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process. Raises `ConfigurationError` naming the setting that cannot be read."""
    try:
        import json
        import os

        values: dict[str, object] = {}
        for name, text in _section.items():
            if name in Settings.model_fields and f"KUBERNAUT_{name.upper()}" not in os.environ:
                try:
                    values[name] = json.loads(text)
                except ValueError:
                    values[name] = text
        return Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise ConfigurationError(
            f"setting {name!r} cannot be used: {first['msg']}. Correct KUBERNAUT_{name.upper()} or [kubernaut] {name}; "
            "docs/settings.md lists every setting."
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            f"a KUBERNAUT_… variable cannot be read: {error}; docs/settings.md lists every setting."
        ) from error
