"""How a command ends: the exit codes, and what becomes of an error. Used by every command."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kubernaut.errors import KubernautError


class Exit(IntEnum):
    """Part of the interface: scripts rely on these."""

    OK = 0
    FAILED = 1
    """Refused, invalid, or ended without success."""
    USAGE = 2
    """Wrong usage or configuration: nothing was looked at."""
    HUMAN = 3
    """A human must look, or an approval is needed."""
    UNREACHABLE = 4
    """The server gave no answer."""


def exit_of(error: KubernautError) -> Exit:
    """The exit code that an error means."""
    from kubernaut.errors import ConfigurationError
    from kubernaut.rest_client import Refused, Unreachable

    if isinstance(error, Unreachable):
        return Exit.UNREACHABLE
    if isinstance(error, ConfigurationError):
        return Exit.USAGE
    if isinstance(error, Refused) and error.problem.name in ("human_required", "approval_required"):
        return Exit.HUMAN
    return Exit.FAILED


def text_of(error: KubernautError) -> str:
    """What a person reads of it: every fault with its place and remedy."""
    from kubernaut.cli.output import fault_lines
    from kubernaut.errors import InvalidInput
    from kubernaut.rest_client import Refused

    if isinstance(error, InvalidInput):
        return "\n".join(fault_lines(error.faults))
    if isinstance(error, Refused):
        return "\n".join([f"refused: {error}", *fault_lines(error.problem.faults)])
    return str(error)
