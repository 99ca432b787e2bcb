"""Sends the claimed requests of one step, each exactly once, and records how each ended.

Called by the step runner and by the undo runner, again and again if the process dies in between: what to do next is read
from the journal row and, where an answer was lost, from the object itself. Never decides *what* to change.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kubernaut import journal
from kubernaut.actions.spec import ABSENT, EffectClass, FieldChange, ObjectPatch, StepFailure
from kubernaut.cluster.client import KubeClient
from kubernaut.cluster.objects import ObjectRef, resolve
from kubernaut.cluster.patch import Comparison, compare, has_annotations, is_equal, patch_operations, stored_values
from kubernaut.errors import ErrorClass
from kubernaut.execution.environment import Environment
from kubernaut.execution.external import call_once
from kubernaut.execution.retry import RETRIED
from kubernaut.store.engine import async_session
from kubernaut.store.tables import JournalRow, JournalStatus

_REREADS = 3
"""How often a patch whose test failed is sent again in one try, when only other fields had moved."""


class ClaimRefused(Exception):
    """The step may not act now; `refusal` says why."""

    def __init__(self, refusal: journal.Refusal) -> None:
        super().__init__(refusal.value)
        self.refusal = refusal


async def perform(
    env: Environment, place: journal.StepPlace, row: JournalRow, log: Callable[[str], None]
) -> JournalStatus:
    """Bring one row to its end and return how it ended.

    Raises `ClaimRefused` before anything is sent, and `StepFailure` where the step may try again or has failed for good.
    """
    if row.status is JournalStatus.REFUSED and row.error_class is not None:
        raise StepFailure(row.error_class, row.message or "refused before")
    if row.status not in (JournalStatus.PREPARED, JournalStatus.SENT):
        return row.status
    if row.effect == EffectClass.EXTERNAL.value:
        return await _external(env, place, row, log)
    return await _patch(env, place, row, log)


async def _mark_sent(place: journal.StepPlace, row: JournalRow) -> None:
    """Before each sending, also of what was sent before: a halt, a cancellation or the plan's end hold that back too."""
    again = row.status is JournalStatus.SENT
    async with async_session() as session:
        refused = await journal.mark_sent(session, place, row.id, again=again)
    if refused is not None:
        raise ClaimRefused(refused)
    row.status = JournalStatus.SENT


def _final(failure: StepFailure) -> bool:
    """Nothing was changed by this request, and the next one would meet the same."""
    return failure.effect_known and not RETRIED[failure.error_class]


async def _settle(row: JournalRow, status: JournalStatus, **facts: Any) -> JournalStatus:
    async with async_session() as session:
        await journal.settle(session, row, journal.Settlement(status=status, **facts))
    return status


def ref_of(row: JournalRow) -> ObjectRef:
    """The object that a row changes."""
    return ObjectRef(api_version=str(row.api_version), kind=str(row.kind), namespace=row.namespace, name=str(row.name))


async def _patch(
    env: Environment, place: journal.StepPlace, row: JournalRow, log: Callable[[str], None]
) -> JournalStatus:
    client, ref, fields = env.cluster(str(row.cluster)), ref_of(row), journal.field_changes(row)
    # Another process that runs this step, alive or dead, may have sent it: then what stands there may be ours at any look.
    may_be_ours = row.status is JournalStatus.SENT
    for _ in range(_REREADS):
        document = await client.get(ref)
        standing = _standing(document, row, fields)
        if standing is Comparison.EQUAL_AFTER and may_be_ours:
            log(f"{ref}: {row.summary}: the earlier request had been applied")
            return await _settle(row, JournalStatus.APPLIED, stored=_stored(fields, document))
        if standing is Comparison.EQUAL_AFTER:
            log(f"{ref}: {row.summary}: already so, by somebody else; nothing sent")
            return await _settle(row, JournalStatus.REFUSED, message="already so, by somebody else")
        if standing is Comparison.OTHER:
            return await _foreign(row, ref)
        await _mark_sent(place, row)
        try:
            answer = await _send(client, ref, row, fields, document, place)
        except StepFailure as failure:
            if failure.error_class is ErrorClass.CONFLICT:
                continue  # something moved between read and write: look again
            if _final(failure):
                await _settle(
                    row,
                    JournalStatus.REFUSED,
                    error_class=failure.error_class,
                    message=failure.message,
                    response_status=failure.status,
                )
            raise
        log(f"{ref}: {row.summary}: applied")
        return await _settle(row, JournalStatus.APPLIED, stored=_stored(fields, answer), response_status=200)
    raise StepFailure(
        ErrorClass.CONFLICT, f"{ref} kept changing while it was to be changed; {row.summary}: not applied"
    )


