"""Searching and paging through executions on a real PostgreSQL."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.exc import InvalidRequestError

from kubernaut.execution.phases import ExecutionOutcome, Phase
from kubernaut.store import engine
from kubernaut.store.history import Filters, list_executions, page, page_statement
from kubernaut.store.tables import ExecutionKind
from tests.integration.store.store_rows import move

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def find(filters: Filters) -> set[str]:
    with engine.session() as session:
        return {row.id for row in list_executions(session, filters).executions}


def pages(filters: Filters, limit: int, between: Callable[[], Any] = lambda: None) -> list[list[str]]:
    """All pages; `between` happens after each of them."""
    found: list[list[str]] = []
    cursor: str | None = None
    while True:
        with engine.session() as session:
            one = list_executions(session, filters, cursor=cursor, limit=limit)
        found.append([row.id for row in one.executions])
        if one.next_cursor is None:
            return found
        cursor = one.next_cursor
        between()


@pytest.mark.requirement("BR-EXEC-019")
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, {"repair", "undo", "waiting"}),
        ({"phases": (Phase.COMPLETED,)}, {"repair"}),
        ({"phases": (Phase.COMPLETED, Phase.RUNNING)}, {"repair", "undo"}),
        ({"outcomes": (ExecutionOutcome.SUCCESS,)}, {"repair"}),
        ({"outcomes": (ExecutionOutcome.FAILURE,)}, set()),
        ({"kinds": (ExecutionKind.UNDO,)}, {"undo"}),
        ({"action": "kubernetes.scale"}, {"repair", "waiting"}),
        ({"action": "kubernetes.rollout_undo"}, {"repair"}),
        ({"action": "kubernetes"}, set()),
        ({"cluster": "prod"}, {"repair", "undo"}),
        ({"target_kind": "Deployment"}, {"repair"}),
        ({"namespace": "shop"}, {"repair", "waiting"}),
        ({"target_name": "checkout"}, {"repair"}),
        ({"since": NOON + timedelta(hours=1)}, {"undo", "waiting"}),
        ({"until": NOON + timedelta(hours=1)}, {"repair"}),
        ({"since": NOON, "until": NOON + timedelta(hours=2)}, {"repair", "undo"}),
        ({"fingerprint": "f1"}, {"repair"}),
        ({"namespace": "shop", "phases": (Phase.QUEUED,)}, {"waiting"}),
        ({"namespace": "shop", "phases": (Phase.RUNNING,)}, set()),
    ],
)
def test_a_filter_finds_what_fits_all_of_it(
    queue: Callable[..., str], request: pytest.FixtureRequest, filters: dict[str, Any], expected: set[str]
) -> None:
    story = f"kn-{request.node.name}"[:128]
    repair = queue(
        tracking_id=story,
        actions=["kubernetes.rollout_undo", "kubernetes.scale"],
        target_cluster="prod",
        target_kind="Deployment",
        target_namespace="shop",
        target_name="checkout",
        fingerprint="f1",
        created_at=NOON,
    )
    move(repair, Phase.RUNNING, Phase.COMPLETED)
    undo = queue(
        tracking_id=story,
        kind=ExecutionKind.UNDO,
        undoes=repair,
        actions=["kubernaut.undo"],
        target_cluster="prod",
        created_at=NOON + timedelta(hours=1),
    )
    move(undo, Phase.RUNNING)
    waiting = queue(
        tracking_id=story,
        actions=["kubernetes.scale"],
        target_cluster="stage",
        target_namespace="shop",
        created_at=NOON + timedelta(hours=2),
    )
    names = {repair: "repair", undo: "undo", waiting: "waiting"}
    assert {names[each] for each in find(Filters(tracking_id=story, **filters))} == expected
    assert find(Filters(tracking_id="kn-somebody-else")) == set()


@pytest.mark.requirement("BR-EXEC-016")
def test_what_ended_long_ago_is_still_found_with_its_state(queue: Callable[..., str]) -> None:
    old = queue(tracking_id="kn-old", created_at=NOON - timedelta(days=3650))
    move(old, Phase.RUNNING, Phase.FAILED)
    engine.dispose()
    with engine.session() as session:
        (row,) = list_executions(session, Filters(tracking_id="kn-old")).executions
    assert (row.id, row.phase, row.outcome) == (old, Phase.FAILED, ExecutionOutcome.FAILURE)


def test_pages_are_newest_first_and_hold_each_execution_once(queue: Callable[..., str]) -> None:
    # Three of one moment: the id decides between them.
    made = [queue(tracking_id="kn-pages", created_at=NOON + timedelta(seconds=second // 3)) for second in range(10)]
    found = pages(Filters(tracking_id="kn-pages"), 4)
    assert [len(one) for one in found] == [4, 4, 2]
    assert [each for one in found for each in one] == list(reversed(made))


def test_a_full_last_page_has_no_next_one(queue: Callable[..., str]) -> None:
    for _ in range(4):
        queue(tracking_id="kn-full")
    assert [len(one) for one in pages(Filters(tracking_id="kn-full"), 2)] == [2, 2]


def test_what_is_written_while_somebody_pages_neither_repeats_nor_hides_a_row(queue: Callable[..., str]) -> None:
    made = [queue(tracking_id="kn-stable", created_at=NOON + timedelta(seconds=second)) for second in range(9)]
    found = pages(
        Filters(tracking_id="kn-stable"), 3, between=lambda: [queue(tracking_id="kn-stable") for _ in range(5)]
    )
    assert [each for one in found for each in one] == list(reversed(made))


def test_the_list_does_not_carry_plans(queue: Callable[..., str]) -> None:
    queue(tracking_id="kn-light", plan={"id": "p"})
    with engine.session() as session:
        (row,) = list_executions(session, Filters(tracking_id="kn-light")).executions
        with pytest.raises(InvalidRequestError):
            _ = row.plan


async def test_an_async_session_pages_too(queue: Callable[..., str]) -> None:
    for _ in range(3):
        queue(tracking_id="kn-async")
    async with engine.async_session() as session:
        rows = list(await session.scalars(page_statement(Filters(tracking_id="kn-async"), limit=2)))
    await engine.dispose_async()
    one = page(rows, 2)
    assert len(one.executions) == 2
    assert one.next_cursor is not None
