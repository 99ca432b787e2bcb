"""The error family of the domain.

A `Fault` is a finding about something that came from outside (a plan, a signal, a request): it names the place, says
what was wrong and what to do about it. Faults are collected, never raised one at a time, so that whoever sent the input
sees the whole list at once. Exceptions are for what stops the caller; each carries what its reader needs to act.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class ErrorClass(StrEnum):
    """Why a step failed. A closed list: retry tables, signatures of failures and metrics are keyed by it."""

    TIMEOUT = "timeout"
    NETWORK = "network"
    THROTTLED = "throttled"
    CONFLICT = "conflict"
    PRECONDITION = "precondition"
    VALIDATION = "validation"
    AUTHORIZATION = "authorization"
    NOT_FOUND = "not_found"
    POST_CONDITION = "post_condition"
    UNKNOWN = "unknown"


class Fault(BaseModel):
    """One thing that is wrong with an input. `pointer` is an RFC 6901 JSON pointer into the input as it was sent."""

    model_config = ConfigDict(frozen=True)

    pointer: str
    code: str
    message: str
    remedy: str


class KubernautError(Exception):
    """Base of everything this package raises on purpose."""


class InvalidInput(KubernautError):
    """The input has faults; nothing was registered or changed."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.pointer or '/'}: {fault.message}" for fault in faults))
        self.faults = tuple(faults)


class ConfigurationError(KubernautError):
    """A setting, policy file or connection cannot be used; the text names it and the remedy."""


class StepFailure(KubernautError):
    """Raised by an executor, the cluster's client or the engine: the step failed.

    :param retry_after: seconds the server asked to wait, if it did
    :param effect_known: False where a mutating request may have been carried out although its answer says nothing
        (lost, server error): the step is then in doubt, and the object decides
    :param status: HTTP status of the answer, if there was one
    """

    def __init__(
        self,
        error_class: ErrorClass,
        message: str,
        *,
        retry_after: float | None = None,
        effect_known: bool = True,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.message = message
        self.retry_after = retry_after
        self.effect_known = effect_known
        self.status = status
