"""The figures: what each one is, and how its samples are taken.

Called by `tests.bench.__main__`. A measure may give several figures, since one execution shows several moments. Figures
that need nothing running take a `Say` alone; the others a `World`.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from unittest import mock

from kubernaut.examination import Outcome
from kubernaut.json_input import read_json
from kubernaut.plan.examine import examine
from kubernaut.policy import DEFAULT_POLICY
from kubernaut.settings import Settings
from tests.bench import plans
from tests.bench.figures import Definition, medians
from tests.bench.plans import Document
from tests.bench.world import BenchFailed, World, first_after

Say = Callable[[str], None]

_FROM_POST = "from just before the POST is written until"
DEFINITIONS = {
    definition.key: definition
    for definition in (
        Definition(
            key="first_step_new_plan_s",
            unit="s",
            target=1.0,
            meaning=f"never-seen shape: {_FROM_POST} its first task instance is committed as deferred",
        ),
        Definition(
            key="first_action_new_plan_s",
            unit="s",
            meaning=f"never-seen shape: {_FROM_POST} the first request of one of its steps, a read, reaches the cluster",
        ),
        Definition(
            key="first_change_new_plan_s",
            unit="s",
            meaning=f"never-seen shape: {_FROM_POST} its first request that changes something reaches the cluster",
        ),
        Definition(
            key="first_step_known_shape_s",
            unit="s",
            target=0.5,
            meaning=f"registered shape, other values: {_FROM_POST} its first task instance is committed as deferred",
        ),
        Definition(
            key="compile_100_steps_ms",
            unit="ms",
            target=50.0,
            meaning="100 steps noop, 10 wide × 10 deep, 900 edges: translate, validate, normalise, compile; JSON read before",
        ),
        Definition(
            key="examine_100_steps_ms",
            unit="ms",
            meaning="the same from the bytes of the request",
        ),
        Definition(
            key="examine_100_full_steps_ms",
            unit="ms",
            meaning="the same graph with a target, parameters, a CEL condition, a retry and a post-condition each",
        ),
        Definition(
            key="plan_100_steps_s",
            unit="s",
            meaning="100 steps noop, 10 wide × 10 deep, from the POST until the execution is committed as completed",
        ),
        Definition(
            key="chain_of_10_s",
            unit="s",
            meaning="ten steps noop one after the other, from the POST until the execution is committed as completed",
        ),
        Definition(
            key="chain_of_10_verified_s",
            unit="s",
            meaning="the same with a post-condition on an object for each step",
        ),
    )
}


@dataclass
class Samples:
    """What a measure found for one key."""

    values: list[float] = field(default_factory=list)
    rows: list[Mapping[str, float]] = field(default_factory=list)
    """What else was seen of each sample."""
    note: str = ""

    def add(self, value: float, row: Mapping[str, float]) -> None:
        self.values.append(value)
        self.rows.append(row)

    @property
    def parts(self) -> dict[str, float]:
        return medians(self.rows)


Found = dict[str, Samples]


# --- nothing running


def compile_100_steps(samples: int, say: Say) -> Found:
    """In process; the first examination is not counted, since it imports."""
    settings = Settings(clusters={plans.CLUSTER: "none"}, default_cluster=plans.CLUSTER)
    found = {key: Samples() for key in ("compile_100_steps_ms", "examine_100_steps_ms", "examine_100_full_steps_ms")}
    plain, full = (json.dumps(plan(10, 10)).encode() for plan in (plans.grid, plans.full_grid))
    for document in (plain, full):
        _examine(document, settings)
    for number in range(samples):
        for document, compiling, examining in (
            (plain, "compile_100_steps_ms", "examine_100_steps_ms"),
            (full, None, "examine_100_full_steps_ms"),
        ):
            taken = _examine(document, settings)
            found[examining].add(taken["whole"], taken)
            if compiling is not None:
                found[compiling].add(taken["whole"] - taken["reading"], taken)
                say(f"compile 100 steps {number + 1}/{samples}: {_told(taken)} ms")
    return found


def _examine(document: bytes, settings: Settings) -> dict[str, float]:
    """Milliseconds of the whole examination, of the reading of JSON in it, and of this process's CPU for the whole: on a
    busy machine the clock tells of the others too."""
    reading = 0.0

    def timed(raw: bytes | str, *, max_bytes: int, max_nesting: int) -> object:
        nonlocal reading
        begun = time.perf_counter()
        try:
            return read_json(raw, max_bytes=max_bytes, max_nesting=max_nesting)
        finally:
            reading += time.perf_counter() - begun

    with mock.patch("kubernaut.plan.examine.read_json", timed):
        begun, cpu_begun = time.perf_counter(), time.process_time()
        found = examine(document, settings=settings, policy=DEFAULT_POLICY)
        whole, cpu = time.perf_counter() - begun, time.process_time() - cpu_begun
    if found.outcome is not Outcome.RUNNABLE or found.workflow is None or len(found.workflow.steps) != 100:
        raise BenchFailed(f"the plan of 100 steps is {found.outcome}: {found.faults[:3]}")
    return {"reading": reading * 1_000, "whole": whole * 1_000, "cpu of the whole": cpu * 1_000}


# --- first steps


def first_steps(world: World, samples: int, say: Say) -> Found:
    """A new shape, then the same shape with other values, again and again; each after the end of the one before."""
    new, action, change, known = (Samples() for _ in range(4))
    new.note = action.note = "the first sample is the first plan since Airflow's start"
    for number in range(samples):
        row = _first_step(world, plans.repair(number, replicas=3))
        new.add(row["step deferred"], row)
        action.values.append(row["first read"])
        change.values.append(row["first change"])
        say(f"new shape {number + 1}/{samples}: {_told(row)}")
        row = _first_step(world, plans.repair(number, replicas=2))
        known.add(row["step deferred"], row)
        say(f"known shape {number + 1}/{samples}: {_told(row)}")
    return {
        "first_step_new_plan_s": new,
        "first_action_new_plan_s": action,
        "first_change_new_plan_s": change,
        "first_step_known_shape_s": known,
    }


def _first_step(world: World, plan: Document) -> dict[str, float]:
    """Seconds since the POST of each moment on the way; returns when the execution has ended."""
    sent = world.send(plan)
    moments = {
        "answered": sent.answered,
        "registered": world.registered(sent),
        "run started": world.run_started(sent),
        "step deferred": world.first_step(sent),
        "ended": world.end(sent),
        "first read": first_after(sent.at, world.arrivals.reads, "a read of a step"),
        "first change": first_after(sent.at, world.arrivals.changes, "a change of a step"),
    }
    return {name: moment - sent.at for name, moment in moments.items()}


# --- whole executions


def whole(key: str, plan: Document) -> Callable[[World, int, Say], Found]:
    """The measure of an execution from its POST to its end."""

    def measure(world: World, samples: int, say: Say) -> Found:
        found = Samples(note="the first sample registers the shape")
        for number in range(samples):
            sent = world.send(plan)
            first = world.first_step(sent)
            known_failures = len(world.failures)
            seconds = world.end(sent) - sent.at
            if len(world.failures) > known_failures:
                raise BenchFailed(f"{key}: {world.failures[-1]}")
            found.add(seconds, {"step deferred": first - sent.at, "ended": seconds})
            say(f"{key} {number + 1}/{samples}: {seconds:.3f} s")
        return {key: found}

    return measure


def _told(row: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {seconds:.3f}" for name, seconds in sorted(row.items(), key=lambda each: each[1]))


# --- all of them


@dataclass(frozen=True)
class Measure:
    """Something that gives figures when it is taken."""

    keys: tuple[str, ...]
    take: Callable[[World, int, Say], Found] | None
    """None: nothing has to run for it."""
    most: int
    """Samples at most: an execution of many steps takes half a minute."""


MEASURES = (
    Measure(("compile_100_steps_ms", "examine_100_steps_ms", "examine_100_full_steps_ms"), None, 50),
    Measure(
        ("first_step_new_plan_s", "first_action_new_plan_s", "first_change_new_plan_s", "first_step_known_shape_s"),
        first_steps,
        plans.MAX_SHAPES,
    ),
    Measure(("plan_100_steps_s",), whole("plan_100_steps_s", plans.grid(10, 10)), 3),
    Measure(("chain_of_10_s",), whole("chain_of_10_s", plans.chain(10, verified=False)), 3),
    Measure(("chain_of_10_verified_s",), whole("chain_of_10_verified_s", plans.chain(10, verified=True)), 3),
)


def needed(keys: Iterable[str]) -> list[Measure]:
    """The measures that give these keys, in the order in which they are taken."""
    wanted = set(keys)
    return [measure for measure in MEASURES if wanted.intersection(measure.keys)]
