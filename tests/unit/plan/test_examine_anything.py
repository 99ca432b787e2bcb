"""Whatever comes in, `examine` answers: it never raises, and never leaves a faulty plan with something to run."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubernaut.examination import UNANSWERABLE, Examination, Outcome
from tests.unit.plan.documents import ANSWER, looked_at, plan, step

WORDS = st.sampled_from(
    [
        "",
        "scale",
        "noop",
        "kubernetes.scale",
        "a",
        "b",
        "{{x}}",
        "$(y)",
        "a;b",
        "steps.a.status",
        "1 +",
        "Deployment",
        "if_primary_fails",
        "5%",
        "error_rate < 5%",
        "kubectl get pods",
        "previous",
        "end",
        "critical",
        "\u202e",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-2, 200)
    | st.floats(allow_nan=False, width=16)
    | WORDS
    | st.text(max_size=5)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=6
)

NATIVE = plan(
    step(
        "a",
        when="vars.n > 1",
        post_conditions=[{"name": "c", "check": {"kind": "named", "check": "pods_running", "target": {}}}],
    ),
    step("b", "notify", params={"message": "m"}, depends_on=[{"step": "a", "outcome": "failure"}], retry={"delay": 1}),
    step(
        "c", "monitoring.check", params={"expression": "object.spec.replicas > 1"}, undo={"kind": "none", "reason": "r"}
    ),
    variables={"n": 2},
    success_criteria=[{"name": "m", "check": {"kind": "metric", "metric": "m", "comparison": "<", "value": 1}}],
    alternatives=[{"id": "z", "steps": [step("x")]}],
    signal={"name": "X", "labels": {"deployment": "checkout"}},
)


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something can be put instead."""
    found = [place] if place else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*place, key))
    return found


@st.composite
def spoilt(draw: st.DrawFn) -> Any:
    """A good document in which some values were replaced, removed, or given another key."""
    document = copy.deepcopy(draw(st.sampled_from([NATIVE, ANSWER])))
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from(places(document)))
        parent = document
        for part in above:
            parent = parent[part]
        change = draw(st.sampled_from(["replace", "remove", "rename"]))
        if change == "replace" or isinstance(parent, list):
            parent[last] = draw(VALUES)
        else:
            value = parent.pop(last)
            if change == "rename":
                parent[draw(WORDS)] = value
        if not document:
            break
    return document


def is_consistent(found: Examination) -> None:
    """What every examination holds to."""
    assert (found.outcome is Outcome.INVALID) == bool(found.faults)
    assert (found.outcome is Outcome.HUMAN) == (not found.faults and bool(found.human_reasons))
    stopped = bool(found.faults) or any(reason.code in UNANSWERABLE for reason in found.human_reasons)
    assert (found.hash is None) == stopped
    for fault in found.faults:
        assert fault.message
        assert fault.remedy
    json.dumps(found.public())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(document=spoilt())
def test_a_spoilt_document_is_answered_not_raised(document: Any) -> None:
    is_consistent(looked_at(document))


@settings(max_examples=60, deadline=None)
@given(document=VALUES, signal=VALUES)
def test_any_value_and_any_signal_is_answered_not_raised(document: Any, signal: Any) -> None:
    is_consistent(looked_at(document, signal=signal))
    is_consistent(looked_at(NATIVE, signal=signal))


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=60) | st.text(max_size=60))
def test_any_text_is_answered_not_raised(data: bytes | str) -> None:
    is_consistent(looked_at(data))
