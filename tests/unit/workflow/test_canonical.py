"""One shape, one order: whatever the steps are called and however they are listed, and never for two shapes."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
import rustworkx
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kubernaut.plan.links import Link
from kubernaut.plan.model import EdgeOutcome, FailurePolicy
from kubernaut.workflow.compile import Node, build_workflow
from kubernaut.workflow.model import Workflow

SUCCESS, FAILURE = EdgeOutcome.SUCCESS, EdgeOutcome.FAILURE
Triple = tuple[int, int, EdgeOutcome]


def workflow(actions: Sequence[str], edges: Sequence[Triple], rng: random.Random | None = None) -> Workflow:
    """The workflow of a numbered graph; with `rng`, listed in another order and under other names."""
    numbers = list(range(len(actions)))
    edges = list(edges)
    names = {number: f"step-{number}" for number in numbers}
    if rng is not None:
        called = list(numbers)
        for listed in (numbers, edges, called):
            rng.shuffle(listed)
        names = {number: f"n{other}" for number, other in enumerate(called)}
    built, _ = build_workflow(
        {names[number]: Node(action=actions[number]) for number in numbers},
        [Link(names[a], names[b], outcome) for a, b, outcome in edges],
        failure_policy=FailurePolicy.TERMINATE,
        kind="plan",
        placement="triggerer",
        factory_version=1,
    )
    return built


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[str], list[Triple]]:
    size = draw(st.integers(1, 9))
    actions = draw(st.lists(st.sampled_from(["noop", "kubernetes.scale"]), min_size=size, max_size=size))
    pairs = list(itertools.combinations(range(size), 2))
    kinds = draw(st.lists(st.sampled_from([None, None, *EdgeOutcome]), min_size=len(pairs), max_size=len(pairs)))
    return actions, [(a, b, kind) for (a, b), kind in zip(pairs, kinds, strict=True) if kind is not None]


CROWN = [(a, 4 + b, SUCCESS) for a in range(4) for b in range(4) if a != b]
RINGS = [(r * 6 + a, r * 6 + 3 + b % 3, SUCCESS) for r in range(2) for a in range(3) for b in (a, a + 1)]
ONE_RING = [(a, 6 + b % 6, SUCCESS) for a in range(6) for b in (a, a + 1)]


@settings(max_examples=300, deadline=None)
@given(graphs(), st.randoms(use_true_random=False))
@example((["noop"] * 8, CROWN), random.Random(1))
@example((["noop"] * 12, RINGS), random.Random(2))
@example((["noop"] * 12, ONE_RING), random.Random(3))
def test_the_order_of_the_list_and_the_names_do_not_matter(
    graph: tuple[list[str], list[Triple]], rng: random.Random
) -> None:
    """A graph and the same graph shuffled and renamed are one workflow."""
    actions, edges = graph
    assert workflow(actions, edges).digest == workflow(actions, edges, rng).digest


def test_keys_follow_the_dependencies() -> None:
    built = workflow(["noop"] * 4, [(3, 0, SUCCESS), (0, 2, SUCCESS), (2, 1, FAILURE)])
    assert all(edge.upstream < step.key for step in built.steps for edge in step.edges)


def test_refinement_alone_does_not_decide_what_is_equal() -> None:
    """Two rings of six and one of twelve look alike from every step; they are not the same shape."""
    assert workflow(["noop"] * 12, RINGS).digest != workflow(["noop"] * 12, ONE_RING).digest


@pytest.mark.parametrize(
    ("actions", "edges"),
    [
        (["noop", "kubernetes.scale"], [(0, 1, SUCCESS)]),
        (["kubernetes.scale", "noop"], [(0, 1, FAILURE)]),
        (["kubernetes.scale", "noop"], []),
        (["kubernetes.scale", "noop", "noop"], [(0, 1, SUCCESS)]),
    ],
    ids=["other order", "other kind of edge", "no edge", "one step more"],
)
def test_another_shape_is_another_workflow(actions: list[str], edges: list[Triple]) -> None:
    assert workflow(actions, edges).digest != workflow(["kubernetes.scale", "noop"], [(0, 1, SUCCESS)]).digest


def test_digests_are_equal_exactly_where_small_graphs_are() -> None:
    """All graphs of four steps with two kinds of edges: equal digest exactly where there is an isomorphism."""
    pairs = list(itertools.combinations(range(4), 2))
    by_digest: dict[str, list[Triple]] = {}
    for kinds in itertools.product([None, SUCCESS, FAILURE], repeat=len(pairs)):
        edges = [(a, b, kind) for (a, b), kind in zip(pairs, kinds, strict=True) if kind is not None]
        digest = workflow(["noop"] * 4, edges).digest
        if digest in by_digest:
            assert _isomorphic(edges, by_digest[digest])
        else:
            by_digest[digest] = edges
    representatives = list(by_digest.values())
    for first, second in itertools.combinations(representatives, 2):
        if sorted(e[2] for e in first) == sorted(e[2] for e in second):
            assert not _isomorphic(first, second)


def _isomorphic(first: list[Triple], second: list[Triple]) -> bool:
    return rustworkx.is_isomorphic(_graph(first), _graph(second), edge_matcher=lambda a, b: a == b)


def _graph(edges: list[Triple]) -> rustworkx.PyDiGraph[None, EdgeOutcome]:
    graph: rustworkx.PyDiGraph[None, EdgeOutcome] = rustworkx.PyDiGraph()
    graph.add_nodes_from([None] * 4)
    graph.add_edges_from(edges)
    return graph


LARGE = {
    "layers of ten, complete": [
        (i * 10 + a, i * 10 + 10 + b, SUCCESS) for i in range(9) for a in range(10) for b in range(10)
    ],
    "ten chains of ten": [(i * 10 + a, i * 10 + a + 1, SUCCESS) for i in range(10) for a in range(9)],
    "a hundred alone": [],
    "one chain": [(a, a + 1, SUCCESS) for a in range(99)],
    "ten chains, one end": [
        *((i * 9 + a, i * 9 + a + 1, SUCCESS) for i in range(11) for a in range(8)),
        *((i * 9 + 8, 99, SUCCESS) for i in range(11)),
    ],
}


@pytest.mark.parametrize("edges", LARGE.values(), ids=LARGE.keys())
def test_a_hundred_steps_that_look_alike_have_one_order(edges: list[Triple]) -> None:
    """A hundred equal steps in the usual large shapes, shuffled: one workflow each."""
    actions = ["noop"] * 100
    digests = {workflow(actions, edges, random.Random(seed)).digest for seed in range(4)}
    assert digests == {workflow(actions, edges).digest}
    assert len(workflow(actions, edges).steps) == 100


def test_a_shape_full_of_symmetries_costs_a_bounded_number_of_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound the order may depend on the list, but there is one, and it is a right one."""
    monkeypatch.setattr("kubernaut.workflow.canonical.MAX_CHOICES", 0)
    cube = [(a, a | 1 << bit, SUCCESS) for a in range(32) for bit in range(5) if not a >> bit & 1]
    built = workflow(["noop"] * 32, cube, random.Random(5))
    assert len(built.steps) == 32
    assert sum(len(step.edges) for step in built.steps) == len(cube)
