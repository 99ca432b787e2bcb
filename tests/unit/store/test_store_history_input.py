"""What a list of executions refuses; the list itself is tested on PostgreSQL."""

import base64

import pytest

from kubernaut.errors import InvalidInput
from kubernaut.store.history import MAX_PAGE, Filters, page_statement


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "no cursor",
        "'; DROP TABLE execution --",
        encoded("[]"),
        encoded("null"),
        encoded("[" * 10_000),
        encoded('["2026-01-01T00:00:00", "ex-1"]'),
        encoded('["yesterday", "ex-1"]'),
        encoded('["2026-01-01T00:00:00+00:00", 7]'),
        encoded('["2026-01-01T00:00:00+00:00", "\\u0000"]'),
    ],
)
def test_a_cursor_that_is_not_ours_is_a_fault(cursor: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        page_statement(Filters(), cursor=cursor)
    assert [fault.pointer for fault in caught.value.faults] == ["/cursor"]


@pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
def test_a_page_size_has_bounds(limit: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        page_statement(Filters(), limit=limit)
    assert [fault.pointer for fault in caught.value.faults] == ["/limit"]
