"""Reads what a command gets: plan and signal files, settings, policy. Bad JSON is a fault, not an exception."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import JsonValue

from kubernaut.errors import Fault, InvalidInput
from kubernaut.examination import Examination, Outcome
from kubernaut.settings import Settings, get_settings


def read_bytes(path: Path, settings: Settings) -> bytes:
    """At most one byte more than may be read: a larger file is refused without holding it. `-` is standard input."""
    limit = settings.max_plan_bytes + 1
    if str(path) == "-":
        return sys.stdin.buffer.read(limit)
    with path.open("rb") as file:
        return file.read(limit)


def read_document(path: Path, what: str) -> JsonValue:
    """The JSON value of a file. Raises `InvalidInput`, its faults naming `what`."""
    from kubernaut.json_input import read_json

    settings = get_settings()
    try:
        return read_json(
            read_bytes(path, settings), max_bytes=settings.max_plan_bytes, max_nesting=settings.max_nesting
        )
    except InvalidInput as error:
        raise InvalidInput([_about(fault, what) for fault in error.faults]) from None


def _about(fault: Fault, what: str) -> Fault:
    return fault.model_copy(update={"message": f"in the {what}: {fault.message}"})


def examine_file(path: Path, signal: Path | None) -> Examination:
    """Examine a plan file with the settings and the policy of this machine; no server is asked."""
    from kubernaut.plan.examine import examine
    from kubernaut.policy import load_policy

    settings = get_settings()
    faults: tuple[Fault, ...] = ()
    document: JsonValue = None
    if signal is not None:
        try:
            document = read_document(signal, "signal file")
        except InvalidInput as error:
            faults = error.faults
    examination = examine(
        read_bytes(path, settings), settings=settings, policy=load_policy(settings.policy_file), signal=document
    )
    if not faults:
        return examination
    return examination.model_copy(
        update={
            "outcome": Outcome.INVALID,
            "faults": (*faults, *examination.faults),
            "workflow": None,
            "bindings": None,
        }
    )
