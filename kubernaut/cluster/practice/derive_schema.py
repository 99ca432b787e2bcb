"""Derives `schema.json` from the models of the `kubernetes` client: `python -m
kubernaut.cluster.practice.derive_schema`.

Why it exists: the API server drops unknown fields and refuses ill-typed ones, so the practice cluster needs to know
all fields of its kinds; the client has them from Kubernetes' OpenAPI document. Run by a developer after an update of
the client; a test compares the stored file. Never imported by the practice cluster itself, as the client is slow to
import.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOTS = (
    "V1Deployment",
    "V1ReplicaSet",
    "V1Pod",
    "V1Namespace",
    "V1ConfigMap",
    "V1Service",
    "CoreV1Event",
    "V1Scale",
    "V1DeleteOptions",
)


def derive() -> dict[str, dict[str, str]]:
    """Type name → field name as on the wire → type (`str`, `int`, `list[V1Container]`, …; `object` is anything)."""
    from kubernetes import client  # type: ignore[import-untyped]

    types: dict[str, dict[str, str]] = {}
    pending = list(ROOTS)
    while pending:
        name = pending.pop()
        model = getattr(client, name, None)
        if name in types or model is None:
            continue
        types[name] = {model.attribute_map[key]: kind for key, kind in model.openapi_types.items()}
        for kind in types[name].values():
            pending.extend(re.findall(r"[A-Z]\w+", kind))
    return types


if __name__ == "__main__":
    target = Path(__file__).with_name("schema.json")
    target.write_text(json.dumps(derive(), indent=1, sort_keys=True) + "\n")
    sys.stdout.write(f"wrote {target}\n")
