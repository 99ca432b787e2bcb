"""Airflow's trigger rules against the gate: the same steps act, and none of them early, in whatever order Airflow
works.

The model of Airflow's rules is in `worlds`; that the rules are modelled truly is for the integration tests, which run
the four worlds of a fallback in a real Airflow.
"""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import AirflowModel, Fate, ideal, workflow_of

from kubernaut.plan.links import Link, Reach, effective, levels, plain, reduce
from kubernaut.plan.model import EdgeOutcome
from kubernaut.workflow.gate import StepState, airflow_rule, airflow_upstreams, airflow_wiring
from kubernaut.workflow.model import Workflow

SUCCESS, STAGE, FAILURE, END = EdgeOutcome.SUCCESS, EdgeOutcome.STAGE, EdgeOutcome.FAILURE, EdgeOutcome.END


def assert_airflow_agrees(workflow: Workflow, links: tuple[Link, ...], fates: dict[str, Fate], seed: int) -> None:
    """One run in one order: the states that ought to come out, and no step overlaps one that it waits for."""
    names = tuple(fates)
    run = AirflowModel(workflow, fates, random.Random(seed))
    run.run()
    assert {name: run.rows.get(name, StepState.NOT_REACHED) for name in names} == ideal(workflow, fates)
    reach = Reach(names, effective(links))
    for place, key in enumerate(run.acted):
        late = run.running_when_acting[key].union(run.acted[place + 1 :])
        assert not [other for other in late if reach.before(other, key)], f"{key} overtook {late}"


RULES = [
    # edges of step "s", edges of the others, rule, upstream tasks
    ((), (), "all_success", ()),
    ((("a", SUCCESS),), (), "all_success", ("a",)),
    ((("a", SUCCESS), ("b", SUCCESS)), (), "all_success", ("a", "b")),
    ((("a", FAILURE),), (), "one_failed", ("a",)),
    ((("a", FAILURE), ("b", FAILURE)), (), "all_done", ("a", "b")),
    ((("a", STAGE),), (), "one_success", ("a",)),
    ((("a", STAGE),), (("a", "b", FAILURE),), "one_success", ("a", "b")),
    ((("a", STAGE),), (("a", "b", FAILURE), ("b", "c", FAILURE)), "one_success", ("a", "b", "c")),
    # parallel fallbacks: one may have succeeded while the other runs
    ((("a", STAGE),), (("a", "b", FAILURE), ("a", "c", FAILURE)), "all_done", ("a", "b", "c")),
    # a fallback that waits for something else too
    ((("a", STAGE),), (("a", "b", FAILURE), ("c", "b", SUCCESS)), "all_done", ("a", "b")),
    ((("a", STAGE), ("c", STAGE)), (), "all_done", ("a", "c")),
    ((("a", END),), (), "all_done", ("a",)),
    ((("a", SUCCESS), ("b", END)), (), "all_done", ("a", "b")),
    ((("a", SUCCESS), ("b", FAILURE)), (), "all_done", ("a", "b")),
]


@pytest.mark.parametrize(("own", "others", "rule", "upstreams"), RULES)
def test_the_rule_and_the_upstream_tasks_of_a_step(
    own: tuple[tuple[str, EdgeOutcome], ...],
    others: tuple[tuple[str, str, EdgeOutcome], ...],
    rule: str,
    upstreams: tuple[str, ...],
) -> None:
    links = (*(Link(upstream, "s", outcome) for upstream, outcome in own), *(Link(*link) for link in others))
    workflow = workflow_of(("a", "b", "c", "s"), links)
    assert airflow_rule(workflow, workflow.step("s")) == rule
    assert airflow_upstreams(workflow, workflow.step("s")) == upstreams


def test_a_step_that_another_awaits_in_any_state_does_not_end_before_its_own_upstreams() -> None:
    """`all_success` would end `b` as soon as `a1` failed, and `c` would act while `a2` still runs."""
    links = (Link("a1", "b", SUCCESS), Link("a2", "b", SUCCESS), Link("b", "c", END))
    wiring = airflow_wiring(workflow_of(("a1", "a2", "b", "c"), links))
    assert wiring["b"].rule == "all_done"


