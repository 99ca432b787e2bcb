"""The graph of a plan: its faults, its order, edges that say nothing new, steps that change one object."""

from __future__ import annotations

import itertools
import random

import pytest

from kubernaut.plan.graph import GraphFaultCode, analyse, links_of, object_conflicts, object_identity
from kubernaut.plan.links import Link, Reach, effective, fallbacks, plain, reduce
from kubernaut.plan.model import Dependency, EdgeOutcome, Step, Target

SUCCESS, STAGE, FAILURE, END = EdgeOutcome.SUCCESS, EdgeOutcome.STAGE, EdgeOutcome.FAILURE, EdgeOutcome.END


def step(name: str, *waits: str | tuple[str, EdgeOutcome]) -> Step:
    """`waits`: an id (its success), or an id and an outcome."""
    given = [(one, SUCCESS) if isinstance(one, str) else one for one in waits]
    return Step(id=name, action="noop", depends_on=tuple(Dependency(step=up, outcome=out) for up, out in given))


FAULTS = [
    # steps, code, index of the step, index of the dependency, words of the message or remedy
    ([step("a"), step("b"), step("a")], GraphFaultCode.DUPLICATE_ID, 2, None, "number 1 and number 3"),
    ([step("a", "scale")], GraphFaultCode.DANGLING_DEPENDENCY, 0, 0, "'scale', which is no step"),
    ([step("scale-up"), step("b", "scale-ip")], GraphFaultCode.DANGLING_DEPENDENCY, 1, 0, "did you mean 'scale-up'?"),
    ([step("a"), step("b", "a", "b")], GraphFaultCode.SELF_DEPENDENCY, 1, 1, "waits for itself"),
    ([step("a"), step("b", "a", ("a", FAILURE))], GraphFaultCode.CONTRADICTORY_DEPENDENCY, 1, 1, "success and failure"),
    ([step("a", "b"), step("b", "a")], GraphFaultCode.CYCLE, 0, None, "a → b → a"),
    ([step("a", "c"), step("b", "a"), step("c", "b")], GraphFaultCode.CYCLE, 0, None, "a → b → c → a"),
    ([step("x"), step("a", "b", "x"), step("b", "a")], GraphFaultCode.CYCLE, 1, None, "a → b → a"),
]


@pytest.mark.parametrize(
    ("steps", "code", "index", "dependency", "words"), FAULTS, ids=[f"{row[1]}-{i}" for i, row in enumerate(FAULTS)]
)
def test_each_fault_names_its_place_and_a_remedy(
    steps: list[Step], code: GraphFaultCode, index: int, dependency: int | None, words: str
) -> None:
    (fault,) = analyse(steps).faults
    assert (fault.code, fault.step, fault.dependency) == (code, index, dependency)
    assert words in f"{fault.message} {fault.remedy}"
    assert fault.remedy


@pytest.mark.requirement("BR-DEP-002")
@pytest.mark.parametrize("length", [2, 3, 10, 100])
def test_a_cycle_of_any_length_is_found_and_named(length: int) -> None:
    """A plan whose steps wait for each other is refused with the whole cycle in order."""
    steps = [step(f"s{n}", f"s{(n - 1) % length}") for n in range(length)]
    (fault,) = analyse(steps).faults
    assert " → ".join([*(f"s{n}" for n in range(length)), "s0"]) in fault.message


def test_the_shortest_cycle_is_the_one_that_is_named() -> None:
    steps = [step("a", "d", "b"), step("b", "a"), step("c", "b"), step("d", "c")]
    assert "a → b → a" in analyse(steps).faults[0].message


def test_a_stage_that_a_fallback_waits_for_is_a_cycle() -> None:
    """`next` waits for the stage of `p`, so for its fallback too, and the fallback waits for `next`."""
    steps = [step("p"), step("next", ("p", STAGE)), step("rescue", ("p", FAILURE), "next")]
    (fault,) = analyse(steps).faults
    assert fault.code is GraphFaultCode.CYCLE
    assert "'next' waits for the stage of 'p', and 'rescue' is a fallback in it" in fault.message


