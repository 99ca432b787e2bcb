"""From a request's JSON to an object as the API server would store it: typed, pruned, without empty optional values.

Why it exists: a real server decodes into Go structs. What has no field is dropped (or refused when the client asks for
strictness), a wrong type is an error, and empty optional values vanish. A client that compares what it sent with what
is stored meets all three, so the practice cluster does the same. Called by `api` for every object from outside;
controllers write decoded objects already. It fills in no defaults and judges no values (`defaults`, `validation`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from kubernaut.cluster.practice.resources import Json


class WrongType(ValueError):
    """A value that Go's decoder cannot put into the field; the text is the decoder's."""


@dataclass
class Decoded:
    """The decoded object and the paths of fields that the API does not know."""

    value: Json
    unknown: list[str] = field(default_factory=list)


_TYPES = {"Event": "CoreV1Event"}

# Optional fields that Go keeps by value: their zero is not stored. (Fields kept by pointer, such as `replicas`, are.)
_ZERO_DROPPED: dict[str, frozenset[str]] = {
    "V1DeploymentSpec": frozenset({"minReadySeconds", "paused"}),
    "V1ReplicaSetSpec": frozenset({"minReadySeconds"}),
    "V1DeploymentStatus": frozenset(
        {
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
        }
    ),
    "V1ReplicaSetStatus": frozenset(
        {"observedGeneration", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"}
    ),
    "V1ScaleSpec": frozenset({"replicas"}),
    "V1Container": frozenset({"image", "stdin", "stdinOnce", "tty", "workingDir"}),
    "V1EnvVar": frozenset({"value"}),
    "V1ContainerPort": frozenset({"name", "hostPort", "hostIP"}),
    "V1VolumeMount": frozenset({"readOnly", "subPath", "subPathExpr"}),
    "V1Probe": frozenset(
        {"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"}
    ),
    "V1PodSpec": frozenset(
        {
            "hostNetwork",
            "hostPID",
            "hostIPC",
            "nodeName",
            "hostname",
            "subdomain",
            "priorityClassName",
            "serviceAccountName",
            "schedulerName",
        }
    ),
    "V1ObjectMeta": frozenset(
        {"generateName", "namespace", "resourceVersion", "uid", "generation", "selfLink", "name"}
    ),
    "V1LabelSelectorRequirement": frozenset(),
}

_INT64 = {
    "observedGeneration",
    "generation",
    "terminationGracePeriodSeconds",
    "deletionGracePeriodSeconds",
    "gracePeriodSeconds",
    "activeDeadlineSeconds",
    "tolerationSeconds",
    "runAsUser",
    "runAsGroup",
    "fsGroup",
    "supplementalGroups",
    "expirationSeconds",
}
_NUMBERS_ALLOWED = {"limits", "requests", "capacity"}


@cache
def schema() -> dict[str, dict[str, str]]:
    text = files("kubernaut.cluster.practice").joinpath("schema.json").read_text()
    types: dict[str, dict[str, str]] = json.loads(text)
    return types


def decode(kind: str, body: Json) -> Decoded:
    """`kind` is a Kubernetes kind (`Deployment`). Raises `WrongType`."""
    decoded = Decoded({})
    decoded.value = _object(_TYPES.get(kind, f"V1{kind}"), body, "", decoded.unknown)
    return decoded


def _object(type_name: str, value: Json, path: str, unknown: list[str]) -> Json:
    fields = schema()[type_name]
    zero_dropped = _ZERO_DROPPED.get(type_name, frozenset())
    result: Json = {}
    for key, item in value.items():
        where = f"{path}.{key}" if path else key
        if key not in fields:
            unknown.append(where)
        elif item is not None and not (key in zero_dropped and item in ("", 0, False)):
            decoded = _value(fields[key], item, where, type_name, unknown)
            if decoded not in ([], None) and not (decoded == {} and fields[key].startswith("dict")):
                result[key] = decoded
    return result


def _value(kind: str, value: Any, path: str, owner: str, unknown: list[str]) -> Any:
    if kind == "object":
        return value
    if kind.startswith("list["):
        return _list(kind[5:-1], value, path, owner, unknown)
    if kind.startswith("dict["):
        return _map(kind.split(", ", 1)[1][:-1], value, path, owner, unknown)
    if kind in _SCALARS:
        if not _SCALARS[kind](value) or (kind == "int" and not _fits(value, path)):
            raise _wrong_type(value, path, owner, kind)
        return value
    if not isinstance(value, dict):
        raise _wrong_type(value, path, owner, kind)
    return _object(kind, value, path, unknown)


def _int_type(path: str) -> str:
    return "int64" if path.rsplit(".", 1)[-1].split("[")[0] in _INT64 else "int32"


def _fits(value: int, path: str) -> bool:
    bits = 63 if _int_type(path) == "int64" else 31
    return -(1 << bits) <= value < 1 << bits


def _list(kind: str, value: Any, path: str, owner: str, unknown: list[str]) -> Any:
    if not isinstance(value, list):
        raise _wrong_type(value, path, owner, f"[]{kind}")
    return [
        _value(kind, item, f"{path}[{index}]", owner, unknown) for index, item in enumerate(value) if item is not None
    ]


def _map(kind: str, value: Any, path: str, owner: str, unknown: list[str]) -> Any:
    if not isinstance(value, dict):
        raise _wrong_type(value, path, owner, "map")
    result = {}
    for key, item in value.items():
        if path.rsplit(".", 1)[-1] in _NUMBERS_ALLOWED and isinstance(item, (int, float)):
            item = str(item)
        result[key] = "" if item is None else _value(kind, item, f"{path}.{key}", owner, unknown)
    return result


_SCALARS = {
    "str": lambda value: isinstance(value, str),
    "datetime": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
}

_JSON_NAMES = {str: "string", bool: "bool", int: "number", float: "number", list: "array", dict: "object"}
_GO_NAMES = {"str": "string", "datetime": "string", "map": "map[string]string", "float": "float64"}


def _wrong_type(value: Any, path: str, owner: str, kind: str) -> WrongType:
    found = _JSON_NAMES.get(type(value), type(value).__name__)
    if found == "number":
        found = f"number {value}" if isinstance(value, float) or kind == "int" else "number"
    wanted = _int_type(path) if kind == "int" else _GO_NAMES.get(kind, kind.replace("V1", "v1.", 1))
    struct = owner.replace("CoreV1", "").replace("V1", "", 1)
    return WrongType(f"json: cannot unmarshal {found} into Go struct field {struct}.{path} of type {wanted}")
