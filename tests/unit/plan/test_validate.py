"""What validation says of plans that are well formed: targets, confidence, policy, approvals, what cannot be checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kubernaut.actions import catalogue
from kubernaut.actions.spec import ActionSpec
from kubernaut.examination import Examination, Outcome
from kubernaut.policy import Decision, Limit, Policy, Rule
from kubernaut.settings import Settings
from tests.unit.plan.documents import SETTINGS, TWO_CLUSTERS, Document, answer, looked_at, plan, step

SIGNAL: Document = {
    "labels": {"alertname": "KubePodCrashLooping", "namespace": "shop", "deployment": "checkout", "pod": "checkout-7d9"}
}
METRIC = {
    "name": "error_rate < 5%",
    "check": {"kind": "metric", "metric": "error_rate", "comparison": "<", "value": 0.05},
}


def codes(reasons: tuple[Any, ...]) -> list[str]:
    return [reason.code for reason in reasons]


def target_of(found: Examination, index: int = 0) -> tuple[str | None, ...]:
    target = found.steps[index].target
    return (target.cluster, target.kind, target.namespace, target.name)


# --- confidence

CONFIDENCES = {
    0.95: (Outcome.RUNNABLE, False, [], []),
    0.8: (Outcome.RUNNABLE, False, [], []),
    0.79: (Outcome.RUNNABLE, True, [], ["moderate_confidence"]),
    0.6: (Outcome.RUNNABLE, True, [], ["moderate_confidence"]),
    0.59: (Outcome.HUMAN, True, ["low_confidence"], []),
    None: (Outcome.RUNNABLE, True, [], ["no_confidence"]),
}


@pytest.mark.requirement("BR-IWB-005")
@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_confidence_decides_whether_a_person_is_asked(confidence: float | None) -> None:
    """Below 0.6 a human must look, from 0.6 to 0.8 or without a figure an approval is needed, above it may run."""
    found = looked_at(plan(confidence=confidence))
    outcome, approval, human, reasons = CONFIDENCES[confidence]
    assert (found.outcome, found.approval_required) == (outcome, approval)
    assert (codes(found.human_reasons), codes(found.approval_reasons)) == (human, reasons)
    assert found.confidence == confidence


def test_where_the_lines_of_confidence_lie_are_settings() -> None:
    strict = Settings(clusters={"prod": "p"}, confidence_human=0.97, confidence_approval=0.99)
    assert codes(looked_at(plan(confidence=0.95), strict).human_reasons) == ["low_confidence"]


# --- who must approve what

APPROVALS: dict[str, tuple[Document, str, str]] = {
    "a step that asks for it": (plan(step("a", requires_approval=True)), "step_requires_approval", "/steps/0"),
    "high risk": (plan(risk="high"), "high_risk", "/risk"),
    "critical risk": (plan(risk="critical"), "high_risk", "/risk"),
    "a criterion that nothing reads": (plan(success_criteria=[METRIC]), "unchecked_criterion", "/success_criteria/0"),
    "a trigger that nothing reads": (plan(rollback_triggers=[METRIC]), "unchecked_criterion", "/rollback_triggers/0"),
    "a post-condition that nothing reads": (
        plan(step("a", post_conditions=[METRIC])),
        "unchecked_criterion",
        "/steps/0/post_conditions/0",
    ),
    "more replicas than the policy lets pass": (plan(step("a", params={"replicas": 51})), "policy_ask", "/steps/0"),
    "a computed number that may be more": (
        plan(step("a", params={"replicas": {"$cel": "vars.n"}}), variables={"n": 2}),
        "policy_ask",
        "/steps/0/params",
    ),
}


@pytest.mark.parametrize("name", APPROVALS)
def test_what_needs_an_approval_says_why_and_can_be_approved(name: str) -> None:
    document, code, pointer = APPROVALS[name]
    found = looked_at(document)
    assert found.outcome is Outcome.RUNNABLE
    assert found.approval_required
    assert (code, pointer) in [(reason.code, reason.pointer) for reason in found.approval_reasons]
    assert found.hash is not None


def test_what_nothing_can_read_is_listed_and_counts_as_unread_once_approved() -> None:
    found = looked_at(plan(success_criteria=[METRIC]))
    assert "error_rate < 5%" in found.unchecked
    assert found.bindings is not None
    assert found.bindings.unchecked == ("error_rate < 5%",)


def test_a_criterion_that_nobody_understands_asks_a_human_and_is_named_by_the_verdict() -> None:
    found = looked_at(answer({"/monitoring/success_criteria": ["pod_running", "customers are happy"]}))
    assert (found.outcome, codes(found.human_reasons)) == (Outcome.HUMAN, ["criterion_not_understood"])
    assert found.human_reasons[0].pointer == "/monitoring/success_criteria/1"
    assert found.bindings is not None
    assert found.bindings.unchecked == ("customers are happy",)


@pytest.mark.parametrize("action", ["drain_node", "GitRevertCommit"])
def test_an_action_without_executor_is_kept_as_given_and_no_approval_answers_it(action: str) -> None:
    found = looked_at(plan(step("a", action, params={"anything": [1, {"b": "c"}]})))
    assert (found.outcome, codes(found.human_reasons)) == (Outcome.HUMAN, ["action_not_installed"])
    assert found.plan is not None
    assert found.plan.steps[0].params == {"anything": [1, {"b": "c"}]}
    assert (found.approval_required, found.hash) == (False, None)


def test_an_action_without_a_name_of_ours_is_shown_as_other() -> None:
    assert looked_at(plan(step("a", "GitRevertCommit"))).steps[0].action == "other.git_revert_commit"


def test_an_action_whose_executor_does_not_act_on_the_kind_yet_needs_a_human() -> None:
    target = {"kind": "StatefulSet", "namespace": "shop", "name": "db"}
    found = looked_at(plan(step("a", target=target)))
    assert (found.faults, codes(found.human_reasons)) == ((), ["action_not_installed"])
    assert "Deployment only" in found.human_reasons[0].message


def test_a_criterion_in_words_about_an_object_that_its_check_does_not_read_needs_a_human() -> None:
    document = answer(
        {
            "/primary_action": {"action": "notify_oncall", "parameters": {"message": "m"}},
            "/secondary_actions": [],
            "/monitoring/success_criteria": ["service_restored"],
        }
    )
    found = looked_at(document, signal={"labels": {"alertname": "X", "namespace": "shop", "pod": "checkout-7d9"}})
    assert (found.faults, codes(found.human_reasons)) == ((), ["criterion_not_understood"])
    assert found.human_reasons[0].pointer == "/monitoring/success_criteria/0"
    assert found.bindings is not None
    assert found.bindings.unchecked == ("service_restored",)


# --- policy


def policy(decision: Decision, **fields: Any) -> Policy:
    return Policy(rules=(Rule(name="r", decision=decision, reason="because", **fields),))


RULINGS = {
    Decision.ALLOW: (Outcome.RUNNABLE, [], [], []),
    Decision.ASK: (Outcome.RUNNABLE, [], [], ["policy_ask"]),
    Decision.HUMAN: (Outcome.HUMAN, [], ["policy_human"], []),
    Decision.DENY: (Outcome.INVALID, ["policy_denied"], [], []),
}


@pytest.mark.parametrize("decision", RULINGS)
def test_the_policy_decides_over_every_step(decision: Decision) -> None:
    found = looked_at(plan(), policy=policy(decision, namespaces=("shop",)))
    outcome, faults, human, approval = RULINGS[decision]
    assert found.outcome is outcome
    assert (codes(found.faults), codes(found.human_reasons), codes(found.approval_reasons)) == (faults, human, approval)


def test_the_policy_decides_over_the_action_that_would_undo_a_step() -> None:
    undone = step("a", undo={"kind": "action", "action": "kubernetes.rollout_restart"})
    found = looked_at(plan(undone), policy=policy(Decision.DENY, actions=("kubernetes.rollout_restart",)))
    assert [(fault.code, fault.pointer) for fault in found.faults] == [("policy_denied", "/steps/0/undo/action")]


def test_the_policy_decides_over_actions_that_are_not_installed() -> None:
    found = looked_at(plan(step("a", "delete_pod", target={"kind": "Pod", "namespace": "kube-system", "name": "x"})))
    assert codes(found.faults) == ["policy_denied"]


def test_a_denied_parameter_is_named_by_its_place() -> None:
    limit = Limit(parameter="replicas", max=2)
    found = looked_at(plan(), policy=policy(Decision.DENY, limit=limit))
    assert [fault.pointer for fault in found.faults] == ["/steps/0/params/replicas"]


def test_labels_that_nobody_read_yet_are_listed_once() -> None:
    found = looked_at(plan(step("a"), step("b", "kubernetes.rollout_restart", depends_on=[{"step": "a"}])))
    assert found.unchecked == ("label kubernaut.ai/managed of namespace shop in cluster prod",)


# --- targets

TARGETS: dict[str, tuple[Document, Document | None, tuple[str | None, ...]]] = {
    "the plan's": (plan(), None, ("prod", "Deployment", "shop", "checkout")),
    "the step's own": (
        plan(step("a", target={"kind": "Deployment", "namespace": "pay", "name": "api"})),
        None,
        ("prod", "Deployment", "pay", "api"),
    ),
    "the step's name in the plan's namespace": (
        plan(step("a", target={"name": "api"})),
        None,
        ("prod", "Deployment", "shop", "api"),
    ),
    "the signal's": (plan(target={}), SIGNAL, ("prod", "Deployment", "shop", "checkout")),
    "the signal's object of the action's only kind": (
        plan(target={"kind": "Pod", "namespace": "shop", "name": "checkout-7d9"}),
        SIGNAL,
        ("prod", "Deployment", "shop", "checkout"),
    ),
    "a kind in another spelling": (
        plan(step("a", target={"kind": "deployments"})),
        None,
        ("prod", "Deployment", "shop", "checkout"),
    ),
    "nothing for an action without target": (
        plan(step("a", "notify", params={"message": "m"})),
        SIGNAL,
        (None, None, None, None),
    ),
}


@pytest.mark.parametrize("name", TARGETS)
def test_what_a_target_leaves_out_comes_from_the_plan_then_from_the_signal(name: str) -> None:
    document, signal, expected = TARGETS[name]
    found = looked_at(document, signal=signal)
    assert found.faults == ()
    assert target_of(found) == expected


NOT_CARRIED_OVER = {
    "to another namespace": {"namespace": "pay"},
    "to another cluster": {"cluster": "lab"},
}


@pytest.mark.parametrize("name", NOT_CARRIED_OVER)
def test_a_name_is_never_carried_over(name: str) -> None:
    document = plan(
        step("a", target=NOT_CARRIED_OVER[name]),
        target={"cluster": "prod", "kind": "Deployment", "namespace": "shop", "name": "checkout"},
    )
    found = looked_at(document, TWO_CLUSTERS)
    assert "missing_target" in codes(found.faults)


def test_conditions_read_the_object_of_their_step() -> None:
    condition = {"name": "c", "check": {"kind": "named", "check": "pods_running", "target": {}}}
    found = looked_at(
        plan(step("a", target={"name": "api"}, post_conditions=[condition]), success_criteria=[condition])
    )
    assert found.plan is not None
    own, whole = found.plan.steps[0].post_conditions[0], found.plan.success_criteria[0]
    assert own.check.target.name == "api"  # type: ignore[union-attr]
    assert whole.check.target.name == "checkout"  # type: ignore[union-attr]


def test_far_from_any_server_the_cluster_is_left_open_and_named_as_unchecked() -> None:
    found = looked_at(plan(), Settings(clusters={}))
    assert found.outcome is Outcome.RUNNABLE
    assert target_of(found)[0] is None
    assert any(text.startswith("cluster:") for text in found.unchecked)


def test_the_default_cluster_is_meant_where_none_is_named() -> None:
    settings = TWO_CLUSTERS.model_copy(update={"default_cluster": "lab"})
    assert target_of(looked_at(plan(), settings))[0] == "lab"


# --- expressions, timeouts


def test_a_step_may_read_what_lies_upstream_through_other_steps() -> None:
    found = looked_at(
        plan(
            step("a"),
            step("b", "noop", depends_on=[{"step": "a"}]),
            step("c", "noop", depends_on=[{"step": "b", "outcome": "end"}], when="steps.a.outputs.replicas.after > 1"),
        )
    )
    assert found.faults == ()


def test_a_success_criterion_may_read_every_step() -> None:
    check = {"kind": "steps", "expression": 'steps.scale.status == "succeeded"'}
    assert looked_at(plan(success_criteria=[{"name": "scaled", "check": check}])).faults == ()


def test_a_step_that_could_never_use_its_time_is_warned_of() -> None:
    found = looked_at(plan(step("a", timeout=600), timeout=60))
    assert any("'a'" in warning and "600 s" in warning for warning in found.warnings)


def test_fewer_steps_can_be_allowed_than_the_form_allows() -> None:
    few = SETTINGS.model_copy(update={"max_steps": 2})
    assert codes(looked_at(plan(*[step(f"s{n}", "noop") for n in range(3)]), few).faults) == ["too_many_steps"]


def test_the_plan_reference_names_every_action_and_every_name_of_it() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "plan-reference.md").read_text(encoding="utf-8")
    names = {name for entry in catalogue.CATALOGUE.values() for name in (entry.name, *_listed(entry))}
    assert [name for name in sorted(names) if f"`{name}`" not in page] == []


def _listed(entry: ActionSpec) -> tuple[str, ...]:
    return () if entry.name.startswith("other.") else entry.aliases
