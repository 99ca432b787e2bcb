"""Taking changes back: exactly the fields that were set, only where they still hold what was left, in reverse order."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from sqlalchemy import select

from kubernaut.execution.phases import Phase
from kubernaut.execution.undo import queue_undo
from kubernaut.store.audit import Actor
from kubernaut.store.engine import session
from kubernaut.store.executions import lock_execution
from kubernaut.store.tables import AuditEventRow, ExecutionRow, JournalStatus
from kubernaut.workflow.model import Workflow
from tests.integration.execution.conftest import World

SCALE = ("kubernetes.scale", {"params": {"replicas": 5}})
ROLLBACK = ("kubernetes.rollout_undo", {"params": {"revision": "previous"}})
RESTART = (
    "kubernetes.rollout_restart",
    {"params": {}, "undo": {"kind": "none", "reason": "a restart stays a restart"}},
)


def undo_of(world: World, execution: str) -> ExecutionRow | None:
    """End the execution as failed and queue its undo, as the reconciler does; then let it run."""
    world.set_phase(execution, Phase.FAILED)
    with session() as store:
        row = lock_execution(store, execution)
        assert row is not None
        undo = queue_undo(store, row, Actor.user("tester"), "test", world.settings)
    if undo is not None:
        world.set_phase(undo.id, Phase.RUNNING)
    return undo


def steps(undo: ExecutionRow) -> list[str]:
    return sorted(undo.bindings["steps"])


def stripped(document: dict[str, Any]) -> dict[str, Any]:
    """Without what every write moves and what the controllers write."""
    plain = copy.deepcopy(document)
    plain.pop("status", None)
    for name in ("resourceVersion", "generation", "managedFields"):
        plain["metadata"].pop(name, None)
    annotations = plain["metadata"].get("annotations", {})
    for name in ("kubernaut.ai/execution", "deployment.kubernetes.io/revision"):
        annotations.pop(name, None)
    return plain


@pytest.mark.requirement("BR-WF-015")
@pytest.mark.parametrize("step", [SCALE, ROLLBACK], ids=lambda step: step[0])
def test_do_and_undo_leaves_the_object_as_it_was(world: World, step: tuple[str, dict[str, Any]]) -> None:
    """After the undo every field of the Deployment is as before; both requests are in the journal, linked."""
    before = stripped(world.worker())
    execution = world.execution(step)
    world.act(execution)
    assert stripped(world.worker()) != before

    undo = undo_of(world, execution)
    assert undo is not None
    assert world.act(undo.id).state == "success"

    assert stripped(world.worker()) == before
    (done,), (taken_back,) = world.journal(execution), world.journal(undo.id)
    assert done.undone_by == taken_back.id
    assert taken_back.undo_of == done.id
    assert world.step(execution).state == "undone"


def test_undo_refuses_after_a_foreign_change_and_names_who_made_it(world: World) -> None:
    execution = world.execution(SCALE)
    world.act(execution)
    world.change({"op": "replace", "path": "/spec/replicas", "value": 9}, manager="kubectl-scale")
    undo = undo_of(world, execution)
    assert undo is not None

    result = world.act(undo.id)

    assert result.state == "failed"
    assert "kubectl-scale" in result.text
    assert world.worker()["spec"]["replicas"] == 9
    assert world.step(execution).state != "undone"


def test_a_foreign_change_to_other_fields_survives_the_undo(world: World) -> None:
    execution = world.execution(SCALE)
    world.act(execution)
    world.change({"op": "add", "path": "/metadata/labels/team", "value": "shop"})
    undo = undo_of(world, execution)
    assert undo is not None

    assert world.act(undo.id).state == "success"
    assert world.worker()["spec"]["replicas"] == 2
    assert world.worker()["metadata"]["labels"]["team"] == "shop"


@pytest.mark.requirement("BR-DEP-014")
def test_the_undo_runs_against_the_order_of_the_steps(world: World) -> None:
    """Of two dependent changes the later one is taken back first: its undo has no edge, the earlier one's waits for it."""
    execution = world.execution(SCALE, ROLLBACK, edges={"s02": [("s01", "success")]})
    world.act(execution, "s01")
    world.act(execution, "s02")

    undo = undo_of(world, execution)
    assert undo is not None
    with session() as store:
        from kubernaut.store.tables import WorkflowRow

        document = store.scalars(select(WorkflowRow.document).where(WorkflowRow.digest == undo.workflow_digest)).one()
    workflow = Workflow.model_validate(document)
    undoes = {key: undo.bindings["steps"][key]["params"]["step"] for key in steps(undo)}
    first = next(step.key for step in workflow.steps if not step.edges)
    last = next(step for step in workflow.steps if step.edges)
    assert undoes[first] == "s02"
    assert undoes[last.key] == "s01"
    assert [(edge.upstream, edge.outcome.value) for edge in last.edges] == [(first, "end")]


def test_undo_twice_changes_once(world: World) -> None:
    execution = world.execution(SCALE)
    world.act(execution)
    undo = undo_of(world, execution)
    assert undo is not None
    world.act(undo.id)
    sent = len(world.sent())

    assert world.act(undo.id).state == "success"
    assert len(world.sent()) == sent


def test_what_was_never_sent_is_withdrawn_and_not_sent_by_the_undo(world: World) -> None:
    from tests.integration.execution.test_changing_once import reopen

    execution = world.execution(SCALE)
    world.act(execution)
    world.change({"op": "replace", "path": "/spec/replicas", "value": 2})
    reopen(execution, status=JournalStatus.PREPARED)
    sent = len(world.sent())
    undo = undo_of(world, execution)
    assert undo is not None

    assert world.act(undo.id).state == "success"
    assert len(world.sent()) == sent
    assert [row.status for row in world.journal(execution)] == [JournalStatus.REFUSED]


def test_after_an_undo_the_step_refuses_to_act(world: World) -> None:
    execution = world.execution(SCALE)
    world.act(execution)
    undo = undo_of(world, execution)
    assert undo is not None
    world.act(undo.id)
    world.set_phase(execution, Phase.RUNNING, round_=2)

    result = world.act(execution, try_number=2)

    assert result.state == "failed"
    assert "undone" in result.text
    assert world.worker()["spec"]["replicas"] == 2


def test_what_cannot_be_undone_is_left_out_and_said(world: World) -> None:
    execution = world.execution(RESTART)
    world.act(execution)

    assert undo_of(world, execution) is None
    with session() as store:
        event = store.scalars(
            select(AuditEventRow).where(AuditEventRow.subject_id == execution, AuditEventRow.operation == "undo")
        ).one()
    assert event.details["cannot_be_undone"] == {"kubernetes.rollout_restart s01": "a restart stays a restart"}


def test_a_cleared_step_whose_change_stands_changes_nothing(world: World) -> None:
    """ "The previous revision" means another one after the rollback: clearing the step must not roll back the rollback."""
    execution = world.execution(ROLLBACK)
    world.act(execution)
    template = world.worker()["spec"]["template"]
    world.set_phase(execution, Phase.RUNNING, round_=2)

    assert world.act(execution, try_number=2).state == "success"
    assert world.worker()["spec"]["template"] == template
    assert len(world.sent()) == 1
