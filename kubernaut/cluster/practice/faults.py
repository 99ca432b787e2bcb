"""Faults: what goes wrong in a container, as long as its spec has certain values.

Why it exists: a rehearsal is worth something only if the wrong remedy does not heal. A fault is therefore a condition
on values of the container's spec, never on a revision or an object: a restart, a scale or the wrong revision meets the
same values again. Read by the kubelet (`controllers.kubelet`) whenever a container starts. Pure data and matching.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kubernaut.cluster.practice.quantities import parse_quantity
from kubernaut.cluster.practice.resources import Json


class Effect(StrEnum):
    """What the container does instead of becoming ready."""

    CRASH = "crash"
    OOM = "oom"
    IMAGE_PULL = "image_pull"
    NEVER_READY = "never_ready"
    SLOW_START = "slow_start"


class FaultMatch(BaseModel):
    """All given conditions must hold for one container. `namespace` and `container` only narrow; at least one of the
    others, a condition on a value that a remediation can change, is needed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    namespace: str | None = None
    container: str | None = None
    image: str | None = Field(default=None, description="the image, exactly")
    image_regex: str | None = Field(default=None, description="a regular expression for the whole image")
    env: dict[str, str] = Field(default_factory=dict, description="variables that have exactly these values")
    env_missing: tuple[str, ...] = Field(default=(), description="variables that are not set")
    command: tuple[str, ...] | None = Field(default=None, description="the command, exactly")
    args: tuple[str, ...] | None = Field(default=None, description="the arguments, exactly")
    argument: str | None = Field(default=None, description="one word of command or arguments")
    memory_limit_below: str | None = Field(default=None, description="a memory limit smaller than this quantity")

    @field_validator("image_regex")
    @classmethod
    def _regex_compiles(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                re.compile(value)
            except re.error as error:
                raise ValueError(f"is not a regular expression: {error}") from error
        return value

    @field_validator("memory_limit_below")
    @classmethod
    def _quantity_parses(cls, value: str | None) -> str | None:
        if value is not None:
            parse_quantity(value)
        return value

    @model_validator(mode="after")
    def _is_bound_to_a_value(self) -> Self:
        bound = (self.image, self.image_regex, self.command, self.args, self.argument, self.memory_limit_below)
        if all(value is None for value in bound) and not self.env and not self.env_missing:
            raise ValueError(
                "a fault needs a condition on a value (image, image_regex, env, env_missing, command, args, argument "
                "or memory_limit_below): otherwise nothing could heal it"
            )
        return self

    def matches(self, namespace: str, container: Json) -> bool:
        if not self._is_meant(namespace, container):
            return False
        return self._image_matches(container) and self._values_match(container)

    def _is_meant(self, namespace: str, container: Json) -> bool:
        return self.namespace in (None, namespace) and self.container in (None, container["name"])

    def _image_matches(self, container: Json) -> bool:
        image = container["image"]
        if self.image is not None and image != self.image:
            return False
        return self.image_regex is None or re.fullmatch(self.image_regex, image) is not None

    def _values_match(self, container: Json) -> bool:
        return self._env_matches(container) and self._command_matches(container) and self._memory_matches(container)

    def _env_matches(self, container: Json) -> bool:
        env = {item["name"]: item.get("value", "") for item in container.get("env", [])}
        if any(name in env for name in self.env_missing):
            return False
        return all(name in env and env[name] == value for name, value in self.env.items())

    def _command_matches(self, container: Json) -> bool:
        command, args = container.get("command", []), container.get("args", [])
        if self.command is not None and list(self.command) != command:
            return False
        if self.args is not None and list(self.args) != args:
            return False
        return self.argument is None or self.argument in [*command, *args]

    def _memory_matches(self, container: Json) -> bool:
        if self.memory_limit_below is None:
            return True
        limit = container.get("resources", {}).get("limits", {}).get("memory")
        return limit is not None and parse_quantity(limit) < parse_quantity(self.memory_limit_below)


class Fault(BaseModel):
    """`after_seconds`: how long a crashing container runs first (0: it never becomes ready); `seconds`: how long a slow
    one takes to start."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: FaultMatch
    effect: Effect
    message: str = ""
    exit_code: int = Field(default=1, ge=1, le=255)
    after_seconds: float = Field(default=0, ge=0)
    seconds: float = Field(default=60, ge=0)

    @property
    def termination(self) -> tuple[str, int]:
        """Reason and exit code of a container that this fault ends."""
        return ("OOMKilled", 137) if self.effect is Effect.OOM else ("Error", self.exit_code)


def fault_for(faults: tuple[Fault, ...], namespace: str, container: Json) -> Fault | None:
    """The first fault whose conditions this container meets."""
    return next((fault for fault in faults if fault.match.matches(namespace, container)), None)
