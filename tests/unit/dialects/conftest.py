"""An answer with a primary action to start from, and a short way to translate one."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubernaut.plan.dialects import Translation, translate
from kubernaut.plan.model import Signal, Target

ANSWERS = Path(__file__).parents[2] / "data" / "answers"

Answer = dict[str, Any]


@pytest.fixture
def answer() -> Answer:
    """A whole, valid answer; each test gets its own copy."""
    return copy.deepcopy(json.loads((ANSWERS / "crashloop_rollback.json").read_text()))


@pytest.fixture
def small() -> Callable[..., Answer]:
    """The shortest answer around one action and its secondaries."""

    def build(
        action: str = "restart_deployment", parameters: Answer | None = None, *secondaries: Answer, **rest: Any
    ) -> Answer:
        given = {"namespace": "shop", "deployment": "checkout"} if parameters is None else parameters
        return {
            "primary_action": {"action": action, "parameters": given},
            "secondary_actions": list(secondaries),
            **rest,
        }

    return build


@pytest.fixture
def translated() -> Callable[..., Translation]:
    def run(document: Any, signal: Signal | None = None) -> Translation:
        return translate(document, signal=signal, default_cluster="prod")

    return run


@pytest.fixture
def signal() -> Signal:
    labels = {
        "namespace": "shop",
        "deployment": "checkout",
        "pod": "checkout-7d9f-x2x",
        "alertname": "KubePodCrashLooping",
    }
    target = Target(kind="Deployment", namespace="shop", name="checkout")
    return Signal(name="KubePodCrashLooping", labels=labels, target=target)
