"""An execution as the REST API tells it: the fields that the demo shows, as models. Nothing here asks or draws.

Called by `watch` and `summary`. Fields that the demo does not show are ignored, so that the API may grow.
"""

from collections.abc import Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue

ENDED = frozenset({"completed", "failed", "cancelled"})
_SAYS_NOTHING = ("", "acted", "done", "goes on", "running", "verifying")
_WAITS: Mapping[str, str] = {
    "success": "only after {} has succeeded",
    "stage": "only after {} or its fallback has succeeded",
    "failure": "only when {} has failed",
    "end": "only after {} has ended",
}
OPEN_STATES = frozenset({"pending", "waiting", "running", "verifying"})


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Reading(Model):
    """One post-condition or success criterion as the engine read it."""

    name: str
    holds: bool | None = None
    observed: str = ""


class Moment(Model):
    """One line of a step's timeline."""

    at: datetime | None = None
    event: str = ""


class WaitsFor(Model):
    """An edge of the graph: the other step's key, and the outcome that is waited for."""

    step: str
    outcome: str


class StepView(Model):
    key: str
    id: str = ""
    name: str = ""
    action: str = ""
    state: str
    reason: str | None = None
    message: str | None = None
    tries: int = 0
    depends_on: tuple[WaitsFor, ...] = ()
    evaluations: tuple[Reading, ...] = ()
    timeline: tuple[Moment, ...] = ()
    started_at: datetime | None = None
    acted_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def title(self) -> str:
        return self.name or self.id or self.key

    @property
    def news(self) -> str:
        """The last thing that it wrote about what it does, beside its message: "replicas 2 → 5"."""
        for event in (moment.event for moment in reversed(self.timeline)):
            if event not in (*_SAYS_NOTHING, self.message) and not event.startswith(("try ", f"{self.state}: ")):
                return event
        return ""

    @property
    def seconds(self) -> float | None:
        """From its slot to its end, proof included."""
        return between(self.started_at, self.ended_at)


class FieldView(Model):
    """One field of a request: what it held, and what it was set to. A field that did not exist has no `before`."""

    pointer: str
    before: JsonValue = None
    after: JsonValue = None


class JournalView(Model):
    step: str = ""
    """The step's key."""
    effect: str = ""
    kind: str | None = None
    namespace: str | None = None
    name: str | None = None
    summary: str = ""
    status: str = ""
    fields: tuple[FieldView, ...] = ()
    undo_of: int | None = None
    undone_by: int | None = None

    @property
    def object(self) -> str:
        place = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.kind or ''} {place}".strip()


class VerdictView(Model):
    outcome: str = ""
    proof: str = ""
    reasons: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    note: str | None = None
    criteria: tuple[Reading, ...] = ()


class UndoView(Model):
    id: str
    phase: str = ""


class Links(Model):
    airflow: str = ""
    """The run in Airflow's own pages."""


class Execution(Model):
    id: str = ""
    kind: str = "plan"
    phase: str
    outcome: str | None = None
    reason: str | None = None
    dag_id: str | None = None
    run_id: str | None = None
    tracking_id: str | None = None
    steps: tuple[StepView, ...] = ()
    journal: tuple[JournalView, ...] = ()
    verdict: VerdictView | None = None
    undos: tuple[UndoView, ...] = ()
    """The executions that take it back, or took it."""
    registration_error: str | None = None
    created_at: datetime | None = None
    registered_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    links: Links = Field(default_factory=Links)

    @property
    def ended(self) -> bool:
        return self.phase in ENDED

    @property
    def changes(self) -> tuple[JournalView, ...]:
        """What it changed in the cluster and what still stands, as far as anybody knows."""
        return tuple(
            row
            for row in self.journal
            if row.effect != "external" and row.status in ("applied", "unknown", "sent") and row.undo_of is None
        )

    def waited_for(self, step: StepView) -> str:
        """Why a step that never got its turn did not, from the plan's own edges; empty where it waits for nothing."""
        titles = {other.key: other.title for other in self.steps}
        return ", ".join(
            _WAITS.get(edge.outcome, "only after {}").format(titles.get(edge.step, edge.step))
            for edge in step.depends_on
        )


def between(start: datetime | None, end: datetime | None) -> float | None:
    """Seconds, where both are known."""
    return (end - start).total_seconds() if start is not None and end is not None else None
