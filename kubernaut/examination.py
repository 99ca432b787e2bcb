"""What an answer of an AI amounts to, before anything is registered or changed: the result of parse → translate →
validate → normalise → compile.

Pure data. `kubernaut.plan.examine` computes it; the CLI prints it, the REST API serves it, `accept` starts what it holds.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from kubernaut.errors import Fault
from kubernaut.plan.model import EdgeOutcome, Plan
from kubernaut.workflow.model import Bindings, Workflow, plan_hash


class Outcome(StrEnum):
    RUNNABLE = "runnable"
    INVALID = "invalid"
    HUMAN = "human"


class HumanReason(BaseModel):
    """Why a human must look (`human`) or approve (`approval`) before this may run."""

    model_config = ConfigDict(frozen=True)

    code: str
    """E.g. `action_not_installed`, `dialect_not_installed`, `low_confidence`, `policy_human`, `question`."""
    message: str
    pointer: str = ""


UNANSWERABLE = frozenset({"action_not_installed", "dialect_not_installed"})
"""Reasons that no approval answers: there is nothing that could run."""


class ResolvedTarget(BaseModel):
    model_config = ConfigDict(frozen=True)

    cluster: str | None = None
    kind: str | None = None
    namespace: str | None = None
    name: str | None = None


class ExaminedDependency(BaseModel):
    """What a step waits for: another step of the plan, by the AI's id, and its outcome."""

    model_config = ConfigDict(frozen=True)

    id: str
    outcome: EdgeOutcome


class ExaminedStep(BaseModel):
    """One step as `plan validate --json` prints it. `id` is the AI's."""

    model_config = ConfigDict(frozen=True)

    id: str
    action: str
    target: ResolvedTarget
    depends_on: tuple[ExaminedDependency, ...] = ()
    condition: str | None = None


class ProvenanceEntry(BaseModel):
    """Where one leaf of the AI's JSON went. `kind`: field, note, question, fault."""

    model_config = ConfigDict(frozen=True)

    pointer: str
    kind: str
    destination: str
    """For a field: a JSON pointer into the plan; for the others: the text or code."""


class Examination(BaseModel):
    """The whole result. `plan` is None where there was no plan to build; `workflow` and `bindings` where it cannot run."""

    model_config = ConfigDict(frozen=True)

    outcome: Outcome
    dialect: str | None
    confidence: float | None
    approval_required: bool
    approval_reasons: tuple[HumanReason, ...] = ()
    human_reasons: tuple[HumanReason, ...] = ()
    steps: tuple[ExaminedStep, ...] = ()
    unchecked: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    provenance: tuple[ProvenanceEntry, ...] = ()
    plan: Plan | None = None
    workflow: Workflow | None = None
    bindings: Bindings | None = None
    pointers: dict[str, str] = Field(default_factory=dict)
    """Step id → pointer of that step in the input, for what is found out about it later (`plan.live`)."""

    @property
    def hash(self) -> str | None:
        """What an approval is bound to; None where there is nothing to run."""
        if self.workflow is None or self.bindings is None:
            return None
        return plan_hash(self.workflow, self.bindings)

    def public(self) -> dict[str, object]:
        """The document of `plan validate --json` and `POST /plans/validate`."""
        return {
            **self.model_dump(
                mode="json",
                include={
                    "outcome",
                    "dialect",
                    "confidence",
                    "approval_required",
                    "human_reasons",
                    "steps",
                    "unchecked",
                    "faults",
                },
            ),
            "approval_reasons": [reason.model_dump(mode="json") for reason in self.approval_reasons],
            "warnings": list(self.warnings),
            "hash": self.hash,
            "dag_id": self.workflow.dag_id if self.workflow else None,
        }
