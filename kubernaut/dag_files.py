"""Where the DAG files are that Airflow loads: package data of the wheel, or `dags/` of a checkout. Imports no Airflow."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from kubernaut.errors import ConfigurationError


def dag_folder() -> Path:
    """The folder of the DAG bundle. Raises `ConfigurationError` where the installation has none."""
    spec = find_spec("kubernaut_operators")
    places = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    for place in places:
        for folder in (place / "dag_files", place.parent.parent / "dags"):
            if (folder / "execute_plan.py").is_file():
                return folder
    raise ConfigurationError("the DAG files are missing from the installation; install the package kubernaut-airflow anew")
