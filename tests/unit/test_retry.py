"""Retries of a step: which error classes are tried again, and after how long."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut.errors import ErrorClass
from kubernaut.execution.retry import MAX_RETRY_AFTER, RETRIED, next_delay
from kubernaut.plan.model import Retry, RetryStrategy

RNG = random.Random(7)


def delays(retry: Retry, tries: int) -> list[float | None]:
    return [next_delay(retry, attempt, ErrorClass.NETWORK, None, RNG) for attempt in range(1, tries + 1)]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (RetryStrategy.FIXED, [2, 2, 2, 2, None]),
        (RetryStrategy.LINEAR, [2, 4, 6, 8, None]),
        (RetryStrategy.EXPONENTIAL, [2, 4, 8, 10, None]),
    ],
)
def test_the_delay_grows_by_the_strategy_up_to_the_cap(strategy: RetryStrategy, expected: list[float | None]) -> None:
    retry = Retry(max_attempts=5, strategy=strategy, delay=2, cap=10, jitter=0)
    assert delays(retry, 5) == expected


@pytest.mark.parametrize(
    ("error_class", "again"),
    [
        (ErrorClass.TIMEOUT, True),
        (ErrorClass.NETWORK, True),
        (ErrorClass.THROTTLED, True),
        (ErrorClass.CONFLICT, True),
        (ErrorClass.PRECONDITION, False),
        (ErrorClass.VALIDATION, False),
        (ErrorClass.AUTHORIZATION, False),
        (ErrorClass.NOT_FOUND, False),
        (ErrorClass.POST_CONDITION, False),
        (ErrorClass.UNKNOWN, False),
    ],
)
def test_only_what_may_pass_is_tried_again(error_class: ErrorClass, again: bool) -> None:
    assert (next_delay(Retry(), 1, error_class, 1.0, RNG) is not None) is again


def test_every_error_class_is_in_the_table() -> None:
    assert set(RETRIED) == set(ErrorClass)


def test_one_try_means_no_second() -> None:
    assert next_delay(Retry(max_attempts=1), 1, ErrorClass.NETWORK, None, RNG) is None


@pytest.mark.parametrize(
    ("retry_after", "expected"),
    [
        (None, 2.0),
        (1.0, 2.0),
        (30.0, 30.0),
        (10_000.0, MAX_RETRY_AFTER),
        (-5.0, 2.0),
        (math.inf, 2.0),
        (math.nan, 2.0),
    ],
    ids=["none", "shorter", "longer than the cap", "absurd", "negative", "infinite", "no number"],
)
def test_a_servers_wish_to_wait_is_honoured_within_bounds(retry_after: float | None, expected: float) -> None:
    retry = Retry(strategy=RetryStrategy.FIXED, delay=2, cap=5, jitter=0)
    assert next_delay(retry, 1, ErrorClass.THROTTLED, retry_after, RNG) == expected


@given(
    st.builds(Retry, delay=st.floats(0.1, 1_000), cap=st.floats(0.1, 1_000), jitter=st.floats(0, 1)),
    st.integers(1, 2),
    st.integers(),
)
def test_chance_varies_the_delay_by_its_share_and_never_beyond_the_cap(retry: Retry, attempt: int, seed: int) -> None:
    delay = next_delay(retry, attempt, ErrorClass.TIMEOUT, None, random.Random(seed))
    assert delay is not None
    base = min(retry.delay * 2 ** (attempt - 1), retry.cap)
    assert base * (1 - retry.jitter) - 1e-9 <= delay <= min(base * (1 + retry.jitter), retry.cap) + 1e-9


def test_the_same_chance_gives_the_same_delay() -> None:
    first, second = (
        [next_delay(Retry(), 1, ErrorClass.TIMEOUT, None, rng) for _ in range(3)]
        for rng in (random.Random(1), random.Random(1))
    )
    assert first == second
    assert len(set(first)) == 3
