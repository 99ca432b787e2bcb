"""Nothing is dropped: whatever stands in an answer has a destination, also in answers that nobody has seen before."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubernaut.plan.dialects import Translation, translate
from kubernaut.plan.model import Signal, Target
from kubernaut.plan.provenance import Ledger, Reader, leaves

ANSWERS = sorted((Path(__file__).parents[2] / "data" / "answers").glob("*.json"))
KINDS = {"field", "note", "question", "fault"}
SIGNAL = Signal(
    name="A",
    labels={"namespace": "shop", "deployment": "checkout"},
    target=Target(kind="Deployment", namespace="shop", name="checkout"),
)


def assert_accounted_for(document: Any, result: Translation) -> None:
    """Every leaf has an entry of a known kind; questions and faults among them are in the result's lists."""
    entries = {entry.pointer for entry in result.provenance}
    assert entries == set(leaves(document))
    assert {entry.kind for entry in result.provenance} <= KINDS
    fault_codes = {fault.code for fault in result.faults}
    question_codes = {question.code for question in result.questions}
    for entry in result.provenance:
        assert entry.kind != "fault" or entry.destination in fault_codes
        assert entry.kind != "question" or entry.destination in question_codes
        if entry.kind == "field" and result.plan is not None:
            assert_in_plan(result, entry.destination)


def assert_in_plan(result: Translation, destination: str) -> None:
    """A field's destination is a place that the plan has."""
    value: Any = result.plan.model_dump(mode="json") if result.plan else None
    for part in destination.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        assert part in value if isinstance(value, dict) else int(part) < len(value), destination
        value = value[part] if isinstance(value, dict) else value[int(part)]


@pytest.mark.parametrize("path", ANSWERS, ids=lambda path: path.stem)
def test_a_stored_answer_loses_nothing(path: Path) -> None:
    document = json.loads(path.read_text())
    assert_accounted_for(document, translate(document, signal=SIGNAL))


# --- leaves that are added, renamed and moved

NAMES = st.sampled_from(
    [
        "action",
        "parameters",
        "condition",
        "timeout",
        "replicas",
        "name",
        "urgency",
        "confidence",
        "monitoring",
        "kind",
        "execution_order",
        "prerequisites",
        "success_criteria",
        "reasoning",
        "primary_reason",
        "metadata",
        "extra",
        "a/b",
    ]
) | st.text(max_size=8)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        [
            "",
            "5",
            "30s",
            "{{ x }}",
            "if_primary_fails",
            "scale_deployment",
            "error_rate > 5%",
            "pod_running",
            "kubectl get pods",
            "a; b",
            "checkout",
            "shop",
            "immediate",
        ]
    )
    | st.text(max_size=12)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=5
)


def containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from containers(item)


def put(container: Any, name: str, value: Any) -> None:
    if isinstance(container, dict):
        container[name] = value
    else:
        container.append(value)


def take(container: Any, position: int) -> Any:
    if isinstance(container, dict):
        return container.pop(list(container)[position % len(container)])
    return container.pop(position % len(container))


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A stored answer in which a few things were added, renamed, moved or replaced."""
    document = copy.deepcopy(json.loads(draw(st.sampled_from(ANSWERS)).read_text()))
    for _ in range(draw(st.integers(1, 4))):
        places = list(containers(document))
        place = draw(st.sampled_from(places))
        change = draw(st.sampled_from(["add", "rename", "move", "remove"]))
        if change == "add" or not place:
            put(place, draw(NAMES), draw(VALUES))
            continue
        taken = take(place, draw(st.integers(0, 20)))
        if change == "rename":
            put(place, draw(NAMES), taken)
        elif change == "move":
            put(draw(st.sampled_from(list(containers(document)))), draw(NAMES), taken)
    return document


@settings(max_examples=400, deadline=None)
@given(document=mutated(), signal=st.sampled_from([None, SIGNAL]))
def test_nothing_is_lost_when_leaves_are_added_renamed_or_moved(document: Any, signal: Signal | None) -> None:
    assert_accounted_for(document, translate(document, signal=signal, default_cluster="prod"))


@settings(max_examples=100, deadline=None)
@given(document=VALUES)
def test_nothing_is_lost_of_any_json_at_all(document: Any) -> None:
    assert_accounted_for(document, translate(document))


@settings(max_examples=150, deadline=None)
@given(name=st.text(min_size=1, max_size=20), value=VALUES, place=st.integers(0, 100))
def test_an_added_leaf_is_never_a_silent_one(name: str, value: Any, place: int) -> None:
    """A key that the form does not have is a fault, wherever it is added, but for `metadata` and free parameters."""
    document = json.loads(ANSWERS[0].read_text())
    objects = [container for container in containers(document) if isinstance(container, dict)]
    chosen = objects[place % len(objects)]
    if name in chosen or chosen is document["metadata"] or value is None:
        return
    chosen[f"zz{name}"] = value
    assert translate(document).faults


# --- the mechanism


def test_a_field_that_a_translator_forgets_is_a_fault() -> None:
    document = {"a": 1, "b": {"c": [], "d": {}}, "e": "taken and never entered"}
    ledger = Ledger(document)
    reader = Reader(ledger, document, "")
    reader.take("e")
    ledger.field("/a", "/x")
    entries = {entry.pointer: entry.kind for entry in ledger.close()}
    assert entries == {"/a": "field", "/b/c": "fault", "/b/d": "fault", "/e": "fault"}
    assert {fault.code for fault in ledger.faults} == {"unmapped"}


def test_a_leaf_with_a_fault_is_nowhere_else() -> None:
    ledger = Ledger({"a": 1})
    ledger.field("/a", "/x")
    ledger.fault("/a", "wrong", "it is wrong", "Correct it.")
    assert [(entry.kind, entry.destination) for entry in ledger.close()] == [("fault", "wrong")]
    assert ledger.reported == {"/x"}


def test_a_name_that_begins_like_another_is_another() -> None:
    ledger = Ledger({"a": {"b": 1}, "a-": 2, "a0": 3, "ab": 4})
    ledger.note("/a", "seen")
    assert [entry.pointer for entry in ledger.close() if entry.kind == "note"] == ["/a/b"]
