"""How bytes reach a cluster's API server, and what is known when they do not come back.

The client (`kubernaut.cluster.client`) speaks Kubernetes; a `Transport` only carries requests. There are two: the one
here over plain aiohttp (CLI, demo, tests, the practice cluster) and the one over an Airflow connection in
`kubernaut_operators.transport`. Both turn aiohttp's errors into `TransportError` by the function here, because one fact
decides what the engine may do next: whether the request can have reached the server.
Does not retry, does not read JSON, knows no error classes.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Protocol

import aiohttp
from yarl import URL

from kubernaut.errors import KubernautError

USER_AGENT = f"kubernaut/{version('kubernaut-airflow')}"
MAX_LINE_BYTES = 4 * 1024 * 1024
"""Longest event of a watch: etcd's largest object is 1.5 MiB."""
_CONNECT_SECONDS = 10.0


class TransportError(KubernautError):
    """No answer.

    :param timed_out: the time ran out, as opposed to a connection that failed
    :param delivered: False where the request certainly never reached the server (no connection was made)
    """

    def __init__(self, message: str, *, timed_out: bool, delivered: bool) -> None:
        super().__init__(message)
        self.timed_out = timed_out
        self.delivered = delivered


@dataclass(frozen=True, kw_only=True)
class Response:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    body: bytes = b""


class Stream(Protocol):
    """An answer whose body comes line by line (a watch)."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...

    def lines(self) -> AsyncIterator[bytes]:
        """Ends when the server closes the connection. Raises `TransportError`."""
        ...

    async def read(self) -> bytes:
        """The whole body, for an answer that is an error."""
        ...


class Transport(Protocol):
    """One cluster. Raises `TransportError` where there is no answer; any HTTP status is an answer."""

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float,
    ) -> Response: ...

    def stream(
        self, path: str, *, query: Mapping[str, str], headers: Mapping[str, str], timeout: float
    ) -> AbstractAsyncContextManager[Stream]:
        """GET. `timeout` is the longest silence, in seconds."""
        ...

    async def close(self) -> None: ...


class AiohttpStream:
    """`Stream` over an aiohttp response."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers = lower_case(response.headers)

    async def read(self) -> bytes:
        try:
            return await self._response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise transport_error(error) from error

    async def lines(self) -> AsyncIterator[bytes]:
        pending = bytearray()
        try:
            async for chunk in self._response.content.iter_any():
                pending += chunk
                while (end := pending.find(b"\n")) >= 0:
                    line = bytes(pending[:end])
                    del pending[: end + 1]
                    if line.strip():
                        yield line
                if len(pending) > MAX_LINE_BYTES:
                    raise TransportError(
                        f"one event of the watch is longer than {MAX_LINE_BYTES} bytes", timed_out=False, delivered=True
                    )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise transport_error(error) from error


class AiohttpTransport:
    """A cluster at a URL, with an optional bearer token. One session, made at the first request on the running loop.

    :param base_url: `http://127.0.0.1:8001`
    :param token: bearer token
    :param ssl_context: for `https`; the system's trust store where absent
    """

    def __init__(self, base_url: str, token: str | None = None, ssl_context: ssl.SSLContext | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {"User-Agent": USER_AGENT}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._ssl: ssl.SSLContext | bool = ssl_context or True
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                headers=self._headers, connector=aiohttp.TCPConnector(ssl=self._ssl), trust_env=True
            )
        return self._session

    def _url(self, path: str, query: Mapping[str, str]) -> URL:
        return URL(f"{self._base_url}{path}").with_query(dict(query))

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float,
    ) -> Response:
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=_CONNECT_SECONDS)
        try:
            async with self._open().request(
                method, self._url(path, query), headers=headers, data=body, timeout=limits, allow_redirects=False
            ) as response:
                return Response(
                    status=response.status, headers=lower_case(response.headers), body=await response.read()
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise transport_error(error) from error

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, str], headers: Mapping[str, str], timeout: float
    ) -> AsyncIterator[Stream]:
        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=timeout)
        try:
            response = await self._open().get(
                self._url(path, query), headers=headers, timeout=limits, allow_redirects=False
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise transport_error(error) from error
        try:
            yield AiohttpStream(response)
        finally:
            response.close()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None


def lower_case(headers: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def transport_error(error: BaseException) -> TransportError:
    """What an error of aiohttp says about the request. In doubt it was delivered."""
    never_sent = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
    delivered = not isinstance(error, never_sent)
    timed_out = isinstance(error, TimeoutError)
    text = str(error) or type(error).__name__
    return TransportError("no answer in time" if timed_out else text, timed_out=timed_out, delivered=delivered)
