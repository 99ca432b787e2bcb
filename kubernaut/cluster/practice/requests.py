"""What was asked, and what shall go wrong: the request log and the injected disturbances of the HTTP shell.

Why it exists: "exactly once" is proved by counting requests, and retries by making requests fail. Used by `http_api`;
tests use it in-process through `PracticeServer` or at `/practice/requests` and `/practice/inject`.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from kubernaut.cluster.practice.resources import Json


@dataclass
class RequestRecord:
    """One mutating request. `status` is None while it runs and when the connection was closed instead of an answer."""

    number: int
    time: str
    method: str
    path: str
    query: dict[str, str]
    user_agent: str
    content_type: str
    body: Any
    status: int | None = None
    injected: bool = False


class Injection(BaseModel):
    """Disturbs the next `count` requests that fit. At least one of `status`, `delay`, `close`, `kill_watches`.

    `close: before` closes the connection without doing anything, `after` does what was asked and closes then, so that
    the client cannot know. `kill_watches` alone ends all running watches at once and waits for no request."""

    model_config = ConfigDict(extra="forbid")

    count: int = Field(default=1, ge=1)
    method: str = Field(default=".*", description="a regular expression for the whole method")
    path: str = Field(default=".*", description="a regular expression found anywhere in the path")
    status: Literal[409, 429, 500, 503] | None = None
    retry_after: int = Field(default=1, ge=0, description="seconds, with status 429 and 503")
    delay: float = Field(default=0, ge=0, description="seconds before anything happens")
    close: Literal["before", "after"] | None = None
    kill_watches: bool = False

    @field_validator("method", "path")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from error
        return value

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.status is None and self.close is None and not self.delay and not self.kill_watches:
            raise ValueError("an injection needs one of status, delay, close, kill_watches")
        return self

    def fits(self, method: str, path: str) -> bool:
        return re.fullmatch(self.method, method) is not None and re.search(self.path, path) is not None

    def answer(self) -> tuple[int, Json, dict[str, str]]:
        """Status code, body and headers in the API server's shape."""
        code = self.status or 500
        reason, message = _ANSWERS[code]
        details: Json = {}
        headers = {}
        if code in (429, 503):
            details["retryAfterSeconds"] = self.retry_after
            headers["Retry-After"] = str(self.retry_after)
        body = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details,
            "code": code,
        }
        return code, body, headers


_ANSWERS = {
    409: (
        "Conflict",
        "Operation cannot be fulfilled on the object: the object has been modified; please apply your changes to the "
        "latest version and try again",
    ),
    429: ("TooManyRequests", "Too many requests, please try again later."),
    500: ("InternalError", "Internal error occurred: injected by the practice cluster"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
}


class RequestLog:
    """All mutating requests since the start, and the disturbances that still wait for a request."""

    def __init__(self) -> None:
        self.records: list[RequestRecord] = []
        self._injections: list[Injection] = []

    def add(self, record: RequestRecord) -> None:
        self.records.append(record)

    def inject(self, injection: Injection) -> None:
        self._injections.append(injection.model_copy())

    def disturbance(self, method: str, path: str) -> Injection | None:
        """Takes one use of the first injection that fits."""
        for injection in self._injections:
            if injection.fits(method, path):
                injection.count -= 1
                if not injection.count:
                    self._injections.remove(injection)
                return injection
        return None

    def as_json(self) -> Json:
        return {"requests": [asdict(record) for record in self.records]}
