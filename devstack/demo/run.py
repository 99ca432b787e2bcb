"""The demo from start to end: the stack, the broken workload, the request, the steps, the summary, and the exit code.

Called by ``python -m devstack.demo`` (`make demo`). Exit codes: 0 the workload is healthy again, as the demo itself
read it from the cluster; 1 it is not; 2 wrong usage; 3 the demo could not run; 130 Ctrl-C before the end.
Every process ends with this one, however it ends: `Stack` sees to that.
"""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from devstack import Stack, StartFailed
from devstack.airflow import REPOSITORY, USERS
from devstack.demo import story as stories
from devstack.demo.execution import Execution
from devstack.demo.screen import Screen, foreign
from devstack.demo.story import CLUSTER, SCENARIO, Story, StoryError
from devstack.demo.summary import Report, headline, sections, workload_lines
from devstack.demo.watch import view_on, watch
from devstack.demo.workload import Workload, WorkloadUnread, read_workload
from kubernaut.cluster.practice.scenario import load_scenario
from kubernaut.cluster.practice.server import PracticeServer, wall_clock
from kubernaut.errors import KubernautError
from kubernaut.plan.model import Target
from kubernaut.rest_client import Credentials, Refused, RestClient

CONNECTION = "kubernaut_practice"
DEFAULT_HOME = REPOSITORY / "build" / "demo"
ADMIN = USERS[0]
PROOF_SECONDS = 20
"""How long the engine waits for a proof where the plan names no time: here a rollout takes a few seconds, and nobody wants
to watch the default's five minutes when a repair does not help."""
START_NAMES = {"postgres": "PostgreSQL", "all": "PostgreSQL and Airflow together"}
"""What the parts of a stack are called in the summary; the others are Airflow's."""
PLAN_REFUSED = frozenset({400, 409, 413, 422})
"""Statuses that say something about the plan; every other one says that the demo itself does not work."""
HEALTHY, BROKEN, USAGE, FAILED, INTERRUPTED = 0, 1, 2, 3, 130


@dataclass(frozen=True, kw_only=True)
class Options:
    home: Path
    answer: Path | None
    leave: bool
    """Stop after the summary."""
    approve: bool


def main(arguments: Sequence[str] | None = None) -> int:
    screen = Screen()
    options = _options(arguments, terminal=screen.terminal)
    _keep_loopback_direct()
    try:
        story = stories.load(options.answer, now=datetime.now(UTC))
        return Demo(options, story, screen).run()
    except StoryError as error:
        return _complain(str(error), USAGE)
    except KeyboardInterrupt:
        return _complain("stopped by Ctrl-C", INTERRUPTED)
    except Refused as error:
        return _complain(f"the API server refused the request: HTTP {error.problem.status}: {foreign(error)}", FAILED)
    except (StartFailed, KubernautError, WorkloadUnread) as error:
        return _complain(str(error), FAILED)
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # nobody reads any more; the interpreter would complain at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _complain(str(error), FAILED)


def _options(arguments: Sequence[str] | None, *, terminal: bool) -> Options:
    parser = argparse.ArgumentParser(
        prog="make demo ARGS='…'",
        description="Starts PostgreSQL, Airflow and a practice cluster in which a Deployment crash-loops after a bad "
        "rollout, sends an alert and a stored AI answer, and shows the repair. Stays up until Ctrl-C.",
        epilog="Exit code: 0 the workload is healthy again, as read from the cluster; 1 it is not; 2 wrong usage; "
        "3 the demo could not run; 130 Ctrl-C before the end.",
    )
    parser.add_argument(
        "--exit", action="store_true", help="stop after the summary (so it does where stdout is no terminal)"
    )
    parser.add_argument(
        "--answer", type=Path, metavar="FILE", help="another AI answer (JSON) instead of the stored one"
    )
    parser.add_argument("--approve", action="store_true", help="approve the plan where the server asks for a person")
    parser.add_argument(
        "--home", type=Path, default=DEFAULT_HOME, metavar="DIR", help="folder for logs and databases (build/demo)"
    )
    chosen = parser.parse_args(arguments)
    if chosen.home.exists() and not chosen.home.is_dir():
        parser.error(f"--home {chosen.home} is not a folder")
    return Options(
        home=chosen.home.resolve(), answer=chosen.answer, leave=chosen.exit or not terminal, approve=chosen.approve
    )


