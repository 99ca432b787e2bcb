"""``python -m tests.bench`` (`make bench`): measures, shows a table, and writes `build/bench.json`.

Exit codes: 0 measured, whatever the figures are; 1 something could not be measured; 2 wrong usage; 130 Ctrl-C. A figure
beyond its target is shown as such and nothing more: machines differ.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from devstack import StartFailed
from devstack.airflow import REPOSITORY
from tests.bench.environment import environment
from tests.bench.figures import Figure, NotFigures, compare, differences, measured, read, write
from tests.bench.measures import DEFINITIONS, Found, Measure, compile_100_steps, needed
from tests.bench.table import comparison_table, environment_lines, figures_table, parts_lines
from tests.bench.world import BenchFailed, World, open_world

WHOLE, PARTIAL = REPOSITORY / "build" / "bench.json", REPOSITORY / "build" / "bench.partial.json"
SAMPLES = 20


@dataclass(frozen=True)
class Options:
    keys: tuple[str, ...]
    samples: int
    json: Path
    against: Path | None


def options(arguments: Sequence[str] | None = None) -> Options:
    """Exits with 2 where they cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Measures, shows a table and writes the figures.",
        epilog=f"Keys: {', '.join(DEFINITIONS)}.",
    )
    parser.add_argument(
        "--only", default="", metavar="KEY,…", help="these figures alone; written to bench.partial.json"
    )
    parser.add_argument(
        "--samples", type=int, default=SAMPLES, metavar="N", help=f"of each figure ({SAMPLES}; slow ones take 3)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help=f"where to write ({WHOLE.relative_to(REPOSITORY)})")
    parser.add_argument("--against", type=Path, metavar="FILE", help="figures of an earlier run, to compare with")
    chosen = parser.parse_args(arguments)
    keys = tuple(key for key in chosen.only.split(",") if key)
    unknown = [key for key in keys if key not in DEFINITIONS]
    if unknown:
        parser.error(f"no such figure: {', '.join(unknown)}; there are {', '.join(DEFINITIONS)}")
    if chosen.samples < 1:
        parser.error("--samples: at least 1")
    return Options(
        keys=keys or tuple(DEFINITIONS),
        samples=chosen.samples,
        json=chosen.json or (PARTIAL if keys else WHOLE),
        against=chosen.against,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = options(arguments)
    try:
        earlier = read(chosen.against) if chosen.against is not None else None
        figures, failures = run(chosen)
        write(chosen.json, figures)
        show(figures, chosen, earlier)
    except KeyboardInterrupt:
        print("bench: stopped by Ctrl-C; nothing is written", file=sys.stderr)
        return 130
    except (BenchFailed, NotFigures, StartFailed, TimeoutError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    for failure in failures:
        print(f"bench: {failure}", file=sys.stderr)
    return 1 if failures else 0


def run(chosen: Options) -> tuple[list[Figure], list[str]]:
    """Take what is asked for, and what went wrong meanwhile. Whatever needs Airflow shares one."""
    facts = environment()
    found: Found = {}
    with ExitStack() as running:
        world: World | None = None
        for measure in needed(chosen.keys):
            if measure.take is not None and world is None:
                world = running.enter_context(open_world(say))
            found |= take(measure, world, min(chosen.samples, measure.most))
    figures = [
        measured(DEFINITIONS[key], found[key].values, facts, note=found[key].note, parts=found[key].parts)
        for key in DEFINITIONS
        if key in chosen.keys
    ]
    return figures, world.failures if world is not None else []


def take(measure: Measure, world: World | None, samples: int) -> Found:
    if measure.take is None:
        return compile_100_steps(samples, say)
    assert world is not None
    return measure.take(world, samples, say)


def show(figures: Sequence[Figure], chosen: Options, earlier: dict[str, Figure] | None) -> None:
    lines = ["", *figures_table(figures), "", *parts_lines(figures), "", *environment_lines(figures[0].environment)]
    if earlier is not None:
        lines += ["", f"against {chosen.against}", *comparison_table(compare(earlier, figures))]
        lines += [
            f"different: {name}: {before} → {now}" for name, (before, now) in differences(earlier, figures).items()
        ]
    print("\n".join([*lines, "", f"written: {chosen.json}"]))


_BEGUN = time.monotonic()


def say(line: str) -> None:
    """Progress, beside the table."""
    print(f"[{time.monotonic() - _BEGUN:6.1f}] {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
