"""The demo's parts without a stack: what it sends, how it follows an execution, what it reads, and every ending it can have."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack import StartFailed
from devstack.demo import run, story
from devstack.demo.execution import Execution, FieldView
from devstack.demo.screen import Screen
from devstack.demo.summary import Report, differences, headline, restored, sections
from devstack.demo.watch import UNREACHABLE_SECONDS, Lines, watch
from devstack.demo.workload import Pod, Proof, Workload, judge
from kubernaut.cluster.practice import PracticeCluster, SimulatedClock, run_for
from kubernaut.cluster.practice.api import PatchType
from kubernaut.cluster.practice.resources import DEPLOYMENTS, PODS, REPLICA_SETS
from kubernaut.cluster.practice.scenario import load_scenario
from kubernaut.cluster.practice.server import PracticeServer, wall_clock
from kubernaut.examination import Outcome
from kubernaut.plan.examine import examine
from kubernaut.plan.model import Target
from kubernaut.policy import DEFAULT_POLICY
from kubernaut.postconditions import WorkloadFacts
from kubernaut.rest_client import RestClient, Unreachable
from kubernaut.settings import Settings

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
WORKER = Target(cluster="practice", kind="Deployment", namespace="demo-checkout", name="worker")


# --- what is sent


def test_the_stored_answer_may_run_without_a_person() -> None:
    told = story.load(None, now=NOW)
    settings = Settings(clusters={story.CLUSTER: "any"})
    found = examine(told.answer, settings=settings, policy=DEFAULT_POLICY, signal=dict(told.alert))
    assert (found.outcome, found.approval_required, found.warnings) == (Outcome.RUNNABLE, False, ())


def test_the_stored_alert_fires_now_and_names_the_broken_workload() -> None:
    told = story.load(None, now=NOW)
    assert told.signal.starts_at == "2026-11-24T12:00:00Z"
    assert told.target == WORKER


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "cannot be read"), ("{", "is not JSON"), ('{"a": 1, "a": 2}', "is not JSON")],
    ids=["no file", "broken", "a key twice"],
)
def test_an_answer_that_cannot_be_sent_is_refused_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, said: str
) -> None:
    file = tmp_path / "answer.json"
    if content is not None:
        file.write_text(content)
    assert run.main(["--answer", str(file), "--home", str(tmp_path / "home")]) == run.USAGE
    assert said in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


def test_of_the_card_the_order_of_the_steps_is_shown() -> None:
    assert run.outline("PLAN p\n  x\n\nORDER (…)\n  1  a\n\nSTEP a\n") == ["ORDER (…)", "  1  a"]
    assert run.outline("another card") == ["another card"]


# --- following an execution


def execution(phase: str, **fields: Any) -> Execution:
    return Execution.model_validate({"id": "ex-1", "phase": phase, **fields})


def step(state: str, **fields: Any) -> dict[str, Any]:
    return {"key": "s01", "name": "Roll worker back", "state": state, **fields}


class Clock:
    """Seconds that pass only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def follow(looks: list[Execution | Exception], alive: Callable[[], None] = lambda: None) -> tuple[Execution, str]:
    """The end, and the lines that a person saw who has no terminal. The last look repeats."""
    clock, output, pending = Clock(), io.StringIO(), iter(looks)
    last: list[Execution | Exception] = []

    def fetch() -> Execution:
        last.append(next(pending, last[-1] if last else looks[-1]))
        if isinstance(last[-1], Exception):
            raise last[-1]
        return last[-1]

    found = watch(fetch, Lines(Screen(output)), alive=alive, clock=clock, sleep=clock.sleep)
    return found, output.getvalue()


def test_each_change_of_a_step_is_one_line_with_its_time() -> None:
    running = execution("running", steps=[step("running")])
    ended = execution("completed", outcome="success", steps=[step("succeeded", message="rolled out")])
    found, text = follow([running, running, ended])
    assert found == ended
    assert [line.split() for line in text.splitlines()] == [
        ["+", "0.0", "s", "execution", "running"],
        ["+", "0.0", "s", "running", "Roll", "worker", "back"],
        ["+", "0.4", "s", "execution", "completed,", "success"],
        ["+", "0.4", "s", "succeeded", "Roll", "worker", "back:", "rolled", "out"],
    ]


def test_control_characters_of_others_never_reach_the_terminal() -> None:
    ended = execution("failed", steps=[step("failed", name="evil\x1b[2J", message="a\rb")])
    _, text = follow([ended])
    assert "\x1b" not in text
    assert "\r" not in text


