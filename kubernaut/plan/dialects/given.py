"""What an AI gave for one action, and what is known beside the answer: the input of `targeting` and `parameters`."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from kubernaut.actions import catalogue
from kubernaut.actions.spec import ActionSpec
from kubernaut.cluster.objects import escape
from kubernaut.plan import signals
from kubernaut.plan.model import Signal, Target
from kubernaut.plan.provenance import Ledger


@dataclass(frozen=True, kw_only=True)
class World:
    """What is known beside the answer."""

    signal: Signal | None = None
    default_cluster: str | None = None

    @property
    def target(self) -> Target:
        return self.signal.target if self.signal else Target()

    def name_of(self, kind: str) -> str | None:
        """The object of this kind that the signal is about."""
        if self.signal is None:
            return None
        if self.signal.target.kind == kind:
            return self.signal.target.name
        return signals.name_for(self.signal.labels, kind)


@dataclass
class Parameters:
    """The `parameters` object of one action while it is read.

    :param at: its pointer in the answer
    :param action_at: the pointer of the action that it belongs to
    :param step: the step's pointer in the plan
    """

    ledger: Ledger
    value: Mapping[str, JsonValue]
    at: str
    action_at: str
    action: str
    spec: ActionSpec
    step: str
    world: World
    used: set[str] = field(default_factory=set)

    def place(self, key: str) -> str:
        return f"{self.at}/{escape(key)}"

    @property
    def fields(self) -> Mapping[str, typing.Any]:
        return self.spec.params.model_fields if self.spec.params else {}

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that the action means, whether or not its executor already knows all of them."""
        entry = catalogue.CATALOGUE.get(self.spec.name)
        return (entry.target_kinds if entry else ()) or self.spec.target_kinds

    @property
    def fault_place(self) -> str:
        """Where something that is missing belongs: the parameters, or the action where it has none."""
        return self.at if self.value else self.action_at


def agreed(parameters: Parameters, keys: list[str], values: Mapping[str, JsonValue], *, plan: str = "") -> bool:
    """Whether all names of one thing have one value; a fault that names two of them where they do not."""
    first = keys[0]
    other = next((key for key in keys[1:] if not _same(values[key], values[first])), None)
    if other is None:
        return True
    for key in keys:
        parameters.ledger.fault(
            parameters.place(key),
            "conflicting_aliases",
            f"{first!r} and {other!r} name the same parameter and have different values",
            "Give it once; which of them is meant is not guessed.",
            plan=plan,
        )
    return False


def _same(one: JsonValue, other: JsonValue) -> bool:
    """Equal, and not 1 for true."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
