"""When a step is tried again: the table of error classes, and how long it waits."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kubernaut.errors import ErrorClass
from kubernaut.execution.retry import MAX_RETRY_AFTER, RETRIED, next_delay
from kubernaut.plan.model import Retry, RetryStrategy

RNG = random.Random(1)


def delay(
    attempt: int = 1, error_class: ErrorClass = ErrorClass.NETWORK, retry_after: float | None = None, **retry: Any
) -> float | None:
    settings = Retry.model_validate({"max_attempts": 10, "delay": 2.0, "cap": 60.0, "jitter": 0} | retry)
    return next_delay(settings, attempt, error_class, retry_after, RNG)


def test_every_error_class_has_its_line_in_the_table() -> None:
    assert set(RETRIED) == set(ErrorClass)


@pytest.mark.parametrize(
    ("error_class", "again"),
    [
        ("timeout", True),
        ("network", True),
        ("throttled", True),
        ("conflict", True),
        ("precondition", False),
        ("validation", False),
        ("authorization", False),
        ("not_found", False),
        ("post_condition", False),
        ("unknown", False),
    ],
)
def test_only_what_may_pass_by_itself_is_tried_again(error_class: str, again: bool) -> None:
    assert (delay(error_class=ErrorClass(error_class)) is not None) is again


@pytest.mark.requirement("BR-REL-007")
@pytest.mark.parametrize(
    ("strategy", "delays"),
    [
        (RetryStrategy.FIXED, [2, 2, 2, 2, 2, 2]),
        (RetryStrategy.LINEAR, [2, 4, 6, 8, 10, 12]),
        (RetryStrategy.EXPONENTIAL, [2, 4, 8, 16, 32, 60]),
    ],
)
def test_the_delay_grows_as_the_strategy_says_up_to_its_cap(strategy: RetryStrategy, delays: list[int]) -> None:
    """Fixed, linear, exponential; none is longer than 60 s here."""
    assert [delay(attempt, strategy=strategy) for attempt in range(1, 7)] == delays


@pytest.mark.parametrize(("attempt", "again"), [(1, True), (2, True), (3, False), (4, False)])
def test_the_tries_are_counted_with_the_first_one(attempt: int, again: bool) -> None:
    assert (delay(attempt, max_attempts=3) is not None) is again


def test_jitter_varies_both_ways_and_stays_below_the_cap() -> None:
    found = [delay(3, strategy=RetryStrategy.FIXED, delay=10, cap=11, jitter=0.5) or 0 for _ in range(200)]

    assert min(found) >= 5
    assert max(found) == 11
    assert min(found) < 9


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(None, 2), (1, 2), (30, 30), (100, 100), (10_000, MAX_RETRY_AFTER), (float("inf"), 2), (float("nan"), 2)],
)
def test_a_server_may_ask_for_a_longer_wait_but_not_for_ever(asked: float | None, expected: float) -> None:
    """`Retry-After` outweighs delay and cap, and never shortens them."""
    assert delay(error_class=ErrorClass.THROTTLED, retry_after=asked, cap=3) == expected


def test_a_huge_number_of_tries_overflows_nothing() -> None:
    assert next_delay(Retry(max_attempts=20), 19, ErrorClass.NETWORK, None, RNG) is not None
