"""The end of the demo, as text: what was wrong, what was done, the proof, what an undo would restore, and the times.

Called by `run` with what was read and measured; pure, so that every ending can be tested without a stack. Whether the
demo succeeded is `healthy`, and only what the demo itself read from the cluster decides it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import JsonValue

from devstack.demo.execution import Execution, FieldView, JournalView, StepView, between
from devstack.demo.screen import columns, foreign
from devstack.demo.watch import WORDS, why
from devstack.demo.workload import Workload
from kubernaut.actions.registry import find
from kubernaut.cluster.objects import escape

MAX_DIFFERENCES = 8
"""Lines for one field; a whole pod template may differ in everything."""
_ABSENT = object()
_NOT_RUN = ("skipped", "not_reached", "pending")


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that is known at the end."""

    before: Workload
    after: Workload | None
    """None where the cluster did not answer."""
    refusal: tuple[str, ...] = ()
    """Why the server did not accept the plan."""
    execution: Execution | None = None
    undo: Execution | None = None
    """The compensation that the engine queued by itself."""
    accept_seconds: float | None = None
    start_seconds: Mapping[str, float] = field(default_factory=dict)
    """How long each part of the stack took to be ready."""
    total_seconds: float = 0.0

    @property
    def healthy(self) -> bool:
        return self.after is not None and self.after.healthy


@dataclass(frozen=True, kw_only=True)
class Section:
    title: str
    lines: tuple[str, ...]
    good: bool | None = None
    """None: neither good nor bad."""


def sections(report: Report) -> tuple[Section, ...]:
    return (
        Section(title="What was wrong", lines=tuple(workload_lines(report.before))),
        Section(title="What was done", lines=tuple(_done(report))),
        _proof(report),
        Section(title="What an undo would restore", lines=tuple(_undo(report))),
        Section(title="Time", lines=tuple(_times(report))),
    )


def headline(report: Report) -> str:
    """The last word in one line."""
    title = report.before.title
    if report.healthy:
        seconds = repair_seconds(report)
        took = f", {seconds:.1f} s after the request" if seconds is not None else ""
        return f"{title} is healthy again{took}."
    if report.after is None:
        return f"{title}: nobody knows; the cluster did not answer."
    return f"{title} is still broken."


def workload_lines(found: Workload) -> Iterator[str]:
    """A workload for people: in a word, its pods, and what is broken."""
    yield f"{found.title}, revision {found.revision}: {found.available} of {found.wanted} replicas are available"
    yield f"its template starts: {foreign(found.command)}"
    rows = [("POD", "REVISION", "READY", "RESTARTS", "STATE")]
    for pod in found.pods:
        words = f" ({foreign(pod.last_words)})" if pod.last_words else ""
        ready = "yes" if pod.ready else "no"
        rows.append((foreign(pod.name), str(pod.revision or "?"), ready, str(pod.restarts), foreign(pod.state) + words))
    yield from columns(rows)


# --- what was done


def _done(report: Report) -> Iterator[str]:
    execution = report.execution
    if execution is None:
        yield "Nothing: the server did not accept the plan."
        yield from report.refusal
        return
    ran = [step for step in execution.steps if step.state not in _NOT_RUN]
    rows = []
    for step in sorted(ran, key=lambda step: (step.started_at is None, step.started_at, step.key)):
        rows.append((WORDS.get(step.state, step.state), foreign(step.title, 60), foreign(_what(step, execution))))
    yield from columns(rows)
    for step in execution.steps:
        if step.state in _NOT_RUN:
            yield f"not run: {foreign(step.title, 60)}: {why(step, execution) or step.state}"
    yield from _verdict(execution)
    if report.undo is not None:
        yield f"The engine took its changes back by itself: {report.undo.id}, {report.undo.outcome or report.undo.phase}"


def _what(step: StepView, execution: Execution) -> str:
    """What it changed, or found, and why it failed if it did."""
    changed = "; ".join(row.summary for row in execution.changes if row.step == step.key)
    told = (
        (changed or step.news, step.message) if step.state != "succeeded" else (changed or step.news or step.message,)
    )
    return "; ".join(text for text in told if text)


def _verdict(execution: Execution) -> Iterator[str]:
    outcome = execution.outcome or execution.phase
    reason = execution.reason if execution.verdict is None and execution.reason != outcome else None
    yield f"The engine's verdict on {execution.id}: {outcome}" + (f" ({foreign(reason)})" if reason else "")
    if execution.verdict is not None:
        yield from (f"  because {foreign(text)}" for text in execution.verdict.reasons)
        yield from (f"  not proven: {foreign(text)}" for text in execution.verdict.missing)


# --- the proof


