"""The card: what a person reads of a plan before it may run, as text and as a Mermaid graph."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from kubernaut.examination import Examination, Outcome
from kubernaut.plan.card import Card, build_card
from kubernaut.plan.card_mermaid import escaped, render_mermaid
from kubernaut.plan.card_text import WIDTH, render_text
from kubernaut.plan.examine import examine
from kubernaut.plan.normalise import change_summary
from kubernaut.policy import DEFAULT_POLICY
from kubernaut.settings import Settings

CHECKOUT = {"cluster": "prod", "kind": "Deployment", "namespace": "shop", "name": "checkout"}
PLAN: dict[str, Any] = {
    "version": "kubernaut.ai/plan/v1",
    "id": "p-1",
    "confidence": 0.9,
    "risk": "low",
    "target": CHECKOUT,
    "signal": {"name": "KubePodCrashLooping", "severity": "critical", "target": CHECKOUT},
    "reasoning": {"summary": "The new revision cannot start."},
    "steps": [
        {
            "id": "roll-back",
            "name": "Roll checkout back",
            "action": "kubernetes.rollout_undo",
            "params": {"revision": "previous"},
        },
        {
            "id": "scale",
            "action": "kubernetes.scale",
            "params": {"replicas": 5},
            "depends_on": [{"step": "roll-back", "outcome": "failure"}],
            "post_conditions": [
                {
                    "name": "five are ready",
                    "check": {"kind": "object", "target": CHECKOUT, "expression": "object.status.readyReplicas == 5"},
                    "timeout": 180,
                }
            ],
            "undo": {"kind": "none", "reason": "more replicas do no harm"},
        },
        {
            "id": "tell",
            "action": "notify",
            "params": {"message": "done"},
            "depends_on": [{"step": "roll-back", "outcome": "stage"}],
            "optional": True,
        },
    ],
    "success_criteria": [
        {"name": "errors", "check": {"kind": "metric", "metric": "error_rate", "comparison": "<", "value": 0.05}}
    ],
}


def examined(plan: dict[str, Any]) -> Examination:
    return examine(json.dumps(plan), settings=Settings(clusters={"prod": "kubernetes_prod"}), policy=DEFAULT_POLICY)


def card(plan: dict[str, Any] = PLAN) -> Card:
    found = build_card(examined(plan), summarise=change_summary)
    assert found is not None, examined(plan).faults
    return found


def section(text: str, title: str) -> str:
    """The lines of one section, up to the next empty line, as one line."""
    return re.sub(r"\s+", " ", text.split(title, 1)[1].split("\n\n", 1)[0])


@pytest.mark.requirement("BR-DEP-010")
def test_the_text_shows_the_order_and_what_each_step_waits_for() -> None:
    """The dependencies of a plan as a person reads them: levels, and for each step what it waits for."""
    order = section(render_text(card()), "ORDER")
    assert "1 roll-back Roll checkout back (at once)" in order
    assert "2 scale Scale checkout to 5 (only if roll-back failed for good)" in order
    assert "3 tell Notify (when roll-back or its fallback succeeded)" in order


@pytest.mark.requirement("BR-DEP-010")
def test_the_mermaid_graph_has_every_step_and_every_edge_with_its_outcome() -> None:
    """The dependencies of a plan as a drawing: one node a step, one arrow an edge, labelled with the outcome."""
    lines = [line.strip() for line in render_mermaid(card()).splitlines()]
    assert lines[0] == "flowchart TD"
    assert [line.split("<br/>")[0] for line in lines[1:4]] == [
        'n1["roll-back: Roll checkout back',
        'n2["scale: Scale checkout to 5',
        'n3["tell: Notify',
    ]
    assert sorted(lines[4:]) == ['n1 -.->|"failed"| n2', 'n1 ==>|"it or its fallback succeeded"| n3']


@pytest.mark.parametrize(
    "words",
    [
        "starts only if roll-back failed for good",
        "target Deployment shop/checkout, cluster prod",
        "change set spec.replicas to 5",
        'parameters {"replicas": 5}',
        "proof five are ready: object.status.readyReplicas == 5 on Deployment shop/checkout, cluster prod "
        "(mandatory, within 3 min)",
        "undo none: more replicas do no harm",
    ],
)
def test_a_step_shows_its_target_change_undo_and_proof(words: str) -> None:
    assert words in section(render_text(card()), "STEP scale:")


def test_an_undo_that_the_plan_leaves_open_is_the_actions() -> None:
    assert "undo automatic" in section(render_text(card()), "STEP roll-back:")


def test_what_nothing_can_read_is_not_called_mandatory() -> None:
    whole = section(render_text(card()), "THE WHOLE SUCCEEDS WHEN")
    assert "errors: error_rate < 0.05 (nothing here can read it: once approved it counts as optional)" in whole


def test_the_head_says_what_is_approved_and_why_somebody_is_asked() -> None:
    found = examined(PLAN)
    text = render_text(card())
    assert f"hash        {found.hash}" in text
    assert "unchecked_criterion" in section(text, "A PERSON IS ASKED")
    assert "KubePodCrashLooping (firing, severity critical)" in text


def test_an_edge_that_the_compiler_added_is_on_the_card() -> None:
    steps = [
        {"id": "one", "action": "kubernetes.scale", "params": {"replicas": 2}},
        {"id": "two", "action": "kubernetes.rollout_restart"},
    ]
    found = card({**PLAN, "steps": steps})
    assert [(edge.upstream, edge.step, edge.outcome) for edge in found.edges] == [("one", "two", "end")]
    assert "after the end of one, whatever came of it" in render_text(found)


def test_a_plan_with_faults_has_no_card() -> None:
    found = examined({**PLAN, "steps": [{"id": "a", "action": "no_such_action"}]})
    assert found.outcome is Outcome.INVALID
    assert build_card(found, summarise=change_summary) is None


def test_a_plan_with_an_action_that_is_not_installed_has_one() -> None:
    found = card({**PLAN, "steps": [{"id": "a", "action": "kubernetes.delete_pod", "params": {"pod": "x"}}]})
    assert (found.hash, found.steps[0].key) == (None, None)
    assert "no executor is installed" in found.steps[0].change


HOSTILE = 'x"]; click n1 "javascript:alert(1)" <script>`{{ 7*7 }}` | --> end\u202e'


def hostile() -> Card:
    """The card of a plan whose free texts are all hostile. (Validation refuses some of them; the card must not rely
    on it.)
    """
    found = examined(PLAN)
    assert found.plan is not None
    assert found.bindings is not None
    steps = tuple(step.model_copy(update={"name": HOSTILE, "when": HOSTILE}) for step in found.plan.steps)
    bound = {key: step.model_copy(update={"name": HOSTILE}) for key, step in found.bindings.steps.items()}
    reasoning = found.plan.reasoning.model_copy(update={"summary": "line\n\x1b[2J" + "y" * 5_000})
    changed = found.model_copy(
        update={
            "plan": found.plan.model_copy(update={"steps": steps, "reasoning": reasoning}),
            "bindings": found.bindings.model_copy(update={"steps": bound}),
        }
    )
    built = build_card(changed, summarise=change_summary)
    assert built is not None
    return built


def test_hostile_names_stay_inside_their_labels_in_mermaid() -> None:
    for line in render_mermaid(hostile()).splitlines()[1:]:
        node = re.fullmatch(r'    n\d+\["([^"]*)"\]', line)
        edge = re.fullmatch(r'    n\d+ [-=.>]+\|"[a-z ]+"\| n\d+', line)
        assert node or edge, line
        if node:
            assert not re.search(r"[<>`{}\[\]|]", node[1].replace("<br/>", ""))


def test_no_line_of_the_text_is_too_wide_or_moves_the_cursor() -> None:
    lines = render_text(hostile()).split("\n")
    assert max(map(len, lines)) <= WIDTH
    assert all(line.isprintable() for line in lines)


def test_long_foreign_text_is_cut() -> None:
    found = hostile()
    assert found.reasoning is not None
    assert found.reasoning.endswith("characters)")
    assert len(found.reasoning) < 700


def test_every_sign_that_mermaid_may_read_is_a_reference() -> None:
    assert escaped('a"#;<b>') == "a#34;#35;#59;#60;b#62;"
