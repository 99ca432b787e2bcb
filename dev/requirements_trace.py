"""Which requirement is proved by which test: what `make trace` runs after a whole run of the suite.

Reads `build/test-results.json` (written by `tests/conftest.py` at the end of a full run) and `tests/requirements.toml`;
writes `build/requirements.tsv` (id, tab, number of passing tests) for machines and `docs/requirements.md` for people.
It judges nothing that a test claims; but a marker that names a requirement that the table does not have, and a figure
that the benchmark does not compute, are errors.
"""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from dev.environment import ROOT

RESULTS = Path("build/test-results.json")
FIGURES = Path("build/bench.json")
TABLE = Path("tests/requirements.toml")
TSV = Path("build/requirements.tsv")
PAGE = Path("docs/requirements.md")

HEAD = """# Requirements and their proof

Made by `make trace` from the last whole run of the suite and `tests/requirements.toml`; do not edit. Each requirement
is in our own words; the tests under it passed, and each proves it or the part that its deviation leaves.

"""


class TraceFailed(Exception):
    """The trace cannot be made, or would be wrong; the text says what to correct."""


class Requirement(BaseModel):
    """One entry of the table, by requirement id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    """The requirement in a line of our own."""
    page: str
    """The page under `docs/` that describes it; with `#anchor` where that helps."""
    figures: tuple[str, ...] = ()
    """Keys of `build/bench.json` that compute the requirement's number."""
    deviation: str = ""
    """What is done differently, or not proved; empty where nothing is."""
    why: str = ""


class Result(BaseModel):
    """One test of the last run."""

    model_config = ConfigDict(frozen=True)

    nodeid: str
    outcome: str
    requirements: tuple[str, ...]
    summary: str
    file: str
    line: int

    @property
    def test(self) -> str:
        """The test without its parameters."""
        return self.nodeid.partition("[")[0]


@dataclass(frozen=True)
class Trace:
    """Every requirement with the tests that claim it, in the table's order."""

    requirements: Mapping[str, Requirement]
    results: Sequence[Result]

    def of(self, requirement: str, *, passed: bool) -> list[Result]:
        return [
            result
            for result in self.results
            if requirement in result.requirements and (result.outcome == "passed") is passed
        ]

    def unproved(self) -> list[str]:
        return [requirement for requirement in self.requirements if not self.of(requirement, passed=True)]


def read_table(text: str) -> dict[str, Requirement]:
    """The table by id. Raises `TraceFailed` naming the entry that is wrong."""
    table: dict[str, Requirement] = {}
    for identifier, entry in tomllib.loads(text).items():
        try:
            requirement = Requirement.model_validate(entry)
        except ValidationError as error:
            raise TraceFailed(f"{TABLE}: [{identifier}]: {error}") from error
        if bool(requirement.deviation) != bool(requirement.why):
            raise TraceFailed(f"{TABLE}: [{identifier}] needs deviation and why together, or neither")
        table[identifier] = requirement
    return table


def read_results(text: str) -> list[Result]:
    """Raises `TraceFailed` where the run was not of the whole suite."""
    document = json.loads(text)
    if not document["full"]:
        raise TraceFailed(f"{RESULTS} is not of a whole run; run make test")
    return [Result.model_validate(test) for test in document["tests"]]


def link(requirements: Mapping[str, Requirement], results: Sequence[Result]) -> Trace:
    """Raises `TraceFailed` listing every marker whose id the table does not have."""
    unknown = sorted(
        f"{result.file}:{result.line}: {identifier}"
        for result in results
        for identifier in result.requirements
        if identifier not in requirements
    )
    if unknown:
        raise TraceFailed(
            f"these markers name a requirement that {TABLE} does not have; correct the marker or the table:\n  "
            + "\n  ".join(dict.fromkeys(unknown))
        )
    return Trace(requirements, results)


def check_pages(requirements: Mapping[str, Requirement], docs: Path) -> None:
    """Raises `TraceFailed` for a page that does not exist."""
    for identifier, requirement in requirements.items():
        page = requirement.page.partition("#")[0]
        if not (docs / page).is_file():
            raise TraceFailed(f"{TABLE}: [{identifier}]: docs/{page} does not exist")


def check_figures(requirements: Mapping[str, Requirement], bench: Mapping[str, object]) -> None:
    """Raises `TraceFailed` for a figure that the benchmark did not compute."""
    for identifier, requirement in requirements.items():
        for figure in requirement.figures:
            if figure not in bench:
                raise TraceFailed(
                    f"{TABLE}: [{identifier}]: {FIGURES} has no key {figure!r}; it has: {', '.join(bench)}"
                )


def tsv(trace: Trace) -> str:
    return "".join(f"{identifier}\t{len(trace.of(identifier, passed=True))}\n" for identifier in trace.requirements)


def sentence(requirement: Requirement) -> list[str]:
    """What is not as the requirement says, in a line; nothing where all is."""
    return [f"**Deviation**: {requirement.deviation} *Why*: {requirement.why}", ""] if requirement.deviation else []


def tests(passing: Sequence[Result]) -> list[str]:
    """One line a test; a test that ran with several inputs says how many."""
    lines = []
    for name in dict.fromkeys(result.test for result in passing):
        runs = [result for result in passing if result.test == name]
        times = f" ({len(runs)} inputs)" if len(runs) > 1 else ""
        function = name.partition("::")[2].replace("::", ".")
        says = runs[0].summary or function.replace("_", " ")
        lines.append(f"- [`{function}`](../{runs[0].file}#L{runs[0].line}){times}: {says}")
    return lines


def page(trace: Trace) -> str:
    lines = []
    for identifier, requirement in trace.requirements.items():
        target = requirement.page
        lines += [
            f"## {identifier}",
            "",
            requirement.text,
            "",
            f"Described in [{target.partition('#')[0]}]({target}).",
            "",
        ]
        lines += sentence(requirement)
        lines += [f"Figure: `{figure}` of `make bench`.\n" for figure in requirement.figures]
        lines += tests(trace.of(identifier, passed=True)) or ["No passing test names it."]
        lines.append("")
    return HEAD + "\n".join(lines)


def make(root: Path) -> Trace:
    """Reads, checks and writes all of it below `root`. Raises `TraceFailed`."""
    if not (root / RESULTS).exists():
        raise TraceFailed(f"{RESULTS} does not exist; run make test first")
    requirements = read_table((root / TABLE).read_text())
    check_pages(requirements, root / "docs")
    if (root / FIGURES).exists():
        check_figures(requirements, json.loads((root / FIGURES).read_text()))
    trace = link(requirements, read_results((root / RESULTS).read_text()))
    (root / TSV).write_text(tsv(trace))
    (root / PAGE).write_text(page(trace))
    return trace


def main() -> int:
    try:
        trace = make(ROOT)
    except TraceFailed as error:
        print(f"[trace] {error}", file=sys.stderr)
        return 1
    unproved = trace.unproved()
    total = len(trace.requirements)
    print(f"[trace] {TSV} and {PAGE}: {total - len(unproved)} of {total} requirements have a passing test")
    if unproved:
        print(f"[trace] without one: {', '.join(unproved)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
