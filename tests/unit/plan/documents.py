"""Plans as they come in, for the tests of `examine`: one that is good, and ways to spoil it."""

from __future__ import annotations

import copy
from typing import Any

from kubernaut.examination import Examination
from kubernaut.plan.examine import examine
from kubernaut.policy import DEFAULT_POLICY, Policy
from kubernaut.settings import Settings

SETTINGS = Settings(clusters={"prod": "kubernetes_prod"})
TWO_CLUSTERS = Settings(clusters={"prod": "kubernetes_prod", "lab": "kubernetes_lab"})

Document = dict[str, Any]


def step(identifier: str, action: str = "kubernetes.scale", **fields: Any) -> Document:
    """A step; one that scales gets a number of replicas unless told."""
    default = {"params": {"replicas": 3}} if action == "kubernetes.scale" else {}
    return {"id": identifier, "action": action, **default, **fields}


def plan(*steps: Document, **fields: Any) -> Document:
    """A plan in our own form about Deployment shop/checkout that may run as it is."""
    return {
        "version": "kubernaut.ai/plan/v1",
        "id": "plan-1",
        "confidence": 0.95,
        "target": {"kind": "Deployment", "namespace": "shop", "name": "checkout"},
        "steps": list(steps) or [step("scale")],
        **fields,
    }


ANSWER: Document = {
    "primary_action": {
        "action": "rollback_deployment",
        "parameters": {"deployment": "checkout", "namespace": "shop"},
        "execution_order": 1,
        "urgency": "high",
    },
    "secondary_actions": [
        {
            "action": "scale_deployment",
            "parameters": {"deployment": "checkout", "namespace": "shop", "replicas": 3},
            "execution_order": 2,
            "condition": "after_primary",
        }
    ],
    "confidence": 0.95,
    "monitoring": {"success_criteria": ["pod_running"]},
}
"""An answer with a primary action that may run as it is."""


def answer(changes: dict[str, Any]) -> Document:
    """`ANSWER` with other values at some JSON pointers; `...` removes what is there."""
    from kubernaut.cluster.objects import pointer_parts

    document = copy.deepcopy(ANSWER)
    for pointer, value in changes.items():
        *above, last = pointer_parts(pointer)
        parent: Any = document
        for part in above:
            parent = parent[int(part)] if isinstance(parent, list) else parent.setdefault(part, {})
        if isinstance(parent, list):
            parent.append(value)
        elif value is ...:
            del parent[last]
        else:
            parent[last] = value
    return document


def looked_at(
    document: Any, settings: Settings = SETTINGS, policy: Policy = DEFAULT_POLICY, **more: Any
) -> Examination:
    return examine(document, settings=settings, policy=policy, **more)
