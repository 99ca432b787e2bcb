"""What the routes do with the store: start a plan, take an execution back, read one whole.

The domain decides (`examine`, `accept`, `queue_undo`); this module asks it in the right order and turns its refusals into
problems. Functions that end in `_sync` hold a transaction and run in a thread, never on the event loop.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from anyio import to_thread
from kubernaut_operators.coroutines import environment
from pydantic import JsonValue
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from kubernaut.errors import InvalidInput
from kubernaut.examination import Examination, HumanReason
from kubernaut.execution.accept import Accepted, RefusalKind, Refused, Submission, accept
from kubernaut.execution.claim_policy import labels_of
from kubernaut.execution.environment import Environment
from kubernaut.execution.phases import terminal
from kubernaut.execution.undo import plan_undo, queue_undo
from kubernaut.json_input import read_json
from kubernaut.plan.examine import examine
from kubernaut.plan.live import with_live_policy
from kubernaut.plan.model import Target
from kubernaut.settings import Settings, get_settings
from kubernaut.store.audit import Actor, Operation, record
from kubernaut.store.engine import session
from kubernaut.store.executions import get_execution, journal_of, lock_execution, steps_of
from kubernaut.store.halts import open_halts
from kubernaut.store.tables import ExecutionKind, ExecutionRow, JournalStatus, WorkflowRow
from kubernaut.workflow.model import Bindings, Workflow, canonical_json
from kubernaut_plugin.api.cards import card_text
from kubernaut_plugin.api.models import SubmitBody, ValidateBody
from kubernaut_plugin.api.problems import Problem, faulty
from kubernaut_plugin.api.views import Story

LABELS_TIMEOUT = 5.0
"""Seconds for the labels of one namespace; where they do not come, the plan needs an approval."""
_EXECUTION_ID = re.compile(r"ex-[0-9a-z]{19}")


# --- plans


async def validate(body: ValidateBody, actor: Actor, tracking_id: str | None) -> Examination:
    """Look at a plan without reading any cluster; audited."""
    env = await to_thread.run_sync(environment)

    def look() -> Examination:
        found = examine(
            body.plan, settings=env.settings, policy=env.policy, signal=body.signal, tracking_id=tracking_id
        )
        _record_validation(found, actor)
        return found

    return await to_thread.run_sync(look)


def _record_validation(found: Examination, actor: Actor) -> None:
    with session() as store:
        record(
            store,
            actor,
            Operation.VALIDATE,
            subject_kind="plan",
            subject_id=found.hash or (found.plan.id if found.plan else "unreadable"),
            tracking_id=found.plan.tracking_id if found.plan else None,
            details={
                "outcome": found.outcome.value,
                "dialect": found.dialect,
                "faults": [fault.code for fault in found.faults[:50]],
                "reasons": [reason.code for reason in (*found.human_reasons, *found.approval_reasons)],
            },
        )


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request to start a plan, with what its headers say."""

    body: SubmitBody
    actor: Actor
    key: str | None
    tracking_id: str | None

    @property
    def digest(self) -> str:
        """Of everything that makes it another request under the same key."""
        document = {**self.body.model_dump(mode="json"), "tracking_id": self.tracking_id}
        return hashlib.sha256(canonical_json(document)).hexdigest()


async def submit(request: Request) -> Accepted:
    """Examine, ask the policy with labels read now, and accept. Raises `Problem`: 409, 422."""
    if request.key is not None:
        earlier = await to_thread.run_sync(_earlier_sync, request)
        if earlier is not None:
            return earlier
    env = await to_thread.run_sync(environment)
    examination = await _examined(env, request)
    submission = Submission(
        examination=examination,
        actor=request.actor,
        answer=_answer(request.body.plan, env.settings),
        priority=request.body.priority,
        approve=request.body.approve,
        idempotency_key=request.key,
        request_digest=request.digest,
    )
    answer = await to_thread.run_sync(_accept_sync, submission)
    if isinstance(answer, Refused):
        raise refusal(answer, examination)
    return answer


def _answer(plan: JsonValue, settings: Settings) -> JsonValue:
    """The AI's JSON as a value, also where it came as text."""
    if not isinstance(plan, str):
        return plan
    try:
        return read_json(plan, max_bytes=settings.max_plan_bytes, max_nesting=settings.max_nesting)
    except InvalidInput:
        return None  # its faults are in the examination


def _earlier_sync(request: Request) -> Accepted | None:
    """What the same request brought before: a repeat is answered so whatever the cluster says today."""
    lifetime = timedelta(hours=get_settings().idempotency_hours)
    with session() as store:
        row = store.scalars(
            select(ExecutionRow).where(
                ExecutionRow.actor == request.actor.name,
                ExecutionRow.idempotency_key == request.key,
                ExecutionRow.request_digest == request.digest,
                ExecutionRow.created_at >= func.now() - lifetime,
            )
        ).one_or_none()
    if row is None:
        return None
    return Accepted(
        execution_id=row.id, dag_id=row.dag_id, run_id=row.run_id, tracking_id=row.tracking_id, created=False
    )


async def _examined(env: Environment, request: Request) -> Examination:
    body = request.body

    async def labels(target: Target) -> Mapping[str, str]:
        try:
            async with asyncio.timeout(LABELS_TIMEOUT):
                return await labels_of(env, target)
        except TimeoutError:
            raise TimeoutError(f"cluster {target.cluster!r} did not answer within {LABELS_TIMEOUT:g} s") from None

    def look() -> Examination:
        return examine(
            body.plan, settings=env.settings, policy=env.policy, signal=body.signal, tracking_id=request.tracking_id
        )

    return await with_live_policy(await to_thread.run_sync(look), policy=env.policy, labels_of=labels)


