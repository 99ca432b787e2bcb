"""Figures as plain text for a terminal or a log. Called by `tests.bench.__main__`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.bench.figures import Comparison, Figure


def figures_table(figures: Iterable[Figure]) -> list[str]:
    rows = [("figure", "median", "min", "max", "samples", "target", "")]
    for figure in figures:
        target = "" if figure.target is None else f"≤ {_value(figure.target, figure.unit)}"
        rows.append(
            (
                figure.key,
                _value(figure.median, figure.unit),
                _value(min(figure.samples), figure.unit),
                _value(max(figure.samples), figure.unit),
                str(len(figure.samples)),
                target,
                {True: "met", False: "MISSED", None: ""}[figure.met],
            )
        )
    return _aligned(rows)


def parts_lines(figures: Iterable[Figure]) -> list[str]:
    """Where the time goes, for the figures that know."""
    return [
        f"{figure.key}: "
        + ", ".join(
            f"{name} {_value(moment, figure.unit)}" for name, moment in sorted(figure.parts.items(), key=_moment)
        )
        for figure in figures
        if figure.parts
    ]


def comparison_table(comparisons: Iterable[Comparison]) -> list[str]:
    rows = [("figure", "before", "now", "now / before")]
    for each in comparisons:
        ratio = "–" if each.ratio is None else f"{each.ratio:.2f}"
        rows.append((each.key, _value(each.before, each.unit), _value(each.now, each.unit), ratio))
    return _aligned(rows)


def environment_lines(environment: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {value}" for name, value in environment.items()]


def _moment(part: tuple[str, float]) -> float:
    return part[1]


def _value(value: float, unit: str) -> str:
    return f"{value:.1f} {unit}" if unit == "ms" else f"{value:.3f} {unit}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
