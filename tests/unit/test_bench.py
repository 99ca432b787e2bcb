"""The benchmarks' own arithmetic: what a figure is, what is written and read again, how two runs compare, and the plans sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kubernaut.examination import Outcome
from kubernaut.plan.examine import examine
from kubernaut.policy import DEFAULT_POLICY
from kubernaut.settings import Settings
from kubernaut.workflow.model import Workflow
from tests.bench import plans
from tests.bench.__main__ import PARTIAL, WHOLE, options
from tests.bench.figures import (
    Definition,
    Figure,
    NotFigures,
    as_json,
    compare,
    differences,
    measured,
    medians,
    read,
    write,
)
from tests.bench.measures import DEFINITIONS, MEASURES, needed
from tests.bench.plans import Document
from tests.bench.table import comparison_table, figures_table, parts_lines

SETTINGS = Settings(clusters={plans.CLUSTER: "none"}, default_cluster=plans.CLUSTER)
FIRST = Definition(key="first_step_new_plan_s", unit="s", meaning="until the first step", target=1.0)


def figure(*samples: float, **fields: Any) -> Figure:
    return Figure(**{"key": "k", "unit": "s", "samples": samples, "note": "", **fields})


# --- a figure


@pytest.mark.parametrize(("samples", "median"), [((3.0,), 3.0), ((1.0, 9.0, 2.0), 2.0), ((1.0, 2.0, 3.0, 10.0), 2.5)])
def test_the_median_of_the_samples(samples: tuple[float, ...], median: float) -> None:
    assert figure(*samples).median == median


@pytest.mark.parametrize(
    ("target", "met"), [(None, None), (2.0, True), (1.999, False)], ids=["no target", "just met", "just missed"]
)
def test_the_median_is_held_against_the_target_and_not_the_worst_sample(target: float | None, met: bool | None) -> None:
    assert figure(1.0, 2.0, 30.0, target=target).met is met


@pytest.mark.parametrize("samples", [(), (float("nan"),), (float("inf"), 1.0), (-0.001,)])
def test_what_is_no_duration_is_no_sample(samples: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="sample"):
        figure(*samples)


def test_a_moment_that_only_some_samples_have_counts_where_it_is() -> None:
    rows = [{"answered": 1.0, "started": 4.0}, {"answered": 3.0}, {"answered": 2.0, "started": 6.0}]

    assert medians(rows) == {"answered": 2.0, "started": 5.0}


# --- the file


def test_each_key_has_its_median_and_all_samples_in_their_order() -> None:
    found = measured(FIRST, [2.0, 0.5, 0.75], {"cores": 2}, note="the first one is cold", parts={"answered": 0.1})

    assert as_json([found]) == {
        "first_step_new_plan_s": {
            "median": 0.75,
            "samples": [2.0, 0.5, 0.75],
            "unit": "s",
            "note": "until the first step; the first one is cold",
            "target": 1.0,
            "parts": {"answered": 0.1},
            "environment": {"cores": 2},
        }
    }


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    found = measured(FIRST, [2.0, 0.5], {"cores": 2, "airflow": "3.3.2"}, parts={"answered": 0.1})

    write(tmp_path / "new" / "bench.json", [found])

    assert read(tmp_path / "new" / "bench.json") == {found.key: found}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["bench.json"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "cannot be read"),
        ("[]", "not an object of figures"),
        ('{"a": 3}', "'a' is not a figure"),
        ('{"a": {"unit": "s"}}', "'a' is not a figure: KeyError: 'samples'"),
        ('{"a": {"unit": "s", "samples": []}}', "without a sample"),
        ('{"a": {"unit": "s", "samples": ["fast"]}}', "'a' is not a figure"),
    ],
)
def test_a_file_that_holds_no_figures_is_refused_with_the_place(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)

    with pytest.raises(NotFigures, match=r"old\.json") as refused:
        read(path)
    assert named in str(refused.value)


def test_a_file_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFigures, match=r"absent\.json cannot be read"):
        read(tmp_path / "absent.json")


# --- two runs


def test_the_ratio_of_two_runs_is_now_over_before() -> None:
    before = {each.key: each for each in (figure(4.0, key="a"), figure(1.0, key="gone"))}
    now = [figure(1.0, key="a"), figure(5.0, key="new")]

    compared = compare(before, now)

    assert [(each.key, each.before, each.now, each.ratio) for each in compared] == [("a", 4.0, 1.0, 0.25)]
    assert comparison_table(compared)[1].split() == ["a", "4.000", "s", "1.000", "s", "0.25"]


def test_nothing_divides_by_zero() -> None:
    (compared,) = compare({"k": figure(0.0)}, [figure(1.0)])

    assert compared.ratio is None
    assert comparison_table([compared])[1].endswith("–")


def test_two_units_are_not_compared() -> None:
    with pytest.raises(NotFigures, match="measured in ms, now in s"):
        compare({"k": figure(1.0, unit="ms")}, [figure(1.0)])


def test_another_machine_is_named() -> None:
    before = {"k": figure(1.0, environment={"cores": 2, "airflow": "3.3.2"})}

    found = differences(before, [figure(1.0, environment={"cores": 8, "airflow": "3.3.2"})])

    assert found == {"cores": (2, 8)}


# --- the table


def test_the_table_says_which_target_is_met() -> None:
    lines = figures_table(
        [
            figure(0.4, 0.6, key="fast_s", target=1.0),
            figure(60.0, key="slow_ms", unit="ms", target=50.0),
            figure(3.0, key="free_s"),
        ]
    )

    assert lines[1].split() == ["fast_s", "0.500", "s", "0.400", "s", "0.600", "s", "2", "≤", "1.000", "s", "met"]
    assert lines[2].split() == ["slow_ms", "60.0", "ms", "60.0", "ms", "60.0", "ms", "1", "≤", "50.0", "ms", "MISSED"]
    assert lines[3].split() == ["free_s", "3.000", "s", "3.000", "s", "3.000", "s", "1"]


def test_the_moments_on_the_way_are_told_in_their_order() -> None:
    assert parts_lines([figure(1.0, parts={"ended": 9.0, "answered": 0.02}), figure(1.0)]) == [
        "k: answered 0.020 s, ended 9.000 s"
    ]


# --- what is asked for


def test_a_part_never_replaces_the_whole() -> None:
    """`make trace` needs every figure in `build/bench.json`."""
    assert options([]).json == WHOLE
    assert options(["--only", "chain_of_10_s"]).json == PARTIAL
    assert options(["--only", "chain_of_10_s", "--json", "x.json"]).json == Path("x.json")


@pytest.mark.parametrize("arguments", [["--only", "chain_of_11_s"], ["--samples", "0"], ["--samples", "many"]])
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err


def test_every_figure_has_exactly_one_measure() -> None:
    assert sorted(key for measure in MEASURES for key in measure.keys) == sorted(DEFINITIONS)
    assert [measure.keys for measure in needed(["chain_of_10_s", "examine_100_steps_ms"])] == [
        MEASURES[0].keys,
        ("chain_of_10_s",),
    ]


# --- the plans


def workflow(plan: Document) -> Workflow:
    found = examine(json.dumps(plan), settings=SETTINGS, policy=DEFAULT_POLICY)
    assert found.outcome is Outcome.RUNNABLE, found.faults
    assert not found.approval_required
    assert found.workflow is not None
    return found.workflow


def test_no_two_repairs_have_one_shape() -> None:
    shapes = {workflow(plans.repair(shape, replicas=3)).digest for shape in range(plans.MAX_SHAPES)}

    assert len(shapes) == plans.MAX_SHAPES >= 20


def test_other_values_are_the_same_shape() -> None:
    assert workflow(plans.repair(7, replicas=3)).digest == workflow(plans.repair(7, replicas=2)).digest


@pytest.mark.parametrize("make", [plans.grid, plans.full_grid])
def test_a_grid_is_as_wide_and_as_deep_as_it_says(make: Any) -> None:
    steps = workflow(make(10, 10)).steps

    assert len(steps) == 100
    assert sorted(len(step.edges) for step in steps) == [0] * 10 + [10] * 90


@pytest.mark.parametrize("verified", [False, True])
def test_a_chain_waits_step_by_step(verified: bool) -> None:
    steps = workflow(plans.chain(10, verified=verified)).steps

    assert [[edge.upstream for edge in step.edges] for step in steps] == [[], *([f"s{n:02d}"] for n in range(1, 10))]
    assert {step.verified for step in steps} == {verified}
