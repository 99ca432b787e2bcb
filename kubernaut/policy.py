"""What a plan may touch: rules outside any model's reach, read from a file that only an administrator writes.

Asked three times: at validation (names alone), when a plan is accepted (labels read from the cluster), and at the claim of
every change. Pure: whoever asks brings the labels. The strictest rule that matches decides; what no rule matches is
allowed. Rules can therefore only take away, and their order does not matter (BR-SEC-001, BR-SEC-002).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from kubernaut.errors import ConfigurationError

MANAGED_LABEL = "kubernaut.ai/managed"


class Decision(StrEnum):
    ALLOW = "allow"
    ASK = "ask"
    """An approval is needed."""
    HUMAN = "human"
    """A person must look; an approval answers it."""
    DENY = "deny"
    """Refused; nothing answers it."""


_STRICTNESS = {decision: rank for rank, decision in enumerate(Decision)}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limit(_Model):
    """A bound on one parameter of the rule's actions."""

    parameter: str
    max: float | None = None
    min: float | None = None

    def broken_by(self, params: Mapping[str, JsonValue]) -> bool:
        value = params.get(self.parameter)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (self.max is not None and value > self.max) or (self.min is not None and value < self.min)


class Rule(_Model):
    """Patterns are shell globs (`kube-*`); an absent list matches everything, an absent condition always holds.

    `namespaces` also means the Namespace object itself, by its name.
    """

    name: str
    decision: Decision
    reason: str
    clusters: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    limit: Limit | None = None
    unless_label: dict[str, str] | None = None
    """Matches only where the namespace (or a cluster-scoped object itself) does not carry all of these labels."""
    changes_only: bool = True
    """Does not concern what only reads."""


class Policy(_Model):
    version: Literal[1] = 1
    rules: tuple[Rule, ...] = ()


class Subject(_Model):
    """What a step is about to do to what. `labels` None: not read yet."""

    action: str
    changes: bool
    cluster: str | None = None
    kind: str | None = None
    namespace: str | None = None
    name: str | None = None
    params: dict[str, JsonValue] = Field(default_factory=dict)
    labels: dict[str, str] | None = None


class Ruling(_Model):
    """The strictest decision and the rules that say so. `unread`: rules that need labels which nobody brought."""

    decision: Decision
    rules: tuple[Rule, ...] = ()
    unread: tuple[Rule, ...] = ()

    @property
    def text(self) -> str:
        return "; ".join(f"{rule.reason} (rule {rule.name!r})" for rule in self.rules)


_SYSTEM_NAMESPACES = ("kube-*", "airflow", "airflow-*", "kubernaut", "kubernaut-*")
_POWERFUL_KINDS = (
    "Secret",
    "Role",
    "RoleBinding",
    "ClusterRole",
    "ClusterRoleBinding",
    "ServiceAccount",
    "CustomResourceDefinition",
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "APIService",
    "CertificateSigningRequest",
)

DEFAULT_POLICY = Policy(
    rules=(
        Rule(
            name="system-namespaces",
            decision=Decision.DENY,
            namespaces=_SYSTEM_NAMESPACES,
            reason="the namespaces of Kubernetes, Airflow and Kubernaut are never changed by a plan",
        ),
        Rule(
            name="powerful-kinds",
            decision=Decision.DENY,
            kinds=_POWERFUL_KINDS,
            changes_only=False,
            reason="Secrets, RBAC, admission and CRDs are out of every plan's reach",
        ),
        Rule(
            name="unmanaged",
            decision=Decision.ASK,
            unless_label={MANAGED_LABEL: "true"},
            reason=f"the namespace (or cluster-scoped object) is not labelled {MANAGED_LABEL}=true",
        ),
        Rule(
            name="replica-ceiling",
            decision=Decision.ASK,
            actions=("kubernetes.scale",),
            limit=Limit(parameter="replicas", max=50),
            reason="more than 50 replicas",
        ),
        Rule(
            name="scale-to-zero",
            decision=Decision.ASK,
            actions=("kubernetes.scale",),
            limit=Limit(parameter="replicas", min=1),
            reason="scaling to zero stops the workload",
        ),
    )
)


def rule(policy: Policy, subject: Subject) -> Ruling:
    """Decide. Reading the labels later can only add strictness: `unread` names the rules that wait for them."""
    matching: list[Rule] = []
    unread: list[Rule] = []
    for candidate in policy.rules:
        if not _concerns(candidate, subject):
            continue
        if candidate.unless_label is None:
            matching.append(candidate)
        elif subject.labels is None:
            unread.append(candidate)
        elif any(subject.labels.get(key) != value for key, value in candidate.unless_label.items()):
            matching.append(candidate)
    decision = max((item.decision for item in matching), key=_STRICTNESS.__getitem__, default=Decision.ALLOW)
    return Ruling(
        decision=decision,
        rules=tuple(item for item in matching if item.decision is decision and decision is not Decision.ALLOW),
        unread=tuple(unread),
    )


def _concerns(candidate: Rule, subject: Subject) -> bool:
    if candidate.changes_only and not subject.changes:
        return False
    if candidate.limit is not None and not candidate.limit.broken_by(subject.params):
        return False
    return (
        _matches(candidate.clusters, subject.cluster)
        and _matches(candidate.namespaces, subject.name if subject.kind == "Namespace" else subject.namespace)
        and _matches(candidate.kinds, subject.kind)
        and _matches(candidate.names, subject.name)
        and _matches(candidate.actions, subject.action)
    )


def _matches(patterns: Iterable[str], value: str | None) -> bool:
    patterns = tuple(patterns)
    return not patterns or (value is not None and any(fnmatchcase(value, pattern) for pattern in patterns))


@lru_cache(maxsize=4)
def _load(path: Path, changed: float) -> Policy:
    try:
        return Policy.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"policy file {path} cannot be used: {error}; docs/security.md shows the form"
        ) from error


def load_policy(path: Path | None) -> Policy:
    """The policy of a file, read again when the file has changed; the default policy without one.

    Raises `ConfigurationError`; a policy that cannot be read allows nothing.
    """
    if path is None:
        return DEFAULT_POLICY
    try:
        return _load(path, path.stat().st_mtime)
    except OSError as error:
        raise ConfigurationError(f"policy file {path} cannot be read: {error}") from error
