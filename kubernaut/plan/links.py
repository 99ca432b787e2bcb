"""What edges between steps imply: fallbacks, who really waits for whom, which edges say nothing new.

Steps are plain names here, so that the plan (the AI's step ids), the workflow (its keys) and the undo use the same
functions: `kubernaut.plan.graph` finds faults with them, `kubernaut.workflow.compile` reduces with them, and
`kubernaut.workflow.gate` decides with them. Nothing here knows states or actions; cycles are for `graph.analyse`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kubernaut.plan.model import EdgeOutcome


class Link(NamedTuple):
    """`downstream` waits until `upstream` has reached `outcome`."""

    upstream: str
    downstream: str
    outcome: EdgeOutcome


def fallbacks(links: Iterable[Link]) -> dict[str, tuple[str, ...]]:
    """For each step that has any: its fallbacks, nearest first, and theirs.

    A fallback of X is a step with a failure edge on X; when it succeeds, X is saved.
    """
    direct: dict[str, list[str]] = {}
    for link in links:
        if link.outcome is EdgeOutcome.FAILURE:
            direct.setdefault(link.upstream, []).append(link.downstream)
    return {name: _closure(name, direct) for name in direct}


def _closure(name: str, direct: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    queue = list(direct.get(name, ()))
    for candidate in queue:  # grows while it is read: breadth first
        if candidate != name and candidate not in found:
            found[candidate] = None
            queue.extend(direct.get(candidate, ()))
    return tuple(found)


def effective(links: Sequence[Link]) -> tuple[Link, ...]:
    """All waiting there is: the links, and for each stage edge on X the fallbacks of X, for which it waits as well."""
    saved_by = fallbacks(links)
    found = dict.fromkeys(links)
    for link in links:
        if link.outcome is EdgeOutcome.STAGE:
            found.update(
                (Link(fallback, link.downstream, EdgeOutcome.STAGE), None)
                for fallback in saved_by.get(link.upstream, ())
            )
    return tuple(found)


def plain(links: Iterable[Link]) -> tuple[Link, ...]:
    """Stage edges on steps without a fallback become success edges: the two are the same in every world."""
    links = tuple(links)
    saved_by = fallbacks(links)
    return tuple(
        link._replace(outcome=EdgeOutcome.SUCCESS)
        if link.outcome is EdgeOutcome.STAGE and link.upstream not in saved_by
        else link
        for link in links
    )


def levels(names: Sequence[str], links: Iterable[Link]) -> tuple[tuple[str, ...], ...]:
    """Steps by the length of the longest way that leads to them, each level in the order of `names`.

    Steps on a cycle, and what waits for them, are in no level.
    """
    waiting = {name: 0 for name in names}
    downstream: dict[str, list[str]] = {}
    for upstream, waiter in {(link.upstream, link.downstream) for link in links}:
        if upstream in waiting and waiter in waiting:
            waiting[waiter] += 1
            downstream.setdefault(upstream, []).append(waiter)
    position = {name: index for index, name in enumerate(names)}
    found: list[tuple[str, ...]] = []
    ready = [name for name in names if not waiting[name]]
    while ready:
        found.append(tuple(ready))
        freed = []
        for name in ready:
            for waiter in downstream.get(name, ()):
                waiting[waiter] -= 1
                if not waiting[waiter]:
                    freed.append(waiter)
        ready = sorted(freed, key=position.__getitem__)
    return tuple(found)


class Reach:
    """Which steps are before which, kept up to date while edges are added; as bit sets, one number a step."""

    def __init__(self, names: Sequence[str], links: Iterable[Link]) -> None:
        self._bit = {name: 1 << index for index, name in enumerate(names)}
        self._before = dict.fromkeys(names, 0)
        upstreams: dict[str, list[str]] = {}
        for link in links:
            upstreams.setdefault(link.downstream, []).append(link.upstream)
        for level in levels(names, [Link(u, d, EdgeOutcome.END) for d, us in upstreams.items() for u in us]):
            for name in level:
                for upstream in upstreams.get(name, ()):
                    self._before[name] |= self._before[upstream] | self._bit[upstream]

    def before(self, first: str, second: str) -> bool:
        """Whether some way leads from `first` to `second`."""
        return bool(self._before[second] & self._bit[first])

    def before_any(self, names: Iterable[str]) -> frozenset[str]:
        """All steps from which some way leads to one of `names`."""
        union = 0
        for name in names:
            union |= self._before[name]
        return frozenset(other for other, bit in self._bit.items() if union & bit)

    def add(self, upstream: str, downstream: str) -> None:
        gained = self._before[upstream] | self._bit[upstream]
        for name in self._before:
            if name == downstream or self.before(downstream, name):
                self._before[name] |= gained


class Exclusion:
    """Which steps can never both act: one needs the success of a step whose failure the other needs."""

    def __init__(self, names: Sequence[str], links: Iterable[Link]) -> None:
        links = tuple(links)
        needed = (EdgeOutcome.SUCCESS, EdgeOutcome.FAILURE)
        self._needs: dict[str, frozenset[tuple[str, EdgeOutcome]]] = dict.fromkeys(names, frozenset())
        upstreams: dict[str, list[Link]] = {}
        for link in links:
            # a stage edge needs no outcome of its own, but its primary must have acted; an end edge needs nothing
            if link.outcome is not EdgeOutcome.END:
                upstreams.setdefault(link.downstream, []).append(link)
        for level in levels(names, effective(links)):
            for name in level:
                for link in upstreams.get(name, ()):
                    own = {(link.upstream, link.outcome)} if link.outcome in needed else set()
                    self._needs[name] = self._needs[name].union(self._needs[link.upstream], own)

    def apart(self, first: str, second: str) -> bool:
        other = {EdgeOutcome.SUCCESS: EdgeOutcome.FAILURE, EdgeOutcome.FAILURE: EdgeOutcome.SUCCESS}
        return any((upstream, other[outcome]) in self._needs[second] for upstream, outcome in self._needs[first])


def reduce(links: Iterable[Link]) -> tuple[Link, ...]:
    """Drop the edges that say nothing new: a → c where a → b → … → c are all of the same kind.

    A step that succeeded or failed has run, and it ran only because its own edges were true; one with an `end` edge
    ends only after the step it waits for. So within one kind the shorter edge is implied, whatever happens. Across
    kinds nothing is dropped. The links must be free of cycles.
    """
    links = tuple(dict.fromkeys(links))
    dropped: set[Link] = set()
    for outcome in EdgeOutcome:
        dropped |= _implied([link for link in links if link.outcome is outcome])
    return tuple(link for link in links if link not in dropped)


def _implied(links: Sequence[Link]) -> set[Link]:
    names = tuple(dict.fromkeys(name for link in links for name in (link.upstream, link.downstream)))
    reach = Reach(names, links)
    upstreams: dict[str, list[str]] = {}
    for link in links:
        upstreams.setdefault(link.downstream, []).append(link.upstream)
    beyond = {name: reach.before_any(others) for name, others in upstreams.items()}
    return {link for link in links if link.upstream in beyond[link.downstream]}
