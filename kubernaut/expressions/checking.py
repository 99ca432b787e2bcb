"""Whether a text may become an expression of a plan, and what it reads. Pure: nothing is evaluated.

Plan validation calls `check` for every condition and `{"$cel": …}` parameter, and `references` to demand that the
steps an expression reads lie upstream. The CEL compiler checks types; the names below `steps` and `vars`, which it
takes for maps with any key, are checked here on the syntax tree. Does not know JSON pointers: the caller adds the
place.
"""

from __future__ import annotations

from collections.abc import Collection as Names
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from kubernaut.expressions.library import compile_text, parse, text_faults
from kubernaut.expressions.terms import (
    DEFAULT_LIMITS,
    STEP_FIELDS,
    STEP_STATES,
    ExpressionError,
    ExpressionFault,
    FaultCode,
    Limits,
    References,
    ResultType,
    Scope,
)
from kubernaut.expressions.tree import Call, Collection, Comprehension, Constant, Ident, Node, Select

# Names of types, as in `type(x) == int`.
_TYPE_NAMES = frozenset(
    {"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"}
    | {"google", "google.protobuf.Timestamp", "google.protobuf.Duration"}
)
# The library's name of a static type → the results it can be given for. DYN is decided at run time.
_PREFIXES = {
    ResultType.BOOL: ("BOOL",),
    ResultType.INT: ("INT", "UINT"),
    ResultType.DOUBLE: ("DOUBLE", "INT", "UINT"),
    ResultType.STRING: ("STRING",),
    ResultType.LIST: ("LIST",),
    ResultType.MAP: ("MAP",),
    ResultType.ANY: ("BOOL", "INT", "UINT", "DOUBLE", "STRING", "LIST", "MAP", "NULL", "TIMESTAMP", "DURATION"),
}


@dataclass(frozen=True)
class _Path:
    """A chain of constant keys from a top-level name; `keys` ends where a computed key begins."""

    root: str
    keys: tuple[str, ...]
    tested: bool  # has(…)

    @property
    def text(self) -> str:
        return self.root + "".join(f".{key}" if key.isidentifier() else f'["{key}"]' for key in self.keys)


@dataclass
class _Reading:
    """What one walk over a tree finds."""

    paths: list[_Path] = field(default_factory=list)
    faults: list[ExpressionFault] = field(default_factory=list)
    nested: int = 0


def check(
    text: str,
    *,
    scope: Scope,
    wants: ResultType,
    step_ids: Names[str],
    variables: Names[str],
    limits: Limits = DEFAULT_LIMITS,
) -> list[ExpressionFault]:
    """Every reason why `text` may not be evaluated in `scope`; an empty list means that it may.

    :param wants: the type of result; a type known only at run time (`vars.x`) passes here and is checked there.
    :param step_ids: the steps of the plan that the expression may read.
    :param variables: the variables that the plan declares.
    """
    faults = shape_faults(text, scope, limits)
    if faults:
        return faults
    reading = _read(text)
    for path in dict.fromkeys(reading.paths):
        if path.root == "steps":
            faults.extend(_step_faults(path, step_ids))
        elif path.root == "vars":
            faults.extend(_variable_faults(path, variables))
    return faults + reading.faults + _type_faults(text, scope, wants)


def shape_faults(text: str, scope: Scope, limits: Limits = DEFAULT_LIMITS) -> list[ExpressionFault]:
    """The faults that need no plan: length, syntax, nesting, top-level names. The engine asks again."""
    faults = text_faults(text, limits)
    if faults:
        return faults
    tree = parse(text)
    if isinstance(tree, tuple):
        return list(tree)
    reading = _read(text)
    if reading.nested > limits.max_nested_comprehensions:
        faults.append(
            ExpressionFault(
                FaultCode.TOO_NESTED,
                f"{reading.nested} of all/exists/exists_one/map/filter lie within each other or are chained; "
                f"{limits.max_nested_comprehensions} are allowed.",
                "Join the conditions: list.filter(o, a).all(o, b) is list.all(o, !a || b).",
            )
        )
    unknown = dict.fromkeys(path.root for path in reading.paths if not _known_root(path, scope))
    faults.extend(_root_fault(root, scope) for root in unknown)
    return faults


def references(text: str, *, limits: Limits = DEFAULT_LIMITS) -> References:
    """What an expression reads, whatever its scope.

    :raises ExpressionError: when the text does not parse; `check` says the same as a fault.
    """
    faults = text_faults(text, limits)
    tree = parse(text) if not faults else tuple(faults)
    if isinstance(tree, tuple):
        raise ExpressionError(tree[0])
    return _references(text)


@lru_cache(maxsize=2048)
def _references(text: str) -> References:
    paths = [path for path in _read(text).paths if path.root not in _TYPE_NAMES]
    return References(
        roots=frozenset(path.root for path in paths),
        steps=frozenset(path.keys[0] for path in paths if path.root == "steps" and path.keys),
        variables=frozenset(path.keys[0] for path in paths if path.root == "vars" and path.keys),
        paths=frozenset((path.root, *path.keys) for path in paths),
    )


def _known_root(path: _Path, scope: Scope) -> bool:
    return path.root in scope.roots or path.root in _TYPE_NAMES


@lru_cache(maxsize=2048)
def _read(text: str) -> _Reading:
    """One walk over the tree of a text that parses. Cached: callers must not change it."""
    tree = parse(text)
    reading = _Reading()
    if not isinstance(tree, tuple):
        reading.nested = _walk(tree, frozenset(), reading)
    return reading


