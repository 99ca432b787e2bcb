"""From rows of the store to the documents of the REST API. Pure: rows in, models out.

What leaves here may be read by whoever may read executions: values of Secrets and the addresses and headers of calls are
hidden, large values are cut.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, JsonValue

from kubernaut.examination import ResolvedTarget
from kubernaut.execution.phases import Phase
from kubernaut.plan.model import Priority
from kubernaut.store.tables import Base, ExecutionRow, HaltRow, JournalRow, StepRow
from kubernaut.workflow.gate import StepState
from kubernaut.workflow.model import Bindings, StepBinding, Workflow, WorkflowStep
from kubernaut_plugin.api.models import (
    Details,
    Halt,
    JournalDocument,
    Links,
    Progress,
    StepDocument,
    Summary,
    UndoSummary,
    WaitsFor,
)

MAX_VALUE = 4_096
"""Characters of JSON of one value."""
_SHOWN = 500
_HIDDEN_KINDS = frozenset({"Secret"})
_CURRENT = frozenset({StepState.WAITING, StepState.RUNNING, StepState.VERIFYING})


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where this server's documents are."""

    api: str
    """The path of this API, without a slash at its end."""
    airflow: str
    """Airflow's base URL, without a slash at its end."""

    def execution(self, execution_id: str, dag_id: str, run_id: str) -> Links:
        return Links(
            self=f"{self.api}/executions/{quote(execution_id, safe='')}",
            airflow=f"{self.airflow}/dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}",
        )


def halt(row: HaltRow) -> Halt:
    return Halt(
        id=row.id,
        cluster=row.cluster,
        reason=row.reason,
        actor=row.actor,
        created_at=row.created_at,
        ended_at=row.ended_at,
        ended_by=row.ended_by,
        end_reason=row.end_reason,
    )


def summary(row: ExecutionRow, addresses: Addresses) -> Summary:
    return Summary(**_summary(row, addresses))


def _summary(row: ExecutionRow, addresses: Addresses) -> dict[str, Any]:
    """Arguments of `Summary`."""
    return {
        **_common(Summary, row),
        "priority": Priority(f"P{row.priority}"),
        "target": ResolvedTarget(
            cluster=row.target_cluster, kind=row.target_kind, namespace=row.target_namespace, name=row.target_name
        ),
        "links": addresses.execution(row.id, row.dag_id, row.run_id),
    }


@dataclass(frozen=True, kw_only=True)
class Story:
    """Everything that the store has about one execution, read in one transaction."""

    row: ExecutionRow
    workflow: Workflow
    bindings: Bindings
    steps: Mapping[str, StepRow]
    journal: Sequence[JournalRow]
    undos: Sequence[ExecutionRow]
    halts: Sequence[HaltRow]


def details(story: Story, addresses: Addresses, now: datetime) -> Details:
    bindings = story.bindings
    steps = [
        _step(step, bindings, bindings.steps[step.key], story.steps.get(step.key), now) for step in story.workflow.steps
    ]
    completed = [undo.id for undo in story.undos if undo.phase is Phase.COMPLETED]
    return Details(
        **_summary(story.row, addresses),
        progress=progress(steps),
        steps=steps,
        journal=[_journal(row) for row in story.journal],
        verdict=story.row.verdict,
        unchecked=list(bindings.unchecked),
        undos=[
            UndoSummary(
                id=undo.id,
                phase=undo.phase,
                outcome=undo.outcome,
                actor=undo.actor,
                created_at=undo.created_at,
                ended_at=undo.ended_at,
            )
            for undo in story.undos
        ],
        undone_by=completed[-1] if completed else None,
        halts=[halt(row) for row in holding(story.halts, story.row)],
    )


def holding(halts: Iterable[HaltRow], row: ExecutionRow) -> list[HaltRow]:
    """The halts that hold this execution."""
    clusters = {row.target_cluster, *row.clusters}
    return [each for each in halts if each.cluster is None or each.cluster in clusters]


def progress(steps: Sequence[StepDocument]) -> Progress:
    done = sum(StepState(step.state).final for step in steps)
    return Progress(
        total=len(steps),
        done=done,
        percent=100 * done // len(steps) if steps else 100,
        current=[step.name for step in steps if StepState(step.state) in _CURRENT],
    )


def _step(
    step: WorkflowStep, bindings: Bindings, binding: StepBinding, row: StepRow | None, now: datetime
) -> StepDocument:
    target = binding.target.model_dump()
    fixed: dict[str, Any] = {
        "key": step.key,
        "id": binding.id,
        "name": binding.name,
        "action": step.action,
        "target": {**target, "cluster": binding.target.cluster or bindings.target.cluster},
        "optional": binding.optional,
        "when": binding.when,
        "depends_on": [WaitsFor(step=edge.upstream, outcome=edge.outcome.value) for edge in step.edges],
        "timeout": binding.timeout,
    }
    if row is None:
        return StepDocument(**fixed, state=StepState.PENDING.value)
    stands: dict[str, Any] = {
        **_common(StepDocument, row),
        "outputs": {name: capped(value) for name, value in row.outputs.items()},
        "evaluations": [capped(value) for value in row.evaluations],
        "seconds": round(((row.ended_at or now) - row.started_at).total_seconds(), 3) if row.started_at else None,
    }
    return StepDocument(**{**stands, **fixed})


def _journal(row: JournalRow) -> JournalDocument:
    made: dict[str, Any] = {
        **_common(JournalDocument, row),
        "step": row.step_key,
        "fields": [_field(field, hidden=row.kind in _HIDDEN_KINDS) for field in row.fields],
        "call": _call(row.call),
    }
    return JournalDocument(**made)


def _common(document: type[BaseModel], row: Base) -> dict[str, Any]:
    """The columns that a document shows as they are: those whose name it has too."""
    return {name: getattr(row, name) for name in document.model_fields if name in row.__table__.columns}


def _field(field: Mapping[str, Any], *, hidden: bool) -> dict[str, Any]:
    return {
        name: value if name == "pointer" else "(hidden)" if hidden else capped(value) for name, value in field.items()
    }


def _call(call: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Address and headers of a receiver often are its secret."""
    if call is None:
        return None
    return {"method": call.get("method"), "host": urlsplit(str(call.get("url", ""))).hostname}


def capped(value: JsonValue) -> JsonValue:
    """The value, or how it begins."""
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= MAX_VALUE else f"{text[:_SHOWN]}… ({len(text)} characters)"