def _proof(report: Report) -> Section:
    after = report.after
    if after is None:
        return Section(title="Proof", lines=("none: the cluster did not answer",), good=False)
    lines = [f"Read from the cluster by the demo itself, {after.read_at:%H:%M:%S} UTC:", *workload_lines(after)]
    if after.healthy:
        lines += columns([("holds", proof.check, foreign(proof.observed)) for proof in after.proofs])
        return Section(title="Proof", lines=tuple(lines), good=True)
    lines.append("Still broken:")
    lines += [f"  {foreign(line)}" for line in after.broken]
    return Section(title="No proof: what is still broken", lines=tuple(lines), good=False)


# --- what an undo would restore


def _undo(report: Report) -> Iterator[str]:
    changes = report.execution.changes if report.execution is not None else ()
    standing = [row for row in changes if row.undone_by is None]
    if not standing:
        yield (
            "Nothing: no change of this plan stands in the cluster."
            if not changes
            else ("Nothing any more: every change of this plan was taken back.")
        )
        return
    for row in standing:
        reason = _for_good(row, report.execution)
        if reason is None:
            yield f"{row.object}:"
            yield from (f"  {line}" for line in restored(row))
        else:
            yield f"{row.object}: cannot be taken back: {foreign(row.summary)} ({foreign(reason)})"


def _for_good(row: JournalView, execution: Execution | None) -> str | None:
    """Why the change stays, as the catalogue says of its action; None where an undo restores it."""
    steps = execution.steps if execution is not None else ()
    action = next((step.action for step in steps if step.key == row.step), "")
    known = find(action)
    return known.undo_reason if known is not None else None


def restored(row: JournalView) -> Iterator[str]:
    """What undoing one request sets, leaf by leaf: what stands now, and what would stand again."""
    for one in row.fields:
        found = list(differences(one))
        for pointer, before, after in found[:MAX_DIFFERENCES]:
            yield f"{foreign(pointer)}: {_text(after)}  →  {_text(before)}"
        if len(found) > MAX_DIFFERENCES:
            yield f"… and {len(found) - MAX_DIFFERENCES} more"


def differences(changed: FieldView) -> Iterator[tuple[str, object, object]]:
    """Pointer, value before and value after of every leaf in which a field's two values differ."""
    given = changed.model_fields_set
    before = changed.before if "before" in given else _ABSENT
    after = changed.after if "after" in given else _ABSENT
    yield from _differ(changed.pointer, before, after)


def _differ(pointer: str, before: object, after: object) -> Iterator[tuple[str, object, object]]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _differ(f"{pointer}/{escape(key)}", before.get(key, _ABSENT), after.get(key, _ABSENT))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _differ(f"{pointer}/{index}", one, other)
    else:
        yield pointer, before, after


def _text(value: object) -> str:
    if value is _ABSENT:
        return "(not set)"
    written: JsonValue = value  # type: ignore[assignment]  # what is not the marker came out of a JSON document
    return foreign(json.dumps(written, ensure_ascii=False), 200)


# --- times


def repair_seconds(report: Report) -> float | None:
    """From the request's acceptance to the execution's end."""
    execution = report.execution
    return between(execution.created_at, execution.ended_at) if execution is not None else None


def _times(report: Report) -> Iterator[str]:
    rows = [(label, _seconds(seconds)) for label, seconds in report.start_seconds.items()]
    rows += _repair_times(report)
    rows.append(("the whole demo up to here", _seconds(report.total_seconds)))
    width = max(len(seconds) for _, seconds in rows)
    yield from columns([(label, seconds.rjust(width)) for label, seconds in rows])


def _repair_times(report: Report) -> Iterator[tuple[str, str]]:
    if report.accept_seconds is not None:
        yield "request answered", _seconds(report.accept_seconds)
    execution = report.execution
    if execution is None:
        return
    started = [step.started_at for step in execution.steps if step.started_at is not None]
    if (first := between(execution.created_at, min(started, default=None))) is not None:
        yield "accepted → first step acts", _seconds(first)
    for step in _in_order(execution.steps):
        if step.seconds is not None:
            yield f"  {foreign(step.title, 60)}", _seconds(step.seconds)
    ended = [step.ended_at for step in execution.steps if step.ended_at is not None]
    if (judging := between(max(ended, default=None), execution.ended_at)) is not None:
        yield "last step → verdict", _seconds(judging)
    if (whole := repair_seconds(report)) is not None:
        yield "THE REPAIR: accepted → verdict", _seconds(whole)
    if report.undo is not None and (undone := between(report.undo.created_at, report.undo.ended_at)) is not None:
        yield "taking it back", _seconds(undone)


def _in_order(steps: Sequence[StepView]) -> list[StepView]:
    return sorted((step for step in steps if step.started_at is not None), key=lambda step: (step.started_at, step.key))


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
