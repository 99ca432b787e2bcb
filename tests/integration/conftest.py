"""One Airflow, one PostgreSQL and one practice cluster for all integration tests of a session.

A test that asks for `stack` gets the real thing (about 15 s, once). A test that needs only the store asks for
`store_url` and gets a database of its module's own on a server that starts in half a second; when both kinds run in
one session, the server is the stack's. Whoever breaks a part on purpose puts it back (`Stack.restart`): the others
share it.
"""

import itertools
import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack import Stack
from devstack.airflow import Home, base_environment, store_commands, store_layer
from devstack.postgres import STORE_DATABASE, STORE_TEMPLATE, Postgres
from devstack.prepared import prepare
from devstack.stack import silent

BUILD = Path(__file__).resolve().parents[2] / "build" / "tests"
CLUSTER = "practice"
CONNECTION = "kubernaut_practice"

_serial = itertools.count(1)


def workload(name: str, command: list[str] | None = None) -> dict[str, Any]:
    """A Deployment of two replicas in the managed namespace."""
    labels = {"app": name}
    container = {"name": "main", "image": "demo-http-server:1.0.0", **({"command": command} if command else {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "demo-checkout"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


WORLD: dict[str, Any] = {
    "name": "integration",
    "age_seconds": 600,
    "faults": [{"effect": "crash", "message": "fatal: bad settings", "match": {"argument": "--bad"}}],
    "objects": [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": "demo-checkout", "labels": {"kubernaut.ai/managed": "true"}},
        },
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "somebody-elses"}},
        workload("worker"),
        workload("broken"),
    ],
    "changes": [{"at_seconds": 60, "description": "a bad rollout", "apply": workload("broken", ["main", "--bad"])}],
}
"""A managed namespace with a healthy workload and one that crashes since its last rollout, and an unmanaged namespace."""


@dataclass(frozen=True)
class Api:
    """Kubernaut's REST API as one user of Airflow; statuses are the test's business."""

    stack: Stack
    user: str | None

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.stack.kubernaut("GET", path, user=self.user, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return self.stack.kubernaut("POST", path, json, user=self.user, **options)

    def put(self, path: str, json: Any = None, **options: Any) -> httpx.Response:
        return self.stack.kubernaut("PUT", path, json, user=self.user, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.stack.kubernaut("DELETE", path, user=self.user, **options)


def progress_of(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Lines on the terminal although pytest captures output: a start takes seconds and should not look like a hang."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(line: str) -> None:
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(f"[stack] {line}")

    return say if reporter is not None and capture is not None else silent


@pytest.fixture(scope="session")
def practice() -> Iterator[Any]:
    """The practice cluster's server in this process: `.url`, `.token`, `.connection_json()`, its core."""
    from kubernaut.cluster.practice.scenario import load_scenario
    from kubernaut.cluster.practice.server import PracticeServer, wall_clock

    opened = load_scenario(WORLD).open(wall_clock, time_factor=5)
    with PracticeServer(opened.cluster) as server:
        yield server


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, practice: Any) -> Iterator[Stack]:
    """Airflow, with the practice cluster as the cluster `practice`."""
    whole = Stack(
        BUILD / "stack",
        connections={CONNECTION: practice.connection_json()},
        extra_env={"KUBERNAUT_CLUSTERS": json.dumps({CLUSTER: CONNECTION})},
        progress=progress_of(request),
    )
    with whole:
        yield whole


@pytest.fixture(scope="session")
def api(stack: Stack) -> Callable[..., Api]:
    """``api()`` is the administrator, ``api("viewer")`` another user, ``api(None)`` somebody without a token."""

    def client(user: str | None = "admin") -> Api:
        return Api(stack, user)

    return client


@pytest.fixture(scope="session")
def pg(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """A PostgreSQL with the migrated store as a template: the stack's if the session has one, else one of its own."""
    if any("stack" in getattr(item, "fixturenames", ()) for item in request.session.items):
        yield request.getfixturevalue("stack").postgres
        return
    # A new folder for each session: sessions may run side by side, and their logs stay.
    home = Home(BUILD / f"postgres-{uuid.uuid4().hex[:8]}")
    home.create()
    server = Postgres(home.postgres, log=home.log("postgres"))

    def environment() -> dict[str, str]:
        return {**base_environment(home), "KUBERNAUT_STORE_URL": server.url(STORE_DATABASE)}

    try:
        prepare(server, [store_layer(home, environment, store_commands())], progress_of(request))
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def store_url(request: pytest.FixtureRequest, pg: Postgres) -> Iterator[str]:
    """The URL of a migrated, empty store for this test module alone."""
    name = f"t{next(_serial)}_{re.sub(r'[^a-z0-9]', '_', request.module.__name__.rpartition('.')[2].lower())}"[:60]
    yield pg.create_database(name, template=STORE_TEMPLATE, owner=STORE_DATABASE)
    pg.drop_database(name)
