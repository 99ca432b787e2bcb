"""Renders `docs/settings.md` from the one table of settings, `kubernaut.settings.Settings`.

Called by `dev.generated_docs`. Pure: it reads the model's fields and nothing else, so a setting that is not in the page
cannot exist. A number whose unit nobody can tell is an error, not an empty cell.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from kubernaut.settings import Settings

PAGE = Path("docs/settings.md")
HEAD = """# Settings

Every setting has a safe default: nothing needs to be set but where the store is and which clusters plans may name.

A value comes from, in this order:

1. the environment: `KUBERNAUT_<NAME>`,
2. inside Airflow's processes, the section `[kubernaut]` of `airflow.cfg` (the option is the setting's name; Airflow's
   own variables for it, `AIRFLOW__KUBERNAUT__<NAME>`, work too),
3. the default.

Lists and mappings are written as JSON. A value that cannot be used is refused with a message that names the setting.

| setting | variable | default | unit | meaning |
| --- | --- | --- | --- | --- |
"""
UNITS = {"_bytes": "bytes", "_seconds": "seconds", "_timeout": "seconds", "_interval": "seconds", "_hours": "hours"}
COUNTED = {"max_nesting": "levels", "max_steps": "steps", "max_parallel_steps": "steps"}


def unit(name: str, annotation: Any) -> str:
    """What one of the value is. Raises `ValueError` where the name does not tell and the value needs it."""
    for suffix, word in UNITS.items():
        if name.endswith(suffix):
            return word
    if name in COUNTED:
        return COUNTED[name]
    if name.startswith("confidence_"):
        return "0 to 1"
    if annotation is int:
        return "count"
    if annotation is float:
        raise ValueError(f"setting {name!r} is a float without a unit: end its name in one of {', '.join(UNITS)}")
    return choices(annotation)


def choices(annotation: Any) -> str:
    """`a, b` for a setting with a closed list of values, else a dash."""
    values = [value for value in get_args(annotation) if isinstance(value, str)]
    return ", ".join(f"`{value}`" for value in values) or "–"


def default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, SecretStr):
        raise ValueError("a secret must not have a default")
    if isinstance(value, (dict, tuple, list)):
        return f"`{json.dumps(value)}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def render() -> str:
    """The whole page. Raises `ValueError` for a setting without a meaning or a unit."""
    rows = []
    for name, field in Settings.model_fields.items():
        if not field.description:
            raise ValueError(f"setting {name!r} has no description; every setting says what it means")
        meaning = field.description.replace("|", "\\|")
        cells = (f"`{name}`", f"`KUBERNAUT_{name.upper()}`", default(field), unit(name, field.annotation), meaning)
        rows.append(f"| {' | '.join(cells)} |")
    return HEAD + "\n".join(rows) + "\n"
