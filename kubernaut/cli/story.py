"""One execution for people: what stands in the terminal after `executions show`, and at the end of `--wait`.

Called by `kubernaut.cli.executions` with documents of the REST API. Asks nothing and decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from kubernaut.cli.output import heading, shown

Document = Mapping[str, Any]
"""A document of the REST API (`Any`: JSON)."""
_FIELDS = (
    "reason",
    "round",
    "priority",
    "approved_by",
    "dag_id",
    "run_id",
    "tracking_id",
    "actor",
    "created_at",
    "started_at",
    "ended_at",
)
_LOOKS = "monitoring.check"
"""The action whose outputs are all that it is about."""
_PROOFS = {"read": "read from the cluster after the last change", "none": "none, nothing was changed"}
_UNPROVEN = "none, no condition was read and held after the last change"


def story(found: Document) -> Iterator[str]:
    """The whole of it."""
    outcome = f", {found['outcome']}" if found.get("outcome") else ""
    yield heading(f"{shown(found.get('id'))}: {shown(found.get('phase'))}{shown(outcome)}")
    for field in _FIELDS:
        if found.get(field):
            yield f"  {field.replace('_', ' ')}: {shown(found[field])}"
    progress = found.get("progress")
    if isinstance(progress, dict):
        yield f"  progress: {shown(progress.get('done'))} of {shown(progress.get('total'))} steps"
    links = found.get("links")
    if isinstance(links, dict) and links.get("airflow"):
        yield f"  in Airflow: {shown(links['airflow'])}"
    yield from _steps(found)
    yield from _changes(found.get("journal"))
    yield from halts(found)
    if found.get("verdict"):
        yield ""
        yield from ending(found)
    if found.get("undone_by"):
        yield f"  undone by: {shown(found['undone_by'])}"


def _steps(found: Document) -> Iterator[str]:
    names = named(found)
    if found.get("steps"):
        yield ""
        yield "Steps"
    for step in found.get("steps", []):
        name = step.get("name") or step.get("id") or step.get("key")
        yield f"  {str(step.get('state')).ljust(12)} {shown(name)}{because(step, names)}"
        times = _times(step)
        if times:
            yield f"  {'':12}   {times}"
        outputs = step.get("outputs")
        if step.get("action") == _LOOKS and isinstance(outputs, dict) and outputs:
            yield f"  {'':12}   found: {shown(', '.join(f'{key} {value}' for key, value in outputs.items()))}"


def _times(step: Document) -> str:
    """When it began, how long it took, and how often it was tried."""
    parts = [f"from {shown(step['started_at'])}"] if step.get("started_at") else []
    if isinstance(step.get("seconds"), int | float):
        parts.append(f"{step['seconds']:.1f} s")
    tries = step.get("tries")
    if tries:
        parts.append(f"{shown(tries)} {'try' if tries == 1 else 'tries'}")
    return ", ".join(parts)


def named(found: Document) -> Mapping[str, str]:
    """The AI's own id of each step by the key that the engine gave it."""
    steps = [step for step in found.get("steps", []) if step.get("key")]
    return {str(step["key"]): str(step.get("id") or step.get("name") or step["key"]) for step in steps}


def because(step: Document, names: Mapping[str, str]) -> str:
    """What a step says of itself, with the ids that people know in place of keys."""
    text = step.get("message") or step.get("reason")
    if not text:
        return ""
    keys = "|".join(re.escape(key) for key in names)
    told = re.sub(rf"\b(?:{keys})\b", lambda key: names[key[0]], str(text)) if keys else str(text)
    return f": {shown(told)}"


def _changes(journal: object) -> Iterator[str]:
    if not isinstance(journal, list) or not journal:
        return
    yield ""
    yield "Changes (journal)"
    for entry in journal:
        if isinstance(entry, dict):
            place = "/".join(str(entry[part]) for part in ("namespace", "name") if entry.get(part))
            what = f"{shown(entry.get('kind') or '')} {shown(place)}".strip()
            yield f"  {str(entry.get('status')).ljust(12)} {what}: {shown(entry.get('summary') or '')}"


def ending(found: Document) -> Iterator[str]:
    """Phase, outcome, and the verdict with its proof in words."""
    yield f"{shown(found.get('phase'))}: {shown(found.get('outcome') or found.get('reason') or '')}"
    verdict = found.get("verdict")
    if isinstance(verdict, dict):
        for field, title in (("reasons", "because"), ("missing", "not proven")):
            yield from (f"  {title}: {shown(text)}" for text in verdict.get(field) or ())
        if verdict.get("proof"):
            yield f"  proof: {shown(_proof(str(verdict['proof']), changed=bool(found.get('journal'))))}"
        if verdict.get("note"):
            yield f"  note: {shown(verdict['note'])}"


def _proof(proof: str, *, changed: bool) -> str:
    return _UNPROVEN if proof == "none" and changed else _PROOFS.get(proof, proof)


def halts(page: Document) -> Iterator[str]:
    """A halt is shown wherever executions are: it explains why nothing moves."""
    for halt in page.get("halts") or ():
        if isinstance(halt, dict):
            where = shown(halt.get("cluster")) if halt.get("cluster") else "all clusters"
            yield f"HALTED: {where}: {shown(halt.get('reason') or '')}"
