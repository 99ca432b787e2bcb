"""Writes down which test proved which requirement: what `make trace` reads.

A run of everything writes `build/test-results.json` at its end, whole or not at all; a run of a part (a path, `-k`,
`-m`, `-x` that stopped early, Ctrl-C) writes `build/test-results.partial.json`, so it never replaces what a full run
has found.
Nothing here starts anything: `make test-unit` loads this file too.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent

# Whatever imports Airflow in this process writes its files here, not into the home of whoever runs the tests.
os.environ["AIRFLOW_HOME"] = str(REPOSITORY / "build" / "tests" / "airflow-home")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
REQUIREMENT_ID = re.compile(r"BR(-[A-Z0-9]+)+-\d{3}")

# The worst phase of a test is its outcome: a test that passes and fails in its teardown has not passed.
SEVERITY = {"passed": 0, "skipped": 1, "xfailed": 2, "xpassed": 2, "failed": 3, "error": 4}


@dataclass
class TestResult:
    """One test of the session."""

    __test__ = False

    nodeid: str
    outcome: str
    requirements: list[str]
    summary: str
    file: str
    line: int


@dataclass
class Record:
    """What the session has found so far."""

    results: dict[str, TestResult] = field(default_factory=dict)

    def add(self, item: pytest.Item, outcome: str) -> None:
        known = self.results.get(item.nodeid)
        if known is None:
            path, line, _ = item.location
            documentation = (getattr(getattr(item, "function", None), "__doc__", None) or "").strip()
            self.results[item.nodeid] = TestResult(
                nodeid=item.nodeid,
                outcome=outcome,
                requirements=sorted(set(requirement_ids(item))),
                summary=documentation.split("\n", 1)[0],
                file=path,
                line=(line or 0) + 1,
            )
        elif SEVERITY[outcome] > SEVERITY[known.outcome]:
            known.outcome = outcome


RECORD = pytest.StashKey[Record]()


def requirement_ids(item: pytest.Item) -> Iterator[str]:
    for marker in item.iter_markers("requirement"):
        yield marker.args[0]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RECORD] = Record()


def pytest_itemcollected(item: pytest.Item) -> None:
    """A marker that names no requirement would prove nothing in silence."""
    for marker in item.iter_markers("requirement"):
        if len(marker.args) != 1 or marker.kwargs or not REQUIREMENT_ID.fullmatch(str(marker.args[0])):
            raise pytest.UsageError(
                f"{item.nodeid}: the marker requirement takes one id such as 'BR-WF-017', not {marker.args!r}"
            )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[None]:  # a wrapper's generator also returns the report
    report: pytest.TestReport = yield  # type: ignore[assignment]
    item.config.stash[RECORD].add(item, outcome_of(report))
    return report  # type: ignore[return-value]


def outcome_of(report: pytest.TestReport) -> str:
    if report.failed and report.when != "call":
        return "error"
    if hasattr(report, "wasxfail"):  # expected to fail: neither result of it proves anything
        return "xfailed" if report.skipped else "xpassed"
    return report.outcome


def is_full(session: pytest.Session, exit_status: int) -> bool:
    """Every test of the suite was asked for, and the session came to its end."""
    config = session.config
    ended = exit_status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    stopped = bool(session.shouldstop or session.shouldfail)
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS or config.args in (["tests"], ["tests/"])
    options = ("keyword", "markexpr", "deselect", "lf", "stepwise", "ignore", "ignore_glob", "collectonly")
    chosen = any(config.getoption(name, None) for name in options)
    return ended and whole and not stopped and not chosen


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    results = list(session.config.stash[RECORD].results.values())
    if not results:
        return
    full = is_full(session, exitstatus)
    target = REPOSITORY / "build" / ("test-results.json" if full else "test-results.partial.json")
    target.parent.mkdir(exist_ok=True)
    draft = target.with_suffix(f".{os.getpid()}.draft")
    draft.write_text(json.dumps({"full": full, "tests": [asdict(result) for result in results]}, indent=1) + "\n")
    draft.replace(target)
