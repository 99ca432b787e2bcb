"""Evaluation of one expression over one context, in the process that calls it.

The child process of `sandbox` runs `run` for text that is not ours; `evaluate_here` is the same for text of our own
and for tests. Both go through one request in JSON form, so that they see exactly the same data. Nothing raises for a
bad text or bad data: the answer is then an error, never a value, and so never true. Time and memory are not limited
here: `sandbox` does that.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from kubernaut.expressions.checking import references, shape_faults
from kubernaut.expressions.library import compile_text
from kubernaut.expressions.terms import (
    DEFAULT_LIMITS,
    Context,
    Evaluation,
    EvaluationCode,
    EvaluationError,
    ExpressionError,
    Limits,
    ResultType,
    Scope,
    Trace,
)

_HIDDEN = "(hidden: Secret)"
_MISSING = "(missing)"
_LONGEST_INPUT = 120
TOO_DEEP = "The data is nested too deeply."
_PYTHON_TYPES: dict[ResultType, tuple[type, ...]] = {
    ResultType.BOOL: (bool,),
    ResultType.INT: (int,),
    ResultType.DOUBLE: (float, int),
    ResultType.STRING: (str,),
    ResultType.LIST: (list,),
    ResultType.MAP: (dict,),
}


class Refusal(Exception):
    """Carries an `EvaluationError` to the edge of this package; never leaves it."""

    def __init__(self, code: EvaluationCode, message: str) -> None:
        super().__init__(message)
        self.error = EvaluationError(code, message)


@dataclass(frozen=True)
class Request:
    """One evaluation, ready to be sent: `encoded` is JSON, `inputs` is for the trace."""

    encoded: bytes
    inputs: Mapping[str, Any]


def evaluate_here(
    text: str, context: Context, *, scope: Scope, wants: ResultType, limits: Limits = DEFAULT_LIMITS
) -> Evaluation:
    """Evaluate in this process. For text of our own: time and memory are not limited, and the GIL is held meanwhile."""
    began = time.perf_counter()
    inputs: Mapping[str, Any] = {}
    try:
        request = prepare(text, context, scope=scope, wants=wants, limits=limits)
        inputs = request.inputs
        answer = run(json.loads(request.encoded))
    except Refusal as refusal:
        return conclude(text, refusal.error, began, inputs)
    except RecursionError:
        return conclude(text, EvaluationError(EvaluationCode.DATA, TOO_DEEP), began, inputs)
    return conclude(text, answer, began, inputs)


def conclude(
    text: str, answer: Mapping[str, Any] | EvaluationError, began: float, inputs: Mapping[str, Any]
) -> Evaluation:
    """The evaluation that an answer of `run`, or an error before or instead of it, amounts to."""
    value = None
    error = answer if isinstance(answer, EvaluationError) else None
    if not isinstance(answer, EvaluationError):
        if "code" in answer:
            error = EvaluationError(EvaluationCode(answer["code"]), str(answer["message"]))
        else:
            value = answer["value"]
    trace = Trace(text, value, round((time.perf_counter() - began) * 1000, 3), inputs)
    return Evaluation(value, error, trace)


def prepare(text: str, context: Context, *, scope: Scope, wants: ResultType, limits: Limits) -> Request:
    """Reduce the context to the names that the text reads, and write it down as JSON.

    :raises Refusal: for a text that does not parse and for data that is not JSON or too large.
    """
    try:
        read = references(text, limits=limits)
    except ExpressionError as error:
        raise Refusal(EvaluationCode.REFUSED, str(error)) from error
    if context.now.tzinfo is None:
        raise Refusal(EvaluationCode.DATA, "`now` has no time zone.")
    data = {name: value for name, value in _activation(context, scope).items() if name in read.roots}
    body = {
        "text": text,
        "scope": scope.value,
        "wants": wants.value,
        "now": context.now.astimezone(UTC).isoformat(),
        "limits": asdict(limits),
        "data": data,
    }
    try:
        encoded = json.dumps(body, default=_as_json, check_circular=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Refusal(EvaluationCode.DATA, f"The data cannot be given to an expression: {error}.") from error
    if len(encoded) > limits.max_data_bytes:
        message = f"The data has {len(encoded)} bytes; {limits.max_data_bytes} are allowed. Read fewer objects."
        raise Refusal(EvaluationCode.DATA, message)
    return Request(encoded, {"".join(_shown(path)): _input(path, data, context.now) for path in sorted(read.paths)})


def _activation(context: Context, scope: Scope) -> dict[str, Any]:
    data: dict[str, Any] = {
        "signal": context.signal,
        "target": context.target,
        "vars": context.variables,
        "steps": context.steps,
    }
    if scope is Scope.OBJECT:
        data["object"] = context.object
    if scope is Scope.LIST:
        if context.objects is None:
            raise Refusal(EvaluationCode.DATA, "The list of objects is absent.")
        data["objects"] = context.objects
    return data


def _as_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value of type {type(value).__name__} is not JSON; times are RFC 3339 text")


def run(body: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluate a request's JSON. The answer is `{"value": …}` or `{"code": …, "message": …}`."""
    try:
        return {"value": _run(body)}
    except Refusal as refusal:
        return {"code": refusal.error.code.value, "message": refusal.error.message}