def test_an_api_server_that_is_silent_for_a_moment_ends_nothing() -> None:
    ended = execution("completed")
    assert follow([Unreachable("no answer"), Unreachable("no answer"), ended])[0] == ended


def test_an_api_server_that_stays_silent_ends_the_demo() -> None:
    count = int(UNREACHABLE_SECONDS / 0.1)
    with pytest.raises(Unreachable):
        follow([Unreachable("no answer")] * count)


def test_a_process_that_has_ended_is_named_instead_of_waiting_for_ever() -> None:
    def alive() -> None:
        raise StartFailed("triggerer has ended by itself (exit code 1)")

    with pytest.raises(StartFailed, match="triggerer"):
        follow([execution("running")], alive)


# --- what the demo reads itself


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def cluster(clock: SimulatedClock) -> PracticeCluster:
    return load_scenario(story.SCENARIO).open(clock).cluster


def read(cluster: PracticeCluster, clock: SimulatedClock) -> tuple[Workload, float | None]:
    facts = WorkloadFacts(
        workload=cluster.api.get(DEPLOYMENTS, "demo-checkout", "worker"),
        pods=tuple(cluster.store.all(PODS, "demo-checkout")),
    )
    return judge(facts, tuple(cluster.store.all(REPLICA_SETS, "demo-checkout")), WORKER, clock())


def roll_back(cluster: PracticeCluster, clock: SimulatedClock) -> None:
    patch = [{"op": "remove", "path": "/spec/template/spec/containers/0/command"}]
    cluster.api.patch(DEPLOYMENTS, "demo-checkout", "worker", patch, PatchType.JSON)


def test_a_crash_loop_is_told_by_pod_with_restarts_and_last_words(
    cluster: PracticeCluster, clock: SimulatedClock
) -> None:
    found, wait = read(cluster, clock)
    crashing = [pod for pod in found.pods if not pod.ready]
    assert not found.healthy
    assert wait is None, "time alone does not heal it"
    assert (found.revision, found.available, found.wanted) == (3, 1, 2)
    assert [(pod.revision, pod.state) for pod in crashing] == [(3, "CrashLoopBackOff")] * 2
    assert all(pod.restarts >= 3 for pod in crashing)
    assert all(pod.last_words and "/settings/missing.yaml" in pod.last_words for pod in crashing)
    assert any("CrashLoopBackOff" in line for line in found.broken)


def test_a_workload_is_healthy_only_when_its_new_pods_have_run_for_a_while(
    cluster: PracticeCluster, clock: SimulatedClock
) -> None:
    roll_back(cluster, clock)
    run_for(cluster, clock, 2.5)
    young, wait = read(cluster, clock)
    assert not young.healthy
    assert wait is not None
    run_for(cluster, clock, wait)
    old, _ = read(cluster, clock)
    assert old.healthy
    assert old.broken == ()


# --- the summary


def workload(*, problems: tuple[str, ...] = (), holds: bool = True) -> Workload:
    pod = Pod(name="worker-1", revision=4, ready=holds, restarts=0, state="Running", last_words=None)
    return Workload(
        title="Deployment demo-checkout/worker",
        read_at=NOW,
        revision=4,
        wanted=2,
        available=2 if holds else 1,
        command="serve",
        pods=(pod,),
        problems=problems,
        proofs=(Proof(check="rollout_complete", holds=holds, observed="2 of 2"),),
    )


HEALTHY, BROKEN = workload(), workload(problems=("pod worker-1: container worker is in CrashLoopBackOff",), holds=False)
TEMPLATE = {"spec": {"containers": [{"name": "worker", "image": "web:1"}]}}
FALLBACK = {"step": "s01", "outcome": "failure"}
CHANGE = {
    "step": "s01",
    "effect": "in_object",
    "kind": "Deployment",
    "namespace": "demo-checkout",
    "name": "worker",
    "summary": "template of revision 3 → that of revision 2",
    "status": "applied",
    "fields": [
        {
            "pointer": "/spec/template",
            "before": {"spec": {"containers": [{"name": "worker", "image": "web:1", "command": ["bad"]}]}},
            "after": TEMPLATE,
        }
    ],
}