def _keep_loopback_direct() -> None:
    """A proxy of the caller's knows nothing of our loopback ports."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1,localhost"]))


def _complain(text: str, code: int) -> int:
    sys.stdout.flush()
    print(f"\ndemo: {text}", file=sys.stderr, flush=True)
    return code


class Demo:
    """One run of it; `run` once."""

    def __init__(self, options: Options, story: Story, screen: Screen) -> None:
        self._options = options
        self._story = story
        self._screen = screen
        self._begun = time.monotonic()
        self._start_seconds: dict[str, float] = {}

    def run(self) -> int:
        """The exit code. Raises StartFailed, KubernautError, WorkloadUnread; nothing is left running then either."""
        self._screen.line("Kubernaut demo: an alert, an AI's answer, and a repair that no DAG existed for", indent=0)
        with ExitStack() as whole:
            whole.callback(self._say_stopped)
            server = self._start_cluster(whole)
            stack = self._start_stack(whole, server)
            whole.callback(self._wind_up, server, stack.home.logs)
            before = self._look(server)
            self._show_wrong(before)
            report = self._repair(stack, server, before)
            self._finish(stack, server, report)
            if not self._options.leave:
                self._stay(stack)
        return HEALTHY if report.healthy else BROKEN

    # --- starting

    def _start_cluster(self, whole: ExitStack) -> PracticeServer:
        self._screen.heading("1  Starting PostgreSQL, Airflow and a practice cluster")
        begun = time.monotonic()
        opened = load_scenario(SCENARIO).open(wall_clock)
        server = whole.enter_context(PracticeServer(opened.cluster, changes=opened.later))
        self._started("practice cluster", time.monotonic() - begun)
        self._screen.line(f"practice cluster ready, {self._start_seconds['practice cluster']:.1f} s")
        return server

    def _started(self, name: str, seconds: float) -> None:
        self._start_seconds[name] = seconds

    def _start_stack(self, whole: ExitStack, server: PracticeServer) -> Stack:
        stack = Stack(
            self._options.home,
            connections={CONNECTION: server.connection_json()},
            extra_env={
                "KUBERNAUT_CLUSTERS": json.dumps({CLUSTER: CONNECTION}),
                "KUBERNAUT_POST_CONDITION_TIMEOUT": str(PROOF_SECONDS),
            },
            progress=self._screen.line,
        )
        self._screen.line(f"logs: {_short(stack.home.logs)}")
        with self._screen.busy("PostgreSQL and Airflow start; the first time that takes about a minute and a half"):
            whole.enter_context(stack)
        for name, seconds in stack.seconds.items():
            self._started(START_NAMES.get(name, f"Airflow {name}"), seconds)
        _write_private(stack.home.root / "kubeconfig", json.dumps(server.kubeconfig("demo-checkout"), indent=1))
        _write_private(
            stack.home.root / "env.sh",
            f"{stack.exports()}export KUBERNAUT_API_URL={stack.api_url}\n"
            f"export KUBERNAUT_USER={ADMIN.name}\nexport KUBERNAUT_PASSWORD={ADMIN.password}\n"
            f"export CLUSTER_URL={server.url}\nexport CLUSTER_TOKEN={server.token}\n",
        )
        _log_to(stack.home.log("demo"))
        return stack

    # --- the story

    def _look(self, server: PracticeServer) -> Workload:
        return read_workload(server.url, server.token, self._story.target)

    def _show_wrong(self, before: Workload) -> None:
        self._screen.heading("2  What is wrong, as read from the practice cluster")
        self._screen.lines(workload_lines(before))
        if before.healthy:
            raise WorkloadUnread("the scenario's workload is healthy: there is nothing to repair")

    def _repair(self, stack: Stack, server: PracticeServer, before: Workload) -> Report:
        story = self._story
        self._screen.heading("3  The alert, and what the AI answers")
        self._screen.line(f"alert {story.signal.name}: {foreign(story.signal.annotations.get('summary', ''))}")
        self._screen.line(f"answer {_short(story.answer_file)}, confidence {story.confidence or 'not stated'}")
        if story.reason:
            self._screen.line(f"its reason: {foreign(story.reason, 600)}")
        self._show_plan(stack)
        execution = undo = None
        refusal: tuple[str, ...] = ()
        self._screen.heading("4  The plan becomes a DAG and runs")
        credentials = Credentials.from_environment(ADMIN.name, ADMIN.password)
        with RestClient(base_url=stack.api_url, credentials=credentials) as client:
            begun = time.monotonic()
            try:
                execution_id = self._send(client)
                accept_seconds: float | None = time.monotonic() - begun
            except Refused as refused:
                if refused.problem.status not in PLAN_REFUSED:
                    raise
                refusal, accept_seconds = tuple(_refusal_lines(refused)), None
                self._screen.lines(refusal, style="red")
            else:
                execution = self._watch(client, stack, execution_id)
                undo = self._watch_undo(client, stack, execution)
                if undo is not None:  # it is in the journal of the first one what of it was taken back
                    execution = Execution.model_validate(client.execution(execution_id))
        return Report(
            before=before,
            after=self._look_again(server),
            refusal=refusal,
            execution=execution,
            undo=undo,
            accept_seconds=accept_seconds,
            start_seconds=self._start_seconds,
            total_seconds=time.monotonic() - self._begun,
        )

    def _show_plan(self, stack: Stack) -> None:
        """What the server makes of the answer before anything is started: the outline of the card, the whole in a file."""
        body = {"plan": self._story.answer, "signal": dict(self._story.alert)}
        answer = stack.kubernaut("POST", "plans/validate", body, params={"card": "true"})
        card = answer.json().get("card") if answer.is_success else None
        if not isinstance(card, str):
            return
        file = stack.home.logs / "card.txt"
        file.write_text(card if card.endswith("\n") else f"{card}\n")
        self._screen.line()
        self._screen.lines(outline(card))
        self._screen.line(f"the whole card: {_short(file)}")

    def _look_again(self, server: PracticeServer) -> Workload | None:
        try:
            with self._screen.busy("reading the workload from the cluster"):
                return self._look(server)
        except WorkloadUnread as error:
            self._screen.line(str(error), style="red")
            return None

    def _send(self, client: RestClient) -> str:
        """The id of the accepted execution. Raises Refused."""
        plan, signal = self._story.answer, dict(self._story.alert)
        try:
            accepted = client.submit(plan, signal=signal)
        except Refused as refused:
            digest = refused.problem.member("hash")
            if not self._options.approve or not isinstance(digest, str):
                raise
            self._screen.line(f"approved, as --approve says: {foreign(refused)}", style="yellow")
            accepted = client.submit(plan, signal=signal, approve=digest)
        self._screen.line(f"POST /kubernaut/api/v1/executions → accepted: {accepted['execution_id']}")
        self._screen.line(f"DAG {accepted.get('dag_id')}")
        return str(accepted["execution_id"])

    def _watch(self, client: RestClient, stack: Stack, execution_id: str) -> Execution:
        with view_on(self._screen) as view:
            return watch(
                lambda: Execution.model_validate(client.execution(execution_id)), view, alive=_alive_check(stack)
            )

    def _watch_undo(self, client: RestClient, stack: Stack, execution: Execution) -> Execution | None:
        """The compensation, where the engine has queued one by itself."""
        if not execution.undos:
            return None
        undo = execution.undos[-1].id
        self._screen.line(f"the engine takes its changes back: {undo}", style="yellow")
        return self._watch(client, stack, undo)

    # --- the end

    def _finish(self, stack: Stack, server: PracticeServer, report: Report) -> None:
        self._screen.heading("5  Summary")
        kept: list[str] = []
        for section in sections(report):
            style = {True: "green", False: "red", None: ""}[section.good]
            self._screen.line(section.title, style="bold")
            self._screen.lines(section.lines, indent=6, style=style)
            kept += [section.title, *(f"   {line}" for line in section.lines)]
        self._screen.line()
        self._screen.line(headline(report), style="bold green" if report.healthy else "bold red")
        (stack.home.logs / "summary.txt").write_text("\n".join([*kept, headline(report), ""]))
        for name, found in (("execution", report.execution), ("undo", report.undo)):
            if found is not None:
                (stack.home.logs / f"{name}.json").write_text(found.model_dump_json(indent=1) + "\n")
        self._screen.line()
        if report.execution is not None:
            self._screen.line(f"The run in Airflow: {report.execution.links.airflow}", whole=True)
        self._screen.line(f"Login: {ADMIN.name}, password {ADMIN.password}")
        self._screen.line(f"Logs: {_short(stack.home.logs)}")

    def _stay(self, stack: Stack) -> None:
        """Until Ctrl-C, or until a process of the stack ends by itself."""
        home = _short(stack.home.root)
        self._screen.line()
        self._screen.line("Everything stays up. In another terminal:")
        self._screen.line(f". {home}/env.sh && .venv/bin/kubernaut executions list", indent=6, whole=True)
        self._screen.line(cluster_command(self._story.target), indent=6, whole=True)
        self._screen.line("Ctrl-C stops everything.", style="bold")
        alive = _alive_check(stack)
        try:
            while True:
                time.sleep(0.3)
                alive()
        except KeyboardInterrupt:
            self._screen.line()

    def _wind_up(self, server: PracticeServer, logs: Path) -> None:
        """Just before everything is stopped: keep what the practice cluster was asked to change, a line a request."""
        self._screen.line("stopping …")
        lines = [json.dumps(asdict(record), default=str) for record in server.requests]
        (logs / "practice-cluster.requests.jsonl").write_text("".join(f"{line}\n" for line in lines))

    def _say_stopped(self) -> None:
        self._screen.line(f"Every process has ended. Logs: {_short(self._options.home / 'logs')}")


def _alive_check(stack: Stack) -> Callable[[], None]:
    def check() -> None:
        for part in stack.parts.values():
            if not part.running:
                raise StartFailed(f"{part.name} has ended by itself (exit code {part.exit_code}). Log: {part.log}")

    return check


def _refusal_lines(refused: Refused) -> list[str]:
    problem = refused.problem
    lines = [f"refused, HTTP {problem.status} {foreign(problem.name)}: {foreign(refused)}"]
    for fault in problem.faults:
        lines.append(f"{foreign(fault.pointer) or '(the whole document)'}: {foreign(fault.message)}")
        lines.append(f"   {foreign(fault.remedy)}")
    if isinstance(problem.member("hash"), str):
        lines.append("A person would look at the plan now and approve it; --approve does that here.")
    return lines


def outline(card: str) -> list[str]:
    """The card's part about the order of the steps; the whole card where it has no such part."""
    parts = card.split("\n\n")
    return next((part.splitlines() for part in parts if part.startswith("ORDER")), card.splitlines())


def cluster_command(target: Target) -> str:
    """Reads the workload in another terminal. kubectl cannot: it sends no token over plain http."""
    place = f"apis/apps/v1/namespaces/{target.namespace}/{str(target.kind).lower()}s/{target.name}"
    return f'curl -s -H "Authorization: Bearer $CLUSTER_TOKEN" $CLUSTER_URL/{place}'


def _short(path: Path) -> str:
    """Relative where it lies below the current folder."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _log_to(path: Path) -> None:
    """Python's own log of this process, the practice cluster's included."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
