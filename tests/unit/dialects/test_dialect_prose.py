"""Conditions in an AI's words: what they mean, in base units; and what is not understood."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kubernaut.expressions import Context, ResultType, Scope, check, evaluate_here
from kubernaut.plan.dialects import prose
from kubernaut.plan.model import MetricCondition, NamedCondition, ObjectCondition, Target

CHECKOUT = Target(cluster="prod", kind="Deployment", namespace="shop", name="checkout")


@pytest.mark.parametrize(
    ("text", "metric", "sign", "value", "unit"),
    [
        ("error_rate > 5%", "error_rate", ">", 0.05, "ratio"),
        ("error_rate > 0.05", "error_rate", ">", 0.05, "ratio"),
        ("error_rate>0.1%", "error_rate", ">", 0.001, "ratio"),
        ("avg_response_time < 200ms", "avg_response_time", "<", 0.2, "seconds"),
        ("response_time_p95 < 200 ms", "response_time_p95", "<", 0.2, "seconds"),
        ("memory_utilization < 85%", "memory_utilization", "<", 0.85, "ratio"),
        ("memory_utilization < 0.85", "memory_utilization", "<", 0.85, "ratio"),
        ("disk_io_wait < 10%", "disk_io_wait", "<", 0.1, "ratio"),
        ("service_availability >= 0.999", "service_availability", ">=", 0.999, "ratio"),
        ("service_availability ≥ 99.9%", "service_availability", ">=", 0.999, "ratio"),
        ("duration > 5m", "duration", ">", 300, "seconds"),
        ("crash_interval < 300s", "crash_interval", "<", 300, "seconds"),
        ("uptime > 2 hours", "uptime", ">", 7_200, "seconds"),
        ("memory_usage < 512Mi", "memory_usage", "<", 536_870_912, "bytes"),
        ("heap < 1.5GiB", "heap", "<", 1_610_612_736, "bytes"),
        ("disk_used < 20GB", "disk_used", "<", 20_000_000_000, "bytes"),
        ("cpu_usage < 500m", "cpu_usage", "<", 0.5, "number"),
        ("restart_count == 0", "restart_count", "==", 0, "count"),
        ("restart_count = 0", "restart_count", "==", 0, "count"),
        ("queue_length <= 100", "queue_length", "<=", 100, "number"),
        ("queue_length != -1", "queue_length", "!=", -1, "number"),
        ("memory_below_80_percent", "memory", "<", 0.8, "ratio"),
        ("cpu_usage_above_90_percent", "cpu_usage", ">", 0.9, "ratio"),
        ("metrics_normalized", "metrics_normalized", "==", 1, "number"),
    ],
)
def test_a_figure_becomes_a_metric_in_its_base_unit(text: str, metric: str, sign: str, value: float, unit: str) -> None:
    assert prose.read(text, CHECKOUT) == MetricCondition(metric=metric, comparison=sign, value=value, unit=unit)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("pod_running", "pods_running"),
        ("pod_status == Running", "pods_running"),
        ("no_crash_loops", "no_crash_loops"),
        ("deployment_ready", "workload_available"),
        ("service_restored", "workload_available"),
        ("rollout_complete", "rollout_complete"),
    ],
)
def test_a_word_for_a_state_becomes_a_named_check_of_the_target(text: str, name: str) -> None:
    assert prose.read(text, CHECKOUT) == NamedCondition(check=name, target=CHECKOUT)


def deployment(**status: int) -> dict[str, object]:
    return {"spec": {"replicas": 3}, "status": status}


@pytest.mark.parametrize(
    ("text", "object", "holds"),
    [
        ("pod_ready_count >= 3", deployment(readyReplicas=3), True),
        ("pod_ready_count >= 3", deployment(readyReplicas=2), False),
        ("pod_ready_count >= 1", deployment(), False),
        ("pod_ready_count == 0", deployment(), True),
        ("pod_ready_count < 1", {"spec": {"replicas": 3}}, True),
        ("ready_replicas >= 1", None, False),
        ("available_replicas > 1", deployment(availableReplicas=2), True),
        ("replicas >= 3", deployment(), True),
        ("service_unavailable", deployment(availableReplicas=1), False),
        ("service_unavailable", deployment(), True),
        ("service_unavailable", None, True),
    ],
)
def test_a_figure_that_the_cluster_knows_is_read_from_the_target(
    text: str, object: dict[str, object] | None, holds: bool
) -> None:
    condition = prose.read(text, CHECKOUT)
    assert isinstance(condition, ObjectCondition)
    assert condition.target == CHECKOUT
    faults = check(condition.expression, scope=Scope.OBJECT, wants=ResultType.BOOL, step_ids=(), variables=())
    context = Context(signal={}, target={}, variables={}, steps={}, now=datetime(2025, 6, 1, tzinfo=UTC), object=object)
    found = evaluate_here(condition.expression, context, scope=Scope.OBJECT, wants=ResultType.BOOL)
    assert (faults, found.error, found.value) == ([], None, holds)


@pytest.mark.parametrize(
    "text",
    [
        "cpu_usage > 80% AND memory_usage > 70%",
        "error_rate > 5% or latency > 1s",
        "current_time BETWEEN '02:00' AND '04:00'",
        "day_of_week IN ('Saturday','Sunday')",
        "all customers are happy",
        "everything_is_fine",
        "error_rate",
        "> 5%",
        "error_rate > five",
        "error_rate > 5 parsecs",
        "error_rate >> 5%",
        "memory_utilization < 85",
        "pod_ready_count >= 2.5",
        "pod_ready_count >= 50%",
        "pod_status == Pending",
        "error_rate > 5% for 10m",
        "",
        "x" * 600,
        "9" * 100_000,
    ],
)
def test_anything_else_is_not_understood_and_says_why(text: str) -> None:
    reading = prose.read(text, CHECKOUT)
    assert isinstance(reading, prose.NotUnderstood)
    assert reading.reason


@pytest.mark.parametrize("text", ["pod_running", "pod_ready_count >= 3", "service_unavailable"])
def test_a_state_without_an_object_needs_one(text: str) -> None:
    assert prose.read(text, None) == prose.NeedsTarget()


@pytest.mark.parametrize("text", ["deployment_ready", "pod_ready_count >= 3"])
def test_a_state_that_the_target_cannot_have_is_not_understood(text: str) -> None:
    node = Target(cluster="prod", kind="Node", name="n1")
    assert isinstance(prose.read(text, node), prose.NotUnderstood)