def test_a_fallback_that_waits_for_its_own_stage_is_a_cycle() -> None:
    steps = [step("p"), step("f", ("p", FAILURE)), step("g", ("f", FAILURE), ("p", STAGE))]
    (fault,) = analyse(steps).faults
    assert (fault.code, fault.step, fault.dependency) == (GraphFaultCode.CYCLE, 2, 1)
    assert "g → g" in fault.message


def test_two_knots_are_two_faults() -> None:
    steps = [step("a", "b"), step("b", "a"), step("c", "d"), step("d", "c"), step("e", "a")]
    assert [fault.step for fault in analyse(steps).faults] == [0, 2]


def test_all_faults_come_at_once() -> None:
    steps = [step("a", "a"), step("b", "nowhere"), step("a"), step("c", "d"), step("d", "c")]
    assert {fault.code for fault in analyse(steps).faults} == {
        GraphFaultCode.SELF_DEPENDENCY,
        GraphFaultCode.DANGLING_DEPENDENCY,
        GraphFaultCode.DUPLICATE_ID,
        GraphFaultCode.CYCLE,
    }


@pytest.mark.requirement("BR-DEP-001")
@pytest.mark.parametrize("seed", range(5))
def test_every_step_comes_after_all_that_it_waits_for(seed: int) -> None:
    """Whatever the order of the list: dependencies are resolved into an order, and nothing is lost."""
    rng = random.Random(seed)
    steps: list[Step] = []
    for n in range(40):
        waits = [(f"s{up}", rng.choice(list(EdgeOutcome))) for up in range(n) if rng.random() < 0.2]
        candidate = [*steps, step(f"s{n}", *waits)]
        steps = candidate if not analyse(candidate).faults else [*steps, step(f"s{n}")]
    listed = rng.sample(steps, len(steps))
    found = analyse(listed)
    assert found.faults == ()
    position = {name: place for place, name in enumerate(found.order)}
    assert sorted(position) == sorted(one.id for one in steps)
    assert all(position[link.upstream] < position[link.downstream] for link in effective(links_of(steps)))


@pytest.mark.requirement("BR-DEP-012")
def test_a_level_holds_all_steps_that_may_run_at_the_same_time() -> None:
    """A step is in the first level in which all that it waits for is behind it."""
    steps = [step("a"), step("b"), step("c", "a", "b"), step("d", "a"), step("e", "c")]
    assert analyse(steps).levels == (("a", "b"), ("c", "d"), ("e",))


def test_a_stage_comes_after_the_fallbacks_in_it() -> None:
    steps = [step("p"), step("next", ("p", STAGE)), step("rescue", ("p", FAILURE))]
    assert analyse(steps).levels == (("p",), ("rescue",), ("next",))


def test_fallbacks_are_found_through_fallbacks_nearest_first() -> None:
    links = (Link("b", "c", FAILURE), Link("a", "b", FAILURE), Link("a", "x", SUCCESS), Link("a", "d", FAILURE))
    assert fallbacks(links) == {"a": ("b", "d", "c"), "b": ("c",)}


@pytest.mark.parametrize("outcome", list(EdgeOutcome))
def test_an_edge_is_dropped_where_a_longer_way_of_its_kind_says_the_same(outcome: EdgeOutcome) -> None:
    short, first, second = Link("a", "c", outcome), Link("a", "b", outcome), Link("b", "c", outcome)
    assert reduce((short, first, second)) == (first, second)


@pytest.mark.parametrize(("short", "long"), list(itertools.permutations(EdgeOutcome, 2)))
def test_an_edge_is_kept_where_the_longer_way_is_of_another_kind(short: EdgeOutcome, long: EdgeOutcome) -> None:
    links = (Link("a", "c", short), Link("a", "b", long), Link("b", "c", long))
    assert reduce(links) == links


def test_an_edge_is_kept_where_the_longer_way_is_mixed() -> None:
    links = (Link("a", "c", SUCCESS), Link("a", "b", SUCCESS), Link("b", "c", END))
    assert reduce(links) == links


