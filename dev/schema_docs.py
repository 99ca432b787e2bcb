"""Renders `docs/plan.schema.json`, the JSON Schema of a plan: the same document that the API serves.

Called by `dev.generated_docs`. Pure.
"""

from __future__ import annotations

import json
from pathlib import Path

from kubernaut.plan.model import plan_schema

PAGE = Path("docs/plan.schema.json")


def render() -> str:
    return json.dumps(plan_schema(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"
