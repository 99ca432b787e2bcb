"""Speaks to the REST API of Kubernaut on an Airflow API server; the CLI is its user.

Knows routes, tokens and problem documents (RFC 9457), and nothing of plans. Every answer that is no success becomes a
`Refused` with what the server said, every failure to get an answer a `Unreachable`; nothing is retried, since the
commands that change something carry an idempotency key of the caller's.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, JsonValue, SecretStr, ValidationError

from kubernaut.errors import ConfigurationError, Fault, KubernautError

if TYPE_CHECKING:
    import httpx

_ROOT = "/kubernaut/api/v1"
_TIMEOUT = 30.0


class Problem(BaseModel):
    """A problem document, as far as it is read here."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str = ""
    status: int = 0
    detail: str = ""
    code: str = ""
    faults: tuple[Fault, ...] = ()

    @property
    def name(self) -> str:
        """`approval_required` and kin: the field `code`, else the last part of the type."""
        return self.code or self.type.rstrip("/").rpartition("/")[2].rpartition(":")[2]

    def member(self, key: str) -> Any:
        return (self.model_extra or {}).get(key)


class Refused(KubernautError):
    """The server answered, and the answer is no."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title or f"the server answered {problem.status}")
        self.problem = problem


class Unreachable(KubernautError):
    """There is no answer: nothing listens there, or something that is not Kubernaut."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A token, or name and password of an Airflow user to get one with."""

    token: SecretStr | None = None
    user: str | None = None
    password: SecretStr | None = None

    @classmethod
    def from_environment(cls, user: str | None = None, password: str | None = None) -> Credentials:
        """What was given, else `KUBERNAUT_TOKEN`, else `KUBERNAUT_USER` and `KUBERNAUT_PASSWORD`."""
        token = os.environ.get("KUBERNAUT_TOKEN")
        if token and user is None:
            return cls(token=SecretStr(token))
        secret = password if password is not None else os.environ.get("KUBERNAUT_PASSWORD")
        return cls(
            user=user or os.environ.get("KUBERNAUT_USER"), password=SecretStr(secret) if secret is not None else None
        )


@dataclass(kw_only=True)
class RestClient:
    """One conversation with one server; a context manager."""

    base_url: str
    credentials: Credentials
    transport: httpx.BaseTransport | None = None
    """Tests bring their own."""
    _http: httpx.Client | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            self._http.close()

    def submit(
        self,
        plan: JsonValue,
        *,
        signal: JsonValue = None,
        priority: str | None = None,
        approve: str | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """`POST /executions`: what was accepted. Raises `Refused` (409 where a person is needed)."""
        body = {"plan": plan, "signal": signal, "priority": priority, "approve": approve}
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        return self._call("POST", "/executions", json=_given(body), headers=headers)

    def executions(self, filters: Mapping[str, str | int | None]) -> dict[str, Any]:
        return self._call("GET", "/executions", params=_given(filters))

    def execution(self, execution_id: str) -> dict[str, Any]:
        return self._call("GET", f"/executions/{_segment(execution_id)}")

    def undo(self, execution_id: str, *, reason: str | None = None) -> dict[str, Any]:
        return self._call("POST", f"/executions/{_segment(execution_id)}/undo", json=_given({"reason": reason}))

    def halt(self, *, cluster: str | None, reason: str) -> dict[str, Any]:
        return self._call("POST", "/halt", json=_given({"cluster": cluster, "reason": reason}))

    def resume(self, *, cluster: str | None, reason: str | None) -> dict[str, Any]:
        return self._call("DELETE", "/halt", json=_given({"cluster": cluster, "reason": reason}))

    # --- the conversation

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """`Any`: JSON documents of the API, and httpx's own options."""
        document = self._send(method, f"{_ROOT}{path}", **options)
        if not isinstance(document, dict):
            raise Unreachable(f"{self.base_url} answered with something that is no document of Kubernaut")
        return document

    def _send(self, method: str, path: str, **options: Any) -> JsonValue:
        import httpx

        try:
            response = self._open().request(method, path, **options)
        except httpx.HTTPError as error:
            raise Unreachable(
                f"no answer from {self.base_url}: {error or type(error).__name__}; "
                "is the API server running, and is KUBERNAUT_API_URL right?"
            ) from error
        if response.is_success:
            return _document(response) if response.content else {}
        raise Refused(_problem(response))

    def _open(self) -> httpx.Client:
        import httpx

        if self._http is None:
            try:
                self._http = httpx.Client(
                    base_url=self.base_url, timeout=_TIMEOUT, transport=self.transport, follow_redirects=False
                )
            except (httpx.InvalidURL, ValueError) as error:
                raise ConfigurationError(f"KUBERNAUT_API_URL {self.base_url!r} is no URL: {error}") from error
            token = self.credentials.token or self._log_in()
            self._http.headers["Authorization"] = f"Bearer {token.get_secret_value()}"
        return self._http

    def _log_in(self) -> SecretStr:
        """A token for name and password, as Airflow gives it."""
        if self.credentials.user is None or self.credentials.password is None:
            raise ConfigurationError(
                "no credentials: set KUBERNAUT_TOKEN, or KUBERNAUT_USER and KUBERNAUT_PASSWORD (or --user, --password)"
            )
        body = {"username": self.credentials.user, "password": self.credentials.password.get_secret_value()}
        answer = self._send("POST", "/auth/token", json=body)
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not isinstance(token, str):
            raise Unreachable(f"{self.base_url}/auth/token gave no token; is this an Airflow API server?")
        return SecretStr(token)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _segment(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def _document(response: httpx.Response) -> JsonValue:
    try:
        document: JsonValue = response.json()
    except ValueError:
        return None
    return document


def _problem(response: httpx.Response) -> Problem:
    """What the server said, whatever form it said it in (Airflow's own errors are `{"detail": …}`)."""
    document = _document(response)
    fields = dict(document) if isinstance(document, dict) else {}
    detail = fields.get("detail")
    fields["detail"] = detail if isinstance(detail, str) else _explained(response)
    try:
        return Problem.model_validate({**fields, "status": response.status_code})
    except ValidationError:
        return Problem(status=response.status_code, detail=str(fields["detail"]))


def _explained(response: httpx.Response) -> str:
    explained = {
        401: "the credentials are not accepted (401)",
        403: "this user may not do that (403)",
        404: "there is nothing at this address (404); is the Kubernaut plugin installed on this server?",
    }
    return explained.get(response.status_code, f"the server answered {response.status_code} {response.reason_phrase}")
