"""What the demo sends: an Alertmanager webhook and the answer of an AI, read from files before anything is started.

Called by `run`. The files beside this one are the stored alert and answer; another answer comes with ``--answer``. What
an answer means is decided by the server alone: here it only has to be JSON.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import JsonValue

from kubernaut.errors import InvalidInput
from kubernaut.json_input import read_json
from kubernaut.plan.model import Signal, Target
from kubernaut.plan.signals import parse_signal
from kubernaut.settings import Settings

DATA = Path(__file__).with_name("data")
STORED_ANSWER = DATA / "answer.json"
STORED_ALERT = DATA / "alert.json"
SCENARIO = "crashloop"
CLUSTER = "practice"


class StoryError(ValueError):
    """A file that cannot be sent; the text names it, the place and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """One alert and one answer."""

    alert: Mapping[str, JsonValue]
    """As Alertmanager sends it to a webhook."""
    answer: JsonValue
    answer_file: Path
    signal: Signal
    """The alert as this project reads it; its target is the broken workload."""

    @property
    def target(self) -> Target:
        return self.signal.target

    @property
    def confidence(self) -> str | None:
        """As the answer states it, for people."""
        found = self.answer.get("confidence") if isinstance(self.answer, dict) else None
        return str(found) if isinstance(found, int | float) and not isinstance(found, bool) else None

    @property
    def reason(self) -> str | None:
        """The AI's own words on why, where its form has a place for them."""
        reasoning = self.answer.get("reasoning") if isinstance(self.answer, dict) else None
        found = reasoning.get("primary_reason") if isinstance(reasoning, dict) else None
        return found if isinstance(found, str) else None


def load(answer_file: Path | None, *, now: datetime) -> Story:
    """The stored alert, fired now, with the stored answer or the one in `answer_file`. Raises `StoryError`."""
    chosen = answer_file or STORED_ANSWER
    answer = _read(chosen)
    alert = _read(STORED_ALERT)
    if not isinstance(alert, dict):
        raise StoryError(f"{STORED_ALERT}: an Alertmanager webhook is a JSON object")
    alert = _fired(alert, now)
    try:
        signal = parse_signal(alert)
    except InvalidInput as error:
        raise StoryError(f"{STORED_ALERT}: {error}") from error
    return Story(alert=alert, answer=answer, answer_file=chosen, signal=signal)


def _read(path: Path) -> JsonValue:
    limits = Settings.model_construct()
    try:
        return read_json(path.read_bytes(), max_bytes=limits.max_plan_bytes, max_nesting=limits.max_nesting)
    except OSError as error:
        raise StoryError(f"{path} cannot be read: {error.strerror or error}") from error
    except InvalidInput as error:
        faults = "\n".join(
            f"  {fault.pointer or 'whole file'}: {fault.message} {fault.remedy}" for fault in error.faults
        )
        raise StoryError(f"{path} is not JSON that can be sent:\n{faults}") from error


def _fired(alert: dict[str, JsonValue], now: datetime) -> dict[str, JsonValue]:
    """The webhook with every alert's `startsAt` set: a stored alert would be old."""
    alerts = alert.get("alerts")
    if not isinstance(alerts, list):
        return alert
    moment = now.isoformat(timespec="seconds").replace("+00:00", "Z")
    return {**alert, "alerts": [{**one, "startsAt": moment} if isinstance(one, dict) else one for one in alerts]}