def test_a_stage_does_not_overtake_what_an_unused_fallback_waits_for() -> None:
    """`f` ends early where `v` does; the stage must still wait for `u1`, which stands before both."""
    links = (
        Link("u1", "v", SUCCESS),
        Link("u2", "v", SUCCESS),
        Link("x", "f", FAILURE),
        Link("v", "f", SUCCESS),
        Link("x", "w", STAGE),
    )
    names = ("u1", "u2", "v", "x", "f", "w")
    workflow = workflow_of(names, links)
    fates = dict.fromkeys(names, Fate.SUCCEEDS) | {"u2": Fate.FAILS}
    for seed in range(60):
        assert_airflow_agrees(workflow, links, fates, seed)


SHAPES = {
    "fallback": (Link("a", "b", FAILURE), Link("a", "c", STAGE)),
    "two fallbacks in turn": (
        Link("a", "b", FAILURE),
        Link("a", "c", FAILURE),
        Link("b", "c", FAILURE),
        Link("a", "d", STAGE),
    ),
    "two fallbacks at once": (Link("a", "b", FAILURE), Link("a", "c", FAILURE), Link("a", "d", STAGE)),
    "a fallback behind two primaries": (Link("a", "c", FAILURE), Link("b", "c", FAILURE), Link("c", "d", SUCCESS)),
    "diamond": (Link("a", "b", SUCCESS), Link("a", "c", SUCCESS), Link("b", "d", SUCCESS), Link("c", "d", SUCCESS)),
    "a conflict beside a success": (Link("a", "c", SUCCESS), Link("b", "c", END), Link("c", "d", FAILURE)),
    "joined, then awaited": (Link("a", "c", SUCCESS), Link("b", "c", SUCCESS), Link("c", "d", END)),
}


@pytest.mark.parametrize("links", SHAPES.values(), ids=SHAPES.keys())
def test_every_world_of_the_usual_shapes(links: tuple[Link, ...]) -> None:
    """All fates of all steps, each in several orders of Airflow's work."""
    names = tuple(sorted({name for link in links for name in (link.upstream, link.downstream)}))
    workflow = workflow_of(names, links)
    for seed, fates in enumerate(itertools.product(Fate, repeat=len(names))):
        for order in range(2):
            assert_airflow_agrees(workflow, links, dict(zip(names, fates, strict=True)), seed * 7 + order)


@st.composite
def shapes(draw: st.DrawFn) -> tuple[tuple[str, ...], tuple[Link, ...]]:
    """Up to seven steps with edges of all kinds, and no cycle, not even through a fallback."""
    names = tuple("abcdefg"[: draw(st.integers(2, 7))])
    links: list[Link] = []
    for upstream, downstream in itertools.combinations(names, 2):
        outcome = draw(st.sampled_from([None, None, *EdgeOutcome, SUCCESS, FAILURE]))
        if outcome is not None:
            candidate = (*links, Link(upstream, downstream, outcome))
            if sum(map(len, levels(names, effective(candidate)))) == len(names):
                links = list(candidate)
    return names, tuple(links)


def fates_of(names: tuple[str, ...]) -> st.SearchStrategy[dict[str, Fate]]:
    return st.fixed_dictionaries({name: st.sampled_from([Fate.SUCCEEDS, Fate.FAILS, *Fate]) for name in names})


@pytest.mark.requirement("BR-DEP-011")
@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_the_shape_airflow_runs_the_steps_that_the_gate_lets_through(data: st.DataObject) -> None:
    """Any edges, any fates, any order: each step acts exactly when its edges are true, after everything it waits for."""
    names, links = data.draw(shapes())
    fates = data.draw(fates_of(names))
    assert_airflow_agrees(workflow_of(names, links), links, fates, data.draw(st.integers(0, 1_000)))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_reduction_changes_no_outcome_and_no_order(data: st.DataObject) -> None:
    """Without the edges that say nothing new, every step ends as before and still waits for all it waited for."""
    names, links = data.draw(shapes())
    fates = data.draw(fates_of(names))
    reduced = workflow_of(names, reduce(plain(links)))
    assert ideal(reduced, fates) == ideal(workflow_of(names, links), fates)
    assert_airflow_agrees(reduced, links, fates, data.draw(st.integers(0, 1_000)))
