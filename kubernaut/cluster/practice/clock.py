"""Time in the practice cluster: durations of the kubelet, and a clock for simulations.

Why it exists: nothing here sleeps or asks the machine for the time. Whoever owns a `PracticeCluster` injects a clock,
and `Timing` says how long things take.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True)
class Timing:
    """Durations in seconds. `factor` shortens all of them, and the durations in specs (progressDeadlineSeconds,
    minReadySeconds, probe delays), so that an hour of crash loop fits into a demo; timestamps stay those of the
    clock.
    """

    start_seconds: float = 1.0
    stop_seconds: float = 1.0
    restart_seconds: float = 1.0
    pull_error_seconds: float = 1.0
    backoff_seconds: float = 10.0
    backoff_limit_seconds: float = 300.0
    backoff_reset_seconds: float = 600.0
    factor: float = 1.0

    def __post_init__(self) -> None:
        if self.factor <= 0:
            raise ValueError(f"the time factor must be greater than 0, not {self.factor}")

    def span(self, seconds: float) -> timedelta:
        return timedelta(seconds=seconds / self.factor)


class SimulatedClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.now = start

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def parse_time(text: str) -> datetime:
    """A `metav1.Time` as a moment."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
