"""Conditions in an AI's words: `error_rate > 5%`, `pod_ready_count >= 3`, `pod_running`, `memory_below_80_percent`.

Used for success criteria and rollback triggers of every dialect. The grammar is one comparison, `name operator number
unit`, or one bare word of a fixed list; all else (AND and OR, times, sentences) is not understood, and a human is
asked. Ratios become 0..1, durations seconds, sizes bytes. Figures that the cluster itself knows become checks of an
object; all others become metrics, which are listed as unchecked until something reads them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from kubernaut.plan.model import (
    Check,
    Comparison,
    MetricCondition,
    NamedCondition,
    ObjectCondition,
    Target,
)
from kubernaut.postconditions import registry

Unit = Literal["ratio", "seconds", "bytes", "count", "number"]


@dataclass(frozen=True)
class NotUnderstood:
    """Why a text is no condition that this grammar knows."""

    reason: str


@dataclass(frozen=True)
class NeedsTarget:
    """The condition is about an object, and the plan does not say which one."""


Reading = Check | NotUnderstood | NeedsTarget

_COMPARISON = re.compile(
    r"(?P<name>[A-Za-z][A-Za-z0-9_.:\-/]{0,200})\s*(?P<sign><=|>=|==|!=|<|>|=|≤|≥)\s*"
    r"(?P<number>[+-]?\d{1,18}(?:\.\d{1,18})?)\s*(?P<unit>%|[A-Za-zµ]{1,12})?"
)
_STATE = re.compile(r"(?P<name>[a-z][a-z0-9_.]{0,60})\s*==?\s*['\"]?(?P<state>[A-Za-z]{1,40})['\"]?")
_PERCENT_WORD = re.compile(
    r"(?P<name>[a-z][a-z0-9_]{0,60}?)_(?P<side>below|under|above|over)_(?P<number>\d{1,3})_percent"
)
_COMBINED = re.compile(r"\b(AND|OR|NOT|BETWEEN|IN)\b|&&", re.IGNORECASE)

_SIGNS: Mapping[str, Comparison] = {"=": Comparison.EQ, "≤": Comparison.LE, "≥": Comparison.GE} | {
    comparison.value: comparison for comparison in Comparison
}
_TIME_UNITS: Mapping[str, float] = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "minutes": 60.0,
    "h": 3_600.0,
    "hour": 3_600.0,
    "hours": 3_600.0,
    "d": 86_400.0,
    "day": 86_400.0,
    "days": 86_400.0,
}
_SIZE_UNITS: Mapping[str, float] = {
    "B": 1.0,
    "k": 1e3,
    "K": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "KB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "TB": 1e12,
} | {
    f"{prefix}{suffix}": float(1024**power)
    for power, prefix in enumerate(("Ki", "Mi", "Gi", "Ti"), start=1)
    for suffix in ("", "B")
}
_RATIO_NAMES = re.compile(r"(utili[sz]ation|availability|ratio|error_rate|failure_rate|success_rate|_usage)(_\w+)?$")

# Figures in a workload's status that Kubernetes leaves out where they are 0.
_STATUS_FIGURES: Mapping[str, str] = dict.fromkeys(
    (
        "pod_ready_count",
        "pods_ready_count",
        "ready_pod_count",
        "ready_pods",
        "pods_ready",
        "ready_replicas",
        "readyReplicas",
        "pods.ready_count",
        "deployment.ready_replicas",
    ),
    "readyReplicas",
) | dict.fromkeys(
    ("available_replicas", "availableReplicas", "available_pods", "deployment.available_replicas"), "availableReplicas"
)
_SCALED = ("Deployment", "StatefulSet")
_DESIRED = ("replicas", "replica_count", "desired_replicas", "deployment.replicas")

_NAMED_WORDS: Mapping[str, str] = (
    dict.fromkeys(
        ("pod_running", "pods_running", "all_pods_running", "pod_status_running", "pods_healthy"), "pods_running"
    )
    | dict.fromkeys(
        ("no_crash_loops", "no_crash_loop", "no_crashloops", "no_crashloopbackoff", "crash_loop_resolved"),
        "no_crash_loops",
    )
    | dict.fromkeys(
        (
            "deployment_ready",
            "deployment_available",
            "deployment_healthy",
            "workload_available",
            "workload_ready",
            "service_restored",
            "service_available",
            "pods_ready",
            "all_pods_ready",
            "replicas_available",
        ),
        "workload_available",
    )
    | dict.fromkeys(
        ("rollout_complete", "rollout_completed", "rollout_successful", "deployment_complete", "rollback_complete"),
        "rollout_complete",
    )
)
# States that a metric would show; which one, the AI does not say. Nothing reads them yet.
_METRIC_WORDS = frozenset({"metrics_normalized", "alert_resolved", "alert_cleared"})


def read(text: str, target: Target | None) -> Reading:
    """The check that `text` states about `target` (an object with kind, namespace and name, or None)."""
    words = text.strip()
    if len(words) > 500:
        return NotUnderstood("it is longer than 500 characters")
    if _COMBINED.search(words):
        return NotUnderstood("it combines several conditions")
    for attempt in (_bare_word, _percent_word, _comparison, _state):
        reading = attempt(words, target)
        if reading is not None:
            return reading
    return NotUnderstood("it is neither `name operator number unit` nor a word that names a known state")


def _of_workload(target: Target | None, expression: str) -> Reading:
    if target is None:
        return NeedsTarget()
    if target.kind not in _SCALED:
        return NotUnderstood(f"a {target.kind} has no replicas")
    return ObjectCondition(target=target, expression=expression)


def _named(check: str, target: Target | None) -> Reading:
    if target is None:
        return NeedsTarget()
    known = registry.find(check)
    if known is None or target.kind not in known.target_kinds:
        return NotUnderstood(f"it cannot be read of a {target.kind}")
    return NamedCondition(check=check, version=known.version, target=target)


def _bare_word(words: str, target: Target | None) -> Reading | None:
    check = _NAMED_WORDS.get(words)
    if check is not None:
        return _named(check, target)
    if words == "service_unavailable":
        return _of_workload(target, f"object == null || {_status('availableReplicas')} < 1")
    if words in _METRIC_WORDS:
        return MetricCondition(metric=words, comparison=Comparison.EQ, value=1.0)
    return None


def _percent_word(words: str, target: Target | None) -> Reading | None:
    match = _PERCENT_WORD.fullmatch(words)
    if match is None:
        return None
    sign = Comparison.LT if match["side"] in ("below", "under") else Comparison.GT
    return MetricCondition(metric=match["name"], comparison=sign, value=int(match["number"]) / 100, unit="ratio")


def _state(words: str, target: Target | None) -> Reading | None:
    match = _STATE.fullmatch(words)
    if match is None:
        return None
    if match["name"] in ("pod_status", "pod.status", "pods_status", "pod_phase") and match["state"] == "Running":
        return _named("pods_running", target)
    return NotUnderstood(f"the state {match['state']!r} of {match['name']!r} is not one that can be read")


def _comparison(words: str, target: Target | None) -> Reading | None:
    match = _COMPARISON.fullmatch(words)
    if match is None:
        return None
    name, sign, unit = match["name"], _SIGNS[match["sign"]], match["unit"] or ""
    number = float(match["number"])
    if name in _STATUS_FIGURES or name in _DESIRED:
        return _replica_comparison(name, sign, number, unit, target)
    return _metric(name, sign, number, unit)


def _status(figure: str) -> str:
    return f"(has(object.status) && has(object.status.{figure}) ? object.status.{figure} : 0)"


def _replica_comparison(name: str, sign: Comparison, number: float, unit: str, target: Target | None) -> Reading:
    if unit or not number.is_integer() or number < 0:
        return NotUnderstood(f"{name} is a whole number without a unit")
    figure = "object.spec.replicas" if name in _DESIRED else _status(_STATUS_FIGURES[name])
    expression = f"object != null && {figure} {sign.value} {int(number)}"
    return _of_workload(target, expression)


def _metric(name: str, sign: Comparison, number: float, unit: str) -> Reading:
    scaled = _scale(name, number, unit)
    if scaled is None:
        return NotUnderstood(f"the unit {unit!r} is not known")
    value, base = scaled
    if not unit and _RATIO_NAMES.search(name):
        if not 0 <= number <= 1:
            return NotUnderstood(f"{name} needs a unit: {number:g} may be a percentage or a number")
        base = "ratio"
    return MetricCondition(metric=name, comparison=sign, value=value, unit=base)


def _scale(name: str, number: float, unit: str) -> tuple[float, Unit] | None:
    """The value in its base unit, rounded to what the text said (5 % is 0.05, not 0.05000000000000001)."""
    if not unit:
        return number, "count" if name.endswith(("_count", "_restarts", "restarts")) else "number"
    if unit == "%":
        return _exact(number, 0.01), "ratio"
    if unit == "m" and "cpu" in name:
        return _exact(number, 1e-3), "number"
    if unit in _TIME_UNITS:
        return _exact(number, _TIME_UNITS[unit]), "seconds"
    if unit in _SIZE_UNITS:
        return _exact(number, _SIZE_UNITS[unit]), "bytes"
    return None


def _exact(number: float, factor: float) -> float:
    product = number * factor
    digits = 15 - math.ceil(math.log10(abs(product))) if product else 0
    return round(product, min(max(digits, 0), 20))
