"""What Kubernetes refuses in an object, with its texts: each check collects `FieldError`s, none stops at the first.

Why it exists: a remediation that a real cluster would refuse must be refused here too. Pure functions over defaulted
objects, called by `api`. It covers the kinds and fields that our actions and scenarios write, not all of Kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from kubernaut.cluster.practice.errors import FieldError
from kubernaut.cluster.practice.quantities import parse_quantity, scaled
from kubernaut.cluster.practice.resources import Json, ResourceType
from kubernaut.cluster.practice.selectors import object_selector

Errors = list[FieldError]

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"(?:[a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")

_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_QUALIFIED_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_NOT_NEGATIVE = "must be greater than or equal to 0"


def validate(resource: ResourceType, obj: Json) -> Errors:
    """Of a new object, or of the new state of one."""
    errors = _metadata(resource, obj["metadata"])
    check = _BY_KIND.get(resource.kind)
    return errors + (check(obj) if check else [])


def validate_update(resource: ResourceType, old: Json, new: Json) -> Errors:
    """What may not change once it is set."""
    errors: Errors = []
    for name in ("creationTimestamp",):
        if old["metadata"].get(name) != new["metadata"].get(name):
            errors.append(FieldError.invalid(f"metadata.{name}", new["metadata"].get(name), "field is immutable"))
    check = _UPDATES.get(resource.kind)
    return errors + (check(old, new) if check else [])


def _metadata(resource: ResourceType, metadata: Json) -> Errors:
    errors = _name(resource, metadata.get("name", ""))
    errors += _labels("metadata.labels", metadata.get("labels", {}))
    for key in metadata.get("annotations", {}):
        if not _QUALIFIED.fullmatch(key.lower()):
            errors.append(FieldError.invalid("metadata.annotations", key, _QUALIFIED_TEXT))
    for index, reference in enumerate(metadata.get("ownerReferences", [])):
        for name in ("apiVersion", "kind", "name", "uid"):
            if not reference.get(name):
                field = f"metadata.ownerReferences[{index}].{name}"
                errors.append(FieldError.invalid(field, "", f"{name} must not be empty"))
    for finalizer in metadata.get("finalizers", []):
        if not _QUALIFIED.fullmatch(finalizer):
            errors.append(FieldError.invalid("metadata.finalizers", finalizer, _QUALIFIED_TEXT))
    return errors


def _name(resource: ResourceType, name: str) -> Errors:
    errors: Errors = []
    if not name:
        errors.append(FieldError.required("metadata.name", "name or generateName is required"))
    elif resource.kind in ("Namespace", "Service"):
        if not _LABEL.fullmatch(name) or len(name) > 63:
            errors.append(FieldError.invalid("metadata.name", name, _LABEL_TEXT))
    elif not _SUBDOMAIN.fullmatch(name):
        errors.append(FieldError.invalid("metadata.name", name, _SUBDOMAIN_TEXT))
    elif len(name) > 253:
        errors.append(FieldError.invalid("metadata.name", name, "must be no more than 253 characters"))
    return errors


def _labels(path: str, labels: Json) -> Errors:
    errors: Errors = []
    for key, value in labels.items():
        if not _QUALIFIED.fullmatch(key):
            errors.append(FieldError.invalid(path, key, _QUALIFIED_TEXT))
        if len(value) > 63:
            errors.append(FieldError.invalid(path, value, "must be no more than 63 characters"))
        if not _LABEL_VALUE.fullmatch(value):
            errors.append(FieldError.invalid(path, value, _LABEL_VALUE_TEXT))
    return errors


def _not_negative(path: str, spec: Json, *names: str) -> Errors:
    return [
        FieldError.invalid(f"{path}.{name}", spec[name], _NOT_NEGATIVE)
        for name in names
        if spec.get(name) is not None and spec[name] < 0
    ]


def _deployment(obj: Json) -> Errors:
    spec = obj["spec"]
    errors = _not_negative("spec", spec, "replicas", "minReadySeconds", "revisionHistoryLimit")
    errors += _selected_template(spec)
    errors += _strategy(spec["strategy"])
    errors += _not_negative("spec", spec, "progressDeadlineSeconds")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
        errors.append(
            FieldError.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
        )
    return errors


def _replica_set(obj: Json) -> Errors:
    errors = _not_negative("spec", obj["spec"], "replicas", "minReadySeconds")
    return errors + _selected_template(obj["spec"])


def _selected_template(spec: Json) -> Errors:
    selector = spec.get("selector")
    errors: Errors = []
    if selector is None:
        errors.append(FieldError.required("spec.selector"))
    elif not selector.get("matchLabels") and not selector.get("matchExpressions"):
        errors.append(FieldError.invalid("spec.selector", selector, "empty selector is invalid for deployment"))
    errors += _expressions(selector or {})
    if "template" not in spec:
        return [*errors, FieldError.required("spec.template")]
    template = spec["template"]
    labels = template["metadata"].get("labels", {})
    if selector and not errors and not object_selector(selector).matches(labels):
        errors.append(
            FieldError.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
        )
    errors += _labels("spec.template.labels", labels)
    errors += _pod_spec("spec.template.spec", template["spec"])
    policy = template["spec"]["restartPolicy"]
    if policy in ("OnFailure", "Never"):
        errors.append(FieldError.unsupported("spec.template.spec.restartPolicy", policy, ["Always"]))
    return errors


def _expressions(selector: Json) -> Errors:
    errors: Errors = []
    for index, item in enumerate(selector.get("matchExpressions", [])):
        path = f"spec.selector.matchExpressions[{index}]"
        operator = item.get("operator")
        key = item.get("key", "")
        if not _QUALIFIED.fullmatch(key):
            errors.append(FieldError.invalid(f"{path}.key", key, _QUALIFIED_TEXT))
        if operator in ("In", "NotIn") and not item.get("values"):
            errors.append(FieldError.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
        elif operator in ("Exists", "DoesNotExist") and item.get("values"):
            errors.append(
                FieldError.forbidden(
                    f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )
            )
        elif operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            errors.append(FieldError.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    return errors


def _strategy(strategy: Json) -> Errors:
    kind = strategy["type"]
    if kind not in ("Recreate", "RollingUpdate"):
        return [FieldError.unsupported("spec.strategy.type", kind, ["Recreate", "RollingUpdate"])]
    rolling: Any = strategy.get("rollingUpdate")
    if kind == "Recreate":
        text = "may not be specified when strategy `type` is 'Recreate'"
        return [FieldError.forbidden("spec.strategy.rollingUpdate", text)] if rolling is not None else []
    errors: Errors = []
    zeros = 0
    for name in ("maxUnavailable", "maxSurge"):
        path = f"spec.strategy.rollingUpdate.{name}"
        try:
            number = scaled(rolling[name], 100, round_up=True)
        except ValueError:
            text = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"  # noqa: E501
            errors.append(FieldError.invalid(path, rolling[name], text))
            continue
        zeros += number == 0
        if number < 0:
            errors.append(FieldError.invalid(path, rolling[name], _NOT_NEGATIVE))
        elif name == "maxUnavailable" and isinstance(rolling[name], str) and number > 100:
            errors.append(FieldError.invalid(path, rolling[name], "must not be greater than 100%"))
    if zeros == 2:
        text = "may not be 0 when `maxSurge` is 0"
        errors.append(FieldError.invalid("spec.strategy.rollingUpdate.maxUnavailable", rolling["maxUnavailable"], text))
    return errors


def _pod(obj: Json) -> Errors:
    return _pod_spec("spec", obj["spec"])


def _pod_spec(path: str, spec: Json) -> Errors:
    errors: Errors = []
    containers = spec.get("containers", [])
    if not containers:
        errors.append(FieldError.required(f"{path}.containers"))
    volumes = {volume.get("name") for volume in spec.get("volumes", [])}
    seen: set[str] = set()
    for index, container in enumerate(containers):
        where = f"{path}.containers[{index}]"
        name = container.get("name", "")
        if name and name in seen:
            errors.append(FieldError.duplicate(f"{where}.name", name))
        seen.add(name)
        errors += _container(where, container, volumes)
    policies = ["Always", "Never", "OnFailure"]
    if spec["restartPolicy"] not in policies:
        errors.append(FieldError.unsupported(f"{path}.restartPolicy", spec["restartPolicy"], policies))
    if spec["dnsPolicy"] not in (dns := ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]):
        errors.append(FieldError.unsupported(f"{path}.dnsPolicy", spec["dnsPolicy"], dns))
    return errors + _not_negative(path, spec, "terminationGracePeriodSeconds")


def _container(path: str, container: Json, volumes: set[Any]) -> Errors:
    errors: Errors = []
    name = container.get("name", "")
    if not name:
        errors.append(FieldError.required(f"{path}.name"))
    elif not _LABEL.fullmatch(name) or len(name) > 63:
        errors.append(FieldError.invalid(f"{path}.name", name, _LABEL_TEXT))
    image = container.get("image", "")
    if not image:
        errors.append(FieldError.required(f"{path}.image"))
    elif image != image.strip():
        errors.append(FieldError.invalid(f"{path}.image", image, "must not have leading or trailing whitespace"))
    if container["imagePullPolicy"] not in (policies := ["Always", "IfNotPresent", "Never"]):
        errors.append(FieldError.unsupported(f"{path}.imagePullPolicy", container["imagePullPolicy"], policies))
    errors += _env(path, container.get("env", []))
    errors += _ports(path, container.get("ports", []))
    errors += _resources(f"{path}.resources", container["resources"])
    for index, mount in enumerate(container.get("volumeMounts", [])):
        if mount.get("name") not in volumes:
            field = f"{path}.volumeMounts[{index}].name"
            errors.append(FieldError(field, "FieldValueNotFound", f'Not found: "{mount.get("name", "")}"'))
    return errors


def _env(path: str, env: list[Json]) -> Errors:
    errors: Errors = []
    for index, item in enumerate(env):
        where = f"{path}.env[{index}]"
        name = item.get("name", "")
        if not name:
            errors.append(FieldError.required(f"{where}.name"))
        elif not _ENV_NAME.fullmatch(name):
            text = "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')"  # noqa: E501
            errors.append(FieldError.invalid(f"{where}.name", name, text))
        if "valueFrom" in item and item.get("value"):
            text = "may not be specified when `value` is not empty"
            errors.append(FieldError.invalid(f"{where}.valueFrom", "", text))
    return errors


def _ports(path: str, ports: list[Json]) -> Errors:
    errors: Errors = []
    for index, port in enumerate(ports):
        number = port.get("containerPort", 0)
        if not 0 < number < 65536:
            errors.append(
                FieldError.invalid(
                    f"{path}.ports[{index}].containerPort", number, "must be between 1 and 65535, inclusive"
                )
            )
        if port["protocol"] not in (protocols := ["SCTP", "TCP", "UDP"]):
            errors.append(FieldError.unsupported(f"{path}.ports[{index}].protocol", port["protocol"], protocols))
    return errors


def _resources(path: str, resources: Json) -> Errors:
    errors: Errors = []
    amounts: dict[tuple[str, str], Any] = {}
    for group in ("limits", "requests"):
        for name, text in resources.get(group, {}).items():
            try:
                amounts[group, name] = parse_quantity(text)
            except ValueError as error:
                errors.append(FieldError.invalid(f"{path}.{group}[{name}]", text, str(error)))
                continue
            if amounts[group, name] < 0:
                errors.append(FieldError.invalid(f"{path}.{group}[{name}]", text, _NOT_NEGATIVE))
    for (group, name), amount in amounts.items():
        limit = amounts.get(("limits", name))
        if group == "requests" and limit is not None and amount > limit:
            text = f"must be less than or equal to {name} limit of {resources['limits'][name]}"
            errors.append(FieldError.invalid(f"{path}.requests", resources["requests"][name], text))
    return errors


def _service(obj: Json) -> Errors:
    spec = obj["spec"]
    errors: Errors = []
    if not spec["ports"] and spec.get("clusterIP") != "None":
        errors.append(FieldError.required("spec.ports"))
    for index, port in enumerate(spec["ports"]):
        if not 0 < port.get("port", 0) < 65536:
            text = "must be between 1 and 65535, inclusive"
            errors.append(FieldError.invalid(f"spec.ports[{index}].port", port.get("port", 0), text))
    return errors


def _selector_unchanged(old: Json, new: Json) -> Errors:
    selector = new["spec"].get("selector")
    if selector == old["spec"].get("selector"):
        return []
    return [FieldError.invalid("spec.selector", selector, "field is immutable")]


def _pod_update(old: Json, new: Json) -> Errors:
    """Of a pod's spec only images, deadlines and further tolerations may change."""
    if _fixed_part(old["spec"]) == _fixed_part(new["spec"]):
        return []
    fields = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"  # noqa: E501
    return [FieldError.forbidden("spec", f"pod updates may not change fields other than {fields}")]


def _fixed_part(spec: Json) -> Json:
    fixed = {key: value for key, value in spec.items() if key not in ("activeDeadlineSeconds", "tolerations")}
    fixed["containers"] = [{k: v for k, v in item.items() if k != "image"} for item in spec["containers"]]
    return fixed


def _config_map_update(old: Json, new: Json) -> Errors:
    if not old.get("immutable"):
        return []
    text = "field is immutable when `immutable` is set"
    errors = [FieldError.forbidden(name, text) for name in ("data", "binaryData") if old.get(name) != new.get(name)]
    if not new.get("immutable"):
        errors.append(FieldError.forbidden("immutable", text))
    return errors


_BY_KIND: dict[str, Callable[[Json], Errors]] = {
    "Deployment": _deployment,
    "ReplicaSet": _replica_set,
    "Pod": _pod,
    "Service": _service,
}

_UPDATES: dict[str, Callable[[Json, Json], Errors]] = {
    "Deployment": _selector_unchanged,
    "ReplicaSet": _selector_unchanged,
    "Pod": _pod_update,
    "ConfigMap": _config_map_update,
}
