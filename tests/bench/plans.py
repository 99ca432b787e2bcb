"""The plans that the benchmarks send: shapes that nobody has seen, the same shape with other values, grids and chains.

Pure. Every plan is in our own form, confident enough to run without an approval, and repeats safely in one cluster.
"""

import itertools
from collections.abc import Sequence
from typing import Any

Document = dict[str, Any]

CLUSTER = "practice"
NAMESPACE, NAME = "demo-checkout", "worker"
TARGET = {"cluster": CLUSTER, "kind": "Deployment", "namespace": NAMESPACE, "name": NAME}
PROOF = {
    "name": "the worker is there",
    "check": {"kind": "object", "target": TARGET, "expression": "object.spec.replicas >= 0"},
}
SCALE = "kubernetes.scale"

_CHECK: Document = {
    "action": "monitoring.check",
    "params": {"expression": "object.spec.replicas > 0"},
    "target": TARGET,
}
_OTHERS: tuple[Document, ...] = (
    {"action": "noop"},
    {"action": "notify", "params": {"message": "scaled"}},
    _CHECK,
    {"action": "noop", "post_conditions": [PROOF]},
    {**_CHECK, "post_conditions": [PROOF]},
)
_SHAPES = tuple(
    (policy, chosen)
    for policy in ("terminate", "continue")
    for chosen in itertools.combinations_with_replacement(range(len(_OTHERS)), 3)
)

MAX_SHAPES = len(_SHAPES)


def repair(shape: int, *, replicas: int) -> Document:
    """Scale the worker, and three things beside it, so that a sample is over soon.

    :param shape: two numbers below `MAX_SHAPES` never give the same workflow
    :param replicas: another number than the worker has, or the first step has nothing to change
    """
    policy, chosen = _SHAPES[shape]
    steps: list[Document] = [{"id": "scale", "action": SCALE, "params": {"replicas": replicas}, "target": TARGET}]
    for number, other in enumerate(chosen, 1):
        steps.append({"id": f"beside-{number}", **_OTHERS[other]})
    return _plan(f"repair-{shape}-{replicas}", steps, failure_policy=policy, on_failure="keep")


def grid(width: int, depth: int) -> Document:
    """Layers of `noop`; each step waits for all of the layer before."""
    steps: list[Document] = []
    above: Sequence[str] = ()
    for layer in range(depth):
        names = [f"s{layer}-{column}" for column in range(width)]
        steps += [{"id": name, "action": "noop", "depends_on": [{"step": each} for each in above]} for name in names]
        above = names
    return _plan(f"grid-{width}x{depth}", steps)


def full_grid(width: int, depth: int) -> Document:
    """The same graph with everything that a step may have: its own target, parameters, a condition, a proof, a retry."""
    plan = grid(width, depth)
    for number, step in enumerate(plan["steps"]):
        target = {**TARGET, "name": f"app-{number}"}
        replicas = 1 + number % 50  # more would need an approval
        step |= {
            "name": f"Scale application {number}",
            "action": SCALE,
            "target": target,
            "params": {"replicas": replicas},
            "when": f"vars.limit > {number}",
            "retry": {"max_attempts": 3},
            "timeout": 60,
            "post_conditions": [
                {
                    "name": "it is so",
                    "check": {
                        "kind": "object",
                        "target": target,
                        "expression": f"object.spec.replicas == {replicas}",
                    },
                }
            ],
        }
    return {**plan, "variables": {"limit": 1_000}}


def chain(length: int, *, verified: bool) -> Document:
    """One `noop` after the other, each proved before the next one where `verified`."""
    steps = [
        {
            "id": f"s{number}",
            "action": "noop",
            "depends_on": [{"step": f"s{number - 1}"}] if number else [],
            "post_conditions": [PROOF] if verified else [],
        }
        for number in range(length)
    ]
    return _plan(f"chain-{length}{'-verified' if verified else ''}", steps)


def _plan(identifier: str, steps: list[Document], **fields: Any) -> Document:
    return {
        "version": "kubernaut.ai/plan/v1",
        "id": identifier,
        "confidence": 0.95,
        "target": TARGET,
        "steps": steps,
        **fields,
    }
