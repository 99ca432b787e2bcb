"""A canonical order of the steps of a shape: the same for two plans whenever their shapes are the same.

`kubernaut.workflow.compile` numbers the steps in this order, so that the workflow's digest, and with it the DAG, does
not depend on what the AI called its steps or in which order it listed them. A step's colour is what can be said of it
without a name: its level, its label (action, verified), then the colours of its neighbours by kind of edge, until
nothing new is learnt (colour refinement). Steps that still look alike are told apart by choosing one and refining
again; what cannot influence each other is ordered separately, so ten equal chains cost ten chains and not their
permutations. The number of choices is bounded: beyond `MAX_CHOICES` the first candidate is taken, and two equal
shapes may get two DAGs, never a wrong one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from kubernaut.plan.links import Link, levels

MAX_CHOICES = 100
"""Candidates that are tried, in one shape, where refinement leaves steps that are not alone."""

_Relation = tuple[tuple[str, ...], tuple[str, ...]]
"""Kinds of edges from one step to another, and back. Empty both ways: no edge."""
_NONE: _Relation = ((), ())
_Certificate = tuple[Any, ...]
"""Nested tuples of ints and strings; equal exactly for equal ordered shapes (`Any`: they are nested)."""


def canonical_order(labels: Mapping[str, tuple[str, ...]], links: Sequence[Link]) -> tuple[str, ...]:
    """The names of `labels` in canonical order, which is also an order in which they may run.

    :param labels: what is known of each step beside its edges
    :param links: edges between these names, without cycles
    """
    level_of = {name: depth for depth, names in enumerate(levels(tuple(labels), links)) for name in names}
    shape = _Shape(labels, links)
    colours = _ranks({name: (level_of[name], label) for name, label in labels.items()})
    order, _ = shape.order(tuple(labels), colours)
    return order


def _ranks(signatures: Mapping[str, Any]) -> dict[str, int]:
    """Colours from signatures (`Any`: comparable tuples): the number of steps whose signature is smaller."""
    counts = Counter(signatures.values())
    rank: dict[Any, int] = {}
    total = 0
    for signature in sorted(counts):
        rank[signature] = total
        total += counts[signature]
    return {name: rank[signature] for name, signature in signatures.items()}


class _Shape:
    """The graph, and how many choices are left."""

    def __init__(self, labels: Mapping[str, tuple[str, ...]], links: Sequence[Link]) -> None:
        kinds: dict[str, dict[str, tuple[list[str], list[str]]]] = {name: {} for name in labels}
        for link in dict.fromkeys(links):
            kinds[link.upstream].setdefault(link.downstream, ([], []))[0].append(link.outcome)
            kinds[link.downstream].setdefault(link.upstream, ([], []))[1].append(link.outcome)
        self._relations: dict[str, dict[str, _Relation]] = {
            name: {other: (tuple(sorted(out)), tuple(sorted(back))) for other, (out, back) in found.items()}
            for name, found in kinds.items()
        }
        # relations as numbers: comparing them is most of the work of a refinement
        number = {
            relation: i for i, relation in enumerate(sorted({r for f in self._relations.values() for r in f.values()}))
        }
        self._numbered = {
            name: [(other, number[relation]) for other, relation in found.items()]
            for name, found in self._relations.items()
        }
        self._choices = MAX_CHOICES

    def order(self, names: Sequence[str], colours: Mapping[str, int]) -> tuple[tuple[str, ...], _Certificate]:
        """Order these steps among themselves, and a certificate that is equal for equal results.

        What the certificate does not show, the edges to steps outside, is the same for all steps of one colour.
        """
        if len(names) == 1:
            return tuple(names), self._certificate(names, colours)
        colours = self._refined(names, colours)
        parts = self._parts(names, colours)
        if len(parts) == 1:
            return self._chosen(names, colours)
        ordered = sorted(
            (self.order(part, {name: colours[name] for name in part}) for part in parts), key=lambda result: result[1]
        )
        position = {name: (part, index) for part, (order, _) in enumerate(ordered) for index, name in enumerate(order)}
        order = tuple(sorted(names, key=lambda name: (colours[name], position[name])))
        return order, self._certificate(order, colours)

    def _chosen(self, names: Sequence[str], colours: Mapping[str, int]) -> tuple[tuple[str, ...], _Certificate]:
        """Nothing more is to be learnt and everything hangs together: choose one step out of the smallest cell."""
        cells: dict[int, list[str]] = {}
        for name in names:
            cells.setdefault(colours[name], []).append(name)
        cell = min((cell for cell in cells.values() if len(cell) > 1), key=lambda cell: (len(cell), colours[cell[0]]))
        best: tuple[tuple[str, ...], _Certificate] | None = None
        for candidate in cell:
            if best is not None and self._choices <= 0:
                break
            self._choices -= 1
            # the chosen one keeps the colour, the others of its cell move one up: colours are positions
            chosen = {**colours, **{other: colours[other] + 1 for other in cell if other != candidate}}
            result = self.order(names, chosen)
            if best is None or result[1] < best[1]:
                best = result
        assert best is not None
        return best

    def _refined(self, names: Sequence[str], colours: Mapping[str, int]) -> Mapping[str, int]:
        """The coarsest colouring in which steps of one colour have the same neighbours, by colour and kind."""
        inside = set(names)
        neighbours = {
            name: [(other, number) for other, number in self._numbered[name] if other in inside] for name in names
        }
        count = len(set(colours.values()))
        while count < len(names):
            finer = _ranks(
                {
                    name: (colours[name], tuple(sorted([(colours[other], number) for other, number in found])))
                    for name, found in neighbours.items()
                }
            )
            # ranks count within these names; offsets keep colours positions in the whole
            refined = len(set(finer.values()))
            if refined == count:
                break
            colours, count = self._positions(names, colours, finer), refined
        return colours

    @staticmethod
    def _positions(names: Sequence[str], old: Mapping[str, int], finer: Mapping[str, int]) -> dict[str, int]:
        first: dict[int, int] = {}
        for name in names:
            first[old[name]] = min(first.get(old[name], finer[name]), finer[name])
        return {name: old[name] + finer[name] - first[old[name]] for name in names}

    def _parts(self, names: Sequence[str], colours: Mapping[str, int]) -> list[list[str]]:
        """Groups of steps that influence each other.

        Between two cells the most frequent relation says nothing about who belongs to whom (all steps of the one cell
        have it to all of the other, but for the rest); a step alone in its cell belongs to nobody.
        """
        cells: dict[int, list[str]] = {}
        for name in names:
            cells.setdefault(colours[name], []).append(name)
        group = {name: [name] for name in names}
        for (first, second), relations in self._between(names, colours, cells).items():
            silent = max(sorted(relations), key=lambda relation: relations[relation])
            for name in cells[first]:
                found = self._relations[name]
                others = cells[second] if silent != _NONE else [o for o in found if colours.get(o) == second]
                for other in others:
                    if other != name and found.get(other, _NONE) != silent and group[name] is not group[other]:
                        group[name].extend(group[other])
                        for moved in group[other]:
                            group[moved] = group[name]
        return list({id(members): members for members in group.values()}.values())

    def _between(
        self, names: Sequence[str], colours: Mapping[str, int], cells: Mapping[int, list[str]]
    ) -> dict[tuple[int, int], Counter[_Relation]]:
        """How often each relation occurs between two cells of several steps that have any edge between them."""
        inside = set(names)
        found: dict[tuple[int, int], Counter[_Relation]] = {}
        for name in names:
            if len(cells[colours[name]]) == 1:
                continue
            for other, relation in self._relations[name].items():
                if other in inside and len(cells[colours[other]]) > 1:
                    found.setdefault((colours[name], colours[other]), Counter())[relation] += 1
        for (first, second), relations in found.items():
            pairs = len(cells[first]) * (len(cells[second]) - (first == second))
            if pairs > relations.total():
                relations[_NONE] = pairs - relations.total()
        return found

    def _certificate(self, order: Sequence[str], colours: Mapping[str, int]) -> _Certificate:
        position = {name: index for index, name in enumerate(order)}
        edges = sorted(
            (position[name], position[other], number)
            for name in order
            for other, number in self._numbered[name]
            if other in position
        )
        return (tuple(colours[name] for name in order), tuple(edges))
