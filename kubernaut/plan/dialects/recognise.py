"""Which form an answer has, by its content alone.

The order matters: what is most specific is asked first. Recognising says nothing about whether the answer is well
formed: a `primary_action` that is no object is still the form with a primary action, and its faults are that form's.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping

from pydantic import JsonValue

from kubernaut.plan.model import PLAN_VERSION

Document = Mapping[str, JsonValue]

PRIMARY_SECONDARY = "primary_secondary"
KUBERNAUT = "kubernaut"

_MULTI_STAGE_FIELDS = ("workflow_id", "monitoring_plan", "rollback_plan", "context_requirements")
_NEAR = 0.7
_EXECUTABLE_TYPES = ("loop", "wait", "decision", "subflow")


def recognise(document: JsonValue) -> str | None:
    """The name of the form, or None where it is none that is known."""
    if not isinstance(document, dict):
        return None
    return next((name for name, is_it in _FORMS.items() if is_it(document)), None)


def _is_kubernaut(document: Document) -> bool:
    version = document.get("version")
    if not isinstance(version, str):
        return False
    return version.startswith("kubernaut.ai/plan/") or ("steps" in document and _is_misspelt(version))


def _is_misspelt(version: str) -> bool:
    """Whether our version was meant; it is a fault of our form then, and the plan is not run."""
    text = version[: 2 * len(PLAN_VERSION)].lower()
    return difflib.SequenceMatcher(None, text, PLAN_VERSION).ratio() >= _NEAR


def _is_primary_secondary(document: Document) -> bool:
    return "primary_action" in document or "secondary_actions" in document


def _is_multi_stage(document: Document) -> bool:
    primary = document.get("primary_action")
    return _is_primary_secondary(document) and (
        any(field in document for field in _MULTI_STAGE_FIELDS)
        or (isinstance(primary, dict) and "success_criteria" in primary)
    )


def _is_agent_response(document: Document) -> bool:
    if isinstance(document.get("kaResponse"), dict) or "selectedWorkflow" in document:
        return True
    if isinstance(document.get("analysis"), dict):
        return True
    return "needsHumanReview" in document and ("rootCauseAnalysis" in document or "analysis" in document)


def _is_recovery_answer(document: Document) -> bool:
    return "can_recover" in document or ("strategies" in document and "primary_recommendation" in document)


def _is_context_decision(document: Document) -> bool:
    return "recommended_actions" in document or "conditional_logic" in document


def _is_investigation(document: Document) -> bool:
    return "investigation_id" in document or (
        "root_cause" in document and any("action_type" in item for item in _objects(document, "recommendations"))
    )


def _is_recommendations(document: Document) -> bool:
    return "recommendations" in document


def _is_structured_actions(document: Document) -> bool:
    return "structured_actions" in document


def _is_workflow_execution(document: Document) -> bool:
    return any("stepNumber" in step for step in _steps(document)) or "executionStrategy" in document


def _is_executable_template(document: Document) -> bool:
    return "recovery" in document or any(
        step.get("type") in _EXECUTABLE_TYPES or "loop_type" in _keys(step.get("variables"))
        for step in _steps(document)
    )


def _is_builder_template(document: Document) -> bool:
    return "workflow_name" in document or any("on_success" in step for step in _steps(document))


def _is_generated_steps(document: Document) -> bool:
    return "steps" in document and (
        "workflow_id" in document or any(isinstance(step.get("action"), dict) for step in _steps(document))
    )


_FORMS: Mapping[str, Callable[[Document], bool]] = {
    KUBERNAUT: _is_kubernaut,
    "multi_stage": _is_multi_stage,
    PRIMARY_SECONDARY: _is_primary_secondary,
    "agent_response": _is_agent_response,
    "recovery_answer": _is_recovery_answer,
    "context_decision": _is_context_decision,
    "holmesgpt_investigation": _is_investigation,
    "structured_actions": _is_structured_actions,
    "recommendations": _is_recommendations,
    "workflow_execution": _is_workflow_execution,
    "builder_template": lambda document: "steps" in document and _is_builder_template(document),
    "executable_template": lambda document: "steps" in document and _is_executable_template(document),
    "generated_steps": _is_generated_steps,
}
FORMS = tuple(_FORMS)
"""The names of all forms that are recognised."""


def _objects(document: Document, key: str) -> Iterable[dict[str, JsonValue]]:
    value = document.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _steps(document: Document) -> Iterable[dict[str, JsonValue]]:
    return _objects(document, "steps")


def _keys(value: JsonValue) -> Iterable[str]:
    return value if isinstance(value, dict) else ()
