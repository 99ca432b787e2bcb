"""Reads and writes where the steps of an execution stand. The only writer of `step` rows.

Every function is one short transaction of its own: nothing is held while a step waits. Used by the step, verify, verdict
and undo runners, in the triggerer's event loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Text, cast, func, select, true, update
from sqlalchemy.dialects.postgresql import insert

from kubernaut.execution.environment import RunRef
from kubernaut.execution.phases import Phase
from kubernaut.store.audit import Operation
from kubernaut.store.engine import async_session
from kubernaut.store.tables import AuditEventRow, ExecutionRow, StepRow, WorkflowRow
from kubernaut.workflow.gate import NotReachedReason, StepState, gate
from kubernaut.workflow.model import Bindings, Workflow

FINAL = frozenset(state.value for state in StepState if state.final)
OPEN = frozenset(state.value for state in (StepState.PENDING, StepState.WAITING, StepState.RUNNING))
"""What may still act. Whoever acts writes only over these: of two processes that run one step, the first to end it is right."""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """One execution as a step sees it when it starts."""

    execution_id: str
    kind: str
    phase: Phase
    round: int
    tracking_id: str
    workflow: Workflow
    bindings: Bindings
    approved: bool
    deadline_at: datetime | None
    undoes: str | None
    judged: bool
    """A verdict was given, so that only a clear can make anything of its run start again."""


_workflows: dict[str, Workflow] = {}
"""By digest; a workflow never changes."""


async def situation(run: RunRef) -> Situation | None:
    """The execution of a run, or None where Airflow started it by itself and it was not adopted yet."""
    async with async_session() as session:
        found = (
            await session.execute(
                select(ExecutionRow, WorkflowRow.document)
                .join(WorkflowRow, WorkflowRow.digest == ExecutionRow.workflow_digest)
                .where(ExecutionRow.dag_id == run.dag_id, ExecutionRow.run_id == run.run_id)
            )
        ).first()
    if found is None:
        return None
    row: ExecutionRow = found[0]
    if row.workflow_digest not in _workflows:
        _workflows[row.workflow_digest] = Workflow.model_validate(found[1])
    return Situation(
        execution_id=row.id,
        kind=row.kind.value,
        phase=row.phase,
        round=row.round,
        tracking_id=row.tracking_id,
        workflow=_workflows[row.workflow_digest],
        bindings=Bindings.model_validate(row.bindings),
        approved=row.approved_by is not None,
        deadline_at=row.deadline_at,
        undoes=row.undoes,
        judged=row.verdict is not None,
    )


async def phase_of(execution_id: str) -> tuple[Phase, int, bool]:
    """Phase, round, and whether a cancellation was asked for."""
    async with async_session() as session:
        row = (
            await session.execute(
                select(ExecutionRow.phase, ExecutionRow.round, ExecutionRow.cancel_requested_at).where(
                    ExecutionRow.id == execution_id
                )
            )
        ).one()
    return row.phase, row.round, row.cancel_requested_at is not None


async def store_time() -> datetime:
    """Now, by the store's clock: for times that are compared with the journal's."""
    async with async_session() as session:
        found: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
        return found


async def begin(situation: Situation, key: str, round_: int) -> StepRow:
    """The step's row in this round: made, or reset where a person cleared the step, or as an earlier run left it."""
    binding = situation.bindings.steps[key]
    fresh: dict[str, Any] = {
        "state": StepState.PENDING.value,
        "reason": None,
        "round": round_,
        "tries": 0,
        "next_try_at": None,
        "error_class": None,
        "message": None,
        "outputs": {},
        "evaluations": [],
        "timeline": [],
        "deadline_at": None,
        "started_at": None,
        "acted_at": None,
        "ended_at": None,
    }
    statement = insert(StepRow).values(
        execution_id=situation.execution_id,
        key=key,
        step_id=binding.id,
        name=binding.name,
        action=situation.workflow.step(key).action,
        **fresh,
    )
    async with async_session() as session:
        await session.execute(
            statement.on_conflict_do_update(
                index_elements=[StepRow.execution_id, StepRow.key], set_=fresh, where=StepRow.round < round_
            )
        )
        return (
            await session.execute(
                select(StepRow).where(StepRow.execution_id == situation.execution_id, StepRow.key == key)
            )
        ).scalar_one()


async def ask_again(situation: Situation, key: str, round_: int) -> StepRow:
    """Forget that the step was not reached: Airflow asks for it again."""
    await write(
        situation.execution_id,
        key,
        round_,
        event="asked again",
        state=StepState.PENDING.value,
        reason=None,
        message=None,
        ended_at=None,
    )
    return (await rows(situation.execution_id))[key]


