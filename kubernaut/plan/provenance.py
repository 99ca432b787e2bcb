"""Keeps account of where every leaf of an AI's answer went.

Used by the dialects (`kubernaut.plan.dialects`): they read the answer through a `Reader`, which knows every key, and
write each destination into the `Ledger`. `Ledger.close` sweeps the answer once more: a leaf without a destination is a
fault, so that a translator which forgets a field cannot drop it. A leaf is a scalar or an empty object or array.
This module knows no dialect and builds no plan.
"""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import JsonValue

from kubernaut.cluster.objects import escape
from kubernaut.errors import Fault
from kubernaut.examination import HumanReason, ProvenanceEntry

_AFTER_SLASH = chr(ord("/") + 1)
_LONGEST_KEY_SHOWN = 80
MOST_HINTS = 100
"""Near misses are looked up for so many words of one answer; each costs about a millisecond."""


class Destination(StrEnum):
    """The four places where a leaf can go."""

    FIELD = "field"
    NOTE = "note"
    QUESTION = "question"
    FAULT = "fault"


def leaves(value: JsonValue, pointer: str = "") -> Iterator[str]:
    """The pointers of all leaves of a JSON value, in document order. Depth is bounded by `read_json`."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{pointer}/{escape(key)}")
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from leaves(item, f"{pointer}/{index}")
    else:
        yield pointer


@dataclass
class Ledger:
    """The account of one answer. Mutable while one translation runs; `close` gives what is kept."""

    document: JsonValue
    faults: list[Fault] = field(default_factory=list)
    questions: list[HumanReason] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    """Pointer into the plan → pointer into the answer, for leaves and for containers (`/steps/0`)."""
    reported: set[str] = field(default_factory=set)
    """Pointers into the plan about which a fault was already reported."""

    def __post_init__(self) -> None:
        self._hints = 0
        self._leaves = list(leaves(self.document))
        self._sorted = sorted(self._leaves)
        self._entries: dict[str, dict[ProvenanceEntry, None]] = {pointer: {} for pointer in self._leaves}

    def field(self, pointer: str, destination: str) -> None:
        """The value at `pointer` became the plan's value at `destination`, part by part."""
        self.sources.setdefault(destination, pointer)
        for leaf in self._under(pointer):
            place = destination + leaf[len(pointer) :]
            self.sources.setdefault(place, leaf)
            self._enter(leaf, Destination.FIELD, place)

    def note(self, pointer: str, text: str) -> None:
        """The value at `pointer` is kept for people, or was understood without becoming a field."""
        for leaf in self._under(pointer):
            self._enter(leaf, Destination.NOTE, text)

    def question(self, pointer: str, code: str, message: str) -> None:
        """A human must look at the value at `pointer`."""
        self.questions.append(HumanReason(code=code, message=message, pointer=pointer))
        for leaf in self._under(pointer):
            self._enter(leaf, Destination.QUESTION, code)

    def fault(self, pointer: str, code: str, message: str, remedy: str, *, covers: bool = True, plan: str = "") -> None:
        """Something is wrong at `pointer`.

        :param covers: whether the fault is what became of the value there; False where something is missing beside it
        :param plan: the pointer into the plan that has no value because of it
        """
        self.faults.append(Fault(pointer=pointer, code=code, message=message, remedy=remedy))
        if plan:
            self.reported.add(plan)
        if covers:
            for leaf in self._under(pointer):
                self._enter(leaf, Destination.FAULT, code)

    def near_miss(self, word: str, known: Iterable[str], *, cutoff: float = 0.7) -> str | None:
        """As the function of this name, for the first words of an answer only."""
        self._hints += 1
        return near_miss(word, known, cutoff=cutoff) if self._hints <= MOST_HINTS else None

    def container(self, pointer: str, destination: str) -> None:
        """Faults at `destination` in the plan are to be shown at `pointer` in the answer."""
        self.sources.setdefault(destination, pointer)

    def identity(self) -> None:
        """The answer is a plan already: every leaf that has no fault is the plan's field at the same place."""
        self.sources.setdefault("", "")
        for leaf in self._leaves:
            if not self._entries[leaf]:
                self.sources.setdefault(leaf, leaf)
                self._enter(leaf, Destination.FIELD, leaf)

    def close(self) -> tuple[ProvenanceEntry, ...]:
        """All entries in document order. Every leaf that nothing claimed becomes a fault `unmapped`.

        What has a fault went nowhere else: the plan that was built around it is only for finding more faults.
        """
        for leaf in self._leaves:
            if not self._entries[leaf]:
                self.fault(
                    leaf,
                    "unmapped",
                    "nothing in this form of answer has a place for this value",
                    "Remove it, or use a field that this form has.",
                )
        for leaf in self._leaves:
            faulty = [entry for entry in self._entries[leaf] if entry.kind == Destination.FAULT]
            self._entries[leaf] = dict.fromkeys(faulty) or self._entries[leaf]
        self.reported.update(
            place
            for place, source in self.sources.items()
            if any(entry.kind == Destination.FAULT for entry in self._entries.get(source, ()))
        )
        return tuple(entry for leaf in self._leaves for entry in self._entries[leaf])

    def _under(self, pointer: str) -> list[str]:
        if pointer in self._entries:
            return [pointer]
        prefix = f"{pointer}/"
        return self._sorted[bisect_left(self._sorted, prefix) : bisect_left(self._sorted, f"{pointer}{_AFTER_SLASH}")]

    def _enter(self, leaf: str, kind: Destination, destination: str) -> None:
        self._entries[leaf][ProvenanceEntry(pointer=leaf, kind=kind.value, destination=destination)] = None


