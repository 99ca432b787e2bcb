"""The parsed form of an expression, read from what the CEL library serializes.

The library shows no syntax tree, but serializes one: a `cel.expr.ParsedExpr`, a public and stable protocol buffer
(google/cel-spec, `proto/cel/expr/syntax.proto`). This module decodes the few fields that name checks need and nothing
else: literals, names, selections, calls, collections and comprehensions. Called by `checking`; it knows no rule about
names. The parser bounds nesting (32), so that recursion over a tree is safe.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Constant:
    value: Any


@dataclass(frozen=True)
class Ident:
    name: str


@dataclass(frozen=True)
class Select:
    """`operand.field`; with `test_only` it is `has(operand.field)`."""

    operand: Node
    field: str
    test_only: bool


@dataclass(frozen=True)
class Call:
    """A function or an operator (`_==_`, `_[_]`, `@in`); a method has a target."""

    function: str
    target: Node | None
    args: tuple[Node, ...]

    @property
    def operands(self) -> tuple[Node, ...]:
        return self.args if self.target is None else (self.target, *self.args)


@dataclass(frozen=True)
class Collection:
    """A list, a map (keys and values in turn), or a message when `message_name` is set."""

    elements: tuple[Node, ...]
    message_name: str = ""


@dataclass(frozen=True)
class Comprehension:
    """What all, exists, exists_one, map and filter expand to. `body` sees `variables`; `outside` does not."""

    variables: frozenset[str]
    outside: tuple[Node, ...]
    body: tuple[Node, ...]


Node = Constant | Ident | Select | Call | Collection | Comprehension
Fields = dict[int, list[Any]]


class TreeError(ValueError):
    """The bytes are not the tree this module knows: another version of the library."""


def decode(serialized: bytes) -> Node:
    """Decode what `Expression.serialize()` of an unchecked expression gave: an Any that holds a ParsedExpr."""
    envelope = _fields(serialized)
    if _text(envelope, 1) != "type.googleapis.com/cel.expr.ParsedExpr":
        raise TreeError(f"expected a ParsedExpr, got {_text(envelope, 1)!r}")
    return _node(_one(_fields(_one(envelope, 2)), 2))


def _node(data: bytes) -> Node:
    fields = _fields(data)
    for number, build in _BUILDERS.items():
        if number in fields:
            return build(_fields(fields[number][-1]))
    raise TreeError(f"unknown kind of expression: fields {sorted(fields)}")


def _constant(fields: Fields) -> Node:
    for number, read in _CONSTANTS.items():
        if number in fields:
            return Constant(read(fields[number][-1]))
    raise TreeError(f"unknown kind of literal: fields {sorted(fields)}")


def _ident(fields: Fields) -> Node:
    # A leading dot only says "from the top": `.signal` is `signal`.
    return Ident(_text(fields, 1).removeprefix("."))


def _select(fields: Fields) -> Node:
    return Select(_node(_one(fields, 1)), _text(fields, 2), bool(fields.get(3, [0])[-1]))


def _call(fields: Fields) -> Node:
    target = _node(fields[1][-1]) if 1 in fields else None
    return Call(_text(fields, 2), target, tuple(_node(argument) for argument in fields.get(3, [])))


def _list(fields: Fields) -> Node:
    return Collection(tuple(_node(element) for element in fields.get(1, [])))


def _struct(fields: Fields) -> Node:
    elements: list[Node] = []
    for entry in map(_fields, fields.get(2, [])):
        elements.extend(_node(entry[number][-1]) for number in (3, 4) if number in entry)
    return Collection(tuple(elements), _text(fields, 1))


def _comprehension(fields: Fields) -> Node:
    variables = frozenset(_text(fields, number) for number in (1, 3, 8)) - {""}
    outside = tuple(_node(_one(fields, number)) for number in (2, 4))
    body = tuple(_node(_one(fields, number)) for number in (5, 6, 7))
    return Comprehension(variables, outside, body)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _double(value: bytes) -> float:
    number: float = struct.unpack("<d", value)[0]
    return number


_BUILDERS = {3: _constant, 4: _ident, 5: _select, 6: _call, 7: _list, 8: _struct, 9: _comprehension}
_CONSTANTS: dict[int, Any] = {
    1: lambda _: None,
    2: bool,
    3: _signed,
    4: int,
    5: _double,
    6: lambda data: data.decode(),
    7: bytes,
}


def _fields(data: bytes) -> Fields:
    """The fields of one message: number → values in order (varints as int, everything else as bytes)."""
    fields: Fields = {}
    for number, value in _scan(data):
        fields.setdefault(number, []).append(value)
    return fields


def _scan(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise TreeError(f"wire type {wire} is not in use")
        if at + size > len(data):
            raise TreeError("the message ends early")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise TreeError("the message ends within a number")


def _one(fields: Fields, number: int) -> bytes:
    if number not in fields:
        raise TreeError(f"field {number} is missing")
    value: bytes = fields[number][-1]
    return value


def _text(fields: Fields, number: int) -> str:
    value: bytes = fields.get(number, [b""])[-1]
    return value.decode()
