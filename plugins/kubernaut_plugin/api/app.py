"""The FastAPI app that Airflow's API server mounts under `/kubernaut`.

Its lifespan is also the life of the registrar and the reconciler in this API server: they start and stop with it. Our
`[kubernaut]` settings never keep Airflow from starting: where they cannot be read, the loops stay off and health says so.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from airflow.api_fastapi.app import get_auth_manager
from fastapi import FastAPI
from kubernaut_operators.process import configure
from kubernaut_operators.transport import transport_for

from kubernaut.errors import ConfigurationError
from kubernaut.settings import get_settings
from kubernaut.store.engine import dispose
from kubernaut_plugin.api import executions, halts, health, openapi, plans
from kubernaut_plugin.api.problems import install
from kubernaut_plugin.api.security import require_kinds
from kubernaut_plugin.loop import Loop
from kubernaut_plugin.reconciler import reconciler_loop
from kubernaut_plugin.registrar import registrar_loop

log = logging.getLogger(__name__)
ROUTERS = (
    health.alive,
    health.reads,
    plans.reads,
    executions.reads,
    executions.writes,
    halts.reads,
    halts.writes,
    openapi.reads,
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # dependencies of Airflow read it from the app that they run in, which is this one
    app.state.auth_manager = get_auth_manager()
    app.state.loops = _loops()
    for loop in app.state.loops.values():
        loop.start()
    try:
        yield
    finally:
        await asyncio.gather(*(asyncio.to_thread(loop.stop) for loop in app.state.loops.values()))
        await _close_clusters()
        await asyncio.to_thread(dispose)


def _loops() -> dict[str, Loop]:
    try:
        configure()
        return {"registrar": registrar_loop(), "reconciler": reconciler_loop()}
    except ConfigurationError as error:
        log.error("Kubernaut does not work in this API server: %s", error)
        return {}


async def _close_clusters() -> None:
    try:
        connections = set(get_settings().clusters.values())
    except ConfigurationError:
        return
    for conn_id in connections:
        await transport_for(conn_id).close()


def make_app() -> FastAPI:
    """Raises `RuntimeError` where a route is none of the three kinds."""
    app = FastAPI(title="Kubernaut", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.loops = {}
    for router in ROUTERS:
        app.include_router(router)
    install(app)
    require_kinds(app.routes)
    return app
