"""From the parameters that an AI gave to the parameters and the target of one step.

Used by every dialect whose actions have a `parameters` object. Other names of a parameter become ours, numbers
written as strings become numbers where the action wants one, and what names the object becomes the step's target; a
part of the target that is missing is taken from the signal where that is unambiguous. Nothing is guessed: two names
with different values, an unknown parameter of an installed action and a missing quantity are faults. Parameters of an
action that is not installed are kept as given.
"""

from __future__ import annotations

import re
import types as types_module
import typing

from pydantic import JsonValue

from kubernaut.actions import catalogue, registry
from kubernaut.cluster.objects import escape
from kubernaut.plan.dialects import plain, targeting
from kubernaut.plan.dialects.given import Parameters, agreed
from kubernaut.plan.model import Target
from kubernaut.plan.provenance import shown

NOTE_KEYS = ("reason", "description", "comment")
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d{0,17})(\.\d{1,17})?")


def read(parameters: Parameters) -> tuple[dict[str, JsonValue], Target | None]:
    """Parameters and target in our form. Every leaf of `parameters` gets its destination in the ledger."""
    _refuse_templates(parameters)
    target = targeting.Targeting(parameters).read()
    if parameters.spec.params is None:
        return _kept(parameters), target
    return _translated(parameters), target


def _refuse_templates(parameters: Parameters) -> None:
    expressions = (f"{parameters.at}/expression",) if parameters.spec.name == "monitoring.check" else ()
    for pointer, found in plain.marks(dict(parameters.value), parameters.at, expressions=expressions):
        fault = plain.template_fault(pointer, found)
        parameters.ledger.fault(fault.pointer, fault.code, fault.message, fault.remedy)


def _kept(parameters: Parameters) -> dict[str, JsonValue]:
    """As given; but two names of one parameter that disagree are a contradiction whoever will read them."""
    by_name: dict[str, list[str]] = {}
    for key in parameters.value:
        by_name.setdefault(parameters.spec.param_aliases.get(key, key), []).append(key)
        parameters.ledger.field(parameters.place(key), f"{parameters.step}/params/{escape(key)}")
    for keys in by_name.values():
        agreed(parameters, keys, {key: _plain_number(parameters.value[key]) for key in keys})
    return dict(parameters.value)


def _translated(parameters: Parameters) -> dict[str, JsonValue]:
    by_name: dict[str, dict[str, JsonValue]] = {}
    failed: set[str] = set()
    for key, value in parameters.value.items():
        if key in parameters.used:
            continue
        name = _parameter_name(parameters, key)
        if name is None:
            _unknown(parameters, key)
            continue
        if value is None:
            parameters.ledger.note(parameters.place(key), "null: not given")
            continue
        ok, converted = _converted(parameters, key, name, value)
        if not ok:
            failed.add(name)
        else:
            by_name.setdefault(name, {})[key] = converted
    given: dict[str, JsonValue] = {}
    for name, values in by_name.items():
        destination = f"{parameters.step}/params/{escape(name)}"
        if not agreed(parameters, list(values), values, plan=destination):
            failed.add(name)
            continue
        given[name] = next(iter(values.values()))
        for key in values:
            parameters.ledger.field(parameters.place(key), destination)
    _check(parameters, given, failed)
    return given


def _parameter_name(parameters: Parameters, key: str) -> str | None:
    """Our name of the parameter: itself, an alias, or the same word in another spelling."""
    fields = parameters.fields
    entry = catalogue.CATALOGUE.get(parameters.spec.name)
    aliases = {**(entry.param_aliases if entry else {}), **parameters.spec.param_aliases}
    for name in (key, aliases.get(key), catalogue.snake(key)):
        if name is not None and name in fields:
            return name
    return None


def _unknown(parameters: Parameters, key: str) -> None:
    place, value = parameters.place(key), parameters.value[key]
    if key in NOTE_KEYS and isinstance(value, str):
        parameters.ledger.note(place, f"why {parameters.spec.name} is proposed")
        return
    entry = catalogue.CATALOGUE.get(parameters.spec.name)
    known = sorted({*parameters.fields, *(entry.param_aliases if entry else ()), *parameters.spec.param_aliases})
    near = parameters.ledger.near_miss(
        key, [*known, *targeting.KIND_OF_KEY, *targeting.NAMESPACE_KEYS, *targeting.CLUSTER_KEYS], cutoff=0.6
    )
    hint = f"Did you mean {near!r}? " if near else ""
    parameters.ledger.fault(
        place,
        "param_unknown",
        f"{parameters.spec.name} has no parameter {shown(key)}",
        f"{hint}It has: {', '.join(parameters.fields) or 'none'}.",
    )


def _converted(parameters: Parameters, key: str, name: str, value: JsonValue) -> tuple[bool, JsonValue]:
    """The value as the action wants it: a number where it wants one. False after a fault."""
    wanted, words = _types(parameters.fields[name].annotation)
    if not wanted & {int, float} or str in wanted or (isinstance(value, str) and value in words):
        return True, value
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            parameters.ledger.fault(
                parameters.place(key),
                "param_invalid",
                f"{name} is a number, this is the text {shown(value)}",
                "Give the number itself.",
                plan=f"{parameters.step}/params/{escape(name)}",
            )
            return False, None
        value = float(value) if "." in value else int(value)
    if isinstance(value, float) and value.is_integer() and float not in wanted:
        value = int(value)
    return True, value


def _check(parameters: Parameters, given: dict[str, JsonValue], failed: set[str]) -> None:
    """What the action's own model says about the parameters; what already has a fault is not reported twice."""
    for fault in registry.validate_params(parameters.spec.name, given):
        if fault.pointer[1:] in map(escape, failed):
            continue
        plan = f"{parameters.step}/params{fault.pointer}"
        place = parameters.ledger.sources.get(plan)
        parameters.ledger.fault(
            place or parameters.fault_place,
            fault.code,
            fault.message,
            fault.remedy,
            covers=place is not None,
            plan=plan,
        )


def _types(annotation: typing.Any) -> tuple[set[type], set[JsonValue]]:
    """The plain types in an annotation, through unions and Annotated, and the words of its literals."""
    types: set[type] = set()
    words: set[JsonValue] = set()
    waiting = [annotation]
    while waiting:
        part = waiting.pop()
        origin = typing.get_origin(part)
        if origin is typing.Literal:
            words.update(typing.get_args(part))
        elif origin is typing.Annotated:
            waiting.append(typing.get_args(part)[0])
        elif isinstance(part, type):
            types.add(part)
        elif origin in (typing.Union, types_module.UnionType):
            waiting.extend(typing.get_args(part))
        elif isinstance(origin, type):
            types.add(origin)
    return types, words


def _plain_number(value: JsonValue) -> JsonValue:
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value
