"""When a step is tried again: which error classes at all, and after how long.

The step runner asks after each failed try and writes the answer into the step's row, so that a process that takes over
continues where the last one was. Retries are the step's own; Airflow's are off. Pure: time and chance are arguments.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from kubernaut.errors import ErrorClass
from kubernaut.plan.model import Retry, RetryStrategy

RETRIED: Mapping[ErrorClass, bool] = {
    ErrorClass.TIMEOUT: True,
    ErrorClass.NETWORK: True,
    ErrorClass.THROTTLED: True,
    ErrorClass.CONFLICT: True,
    # what is wrong is the plan, the object or the permission: the next try would meet the same
    ErrorClass.PRECONDITION: False,
    ErrorClass.VALIDATION: False,
    ErrorClass.AUTHORIZATION: False,
    ErrorClass.NOT_FOUND: False,
    # a post-condition that stays false is never answered by acting again
    ErrorClass.POST_CONDITION: False,
    # nobody knows what happened, so nobody knows that a repeat is safe
    ErrorClass.UNKNOWN: False,
}

MAX_RETRY_AFTER = 300.0
"""Seconds. A server may ask for a longer wait than the step's cap, but not for a longer one than this."""


def next_delay(
    retry: Retry,
    attempt: int,
    error_class: ErrorClass,
    retry_after: float | None,
    rng: random.Random,
    *,
    max_retry_after: float = MAX_RETRY_AFTER,
) -> float | None:
    """Seconds until the next try; None where there is none.

    :param attempt: number of tries that were made, the one that just failed included (1 after the first)
    :param retry_after: seconds that the server asked to wait, if it did; never shortens the step's own delay
    """
    if not RETRIED[error_class] or attempt >= retry.max_attempts:
        return None
    delay = min(_base(retry, attempt), retry.cap)
    delay = min(delay * (1 + retry.jitter * rng.uniform(-1, 1)), retry.cap)
    if retry_after is not None and math.isfinite(retry_after):
        delay = max(delay, min(retry_after, max_retry_after))
    return max(delay, 0.0)


def _base(retry: Retry, attempt: int) -> float:
    match retry.strategy:
        case RetryStrategy.FIXED:
            return retry.delay
        case RetryStrategy.LINEAR:
            return retry.delay * attempt
        case RetryStrategy.EXPONENTIAL:
            return float(retry.delay * 2 ** (attempt - 1))