def _run(body: Mapping[str, Any]) -> Any:
    text, scope, wants, limits = body["text"], Scope(body["scope"]), ResultType(body["wants"]), Limits(**body["limits"])
    faults = shape_faults(text, scope, limits)
    compiled = compile_text(text, scope) if not faults else tuple(faults)
    if isinstance(compiled, tuple):
        raise Refusal(EvaluationCode.REFUSED, " ".join(f"{fault.message} {fault.remedy}" for fault in compiled))
    data = dict(body["data"])
    if not _within_depth(data, limits.max_depth + 1):  # + 1: the names themselves are one level
        raise Refusal(EvaluationCode.DATA, f"The data is nested deeper than {limits.max_depth} levels.")
    data["now"] = datetime.fromisoformat(body["now"])
    try:
        result = compiled.eval(data=data)
        kind = result.type().name()
        if kind in {"ERROR", "UNKNOWN"}:
            raise Refusal(EvaluationCode.FAILED, f"The evaluation failed: {_first_line(str(result.value()))}.")
        return _result(_plain(result, limits.max_depth), wants, limits)
    except MemoryError as error:
        raise Refusal(EvaluationCode.LIMIT, "The memory for one evaluation is used up.") from error
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        code = EvaluationCode.LIMIT if "budget exceeded" in str(error) else EvaluationCode.FAILED
        raise Refusal(code, f"The evaluation failed: {_first_line(str(error))}.") from error


def _first_line(message: str) -> str:
    """The library's message without its status word: `NOT_FOUND: Key not found in map : "a"` → `Key not found …`."""
    line = message.splitlines()[0][:300] if message else "no reason given"
    status, colon, rest = line.partition(": ")
    return rest if colon and status.isupper() else line


def _within_depth(data: Any, most: int) -> bool:
    """Whether maps and lists nest at most `most` deep; level by level, because recursion is what must not happen."""
    level = [data]
    for _ in range(most):
        level = [child for value in level for child in _containers(value)]
        if not level:
            return True
    return False


def _containers(value: Any) -> list[Any]:
    children = value.values() if isinstance(value, dict) else value
    return [child for child in children if isinstance(child, dict | list)]


def _result(plain: Any, wants: ResultType, limits: Limits) -> Any:
    allowed = _PYTHON_TYPES.get(wants, (object,))
    number_wanted = wants in {ResultType.INT, ResultType.DOUBLE}
    fits = isinstance(plain, allowed) and not (number_wanted and isinstance(plain, bool))
    if not fits:
        raise Refusal(EvaluationCode.RESULT, f"The result is {_type_word(plain)}, but {wants.value} is needed here.")
    if wants is ResultType.DOUBLE:
        return float(plain)
    # Texts, lists and maps can be large; their size is what JSON makes of them.
    if isinstance(plain, str | list | dict) and len(json.dumps(plain)) > limits.max_result_bytes:
        raise Refusal(EvaluationCode.RESULT, f"The result is larger than {limits.max_result_bytes} bytes.")
    return plain


def _plain(result: Any, depth: int) -> Any:
    """A CEL value in JSON form. Times become RFC 3339 text, durations seconds with an `s`, as CEL writes them.

    Never asks the library for the Python value of a null, nor of a collection as a whole (`plain_value`): version 0.1.3
    drops a reference to None each time, and after some thousands of nulls Python 3.11 ends with "deallocating None".
    """
    if depth < 0:
        raise Refusal(EvaluationCode.RESULT, "The result is nested too deeply.")
    kind = result.type().name().partition("<")[0]
    if kind == "NULL":
        return None
    value = result.value()
    if kind == "LIST":
        return [_plain(element, depth - 1) for element in value]
    if kind == "MAP":
        if not all(isinstance(key, str) for key in value):
            raise Refusal(EvaluationCode.RESULT, "The result is a map whose keys are not all text.")
        return {key: _plain(element, depth - 1) for key, element in value.items()}
    return _plain_scalar(kind, value)


def _plain_scalar(kind: str, value: Any) -> Any:
    if kind == "DOUBLE" and not math.isfinite(value):
        raise Refusal(EvaluationCode.RESULT, f"The result is {value}, which is no JSON number (a division by zero?).")
    if kind in {"BOOL", "INT", "UINT", "DOUBLE", "STRING"}:
        return value
    if kind == "TIMESTAMP":
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if kind == "DURATION":
        return f"{value.total_seconds():.9f}".rstrip("0").rstrip(".") + "s"
    raise Refusal(EvaluationCode.RESULT, f"The result is {kind.lower()}, which JSON does not know.")


def _type_word(value: Any) -> str:
    words = {bool: "bool", int: "int", float: "double", str: "string", list: "list", dict: "map", type(None): "null"}
    return words.get(type(value), type(value).__name__.lower())


def _shown(path: tuple[str, ...]) -> list[str]:
    return [path[0], *(f".{key}" if key.isidentifier() else f"[{json.dumps(key)}]" for key in path[1:])]


def _input(path: tuple[str, ...], data: Mapping[str, Any], now: datetime) -> Any:
    """The value at a path, short enough for a log line, and never out of a Secret."""
    if path == ("now",):
        return now.isoformat()
    value: Any = data
    for key in path:
        if isinstance(value, Mapping) and value.get("kind") == "Secret" and key in {"data", "stringData"}:
            return _HIDDEN
        if not isinstance(value, Mapping) or key not in value:
            return _MISSING
        value = value[key]
    if isinstance(value, Mapping):
        return f"(map of {len(value)})"
    if isinstance(value, list | tuple):
        return f"(list of {len(value)})"
    if isinstance(value, str) and len(value) > _LONGEST_INPUT:
        return value[:_LONGEST_INPUT] + "…"
    return value
