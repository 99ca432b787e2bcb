"""`examine` as a whole: what it returns for each outcome, and that one answer always amounts to the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kubernaut.examination import Outcome
from kubernaut.plan.live import with_live_policy
from kubernaut.plan.model import Target
from kubernaut.policy import DEFAULT_POLICY, MANAGED_LABEL, Decision, Policy, Rule
from kubernaut.settings import Settings
from tests.unit.plan.documents import ANSWER, answer, looked_at, plan, step

TRANSCRIPTS = Path(__file__).resolve().parents[4] / "shared" / "transcripts"


# --- what comes out


@pytest.mark.requirement("BR-WF-017")
def test_an_answer_with_a_primary_action_becomes_a_workflow_with_its_parameters_bound() -> None:
    """primary_action and secondary_actions become steps of one workflow, with the AI's parameters and conditions."""
    found = looked_at(json.dumps(ANSWER))
    assert (found.outcome, found.dialect) == (Outcome.RUNNABLE, "primary_secondary")
    primary, secondary = found.steps
    assert (primary.id, primary.action, primary.condition) == ("primary", "kubernetes.rollout_undo", None)
    assert (secondary.id, secondary.action) == ("secondary_1", "kubernetes.scale")
    assert secondary.condition == "after_primary"
    assert [(edge.id, edge.outcome.value) for edge in secondary.depends_on] == [("primary", "success")]
    assert found.workflow is not None
    assert found.bindings is not None
    bound = found.bindings.steps[found.bindings.key_of("secondary_1")]
    assert bound.params == {"replicas": 3}
    assert bound.target == Target(cluster="prod", kind="Deployment", namespace="shop", name="checkout")


def test_the_public_document_has_what_programs_rely_on() -> None:
    document = looked_at(plan()).public()
    assert {"outcome", "dialect", "confidence", "approval_required", "human_reasons"} <= set(document)
    assert {"steps", "unchecked", "faults"} <= set(document)
    assert document["steps"] == [
        {
            "id": "scale",
            "action": "kubernetes.scale",
            "target": {"cluster": "prod", "kind": "Deployment", "namespace": "shop", "name": "checkout"},
            "depends_on": [],
            "condition": None,
        }
    ]
    json.dumps(document)


def test_a_step_without_a_name_gets_one_that_people_understand() -> None:
    found = looked_at(plan(step("a", params={"replicas": 5})))
    assert found.bindings is not None
    assert [bound.name for bound in found.bindings.steps.values()] == ["Scale checkout to 5"]


def test_an_action_that_changes_something_is_proved_although_the_plan_has_no_condition() -> None:
    found = looked_at(plan())
    assert found.bindings is not None
    (bound,) = found.bindings.steps.values()
    assert [condition.name for condition in bound.post_conditions] == ["rollout_complete of Deployment shop/checkout"]
    assert not bound.post_conditions[0].optional


@pytest.mark.parametrize(
    ("action", "kind"),
    [("kubernetes.scale", "automatic"), ("kubernetes.rollout_restart", "none"), ("noop", "none")],
)
def test_how_a_step_is_taken_back_follows_from_its_action(action: str, kind: str) -> None:
    found = looked_at(plan(step("a", action)))
    assert found.bindings is not None
    assert [bound.undo.kind for bound in found.bindings.steps.values()] == [kind]


# --- one answer, one result


def test_text_bytes_and_a_read_value_amount_to_the_same() -> None:
    text = json.dumps(ANSWER)
    assert looked_at(text) == looked_at(text.encode()) == looked_at(ANSWER)


def test_key_order_whitespace_and_step_order_change_neither_workflow_nor_hash() -> None:
    first = plan(step("a"), step("b", "noop", depends_on=[{"step": "a"}]))
    second = {key: first[key] for key in reversed(first)} | {"steps": first["steps"][::-1]}
    one, other = looked_at(json.dumps(first, indent=3)), looked_at(json.dumps(second))
    assert one.workflow == other.workflow
    assert one.hash == other.hash


def test_other_values_and_step_ids_are_another_plan_of_the_same_workflow() -> None:
    one = looked_at(plan(step("a", params={"replicas": 2})))
    other = looked_at(
        plan(step("b", params={"replicas": 7}), target={"kind": "Deployment", "namespace": "x", "name": "y"})
    )
    assert one.workflow == other.workflow
    assert one.hash != other.hash


# --- tracking id