def ended(phase: str = "completed", **fields: Any) -> Execution:
    times = {"started_at": NOW + timedelta(seconds=0.4), "ended_at": NOW + timedelta(seconds=6)}
    steps = [
        step("succeeded", **times),
        {"key": "s02", "name": "Restart worker", "state": "pending", "depends_on": [FALLBACK]},
    ]
    given: dict[str, Any] = {
        "outcome": "success",
        "steps": steps,
        "journal": [CHANGE],
        "created_at": NOW,
        "ended_at": NOW + timedelta(seconds=7.5),
    }
    return execution(phase, **(given | fields))


def summary(**fields: Any) -> tuple[Report, str]:
    report = Report(**({"before": BROKEN, "after": HEALTHY, "execution": ended(), "accept_seconds": 0.1} | fields))
    lines = [line for section in sections(report) for line in (section.title, *section.lines)]
    return report, "\n".join([*lines, headline(report)])


def test_the_summary_of_a_repair_says_what_was_done_and_how_long_it_took() -> None:
    report, text = summary()
    assert report.healthy
    assert "Roll worker back  template of revision 3 → that of revision 2" in text
    assert "not run: Restart worker: only when Roll worker back has failed" in text
    assert "THE REPAIR: accepted → verdict  7.50 s" in text
    assert "is healthy again, 7.5 s after the request" in text


def test_the_summary_names_the_fields_that_an_undo_would_set_back() -> None:
    _, text = summary()
    assert 'Deployment demo-checkout/worker:\n  /spec/template/spec/containers/0/command: (not set)  →  ["bad"]' in text


def test_what_no_undo_restores_is_named_as_such_and_not_as_a_field() -> None:
    restarted = {**CHANGE, "summary": "restarted", "fields": [{"pointer": "/spec/template/x", "before": 1, "after": 2}]}
    steps = [step("succeeded", action="kubernetes.rollout_restart")]
    _, text = summary(execution=ended(steps=steps, journal=[restarted]))
    assert "Deployment demo-checkout/worker: cannot be taken back: restarted (a restart cannot be taken back" in text
    assert "/spec/template/x" not in text


def test_the_command_that_reads_the_workload_is_one_that_works_over_plain_http() -> None:
    with PracticeServer(load_scenario(story.SCENARIO).open(wall_clock).cluster) as server:
        words = shlex.split(run.cluster_command(story.load(None, now=NOW).target))
        path = words[-1].removeprefix("$CLUSTER_URL")
        name, _, value = words[words.index("-H") + 1].replace("$CLUSTER_TOKEN", server.token).partition(": ")
        answer = httpx.get(f"{server.url}{path}", headers={name: value}, trust_env=False)
    assert (words[0], answer.status_code, answer.json()["metadata"]["name"]) == ("curl", 200, "worker")


def test_what_was_taken_back_already_is_not_offered_again() -> None:
    _, text = summary(execution=ended("failed", outcome="failure", journal=[{**CHANGE, "undone_by": 7}]))
    assert "every change of this plan was taken back" in text


def test_only_the_cluster_decides_whether_the_demo_succeeded() -> None:
    """The engine's word, good or bad, changes nothing."""
    praised, text = summary(after=BROKEN)
    blamed, _ = summary(execution=ended("failed", outcome="failure"))
    assert (praised.healthy, blamed.healthy) == (False, True)
    assert "what is still broken" in text
    assert "pod worker-1: container worker is in CrashLoopBackOff" in text
    assert text.endswith("is still broken.")


def test_a_cluster_that_does_not_answer_is_no_proof() -> None:
    report, text = summary(after=None)
    assert not report.healthy
    assert text.endswith("nobody knows; the cluster did not answer.")


def test_a_refused_plan_is_told_with_its_faults() -> None:
    report, text = summary(execution=None, after=BROKEN, refusal=("/primary_action/action: unknown",))
    assert not report.healthy
    assert "the server did not accept the plan.\n/primary_action/action: unknown" in text


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, ["/f/b: 3  →  2"]),
        ({"a/b": 1}, {}, ["/f/a~1b: (not set)  →  1"]),
        ([1, 2], [1], ["/f: [1]  →  [1, 2]"]),
        (2, 5, ["/f: 5  →  2"]),
        (None, "x", ['/f: "x"  →  null']),
        (list(range(9)), list(range(1, 10)), [*[f"/f/{n}: {n + 1}  →  {n}" for n in range(8)], "… and 1 more"]),
    ],
)
def test_only_what_differs_of_a_field_is_shown(before: Any, after: Any, told: list[str]) -> None:
    view = ended(journal=[{**CHANGE, "fields": [{"pointer": "/f", "before": before, "after": after}]}]).journal[0]
    assert list(restored(view)) == told


