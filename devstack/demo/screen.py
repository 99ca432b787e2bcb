"""The demo's output: headings, lines and columns, in colour and alive on a terminal, plain lines everywhere else.

Called by all other modules of the demo; knows nothing of what it shows. Text that is not ours (a cluster's, an AI's, an
alert's) goes through `foreign` first, so that nothing in it moves the cursor.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.text import Text

from kubernaut.plan.foreign_text import visible


class Screen:
    """One output stream.

    :param stream: stdout unless told
    """

    def __init__(self, stream: IO[str] | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout
        self.terminal = self._stream.isatty()
        self._console = Console(
            file=self._stream, force_terminal=self.terminal, highlight=False, markup=False, emoji=False
        )

    def heading(self, text: str) -> None:
        self.line()
        self._print(text, indent=0, style="bold cyan")

    def line(self, text: str = "", *, indent: int = 3, style: str = "", whole: bool = False) -> None:
        """:param whole: never broken, for addresses and commands that a person copies"""
        self._print(text, indent=indent, style=style, whole=whole)

    def lines(self, texts: Iterable[str], *, indent: int = 3, style: str = "") -> None:
        for text in texts:
            self._print(text, indent=indent, style=style)

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Something that takes a while: a spinner on a terminal, one line elsewhere."""
        if not self.terminal:
            self.line(f"{text} …")
            yield
            return
        with self._console.status(Text(text)):
            yield

    @contextmanager
    def live(self, renderable: RenderableType) -> Iterator[Live]:
        """A part of the terminal that is drawn again and again. Only where `terminal` is true."""
        with Live(renderable, console=self._console, auto_refresh=False) as live:
            yield live

    def _print(self, text: str, *, indent: int, style: str, whole: bool = False) -> None:
        if not text:
            print(file=self._stream, flush=True)
        elif self.terminal and whole:
            self._console.print(Text(" " * indent + text, style=style), soft_wrap=True)
        elif self.terminal:
            self._console.print(Padding(Text(text, style=style), (0, 0, 0, indent), expand=False))
        else:
            print(" " * indent + text, file=self._stream, flush=True)


def foreign(text: object, limit: int = 400) -> str:
    """Text of others in one line, with nothing hidden in it."""
    return visible(str(text), limit)


def columns(rows: Sequence[Sequence[str]], *, gap: int = 2) -> list[str]:
    """Lines whose cells stand below each other; the last column is as long as it likes."""
    if not rows:
        return []
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]) - 1)]
    space = " " * gap
    return [
        space.join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    ]
