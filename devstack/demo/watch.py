"""Follows an execution until it has ended: a table that changes on a terminal, a line for each change elsewhere.

Called by `run`. It only asks and shows; it never decides whether anything is well.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from devstack.demo.execution import OPEN_STATES, Execution, StepView
from devstack.demo.screen import Screen, foreign
from kubernaut.rest_client import Unreachable

POLL_SECONDS = 0.2
UNREACHABLE_SECONDS = 20.0
"""How long the API server may be silent before the demo gives up: it is on this machine."""
WORDS = {
    "pending": "pending",
    "waiting": "waiting",
    "running": "running",
    "verifying": "acted, proof awaited",
    "succeeded": "succeeded",
    "failed": "FAILED",
    "skipped": "skipped",
    "not_reached": "not reached",
    "unknown": "UNKNOWN",
    "undone": "undone",
}
_COLOURS = {
    "running": "yellow",
    "verifying": "yellow",
    "waiting": "yellow",
    "succeeded": "green",
    "failed": "red",
    "unknown": "red",
}
_WIDTH = max(map(len, WORDS.values()))


class View(Protocol):
    def show(self, execution: Execution, seconds: float) -> None: ...


def watch(
    fetch: Callable[[], Execution],
    view: View,
    *,
    alive: Callable[[], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Execution:
    """The execution as it ended.

    :param fetch: asks the API once
    :param alive: raises when a process of the stack has ended: then nobody goes on
    :raises Unreachable: when the API has said nothing for `UNREACHABLE_SECONDS`
    """
    begun = clock()
    answered = begun
    while True:
        try:
            found = fetch()
        except Unreachable:
            alive()
            if clock() - answered > UNREACHABLE_SECONDS:
                raise
        else:
            answered = clock()
            view.show(found, answered - begun)
            if found.ended:
                return found
        alive()
        sleep(POLL_SECONDS)


@contextmanager
def view_on(screen: Screen) -> Iterator[View]:
    """The table or the lines, whichever `screen` can show."""
    if not screen.terminal:
        yield Lines(screen)
        return
    table = LiveTable()
    with screen.live(table) as live:

        class _Drawn:
            def show(self, execution: Execution, seconds: float) -> None:
                table.execution, table.seconds = execution, seconds
                live.refresh()

        yield _Drawn()


class Lines:
    """One line for each change: seconds since the request, the step's state, its name, and why."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._told: dict[str, str] = {}

    def show(self, execution: Execution, seconds: float) -> None:
        self._tell("", execution_line(execution), seconds)
        for step in execution.steps:
            if step.state != "pending":
                self._tell(step.key, step_line(step, execution), seconds)

    def _tell(self, key: str, text: str, seconds: float) -> None:
        if self._told.get(key) != text:
            self._told[key] = text
            self._screen.line(f"+{seconds:5.1f} s  {text}")


class LiveTable:
    """A rich renderable: the steps as they stand. Its owner sets `execution` and `seconds`."""

    def __init__(self) -> None:
        self.execution: Execution | None = None
        self.seconds = 0.0
        self._spinner = Spinner("dots")

    def __rich__(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(width=3)
        grid.add_column(width=_WIDTH)
        grid.add_column(max_width=40, overflow="fold")
        grid.add_column(justify="right", min_width=7)
        grid.add_column(overflow="fold", ratio=1)
        execution = self.execution
        if execution is None:
            grid.add_row("", self._spinner, "waiting for the first news", "", "")
            return grid
        for step in execution.steps:
            colour = _COLOURS.get(step.state, "dim")
            state = Text(WORDS.get(step.state, step.state), style=colour)
            seconds = "" if step.seconds is None else f"{step.seconds:.1f} s"
            grid.add_row("", state, Text(foreign(step.title, 100)), seconds, Text(why(step, execution), style="dim"))
        summary = Text(execution_line(execution), style="bold")
        grid.add_row("", Text(execution.phase, style="bold"), summary, f"{self.seconds:.1f} s", "")
        return grid


def execution_line(execution: Execution) -> str:
    """`execution running`, and why it does not move where it says so."""
    if execution.ended:
        return f"execution {execution.phase}" + (f", {execution.outcome}" if execution.outcome else "")
    reason = execution.registration_error or execution.reason
    return f"execution {execution.phase}" + (f": {foreign(reason)}" if reason else "")


def step_line(step: StepView, execution: Execution) -> str:
    told = why(step, execution)
    return f"{WORDS.get(step.state, step.state).ljust(_WIDTH)}  {foreign(step.title, 100)}" + (
        f": {told}" if told else ""
    )


def why(step: StepView, execution: Execution) -> str:
    """What a person needs to know about this state, in one line; it may be empty."""
    if (execution.ended and step.state == "pending") or (step.state == "not_reached" and step.reason == "edge"):
        texts = [execution.waited_for(step), step.message, step.reason]
    elif step.state in OPEN_STATES:
        texts = [step.news, step.message]
    else:
        texts = [step.news if step.message in (None, "", "done") else None, step.message, step.reason]
    return foreign(next((text for text in texts if text), ""), 300)
