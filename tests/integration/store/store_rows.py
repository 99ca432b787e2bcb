"""Rows for the tests of the store, made in one line."""

import itertools
from typing import Any

from kubernaut.execution.phases import ExecutionOutcome, Phase
from kubernaut.store import engine
from kubernaut.store.audit import Actor
from kubernaut.store.executions import lock_execution, set_phase
from kubernaut.store.tables import ExecutionRow
from kubernaut.workflow.model import Workflow, WorkflowStep

ALICE = Actor.user("alice")
REGISTRAR = Actor.system("registrar")

_serial = itertools.count(1)


def shape(*actions: str) -> Workflow:
    """A workflow of steps without edges."""
    steps = tuple(WorkflowStep(key=f"s{number:02}", action=action) for number, action in enumerate(actions, 1))
    return Workflow(steps=steps, failure_policy="terminate", factory_version=1)


def new_row(**columns: Any) -> ExecutionRow:
    """An execution that was not written yet; its workflow is `shape("noop")`."""
    identifier = columns.pop("id", f"ex-test-{next(_serial):05}")
    workflow = shape("noop")
    values: dict[str, Any] = {
        "plan_hash": "0" * 64,
        "workflow_digest": workflow.digest,
        "dag_id": workflow.dag_id,
        "run_id": identifier,
        "bindings": {"plan_id": "p"},
        "tracking_id": "kn-test",
        "actor": ALICE.name,
        "actions": ["noop"],
    }
    return ExecutionRow(id=identifier, **{**values, **columns})


def move(execution_id: str, *phases: Phase, actor: Actor = REGISTRAR) -> ExecutionRow | None:
    """Through these phases, one transaction each; an end in `completed` is a success."""
    outcomes = {Phase.COMPLETED: ExecutionOutcome.SUCCESS, Phase.FAILED: ExecutionOutcome.FAILURE}
    row = None
    for phase in phases:
        with engine.session() as session:
            row = lock_execution(session, execution_id)
            assert row is not None
            set_phase(session, row, phase, actor=actor, outcome=outcomes.get(phase))
    return row
