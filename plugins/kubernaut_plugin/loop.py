"""A loop of ours in the API server: a thread that works when it is called and, at an interval, without being called.

The event loop of the API server is never used. An error in one round is logged and does not end the loop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from kubernaut.store.wake import SyncListener

log = logging.getLogger(__name__)


class Loop:
    """Runs `work` in a thread.

    :param topics: wake-up calls that it listens for
    :param interval: longest time in seconds between two rounds
    :param work: one round; True where it is worth looking again at once
    """

    def __init__(self, name: str, *topics: str, interval: float, work: Callable[[], bool]) -> None:
        self.name = name
        self._topics = topics
        self._interval = interval
        self._work = work
        self._listener: SyncListener | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"kubernaut-{name}", daemon=True)
        self.last_round: float | None = None
        """`time.monotonic()` of the end of the last round that went well."""
        self.last_error: str | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._listener is not None:
            self._listener.close()
        self._thread.join(timeout=10)

    @property
    def lag(self) -> float | None:
        """Seconds since the last round that went well; None before the first."""
        return None if self.last_round is None else time.monotonic() - self.last_round

    def _run(self) -> None:
        from kubernaut_operators.process import configure

        configure()
        self._listener = SyncListener(*self._topics)
        while not self._stopping.is_set():
            again = False
            try:
                again = self._work()
                self.last_round, self.last_error = time.monotonic(), None
            except Exception as error:
                self.last_error = f"{type(error).__name__}: {error}"
                log.exception("a round of the %s failed; it goes on", self.name)
                self._stopping.wait(1.0)
            if not again and not self._stopping.is_set():
                self._listener.wait(self._interval)
        self._listener.close()
