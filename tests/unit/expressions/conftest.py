"""One context that most tests of expressions evaluate over, and an orderly end for the child process of each loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio

from kubernaut import expressions
from kubernaut.expressions import Context

SUNDAY = datetime(2026, 11, 22, 3, 10, tzinfo=UTC)


@pytest.fixture
def context() -> Callable[..., Context]:
    """A builder: `context(variables={…})` replaces one part of an ordinary context."""

    def build(**changes: Any) -> Context:
        parts: dict[str, Any] = {
            "signal": {
                "labels": {"alertname": "CrashLooping", "namespace": "shop"},
                "startsAt": "2026-11-22T03:00:00Z",
            },
            "target": {"cluster": "practice", "kind": "Deployment", "namespace": "shop", "name": "checkout"},
            "variables": {"environment": "production", "whole": 2, "fraction": 0.5},
            "steps": {
                "scale": {"status": "succeeded", "outputs": {"replicas": 5, "message": "Operation completed"}},
                "sec-1": {"status": "failed", "outputs": {}},
            },
            "now": SUNDAY,
        }
        return Context(**(parts | changes))

    return build


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[None]:
    """For tests that evaluate in the child process: it ends with the test."""
    yield
    await expressions.close()
