"""Label and field selectors: parsed once, then asked for each object.

Why it exists: list, watch and the controllers choose objects by the same rules. Called by `api` and the controllers.
Field selectors know only what the practice cluster promises (`metadata.name`, `metadata.namespace`, `status.phase`,
and for events the `involvedObject` fields, `reason` and `type`); any other is refused as the API server refuses an
unknown one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubernaut.cluster.practice.errors import ApiError, bad_request
from kubernaut.cluster.practice.resources import EVENTS, PODS, Json, ResourceType

Matcher = Callable[[Json], bool]

_NAME = r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?{_NAME}"
_SET = re.compile(rf"^\s*(?P<key>{_KEY})\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)\s*$")
_EQUALITY = re.compile(rf"^\s*(?P<key>{_KEY})\s*(?P<op>==|=|!=)\s*(?P<value>({_NAME})?)\s*$")
_NUMERIC = re.compile(rf"^\s*(?P<key>{_KEY})\s*(?P<op>>|<)\s*(?P<value>-?\d+)\s*$")
_PRESENCE = re.compile(rf"^\s*(?P<not>!?)\s*(?P<key>{_KEY})\s*$")


@dataclass(frozen=True)
class Requirement:
    """One term of a label selector. `op` is one of `in`, `notin`, `exists`, `absent`, `gt`, `lt`."""

    key: str
    op: str
    values: frozenset[str] = frozenset()

    def holds(self, labels: Json) -> bool:
        present = self.key in labels
        if self.op == "exists":
            return present
        if self.op == "absent":
            return not present
        if self.op == "in":
            return present and labels[self.key] in self.values
        if self.op == "notin":
            return not present or labels[self.key] not in self.values
        return present and self._compares(labels[self.key])

    def _compares(self, text: str) -> bool:
        try:
            number = int(text)
        except ValueError:
            return False
        bound = int(next(iter(self.values)))
        return number > bound if self.op == "gt" else number < bound


@dataclass(frozen=True)
class LabelSelector:
    """All requirements must hold; an empty selector matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Json | None) -> bool:
        return all(requirement.holds(labels or {}) for requirement in self.requirements)


def parse_label_selector(text: str) -> LabelSelector:
    """The query form: `app=web,tier in (a, b),!canary`. Raises a 400 for what does not parse."""
    if not text.strip():
        return LabelSelector()
    return LabelSelector(tuple(_parse_requirement(term, text) for term in _split_terms(text)))


def _split_terms(text: str) -> list[str]:
    return re.split(r",(?![^(]*\))", text)


def _parse_requirement(term: str, text: str) -> Requirement:
    if match := _SET.match(term):
        values = frozenset(value.strip() for value in match["values"].split(","))
        return Requirement(match["key"], match["op"], values)
    if match := _EQUALITY.match(term):
        return Requirement(match["key"], "notin" if match["op"] == "!=" else "in", frozenset({match["value"]}))
    if match := _NUMERIC.match(term):
        return Requirement(match["key"], "gt" if match["op"] == ">" else "lt", frozenset({match["value"]}))
    if match := _PRESENCE.match(term):
        return Requirement(match["key"], "absent" if match["not"] else "exists")
    raise bad_request(f"unable to parse requirement: {term.strip()!r} in label selector {text!r}")


_EXPRESSIONS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}


def object_selector(selector: Json | None) -> LabelSelector:
    """The object form in a spec: `matchLabels` and `matchExpressions`."""
    selector = selector or {}
    requirements = [
        Requirement(key, "in", frozenset({value})) for key, value in selector.get("matchLabels", {}).items()
    ]
    for item in selector.get("matchExpressions", []):
        requirements.append(Requirement(item["key"], _EXPRESSIONS[item["operator"]], frozenset(item.get("values", []))))
    return LabelSelector(tuple(requirements))


def selector_text(selector: Json | None) -> str:
    """The query form of an object selector, as `Scale.status.selector` carries it."""
    selector = selector or {}
    terms = [(key, f"{key}={value}") for key, value in selector.get("matchLabels", {}).items()]
    for item in selector.get("matchExpressions", []):
        terms.append((item["key"], _expression_text(item)))
    return ",".join(text for _, text in sorted(terms))


def _expression_text(item: Json) -> str:
    if item["operator"] == "Exists":
        return str(item["key"])
    if item["operator"] == "DoesNotExist":
        return f"!{item['key']}"
    word = "in" if item["operator"] == "In" else "notin"
    return f"{item['key']} {word} ({','.join(sorted(item['values']))})"


_COMMON_FIELDS = {"metadata.name", "metadata.namespace"}
_EVENT_FIELDS = {f"involvedObject.{name}" for name in ("kind", "name", "namespace", "uid")} | {"reason", "type"}


def parse_field_selector(text: str, resource: ResourceType) -> Matcher:
    """`metadata.name=x,status.phase!=Running`. Raises a 400 for a field that cannot be selected."""
    tests = [_field_test(term, resource) for term in text.split(",") if term.strip()]
    return lambda obj: all(test(obj) for test in tests)


def _selectable(resource: ResourceType) -> set[str]:
    if resource is EVENTS:
        return _COMMON_FIELDS | _EVENT_FIELDS
    if resource is PODS:
        return _COMMON_FIELDS | {"status.phase", "spec.nodeName"}
    return _COMMON_FIELDS | ({"status.phase"} if resource.plural == "namespaces" else set())


def _field_test(term: str, resource: ResourceType) -> Matcher:
    match = re.match(r"^\s*([A-Za-z.]+)\s*(==|=|!=)\s*(.*?)\s*$", term)
    if not match:
        raise bad_request(f"invalid selector: {term!r}; can't understand {term!r}")
    field, op, wanted = match[1], match[2], match[3]
    if field not in _selectable(resource):
        raise _unknown_field(field, resource)
    path = field.split(".")
    return lambda obj: (_field(obj, path) == wanted) is (op != "!=")


def _unknown_field(field: str, resource: ResourceType) -> ApiError:
    if resource.group:
        return bad_request(f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"')
    return bad_request(f"field label not supported: {field}")


def _field(obj: Json, path: list[str]) -> Any:
    value: Any = obj
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return "" if value is None else value
