"""The only door to the CEL library (`cel-expr-python`, Google's C++ implementation): environments, parsing, compiling.

Called by `checking` and `engine`. The library is imported on first use, not with this module. No extension is loaded:
its strings extension (replace, join, format) and its bindings extension let 244 characters build 2 GB. The library
reports every error as RuntimeError with a text for compiler authors; here it becomes faults that a plan's author can
act on.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from kubernaut.expressions.terms import ExpressionFault, FaultCode, Limits, Scope
from kubernaut.expressions.tree import Node, decode

_MAX_FAULTS = 10
_ERROR_LINE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_OVERLOAD = re.compile(r"found no matching overload for '([^']*)' applied to '\((.*)\)'")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_FUNCTIONS = (
    "contains, startsWith, endsWith, matches, size, has, all, exists, exists_one, map, filter, int, double, string, "
    "bool, timestamp, duration, getHours and the other time parts"
)
_SYNTAX_REMEDY = (
    "Write one CEL expression, for example: steps.scale.outputs.replicas >= 3 && vars.environment == 'production'."
)


@lru_cache(maxsize=8)
def _environment(scope: Scope) -> Any:
    from cel_expr_python import cel  # type: ignore[import-untyped]

    kind = cel.Type
    free = kind.Map(kind.STRING, kind.DYN)
    types = {
        "signal": free,
        "target": free,
        "vars": free,
        "steps": kind.Map(kind.STRING, free),
        "now": kind.TIMESTAMP,
        "object": kind.DYN,
        "objects": kind.List(kind.DYN),
    }
    return cel.NewEnv(variables={name: types[name] for name in sorted(scope.roots)})


def load() -> None:
    """Import the library and build the environments now; a child process does so before it says that it is ready."""
    for scope in Scope:
        _environment(scope)


def text_faults(text: str, limits: Limits) -> list[ExpressionFault]:
    """What can be said about a text before any parser sees it."""
    if len(text) > limits.max_characters:
        return [
            ExpressionFault(
                FaultCode.TOO_LONG,
                f"The expression has {len(text)} characters; {limits.max_characters} are allowed.",
                "Split it into several steps' conditions, or compare fewer things.",
            )
        ]
    found = _CONTROL.search(text)
    if found:
        return [
            ExpressionFault(
                FaultCode.SYNTAX,
                f"Character {found.start() + 1} is a control character or half a surrogate pair.",
                "Remove it; inside a string literal write it as an escape.",
            )
        ]
    return []


@lru_cache(maxsize=2048)
def parse(text: str) -> Node | tuple[ExpressionFault, ...]:
    """The tree of a text, or the faults of one that does not parse. Names and types are not looked at."""
    try:
        serialized: bytes = _environment(Scope.PLAN).compile(text, disable_check=True).serialize()
    except (RuntimeError, TypeError) as error:
        return tuple(_faults(str(error)))
    return decode(serialized)


@lru_cache(maxsize=2048)
def compile_text(text: str, scope: Scope) -> Any:
    """The compiled, type-checked expression (the library's `Expression`), or a tuple of faults."""
    try:
        return _environment(scope).compile(text)
    except (RuntimeError, TypeError) as error:
        return tuple(_faults(str(error)))


def _faults(message: str) -> list[ExpressionFault]:
    if "recursion" in message:
        return [
            ExpressionFault(
                FaultCode.TOO_NESTED,
                "The expression is nested too deeply, or chains more than about 30 operators, selections or brackets.",
                "Use fewer brackets; && and || may be chained freely, other operators not.",
            )
        ]
    lines = [_ERROR_LINE.search(line) for line in message.splitlines()]
    found = [_fault(int(line[2]), line[3]) for line in lines if line]
    unique = list(dict.fromkeys(found))[:_MAX_FAULTS]
    return unique or [
        ExpressionFault(FaultCode.SYNTAX, f"The expression does not compile: {message[:300]}", _SYNTAX_REMEDY)
    ]


def _fault(column: int, text: str) -> ExpressionFault:
    place = f"At character {column}: " if column > 0 else ""
    undeclared = _UNDECLARED.match(text)
    if undeclared:
        return ExpressionFault(
            FaultCode.UNKNOWN_NAME,
            f"{place}`{undeclared[1]}` is not a name or function that an expression knows.",
            f"Functions are {_FUNCTIONS}.",
        )
    overload = _OVERLOAD.match(text)
    if overload:
        operator = overload[1].strip("_").replace("_", " ").removeprefix("@")
        return ExpressionFault(
            FaultCode.TYPE, f"{place}`{operator}` does not take ({overload[2]}).", _type_remedy(overload[2])
        )
    if text.startswith(("Syntax error", "unsupported syntax")):
        return ExpressionFault(FaultCode.SYNTAX, f"{place}{text[:300]}.", _SYNTAX_REMEDY)
    return ExpressionFault(
        FaultCode.TYPE, f"{place}{text[:300]}.", "Correct the types; convert with int(), double() or string()."
    )


def _type_remedy(operands: str) -> str:
    if "int" in operands and "double" in operands:
        return "Whole numbers and fractions do not mix: write 1.0 for 1, or convert with double(…) or int(…)."
    return (
        "Compare and combine values of one type; convert with int(…), double(…), string(…), timestamp(…), duration(…)."
    )
