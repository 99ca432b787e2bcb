"""Workflows on a real PostgreSQL: what the DAG files serve."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import text, update

from kubernaut.execution.phases import Phase
from kubernaut.store import engine
from kubernaut.store.executions import insert_execution, put_workflow
from kubernaut.store.tables import WorkflowRow
from kubernaut.store.workflows import get_workflow, mark_registered, workflows_for_prefix
from kubernaut.workflow.model import Workflow
from tests.integration.store.store_rows import move, new_row, shape

SHAPES = [shape("noop", *["notify"] * count) for count in range(40)]


@pytest.fixture(autouse=True)
def _empty(store: str) -> None:
    with engine.session() as session:
        session.execute(text("DELETE FROM kubernaut.execution"))
        session.execute(text("DELETE FROM kubernaut.workflow"))


def served(recent: int) -> list[str]:
    """What the sixteen files serve together."""
    with engine.session() as session:
        return [
            row.digest for prefix in "0123456789abcdef" for row in session.scalars(workflows_for_prefix(prefix, recent))
        ]


def write(workflow: Workflow, used: int = 0) -> str:
    """`used`: the larger, the later."""
    with engine.session() as session:
        put_workflow(session, workflow)
        moment = datetime.fromtimestamp(1_000_000 + used, tz=UTC)
        session.execute(update(WorkflowRow).where(WorkflowRow.digest == workflow.digest).values(last_used_at=moment))
    return workflow.digest


def run(workflow: Workflow, *phases: Phase) -> None:
    with engine.session() as session:
        row = insert_execution(session, new_row(workflow_digest=workflow.digest, dag_id=workflow.dag_id)).execution
    move(row.id, *phases)


def test_equal_shapes_are_one_row_that_was_used_again() -> None:
    write(SHAPES[0])
    with engine.session() as session:
        put_workflow(session, SHAPES[0])
    with engine.session() as session:
        row = session.scalars(get_workflow(SHAPES[0].dag_id)).one()
    assert Workflow.model_validate(row.document) == SHAPES[0]
    assert row.last_used_at > datetime.fromtimestamp(2_000_000, tz=UTC)


def test_each_workflow_is_served_by_the_file_of_its_first_digit() -> None:
    for each in SHAPES:
        write(each)
    assert sorted(served(100)) == sorted(each.digest for each in SHAPES)
    with engine.session() as session:
        for row in session.scalars(workflows_for_prefix("a", 100)):
            assert row.digest.startswith("a")


def test_the_most_recently_used_are_served() -> None:
    digests = [write(each, used=number) for number, each in enumerate(SHAPES[:5])]
    assert sorted(served(2)) == sorted(digests[3:])
    assert served(0) == []


@pytest.mark.parametrize("phases", [(), (Phase.RUNNING,), (Phase.RUNNING, Phase.PAUSED)])
def test_a_workflow_in_use_is_served_however_old(phases: tuple[Phase, ...]) -> None:
    old = write(SHAPES[0], used=0)
    run(SHAPES[0], *phases)
    write(SHAPES[1], used=9)
    assert old in served(1)


def test_a_workflow_whose_executions_ended_is_served_only_while_recent() -> None:
    old = write(SHAPES[0], used=0)
    run(SHAPES[0], Phase.RUNNING, Phase.COMPLETED)
    new = write(SHAPES[1], used=9)
    assert served(1) == [new]
    assert set(served(2)) == {old, new}


def test_the_first_registration_stays() -> None:
    digest = write(SHAPES[0])
    moments = []
    for _ in range(2):
        with engine.session() as session:
            session.execute(mark_registered(digest))
            moments.append(session.scalars(get_workflow(SHAPES[0].dag_id)).one().registered_at)
    assert moments[0] is not None
    assert moments[0] == moments[1]
