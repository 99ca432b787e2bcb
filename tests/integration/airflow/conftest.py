"""Plans through a real Airflow: sent by REST, run by its scheduler and triggerer, asked by REST again."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from devstack import Stack

TARGET = {"cluster": "practice", "kind": "Deployment", "namespace": "demo-checkout", "name": "worker"}
TERMINAL = ("completed", "failed", "cancelled")


def noop(identifier: str, *depends_on: tuple[str, str] | str, **fields: Any) -> dict[str, Any]:
    """A step that does nothing."""
    return step(identifier, "noop", *depends_on, **fields)


def failing(identifier: str, *depends_on: tuple[str, str] | str, **fields: Any) -> dict[str, Any]:
    """A step that is attempted and fails for good: a check of the worker that is false."""
    return step(
        identifier,
        "monitoring.check",
        *depends_on,
        params={"expression": "object.spec.replicas < 0"},
        target=TARGET,
        **fields,
    )


def step(identifier: str, action: str, *depends_on: tuple[str, str] | str, **fields: Any) -> dict[str, Any]:
    edges = [(edge, "success") if isinstance(edge, str) else edge for edge in depends_on]
    return {
        "id": identifier,
        "action": action,
        "depends_on": [{"step": upstream, "outcome": outcome} for upstream, outcome in edges],
        **fields,
    }


def plan(*steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A plan that runs without an approval."""
    return {
        "version": "kubernaut.ai/plan/v1",
        "id": f"plan-{uuid.uuid4().hex[:8]}",
        "confidence": 0.95,
        "target": TARGET,
        "steps": list(steps),
        **fields,
    }


@dataclass(frozen=True)
class Runs:
    """Sends plans and waits for what becomes of them."""

    stack: Stack

    def send(self, document: Any, **body: Any) -> dict[str, Any]:
        answer = self.stack.kubernaut("POST", "/executions", {"plan": document, **body})
        assert answer.status_code == 202, answer.text
        sent: dict[str, Any] = answer.json()
        return sent

    def show(self, execution: str) -> dict[str, Any]:
        answer = self.stack.kubernaut("GET", f"/executions/{execution}")
        assert answer.status_code == 200, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def until(
        self, execution: str, condition: Callable[[dict[str, Any]], Any], what: str, timeout: float = 90
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def holds() -> bool:
            found.clear()
            found.update(self.show(execution))
            return bool(condition(found))

        self.stack.wait_until(holds, timeout, f"{what} of {execution}")
        return found

    def end(self, execution: str, timeout: float = 90) -> dict[str, Any]:
        return self.until(execution, lambda shown: shown["phase"] in TERMINAL, "the end", timeout)

    def run(self, document: Any, **body: Any) -> dict[str, Any]:
        return self.end(self.send(document, **body)["execution_id"])

    def stored(self, statement: str, **values: Any) -> list[Any]:
        """Rows of the store itself."""
        engine = create_engine(self.stack.store_url.replace("postgresql://", "postgresql+psycopg://"))
        try:
            with engine.connect() as connection:
                return list(connection.execute(text(statement), values))
        finally:
            engine.dispose()

    def tasks(self, shown: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Airflow's task instances of an execution's run, by task id."""
        path = f"/dags/{shown['dag_id']}/dagRuns/{shown['run_id']}/taskInstances"
        answer = self.stack.airflow("GET", path)
        assert answer.status_code == 200, answer.text
        return {task["task_id"]: task for task in answer.json()["task_instances"]}


def states(shown: dict[str, Any]) -> dict[str, str]:
    """State of each step by the AI's id."""
    return {each["id"]: each["state"] for each in shown["steps"]}


@pytest.fixture(scope="session")
def runs(stack: Stack) -> Runs:
    return Runs(stack)
