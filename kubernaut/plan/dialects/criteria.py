"""The `monitoring` part of an answer: success criteria, validation commands and rollback triggers become checks.

What the grammar of `prose` and `commands` does not understand is asked of a human, never dropped: a plan whose success
cannot be judged as its author meant it must not run by itself. `monitoring_duration` is how long a criterion may take
to become true.
"""

from __future__ import annotations

from pydantic import JsonValue

from kubernaut.plan.dialects import commands, durations, plain, prose
from kubernaut.plan.model import Target
from kubernaut.plan.provenance import Reader, shown

_CRITERIA = "success_criteria"
_TRIGGERS = "rollback_triggers"
_MOST = 50


def read_monitoring(answer: Reader, draft: dict[str, JsonValue], target: Target) -> None:
    """Fills `success_criteria` and `rollback_triggers` of the plan's draft."""
    reader = answer.object("monitoring")
    criteria: list[dict[str, JsonValue]] = []
    triggers: list[dict[str, JsonValue]] = []
    if reader is not None:
        about = target if target.kind and target.name else None
        for pointer, text in reader.texts(_CRITERIA, at_most=_MOST):
            _read_prose(reader, pointer, text, about, criteria, _CRITERIA)
        for pointer, text in reader.texts("validation_commands", at_most=_MOST):
            _read_command(reader, pointer, text, target, criteria)
        for pointer, text in reader.texts(_TRIGGERS, at_most=_MOST):
            _read_prose(reader, pointer, text, about, triggers, _TRIGGERS)
        _read_duration(reader, criteria)
        reader.finish()
        reader.ledger.container(reader.at(_CRITERIA), f"/{_CRITERIA}")
        reader.ledger.container(reader.at(_TRIGGERS), f"/{_TRIGGERS}")
    draft[_CRITERIA] = list(criteria)
    draft[_TRIGGERS] = list(triggers)


def _read_prose(
    reader: Reader,
    pointer: str,
    text: str,
    about: Target | None,
    into: list[dict[str, JsonValue]],
    field: str,
) -> None:
    found = plain.mark(text)
    if found is not None:
        fault = plain.template_fault(pointer, found)
        reader.ledger.fault(fault.pointer, fault.code, fault.message, fault.remedy)
        return
    word = "criterion" if field == _CRITERIA else "trigger"
    reading = prose.read(text, about)
    if isinstance(reading, prose.NotUnderstood):
        _ask(reader, pointer, f"{word}_not_understood", text, reading.reason)
    elif isinstance(reading, prose.NeedsTarget):
        _ask(reader, pointer, f"{word}_without_target", text, "neither the answer nor the signal names one object")
    else:
        _add(reader, pointer, text, reading.model_dump(mode="json"), into, field)


def _read_command(reader: Reader, pointer: str, text: str, target: Target, into: list[dict[str, JsonValue]]) -> None:
    reading = commands.read(text, target, cluster=target.cluster)
    if isinstance(reading, commands.Refused):
        reader.ledger.fault(pointer, reading.code, reading.message, reading.remedy)
    elif isinstance(reading, commands.Shown):
        reader.ledger.note(pointer, f"read-only command without a criterion: {reading.why}")
    elif isinstance(reading, commands.Unclear):
        _ask(reader, pointer, "command_not_understood", text, reading.reason)
    else:
        _add(reader, pointer, text, reading.model_dump(mode="json"), into, _CRITERIA)


def _add(
    reader: Reader, pointer: str, text: str, check: JsonValue, into: list[dict[str, JsonValue]], field: str
) -> None:
    reader.ledger.container(pointer, f"/{field}/{len(into)}")
    reader.ledger.field(pointer, f"/{field}/{len(into)}/check")
    into.append({"name": text.strip(), "check": check})


def _ask(reader: Reader, pointer: str, code: str, text: str, reason: str) -> None:
    reader.ledger.question(pointer, code, f"{shown(text)}: {reason}")


def _read_duration(reader: Reader, criteria: list[dict[str, JsonValue]]) -> None:
    value = reader.take("monitoring_duration")
    if value is None:
        return
    place = reader.at("monitoring_duration")
    seconds = durations.seconds(value)
    if seconds is None:
        message = f"{shown(str(value))} is no duration"
        reader.ledger.fault(place, "invalid_duration", message, durations.REMEDY)
        return
    if not criteria:
        reader.ledger.note(place, "there is no criterion that could take so long")
    for index, criterion in enumerate(criteria):
        criterion["timeout"] = seconds
        reader.ledger.field(place, f"/{_CRITERIA}/{index}/timeout")