def test_a_field_that_did_not_exist_would_be_removed_again() -> None:
    (found,) = differences(FieldView.model_validate({"pointer": "/metadata/annotations/a", "after": "1"}))
    assert found[0] == "/metadata/annotations/a"
    assert found[2] == "1"


# --- the whole, with a server that only pretends


class FakeStack:
    """What the demo asks of a `Stack`, with nothing behind it."""

    fails: str | None = None
    api_url = "http://127.0.0.1:1"

    def __init__(self, home: Path, **_: Any) -> None:
        from devstack.airflow import Home

        self.home = Home(home)
        self.parts: dict[str, Any] = {}
        self.seconds = {"postgres": 0.5, "all": 1.0}
        self.stopped = False

    def __enter__(self) -> FakeStack:
        self.home.create()
        if self.fails:
            raise StartFailed(self.fails)
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped = True

    def exports(self) -> str:
        return ""

    def kubernaut(self, *_: object, **__: object) -> httpx.Response:
        return httpx.Response(200, json={"card": "the card of the plan"})


Answers = Callable[[dict[str, Any]], httpx.Response]


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Runs the demo against a server that answers as told; nothing is repaired."""

    def go(answer: Answers, *options: str) -> int:
        def handle(request: httpx.Request) -> httpx.Response:
            if request.url.path == "/auth/token":
                return httpx.Response(201, json={"access_token": "t"})
            if request.method == "POST":
                return answer(json.loads(request.content))
            return httpx.Response(200, json=ended("failed", outcome="failure", journal=[]).model_dump(mode="json"))

        def client(**fields: Any) -> RestClient:
            return RestClient(**fields, transport=httpx.MockTransport(handle))

        monkeypatch.setattr(run, "Stack", FakeStack)
        monkeypatch.setattr(run, "RestClient", client)
        return run.main(["--home", str(tmp_path / "home"), *options])

    return go


def accepted(_: dict[str, Any]) -> httpx.Response:
    return httpx.Response(202, json={"execution_id": "ex-1", "dag_id": "kn.noop.1", "run_id": "ex-1"})


def test_a_plan_that_repairs_nothing_ends_with_exit_code_1_and_says_what_is_broken(
    pretend: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretend(accepted) == run.BROKEN
    text = capsys.readouterr().out
    assert "Still broken:" in text
    assert "CrashLoopBackOff" in text.split("Still broken:")[1]
    assert text.rstrip().splitlines()[-1].strip().startswith("Every process has ended. Logs: ")


def test_a_refusal_is_shown_with_place_and_remedy(
    pretend: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    fault = {"pointer": "/primary_action", "code": "x", "message": "no such action", "remedy": "Use another."}
    answer = httpx.Response(422, json={"title": "invalid", "detail": "1 fault", "faults": [fault]})
    assert pretend(lambda _: answer) == run.BROKEN
    assert "/primary_action: no such action\n      Use another." in capsys.readouterr().out


@pytest.mark.parametrize(("options", "approvals"), [((), [None]), (("--approve",), [None, "abc"])])
def test_a_plan_that_needs_a_person_is_approved_only_when_told(
    pretend: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    approvals: list[str | None],
) -> None:
    seen: list[str | None] = []

    def answer(body: dict[str, Any]) -> httpx.Response:
        seen.append(body.get("approve"))
        if body.get("approve"):
            return accepted(body)
        return httpx.Response(409, json={"code": "approval_required", "detail": "confidence 0.7", "hash": "abc"})

    assert pretend(answer, *options) == run.BROKEN
    assert seen == approvals
    assert "confidence 0.7" in capsys.readouterr().out


def test_a_server_error_is_no_verdict_on_the_plan(
    pretend: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretend(lambda _: httpx.Response(500, text="boom")) == run.FAILED
    assert "HTTP 500" in capsys.readouterr().err


def test_a_failed_start_ends_with_exit_code_3_and_names_the_logs(
    pretend: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeStack, "fails", "scheduler ended with exit code 1. Log: scheduler.log")
    assert pretend(accepted) == run.FAILED
    captured = capsys.readouterr()
    assert "scheduler ended with exit code 1" in captured.err
    assert "home/logs" in captured.out


@pytest.mark.parametrize("arguments", [["--help"], ["--unknown"]])
def test_wrong_usage_and_help_start_nothing(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        run.main(arguments)
    assert ending.value.code == (0 if arguments == ["--help"] else run.USAGE)
    assert "--answer FILE" in "".join(capsys.readouterr())
