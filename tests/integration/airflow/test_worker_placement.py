"""The setting `step_placement = worker`: the same operators run the same coroutines in Airflow's workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kubernaut.examination import Examination
from kubernaut.execution.accept import Accepted, Submission, accept
from kubernaut.plan.examine import examine
from kubernaut.policy import DEFAULT_POLICY
from kubernaut.settings import Settings, get_settings
from kubernaut.store import engine
from kubernaut.store.audit import Actor
from tests.integration.airflow.conftest import TARGET, Runs, failing, noop, plan, states, step


@pytest.fixture
def in_workers(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("KUBERNAUT_STORE_URL", runs.stack.store_url)
    monkeypatch.setenv("KUBERNAUT_CLUSTERS", '{"practice": "kubernaut_practice"}')
    monkeypatch.setenv("KUBERNAUT_STEP_PLACEMENT", "worker")
    get_settings.cache_clear()
    yield get_settings()
    engine.dispose()
    get_settings.cache_clear()


def submit(examination: Examination) -> Accepted:
    with engine.session() as store:
        accepted = accept(store, Submission(examination=examination, actor=Actor.user("admin")))
    assert isinstance(accepted, Accepted), accepted
    return accepted


def test_steps_run_in_workers_with_the_same_states_and_outcome(runs: Runs, in_workers: Settings) -> None:
    """Success, failure and skip, a change and its proof, each in a worker process of Airflow."""
    document = plan(
        step("change", "kubernetes.scale", params={"replicas": 2}, target=TARGET),
        failing("check", "change"),
        noop("fallback", ("check", "failure")),
        noop("never", "check"),
    )
    accepted = submit(examine(document, settings=in_workers, policy=DEFAULT_POLICY))

    shown = runs.end(accepted.execution_id, timeout=150)

    assert shown["outcome"] == "success", shown["reason"]
    assert states(shown) == {
        "change": "succeeded",
        "check": "failed",
        "fallback": "succeeded",
        "never": "not_reached",
    }
    ran = [task for task in runs.tasks(shown).values() if task["state"] in ("success", "failed")]
    assert len(ran) >= 4
    assert all(task["pid"] for task in ran)
