"""What a person reads in the terminal. Colours and layout only where there is a terminal, plain lines elsewhere.

Text of an AI or an alert is shown in one line with nothing hidden in it (`plan.foreign_text`), and never as markup.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kubernaut.plan.foreign_text import visible

if TYPE_CHECKING:
    from kubernaut.errors import Fault

_MOST = 300


def emit(lines: Iterable[str]) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def emit_json(document: object) -> None:
    """One document, for programs."""
    emit([json.dumps(document, indent=2, ensure_ascii=False)])


def complain(text: str) -> None:
    """To stderr: what went wrong."""
    sys.stderr.write(f"{text}\n")


def heading(text: str) -> str:
    """The first line of a report, bold in a terminal."""
    if not sys.stdout.isatty():
        return text
    from rich.console import Console
    from rich.text import Text

    console = Console()
    with console.capture() as captured:
        console.print(Text(text, style="bold"), end="")
    return captured.get()


def shown(value: object) -> str:
    """Foreign text in one line."""
    return visible(str(value), _MOST)


def printable(text: str) -> str:
    """Lines that another part of Kubernaut laid out: kept as they are, but for what a terminal would act on."""
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def fault_lines(faults: Sequence[Fault]) -> Iterator[str]:
    """Place, what is wrong, what to do; one block a fault."""
    for fault in faults:
        yield f"  {shown(fault.pointer) or '(the whole document)'}  [{fault.code}]"
        yield f"      {shown(fault.message)}"
        yield f"      {shown(fault.remedy)}"


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> Iterator[str]:
    """Columns of equal width; `columns` is field → title (`Any`: JSON scalars)."""
    cells = [list(columns.values())]
    cells += [[_cell(row.get(field)) for field in columns] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    for line in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()


def _cell(value: object) -> str:
    return "-" if value is None else visible(str(value), 60)
