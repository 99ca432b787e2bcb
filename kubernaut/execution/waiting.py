"""What a step waits for before it may act: its execution in phase `running`, and no halt.

Waiting holds no connection: a NOTIFY wakes it, and where none arrives it looks again at the poll interval.
"""

from __future__ import annotations

from collections.abc import Callable

from kubernaut import journal
from kubernaut.execution import adoption, progress
from kubernaut.execution.environment import Environment, RunRef
from kubernaut.execution.phases import Phase, terminal
from kubernaut.store import wake
from kubernaut.store.engine import async_session
from kubernaut.workflow.gate import NotReachedReason

_FIRST_LOOKS = 0.1
"""Seconds between the first looks: a phase that is about to change changes within moments."""


class Ended(Exception):
    """The execution is over (or was refused) before this step acted."""

    def __init__(self, text: str, reason: NotReachedReason, *, refused: bool = False) -> None:
        super().__init__(text)
        self.reason = reason
        self.refused = refused


async def until_running(env: Environment, run: RunRef, log: Callable[[str], None]) -> progress.Situation:
    """The situation once the execution runs in this run's round. Raises `Ended`.

    A run that Airflow started itself is adopted first; an execution that ended and was cleared returns to `running` when
    the reconciler has seen the clear.
    """
    looks = 0
    async with wake.waker().subscribe(wake.execution(run.run_id)) as event:
        while True:
            situation = await progress.situation(run)
            if situation is None:
                refused = await adoption.request(run)
                if refused is not None:
                    raise Ended(refused, NotReachedReason.EDGE, refused=True)
            elif situation.phase is Phase.RUNNING and run.clear_number + 1 <= situation.round:
                return situation
            elif terminal(situation.phase) and run.clear_number + 1 <= situation.round:
                reason = NotReachedReason.CANCELLED if situation.phase is Phase.CANCELLED else NotReachedReason.TIMEOUT
                raise Ended(f"the execution is {situation.phase.value} already", reason)
            if looks == 0:
                log("waiting for the execution to be running")
                async with async_session() as session:
                    wake.notify(session, wake.RECONCILER)
            looks += 1
            await event.wait(_FIRST_LOOKS if looks < 10 else env.settings.poll_interval)


async def until_unhalted(env: Environment, place: journal.StepPlace, log: Callable[[str], None]) -> None:
    """Returns when nothing is halted any more, or the execution ended: the next claim tells which."""
    log("halted: waiting for resume, cancel or the plan's timeout")
    async with wake.waker().subscribe(wake.HALT, wake.execution(place.execution_id)) as event:
        while True:
            async with async_session() as session:
                if await journal.refusal(session, place) is not journal.Refusal.HALTED:
                    return
            await event.wait(env.settings.poll_interval)
