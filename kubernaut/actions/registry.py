"""The executors that are installed, and what the catalogue says of every other action.

Read by validation, the compiler, the DAG factory and the step runner. The catalogue (`kubernaut.actions.catalogue`)
owns names and aliases, an executor owns everything else about its action; `spec` gives both in one.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any, cast

from pydantic import JsonValue, ValidationError
from pydantic_core import ErrorDetails

from kubernaut.actions import catalogue
from kubernaut.actions.kubernetes.rollout_restart import RolloutRestart
from kubernaut.actions.kubernetes.rollout_undo import RolloutUndo
from kubernaut.actions.kubernetes.scale import Scale
from kubernaut.actions.monitoring import MonitoringCheck
from kubernaut.actions.noop import Noop
from kubernaut.actions.notify import Notify
from kubernaut.actions.spec import ActionExecutor, ActionParams, ActionSpec, StepFailure
from kubernaut.cluster.objects import escape
from kubernaut.errors import ErrorClass, Fault
from kubernaut.settings import get_settings


@cache
def executors() -> Mapping[str, ActionExecutor]:
    """By the action's own name."""
    installed: Iterable[ActionExecutor] = (
        Scale(),
        RolloutUndo(),
        RolloutRestart(),
        MonitoringCheck(),
        Notify(),
        Noop(),
    )
    return MappingProxyType({one.spec.name: one for one in installed})


def executor(name: str) -> ActionExecutor:
    """Raises `StepFailure(VALIDATION)` where nothing carries out this action here."""
    found = executors().get(name)
    if found is None:
        raise StepFailure(ErrorClass.VALIDATION, f"action {name!r} is not installed here")
    return found


def find(name: str) -> ActionSpec | None:
    """The specification of the action that `name` means, by any of its names; never a near miss."""
    entry = catalogue.find(name)
    installed = executors().get(entry.name if entry else name)
    if entry is None or installed is None:
        return entry if installed is None else installed.spec
    return replace(
        installed.spec,
        aliases=entry.aliases,
        param_aliases={**entry.param_aliases, **installed.spec.param_aliases},
    )


def spec(name: str) -> ActionSpec:
    """As `find`. Raises `KeyError` for a name that no action has."""
    found = find(name)
    if found is None:
        raise KeyError(name)
    return found


def is_deferred(value: JsonValue) -> bool:
    """`{"$cel": …}`: known only when the step runs."""
    return isinstance(value, dict) and set(value) == {"$cel"} and isinstance(value["$cel"], str)


def validate_params(name: str, params: Mapping[str, JsonValue]) -> list[Fault]:
    """Faults of a step's parameters, pointers relative to them; none for an action that is not installed.

    A deferred value is taken as good here; `resolve_params` judges its result.
    """
    model = spec(name).params
    if model is None:
        return []
    deferred = {key for key, value in params.items() if is_deferred(value)}
    try:
        model.model_validate(dict(params))
    except ValidationError as error:
        return [
            _fault(name, model, found)
            for found in _one_per_place(error)
            if not found["loc"] or found["loc"][0] not in deferred or found["type"] == "extra_forbidden"
        ]
    return []


def resolve_params(name: str, params: Mapping[str, JsonValue]) -> ActionParams:
    """The parameters with every value known, as the executor's model. Raises `StepFailure(VALIDATION)`."""
    model = executor(name).spec.params
    try:
        return cast(type[ActionParams], model).model_validate(dict(params))
    except ValidationError as error:
        faults = [_fault(name, cast(type[ActionParams], model), found) for found in _one_per_place(error)]
        text = "; ".join(f"{fault.pointer or 'parameters'}: {fault.message}" for fault in faults)
        raise StepFailure(ErrorClass.VALIDATION, f"parameters of {name}: {text}") from error


def _one_per_place(error: ValidationError) -> list[ErrorDetails]:
    """A union reports one error for each of its members at deeper places: the parameter's first is enough."""
    first: dict[tuple[Any, ...], ErrorDetails] = {}
    for found in error.errors(include_url=False, include_context=False):
        first.setdefault(found["loc"][:1], found)
    return list(first.values())


def _fault(name: str, model: type[ActionParams], found: ErrorDetails) -> Fault:
    place = str(found["loc"][0]) if found["loc"] else ""
    pointer = f"/{escape(place)}" if place else ""
    if found["type"] == "missing":
        return Fault(
            pointer=pointer,
            code="param_missing",
            message=f"{name} needs the parameter {place!r}",
            remedy=f"Give {place!r}: {_wanted(model, place)}. A missing value is never guessed.",
        )
    if found["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place, list(model.model_fields), n=1)
        known = ", ".join(model.model_fields) or "none"
        return Fault(
            pointer=pointer,
            code="param_unknown",
            message=f"{name} has no parameter {place!r}",
            remedy=f"Did you mean {near[0]!r}?" if near else f"Leave it out; its parameters are: {known}.",
        )
    message = found["msg"].removeprefix("Value error, ")
    return Fault(
        pointer=pointer,
        code="param_invalid",
        message=f"{place}: {message}" if place else message,
        remedy=_remedy(name, model, place, rule=found["type"] == "value_error"),
    )


def _remedy(name: str, model: type[ActionParams], place: str, *, rule: bool) -> str:
    """:param rule: whether the value has the right type and breaks a rule of the action's own"""
    own = _RULES.get((name, place)) if rule else None
    if own is not None:
        return own()
    return f"Give {place!r} as {_wanted(model, place)}." if place else "Correct the parameters together."


def _listed_host() -> str:
    listed = ", ".join(get_settings().webhook_hosts) or "none now"
    return (
        "Use an http or https URL without credentials whose host is listed in the setting webhook_hosts "
        f"({listed}); an administrator may add one there. Channel 'log' needs no url."
    )


_RULES: Mapping[tuple[str, str], Callable[[], str]] = {
    ("notify", "url"): _listed_host,
    ("notify", ""): lambda: "Give channel 'webhook' with a url, or channel 'log' without one.",
}
"""What to do where the type is right and the value is not: by action and parameter ("": several together)."""


def _wanted(model: type[ActionParams], place: str) -> str:
    """What a parameter takes, from its JSON Schema, for people."""
    schema = model.model_json_schema().get("properties", {}).get(place, {})
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    return " or ".join(_described(option) for option in options)


def _described(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "enum" in schema:
        return " or ".join(f'"{value}"' for value in schema["enum"])
    limits = [
        f"{word} {schema[key]}"
        for key, word in (("minimum", "at least"), ("maximum", "at most"), ("minLength", "length at least"))
        if key in schema
    ]
    kind = str(schema.get("type", "a value"))
    return f"{kind} ({', '.join(limits)})" if limits else kind
