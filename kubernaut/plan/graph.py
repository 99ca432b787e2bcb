"""The graph of a plan's steps: what is wrong with it, in which order it may run, which steps change the same object.

Called by `kubernaut.plan.validate` (faults) and `kubernaut.workflow.compile` (conflicts). Pure; it knows ids, edges and
objects, not actions or states. What the edges mean while a plan runs is `kubernaut.workflow.gate`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

import rustworkx

from kubernaut.plan.links import Exclusion, Link, Reach, effective, fallbacks, levels
from kubernaut.plan.model import EdgeOutcome, Step, Target


class GraphFaultCode(StrEnum):
    DUPLICATE_ID = "duplicate_id"
    DANGLING_DEPENDENCY = "dangling_dependency"
    SELF_DEPENDENCY = "self_dependency"
    CONTRADICTORY_DEPENDENCY = "contradictory_dependency"
    CYCLE = "cycle"


@dataclass(frozen=True, kw_only=True)
class GraphFault:
    """`step` is the index in the plan's list; `dependency` the one in its `depends_on`, if one is to blame."""

    step: int
    dependency: int | None
    code: GraphFaultCode
    message: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class GraphFindings:
    """`order` and `levels` (step ids) are complete only where there are no faults."""

    faults: tuple[GraphFault, ...]
    order: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]


def links_of(steps: Sequence[Step]) -> tuple[Link, ...]:
    """The dependencies of a plan's steps as links between step ids."""
    return tuple(Link(dependency.step, step.id, dependency.outcome) for step in steps for dependency in step.depends_on)


def analyse(steps: Sequence[Step]) -> GraphFindings:
    """All faults of the graph at once, and the order in which the steps may run."""
    faults = [*_duplicates(steps), *_bad_dependencies(steps)]
    ids = tuple(dict.fromkeys(step.id for step in steps))
    known = set(ids)
    links = effective(
        tuple(link for link in links_of(steps) if link.upstream in known and link.upstream != link.downstream)
    )
    faults += _own_stages(steps, links)
    faults += _cycles(steps, ids, [link for link in links if link.upstream != link.downstream])
    found = levels(ids, links)
    return GraphFindings(
        faults=tuple(sorted(faults, key=lambda fault: fault.step)),
        order=tuple(name for level in found for name in level),
        levels=found,
    )


def _duplicates(steps: Sequence[Step]) -> list[GraphFault]:
    first: dict[str, int] = {}
    faults = []
    for index, step in enumerate(steps):
        if step.id in first:
            faults.append(
                GraphFault(
                    step=index,
                    dependency=None,
                    code=GraphFaultCode.DUPLICATE_ID,
                    message=f"two steps are called {step.id!r}: number {first[step.id] + 1} and number {index + 1}",
                    remedy="give each step an id of its own",
                )
            )
        first.setdefault(step.id, index)
    return faults


def _bad_dependencies(steps: Sequence[Step]) -> list[GraphFault]:
    known = list(dict.fromkeys(step.id for step in steps))
    faults = []
    for index, step in enumerate(steps):
        seen: dict[str, EdgeOutcome] = {}
        for place, dependency in enumerate(step.depends_on):
            found = _bad_dependency(step, dependency.step, dependency.outcome, seen, known)
            if found is not None:
                code, message, remedy = found
                faults.append(GraphFault(step=index, dependency=place, code=code, message=message, remedy=remedy))
            seen.setdefault(dependency.step, dependency.outcome)
    return faults


def _bad_dependency(
    step: Step, upstream: str, outcome: EdgeOutcome, seen: Mapping[str, EdgeOutcome], known: Sequence[str]
) -> tuple[GraphFaultCode, str, str] | None:
    if upstream == step.id:
        return (
            GraphFaultCode.SELF_DEPENDENCY,
            f"step {step.id!r} waits for itself",
            "remove the dependency, or name the step that is meant",
        )
    if upstream not in known:
        near = get_close_matches(upstream, known, n=1)
        return (
            GraphFaultCode.DANGLING_DEPENDENCY,
            f"step {step.id!r} waits for {upstream!r}, which is no step of this plan",
            f"did you mean {near[0]!r}?"
            if near
            else f"add the step or remove the dependency; there are: {_some(known)}",
        )
    if seen.get(upstream, outcome) is not outcome:
        return (
            GraphFaultCode.CONTRADICTORY_DEPENDENCY,
            f"step {step.id!r} waits for two outcomes of {upstream!r}: {seen[upstream]} and {outcome}",
            "keep one of the two; `end` is true for every outcome",
        )
    return None


def _some(names: Sequence[str], most: int = 10) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _own_stages(steps: Sequence[Step], links: Sequence[Link]) -> list[GraphFault]:
    """Steps that wait for a stage in which they are themselves a fallback: the shortest cycle there is."""
    own = {link.upstream for link in links if link.upstream == link.downstream}
    saved_by = fallbacks(links_of(steps))
    return [
        GraphFault(
            step=index,
            dependency=place,
            code=GraphFaultCode.CYCLE,
            message=f"these steps wait for each other in a cycle: {step.id} → {step.id} "
            f"({step.id!r} waits for the stage of {dependency.step!r}, and is itself a fallback in it)",
            remedy=f"wait for another outcome of {dependency.step!r}, or remove the dependency",
        )
        for index, step in enumerate(steps)
        if step.id in own
        for place, dependency in enumerate(step.depends_on)
        if dependency.outcome is EdgeOutcome.STAGE and step.id in saved_by.get(dependency.step, ())
    ]


