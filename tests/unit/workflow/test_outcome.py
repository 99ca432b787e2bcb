"""Every line of the outcome rule: success, partial success, failure, and what counts as proof."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from worlds import workflow_of

from kubernaut.plan.links import Link
from kubernaut.plan.model import AutomaticUndo, EdgeOutcome, FailurePolicy, PostCondition, Retry, StepsCondition, Target
from kubernaut.workflow.gate import NotReachedReason, StepState
from kubernaut.workflow.model import Bindings, StepBinding
from kubernaut.workflow.outcome import ConditionResult, ExecutionOutcome, StepFacts, Verdict, judge

SUCCESS, PARTIAL, FAILURE = ExecutionOutcome.SUCCESS, ExecutionOutcome.PARTIAL_SUCCESS, ExecutionOutcome.FAILURE
CHANGED = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
LATER, EARLIER = CHANGED + timedelta(seconds=3), CHANGED - timedelta(seconds=3)
EDGE, HALTED = NotReachedReason.EDGE, NotReachedReason.HALTED


def fact(state: str, reason: NotReachedReason | None = None, **more: Any) -> StepFacts:
    return StepFacts(state=StepState(state), reason=reason, **more)


def result(
    name: str = "healthy", holds: bool | None = True, at: datetime | None = LATER, **more: Any
) -> ConditionResult:
    return ConditionResult(name=name, holds=holds, checked_at=at, **more)


DONE = fact("succeeded", last_change_at=CHANGED, conditions=(result("own"),))
"""A step that changed the cluster and was proved afterwards."""
QUIET = fact("succeeded")
"""A step that changed nothing."""
LINKS = (
    Link("primary", "fallback", EdgeOutcome.FAILURE),
    Link("fallback", "second", EdgeOutcome.FAILURE),
    Link("primary", "after", EdgeOutcome.SUCCESS),
)
NAMES = ("primary", "fallback", "second", "after", "extra")


def verdict(
    steps: dict[str, StepFacts],
    *,
    optional: tuple[str, ...] = (),
    criteria: tuple[tuple[str, bool], ...] = (),
    conditions: tuple[ConditionResult, ...] = (),
    fired: tuple[str, ...] = (),
    unchecked: tuple[str, ...] = (),
    policy: FailurePolicy = FailurePolicy.TERMINATE,
    kind: str = "plan",
) -> Verdict:
    """`criteria`: name, optional. The fallbacks and `extra` are not reached and succeeded where nothing is said."""
    states = {"fallback": fact("not_reached", EDGE), "second": fact("not_reached", EDGE), "extra": QUIET, **steps}
    workflow = workflow_of(NAMES, LINKS, policy).model_copy(update={"kind": kind})
    check = StepsCondition(expression="true")
    bindings = Bindings(
        plan_id="p",
        target=Target(),
        steps={
            name: StepBinding(
                id=name, name=name, retry=Retry(), timeout=1, undo=AutomaticUndo(), optional=name in optional
            )
            for name in NAMES
        },
        success_criteria=tuple(PostCondition(name=name, check=check, optional=opt) for name, opt in criteria),
        unchecked=unchecked,
        timeout=60,
    )
    return judge(workflow, bindings, states, conditions, fired)


FINE = {"primary": DONE, "after": QUIET}
FAILED, UNKNOWN, SKIPPED = fact("failed"), fact("unknown"), fact("skipped")
MISSED = fact("not_reached", EDGE)

RULE: list[tuple[str, dict[str, Any], ExecutionOutcome, str]] = [
    # the line of the rule, the facts, the outcome, a word of the reason or of what is missing
    ("all succeeded", {"steps": FINE}, SUCCESS, ""),
    (
        "a step failed",
        {"steps": {"primary": FAILED, "after": MISSED, "fallback": FAILED, "second": FAILED}},
        FAILURE,
        "'primary' failed",
    ),
    ("a step is in doubt", {"steps": {"primary": UNKNOWN, "after": MISSED}}, FAILURE, "in doubt"),
    ("a fallback saved it", {"steps": {"primary": FAILED, "after": MISSED, "fallback": DONE}}, SUCCESS, ""),
    (
        "a fallback of a fallback saved both",
        {"steps": {"primary": FAILED, "after": MISSED, "fallback": FAILED, "second": DONE}},
        SUCCESS,
        "",
    ),
    (
        "a fallback in doubt saves nobody",
        {"steps": {"primary": FAILED, "after": MISSED, "fallback": UNKNOWN}},
        FAILURE,
        "no fallback saved it",
    ),
    ("skipped by its own condition", {"steps": {**FINE, "extra": SKIPPED}}, SUCCESS, ""),
    ("not reached by its own edge", {"steps": {"primary": SKIPPED, "after": MISSED}}, SUCCESS, ""),
    *(
        (f"not reached: {reason}", {"steps": {**FINE, "extra": fact("not_reached", reason)}}, FAILURE, reason.value)
        for reason in NotReachedReason
        if reason is not EDGE
    ),
    ("not reached, nobody recorded why", {"steps": {**FINE, "extra": fact("not_reached")}}, FAILURE, "nobody recorded"),
    (
        "not reached because a step before it was halted",
        {"steps": {"primary": fact("not_reached", HALTED), "after": MISSED}, "optional": ("primary",)},
        FAILURE,
        "'after' was not reached: a step before it",
    ),
    ("never attempted, own edge false", {"steps": {"primary": SKIPPED}}, SUCCESS, ""),
    ("never attempted, own edge true", {"steps": {"primary": DONE}}, FAILURE, "'after' was never attempted"),
    (
        "never attempted, terminated",
        {"steps": {"primary": UNKNOWN, "after": MISSED, "extra": fact("pending")}},
        FAILURE,
        "'extra' was not reached: terminated",
    ),
    ("still running", {"steps": {**FINE, "extra": fact("running")}}, FAILURE, "has not ended"),
    ("undone meanwhile", {"steps": {**FINE, "extra": fact("undone")}}, FAILURE, "was undone"),
    (
        "an optional step failed",
        {"steps": {**FINE, "extra": FAILED}, "optional": ("extra",)},
        PARTIAL,
        "'extra' failed",
    ),
    ("an optional step in doubt", {"steps": {**FINE, "extra": UNKNOWN}, "optional": ("extra",)}, PARTIAL, "in doubt"),
    (
        "an optional step was halted",
        {"steps": {**FINE, "extra": fact("not_reached", HALTED)}, "optional": ("extra",)},
        PARTIAL,
        "halted",
    ),
    (
        "an optional step failed, and what waits for it was not reached",
        {"steps": {"primary": FAILED, "after": MISSED}, "optional": ("primary",)},
        PARTIAL,
        "'primary' failed",
    ),
    (
        "an optional condition of a step does not hold",
        {"steps": {**FINE, "extra": fact("succeeded", conditions=(result("fast", False, optional=True),))}},
        PARTIAL,
        '"fast"',
    ),
    (
        "a mandatory condition of a step does not hold",
        {"steps": {**FINE, "extra": fact("succeeded", conditions=(result("fast", False),))}},
        FAILURE,
        '"fast" of step',
    ),
    (
        "a mandatory criterion holds",
        {"steps": FINE, "criteria": (("healthy", False),), "conditions": (result(),)},
        SUCCESS,
        "",
    ),
    (
        "a mandatory criterion does not hold",
        {"steps": FINE, "criteria": (("healthy", False),), "conditions": (result(holds=False),)},
        FAILURE,
        "does not hold",
    ),
    (
        "a mandatory criterion could not be evaluated",
        {"steps": FINE, "criteria": (("healthy", False),), "conditions": (result(holds=None),)},
        FAILURE,
        "could not be evaluated",
    ),
    (
        "a mandatory criterion was never checked",
        {"steps": FINE, "criteria": (("healthy", False),)},
        FAILURE,
        "never checked",
    ),
    (
        "two criteria of one name, one does not hold",
        {
            "steps": FINE,
            "criteria": (("healthy", False), ("healthy", False)),
            "conditions": (result(), result(holds=False)),
        },
        FAILURE,
        "does not hold",
    ),
    (
        "an optional criterion does not hold",
        {"steps": FINE, "criteria": (("healthy", True),), "conditions": (result(holds=False, optional=True),)},
        PARTIAL,
        '"healthy"',
    ),
    (
        "a criterion that nothing reads, approved",
        {"steps": FINE, "criteria": (("errors", False),), "unchecked": ("errors",)},
        PARTIAL,
        '"errors" was approved',
    ),
    ("a rollback trigger fired", {"steps": FINE, "fired": ("too slow",)}, FAILURE, '"too slow" became true'),
    (
        "a rollback trigger fired beside a partial success",
        {"steps": {**FINE, "extra": FAILED}, "optional": ("extra",), "fired": ("too slow",)},
        FAILURE,
        "became true",
    ),
]


@pytest.mark.parametrize(("given", "outcome", "word"), [row[1:] for row in RULE], ids=[row[0] for row in RULE])
def test_each_line_of_the_outcome_rule(given: dict[str, Any], outcome: ExecutionOutcome, word: str) -> None:
    found = verdict(**given)
    assert (found.outcome, found.reasons) == (outcome, found.reasons if outcome is FAILURE else ())
    said = found.reasons if outcome is FAILURE else found.missing
    assert any(word in text for text in said) if word else not said


PROOF: list[tuple[str, dict[str, Any], str, ExecutionOutcome]] = [
    ("a step's own check after the last change", {"steps": FINE}, "read", SUCCESS),
    ("nothing was changed", {"steps": {"primary": QUIET, "after": QUIET}}, "none", SUCCESS),
    (
        "changed, and nothing was read",
        {"steps": {"primary": fact("succeeded", last_change_at=CHANGED), "after": QUIET}},
        "none",
        FAILURE,
    ),
    (
        "read before the last change only",
        {"steps": {"primary": DONE, "after": fact("succeeded", last_change_at=LATER + timedelta(seconds=1))}},
        "none",
        FAILURE,
    ),
    (
        "a criterion read after the last change",
        {
            "steps": {"primary": fact("succeeded", last_change_at=CHANGED), "after": QUIET},
            "criteria": (("healthy", False),),
            "conditions": (result(),),
        },
        "read",
        SUCCESS,
    ),
    (
        "a criterion read before the last change",
        {
            "steps": {"primary": fact("succeeded", last_change_at=CHANGED), "after": QUIET},
            "criteria": (("healthy", False),),
            "conditions": (result(at=EARLIER),),
        },
        "none",
        FAILURE,
    ),
    (
        "only an optional criterion was read",
        {
            "steps": {"primary": fact("succeeded", last_change_at=CHANGED), "after": QUIET},
            "criteria": (("healthy", True),),
            "conditions": (result(optional=True),),
        },
        "none",
        FAILURE,
    ),
    (
        "the change of a step that a fallback saved counts as a change",
        {
            "steps": {
                "primary": fact("failed", last_change_at=CHANGED, conditions=(result("own", False),)),
                "after": MISSED,
                "fallback": QUIET,
            }
        },
        "none",
        FAILURE,
    ),
]


@pytest.mark.parametrize(("given", "proof", "outcome"), [row[1:] for row in PROOF], ids=[row[0] for row in PROOF])
def test_what_proves_a_change(given: dict[str, Any], proof: str, outcome: ExecutionOutcome) -> None:
    found = verdict(**given)
    assert (found.proof, found.outcome) == (proof, outcome)


def test_a_plan_that_changed_nothing_says_so() -> None:
    assert "nothing was changed" in verdict({"primary": QUIET, "after": QUIET}).note


def test_all_reasons_are_named_at_once() -> None:
    found = verdict({"primary": UNKNOWN, "after": MISSED, "extra": FAILED}, fired=("slow", "down"))
    assert len(found.reasons) == 4


@pytest.mark.parametrize(
    ("state", "outcome"),
    [(state, SUCCESS if state is StepState.SUCCEEDED else FAILURE) for state in StepState],
)
def test_an_undo_succeeds_only_where_every_undo_did(state: StepState, outcome: ExecutionOutcome) -> None:
    steps = {name: QUIET for name in NAMES} | {"extra": fact(state.value)}
    found = verdict(steps, kind="undo", optional=("extra",), policy=FailurePolicy.CONTINUE)
    assert found.outcome is outcome
    assert (outcome is FAILURE) is any("'extra'" in reason for reason in found.reasons)


def test_names_from_a_plan_cannot_hide_in_a_reason() -> None:
    found = verdict(FINE, fired=("ok\u202e\x1b[2J",))
    assert "\u202e" not in found.reasons[0]
    assert "\x1b" not in found.reasons[0]
