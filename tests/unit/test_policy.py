"""What the policy says: the default's table, which rule wins, labels nobody has read, and files that cannot be used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from kubernaut.errors import ConfigurationError
from kubernaut.policy import DEFAULT_POLICY, Decision, Limit, Policy, Rule, Subject, load_policy, rule

MANAGED = {"kubernaut.ai/managed": "true"}


def subject(**fields: Any) -> Subject:
    """A scale of a Deployment in a managed namespace."""
    ordinary = {
        "action": "kubernetes.scale",
        "changes": True,
        "cluster": "prod",
        "kind": "Deployment",
        "namespace": "shop",
        "name": "checkout",
        "params": {"replicas": 3},
        "labels": MANAGED,
    }
    return Subject.model_validate(ordinary | fields)


def ruled(**fields: Any) -> tuple[Decision, list[str]]:
    found = rule(DEFAULT_POLICY, subject(**fields))
    return found.decision, [each.name for each in found.rules]


@pytest.mark.parametrize(
    ("fields", "decision", "names"),
    [
        ({}, "allow", []),
        ({"namespace": "kube-system"}, "deny", ["system-namespaces"]),
        ({"namespace": "kube-public"}, "deny", ["system-namespaces"]),
        ({"namespace": "airflow"}, "deny", ["system-namespaces"]),
        ({"namespace": "airflow-workers"}, "deny", ["system-namespaces"]),
        ({"namespace": "kubernaut"}, "deny", ["system-namespaces"]),
        ({"namespace": "kubernaut-store"}, "deny", ["system-namespaces"]),
        ({"namespace": "kubernetes-dashboard"}, "allow", []),
        ({"namespace": "my-kube-system"}, "allow", []),
        ({"kind": "Namespace", "namespace": None, "name": "kube-system"}, "deny", ["system-namespaces"]),
        ({"kind": "Namespace", "namespace": None, "name": "shop"}, "allow", []),
        ({"kind": "Secret"}, "deny", ["powerful-kinds"]),
        ({"kind": "Secret", "changes": False}, "deny", ["powerful-kinds"]),
        ({"kind": "ClusterRoleBinding", "namespace": None}, "deny", ["powerful-kinds"]),
        ({"kind": "CustomResourceDefinition", "namespace": None}, "deny", ["powerful-kinds"]),
        ({"kind": "ConfigMap"}, "allow", []),
        ({"namespace": "kube-system", "changes": False}, "allow", []),
        ({"labels": {}}, "ask", ["unmanaged"]),
        ({"labels": {"kubernaut.ai/managed": "false"}}, "ask", ["unmanaged"]),
        ({"labels": {}, "changes": False}, "allow", []),
        ({"params": {"replicas": 50}}, "allow", []),
        ({"params": {"replicas": 51}}, "ask", ["replica-ceiling"]),
        ({"params": {"replicas": 0}}, "ask", ["scale-to-zero"]),
        ({"params": {"replicas": 0}, "labels": {}}, "ask", ["unmanaged", "scale-to-zero"]),
        ({"params": {"replicas": 51}, "namespace": "kube-system"}, "deny", ["system-namespaces"]),
        ({"action": "kubernetes.rollout_undo", "params": {"replicas": 99}}, "allow", []),
    ],
)
def test_the_default_policy(fields: dict[str, Any], decision: str, names: list[str]) -> None:
    """System namespaces, Secrets, RBAC and CRDs are out of reach; what is not labelled as managed needs an approval."""
    assert ruled(**fields) == (decision, names)


# --- which rule decides


@pytest.mark.parametrize("reverse", [False, True], ids=["in order", "reversed"])
@pytest.mark.parametrize("strictest", ["ask", "human", "deny"])
def test_the_strictest_rule_wins_in_whatever_order_they_stand(strictest: str, reverse: bool) -> None:
    decisions = ["allow", "ask", "human", "deny"]
    rules = [
        Rule(name=name, decision=Decision(name), reason=f"because {name}")
        for name in decisions[: decisions.index(strictest) + 1]
    ]

    found = rule(Policy(rules=tuple(reversed(rules) if reverse else rules)), subject())

    assert (found.decision, [each.name for each in found.rules]) == (strictest, [strictest])
    assert found.text == f"because {strictest} (rule {strictest!r})"


def test_a_rule_that_allows_takes_nothing_away_from_one_that_does_not() -> None:
    """Rules only restrict: an `allow` for a namespace opens nothing that another rule closes."""
    opened = Rule(name="open", decision=Decision.ALLOW, namespaces=("kube-system",), reason="please")

    found = rule(Policy(rules=(*DEFAULT_POLICY.rules, opened)), subject(namespace="kube-system"))

    assert found.decision is Decision.DENY


def test_what_no_rule_matches_is_allowed() -> None:
    assert rule(Policy(), subject()).decision is Decision.ALLOW


@pytest.mark.parametrize(
    ("patterns", "matches"),
    [
        ({"clusters": ("prod",)}, True),
        ({"clusters": ("prod-*",)}, False),
        ({"namespaces": ("shop", "bank")}, True),
        ({"namespaces": ("SHOP",)}, False),
        ({"kinds": ("Deploy*",)}, True),
        ({"names": ("check???",)}, True),
        ({"names": ("check",)}, False),
        ({"actions": ("kubernetes.*",)}, True),
        ({"actions": ("kubernetes.*",), "namespaces": ("bank",)}, False),
    ],
)
def test_a_rule_matches_where_all_of_its_lists_do(patterns: dict[str, Any], matches: bool) -> None:
    policy = Policy(rules=(Rule(name="r", decision=Decision.DENY, reason="no", **patterns),))

    assert (rule(policy, subject()).decision is Decision.DENY) is matches


def test_a_rule_on_a_name_does_not_match_what_has_none() -> None:
    policy = Policy(rules=(Rule(name="r", decision=Decision.DENY, reason="no", namespaces=("*",)),))

    assert rule(policy, subject(namespace=None)).decision is Decision.ALLOW


@pytest.mark.parametrize(
    ("value", "broken"),
    [(5, False), (6, True), (5.5, True), (0, True), (1, False), (True, False), ("9", False), (None, False)],
)
def test_a_limit_judges_numbers(value: Any, broken: bool) -> None:
    """Whatever is no number is the parameters' own schema's business; a computed one is judged at the claim."""
    assert Limit(parameter="n", min=1, max=5).broken_by({"n": value}) is broken


def test_a_limit_on_a_parameter_that_is_not_there_is_kept() -> None:
    assert Limit(parameter="n", max=5).broken_by({}) is False


# --- labels that nobody has read


def test_labels_that_were_not_read_leave_their_rule_open_and_named() -> None:
    """Not allowed, not refused: whoever asks later, with labels, gets the same answer or a stricter one."""
    found = rule(DEFAULT_POLICY, subject(labels=None))

    assert (found.decision, [each.name for each in found.unread]) == (Decision.ALLOW, ["unmanaged"])


def test_reading_labels_never_makes_an_answer_milder() -> None:
    order = list(Decision)
    for fields in ({}, {"namespace": "kube-system"}, {"params": {"replicas": 0}}, {"kind": "Secret"}):
        unread = rule(DEFAULT_POLICY, subject(labels=None, **fields)).decision
        for labels in ({}, MANAGED):
            assert order.index(rule(DEFAULT_POLICY, subject(labels=labels, **fields)).decision) >= order.index(unread)


# --- the file


def written(folder: Path, text: str) -> Path:
    path = folder / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_the_default_policy_decides() -> None:
    assert load_policy(None) is DEFAULT_POLICY


def test_a_file_replaces_the_default_policy(tmp_path: Path) -> None:
    path = written(tmp_path, "version: 1\nrules:\n- {name: none, decision: deny, reason: closed, clusters: [prod]}\n")

    assert rule(load_policy(path), subject()).decision is Decision.DENY


def test_a_file_that_was_changed_is_read_again(tmp_path: Path) -> None:
    path = written(tmp_path, "rules: []\n")
    assert load_policy(path).rules == ()
    written(tmp_path, "rules:\n- {name: none, decision: ask, reason: closed}\n")
    os.utime(path, (1, 1))

    assert [each.name for each in load_policy(path).rules] == ["none"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "policy"),
        ("[]", "policy"),
        ("rules: [", "line 1"),
        ("version: 2", "version"),
        ("rules:\n- {name: a, decision: maybe, reason: b}", "rules.0.decision"),
        ("rules:\n- {name: a, decision: deny}", "rules.0.reason"),
        (
            "rules:\n- {name: a, decision: deny, reason: b}\n- {name: c, decision: deny, reason: d, namespace: [x]}",
            "rules.1.namespace",
        ),
        ("rules:\n- {name: a, decision: deny, reason: b, namespaces: kube-*}", "rules.0.namespaces"),
        ("rules:\n- {name: a, decision: deny, reason: b, limit: {max: 3}}", "rules.0.limit.parameter"),
        ("!!python/object/apply:os.system [echo]", "python/object"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_its_path_and_the_place(
    tmp_path: Path, text: str, place: str
) -> None:
    """A mistake in a rule never leaves less of a policy than was written: nothing is allowed by it at all."""
    path = written(tmp_path, text)

    with pytest.raises(ConfigurationError) as caught:
        load_policy(path)

    assert str(path) in str(caught.value)
    assert place in str(caught.value)


def test_a_file_that_is_not_there_is_an_error_and_not_the_default_policy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_policy(tmp_path / "nobody.yaml")