def _walk(node: Node, bound: frozenset[str], reading: _Reading) -> int:
    """Collect paths and faults below `node`; the answer is how many comprehensions lie within each other."""
    path = _path(node, bound)
    if path is not None:
        reading.paths.append(path)
        return 0
    if isinstance(node, Call):
        reading.faults.extend(_state_faults(node, bound))
    if isinstance(node, Collection) and node.message_name:
        reading.faults.append(
            ExpressionFault(
                FaultCode.TYPE,
                f"`{node.message_name}{{…}}` builds a message; expressions work on JSON values only.",
                "Use timestamp('…') or duration('…') for times, {'key': value} for maps.",
            )
        )
    below = [_walk(child, names, reading) for child, names in _children(node, bound)]
    return max(below, default=0) + isinstance(node, Comprehension)


def _children(node: Node, bound: frozenset[str]) -> Iterator[tuple[Node, frozenset[str]]]:
    match node:
        case Select():
            yield node.operand, bound
        case Call():
            yield from ((operand, bound) for operand in node.operands)
        case Collection():
            yield from ((element, bound) for element in node.elements)
        case Comprehension():
            yield from ((part, bound) for part in node.outside)
            yield from ((part, bound | node.variables) for part in node.body)


def _path(node: Node, bound: frozenset[str]) -> _Path | None:
    """The chain of constant keys that `node` is, if it starts at a name that no comprehension binds."""
    keys: list[str] = []
    tested = isinstance(node, Select) and node.test_only
    while True:
        match node:
            case Select(operand=operand, field=key):
                keys.append(key)
                node = operand
            case Call(function="_[_]", args=(operand, Constant(value=str(key)))):
                keys.append(key)
                node = operand
            case Ident(name=name) if name not in bound:
                return _Path(name, tuple(reversed(keys)), tested)
            case _:
                return None


def _root_fault(root: str, scope: Scope) -> ExpressionFault:
    known = ", ".join(sorted(scope.roots))
    if root in Scope.OBJECT.roots | Scope.LIST.roots:
        message = (
            f"`{root}` is not known here; it belongs to checks over {'one object' if root == 'object' else 'a list'}."
        )
    else:
        message = f"`{root}` is not a name that an expression knows."
    remedy = f"Names here are {known}{_suggestion(root, scope.roots)}; the plan's variables are read as vars.NAME."
    return ExpressionFault(FaultCode.UNKNOWN_NAME, message, remedy)


def _step_faults(path: _Path, step_ids: Names[str]) -> list[ExpressionFault]:
    reads = 'Read one step by its id: steps.ID.status, steps.ID.outputs.NAME, or steps["an-id"].status.'
    if not path.keys:
        return [ExpressionFault(FaultCode.UNKNOWN_NAME, "`steps` is read as a whole or with a computed key.", reads)]
    step = path.keys[0]
    if step not in step_ids:
        dashed = sorted(known for known in step_ids if known.startswith(f"{step}-"))
        hint = f'Write steps["{dashed[0]}"]: a dash needs the bracket form.' if dashed else reads
        near = "" if dashed else _suggestion(step, step_ids)
        return [ExpressionFault(FaultCode.UNKNOWN_NAME, f"`{path.text}`: there is no step {step!r}{near}.", hint)]
    if len(path.keys) == 1 and not path.tested:
        return [ExpressionFault(FaultCode.UNKNOWN_NAME, f"`{path.text}` names a step but none of its fields.", reads)]
    if len(path.keys) > 1 and path.keys[1] not in STEP_FIELDS:
        return [ExpressionFault(FaultCode.UNKNOWN_NAME, f"`{path.text}`: a step has status and outputs only.", reads)]
    return []


def _variable_faults(path: _Path, variables: Names[str]) -> list[ExpressionFault]:
    if not path.keys:
        message = "`vars` is read as a whole or with a computed key."
        return [ExpressionFault(FaultCode.UNKNOWN_NAME, message, "Read one variable by its name: vars.NAME.")]
    name = path.keys[0]
    if name in variables:
        return []
    declared = ", ".join(sorted(variables)[:20]) or "none"
    return [
        ExpressionFault(
            FaultCode.UNKNOWN_NAME,
            f"`{path.text}`: there is no variable {name!r}{_suggestion(name, variables)}.",
            f"Declare it under the plan's variables (declared: {declared}).",
        )
    ]


def _state_faults(node: Call, bound: frozenset[str]) -> list[ExpressionFault]:
    """A step's status compared with a word that no status is: it could never be true."""
    if node.function not in {"_==_", "_!=_", "@in"} or len(node.args) != 2:
        return []
    left, right = node.args
    if not (_is_status(left, bound) or _is_status(right, bound)):
        return []
    other = right if _is_status(left, bound) else left
    words = other.elements if isinstance(other, Collection) else (other,)
    return [
        ExpressionFault(
            FaultCode.TYPE,
            f"A step's status is never {word.value!r}.",
            f"It is one of {', '.join(sorted(STEP_STATES))}.",
        )
        for word in words
        if isinstance(word, Constant) and (not isinstance(word.value, str) or word.value not in STEP_STATES)
    ]


def _is_status(node: Node, bound: frozenset[str]) -> bool:
    path = _path(node, bound)
    return path is not None and path.root == "steps" and path.keys[1:] == ("status",) and not path.tested


def _type_faults(text: str, scope: Scope, wants: ResultType) -> list[ExpressionFault]:
    compiled = compile_text(text, scope)
    if isinstance(compiled, tuple):
        return list(compiled)
    found: str = compiled.return_type().name()
    if found == "DYN" or found.split("<")[0] in _PREFIXES[wants]:
        return []
    return [
        ExpressionFault(
            FaultCode.TYPE,
            f"The expression gives {found.lower()}, but {wants.value} is needed here.",
            "Make it a comparison." if wants is ResultType.BOOL else f"Convert the result to {wants.value}.",
        )
    ]


def _suggestion(name: str, known: Names[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, sorted(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
