"""The values that cross the border of the expression engine: what is asked, what is refused, what comes out.

Plan validation, compile, the step engine and the post-condition sensor speak to `kubernaut.expressions` in these
types only. Nothing here parses or evaluates; nothing here imports the CEL library, so that importing it costs a
command line nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any

# The states a step can be in when another step's condition reads it. A comparison with any other word could never be
# true, so `check` refuses it.
STEP_STATES = frozenset({"succeeded", "failed", "skipped", "not_reached", "unknown", "undone"})
STEP_FIELDS = frozenset({"status", "outputs"})


class Scope(Enum):
    """Which names an expression may read."""

    PLAN = "plan"  # signal, target, vars, steps, now
    OBJECT = "object"  # PLAN + object: one Kubernetes object, or null where it does not exist
    LIST = "list"  # PLAN + objects: a list of Kubernetes objects

    @property
    def roots(self) -> frozenset[str]:
        """The top-level names of this scope."""
        plan = frozenset({"signal", "target", "vars", "steps", "now"})
        return plan | {Scope.PLAN: frozenset(), Scope.OBJECT: {"object"}, Scope.LIST: {"objects"}}[self]


class ResultType(StrEnum):
    """What the reader of the result needs. DOUBLE accepts a whole number; ANY is whatever JSON can say."""

    BOOL = "bool"
    INT = "int"
    DOUBLE = "double"
    STRING = "string"
    LIST = "list"
    MAP = "map"
    ANY = "any"


@dataclass(frozen=True)
class Limits:
    """Bounds for one expression and one evaluation. Times in seconds, sizes in MiB or bytes as named.

    :param max_characters: longest expression text.
    :param max_nested_comprehensions: how many of all/exists/exists_one/map/filter may lie within, or be
        chained on, each other.
    :param max_depth: deepest nesting of the data; the CEL library crashes on deep maps, so this is checked before
        it sees them.
    :param timeout: wall-clock seconds for one evaluation in the child process.
    :param memory_mb: address space of the child process.
    :param max_data_bytes: size of the data as JSON, counted over the names that the expression reads.
    :param max_result_bytes: size of the result as JSON.
    """

    max_characters: int = 1000
    max_nested_comprehensions: int = 2
    max_depth: int = 100
    timeout: float = 1.0
    memory_mb: int = 256
    max_data_bytes: int = 8 * 1024 * 1024
    max_result_bytes: int = 1024 * 1024


DEFAULT_LIMITS = Limits()


class FaultCode(StrEnum):
    """Why an expression is refused when a plan is validated."""

    SYNTAX = "expression_syntax"
    TYPE = "expression_type"
    UNKNOWN_NAME = "expression_unknown_name"
    TOO_LONG = "expression_too_long"
    TOO_NESTED = "expression_too_nested"


@dataclass(frozen=True)
class ExpressionFault:
    """One reason why an expression is refused; `code` is a `FaultCode`, and the caller adds the JSON pointer."""

    code: str
    message: str
    remedy: str


class ExpressionError(ValueError):
    """Raised by `references` for a text that is no expression; `fault` says why."""

    def __init__(self, fault: ExpressionFault) -> None:
        super().__init__(f"{fault.message} {fault.remedy}")
        self.fault = fault


@dataclass(frozen=True)
class References:
    """What an expression reads.

    :param roots: top-level names (`signal`, `vars`, …).
    :param steps: ids of steps, as in `steps.scale.status` or `steps["sec-1"].outputs`.
    :param variables: names below `vars`.
    :param paths: every chain of constant keys, root first: `("steps", "sec-1", "status")`.
    """

    roots: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()
    paths: frozenset[tuple[str, ...]] = frozenset()


@dataclass(frozen=True)
class Context:
    """The data an expression is evaluated over: JSON values only (times as RFC 3339 text), except `now`.

    :param steps: step id → `{"status": …, "outputs": {…}}`.
    :param now: the moment of evaluation, with a time zone.
    :param object: in scope OBJECT; None where the object does not exist (CEL `null`).
    :param objects: in scope LIST.
    """

    signal: Mapping[str, Any]
    target: Mapping[str, Any]
    variables: Mapping[str, Any]
    steps: Mapping[str, Mapping[str, Any]]
    now: datetime
    object: Any = None
    objects: Sequence[Any] | None = None


class EvaluationCode(StrEnum):
    """Why an evaluation has no value."""

    REFUSED = "refused"  # the text is no valid expression: `check` would have said so
    DATA = "data"  # the data cannot be given to an expression: too deep, too large, not JSON
    FAILED = "failed"  # a missing key, a division by zero, operands of the wrong type
    RESULT = "result"  # a value came out, of a type that was not asked for or too large
    LIMIT = "limit"  # the work or the memory of one evaluation is used up
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"  # the child process cannot be started


@dataclass(frozen=True)
class EvaluationError:
    """Why there is no value. Never raised: it stands in `Evaluation.error`; a condition with an error is not true."""

    code: EvaluationCode
    message: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Trace:
    """What an operator wants to read about one evaluation.

    :param inputs: each constant path that was read → its value; maps, lists, long texts and contents of Secrets in
        short form.
    """

    expression: str
    value: Any
    milliseconds: float
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """A value, or an error and then no value."""

    value: Any
    error: EvaluationError | None
    trace: Trace

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.error is None

    @property
    def holds(self) -> bool:
        """Whether a condition is true: false and failed are both not true, and only `error` tells them apart."""
        return self.error is None and self.value is True
