"""Identifiers that we mint."""

import re

from kubernaut.ids import new_execution_id, new_tracking_id


def test_execution_ids_sort_by_their_time() -> None:
    moments = [0, 1, 31, 32, 1_000_000, 1_800_000_000_000, 1_800_000_000_001, 32_000_000_000_000]
    minted = [new_execution_id(at) for at in moments]
    assert minted == sorted(minted)


def test_an_execution_id_is_a_dns_label_of_at_most_40_characters() -> None:
    assert re.fullmatch(r"ex-[a-z0-9]{1,37}", new_execution_id())


def test_ids_of_one_moment_differ() -> None:
    assert len({new_execution_id(5) for _ in range(1_000)}) == 1_000


def test_a_tracking_id_is_told_from_an_execution_id() -> None:
    assert re.fullmatch(r"kn-[a-z0-9]{1,37}", new_tracking_id())
