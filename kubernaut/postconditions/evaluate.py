"""Reading one condition once, from the cluster and the plan's context.

Called by the sensors, the verdict and `monitoring.check`'s kin; never waits, never raises for what the cluster answers:
a reading that failed is a result with `holds` None and its error class, so that whoever waits can go on waiting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import JsonValue, ValidationError

from kubernaut.actions.spec import StepFailure
from kubernaut.cluster.objects import BY_KIND, ObjectRef, resolve
from kubernaut.cluster.ownership import owned_by, selector_text
from kubernaut.errors import ErrorClass
from kubernaut.plan.model import (
    Check,
    ListCondition,
    MetricCondition,
    NamedCondition,
    ObjectCondition,
    QueryCondition,
    StepsCondition,
    Target,
)
from kubernaut.postconditions.registry import find
from kubernaut.postconditions.result import CheckResult
from kubernaut.postconditions.workload import WorkloadFacts

if TYPE_CHECKING:  # the client brings an HTTP library along, which `plan validate` does without
    from kubernaut.cluster.client import Listing

JsonObject = Mapping[str, Any]

PRIVATE_KINDS = frozenset({"Secret"})
"""Kinds that no condition reads: what an expression sees ends up in evaluations, logs and reports."""


class Reader(Protocol):
    """The reading half of `KubeClient`, for the cluster that the condition's target names."""

    async def get(self, ref: ObjectRef) -> JsonObject: ...

    async def list(
        self,
        kind: str,
        namespace: str | None,
        *,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> Listing: ...


class Evaluator(Protocol):
    """CEL over the execution's context (`signal`, `target`, `vars`, `steps`, `now`)."""

    async def evaluate(
        self,
        expression: str,
        *,
        object: JsonObject | None = None,
        objects: Sequence[JsonObject] | None = None,
    ) -> JsonValue:
        """Raises `StepFailure(VALIDATION)` where the expression has no value."""
        ...


@dataclass(frozen=True, kw_only=True)
class WatchTarget:
    """What to watch while waiting: an event there means "read again". Time and other objects may change an answer too,
    so a bounded poll goes on beside it."""

    kind: str
    namespace: str | None
    name: str | None = None
    label_selector: str | None = None
    field_selector: str | None = None

    @property
    def selectors(self) -> dict[str, str | None]:
        """Keyword arguments of `KubeClient.list` and `.watch`."""
        named = f"metadata.name={self.name}" if self.name else None
        both = ",".join(part for part in (named, self.field_selector) if part)
        return {"label_selector": self.label_selector, "field_selector": both or None}


def readable(check: Check) -> bool:
    """Whether anything installed can read it. What cannot be read is listed in `unchecked` and needs approval."""
    return not isinstance(check, (MetricCondition, QueryCondition))


def watch_target(check: Check) -> WatchTarget | None:
    """Where a change of the answer shows first; None where only polling helps."""
    if not isinstance(check, (ObjectCondition, ListCondition, NamedCondition)) or check.target.kind not in BY_KIND:
        return None
    target, selectors = check.target, {}
    if isinstance(check, ListCondition):
        selectors = {"label_selector": check.label_selector, "field_selector": check.field_selector}
    elif not target.name:
        return None
    namespace = target.namespace if BY_KIND[target.kind or ""].namespaced else None
    return WatchTarget(kind=target.kind or "", namespace=namespace, name=target.name, **selectors)


async def evaluate(check: Check, *, reader: Reader, cel: Evaluator, now: datetime) -> CheckResult:
    """Read once. `now`: the cluster's time as well as we know it; it decides how long a container has been running."""
    try:
        match check:
            case NamedCondition():
                return await _named(check, reader, now)
            case ObjectCondition():
                return await _object(check, reader, cel)
            case ListCondition():
                return await _list(check, reader, cel)
            case StepsCondition():
                return await _truth(cel, check.expression)
            case MetricCondition() | QueryCondition():
                return CheckResult(
                    holds=None, readable=False, observed="nothing installed can read this kind of condition yet"
                )
    except StepFailure as failure:
        return _unread(failure)


async def read_facts(target: Target, reader: Reader) -> WorkloadFacts:
    """The objects that the named checks judge. Raises `StepFailure`."""
    ref = _ref(target)
    found = await reader.get(ref)
    if ref.kind == "Pod":
        return WorkloadFacts(workload=None, pods=(found,))
    selector = selector_text(found)
    if selector is None:
        raise StepFailure(ErrorClass.VALIDATION, f"{ref} selects no pods")
    replica_sets = owned_by(found, (await reader.list("ReplicaSet", ref.namespace, label_selector=selector)).items)
    pods = (await reader.list("Pod", ref.namespace, label_selector=selector)).items
    owned = tuple(pod for replica_set in replica_sets for pod in owned_by(replica_set, pods))
    return WorkloadFacts(workload=found, pods=owned)


async def _named(check: NamedCondition, reader: Reader, now: datetime) -> CheckResult:
    named = find(check.check, check.version)
    if named is None:
        raise StepFailure(ErrorClass.VALIDATION, f"there is no check {check.check!r} in version {check.version}")
    if check.target.kind not in named.target_kinds:
        raise StepFailure(
            ErrorClass.VALIDATION, f"{named.name} judges {' and '.join(named.target_kinds)}, not {check.target.kind}"
        )
    try:
        params = named.params.model_validate(check.params)
    except ValidationError as error:
        raise StepFailure(ErrorClass.VALIDATION, f"parameters of {named.name}: {error.errors()[0]['msg']}") from error
    return named.judge(await read_facts(check.target, reader), params, now)


async def _object(check: ObjectCondition, reader: Reader, cel: Evaluator) -> CheckResult:
    found = await reader.get(_ref(check.target))
    return await _truth(cel, check.expression, object=found, version=resolve(found, "/metadata/resourceVersion"))


async def _list(check: ListCondition, reader: Reader, cel: Evaluator) -> CheckResult:
    kind = _readable_kind(check.target.kind)
    listing = await reader.list(
        kind,
        check.target.namespace,
        label_selector=check.label_selector,
        field_selector=check.field_selector,
    )
    return await _truth(
        cel,
        check.expression,
        objects=listing.items,
        version=listing.resource_version,
        seen=f"{len(listing.items)} found",
    )


async def _truth(
    cel: Evaluator,
    expression: str,
    *,
    object: JsonObject | None = None,
    objects: Sequence[JsonObject] | None = None,
    version: str | None = None,
    seen: str | None = None,
) -> CheckResult:
    try:
        value = await cel.evaluate(expression, object=object, objects=objects)
    except StepFailure as failure:
        # e.g. a status field that is not there yet: not true now, may become true
        return CheckResult(holds=False, observed=failure.message, error=failure.error_class, resource_version=version)
    if not isinstance(value, bool):
        return CheckResult(
            holds=None, observed=f"`{expression}` is {value!r}, neither true nor false", error=ErrorClass.VALIDATION
        )
    observed = f"`{expression}` is {'true' if value else 'false'}" + (f" ({seen})" if seen else "")
    return CheckResult(holds=value, observed=observed, resource_version=version)


def _unread(failure: StepFailure) -> CheckResult:
    absent = failure.error_class is ErrorClass.NOT_FOUND
    return CheckResult(holds=False if absent else None, observed=failure.message, error=failure.error_class)


def _ref(target: Target) -> ObjectRef:
    kind = _readable_kind(target.kind)
    if not target.name or (BY_KIND[kind].namespaced and not target.namespace):
        raise StepFailure(ErrorClass.VALIDATION, f"the condition names no single {kind}: namespace and name are needed")
    return ObjectRef.of(kind, target.namespace, target.name)


def _readable_kind(kind: str | None) -> str:
    if kind is None or kind not in BY_KIND:
        raise StepFailure(
            ErrorClass.VALIDATION, f"objects of kind {kind!r} cannot be read; known: {', '.join(BY_KIND)}"
        )
    if kind in PRIVATE_KINDS:
        raise StepFailure(ErrorClass.VALIDATION, f"conditions do not read objects of kind {kind}")
    return kind