def _cycles(steps: Sequence[Step], ids: Sequence[str], links: Sequence[Link]) -> list[GraphFault]:
    """One fault for each knot of steps that wait for each other, naming a shortest cycle in it."""
    number = {name: index for index, name in enumerate(ids)}
    graph: rustworkx.PyDiGraph[str, None] = rustworkx.PyDiGraph(multigraph=False)
    graph.add_nodes_from(list(ids))
    graph.add_edges_from_no_data([(number[link.upstream], number[link.downstream]) for link in links])
    position = {name: index for index, name in reversed(list(enumerate(step.id for step in steps)))}
    faults = []
    for knot in rustworkx.strongly_connected_components(graph):
        if len(knot) > 1:
            names = sorted((ids[node] for node in knot), key=position.__getitem__)
            cycle = _shortest_cycle(names[0], set(names), links)
            faults.append(
                GraphFault(
                    step=position[cycle[0]],
                    dependency=None,
                    code=GraphFaultCode.CYCLE,
                    message="these steps wait for each other in a cycle: " + " → ".join(cycle) + _implied(cycle, steps),
                    remedy=f"remove one dependency of the cycle, for example that of {cycle[1]!r} on {cycle[0]!r}",
                )
            )
    return faults


def _shortest_cycle(start: str, inside: set[str], links: Sequence[Link]) -> list[str]:
    """From `start` along the edges back to `start`; breadth first within a strongly connected set."""
    downstream: dict[str, list[str]] = {}
    for link in links:
        if link.upstream in inside and link.downstream in inside:
            downstream.setdefault(link.upstream, []).append(link.downstream)
    came_from: dict[str, str] = {}
    queue = [start]
    for name in queue:  # grows while it is read
        for follower in downstream[name]:
            if follower == start:
                cycle = [start, name]
                while cycle[-1] != start:
                    cycle.append(came_from[cycle[-1]])
                return cycle[::-1]
            if follower not in came_from:
                came_from[follower] = name
                queue.append(follower)
    raise AssertionError(f"{start!r} is on no cycle")  # the set was strongly connected


def _implied(cycle: Sequence[str], steps: Sequence[Step]) -> str:
    """Explains edges of the cycle that nobody wrote: a stage edge waits for the fallbacks as well."""
    declared = {(link.upstream, link.downstream) for link in links_of(steps)}
    saved_by = fallbacks(links_of(steps))
    notes = []
    for upstream, downstream in itertools.pairwise(cycle):
        if (upstream, downstream) not in declared:
            primary = next(
                link.upstream
                for link in links_of(steps)
                if link.downstream == downstream and upstream in saved_by.get(link.upstream, ())
            )
            notes.append(f"{downstream!r} waits for the stage of {primary!r}, and {upstream!r} is a fallback in it")
    return f" ({'; '.join(notes)})" if notes else ""


def object_identity(target: Target) -> str | None:
    """One string for one object of one cluster; None where the target does not name one."""
    if target.kind is None or target.name is None:
        return None
    return "/".join((target.cluster or "", target.kind.lower(), target.namespace or "", target.name))


def object_conflicts(
    steps: Sequence[tuple[str, str | None]], links: Sequence[Link]
) -> tuple[tuple[Link, ...], tuple[str, ...]]:
    """Edges that keep steps which change one object apart, and a warning for each.

    Two such steps between which no way leads get an `end` edge in list order: it orders, and decides nothing else.
    Steps that can never both act (one after the success of a step, one after its failure) need none.

    :param steps: in list order, the step's id and the object that it changes (None: none)
    :param links: the dependencies, free of cycles
    """
    names = [name for name, _ in steps]
    reach, exclusion = Reach(names, effective(links)), Exclusion(names, links)
    position = {name: index + 1 for index, (name, _) in enumerate(steps)}
    changers: dict[str, list[str]] = {}
    added: list[Link] = []
    warnings: list[str] = []
    for name, changed in steps:
        if changed is None:
            continue
        # nearest first: once the neighbour in the list is ordered, the ones before it are too
        for earlier in reversed(changers.setdefault(changed, [])):
            ordered = reach.before(earlier, name) or reach.before(name, earlier)
            if not ordered and not exclusion.apart(earlier, name):
                added.append(Link(earlier, name, EdgeOutcome.END))
                reach.add(earlier, name)
                warnings.append(
                    f"steps {earlier!r} and {name!r} both change {changed} and no dependency orders them: {name!r} "
                    f"(number {position[name]}) now waits for the end of {earlier!r} (number {position[earlier]})"
                )
        changers[changed].append(name)
    return tuple(added), tuple(warnings)
