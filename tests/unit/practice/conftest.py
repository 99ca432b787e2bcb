"""Fixtures of the practice cluster's tests: one in simulated time, and one that is served."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from practice_simulation import Simulation

from kubernaut.cluster.practice.server import PracticeServer


@pytest.fixture
def simulation() -> Simulation:
    return Simulation()


@pytest.fixture
def server() -> Iterator[PracticeServer]:
    with PracticeServer(bookmark_seconds=0.05) as running:
        yield running


@pytest.fixture
def http(server: PracticeServer) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {server.token}", "User-Agent": "tests/1.0"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=10) as client:
        yield client
