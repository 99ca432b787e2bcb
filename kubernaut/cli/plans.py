"""`kubernaut plan …`: look at a plan without a server. Nothing is registered, rendered, resolved or fetched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kubernaut.cli.exits import Exit

if TYPE_CHECKING:
    from kubernaut.examination import Examination, ExaminedStep, HumanReason

app = typer.Typer(help="Look at a plan; no server is asked.", no_args_is_help=True, rich_markup_mode=None)


def _readable(path: Path) -> Path:
    """A file that is there, or `-`."""
    if str(path) != "-" and not path.is_file():
        raise typer.BadParameter(f"there is no file {str(path)!r}")
    return path


PlanFile = Annotated[
    Path, typer.Argument(metavar="FILE", callback=_readable, help="The AI's answer (JSON); - is stdin.")
]
SignalFile = Annotated[
    Path | None,
    typer.Option(
        "--signal",
        exists=True,
        dir_okay=False,
        readable=True,
        help="The signal it answers (JSON; Alertmanager's form).",
    ),
]


@app.command("validate")
def validate(
    file: PlanFile,
    signal: SignalFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")] = False,
    provenance: Annotated[bool, typer.Option("--provenance", help="Where every value of the answer went.")] = False,
) -> None:
    """Says whether a plan may run: exit 0 yes, 1 invalid, 3 a human must look."""
    from kubernaut.cli.inputs import examine_file
    from kubernaut.cli.output import emit, emit_json

    found = examine_file(file, signal)
    if as_json:
        document = found.public()
        if provenance:
            document["provenance"] = [entry.model_dump(mode="json") for entry in found.provenance]
        emit_json(document)
    else:
        emit(_report(found))
        if provenance:
            emit(_provenance(found))
    raise typer.Exit(exit_code(found))


@app.command("show")
def show(
    file: PlanFile,
    signal: SignalFile = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="The graph as a Mermaid diagram.")] = False,
) -> None:
    """The card: the graph, and for each step its target, change, undo and post-conditions. Exit codes as validate."""
    from kubernaut.cli.card import card_of
    from kubernaut.cli.inputs import examine_file
    from kubernaut.cli.output import complain, emit, heading

    found = examine_file(file, signal)
    card = card_of(found, mermaid=mermaid)
    if card is None and mermaid:
        complain("\n".join(_report(found)))  # whoever reads the diagram gets nothing else
    elif card is None:
        emit(_report(found))
    else:
        emit([card] if mermaid else [heading(_headline(found)), "", card])
    raise typer.Exit(exit_code(found))


@app.command("schema")
def schema() -> None:
    """The JSON Schema of a plan in our own form."""
    from kubernaut.cli.output import emit_json
    from kubernaut.plan.model import plan_schema

    emit_json(plan_schema())


def exit_code(found: Examination) -> Exit:
    return {"runnable": Exit.OK, "invalid": Exit.FAILED, "human": Exit.HUMAN}[found.outcome.value]


# --- for people


def _report(found: Examination) -> Iterator[str]:
    from kubernaut.cli.output import shown

    yield from _verdict(found)
    if found.steps:
        yield ""
        yield "Steps"
        width = max(len(step.id) for step in found.steps)
        actions = max(len(shown(step.action)) for step in found.steps)
        for step in found.steps:
            yield f"  {step.id.ljust(width)}  {shown(step.action).ljust(actions)}  {_about(step)}".rstrip()
    if found.unchecked:
        yield ""
        yield "Not checked here (only a cluster or a metric can tell)"
        yield from (f"  {shown(text)}" for text in found.unchecked)


def _verdict(found: Examination) -> Iterator[str]:
    from kubernaut.cli.output import fault_lines, heading, shown

    yield heading(_headline(found))
    yield f"  form: {found.dialect or 'none that is known'}"
    if found.confidence is not None:
        yield f"  confidence: {found.confidence:g}"
    if found.workflow is not None:
        yield f"  DAG: {found.workflow.dag_id}"
        yield f"  hash: {found.hash}"
    if found.faults:
        yield ""
        yield "Faults"
        yield from fault_lines(found.faults)
    yield from _reasons("A human must look, because", found.human_reasons)
    yield from _reasons("An approval is needed, because", found.approval_reasons)
    if found.warnings:
        yield ""
        yield "Warnings"
        yield from (f"  {shown(text)}" for text in found.warnings)


def _headline(found: Examination) -> str:
    if found.faults:
        count = len(found.faults)
        return f"Invalid: {count} fault{'s' if count > 1 else ''}. Nothing would run."
    if found.human_reasons:
        answer = "An approval answers it." if found.hash else "No approval answers it: nothing here could run it."
        return f"A human must look. {answer}"
    if found.approval_required:
        return "The plan may run once somebody approves it."
    return "The plan may run."


def _reasons(title: str, reasons: Iterable[HumanReason]) -> Iterator[str]:
    from kubernaut.cli.output import shown

    reasons = tuple(reasons)
    if reasons:
        yield ""
        yield title
    for reason in reasons:
        place = f"  ({shown(reason.pointer)})" if reason.pointer else ""
        yield f"  [{reason.code}] {shown(reason.message)}{place}"


def _about(step: ExaminedStep) -> str:
    from kubernaut.cli.output import shown

    target = step.target
    place = "/".join(shown(part) for part in (target.namespace, target.name) if part)
    words = [" ".join(part for part in (shown(target.kind) if target.kind else "", place) if part)]
    if target.cluster:
        words.append(f"in {shown(target.cluster)}")
    words += [f"after {edge.outcome.value} of {edge.id}" for edge in step.depends_on]
    if step.condition:
        words.append(f"({shown(step.condition)})")
    return " ".join(word for word in words if word)


def _provenance(found: Examination) -> Iterator[str]:
    from kubernaut.cli.output import shown

    yield ""
    yield "Where every value went"
    for entry in found.provenance:
        yield f"  {shown(entry.pointer) or '/'}  {entry.kind}: {shown(entry.destination)}"