async def round_began(execution_id: str) -> datetime | None:
    """When a person's clear last returned the ended execution to `running`; None where that never happened."""
    statement = select(func.max(AuditEventRow.at)).where(
        AuditEventRow.subject_kind == "execution",
        AuditEventRow.subject_id == execution_id,
        AuditEventRow.operation == Operation.CLEAR.value,
    )
    async with async_session() as session:
        return await session.scalar(statement)


async def write(
    execution_id: str, key: str, round_: int, *, event: str | None = None, only_open: bool = False, **values: Any
) -> bool:
    """Set columns of a step's row and add a line to its timeline; False where the round is over, or the step (`only_open`)."""
    if event is not None:
        line = func.jsonb_build_object("at", func.now(), "event", cast(event, Text))
        values["timeline"] = StepRow.timeline.op("||")(line)
    async with async_session() as session:
        result = await session.execute(
            update(StepRow)
            .where(
                StepRow.execution_id == execution_id,
                StepRow.key == key,
                StepRow.round == round_,
                StepRow.state.in_(OPEN) if only_open else true(),
            )
            .values(**values)
            .returning(StepRow.key)
            .execution_options(synchronize_session=False)
        )
        return result.first() is not None


async def take_slot(execution_id: str, key: str, round_: int, *, limit: int, timeout: float) -> bool:
    """`running`, if fewer than `limit` steps of the execution are acting; one at a time by an advisory lock.

    Never for a step that has ended.

    :param timeout: seconds from the first slot to the step's own deadline
    """
    async with async_session() as session:
        await session.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"slots:{execution_id}"))))
        busy = await session.scalar(
            select(func.count())
            .select_from(StepRow)
            .where(StepRow.execution_id == execution_id, StepRow.key != key, StepRow.state == StepState.RUNNING.value)
        )
        if (busy or 0) >= limit:
            return False
        result = await session.execute(
            update(StepRow)
            .where(
                StepRow.execution_id == execution_id,
                StepRow.key == key,
                StepRow.round == round_,
                StepRow.state.in_(OPEN),
            )
            .values(
                state=StepState.RUNNING.value,
                started_at=func.coalesce(StepRow.started_at, func.now()),
                deadline_at=func.coalesce(StepRow.deadline_at, func.now() + timedelta(seconds=timeout)),
            )
            .returning(StepRow.key)
            .execution_options(synchronize_session=False)
        )
        return result.first() is not None


async def rows(execution_id: str) -> dict[str, StepRow]:
    """The rows of all steps that anybody looked at, by key."""
    async with async_session() as session:
        found = await session.scalars(select(StepRow).where(StepRow.execution_id == execution_id))
        return {row.key: row for row in found}


async def close_unreached(situation: Situation) -> None:
    """Say of every step that nobody was asked about (Airflow ended it by its own rule) that it was not reached, and why.

    Called once all steps have ended; a step that its edges would have let run stays without a row: the verdict names it.
    The rows are of round 1, whichever the execution's: the first try of a step that Airflow never started is still to come.
    """
    known = await rows(situation.execution_id)
    found = states(known)
    optional = [key for key, binding in situation.bindings.steps.items() if binding.optional]
    for step in situation.workflow.steps:
        if step.key in known:
            continue
        answer = gate(step, situation.workflow, found, optional=optional)
        if answer.run or answer.reason is None:
            continue
        await begin(situation, step.key, 1)
        await write(
            situation.execution_id,
            step.key,
            1,
            event=f"not reached: {answer.text}",
            state=StepState.NOT_REACHED.value,
            reason=answer.reason.value,
            message=answer.text,
            ended_at=func.now(),
        )


async def close_ended(run: RunRef, reason: NotReachedReason) -> None:
    """After the execution ended early: what nobody had begun was not reached, and never will be."""
    found = await situation(run)
    if found is None:
        return
    known = await rows(found.execution_id)
    for step in found.workflow.steps:
        row = known.get(step.key) or await begin(found, step.key, found.round)
        if row.state == StepState.PENDING.value and row.started_at is None:
            await write(
                found.execution_id,
                step.key,
                row.round,
                event=f"not reached: {reason.value}",
                state=StepState.NOT_REACHED.value,
                reason=reason.value,
                message=f"the execution ended before: {reason.value}",
                ended_at=func.now(),
            )


def states(step_rows: Mapping[str, StepRow]) -> dict[str, StepState]:
    """What the gate reads."""
    return {key: StepState(row.state) for key, row in step_rows.items()}
