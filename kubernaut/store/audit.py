"""Who did what: one event in the transaction of the change that it records, so that neither exists without the other.

Every function that changes what people care about calls `record`. The table refuses UPDATE and DELETE by a trigger;
chaining and sealing the events is a later issue's. No secret belongs into `details`: it holds names, ids and reasons.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from kubernaut.redaction import redact
from kubernaut.store.tables import AuditEventRow

MAX_TEXT = 2_000
"""Characters of one text in `details`; foreign texts have no end of their own."""


class Operation(StrEnum):
    """What was done. Events are searched by these words: add to them, change none."""

    VALIDATE = "validate"
    REGISTER = "register"
    TRIGGER = "trigger"
    REFUSAL = "refusal"
    APPROVAL = "approval"
    PHASE = "phase"
    CLEAR = "clear"
    CANCEL = "cancel"
    TIMEOUT = "timeout"
    UNDO = "undo"
    ADOPT = "adopt"
    HALT = "halt"
    RESUME = "resume"


SubjectKind = Literal["plan", "workflow", "execution", "step", "run", "halt"]


@dataclass(frozen=True)
class Actor:
    """Who. `user`: a person, by the name that Airflow's authentication gave; `system`: one of our loops; `airflow`:
    Airflow itself, e.g. its schedule."""

    kind: Literal["user", "system", "airflow"]
    name: str

    @classmethod
    def user(cls, name: str) -> Actor:
        return cls("user", name)

    @classmethod
    def system(cls, name: str) -> Actor:
        """`name`: the loop, e.g. `registrar`."""
        return cls("system", name)


def record(
    session: Session | AsyncSession,
    actor: Actor,
    operation: Operation,
    *,
    subject_kind: SubjectKind,
    subject_id: str,
    tracking_id: str | None = None,
    details: Mapping[str, JsonValue] | None = None,
) -> None:
    """Add the event to the caller's transaction. Texts in `details` are cut at `MAX_TEXT`."""
    session.add(
        AuditEventRow(
            actor_kind=actor.kind,
            actor=storable(actor.name),
            operation=operation.value,
            subject_kind=subject_kind,
            subject_id=storable(subject_id),
            tracking_id=tracking_id,
            details={storable(name): _storable_value(value) for name, value in (details or {}).items()},
        )
    )


def storable(value: str) -> str:
    """Text that PostgreSQL can keep (no NUL, no lone surrogates), and no longer than `MAX_TEXT`."""
    clean = redact(value).replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    return clean if len(clean) <= MAX_TEXT else clean[: MAX_TEXT - 1] + "…"


def _storable_value(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_storable_value(each) for each in value]
    if isinstance(value, dict):
        return {storable(name): _storable_value(each) for name, each in value.items()}
    return value
