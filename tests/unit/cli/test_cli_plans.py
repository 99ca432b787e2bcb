"""`kubernaut plan …`: exit codes, the JSON document, and what a person reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Kubernaut
from tests.unit.plan.documents import answer, plan, step

KEYS = {
    "outcome",
    "dialect",
    "confidence",
    "approval_required",
    "human_reasons",
    "steps",
    "unchecked",
    "faults",
}
SIGNAL = {"labels": {"alertname": "KubePodCrashLooping", "namespace": "shop", "deployment": "checkout"}}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(document: Any, name: str = "plan.json") -> str:
        path = tmp_path / name
        path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
        return str(path)

    return write


EXITS: dict[str, tuple[Any, int, str]] = {
    "a plan that may run": (plan(), 0, "runnable"),
    "one that needs an approval": (plan(confidence=0.7), 0, "runnable"),
    "one with faults": (plan(step("a", "wibble")), 1, "invalid"),
    "no JSON": ("{", 1, "invalid"),
    "one that is unsure of itself": (plan(confidence=0.1), 3, "human"),
    "an action that is not installed": (plan(step("a", "drain_node")), 3, "human"),
    "a form that is not translated": ({"recommendations": [{"id": "r", "action": "noop"}]}, 3, "human"),
}


@pytest.mark.parametrize("name", EXITS)
def test_the_exit_code_says_what_the_plan_is(kubernaut: Kubernaut, write: Any, name: str) -> None:
    document, code, outcome = EXITS[name]
    ended = kubernaut("plan", "validate", write(document), "--json")
    assert (ended.code, ended.json["outcome"]) == (code, outcome)
    assert set(ended.json) >= KEYS
    assert kubernaut("plan", "validate", write(document)).code == code
    assert kubernaut("plan", "show", write(document)).code == code


USAGES = {
    "no file": ("plan", "validate"),
    "a file that is not there": ("plan", "validate", "/nonexistent.json"),
    "a folder": ("plan", "validate", "/"),
    "an option that is none": ("plan", "validate", "--wibble"),
    "a command that is none": ("wibble",),
}


@pytest.mark.parametrize("name", USAGES)
def test_wrong_usage_is_exit_2(kubernaut: Kubernaut, name: str) -> None:
    ended = kubernaut(*USAGES[name])
    assert ended.code == 2
    assert "Traceback" not in ended.err


def test_settings_that_cannot_be_read_are_wrong_usage(
    kubernaut: Kubernaut, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNAUT_MAX_STEPS", "many")
    ended = kubernaut("plan", "validate", write(plan()))
    assert ended.code == 2
    assert "KUBERNAUT_MAX_STEPS" in ended.err


def test_faults_are_printed_with_place_and_remedy(kubernaut: Kubernaut, write: Any) -> None:
    out = kubernaut("plan", "validate", write(plan(step("a", "kubernetes.scael"), step("a", when="1 +")))).out
    for expected in ("/steps/0/action", "Did you mean 'kubernetes.scale'?", "/steps/1/id", "/steps/1/when"):
        assert expected in out


def test_foreign_text_cannot_write_to_the_terminal(kubernaut: Kubernaut, write: Any) -> None:
    hostile = answer({"/primary_action/action": "scale\u001b[2J\u202e"})
    out = kubernaut("plan", "validate", write(hostile), "--provenance").out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_the_policy_of_the_site_is_asked(kubernaut: Kubernaut, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = "rules: [{name: shop, decision: deny, reason: closed, namespaces: [shop]}]"
    monkeypatch.setenv("KUBERNAUT_POLICY_FILE", write(rules, "policy.yaml"))
    ended = kubernaut("plan", "validate", write(plan()), "--json")
    assert [fault["code"] for fault in ended.json["faults"]] == ["policy_denied"]


def test_a_policy_that_cannot_be_read_lets_nothing_pass(
    kubernaut: Kubernaut, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBERNAUT_POLICY_FILE", write("rules: [{}]", "policy.yaml"))
    assert kubernaut("plan", "validate", write(plan())).code == 2


def test_the_signal_says_what_the_plan_leaves_out(kubernaut: Kubernaut, write: Any) -> None:
    document = plan(target={})
    signal = write(SIGNAL, "signal.json")
    assert kubernaut("plan", "validate", write(document)).code == 1
    ended = kubernaut("plan", "validate", write(document), "--signal", signal, "--json")
    assert ended.code == 0
    assert ended.json["steps"][0]["target"]["name"] == "checkout"


def test_a_signal_that_is_no_json_is_a_fault_beside_the_plan_s_own(kubernaut: Kubernaut, write: Any) -> None:
    ended = kubernaut(
        "plan", "validate", write(plan(step("a", "wibble"))), "--signal", write("{", "signal.json"), "--json"
    )
    assert ended.code == 1
    assert [fault["code"] for fault in ended.json["faults"]] == ["json_syntax", "unknown_action"]


def test_provenance_lists_where_every_value_went(kubernaut: Kubernaut, write: Any) -> None:
    file = write(answer({}))
    entries = kubernaut("plan", "validate", file, "--provenance", "--json").json["provenance"]
    assert {"pointer": "/confidence", "kind": "field", "destination": "/confidence"} in entries
    assert "/secondary_actions/0/parameters/replicas  field:" in kubernaut("plan", "validate", file, "--provenance").out


def test_a_plan_can_come_from_standard_input(kubernaut: Kubernaut, monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(plan()).encode())))
    assert kubernaut("plan", "validate", "-").code == 0


def test_a_file_larger_than_is_read_is_refused(kubernaut: Kubernaut, write: Any) -> None:
    ended = kubernaut("plan", "validate", write('{"a": "' + "x" * 2_000_000 + '"}'), "--json")
    assert (ended.code, ended.json["faults"][0]["code"]) == (1, "json_too_large")


def test_the_schema_is_json_schema_of_the_form(kubernaut: Kubernaut) -> None:
    assert kubernaut("plan", "schema").json["$id"] == "https://kubernaut.ai/schemas/plan/v1"


# --- the card


def test_the_card_shows_graph_target_change_proof_and_undo_of_each_step(kubernaut: Kubernaut, write: Any) -> None:
    out = kubernaut("plan", "show", write(answer({}))).out
    for expected in (
        "Deployment shop/checkout",
        "set spec.replicas to 3",
        "set spec.template to that of the previous revision",
        "rollout_complete",
        "automatic",
        "pod_running",
    ):
        assert expected in out, expected


def test_the_card_of_a_plan_that_cannot_run_here_says_so_at_the_step(kubernaut: Kubernaut, write: Any) -> None:
    ended = kubernaut("plan", "show", write(plan(step("a", "drain_node"))))
    assert ended.code == 3
    assert "no executor is installed" in ended.out


def test_a_diagram_is_nothing_but_the_diagram(kubernaut: Kubernaut, write: Any) -> None:
    out = kubernaut("plan", "show", write(answer({})), "--mermaid").out
    assert out.lstrip().startswith(("flowchart", "graph", "---", "%%"))
    faulty = kubernaut("plan", "show", write(plan(step("a", "wibble"))), "--mermaid")
    assert (faulty.code, faulty.out) == (1, "")
    assert "unknown_action" in faulty.err


def test_what_the_card_shows_is_what_an_approval_names(kubernaut: Kubernaut, write: Any) -> None:
    file = write(answer({}))
    digest = kubernaut("plan", "validate", file, "--json").json["hash"]
    assert digest in kubernaut("plan", "show", file).out