def test_the_tracking_id_that_came_with_the_request_wins() -> None:
    found = looked_at(plan(tracking_id="of-the-plan"), tracking_id="of-the-request")
    assert found.plan is not None
    assert found.plan.tracking_id == "of-the-request"
    assert any("of-the-plan" in warning for warning in found.warnings)


def test_a_tracking_id_that_cannot_be_used_is_refused() -> None:
    assert [fault.code for fault in looked_at(plan(), tracking_id="a b\n").faults] == ["invalid_tracking_id"]


# --- other forms


@pytest.mark.skipif(not TRANSCRIPTS.is_dir(), reason="the folder shared/transcripts is not beside this repository")
def test_recorded_agent_responses_need_a_human_who_no_approval_replaces() -> None:
    files = sorted(TRANSCRIPTS.glob("*.json"))
    assert files
    for file in files:
        found = looked_at(file.read_bytes())
        assert (found.outcome, found.approval_required, found.hash) == (Outcome.HUMAN, False, None), file.name
        assert [reason.code for reason in found.human_reasons] == ["dialect_not_installed"], file.name


def test_provenance_names_every_leaf_and_where_it_went() -> None:
    found = looked_at(answer({"/reasoning/primary_reason": "it crashes"}))
    where = {entry.pointer: (entry.kind, entry.destination) for entry in found.provenance}
    assert where["/reasoning/primary_reason"] == ("field", "/reasoning/summary")
    assert where["/secondary_actions/0/parameters/replicas"][0] == "field"


# --- with labels read from the cluster


class Labels:
    """Labels of namespaces; counts how often they are read."""

    def __init__(self, labels: dict[str, str] | Exception) -> None:
        self.labels = labels
        self.read: list[str | None] = []

    async def __call__(self, target: Target) -> dict[str, str]:
        self.read.append(target.namespace)
        if isinstance(self.labels, Exception):
            raise self.labels
        return self.labels


TWO_STEPS = plan(step("a"), step("b", "kubernetes.rollout_restart", depends_on=[{"step": "a"}]))


async def test_a_managed_namespace_answers_what_was_unchecked() -> None:
    labels = Labels({MANAGED_LABEL: "true"})
    found = await with_live_policy(looked_at(TWO_STEPS), policy=DEFAULT_POLICY, labels_of=labels)
    assert (found.outcome, found.approval_required, found.unchecked) == (Outcome.RUNNABLE, False, ())


async def test_labels_are_read_once_for_each_namespace() -> None:
    labels = Labels({})
    await with_live_policy(looked_at(TWO_STEPS), policy=DEFAULT_POLICY, labels_of=labels)
    assert labels.read == ["shop"]


async def test_a_namespace_that_is_not_managed_needs_an_approval() -> None:
    found = await with_live_policy(looked_at(TWO_STEPS), policy=DEFAULT_POLICY, labels_of=Labels({}))
    assert (found.outcome, found.approval_required, found.unchecked) == (Outcome.RUNNABLE, True, ())
    assert {(reason.code, reason.pointer) for reason in found.approval_reasons} == {
        ("policy_ask", "/steps/0"),
        ("policy_ask", "/steps/1"),
    }


async def test_a_cluster_that_cannot_be_read_needs_an_approval_and_leaves_the_label_unchecked() -> None:
    before = looked_at(TWO_STEPS)
    found = await with_live_policy(before, policy=DEFAULT_POLICY, labels_of=Labels(OSError("connection refused")))
    assert found.unchecked == before.unchecked
    assert {reason.code for reason in found.approval_reasons} == {"labels_unread"}
    assert "connection refused" in found.approval_reasons[0].message
    assert found.approval_required


async def test_a_denial_by_label_leaves_nothing_to_approve() -> None:
    rule = Rule(name="r", decision=Decision.DENY, reason="not ours", unless_label={"team": "us"})
    policy = Policy(rules=(rule,))
    found = await with_live_policy(looked_at(plan(), policy=policy), policy=policy, labels_of=Labels({"team": "them"}))
    assert (found.outcome, found.hash) == (Outcome.INVALID, None)
    assert [(fault.code, fault.pointer) for fault in found.faults] == [("policy_denied", "/steps/0/target")]


async def test_on_a_server_a_step_about_no_cluster_is_refused() -> None:
    before = looked_at(plan(), Settings(clusters={}))
    found = await with_live_policy(before, policy=DEFAULT_POLICY, labels_of=Labels({}))
    assert [fault.code for fault in found.faults] == ["missing_cluster"]
