"""Whether everything is well: `/livez` for whoever restarts processes, `/api/v1/health` for people.

Health asks with short timeouts and never fails because something is away; that is its answer. Only where the store is
away is it 503, since nothing works then.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from airflow.api.common.airflow_health import get_airflow_health
from anyio import to_thread
from fastapi import Request
from kubernaut_operators.coroutines import environment
from sqlalchemy import column, func, select, table

from kubernaut.execution.environment import Environment
from kubernaut.execution.phases import Phase
from kubernaut.settings import get_settings
from kubernaut.store.engine import StoreNotMigrated, session
from kubernaut.store.halts import open_halts
from kubernaut.store.migrate import head
from kubernaut.store.tables import SCHEMA, ExecutionRow
from kubernaut_plugin.api import views
from kubernaut_plugin.api.models import Alive, ClusterHealth, Halt, Health, LoopHealth, PartHealth, StoreHealth
from kubernaut_plugin.api.problems import Problem
from kubernaut_plugin.api.security import Authority, liveness_router, person_router
from kubernaut_plugin.loop import Loop

alive = liveness_router()
reads = person_router(Authority.READ)

STORE_TIMEOUT = 3.0
CLUSTER_TIMEOUT = 2.0
AIRFLOW_TIMEOUT = 3.0
"""Seconds."""
_GRACE = 10.0
"""Seconds that a loop may take for one round, on top of its interval."""


@alive.get("/livez", tags=["health"])
async def livez() -> Alive:
    """The API server answers; says nothing else."""
    return Alive(status="alive")


@reads.get("/health", tags=["health"])
async def read_health(request: Request) -> Health:
    """Store, registrar, reconciler, Airflow's parts, clusters, halts. `degraded` names in `problems` what is wrong."""
    env = await to_thread.run_sync(environment)
    (store, counts), parts, clusters = await asyncio.gather(_store(), _airflow(), _clusters(env))
    found = _health(request.app.state.loops, store, counts, parts, clusters)
    if not store.reachable or store.schema_version != store.schema_expected:
        raise Problem(
            503,
            "store_unavailable",
            f"the store cannot be used: {store.error}",
            headers={"Retry-After": "5"},
            health=found.model_dump(mode="json"),
        )
    return found


def _health(
    loops: Mapping[str, Loop],
    store: StoreHealth,
    counts: Mapping[str, Any],
    parts: Mapping[str, PartHealth],
    clusters: Mapping[str, ClusterHealth],
) -> Health:
    settings = get_settings()
    registrar = loop_health(loops.get("registrar"), settings.registrar_interval)
    reconciler = loop_health(loops.get("reconciler"), settings.reconcile_interval)
    wrong = list(_problems(store, {"registrar": registrar, "reconciler": reconciler}, parts, clusters))
    return Health(
        status="degraded" if wrong else "ok",
        problems=wrong,
        store=store,
        registrar=registrar,
        reconciler=reconciler,
        scheduler=parts["scheduler"],
        triggerer=parts["triggerer"],
        dag_processor=parts["dag_processor"],
        clusters=dict(clusters),
        queued=counts.get("queued"),
        oldest_queued_seconds=counts.get("oldest_queued_seconds"),
        running=counts.get("running"),
        halts=counts.get("halts", []),
    )


def _problems(
    store: StoreHealth,
    loops: Mapping[str, LoopHealth | None],
    parts: Mapping[str, PartHealth],
    clusters: Mapping[str, ClusterHealth],
) -> Iterable[str]:
    if store.error:
        yield f"store: {store.error}"
    for name, loop in loops.items():
        if loop is None:
            yield f"{name}: it does not run in this API server; its log says why"
        elif not loop.healthy:
            lag = "no round went well yet" if loop.lag is None else f"no round went well for {loop.lag:.0f} s"
            yield f"{name}: {lag}" + (f" ({loop.last_error})" if loop.last_error else "")
    for name, part in parts.items():
        if not part.healthy:
            yield f"{name}: {part.status or 'not running'}"
    for name, cluster in clusters.items():
        if not cluster.reachable:
            yield f"cluster {name}: {cluster.error}"