def _accept_sync(submission: Submission) -> Accepted | Refused:
    with session() as store:
        return accept(store, submission)


def refusal(refused: Refused, examination: Examination) -> Problem:
    """What a person needs in order to answer it: the reasons, the plan's card, and the hash that an approval names."""
    if refused.kind is RefusalKind.INVALID:
        return faulty(422, "invalid_plan", examination.faults)
    if refused.kind is RefusalKind.KEY_REUSED:
        return Problem(409, refused.kind.value, refused.message)
    reasons: tuple[HumanReason, ...] = (*examination.human_reasons, *examination.approval_reasons)
    # What nobody can approve needs a human all the same: its hash is null.
    code = RefusalKind.HUMAN_REQUIRED if refused.kind is RefusalKind.NOT_RUNNABLE else refused.kind
    approvable = refused.kind is not RefusalKind.NOT_RUNNABLE
    return Problem(
        409,
        code.value,
        refused.message,
        hash=examination.hash if approvable else None,
        card=card_text(examination),
        reasons=[reason.model_dump(mode="json") for reason in reasons],
        unchecked=list(examination.unchecked),
        warnings=list(examination.warnings),
        steps=[step.model_dump(mode="json") for step in examination.steps],
    )


# --- executions


def story_sync(execution_id: str) -> Story:
    """Raises `Problem` 404."""
    _require_id(execution_id)
    with session() as store:
        row = get_execution(store, execution_id)
        if row is None:
            raise _unknown(execution_id)
        workflow, bindings = _shape(store, row)
        undos = store.scalars(
            select(ExecutionRow).where(ExecutionRow.undoes == execution_id).order_by(ExecutionRow.created_at)
        )
        return Story(
            row=row,
            workflow=workflow,
            bindings=bindings,
            steps={step.key: step for step in store.scalars(steps_of(execution_id))},
            journal=list(store.scalars(journal_of(execution_id))),
            undos=list(undos),
            halts=list(store.scalars(open_halts())),
        )


def _shape(store: Session, row: ExecutionRow) -> tuple[Workflow, Bindings]:
    document = store.scalars(select(WorkflowRow.document).where(WorkflowRow.digest == row.workflow_digest)).one()
    return Workflow.model_validate(document), Bindings.model_validate(row.bindings)


def _require_id(execution_id: str) -> None:
    if not _EXECUTION_ID.fullmatch(execution_id):
        raise _unknown(execution_id)


def _unknown(execution_id: str) -> Problem:
    return Problem(404, "not_found", f"there is no execution {execution_id[:64]!r}; GET …/executions lists them")


@dataclass(frozen=True, kw_only=True)
class QueuedUndo:
    accepted: Accepted
    left_out: Mapping[str, str]


def undo_sync(execution_id: str, actor: Actor, reason: str | None) -> QueuedUndo:
    """Queue the compensation of an ended execution. Raises `Problem`: 404, 409."""
    _require_id(execution_id)
    settings = get_settings()
    with session() as store:
        row = lock_execution(store, execution_id)
        if row is None:
            raise _unknown(execution_id)
        _require_undoable(store, row)
        workflow, bindings = _shape(store, row)
        journal = list(store.scalars(journal_of(row.id)))
        left_out = dict(plan_undo(row.id, workflow, bindings, journal, settings).left_out)
        undo = queue_undo(store, row, actor, reason or "asked for by REST", settings)
        accepted = None if undo is None else _as_accepted(undo)
        made = [entry for entry in journal if entry.status is not JournalStatus.REFUSED]
    if accepted is None:  # after the commit: that it was asked for is an audit event too
        raise _nothing_to_undo(left_out, taken_back=bool(made) and all(entry.undone_by for entry in made))
    return QueuedUndo(accepted=accepted, left_out=left_out)


def _as_accepted(row: ExecutionRow) -> Accepted:
    return Accepted(
        execution_id=row.id, dag_id=row.dag_id, run_id=row.run_id, tracking_id=row.tracking_id, created=True
    )


def _require_undoable(store: Session, row: ExecutionRow) -> None:
    if row.kind is ExecutionKind.UNDO:
        raise Problem(
            409, "not_undoable", f"{row.id} is itself the undo of {row.undoes}; to repair again, start a plan again"
        )
    if not terminal(row.phase):
        raise Problem(
            409,
            "not_ended",
            f"{row.id} is {row.phase.value}: what it changes cannot be taken back before it has ended",
            phase=row.phase.value,
        )
    other = next(
        (
            undo
            for undo in store.scalars(select(ExecutionRow).where(ExecutionRow.undoes == row.id))
            if not terminal(undo.phase)
        ),
        None,
    )
    if other is not None:
        raise Problem(409, "undo_under_way", f"{other.id} takes it back already ({other.phase.value})", undo=other.id)


def _nothing_to_undo(left_out: Mapping[str, str], *, taken_back: bool) -> Problem:
    if left_out:
        listed = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        text = f"nothing of what it did can be taken back. {listed}"
    elif taken_back:
        text = "everything that it changed was taken back already"
    else:
        text = "it changed nothing"
    return Problem(409, "nothing_to_undo", text, cannot_be_undone=dict(left_out))
