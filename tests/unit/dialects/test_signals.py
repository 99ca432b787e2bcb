"""Signals: our own form and Alertmanager's; the target only where the labels name it without a doubt."""

from __future__ import annotations

from typing import Any

import pytest

from kubernaut.errors import Fault, InvalidInput
from kubernaut.plan.model import Target
from kubernaut.plan.signals import parse_signal


def alert(**labels: str) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "KubePodCrashLooping", "severity": "critical", **labels},
        "annotations": {"summary": "it restarts {{ again }}"},
        "startsAt": "2025-06-01T10:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "5ef77f1f8a3ecfa0",
    }


def webhook(*alerts: Any) -> dict[str, Any]:
    return {"version": "4", "groupKey": "g", "status": "firing", "receiver": "r", "alerts": list(alerts)}


def faults(document: Any) -> list[Fault]:
    with pytest.raises(InvalidInput) as caught:
        parse_signal(document)
    return list(caught.value.faults)


@pytest.mark.parametrize("wrapped", [True, False])
def test_an_alert_is_read_alone_and_in_a_webhook(wrapped: bool) -> None:
    one = alert(namespace="shop", deployment="checkout", cluster="prod")
    signal = parse_signal(webhook(one) if wrapped else one)
    assert (signal.name, signal.severity, signal.status) == ("KubePodCrashLooping", "critical", "firing")
    assert (signal.fingerprint, signal.starts_at) == ("5ef77f1f8a3ecfa0", "2025-06-01T10:00:00Z")
    assert signal.target == Target(cluster="prod", kind="Deployment", namespace="shop", name="checkout")
    assert signal.labels["namespace"] == "shop"
    assert signal.annotations["summary"] == "it restarts {{ again }}"


@pytest.mark.parametrize(
    ("labels", "kind", "name"),
    [
        ({"namespace": "shop", "deployment": "checkout"}, "Deployment", "checkout"),
        ({"namespace": "shop", "statefulset": "orders"}, "StatefulSet", "orders"),
        ({"namespace": "shop", "deployment": "checkout", "pod": "checkout-1"}, "Deployment", "checkout"),
        ({"namespace": "shop", "pod": "checkout-1"}, "Pod", "checkout-1"),
        ({"namespace": "shop", "pod": "checkout-1", "node": "n1"}, "Pod", "checkout-1"),
        ({"node": "n1"}, "Node", "n1"),
        ({"namespace": "shop", "deployment": "checkout", "statefulset": "orders"}, None, None),
        ({"namespace": "shop", "pod": "a", "pod_name": "b"}, None, None),
        ({"namespace": "shop"}, None, None),
        ({"namespace": "shop", "deployment": ""}, None, None),
    ],
)
def test_the_target_is_what_the_labels_name_without_a_doubt(
    labels: dict[str, str], kind: str | None, name: str | None
) -> None:
    target = parse_signal(alert(**labels)).target
    assert (target.kind, target.name) == (kind, name)
    assert target.namespace == (None if kind == "Node" else "shop")


def test_our_own_form_is_read_with_its_target_completed_from_its_labels() -> None:
    signal = parse_signal({"name": "A", "labels": {"namespace": "shop", "deployment": "checkout"}})
    assert signal.target == Target(kind="Deployment", namespace="shop", name="checkout")
    own = parse_signal(
        {"name": "A", "target": {"kind": "Pod", "name": "x"}, "labels": {"namespace": "shop", "deployment": "checkout"}}
    )
    assert own.target == Target(kind="Pod", namespace="shop", name="x")


def test_equal_alerts_of_a_webhook_are_one_and_different_ones_a_fault() -> None:
    one = alert(namespace="shop", deployment="checkout")
    assert parse_signal(webhook(one, dict(one))).target.name == "checkout"
    (fault,) = faults(webhook(one, alert(namespace="shop", deployment="cart")))
    assert (fault.code, fault.pointer) == ("several_alerts", "/alerts")


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ([], ""),
        ("firing", ""),
        (webhook(), "/alerts"),
        ({"alerts": {}}, "/alerts"),
        (webhook("x"), "/alerts/0"),
        (webhook({"labels": {"severity": "x"}}), "/alerts/0/labels/alertname"),
        (webhook({"labels": {"alertname": 7}}), "/alerts/0/labels/alertname"),
        ({"labels": {"alertname": "A", "a/b": 1}}, "/labels/a~1b"),
        ({"labels": {"alertname": "A"}, "startsAt": 7}, "/startsAt"),
        ({"labels": {"alertname": "A" * 300}}, "/labels/alertname"),
        ({"labels": {"alertname": "A"}, "status": "maybe"}, "/status"),
        ({"labels": {"alertname": "A", "long": "x" * 5_000}}, "/labels/long"),
        ({"name": "A", "lables": {}}, "/lables"),
        ({"name": 5}, "/name"),
        ({}, "/name"),
    ],
)
def test_what_is_no_signal_is_a_fault_at_its_place(document: Any, pointer: str) -> None:
    assert pointer in [fault.pointer for fault in faults(document)]
