"""Which form an answer has is recognised by its content; a form that is not translated needs a human."""

import json
from pathlib import Path
from typing import Any

import pytest

from kubernaut.plan.dialects import recognise, translate

TRANSCRIPTS = Path(__file__).parents[3].parent / "shared" / "transcripts"

FORMS: list[tuple[str, dict[str, Any]]] = [
    ("kubernaut", {"version": "kubernaut.ai/plan/v1", "id": "p", "steps": []}),
    ("primary_secondary", {"primary_action": {"action": "x"}, "secondary_actions": [], "confidence": 0.5}),
    ("primary_secondary", {"secondary_actions": "none"}),
    ("multi_stage", {"workflow_id": "w", "primary_action": {"action": "x", "success_criteria": []}}),
    ("multi_stage", {"primary_action": {}, "monitoring_plan": {}, "rollback_plan": {}}),
    ("recommendations", {"recommendations": [{"id": "rec-001", "action": "x", "dependencies": []}]}),
    ("recommendations", {"recommendations": []}),
    ("builder_template", {"workflow_name": "w", "steps": [{"name": "a", "type": "action"}]}),
    ("generated_steps", {"workflow_id": "w", "steps": [{"id": "1", "action": {"type": "kubernetes"}}], "timeouts": {}}),
    ("executable_template", {"steps": [{"id": "1", "type": "loop", "variables": {"loop_type": "for"}}]}),
    ("executable_template", {"steps": [{"id": "1", "action": {}}], "recovery": {"strategies": []}}),
    (
        "holmesgpt_investigation",
        {"investigation_id": "i", "root_cause": "r", "recommendations": [{"title": "t", "action_type": "x"}]},
    ),
    ("structured_actions", {"structured_actions": [{"action_type": "x"}]}),
    ("workflow_execution", {"steps": [{"stepNumber": 1, "action": "scale-deployment"}], "executionStrategy": {}}),
    ("context_decision", {"recommended_actions": [], "conditional_logic": {"root_condition": {}}}),
    ("recovery_answer", {"can_recover": False, "strategies": [], "warnings": []}),
    ("agent_response", {"kaResponse": {"selectedWorkflow": {}}}),
    ("agent_response", {"analysis": {"selectedWorkflow": None}}),
    ("agent_response", {"selectedWorkflow": {"workflowId": "w"}, "confidence": 0.9, "needsHumanReview": False}),
]


@pytest.mark.parametrize(("form", "document"), FORMS)
def test_a_form_is_recognised_by_its_content(form: str, document: dict[str, Any]) -> None:
    assert recognise(document) == form


@pytest.mark.parametrize(
    ("form", "document"), [pair for pair in FORMS if pair[0] not in ("kubernaut", "primary_secondary")]
)
def test_a_form_that_is_not_translated_needs_a_human_and_is_no_fault(form: str, document: dict[str, Any]) -> None:
    result = translate(document)
    assert result.dialect == form
    assert [question.code for question in result.questions] == ["dialect_not_installed"]
    assert result.faults == ()
    assert result.plan is None
    assert {entry.kind for entry in result.provenance} == {"question"}


@pytest.mark.parametrize(
    "document", [{}, {"steps": []}, {"plan": "restart everything"}, [], "restart", 7, None, {"version": 3}]
)
def test_what_is_no_known_form_is_a_fault_that_says_what_is_understood(document: Any) -> None:
    result = translate(document)
    assert result.dialect is None
    (fault,) = result.faults
    assert fault.code == "unknown_dialect"
    assert "primary_action" in fault.remedy
    assert "kubernaut.ai/plan/v1" in fault.remedy


@pytest.mark.parametrize(
    "version", ["kubernaut.ai/plan/v2", "kubernaut/plan/v1", "kubernaut.ai/v1", "Kubernaut.ai/Plan/V1"]
)
def test_a_misspelt_version_is_a_fault_of_our_form_with_the_one_that_was_meant(version: str) -> None:
    result = translate({"version": version, "id": "p", "steps": [{"id": "a", "action": "noop"}]})
    assert result.plan is None
    (fault,) = result.faults
    assert fault.pointer == "/version"
    assert "Did you mean version kubernaut.ai/plan/v1?" in fault.remedy


@pytest.mark.parametrize("version", ["1.0", "v1", "argoproj.io/v1alpha1", "k" * 100_000])
def test_the_version_of_something_else_is_not_taken_for_ours(version: str) -> None:
    assert recognise({"version": version, "steps": []}) is None


def test_answers_of_kubernauts_agent_are_recognised() -> None:
    if not TRANSCRIPTS.is_dir():
        pytest.skip("no transcripts beside the repository")
    documents = [json.loads(path.read_text()) for path in sorted(TRANSCRIPTS.glob("*.json"))]
    assert documents
    assert {recognise(document) for document in documents} == {"agent_response"}
    parts = [document["kaResponse"] for document in documents if document.get("kaResponse")]
    assert {recognise(part) for part in parts} == {"agent_response"}
