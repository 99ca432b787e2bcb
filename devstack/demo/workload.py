"""What the demo itself reads from the cluster, before the repair and after it: the proof that owes nothing to the engine.

Called by `run`. It asks the cluster over a connection of its own and judges with the named checks; nothing that the
engine wrote about the execution is looked at. It changes nothing.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kubernaut.cluster.client import KubeClient
from kubernaut.cluster.objects import resolve
from kubernaut.cluster.ownership import owned_by, revision_of, selector_text
from kubernaut.cluster.transport import AiohttpTransport
from kubernaut.errors import StepFailure
from kubernaut.plan.model import Target
from kubernaut.postconditions import WorkloadFacts, describe_problem, named_checks
from kubernaut.postconditions.evaluate import read_facts
from kubernaut.postconditions.workload import CheckParams

REQUEST_SECONDS = 10.0
STEADY_SECONDS = 3.0
"""Every container must have run for this long: one that crashes at once is Running and Ready for a moment."""
PATIENCE_SECONDS = 20.0
"""How long a reading waits for what time alone may heal."""


@dataclass(frozen=True, kw_only=True)
class Pod:
    """One pod as a person wants to see it."""

    name: str
    revision: int | None
    ready: bool
    restarts: int
    state: str
    """`Running`, `CrashLoopBackOff`, …"""
    last_words: str | None
    """What the container said when it last ended."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One named check, read once."""

    check: str
    holds: bool
    observed: str


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A Deployment at one moment."""

    title: str
    """`Deployment demo-checkout/worker`"""
    read_at: datetime
    revision: int | None
    wanted: int
    available: int
    command: str
    """What its template starts."""
    pods: tuple[Pod, ...]
    problems: tuple[str, ...]
    """What is broken, one line each; empty where nothing is."""
    proofs: tuple[Proof, ...]

    @property
    def healthy(self) -> bool:
        return not self.problems and bool(self.proofs) and all(proof.holds for proof in self.proofs)

    @property
    def broken(self) -> tuple[str, ...]:
        """Every line that says why it is not healthy, each once."""
        checks = [f"{proof.check}: {proof.observed}" for proof in self.proofs if not proof.holds]
        return self.problems or tuple(checks)


class WorkloadUnread(RuntimeError):
    """The cluster did not tell; the text says why."""


def read_workload(url: str, token: str, target: Target, *, patience: float = PATIENCE_SECONDS) -> Workload:
    """Read it; where only time is missing (a container that has not run long enough), again until `patience` is over.

    Raises `WorkloadUnread`."""
    try:
        return asyncio.run(_read(url, token, target, patience))
    except StepFailure as failure:
        raise WorkloadUnread(failure.message) from failure


async def _read(url: str, token: str, target: Target, patience: float) -> Workload:
    transport = AiohttpTransport(url, token)
    try:
        client = KubeClient(transport, timeout=REQUEST_SECONDS)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        while True:
            found, wait = await _look(client, target)
            if wait is None or loop.time() + wait > deadline:
                return found
            await asyncio.sleep(wait + 0.05)
    finally:
        await transport.close()


async def _look(client: KubeClient, target: Target) -> tuple[Workload, float | None]:
    """One reading, and the seconds after which it may differ although nothing happens (None: only an event helps)."""
    facts = await read_facts(target, client)
    if facts.workload is None:
        raise WorkloadUnread(f"{target.kind} {target.name} is no workload")
    selector = selector_text(facts.workload)
    sets = (await client.list("ReplicaSet", target.namespace, label_selector=selector)).items
    now = datetime.now(UTC)
    return judge(facts, owned_by(facts.workload, sets), target, now)


def judge(
    facts: WorkloadFacts, replica_sets: tuple[Mapping[str, Any], ...], target: Target, now: datetime
) -> tuple[Workload, float | None]:
    """Pure: what the objects say. `Any`: Kubernetes objects as JSON."""
    params = CheckParams(steady_seconds=STEADY_SECONDS)
    results = {
        check.name: check.judge(facts, params, now) for check in named_checks() if "Deployment" in check.target_kinds
    }
    waits = [result.recheck_after for result in results.values() if not result.holds]
    wait = max((one for one in waits if one is not None), default=None) if None not in waits else None
    template = resolve(facts.workload, "/spec/template/spec/containers/0", {})
    command = [*(template.get("command") or ()), *(template.get("args") or ())]
    found = Workload(
        title=f"{target.kind} {target.namespace}/{target.name}",
        read_at=now,
        revision=revision_of(facts.workload or {}),
        wanted=int(resolve(facts.workload, "/spec/replicas", 1)),
        available=int(resolve(facts.workload, "/status/availableReplicas", 0)),
        command=" ".join(map(str, command)) or f"(the default of {template.get('image')})",
        pods=tuple(_pod(pod, replica_sets) for pod in facts.live_pods),
        problems=tuple(describe_problem(facts, now)),
        proofs=tuple(
            Proof(check=name, holds=result.holds is True, observed=result.observed) for name, result in results.items()
        ),
    )
    return found, wait


def _pod(pod: Mapping[str, Any], replica_sets: tuple[Mapping[str, Any], ...]) -> Pod:
    statuses = resolve(pod, "/status/containerStatuses") or ()
    owner = next((one for one in replica_sets if owned_by(one, (pod,))), None)
    return Pod(
        name=str(resolve(pod, "/metadata/name")),
        revision=revision_of(owner) if owner is not None else None,
        ready=bool(statuses) and all(status.get("ready") for status in statuses),
        restarts=sum(int(status.get("restartCount") or 0) for status in statuses),
        state=next((text for status in statuses if (text := _waiting(status))), None)
        or str(resolve(pod, "/status/phase")),
        last_words=next((text for status in statuses if (text := _last_words(status))), None),
    )


def _waiting(status: Mapping[str, Any]) -> str | None:
    reason = resolve(status, "/state/waiting/reason") or resolve(status, "/state/terminated/reason")
    return str(reason) if reason else None


def _last_words(status: Mapping[str, Any]) -> str | None:
    for state in ("state", "lastState"):
        if (ended := (status.get(state) or {}).get("terminated")) and ended.get("exitCode"):
            return f"exit code {ended['exitCode']}: {ended.get('message') or ended.get('reason') or 'no message'}"
    return None
