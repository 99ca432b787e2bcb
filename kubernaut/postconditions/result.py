"""The answer of one reading of one condition."""

from __future__ import annotations

from dataclasses import dataclass

from kubernaut.errors import ErrorClass


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one reading found.

    :param holds: None where the reading itself failed, or where nothing can read this yet
    :param observed: what was seen, for people; one line
    :param error: why it could not be read, or why the expression has no value
    :param readable: False where no executor can read this kind of condition yet
    :param resource_version: version of the object that was judged, where it was one object
    :param recheck_after: seconds after which the answer may change without any event in the cluster
    """

    holds: bool | None
    observed: str
    error: ErrorClass | None = None
    readable: bool = True
    resource_version: str | None = None
    recheck_after: float | None = None