class Reader:
    """Reads one object of the answer key by key; `finish` turns keys that nobody asked for into faults."""

    def __init__(self, ledger: Ledger, value: Mapping[str, JsonValue], pointer: str) -> None:
        self.ledger = ledger
        self.pointer = pointer
        self._value = value
        self._asked: dict[str, None] = {}

    def at(self, key: str) -> str:
        return f"{self.pointer}/{escape(key)}"

    def has(self, key: str) -> bool:
        """Whether there is a value. An explicit null says the same as an absent key, and is noted so by `take`."""
        return self._value.get(key) is not None

    @property
    def names(self) -> list[str]:
        """All keys, in the order of the answer."""
        return list(self._value)

    def take(self, key: str) -> JsonValue:
        """The value at `key`, or None. Whoever takes it must enter its destination."""
        self._asked[key] = None
        value = self._value.get(key)
        if value is None and key in self._value:
            self.ledger.note(self.at(key), "null: not given")
        return value

    def text(self, key: str, *, plan: str = "") -> str | None:
        """The string at `key`; any other type is a fault."""
        value = self.take(key)
        if value is None or isinstance(value, str):
            return value
        self.wrong_type(key, "a string", value, plan=plan)
        return None

    def number(self, key: str, *, plan: str = "") -> float | None:
        """The number at `key`; any other type is a fault (a boolean is no number)."""
        value = self.take(key)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        self.wrong_type(key, "a number", value, plan=plan)
        return None

    def object(self, key: str) -> Reader | None:
        """A reader of the object at `key`; any other type is a fault."""
        value = self.take(key)
        if value is None:
            return None
        if isinstance(value, dict):
            if not value:
                self.ledger.note(self.at(key), "empty")
            return Reader(self.ledger, value, self.at(key))
        self.wrong_type(key, "an object", value)
        return None

    def items(self, key: str, *, at_most: int | None = None) -> list[tuple[str, JsonValue]]:
        """Pointer and value of each item of the array at `key`; any other type is a fault, and so are too many."""
        value = self.take(key)
        if value is None:
            return []
        if isinstance(value, list):
            if not value:
                self.ledger.note(self.at(key), "empty")
            if at_most is not None and len(value) > at_most:
                message, remedy = f"{len(value)} entries are more than {at_most}", f"Give at most {at_most}."
                self.ledger.fault(self.at(key), "too_many_entries", message, remedy)
                return []
            return [(f"{self.at(key)}/{index}", item) for index, item in enumerate(value)]
        self.wrong_type(key, "an array", value)
        return []

    def texts(self, key: str, *, at_most: int | None = None) -> list[tuple[str, str]]:
        """As `items`, strings only."""
        found = []
        for pointer, item in self.items(key, at_most=at_most):
            if isinstance(item, str):
                found.append((pointer, item))
            else:
                wrong_type(self.ledger, pointer, "a string", item)
        return found

    def wrong_type(self, key: str, wanted: str, value: JsonValue, *, plan: str = "") -> None:
        wrong_type(self.ledger, self.at(key), wanted, value, plan=plan)

    def missing(self, key: str, meaning: str, *, plan: str = "") -> None:
        self.ledger.fault(
            self.at(key), "missing_field", f"{key!r} is missing", f"Give {meaning}.", covers=False, plan=plan
        )

    def finish(self, *, also: Iterable[str] = ()) -> None:
        """Every key that was not taken is a fault that names the nearest key which this form has."""
        known = [*self._asked, *also]
        for key in self._value:
            if key in self._asked:
                continue
            near = self.ledger.near_miss(key, known)
            hint = f"Did you mean {near!r}?" if near else "Remove it."
            self.ledger.fault(
                self.at(key),
                "unmapped",
                f"this form of answer has no field {shown(key)} here",
                f"{hint} Fields here: {', '.join(sorted(known))}.",
            )


def near_miss(word: str, known: Iterable[str], *, cutoff: float = 0.7) -> str | None:
    """The known word that was probably meant; for a remedy's text only, nothing is ever done on it."""
    if len(word) > _LONGEST_KEY_SHOWN:
        return None
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)), None)


def shown(text: str) -> str:
    """Foreign text for a message: quoted and of bounded length."""
    return repr(text if len(text) <= _LONGEST_KEY_SHOWN else f"{text[:_LONGEST_KEY_SHOWN]}…")


def wrong_type(ledger: Ledger, pointer: str, wanted: str, value: JsonValue, *, plan: str = "") -> None:
    ledger.fault(pointer, "wrong_type", f"{wanted} is expected, this is {_type(value)}", f"Give {wanted}.", plan=plan)


def _type(value: JsonValue) -> str:
    names = {
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        dict: "an object",
        list: "an array",
    }
    return names.get(type(value), "null")