async def _send(
    client: KubeClient,
    ref: ObjectRef,
    row: JournalRow,
    fields: tuple[FieldChange, ...],
    document: Any,
    place: journal.StepPlace,
) -> Any:
    patch = ObjectPatch(
        target=ref,
        uid=str(row.uid),
        resource_version=str(document["metadata"]["resourceVersion"]),
        fields=fields,
        summary=row.summary,
    )
    annotate = place.execution_id if has_annotations(document) else None
    return await client.json_patch(ref, patch_operations(patch, execution_id=annotate))


def _standing(document: Any, row: JournalRow, fields: tuple[FieldChange, ...]) -> Comparison:
    if resolve(document, "/metadata/uid") != row.uid or resolve(document, "/metadata/deletionTimestamp"):
        return Comparison.OTHER
    return compare(document, fields)


def _stored(fields: tuple[FieldChange, ...], document: Any) -> dict[str, Any]:
    return {field.pointer: field.stored for field in stored_values(fields, document) if field.stored != ABSENT}


async def _foreign(row: JournalRow, ref: ObjectRef) -> JournalStatus:
    """Somebody else changed what was to be changed, or the object is another one: never overwritten."""
    message = (
        f"{ref} is no longer as it was first read; {row.summary}: not applied. Look at who changed it, then plan anew."
    )
    await _settle(row, JournalStatus.REFUSED, error_class=ErrorClass.PRECONDITION, message=message)
    raise StepFailure(ErrorClass.PRECONDITION, message)


async def _external(
    env: Environment, place: journal.StepPlace, row: JournalRow, log: Callable[[str], None]
) -> JournalStatus:
    call = row.call or {}
    if row.status is JournalStatus.SENT and not call.get("idempotent"):
        return await _settle(row, JournalStatus.UNKNOWN, message="sent before; whether it arrived is not known")
    await _mark_sent(place, row)
    try:
        status = await call_once(call, key=str(row.idempotency_key), timeout=env.settings.external_timeout)
    except StepFailure as failure:
        if not failure.effect_known and not call.get("idempotent"):
            log(f"{row.summary}: whether it arrived is not known ({failure.message})")
            return await _settle(row, JournalStatus.UNKNOWN, error_class=failure.error_class, message=failure.message)
        if _final(failure):
            await _settle(
                row,
                JournalStatus.REFUSED,
                error_class=failure.error_class,
                message=failure.message,
                response_status=failure.status,
            )
        elif failure.effect_known:  # it did not arrive: the next try may send it
            async with async_session() as session:
                await journal.withdraw_sent(session, row.id)
        raise
    log(f"{row.summary}: delivered (HTTP {status})")
    return await _settle(row, JournalStatus.APPLIED, response_status=status)


async def still_stands(env: Environment, rows: Sequence[JournalRow]) -> bool:
    """Whether every object still is as these applied requests left it.

    A relative wish ("the previous revision") would mean something else when it is read a second time: a step that is
    cleared after it acted finds its own change standing and leaves it. Raises `StepFailure` where it cannot be read.
    """
    for row in rows:
        if row.effect == EffectClass.EXTERNAL.value:
            return False
        document = await env.cluster(str(row.cluster)).get(ref_of(row))
        if resolve(document, "/metadata/uid") != row.uid:
            return False
        if any(
            not is_equal(resolve(document, item["pointer"], ABSENT), item.get("stored", ABSENT)) for item in row.fields
        ):
            return False
    return True


async def resolve_doubt(env: Environment, row: JournalRow) -> JournalStatus:
    """After the last try: what became of a request without an answer? `UNKNOWN` where the object cannot say either."""
    if row.status is not JournalStatus.SENT:
        return row.status
    if row.effect == EffectClass.EXTERNAL.value:
        return await _settle(row, JournalStatus.UNKNOWN, message="no answer")
    fields = journal.field_changes(row)
    try:
        document = await env.cluster(str(row.cluster)).get(ref_of(row))
    except StepFailure as failure:
        return await _settle(row, JournalStatus.UNKNOWN, error_class=failure.error_class, message=failure.message)
    standing = _standing(document, row, fields)
    if standing is Comparison.EQUAL_AFTER:
        return await _settle(row, JournalStatus.APPLIED, stored=_stored(fields, document))
    if standing is Comparison.EQUAL_BEFORE:
        return await _settle(row, JournalStatus.REFUSED, error_class=ErrorClass.NETWORK, message="it never took effect")
    return await _settle(row, JournalStatus.UNKNOWN, message="the object was changed by somebody else since")
