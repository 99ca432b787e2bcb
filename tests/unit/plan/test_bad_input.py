"""Bad input: refused before anything is registered, naming the place and the remedy, all faults at once."""

from __future__ import annotations

import builtins
import json
import socket
import subprocess
from typing import Any

import pytest

from kubernaut.examination import Examination, Outcome
from kubernaut.plan import examine as module
from tests.unit.plan.documents import ANSWER, TWO_CLUSTERS, Document, answer, looked_at, plan, step

P = "/primary_action"
S = "/secondary_actions/0"


def refused(examination: Examination, pointer: str, code: str, remedy: str) -> None:
    """Invalid, with this fault at this place, and with nothing that could be registered."""
    assert examination.outcome is Outcome.INVALID
    found = [(fault.pointer, fault.code) for fault in examination.faults]
    assert (pointer, code) in found, found
    fault = examination.faults[found.index((pointer, code))]
    assert remedy in fault.remedy, fault.remedy
    assert fault.message
    assert examination.workflow is None
    assert examination.bindings is None
    assert examination.hash is None


GOOD = json.dumps(plan())
TEXTS: dict[str, tuple[bytes | str, str, str]] = {
    "empty": (b"  ", "json_empty", "Send one JSON object"),
    "trailing comma": (GOOD[:-1] + ",}", "json_syntax", "Remove the comma"),
    "code fence": (f"```json\n{GOOD}\n```", "json_syntax", "without the fence"),
    "prose around it": (f"Here is the plan: {GOOD}", "json_syntax", "without prose"),
    "unquoted key": ('{version: "kubernaut.ai/plan/v1"}', "json_syntax", "double quotes"),
    "missing closing brace": (GOOD[:-1], "json_syntax", "Send the whole object"),
    "not UTF-8": (b'{"id": "\xff"}', "json_encoding", "UTF-8"),
    "10 MB": ('{"id": "' + "x" * 10_000_000 + '"}', "json_too_large", "max_plan_bytes"),
    "200 levels": ('{"a":' * 200 + "1" + "}" * 200, "json_too_deep", "max_nesting"),
    "no known form": ('{"hello": "world"}', "unknown_dialect", "kubernaut.ai/plan/v1"),
    "a list": ("[1, 2]", "unknown_dialect", "kubernaut.ai/plan/v1"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_that_is_no_plan_is_refused(name: str) -> None:
    text, code, remedy = TEXTS[name]
    refused(looked_at(text), "", code, remedy)


def test_a_value_that_was_read_elsewhere_is_bounded_as_well() -> None:
    deep: Any = {}
    for _ in range(200):
        deep = {"a": deep}
    refused(looked_at({**plan(), "variables": deep}), "", "json_too_deep", "max_nesting")


def test_a_value_nested_deeper_than_the_interpreter_allows_is_refused() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    refused(looked_at({"a": deep}), "", "json_too_deep", "flatter")


NATIVE: dict[str, tuple[Document, str, str, str]] = {
    "unknown action": (plan(step("a", "wibble")), "/steps/0/action", "unknown_action", "catalogue"),
    "near miss of an action": (
        plan(step("a", "kubernetes.scael")),
        "/steps/0/action",
        "unknown_action",
        "Did you mean 'kubernetes.scale'?",
    ),
    "missing parameter": (plan(step("a", params={})), "/steps/0/params/replicas", "param_missing", "never guessed"),
    "ill-typed parameter": (
        plan(step("a", params={"replicas": "five"})),
        "/steps/0/params/replicas",
        "param_invalid",
        "integer",
    ),
    "unknown parameter": (
        plan(step("a", params={"replicas": 1, "replcas": 1})),
        "/steps/0/params/replcas",
        "param_unknown",
        "'replicas'",
    ),
    "unknown field": (plan(step("a", dependson=[])), "/steps/0/dependson", "unknown_field", "'depends_on'"),
    "no steps": (plan() | {"steps": []}, "/steps", "invalid_value", "plan reference"),
    "101 steps": (plan(*[step(f"s{n}") for n in range(101)]), "/steps", "too_many_steps", "Split the plan"),
    "duplicate id": (plan(step("a"), step("a")), "/steps/1/id", "duplicate_id", "an id of its own"),
    "dangling dependency": (
        plan(step("scale"), step("b", depends_on=[{"step": "scael"}])),
        "/steps/1/depends_on/0",
        "dangling_dependency",
        "'scale'",
    ),
    "self-dependency": (
        plan(step("a", depends_on=[{"step": "a"}])),
        "/steps/0/depends_on/0",
        "self_dependency",
        "remove",
    ),
    "cycle": (
        plan(step("a", depends_on=[{"step": "b"}]), step("b", depends_on=[{"step": "a"}])),
        "/steps/0/depends_on",
        "cycle",
        "remove one dependency",
    ),
    "condition that does not compile": (
        plan(step("a", when="vars.x ==")),
        "/steps/0/when",
        "expression_syntax",
        "",
    ),
    "condition of the wrong type": (plan(step("a", when="'yes'")), "/steps/0/when", "expression_type", "comparison"),
    "unknown name in a condition": (
        plan(step("a", when="foo == 1")),
        "/steps/0/when",
        "expression_unknown_name",
        "vars",
    ),
    "unknown variable in a condition": (
        plan(step("a", when="vars.sise > 1"), variables={"size": 1}),
        "/steps/0/when",
        "expression_unknown_name",
        "size",
    ),
    "condition on a step that need not have ended": (
        plan(step("a"), step("b", "noop", when='steps.a.status == "failed"')),
        "/steps/1/when",
        "not_upstream",
        "depend on 'a'",
    ),
    "computed parameter of the wrong type": (
        plan(step("a", params={"replicas": {"$cel": "'three'"}})),
        "/steps/0/params/replicas/$cel",
        "expression_type",
        "int",
    ),
    "computed parameter that reads a step which need not have ended": (
        plan(step("a", "noop"), step("b", params={"replicas": {"$cel": "int(steps.a.outputs.n)"}})),
        "/steps/1/params/replicas/$cel",
        "not_upstream",
        "depend on 'a'",
    ),
    "computed value with something beside it": (
        plan(step("a", params={"replicas": {"$cel": "3", "or": 4}})),
        "/steps/0/params/replicas",
        "param_computed",
        "$cel",
    ),
    "check whose expression is of the wrong type": (
        plan(step("a", "monitoring.check", params={"expression": "object.spec.replicas + 1"}), variables={"n": 1})
        | {"success_criteria": [{"name": "c", "check": {"kind": "steps", "expression": "1 + 1"}}]},
        "/success_criteria/0/check/expression",
        "expression_type",
        "comparison",
    ),
    "check that reads a name of another scope": (
        plan(step("a", "monitoring.check", params={"expression": "objects.size() > 0"})),
        "/steps/0/params/expression",
        "expression_unknown_name",
        "object",
    ),
    "unknown named check": (
        plan(success_criteria=[{"name": "c", "check": {"kind": "named", "check": "pods_runing", "target": {}}}]),
        "/success_criteria/0/check/check",
        "unknown_check",
        "'pods_running'",
    ),
    "named check of a version that is not there": (
        plan(
            success_criteria=[
                {"name": "c", "check": {"kind": "named", "check": "pods_running", "version": 9, "target": {}}}
            ]
        ),
        "/success_criteria/0/check/version",
        "unknown_check",
        "versions 1",
    ),
    "condition over a Secret": (
        plan(
            success_criteria=[
                {
                    "name": "c",
                    "check": {"kind": "object", "target": {"kind": "Secret", "name": "x"}, "expression": "true"},
                }
            ]
        ),
        "/success_criteria/0/check/target/kind",
        "wrong_kind",
        "Deployment",
    ),
    "template in a parameter": (
        plan(step("a", "notify", params={"message": "{{ conn.x.password }}"})),
        "/steps/0/params/message",
        "template_in_value",
        "Write the value itself",
    ),
    "substitution in a name": (
        plan(step("a", target={"name": "$(hostname)"})),
        "/steps/0/target/name",
        "template_in_value",
        "Write the value itself",
    ),
    "semicolon in a namespace": (
        plan(step("a"), target={"kind": "Deployment", "namespace": "a;b", "name": "x"}),
        "/target/namespace",
        "template_in_value",
        "Write the value itself",
    ),
    "pipe in an action's name": (
        plan(step("a", "noop | sh")),
        "/steps/0/action",
        "template_in_value",
        "Write the value itself",
    ),
    "template in a variable": (
        plan(variables={"image": "${IMAGE}"}),
        "/variables/image",
        "template_in_value",
        "Write the value itself",
    ),
    "template in a parameter of an action that is not installed": (
        plan(step("a", "drain_node", params={"node": "{% raw %}"})),
        "/steps/0/params/node",
        "template_in_value",
        "Write the value itself",
    ),
    "path in a name": (
        plan(step("a", target={"name": "../secrets/x"})),
        "/steps/0/target/name",
        "invalid_name",
        "lower-case letters",
    ),
    "metadata URL in a webhook": (
        plan(step("a", "notify", params={"message": "m", "channel": "webhook", "url": "http://169.254.169.254/x"})),
        "/steps/0/params/url",
        "param_invalid",
        "",
    ),
    "metadata URL of an action that is not installed": (
        plan(step("a", "webhook", params={"url": "http://metadata.google.internal/"})),
        "/steps/0/params/url",
        "url_forbidden",
        "public or cluster name",
    ),
    "link-local URL in a criterion": (
        plan(
            success_criteria=[
                {"name": "c", "check": {"kind": "query", "source": "http", "query": "http://169.254.1.1/"}}
            ]
        ),
        "/success_criteria/0/check/query",
        "url_forbidden",
        "public or cluster name",
    ),
    "target outside the policy": (
        plan(target={"kind": "Deployment", "namespace": "kube-system", "name": "coredns"}),
        "/target/namespace",
        "policy_denied",
        "another target",
    ),
    "unknown cluster": (
        plan(step("a", target={"cluster": "pord"})),
        "/steps/0/target/cluster",
        "unknown_cluster",
        "'prod'",
    ),
    "wrong kind of object": (
        plan(step("a", target={"kind": "Node", "name": "n1"})),
        "/steps/0/target/kind",
        "wrong_kind",
        "kind",
    ),
    "no object": (plan(target={}), "/steps/0/target", "missing_target", "namespace, name"),
    "undo that cannot be": (
        plan(step("a", "notify", params={"message": "m"}, undo={"kind": "automatic"})),
        "/steps/0/undo",
        "undo_impossible",
        "none",
    ),
    "unknown action as undo": (
        plan(step("a", undo={"kind": "action", "action": "kubernetes.scael"})),
        "/steps/0/undo/action",
        "unknown_action",
        "'kubernetes.scale'",
    ),
    "fault in an alternative": (
        plan(alternatives=[{"id": "b", "steps": [step("x", "wibble")]}]),
        "/alternatives/0/steps/0/action",
        "unknown_action",
        "catalogue",
    ),
    "readable condition behind the name of an unreadable one": (
        plan(
            success_criteria=[
                {"name": "c", "check": {"kind": "metric", "metric": "m", "comparison": "<", "value": 1}},
                {"name": "c", "check": {"kind": "named", "check": "pods_running", "target": {}}},
            ]
        ),
        "/success_criteria/1/name",
        "ambiguous_name",
        "a name of its own",
    ),
    "text that turns its direction": (
        plan(step("a", name="scale \u202eup")),
        "/steps/0/name",
        "control_character",
        "Remove",
    ),
}


@pytest.mark.requirement("BR-IWB-011")
@pytest.mark.parametrize("name", NATIVE)
def test_a_faulty_plan_is_refused_at_its_place(name: str) -> None:
    """Each fault of a plan in our own form is refused at its JSON pointer, with a remedy."""
    refused(looked_at(NATIVE[name][0]), *NATIVE[name][1:])


ANSWERS: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "near miss of an action": (
        {f"{P}/action": "rollback_deploymnt"},
        f"{P}/action",
        "unknown_action",
        "'rollback_deployment'",
    ),
    "missing quantity": (
        {f"{S}/parameters": {"deployment": "checkout", "namespace": "shop"}},
        f"{S}/parameters",
        "param_missing",
        "never guessed",
    ),
    "ill-typed parameter": (
        {f"{S}/parameters/replicas": "many"},
        f"{S}/parameters/replicas",
        "param_invalid",
        "number",
    ),
    "two aliases with different values": (
        {f"{S}/parameters/desired_replicas": 4},
        f"{S}/parameters/desired_replicas",
        "conflicting_aliases",
        "Give it once",
    ),
    "unknown condition": (
        {f"{S}/condition": "if_primary_fail"},
        f"{S}/condition",
        "unknown_condition",
        "after_primary",
    ),
    "unknown field": ({"/extra": 1}, "/extra", "unmapped", "Remove"),
    "pipe in a validation command": (
        {"/monitoring/validation_commands": ["kubectl get pods | sh"]},
        "/monitoring/validation_commands/0",
        "command_not_plain",
        "only reads",
    ),
    "substitution in a validation command": (
        {"/monitoring/validation_commands": ["kubectl get pods $(id)"]},
        "/monitoring/validation_commands/0",
        "command_not_plain",
        "only reads",
    ),
    "metadata URL in a validation command": (
        {"/monitoring/validation_commands": ["curl -s http://169.254.169.254/latest/meta-data"]},
        "/monitoring/validation_commands/0",
        "url_forbidden",
        "public or cluster name",
    ),
    "shell in a name": (
        {f"{P}/parameters/deployment": "x; rm -rf /"},
        f"{P}/parameters/deployment",
        "template_in_value",
        "itself",
    ),
    "target outside the policy": (
        {f"{P}/parameters/namespace": "kube-system"},
        f"{P}/parameters/namespace",
        "policy_denied",
        "another target",
    ),
    "unknown cluster": ({f"{P}/parameters/cluster": "nowhere"}, f"{P}/parameters/cluster", "unknown_cluster", "prod"),
    "101 steps": (
        {"/secondary_actions": [ANSWER["secondary_actions"][0]] * 100},
        "/secondary_actions",
        "too_many_steps",
        "99",
    ),
}


@pytest.mark.requirement("BR-IWB-011")
@pytest.mark.parametrize("name", ANSWERS)
def test_a_faulty_answer_is_refused_at_the_place_in_the_answer(name: str) -> None:
    """Each fault of an answer with a primary action is refused at its JSON pointer in that answer, with a remedy."""
    changes, pointer, code, remedy = ANSWERS[name]
    refused(looked_at(answer(changes)), pointer, code, remedy)


def test_the_documents_that_are_spoilt_here_are_good_without_it() -> None:
    assert looked_at(plan()).outcome is Outcome.RUNNABLE
    assert looked_at(answer({})).outcome is Outcome.RUNNABLE


def test_all_faults_come_at_once_whatever_layer_finds_them() -> None:
    document = plan(
        step("a", "wibble", foo=1),
        step("b", params={"replicas": "{{ n }}"}, depends_on=[{"step": "zz"}], when="1 +"),
        step("c", target={"cluster": "nowhere", "namespace": "kube-system", "name": "x"}),
    )
    codes = {fault.code for fault in looked_at(document).faults}
    assert codes >= {
        "unknown_field",
        "unknown_action",
        "template_in_value",
        "dangling_dependency",
        "expression_syntax",
        "unknown_cluster",
        "policy_denied",
    }


def test_a_fault_of_the_signal_comes_with_those_of_the_plan() -> None:
    found = looked_at(plan(step("a", "wibble")), signal={"labels": {"severity": "critical"}})
    assert [fault.pointer for fault in found.faults] == ["/signal/labels/alertname", "/steps/0/action"]


def test_which_of_several_clusters_is_meant_is_not_guessed() -> None:
    refused(looked_at(plan(), TWO_CLUSTERS), "/steps/0/target", "missing_cluster", "prod, lab")


PLAIN = {
    "reasoning": plan(reasoning={"summary": "first; then | and {{ so on }} $(date)"}),
    "description": plan(step("a", description="a | b; $(c) {{ d }}")),
    "message": plan(step("a", "notify", params={"message": "rolled back; errors | latency fell"})),
    "name": plan(step("a", name="Scale up; watch it")),
    "annotation": plan(signal={"name": "X", "annotations": {"summary": "{{ $labels.pod }} ; | $(x)"}}),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_text_is_only_text(name: str) -> None:
    assert looked_at(PLAIN[name]).faults == ()


@pytest.mark.requirement("BR-SEC-002")
def test_nothing_is_rendered_resolved_fetched_or_run_while_a_plan_is_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile plan is examined with no socket, no process, no file and no evaluation at hand; it is refused."""
    looked_at(plan(step("a", "monitoring.check", params={"expression": "true"})))  # imports happen before

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("examining a plan reached outside")

    monkeypatch.setattr(socket, "socket", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    monkeypatch.setattr(subprocess, "Popen", forbidden)
    monkeypatch.setattr(builtins, "open", forbidden)
    hostile = plan(
        step("a", "notify", params={"message": "{{ 7 * 7 }}", "channel": "webhook", "url": "http://169.254.169.254/"}),
        step("b", params={"replicas": {"$cel": "1 + 1"}}, when='"a".matches("(a+)+$")'),
        step("c", "`reboot`"),
        success_criteria=[{"name": "c", "check": {"kind": "query", "source": "http", "query": "http://metadata/"}}],
    )
    found = looked_at(hostile)
    assert found.outcome is Outcome.INVALID
    assert "49" not in found.model_dump_json()


HOSTILE = [
    "{{ conn.x.password }}",
    "$(reboot)",
    "`reboot`",
    "a; reboot",
    "a | sh",
    "${HOME}",
    "{% include '/etc/passwd' %}",
    "../../etc/passwd",
    "a\nb",
    "A" * 300,
    "’; DROP TABLE execution; --",
    "\u202etxet",
    "a%2fb",
    "-rf",
]


@pytest.mark.requirement("BR-SEC-002")
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_never_becomes_part_of_a_target(text: str) -> None:
    """A name that is no name of Kubernetes is refused wherever a plan or an answer can put it."""
    for part in ("name", "namespace", "cluster"):
        assert looked_at(plan(step("a", target={part: text}))).outcome is Outcome.INVALID
    for part in ("deployment", "namespace", "cluster"):
        assert looked_at(answer({f"{P}/parameters/{part}": text})).outcome is Outcome.INVALID


def test_the_module_that_examines_imports_nothing_that_could_reach_outside() -> None:
    assert not {"httpx", "requests", "subprocess", "socket", "jinja2"} & set(vars(module))
