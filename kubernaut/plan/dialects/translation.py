"""The result of translating an answer: what `plan.examine` goes on with, whatever the form was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubernaut.errors import Fault
from kubernaut.examination import HumanReason, ProvenanceEntry
from kubernaut.plan.model import Plan


@dataclass(frozen=True, kw_only=True)
class Translation:
    """A plan as far as it could be built, and everything that must be said about the answer.

    :param dialect: name of the form; None where it is none that is known
    :param plan: None where nothing can be built, or where it would not fit the models. **A plan may be here although
    there are faults**: then it lacks what is faulty, and is only for finding further faults
    :param provenance: where every leaf of the answer went, in document order
    :param conditions: step id → the AI's condition, word for word
    :param sources: pointer into the plan → pointer into the answer
    :param reported: pointers into the plan about which a fault is already among `faults`
    """

    dialect: str | None
    plan: Plan | None
    faults: tuple[Fault, ...] = ()
    questions: tuple[HumanReason, ...] = ()
    provenance: tuple[ProvenanceEntry, ...] = ()
    conditions: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    reported: frozenset[str] = frozenset()

    def source_of(self, plan_pointer: str) -> str:
        """Where in the answer a fault at `plan_pointer` is to be shown: the nearest place that is known."""
        pointer = plan_pointer
        while pointer and pointer not in self.sources:
            pointer = pointer.rpartition("/")[0]
        return self.sources.get(pointer, "")

    def already_reported(self, plan_pointer: str) -> bool:
        """Whether a fault about this place of the plan, or about one around it, is already among `faults`."""
        pointer = plan_pointer
        while pointer:
            if pointer in self.reported:
                return True
            pointer = pointer.rpartition("/")[0]
        return False
