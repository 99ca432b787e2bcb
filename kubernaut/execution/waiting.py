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
from kubernaut.store.tables import RequestState
from kubernaut.workflow.gate import NotReachedReason

_FIRST_LOOKS = 0.1
"""Seconds between the first looks: a phase that is about to change changes within moments."""
_LOOKS_AT_AN_END = 12


class Ended(Exception):
    """The execution is over (or was refused) before this step acted."""

    def __init__(self, text: str, reason: NotReachedReason, *, refused: bool = False) -> None:
        super().__init__(text)
        self.reason = reason
        self.refused = refused


async def until_running(
    env: Environment, run: RunRef, log: Callable[[str], None], *, key: str | None = None
) -> progress.Situation:
    """The situation once the execution runs. Raises `Ended`.

    A run that Airflow started itself is adopted first. An execution that has ended stays ended, unless this task runs
    because a person cleared it: then it returns to `running` as soon as the reconciler has seen the clear.

    :param key: the step whose task this is; None for the verdict
    """
    looks, ended_looks = 0, 0
    async with wake.waker().subscribe(wake.execution(run.run_id)) as event:
        while True:
            situation = await progress.situation(run)
            if situation is None:
                answer = await adoption.ask(run)
                if answer.state is RequestState.REFUSED:
                    raise Ended(f"not adopted: {answer.message}", NotReachedReason.EDGE, refused=True)
            elif situation.phase is Phase.RUNNING:
                return situation
            elif terminal(situation.phase) and not await _was_cleared(situation, run, key):
                # What is not known to be a clear may still be one: the reconciler is asked, and gets the time to answer.
                ended_looks += 1
                if ended_looks > _LOOKS_AT_AN_END:
                    reason = (
                        NotReachedReason.CANCELLED if situation.phase is Phase.CANCELLED else NotReachedReason.TIMEOUT
                    )
                    raise Ended(f"the execution is {situation.phase.value} already", reason)
            if looks == 0:
                log("waiting for the execution to be running")
            if looks in (0, 5):
                async with async_session() as session:
                    wake.notify(session, wake.RECONCILER)
            looks += 1
            await event.wait(_FIRST_LOOKS if looks < 10 else env.settings.poll_interval)


async def _was_cleared(situation: progress.Situation, run: RunRef, key: str | None) -> bool:
    """Whether an ended execution is certain to be about to run again: its verdict was given, or the task is a later round.

    Never where it was cancelled: a clear does not make that run again, and whoever waited for it would wait for ever.
    """
    if situation.phase is Phase.CANCELLED:
        return False
    if situation.judged or run.try_number > situation.round:
        return True
    row = (await progress.rows(situation.execution_id)).get(key or "")
    return row is not None and run.try_number > row.round


async def until_unhalted(env: Environment, place: journal.StepPlace, log: Callable[[str], None]) -> None:
    """Returns when nothing is halted any more, or the execution ended: the next claim tells which."""
    log("halted: waiting for resume, cancel or the plan's timeout")
    async with wake.waker().subscribe(wake.HALT, wake.execution(place.execution_id)) as event:
        while True:
            async with async_session() as session:
                if await journal.refusal(session, place) is not journal.Refusal.HALTED:
                    return
            await event.wait(env.settings.poll_interval)
