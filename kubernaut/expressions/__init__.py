"""Expressions: conditions, post-conditions, `monitoring.check` and computed parameters of a plan, in CEL.

Validation asks `check` and `references`; steps and sensors ask `evaluate`, which runs the text in a child process,
because a plan's text comes from an AI and is hostile until proven otherwise. `evaluate_here` is for text of our own.
Importing this package is cheap: the CEL library is loaded when the first text is looked at, asyncio when the first
one is evaluated. What an expression may say, and every limit, is in docs/expressions.md.
"""

from __future__ import annotations

from kubernaut.expressions.checking import check, references
from kubernaut.expressions.engine import evaluate_here
from kubernaut.expressions.terms import (
    DEFAULT_LIMITS,
    STEP_STATES,
    Context,
    Evaluation,
    EvaluationCode,
    EvaluationError,
    ExpressionError,
    ExpressionFault,
    FaultCode,
    Limits,
    References,
    ResultType,
    Scope,
    Trace,
)

__all__ = [
    "DEFAULT_LIMITS",
    "STEP_STATES",
    "Context",
    "Evaluation",
    "EvaluationCode",
    "EvaluationError",
    "ExpressionError",
    "ExpressionFault",
    "FaultCode",
    "Limits",
    "References",
    "ResultType",
    "Scope",
    "Trace",
    "check",
    "close",
    "evaluate",
    "evaluate_here",
    "references",
]


async def evaluate(
    text: str, context: Context, *, scope: Scope, wants: ResultType, limits: Limits = DEFAULT_LIMITS
) -> Evaluation:
    """Evaluate a text that nobody vouches for, in a child process with limits; see `kubernaut.expressions.sandbox`."""
    from kubernaut.expressions import sandbox

    return await sandbox.evaluate(text, context, scope=scope, wants=wants, limits=limits)


async def close() -> None:
    """End the child process of the running loop, for an orderly shutdown."""
    from kubernaut.expressions import sandbox

    await sandbox.close()
