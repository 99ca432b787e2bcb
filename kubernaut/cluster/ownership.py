"""Who belongs to whom: a workload's selector, its ReplicaSets, their Pods, and revisions. Pure, over plain objects.

A label selector alone is not ownership (two Deployments may share labels by mistake): the owner's uid decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubernaut.cluster.objects import resolve

REVISION_ANNOTATION = "deployment.kubernetes.io/revision"

JsonObject = Mapping[str, Any]


def owned_by(owner: JsonObject, candidates: Sequence[JsonObject]) -> tuple[JsonObject, ...]:
    """Those whose controller is `owner`."""
    uid = resolve(owner, "/metadata/uid")
    return tuple(
        candidate
        for candidate in candidates
        if any(
            reference.get("uid") == uid and reference.get("controller")
            for reference in resolve(candidate, "/metadata/ownerReferences") or ()
        )
    )


def revision_of(item: JsonObject) -> int | None:
    """The revision that the Deployment controller wrote on a Deployment or ReplicaSet."""
    text = (resolve(item, "/metadata/annotations") or {}).get(REVISION_ANNOTATION)
    return int(text) if isinstance(text, str) and text.isdigit() else None


def selector_text(workload: JsonObject) -> str | None:
    """`spec.selector` in the form of the query parameter `labelSelector`; None where it selects by nothing."""
    selector = resolve(workload, "/spec/selector") or {}
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    terms += [_term(expression) for expression in selector.get("matchExpressions") or ()]
    return ",".join(terms) or None


def _term(expression: JsonObject) -> str:
    key, values = expression["key"], ",".join(expression.get("values") or ())
    match expression["operator"]:
        case "In":
            return f"{key} in ({values})"
        case "NotIn":
            return f"{key} notin ({values})"
        case "Exists":
            return str(key)
        case "DoesNotExist":
            return f"!{key}"
        case other:
            raise ValueError(f"selector operator {other!r} is not known")
