"""Parameters and targets: other names, numbers in strings, what the signal gives, and what is never guessed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubernaut.plan.dialects import Translation
from kubernaut.plan.model import Signal, Step, Target

Build = Callable[..., dict[str, Any]]
Run = Callable[..., Translation]

HERE = "/primary_action/parameters"
SHOP = {"namespace": "shop", "deployment": "checkout"}


def only_step(result: Translation) -> Step:
    assert result.faults == ()
    assert result.plan is not None
    return result.plan.steps[0]


def codes(result: Translation) -> list[tuple[str, str]]:
    return [(fault.code, fault.pointer) for fault in result.faults]


@pytest.mark.parametrize(
    "key", ["replicas", "targetReplicas", "target_replicas", "desired_replicas", "desiredReplicas", "replica_count"]
)
@pytest.mark.parametrize("value", [5, "5", 5.0])
def test_a_number_of_replicas_has_many_names_and_may_be_text(
    key: str, value: Any, small: Build, translated: Run
) -> None:
    step = only_step(translated(small("scale_deployment", SHOP | {key: value})))
    assert step.params == {"replicas": 5}
    assert isinstance(step.params["replicas"], int)


@pytest.mark.parametrize("value", ["five", "5x", " 5", "0x5", "5.5", "", 5.5, True, None, [5], "1e3", "٥"])
def test_what_is_no_whole_number_is_a_fault(value: Any, small: Build, translated: Run) -> None:
    result = translated(small("scale_deployment", SHOP | {"replicas": value}))
    wanted = "param_missing" if value is None else "param_invalid"
    place = HERE if value is None else f"{HERE}/replicas"
    assert codes(result) == [(wanted, place)]


def test_a_missing_quantity_is_never_guessed(small: Build, translated: Run, signal: Signal) -> None:
    for action in ("scale_up", "scale_out", "scale_deployment"):
        assert codes(translated(small(action, SHOP), signal)) == [("param_missing", HERE)]


def test_two_names_with_one_value_are_fine(small: Build, translated: Run) -> None:
    given = SHOP | {"resource_name": "checkout", "replicas": "3", "targetReplicas": 3}
    step = only_step(translated(small("scale_deployment", given)))
    assert step.params == {"replicas": 3}
    assert step.target == Target(cluster="prod", kind="Deployment", namespace="shop", name="checkout")


@pytest.mark.parametrize(
    ("action", "extra", "names"),
    [
        ("scale_deployment", {"replicas": 3, "targetReplicas": 4}, ("replicas", "targetReplicas")),
        ("scale_deployment", {"replicas": 3, "deployment_name": "cart"}, ("deployment", "deployment_name")),
        ("scale_deployment", {"replicas": 3, "name": "cart"}, ("deployment", "name")),
        ("scale_deployment", {"replicas": 3, "ns": "other"}, ("namespace", "ns")),
        ("scale_deployment", {"replicas": 3, "resource_type": "statefulset"}, ("resource_type",)),
        ("increase_memory", {"memory": "1Gi", "memory_limit": "2Gi"}, ("memory", "memory_limit")),
    ],
)
def test_two_names_with_different_values_are_a_fault_that_names_both(
    action: str, extra: dict[str, Any], names: tuple[str, ...], small: Build, translated: Run
) -> None:
    result = translated(small(action, SHOP | extra))
    conflicts = [fault for fault in result.faults if fault.code == "conflicting_aliases"]
    assert {fault.pointer for fault in conflicts} == {f"{HERE}/{name}" for name in names}
    assert all(name in conflicts[0].message for name in names)
    assert {fault.code for fault in result.faults} == {"conflicting_aliases"}


@pytest.mark.parametrize(("key", "near"), [("replcas", "replicas"), ("deploymnt", "deployment")])
def test_an_unknown_parameter_is_a_fault_with_what_was_meant(
    key: str, near: str, small: Build, translated: Run
) -> None:
    (fault,) = translated(small("scale_deployment", SHOP | {"replicas": 3, key: "x"})).faults
    assert (fault.code, fault.pointer) == ("param_unknown", f"{HERE}/{key}")
    assert f"'{near}'" in fault.remedy


@pytest.mark.parametrize(("value", "kept"), [("previous", "previous"), (4, 4), ("4", 4)])
def test_a_revision_is_a_number_or_previous(value: Any, kept: Any, small: Build, translated: Run) -> None:
    assert only_step(translated(small("rollback_deployment", SHOP | {"revision": value}))).params == {"revision": kept}


@pytest.mark.parametrize("value", ["last", 0, "0", -1])
def test_another_revision_is_a_fault(value: Any, small: Build, translated: Run) -> None:
    result = translated(small("rollback_deployment", SHOP | {"revision": value}))
    assert codes(result) == [("param_invalid", f"{HERE}/revision")]


def test_a_reason_is_a_note(small: Build, translated: Run) -> None:
    result = translated(small("restart_deployment", SHOP | {"reason": "memory leak"}))
    assert only_step(result).params == {}
    assert ("note", f"{HERE}/reason") in [(entry.kind, entry.pointer) for entry in result.provenance]


# --- targets


@pytest.mark.parametrize("key", ["deployment", "deployment_name", "deploymentName", "resource_name", "name"])
def test_a_deployment_has_many_names(key: str, small: Build, translated: Run) -> None:
    step = only_step(translated(small("restart_deployment", {"ns": "shop", key: "checkout"})))
    assert step.target == Target(cluster="prod", kind="Deployment", namespace="shop", name="checkout")


@pytest.mark.parametrize(
    ("action", "given", "kind"),
    [
        ("scale_statefulset", {"name": "orders"}, "StatefulSet"),
        ("scale_up", {"statefulset": "orders"}, "StatefulSet"),
        ("scale_up", {"resource_type": "statefulsets", "resource_name": "orders"}, "StatefulSet"),
        ("scale_up", {"name": "orders"}, "Deployment"),
        ("ScaleReplicas", {"deploymentName": "orders"}, "Deployment"),
    ],
)
def test_the_kind_comes_from_the_action_or_from_the_parameters(
    action: str, given: dict[str, Any], kind: str, small: Build, translated: Run
) -> None:
    step = only_step(translated(small(action, {"namespace": "shop", "replicas": 2, **given})))
    assert step.target == Target(cluster="prod", kind=kind, namespace="shop", name="orders")


def test_what_is_missing_comes_from_the_signal(small: Build, translated: Run, signal: Signal) -> None:
    step = only_step(translated(small("scale_deployment", {"replicas": 3}), signal))
    assert step.target == Target(cluster="prod", kind="Deployment", namespace="shop", name="checkout")


def test_what_the_answer_says_comes_before_the_signal(small: Build, translated: Run, signal: Signal) -> None:
    given = {"namespace": "other", "deployment": "cart", "cluster": "staging"}
    step = only_step(translated(small("restart_deployment", given), signal))
    assert step.target == Target(cluster="staging", kind="Deployment", namespace="other", name="cart")


def test_the_signals_kind_counts_where_it_is_about_the_same_object(small: Build, translated: Run) -> None:
    about = Target(kind="StatefulSet", namespace="shop", name="orders")
    signal = Signal(name="A", labels={"namespace": "shop", "statefulset": "orders"}, target=about)
    step = only_step(translated(small("scale_up", {"replicas": 2, "name": "orders"}), signal))
    assert step.target is not None
    assert step.target.kind == "StatefulSet"


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "name and namespace"),
        ({"deployment": "checkout"}, "namespace"),
        ({"namespace": "shop"}, "name"),
    ],
)
def test_a_target_that_nothing_names_is_a_fault(
    given: dict[str, Any], missing: str, small: Build, translated: Run
) -> None:
    (fault,) = translated(small("restart_deployment", given)).faults
    assert fault.code == "missing_target"
    assert f"{missing} missing" in fault.message
    assert "deployment" in fault.remedy


def test_a_pod_of_the_signal_is_never_read_as_its_deployment(small: Build, translated: Run) -> None:
    about = Target(kind="Pod", namespace="shop", name="checkout-7d9f-x2x")
    signal = Signal(name="A", labels={"namespace": "shop", "pod": "checkout-7d9f-x2x"}, target=about)
    (fault,) = translated(small("rollback_deployment", {}), signal).faults
    assert fault.code == "missing_target"


@pytest.mark.parametrize(
    ("action", "given", "ours"),
    [
        ("restart_pod", {"namespace": "shop", "pod": "checkout-7d9f-x2x"}, "kubernetes.delete_pod"),
        ("RestartPod", {"namespace": "shop", "podName": "a", "deployment": "checkout"}, "kubernetes.delete_pod"),
        ("restart_pod", {"namespace": "shop", "name": "checkout-7d9f-x2x"}, "kubernetes.delete_pod"),
        ("restart_pod", {"namespace": "shop", "deployment": "checkout"}, "kubernetes.rollout_restart"),
        (
            "restart_pod",
            {"namespace": "shop", "resource_type": "deployment", "name": "x"},
            "kubernetes.rollout_restart",
        ),
        ("restart_pods", {"namespace": "shop", "deployment": "checkout"}, "kubernetes.rollout_restart"),
        ("rolling_restart_pods", {"namespace": "shop", "name": "checkout"}, "kubernetes.rollout_restart"),
        ("restart_pods", {"namespace": "shop", "pod_name": "checkout-7d9f-x2x"}, "kubernetes.delete_pod"),
    ],
)
def test_restarting_one_pod_is_not_restarting_its_workload(
    action: str, given: dict[str, Any], ours: str, small: Build, translated: Run
) -> None:
    assert only_step(translated(small(action, given))).action == ours


def test_the_name_of_a_service_is_no_name_of_a_deployment(small: Build, translated: Run) -> None:
    for given in ({"namespace": "shop", "name": "checkout"}, {"namespace": "shop", "service": "checkout"}):
        result = translated(small("restart_service", given))
        assert result.faults != ()


@pytest.mark.parametrize("value", [7, ["checkout"], {"a": 1}, "", "x" * 300])
def test_a_name_that_cannot_be_one_is_a_fault(value: Any, small: Build, translated: Run) -> None:
    result = translated(small("restart_deployment", {"namespace": "shop", "deployment": value}))
    assert len(result.faults) == 1
    assert result.faults[0].pointer.startswith(f"{HERE}/deployment")


def test_an_unknown_kind_is_a_fault(small: Build, translated: Run) -> None:
    given = {"namespace": "shop", "resource_type": "spaceship", "name": "x", "replicas": 2}
    assert codes(translated(small("scale_up", given))) == [("unknown_kind", f"{HERE}/resource_type")]


def test_a_check_may_hold_the_operators_of_its_language(small: Build, translated: Run) -> None:
    given = SHOP | {"expression": "object.spec.replicas > 1 || object.spec.paused"}
    assert only_step(translated(small("monitoring.check", given | {"kind": "Deployment"}))).params == {
        "expression": given["expression"]
    }