def loop_health(loop: Loop | None, interval: float) -> LoopHealth | None:
    if loop is None:
        return None
    lag = loop.lag
    return LoopHealth(
        lag=None if lag is None else round(lag, 3),
        interval=interval,
        last_error=loop.last_error,
        healthy=lag is not None and lag <= interval + _GRACE,
    )


# --- asking


async def _store() -> tuple[StoreHealth, Mapping[str, Any]]:
    begun = time.monotonic()
    expected = _head()
    try:
        async with asyncio.timeout(STORE_TIMEOUT):
            version, counts = await to_thread.run_sync(_store_sync, abandon_on_cancel=True)
    except TimeoutError:
        error = f"no answer within {STORE_TIMEOUT:g} s"
        return StoreHealth(reachable=False, schema_expected=expected, error=error), {}
    except StoreNotMigrated as failure:
        return StoreHealth(reachable=True, schema_expected=expected, error=_short(failure)), {}
    except Exception as failure:
        return StoreHealth(reachable=False, schema_expected=expected, error=_short(failure)), {}
    wrong = None if version == expected else f"its schema is {version or 'absent'}, needed is {expected}: migrate it"
    latency = round((time.monotonic() - begun) * 1000, 1)
    health = StoreHealth(
        reachable=True, schema_version=version, schema_expected=expected, error=wrong, latency_ms=latency
    )
    return health, counts


@lru_cache(maxsize=1)
def _head() -> str:
    return head()


def _store_sync() -> tuple[str | None, Mapping[str, Any]]:
    waiting = ExecutionRow.phase == Phase.QUEUED
    with session() as store:
        version = store.scalar(select(column("version_num")).select_from(table("alembic_version", schema=SCHEMA)))
        queued, oldest, running = store.execute(
            select(
                func.count().filter(waiting),
                func.min(ExecutionRow.created_at).filter(waiting),
                func.count().filter(ExecutionRow.phase == Phase.RUNNING),
            ).where(ExecutionRow.phase.in_((Phase.QUEUED, Phase.RUNNING)))
        ).one()
        halts: list[Halt] = [views.halt(row) for row in store.scalars(open_halts())]
    age = round((datetime.now(UTC) - oldest).total_seconds(), 1) if oldest is not None else None
    return version, {"queued": queued, "oldest_queued_seconds": age, "running": running, "halts": halts}


async def _airflow() -> Mapping[str, PartHealth]:
    try:
        async with asyncio.timeout(AIRFLOW_TIMEOUT):
            found = await to_thread.run_sync(get_airflow_health, abandon_on_cancel=True)
    except Exception as failure:
        unknown = PartHealth(status=f"unknown: {_short(failure)}", latest_heartbeat=None, healthy=False)
        return dict.fromkeys(("scheduler", "triggerer", "dag_processor"), unknown)
    return {
        name: PartHealth(
            status=found[name]["status"],
            latest_heartbeat=found[name][f"latest_{name}_heartbeat"],
            healthy=found[name]["status"] == "healthy",
        )
        for name in ("scheduler", "triggerer", "dag_processor")
    }


async def _clusters(env: Environment) -> Mapping[str, ClusterHealth]:
    names = sorted(get_settings().clusters)
    return dict(zip(names, await asyncio.gather(*(_cluster(env, name) for name in names)), strict=True))


async def _cluster(env: Environment, name: str) -> ClusterHealth:
    begun = time.monotonic()
    try:
        async with asyncio.timeout(CLUSTER_TIMEOUT):
            version = await env.cluster(name).version()
    except TimeoutError:
        return ClusterHealth(reachable=False, error=f"no answer within {CLUSTER_TIMEOUT:g} s")
    except Exception as failure:
        return ClusterHealth(reachable=False, error=_short(failure))
    latency = round((time.monotonic() - begun) * 1000, 1)
    return ClusterHealth(reachable=True, version=str(version.get("gitVersion", "")), latency_ms=latency)


def _short(failure: Exception) -> str:
    text = " ".join(str(failure).split())
    return (text or type(failure).__name__)[:300]
