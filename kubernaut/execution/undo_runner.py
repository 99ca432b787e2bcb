"""Takes back what one step of an ended execution changed, request by request, last first; each undo is journalled itself.

Called by the step runner for the steps of an execution of kind `undo`. Restores only the fields that the step set, and only
where they still hold what the server stored for us; what somebody else changed since is named and left alone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import text, update

from kubernaut import journal
from kubernaut.actions.spec import ABSENT, ObjectPatch, StepFailure
from kubernaut.cluster.patch import Comparison, UndoRefusal, WrittenField, compare, stored_values, undo_patch
from kubernaut.errors import ErrorClass
from kubernaut.execution.apply import ClaimRefused, perform, ref_of, resolve_doubt
from kubernaut.execution.environment import Environment
from kubernaut.store.engine import async_session
from kubernaut.store.tables import JournalRow, JournalStatus, StepRow
from kubernaut.workflow.gate import StepState

Log = Callable[[str], None]


async def take_back(
    env: Environment, place: journal.StepPlace, origin: str, key: str, log: Log
) -> tuple[list[JournalStatus], dict[str, Any]]:
    """Undo every change of one step. Raises `StepFailure` (naming who stands in the way) and `ClaimRefused`."""
    async with async_session() as session:
        originals = await journal.to_undo(session, origin, key)
    restored: list[str] = []
    for original in originals:
        settled = await _settled(env, original, log)
        if settled is not None:
            restored.append(await _restore(env, place, settled, log))
    await _mark_undone(origin, key, env.now())
    return [JournalStatus.APPLIED], {"undone": origin, "restored": restored}


async def _settled(env: Environment, original: JournalRow, log: Log) -> JournalRow | None:
    """The change as it stands, or None where it never took effect. Raises `StepFailure(CONFLICT)` while it may still arrive."""
    if original.status is JournalStatus.PREPARED:
        async with async_session() as session:
            await journal.settle(
                session, original, journal.Settlement(status=JournalStatus.REFUSED, message="withdrawn by the undo")
            )
        log(f"{original.summary}: was never sent")
        return None
    if original.status is JournalStatus.SENT:
        age = (env.now() - (original.sent_at or env.now())).total_seconds()
        if age < env.settings.request_timeout:
            raise StepFailure(
                ErrorClass.CONFLICT,
                f"{original.summary} is still on its way; its answer is awaited before it is undone",
            )
        original.status = await resolve_doubt(env, original)
        async with async_session() as session:
            original = await session.get_one(JournalRow, original.id)
    if original.status is JournalStatus.REFUSED:
        return None
    return original


async def _restore(env: Environment, place: journal.StepPlace, original: JournalRow, log: Log) -> str:
    """Undo one applied (or unknown) change; the text for people."""
    async with async_session() as session:
        own = [row for row in await journal.rows(session, place)]
    earlier = next((row for row in own if row.undo_of == original.id), None)
    mine = earlier if earlier is not None else await _claim(env, place, original, first=len(own) + 1)
    if isinstance(mine, str):
        log(mine)
        return mine
    await perform(env, place, mine, log)
    return mine.summary


async def _claim(env: Environment, place: journal.StepPlace, original: JournalRow, *, first: int) -> JournalRow | str:
    """Claim the request that takes the change back, or say why nothing needs to be sent."""
    ref = ref_of(original)
    try:
        current = await env.cluster(str(original.cluster)).get(ref)
    except StepFailure as failure:
        if failure.error_class is not ErrorClass.NOT_FOUND:
            raise
        return f"{ref} is gone; there is nothing to restore in it"
    fields = _written(original, current)
    if isinstance(fields, str):
        return fields
    patch = undo_patch(ref, str(original.uid), fields, current)
    if isinstance(patch, UndoRefusal):
        raise StepFailure(ErrorClass.PRECONDITION, f"not undone: {patch.message}")
    if not patch.fields:
        return f"{ref}: already as it was before"
    return await _claimed(place, original, patch, first)


async def _claimed(place: journal.StepPlace, original: JournalRow, patch: ObjectPatch, first: int) -> JournalRow:
    async with async_session() as session:
        refused = await journal.claim(session, place, original.cluster, [patch], first=first, undo_of=[original.id])
        if refused is not None:
            raise ClaimRefused(refused)
        rows = await journal.rows(session, place)
    return next(row for row in rows if row.undo_of == original.id)


def _written(original: JournalRow, current: Any) -> tuple[WrittenField, ...] | str:
    """The fields with what the server stored; of a request without an answer, what the object says now."""
    changes = journal.field_changes(original)
    if original.status is JournalStatus.APPLIED:
        return tuple(
            WrittenField(
                pointer=change.pointer,
                before=change.before,
                after=change.after,
                stored=field.get("stored", ABSENT),
            )
            for change, field in zip(changes, original.fields, strict=True)
        )
    standing = compare(current, changes)
    if standing is Comparison.EQUAL_BEFORE:
        return f"{ref_of(original)}: the change never took effect"
    if standing is Comparison.EQUAL_AFTER:
        return stored_values(changes, current)
    raise StepFailure(
        ErrorClass.PRECONDITION,
        f"not undone: nobody knows whether {original.summary!r} took effect, and {ref_of(original)} was changed since",
    )


async def _mark_undone(execution_id: str, key: str, now: datetime) -> None:
    """The step that was taken back says so; after this its `act` refuses."""
    async with async_session() as session:
        await session.execute(
            update(StepRow)
            .where(StepRow.execution_id == execution_id, StepRow.key == key)
            .values(state=StepState.UNDONE.value, undone_at=now, ended_at=text("coalesce(ended_at, now())"))
            .execution_options(synchronize_session=False)
        )
