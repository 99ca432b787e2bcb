"""A workflow in words, for the documentation of its DAG in Airflow's UI. Holds nothing of any plan: shapes only."""

from __future__ import annotations

from kubernaut.workflow.model import Workflow


def describe_workflow(workflow: Workflow) -> str:
    """Markdown: what kind it is, its steps in order, and what each waits for."""
    kind = "Takes back what an execution changed." if workflow.kind == "undo" else "A remediation plan's shape."
    lines = [
        f"{kind} {len(workflow.steps)} step(s), failure policy `{workflow.failure_policy.value}`. "
        "The values of a run, and what came of it, are in its `conf`, its tasks' XComs and `kubernaut executions show`.",
        "",
        "| step | action | runs after | proved |",
        "| --- | --- | --- | --- |",
    ]
    for step in workflow.steps:
        waits = ", ".join(f"{edge.outcome.value} of {edge.upstream}" for edge in step.edges) or "the start"
        lines.append(f"| {step.key} | `{step.action}` | {waits} | {'yes' if step.verified else 'no'} |")
    return "\n".join(lines)
