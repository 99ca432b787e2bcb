"""Worlds for the gate: what each step would do if it acted, the answer that ought to come out, and Airflow's own way
there.

`ideal` asks the gate in order, each step after all that it waits for. `AirflowModel` schedules tasks as Airflow 3.3
does (`airflow/ti_deps/deps/trigger_rule_dep.py`, rules as written there), in any order that Airflow might choose.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from enum import StrEnum

from kubernaut.plan.links import Link, effective, levels
from kubernaut.plan.model import FailurePolicy
from kubernaut.workflow.gate import StepState, airflow_wiring, gate, links_of
from kubernaut.workflow.model import Edge, Workflow, WorkflowStep


class Fate(StrEnum):
    """What becomes of a step if it is let through, and the colour of its task."""

    SUCCEEDS = "succeeds"
    FAILS = "fails"
    SKIPS = "skips"
    UNKNOWN_GREEN = "unknown_green"
    """An external call in doubt, without a check: the task ends well, the row says unknown."""
    UNKNOWN_RED = "unknown_red"


STATE = {
    Fate.SUCCEEDS: StepState.SUCCEEDED,
    Fate.FAILS: StepState.FAILED,
    Fate.SKIPS: StepState.SKIPPED,
    Fate.UNKNOWN_GREEN: StepState.UNKNOWN,
    Fate.UNKNOWN_RED: StepState.UNKNOWN,
}
COLOUR = {
    Fate.SUCCEEDS: "success",
    Fate.FAILS: "failed",
    Fate.SKIPS: "skipped",
    Fate.UNKNOWN_GREEN: "success",
    Fate.UNKNOWN_RED: "failed",
}


def workflow_of(
    names: tuple[str, ...], links: tuple[Link, ...], policy: FailurePolicy = FailurePolicy.CONTINUE
) -> Workflow:
    """A workflow whose keys are the given names."""
    return Workflow(
        steps=tuple(
            WorkflowStep(
                key=name,
                action="noop",
                edges=tuple(Edge(upstream=u, outcome=o) for u, d, o in links if d == name),
            )
            for name in names
        ),
        failure_policy=policy,
        factory_version=1,
    )


def ideal(workflow: Workflow, fates: Mapping[str, Fate]) -> dict[str, StepState]:
    """Every step's final state when each is asked after everything it waits for."""
    states: dict[str, StepState] = {}
    names = tuple(step.key for step in workflow.steps)
    for level in levels(names, effective(links_of(workflow))):
        for key in level:
            run = gate(workflow.step(key), workflow, states).run
            states[key] = STATE[fates[key]] if run else StepState.NOT_REACHED
    return states


class AirflowModel:
    """One DAG run. `run` lets it happen in an order drawn from `rng` and returns the rows that the steps wrote."""

    def __init__(self, workflow: Workflow, fates: Mapping[str, Fate], rng: random.Random) -> None:
        self._workflow = workflow
        self._fates = fates
        self._rng = rng
        self._wiring = airflow_wiring(workflow)
        self.tasks: dict[str, str] = {step.key: "none" for step in workflow.steps}
        self.rows: dict[str, StepState] = {}
        self.acted: list[str] = []
        self.running_when_acting: dict[str, frozenset[str]] = {}

    def run(self) -> dict[str, StepState]:
        while events := [
            *(key for key, colour in self.tasks.items() if colour == "running"),
            *(key for key, colour in self.tasks.items() if colour == "none" and self._decision(key) is not None),
        ]:
            key = self._rng.choice(events)
            if self.tasks[key] == "running":
                self.rows[key] = STATE[self._fates[key]]
                self.tasks[key] = COLOUR[self._fates[key]]
            else:
                decision = self._decision(key)
                assert decision is not None
                self.tasks[key] = self._start(key) if decision == "start" else decision
        assert "none" not in self.tasks.values(), f"the run hangs: {self.tasks}"
        return self.rows

    def _start(self, key: str) -> str:
        """The step asks the gate, as the trigger of a step does first of all."""
        if not gate(self._workflow.step(key), self._workflow, self.rows).run:
            self.rows[key] = StepState.NOT_REACHED
            return "skipped"
        self.running_when_acting[key] = frozenset(k for k, colour in self.tasks.items() if colour == "running")
        self.acted.append(key)
        return "running"

    def _decision(self, key: str) -> str | None:
        """`start`, a state that the scheduler sets without starting it, or None: not yet."""
        wiring = self._wiring[key]
        colours = [self.tasks[upstream] for upstream in wiring.upstreams]
        success, failed = colours.count("success"), colours.count("failed")
        skipped, upstream_failed = colours.count("skipped"), colours.count("upstream_failed")
        done = success + failed + skipped + upstream_failed == len(colours)
        match wiring.rule:
            case "all_success":
                if failed or upstream_failed:
                    return "upstream_failed"
                if skipped:
                    return "skipped"
                return "start" if done else None
            case "one_success":
                if success:
                    return "start"
                if not done:
                    return None
                return "skipped" if skipped == len(colours) else "upstream_failed"
            case "one_failed":
                if failed or upstream_failed:
                    return "start"
                return "skipped" if done else None
            case "all_done":
                return "start" if done else None
        raise AssertionError(f"no rule of this model: {wiring.rule}")
