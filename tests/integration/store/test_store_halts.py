"""The emergency brake on a real PostgreSQL."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from kubernaut.store import engine, halts
from kubernaut.store.audit import Actor
from kubernaut.store.tables import HaltRow
from tests.integration.store.store_rows import ALICE


@pytest.fixture(autouse=True)
def _released(store: str) -> Iterator[None]:
    yield
    with engine.session() as session:
        for row in session.scalars(halts.open_halts()).all():
            halts.end_halt(session, cluster=row.cluster, reason=None, actor=ALICE)


def pull(cluster: str | None, reason: str = "drill") -> HaltRow:
    with engine.session() as session:
        return halts.set_halt(session, cluster=cluster, reason=reason, actor=ALICE)


def release(cluster: str | None) -> HaltRow | None:
    with engine.session() as session:
        return halts.end_halt(session, cluster=cluster, reason="over", actor=Actor.user("bob"))


def held(*clusters: str) -> set[str]:
    with engine.session() as session:
        return {cluster for cluster in clusters if session.scalar(select(halts.halted(cluster)))}


def test_a_halt_of_one_cluster_holds_that_cluster() -> None:
    pull("prod")
    assert held("prod", "stage") == {"prod"}


def test_a_halt_for_all_holds_every_cluster() -> None:
    pull(None)
    assert held("prod", "stage") == {"prod", "stage"}


def test_releasing_the_cluster_leaves_the_halt_for_all() -> None:
    pull("prod")
    pull(None)
    assert release("prod") is not None
    assert held("prod") == {"prod"}
    assert release(None) is not None
    assert held("prod") == set()


def test_the_first_of_two_halts_stays() -> None:
    first = pull("prod", "first")
    assert pull("prod", "second").id == first.id
    with engine.session() as session:
        assert [row.reason for row in session.scalars(halts.open_halts())] == ["first"]


def test_releasing_what_is_not_halted_says_so() -> None:
    assert release("prod") is None


def test_a_release_names_who_and_why() -> None:
    pull("prod")
    row = release("prod")
    assert row is not None
    assert (row.ended_by, row.end_reason) == ("bob", "over")
    assert row.ended_at is not None


def test_who_pulls_at_the_same_time_pulls_one_brake() -> None:
    begin = threading.Barrier(5)
    pulled: list[int] = []

    def person() -> None:
        begin.wait()
        pulled.append(pull("prod").id)

    threads = [threading.Thread(target=person) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pulled) == 5
    assert len(set(pulled)) == 1
