"""What Airflow's provider discovery asks for: name, settings section, no hooks of our own."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Entry point `apache_airflow_provider` (`Any`: Airflow's own schema)."""
    from kubernaut.settings import Settings

    options = {
        name: {
            "description": field.description or name,
            "version_added": "0.1.0",
            "type": "string",
            "example": None,
            "default": None,
        }
        for name, field in sorted(Settings.model_fields.items())
    }
    return {
        "package-name": "kubernaut-airflow",
        "name": "Kubernaut",
        "description": "AI remediation plans as Airflow DAGs.",
        "config": {"kubernaut": {"description": "Kubernaut; see docs/settings.md.", "options": options}},
    }