def test_a_stage_without_fallbacks_is_a_success() -> None:
    links = (Link("a", "b", STAGE), Link("c", "d", STAGE), Link("c", "e", FAILURE))
    assert plain(links) == (Link("a", "b", SUCCESS), Link("c", "d", STAGE), Link("c", "e", FAILURE))


# --- steps that change one object

CONFLICTS = [
    # links between steps, the object that each changes (None: none), the edges that are added
    ((), {"a": "x", "b": "x"}, [("a", "b")]),
    ((), {"a": "x", "b": "x", "c": "x"}, [("a", "b"), ("b", "c")]),
    ((), {"a": "x", "b": "y"}, []),
    ((), {"a": None, "b": None}, []),
    ((Link("a", "b", SUCCESS),), {"a": "x", "b": "x"}, []),
    ((Link("b", "a", SUCCESS),), {"a": "x", "b": "x"}, []),
    ((Link("a", "m", SUCCESS), Link("m", "b", END)), {"a": "x", "m": None, "b": "x"}, []),
    # a fallback and the next stage: the stage waits for the fallback
    ((Link("p", "f", FAILURE), Link("p", "b", STAGE)), {"p": None, "f": "x", "b": "x"}, []),
    # one after the success, one after the failure of the same step: never both
    ((Link("p", "f", FAILURE), Link("p", "b", SUCCESS)), {"p": None, "f": "x", "b": "x"}, []),
    (
        (Link("p", "f", FAILURE), Link("p", "m", SUCCESS), Link("m", "b", STAGE)),
        {"p": None, "f": "x", "m": None, "b": "x"},
        [],
    ),
    # an end edge needs no outcome, so both may act
    (
        (Link("p", "f", FAILURE), Link("p", "m", SUCCESS), Link("m", "b", END)),
        {"p": None, "f": "x", "m": None, "b": "x"},
        [("f", "b")],
    ),
    # two fallbacks that are tried at once
    ((Link("p", "f", FAILURE), Link("p", "g", FAILURE)), {"p": None, "f": "x", "g": "x"}, [("f", "g")]),
]


@pytest.mark.parametrize(("links", "objects", "expected"), CONFLICTS)
def test_steps_that_may_change_one_object_at_once_are_ordered_as_listed(
    links: tuple[Link, ...], objects: dict[str, str | None], expected: list[tuple[str, str]]
) -> None:
    added, warnings = object_conflicts(list(objects.items()), links)
    assert [(link.upstream, link.downstream) for link in added] == expected
    assert {link.outcome for link in added} <= {END}
    assert len(warnings) == len(expected)


def test_conflict_edges_never_close_a_cycle() -> None:
    rng = random.Random(3)
    for _ in range(200):
        names = [f"s{n}" for n in range(8)]
        hidden = rng.sample(names, 8)  # dependencies follow another order than the list
        links = tuple(
            Link(a, b, rng.choice(list(EdgeOutcome)))
            for a, b in itertools.combinations(hidden, 2)
            if rng.random() < 0.25
        )
        if analyse([step(n, *((u, o) for u, d, o in links if d == n)) for n in names]).faults:
            continue
        added, _ = object_conflicts([(name, rng.choice("xy")) for name in names], links)
        both = [*links, *added]
        assert not analyse([step(n, *{u: (u, o) for u, d, o in both if d == n}.values()) for n in names]).faults
        reach = Reach(names, effective(both))
        assert not any(reach.before(name, name) for name in names)


@pytest.mark.parametrize(
    ("target", "identity"),
    [
        (Target(cluster="c", kind="Deployment", namespace="n", name="a"), "c/deployment/n/a"),
        (Target(kind="Node", name="n1"), "/node//n1"),
        (Target(kind="Deployment", namespace="n"), None),
        (Target(), None),
    ],
)
def test_an_object_is_known_by_cluster_kind_namespace_and_name(target: Target, identity: str | None) -> None:
    assert object_identity(target) == identity
