"""A cluster through its Airflow connection: `Transport` over the cncf-kubernetes provider's async hook.

Made for the step runner, in a triggerer's event loop or in a worker. The hook finds out how to log in (in-cluster,
kubeconfig by path or text, context, exec plugins); its client carries our requests raw, so that the domain's own client
decides what an answer means. Two traps of the hook are avoided here: it reads the connection's extras with a call that
blocks the triggerer's loop, and it does not know the extra `disable_verify_ssl`.

A login is used for `MAX_AGE` seconds or until the server answers 401, then made anew from the connection as it is by
then; requests under way keep the old one until they end. One transport for each connection and event loop.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol, cast
from weakref import WeakKeyDictionary

import aiohttp
from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson
from airflow.providers.common.compat.sdk import AirflowException, AirflowNotFoundException

from kubernaut.cluster.transport import (
    USER_AGENT,
    AiohttpStream,
    Response,
    Stream,
    TransportError,
    lower_case,
    transport_error,
)
from kubernaut.errors import ConfigurationError

MAX_AGE = 300.0
_CONNECT_SECONDS = 10.0
_LOST = (aiohttp.ClientError, TimeoutError, OSError)


class ApiClient(Protocol):
    """The part of `kubernetes_asyncio.client.ApiClient` that is used here."""

    default_headers: dict[str, str]

    async def call_api(self, resource_path: str, method: str, **options: Any) -> aiohttp.ClientResponse: ...


Login = Callable[[str], AbstractAsyncContextManager[ApiClient]]


@asynccontextmanager
async def log_in(conn_id: str) -> AsyncIterator[ApiClient]:
    """An API client that is logged in as the connection says. Raises `ConfigurationError`, `TransportError`."""
    from airflow.providers.cncf.kubernetes.hooks.kubernetes import AsyncKubernetesHook
    from kubernetes_asyncio.client import Configuration

    extras = await _extras(conn_id)
    configuration = Configuration()
    if _is_true(_extra(extras, "disable_verify_ssl")):
        configuration.verify_ssl = False
    hook = AsyncKubernetesHook(conn_id=conn_id, connection_extras=extras, client_configuration=configuration)
    async with AsyncExitStack() as stack:
        try:
            client = cast(ApiClient, await stack.enter_async_context(hook.get_conn()))
        except (aiohttp.ClientError, TimeoutError) as error:  # e.g. the identity provider of a kubeconfig
            raise TransportError(f"logging in: {error}", timed_out=False, delivered=False) from error
        except Exception as error:
            raise ConfigurationError(
                f"the Airflow connection {conn_id!r} gives no access to a cluster: {type(error).__name__}: {error}. "
                "Correct it under Admin → Connections."
            ) from error
        client.default_headers["User-Agent"] = USER_AGENT
        yield client


async def _extras(conn_id: str) -> dict[str, Any]:
    try:
        connection = await get_async_connection(conn_id)
        return await get_async_extra_dejson(connection)
    except AirflowNotFoundException as error:
        raise ConfigurationError(
            f"there is no Airflow connection {conn_id!r}; create it (type Kubernetes) or correct the setting clusters"
        ) from error
    except AirflowException as error:
        raise ConfigurationError(f"the Airflow connection {conn_id!r} cannot be read: {error}") from error


def _extra(extras: Mapping[str, Any], name: str) -> Any:
    return extras.get(name, extras.get(f"extra__kubernetes__{name}"))


def _is_true(value: Any) -> bool:
    return value is True or str(value).strip().lower() in ("true", "1", "yes")


@dataclass
class _Session:
    """One login. Closed when it is retired and the last request that uses it has ended."""

    stack: AsyncExitStack
    client: ApiClient
    opened_at: float
    users: int = 0
    retired: bool = False

    async def close_if_unused(self) -> None:
        if self.retired and self.users == 0:
            await self.stack.aclose()


class HookTransport:
    """`kubernaut.cluster.transport.Transport` over one Airflow connection, on one event loop.

    :param conn_id: Airflow connection of type `kubernetes`
    :param login: how to log in; tests bring their own
    :param clock: seconds, monotonic
    """

    def __init__(self, conn_id: str, *, login: Login = log_in, clock: Callable[[], float] = time.monotonic) -> None:
        self.conn_id = conn_id
        self._login = login
        self._clock = clock
        self._session: _Session | None = None
        self._lock = asyncio.Lock()

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
        answer = await self._request(method, path, query, headers, body, limits)
        if answer.status == 401:
            # nothing was done for a caller that is not known: log in anew and ask once more
            answer = await self._request(method, path, query, headers, body, limits)
        return answer

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
        limits: aiohttp.ClientTimeout,
    ) -> Response:
        async with self._logged_in() as session:
            try:
                async with await _call(session.client, method, path, query, headers, body, limits) as response:
                    answer = Response(
                        status=response.status, headers=lower_case(response.headers), body=await response.read()
                    )
            except _LOST as error:
                raise transport_error(error) from error
            if answer.status == 401:
                self._retire(session)
        return answer

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, str], headers: Mapping[str, str], timeout: float
    ) -> AsyncIterator[Stream]:
        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=timeout)
        async with self._logged_in() as session:
            try:
                response = await _call(session.client, "GET", path, query, headers, None, limits)
            except _LOST as error:
                raise transport_error(error) from error
            try:
                if response.status == 401:
                    self._retire(session)
                yield AiohttpStream(response)
            finally:
                response.close()

    async def close(self) -> None:
        if (session := self._session) is not None:
            self._retire(session)
            await session.close_if_unused()

    @asynccontextmanager
    async def _logged_in(self) -> AsyncIterator[_Session]:
        """The current login, held open until the caller is done with it."""
        async with self._lock:
            old = self._session
            if old is not None and self._clock() - old.opened_at >= MAX_AGE:
                self._retire(old)
            session = self._session or await self._new_session()
            session.users += 1
        try:
            if old is not None:
                await old.close_if_unused()
            yield session
        finally:
            session.users -= 1
            await session.close_if_unused()

    async def _new_session(self) -> _Session:
        stack = AsyncExitStack()
        client = await stack.enter_async_context(self._login(self.conn_id))
        self._session = _Session(stack, client, self._clock())
        return self._session

    def _retire(self, session: _Session) -> None:
        session.retired = True
        if self._session is session:
            self._session = None


async def _call(
    client: ApiClient,
    method: str,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    body: bytes | None,
    limits: aiohttp.ClientTimeout,
) -> aiohttp.ClientResponse:
    # the client writes the body itself, from a document
    return await client.call_api(
        path,
        method,
        query_params=list(query.items()),
        header_params=dict(headers),
        body=None if body is None else json.loads(body),
        auth_settings=["BearerToken"],
        _preload_content=False,
        _request_timeout=limits,
    )


_transports: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, HookTransport]] = WeakKeyDictionary()


def transport_for(conn_id: str) -> HookTransport:
    """The transport of a connection on the running loop; the same one each time."""
    mine = _transports.setdefault(asyncio.get_running_loop(), {})
    return mine.setdefault(conn_id, HookTransport(conn_id))


async def close_transports() -> None:
    """Close the running loop's transports, before the loop ends."""
    for transport in _transports.pop(asyncio.get_running_loop(), {}).values():
        await transport.close()
