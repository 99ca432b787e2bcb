"""Reads a signal: our own form, one Alertmanager alert, or an Alertmanager webhook (version 4) with one alert in it.

Used by `plan.examine`, the CLI (`--signal FILE`) and the REST API. Labels and annotations are foreign text: they are
kept, and only a few labels that name an object are read to find the target, where they name it without a doubt.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue, ValidationError

from kubernaut.cluster.objects import escape
from kubernaut.errors import Fault, InvalidInput
from kubernaut.plan.dialects.native import faults_of
from kubernaut.plan.model import Signal, Target

OBJECT_LABELS: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("deployment",),
    "StatefulSet": ("statefulset",),
    "DaemonSet": ("daemonset",),
    "Pod": ("pod", "pod_name"),
    "Node": ("node",),
    "PersistentVolumeClaim": ("persistentvolumeclaim",),
    "HorizontalPodAutoscaler": ("horizontalpodautoscaler",),
}
"""Labels that name an object, by its kind (kube-state-metrics' names)."""
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")


def parse_signal(document: JsonValue) -> Signal:
    """The signal that `document` holds. Raises `InvalidInput` with every fault."""
    if not isinstance(document, dict):
        raise InvalidInput([_fault("", "signal_form", "a signal is a JSON object", _FORMS)])
    if "alerts" in document:
        return _webhook(document)
    if "labels" in document and "name" not in document:
        return _alert(document, "")
    try:
        signal = Signal.model_validate_json(_json(document))
    except ValidationError as error:
        raise InvalidInput(faults_of(error, document)) from None
    derived = target_of(signal.labels)
    merged = {**derived.model_dump(exclude_none=True), **signal.target.model_dump(exclude_none=True)}
    if signal.target.kind or signal.target.name:
        merged = {"namespace": derived.namespace, **signal.target.model_dump(exclude_none=True)}
        if derived.cluster is not None:
            merged.setdefault("cluster", derived.cluster)
    return signal.model_copy(update={"target": Target.model_validate(merged)})


def target_of(labels: Mapping[str, str]) -> Target:
    """The object that labels name; kind and name stay empty where they name none or several."""
    cluster, namespace = labels.get("cluster"), labels.get("namespace")
    workloads = [kind for kind in _WORKLOADS if name_for(labels, kind)]
    others = [kind for kind in OBJECT_LABELS if kind not in _WORKLOADS and name_for(labels, kind)]
    kind = None
    if len(workloads) == 1:
        kind = workloads[0]
    elif not workloads and others:
        # A pod's alert says on which node it runs; the pod is what it is about.
        kind = "Pod" if others == ["Pod", "Node"] else others[0] if len(others) == 1 else None
    return Target(
        cluster=_short(cluster, 253),
        namespace=None if kind == "Node" else _short(namespace, 63),
        kind=kind,
        name=_short(name_for(labels, kind), 253) if kind else None,
    )


def name_for(labels: Mapping[str, str], kind: str) -> str | None:
    """The name of the one object of `kind` that the labels name; None where there is none or they disagree."""
    names = {labels[label] for label in OBJECT_LABELS.get(kind, ()) if labels.get(label)}
    return names.pop() if len(names) == 1 else None


_FORMS = "Send our own form (name, labels, …), one Alertmanager alert, or an Alertmanager webhook with one alert."


def _webhook(document: dict[str, JsonValue]) -> Signal:
    alerts = document["alerts"]
    if not isinstance(alerts, list) or not alerts:
        raise InvalidInput([_fault("/alerts", "signal_form", "alerts is not a list of alerts", _FORMS)])
    signals = []
    faults: list[Fault] = []
    for index, alert in enumerate(alerts):
        try:
            signals.append(_alert(alert, f"/alerts/{index}"))
        except InvalidInput as error:
            faults.extend(error.faults)
    if faults:
        raise InvalidInput(faults)
    if any(signal != signals[0] for signal in signals[1:]):
        raise InvalidInput(
            [
                _fault(
                    "/alerts",
                    "several_alerts",
                    f"the webhook holds {len(alerts)} different alerts; a plan answers one",
                    "Send the one alert that the plan answers.",
                )
            ]
        )
    return signals[0]


def _alert(alert: JsonValue, pointer: str) -> Signal:
    """One alert of Alertmanager. Its fields beside those read here say how it was delivered."""
    if not isinstance(alert, dict):
        raise InvalidInput([_fault(pointer, "signal_form", "an alert is a JSON object", _FORMS)])
    labels = _texts(alert.get("labels"), f"{pointer}/labels")
    annotations = _texts(alert.get("annotations"), f"{pointer}/annotations")
    name = labels.get("alertname")
    if not name:
        raise InvalidInput(
            [
                _fault(
                    f"{pointer}/labels/alertname", "missing_field", "the alert has no name", "Give the label alertname."
                )
            ]
        )
    fields: dict[str, JsonValue] = {
        "name": name,
        "status": alert.get("status") or "firing",
        "fingerprint": alert.get("fingerprint"),
        "starts_at": alert.get("startsAt"),
        "severity": labels.get("severity"),
        "labels": dict(labels),
        "annotations": dict(annotations),
    }
    if isinstance(fields["status"], dict):  # the form of Alertmanager's API v2
        fields["status"] = "firing" if fields["status"].get("state") in ("active", "unprocessed") else "resolved"
    try:
        signal = Signal.model_validate(fields)
    except ValidationError as error:
        raise InvalidInput([_moved(fault, pointer) for fault in faults_of(error, fields)]) from None
    return signal.model_copy(update={"target": target_of(signal.labels)})


_PLACES = {"/name": "/labels/alertname", "/severity": "/labels/severity", "/starts_at": "/startsAt"}


def _moved(fault: Fault, pointer: str) -> Fault:
    return fault.model_copy(update={"pointer": pointer + _PLACES.get(fault.pointer, fault.pointer)})


def _texts(value: JsonValue, pointer: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput([_fault(pointer, "wrong_type", "an object of strings is expected", _FORMS)])
    wrong = [
        _fault(f"{pointer}/{escape(key)}", "wrong_type", "a string is expected", "Write the value as a string.")
        for key, item in value.items()
        if not isinstance(item, str)
    ]
    if wrong:
        raise InvalidInput(wrong)
    return {key: item for key, item in value.items() if isinstance(item, str)}


def _short(text: str | None, longest: int) -> str | None:
    return text if text and len(text) <= longest else None


def _json(document: JsonValue) -> str:
    import json

    return json.dumps(document)


def _fault(pointer: str, code: str, message: str, remedy: str) -> Fault:
    return Fault(pointer=pointer, code=code, message=message, remedy=remedy)
