"""What is left of a plan in our own form when the parts that do not fit the models are taken out.

Whoever sends a plan with a misspelt field and a cycle shall read of both at once. So `kubernaut.plan.examine` goes on
with what can be read, only to find further faults: a plan that was salvaged never runs, since it has faults. Steps keep
their places, so that pointers stay true; what was taken out is named, so that its absence is not reported as well.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue, ValidationError

from kubernaut.cluster.objects import escape
from kubernaut.plan.model import MAX_STEPS, Plan

_ROUNDS = 4
"""Taking something out can leave something missing around it; deeper than this nothing nests."""
_STANDS_IN = {"version": "kubernaut.ai/plan/v1", "id": "unreadable"}


@dataclass(frozen=True, kw_only=True)
class Salvaged:
    """`removed`: pointers of what was taken out. `whole_graph`: no step and no dependency was touched by it."""

    plan: Plan
    removed: frozenset[str]
    whole_graph: bool


@dataclass
class _Work:
    document: dict[str, Any]
    removed: set[str] = field(default_factory=set)
    whole_graph: bool = True


def salvage(document: JsonValue) -> Salvaged | None:
    """None where too little is left to look at."""
    steps = document.get("steps") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(steps, list) or not 0 < len(steps) <= MAX_STEPS:
        return None
    work = _Work(copy.deepcopy(document))
    for _ in range(_ROUNDS):
        try:
            plan = Plan.model_validate(work.document)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False, include_input=False):
                # a list of which no item fitted is also called too short; mending the items mends it
                if detail["type"] != "too_short":
                    _take_out(work, detail["loc"])
        else:
            return Salvaged(plan=plan, removed=frozenset(work.removed), whole_graph=work.whole_graph)
    return None


def _take_out(work: _Work, location: Sequence[int | str]) -> None:
    """Remove the smallest part around `location` that can be missing without moving anything else."""
    if location and location[0] == "steps" and len(location) > 1 and isinstance(location[1], int):
        _take_out_of_step(work, location[1], location[2:])
    elif location and str(location[0]) in _STANDS_IN:
        work.document[str(location[0])] = _STANDS_IN[str(location[0])]
        work.removed.add(f"/{escape(str(location[0]))}")
    elif location:
        _drop(work, work.document, str(location[0]), "")


def _take_out_of_step(work: _Work, index: int, location: Sequence[int | str]) -> None:
    steps, at = work.document["steps"], f"/steps/{index}"
    step = steps[index]
    if not isinstance(step, dict):
        steps[index] = {"id": f"unreadable-{index}", "action": "noop"}
        work.removed.add(at)
        work.whole_graph = False
        return
    key = str(location[0]) if location else ""
    if key == "id":
        step["id"] = f"unreadable-{index}"
        work.removed.add(f"{at}/id")
        work.whole_graph = False
    elif key == "action":
        # what its parameters and target should be cannot be told without it
        step["action"] = "noop"
        work.removed.update(f"{at}/{part}" for part in ("action", "params", "target", "undo"))
    elif key:
        _drop(work, step, key, at)
        work.whole_graph = work.whole_graph and key != "depends_on"


def _drop(work: _Work, parent: dict[str, Any], key: str, at: str) -> None:
    parent.pop(key, None)
    work.removed.add(f"{at}/{escape(key)}")
