"""Where the DAG files are that Airflow shall load: `kubernaut airflow-config` and the deployment files ask.

In an installed wheel they are package data of `kubernaut_operators`; in an editable install they are the repository's
`dags/`. Found without importing anything of Airflow.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from kubernaut.errors import ConfigurationError

_MARK = "execute_plan.py"


def dag_folder() -> Path:
    """The folder for a DAG bundle. Raises `ConfigurationError` where the installation is incomplete."""
    candidates = [*_of_wheel(), Path(__file__).resolve().parent.parent / "dags"]
    for folder in candidates:
        if (folder / _MARK).is_file():
            return folder
    places = ", ".join(str(folder) for folder in candidates)
    raise ConfigurationError(f"the DAG files are not installed (looked at {places}); install the package again")


def _of_wheel() -> list[Path]:
    spec = find_spec("kubernaut_operators")
    places = spec.submodule_search_locations if spec is not None else None
    return [Path(place) / "dag_files" for place in places or ()]
