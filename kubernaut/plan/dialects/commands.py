"""Validation commands of an AI, read as what they would prove. No command is ever run, and none reaches a shell.

Used for `validation_commands` of every dialect. A command that is not plain words (pipes, `;`, substitutions,
redirections) or that would write is a fault. What is left becomes a check where its result would prove something
(`kubectl rollout status`, `kubectl get pods --field-selector=status.phase=Running`), a query that nothing reads yet
(`curl`, `prometheus_query:`, `kubectl top`, `kubectl logs`), or a note: `kubectl describe` shows, it proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from kubernaut.cluster.objects import BY_KIND, canonical_kind
from kubernaut.plan.dialects import plain, urls
from kubernaut.plan.model import Check, ListCondition, NamedCondition, QueryCondition, Target
from kubernaut.postconditions import registry


@dataclass(frozen=True)
class Refused:
    """The command is a fault."""

    code: str
    message: str
    remedy: str


@dataclass(frozen=True)
class Shown:
    """The command is read-only, and its result proves nothing by itself."""

    why: str


@dataclass(frozen=True)
class Unclear:
    """What the command asks of the cluster is not understood; a human is asked."""

    reason: str


Reading = Check | Refused | Shown | Unclear

_WRITES = (
    "Give a command that only reads: kubectl get, rollout status, describe, logs, top; "
    "curl URL; prometheus_query: EXPR."
)
_READ_ONLY_VERBS = frozenset(
    {"api-resources", "api-versions", "cluster-info", "describe", "events", "explain", "version"}
)
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_FIELD_SELECTOR = re.compile(r"[A-Za-z][A-Za-z.]{0,100}(=|==|!=)[A-Za-z0-9._-]{1,253}")


def read(command: str, target: Target | None, *, cluster: str | None = None) -> Reading:
    """What `command` would prove.

    :param target: the object that the plan is about; gives the namespace where the command names none
    :param cluster: the plan's cluster
    """
    text = command.strip()
    found = plain.mark(text)
    if found is not None:
        return _not_plain(f"it holds {found!r}")
    if text.startswith("prometheus_query:"):
        query = text.removeprefix("prometheus_query:").strip()
        return QueryCondition(source="promql", query=query) if query else Unclear("the query is empty")
    words = _words(text)
    if isinstance(words, Refused):
        return words
    match words:
        case ["kubectl", *arguments]:
            return _kubectl(text, arguments, _Place(target, cluster))
        case ["curl", *arguments]:
            return _curl(arguments)
    return Refused(
        "command_unknown",
        f"{words[0] if words else ''!r} is no command that can be read as a check"[:200],
        _WRITES,
    )


def _not_plain(what: str) -> Refused:
    return Refused("command_not_plain", f"{what}; a validation command is plain words", _WRITES)


_WORD = re.compile(r"""(?:[^\s'"&<>()$\\]|'[^']*'|"[^"$]*")+""")
_QUOTED = re.compile(r"""'([^']*)'|"([^"$]*)\"""")


def _words(text: str) -> list[str] | Refused:
    """Split at blanks, with single and double quotes. Anything a shell would act on is refused, not read."""
    if not text.isprintable():
        return _not_plain("it holds a line break or control character")
    words, position = [], 0
    while position < len(text):
        if text[position] == " ":
            position += 1
            continue
        match = _WORD.match(text, position)
        if match is None:
            sign = text[position]
            return _not_plain("a quote is not closed" if sign in "'\"" else f"it holds {sign!r}")
        words.append(_QUOTED.sub(lambda quoted: quoted[1] or quoted[2] or "", match.group()))
        position = match.end()
    return words


# --- kubectl


@dataclass(frozen=True)
class _Place:
    target: Target | None
    cluster: str | None

    def of(self, kind: str, namespace: str | None, name: str | None) -> Target:
        namespaced = BY_KIND[kind].namespaced
        return Target(cluster=self.cluster, kind=kind, namespace=namespace if namespaced else None, name=name)

    def namespace(self, options: _Options) -> str | None:
        return options.value("-n", "--namespace") or (self.target.namespace if self.target else None)


@dataclass
class _Options:
    values: dict[str, str] = field(default_factory=dict)
    positional: list[str] = field(default_factory=list)

    def value(self, *names: str) -> str | None:
        return next((self.values[name] for name in names if name in self.values), None)


# Every option that is known: True where a value follows. An unknown one could mean anything, and is not guessed.
_OPTIONS: Mapping[str, bool] = {
    "-n": True,
    "--namespace": True,
    "-l": True,
    "--selector": True,
    "--field-selector": True,
    "-o": True,
    "--output": True,
    "--timeout": True,
    "--tail": True,
    "--since": True,
    "--for": True,
    "-c": True,
    "--container": True,
    "--sort-by": True,
    "--revision": True,
    "--limit-bytes": True,
    "-A": False,
    "--all-namespaces": False,
    "--no-headers": False,
    "--show-labels": False,
    "--watch": True,
    "--previous": False,
    "-p": False,
    "--containers": False,
    "--all-containers": False,
    "--timestamps": False,
}


def _options(arguments: list[str]) -> _Options | Unclear:
    found = _Options()
    rest = iter(arguments)
    for word in rest:
        if not word.startswith("-"):
            found.positional.append(word)
            continue
        name, equals, value = word.partition("=")
        if name not in _OPTIONS and word[:2] in ("-n", "-l", "-o") and len(word) > 2 and word[1] != "-":
            name, equals, value = word[:2], "=", word[2:].removeprefix("=")
        if name not in _OPTIONS:
            return Unclear(f"the option {name[:60]!r} is not known here")
        if _OPTIONS[name] and not equals:
            value = next(rest, "")
            if not value:
                return Unclear(f"the option {name} has no value")
        found.values[name] = value or "true"
    return found


def _kubectl(text: str, arguments: list[str], place: _Place) -> Reading:
    options = _options(arguments)
    if isinstance(options, Unclear):
        verb = next((word for word in arguments if not word.startswith("-")), "")
        return options if _reads(verb, arguments) else _not_read_only(arguments)
    match options.positional:
        case ["get", *words]:
            return _get(words, options, place)
        case ["rollout", "status", *words]:
            return _rollout_status(words, options, place)
        case ["rollout", "history", *_]:
            return Shown("it shows the revisions and proves nothing by itself")
        case ["wait", *words]:
            return _wait(words, options, place)
        case ["top", *_]:
            return QueryCondition(source="top", query=text)
        case ["logs", *_]:
            return QueryCondition(source="logs", query=text)
        case [verb, *_] if verb in _READ_ONLY_VERBS:
            return Shown(f"kubectl {verb} shows, it proves nothing by itself")
    return _not_read_only(options.positional)


def _reads(verb: str, arguments: list[str]) -> bool:
    if verb == "rollout":
        return "status" in arguments or "history" in arguments
    return verb in _READ_ONLY_VERBS or verb in ("get", "wait", "top", "logs")


def _not_read_only(words: list[str]) -> Refused:
    shown = " ".join(words[:2])[:80]
    return Refused("command_not_read_only", f"'kubectl {shown}' is not known to only read", _WRITES)


def _kind(word: str) -> str | None:
    """`deployments.apps`, `deploy`, `Deployment` → Deployment."""
    name, _, group = word.partition(".")
    kind = canonical_kind(name)
    if kind is None or (group and group.removeprefix("v1.") != BY_KIND[kind].api_version.partition("/")[0]):
        return None
    return kind


def _objects(words: list[str]) -> list[tuple[str, str | None]] | Unclear:
    """The objects that a command names: `deployment/x`, `deployment x`, `pods`."""
    if not words:
        return Unclear("it names no kind of object")
    if any("/" in word for word in words):
        pairs = [tuple(word.split("/", 1)) for word in words]
        if any(len(pair) != 2 for pair in pairs):
            return Unclear("it names objects in two ways")
    else:
        pairs = [(words[0], name) for name in words[1:]] or [(words[0], "")]
    found: list[tuple[str, str | None]] = []
    for kind_word, name in pairs:
        kind = _kind(kind_word)
        if kind is None:
            return Unclear(f"the kind {kind_word[:60]!r} is not known here")
        if name and not _NAME.fullmatch(name):
            return Unclear(f"{name[:60]!r} is no name of an object")
        found.append((kind, name or None))
    return found


def _one(words: list[str], options: _Options, place: _Place) -> Target | Unclear:
    objects = _objects(words)
    if isinstance(objects, Unclear):
        return objects
    if len(objects) != 1 or objects[0][1] is None:
        return Unclear("it names no single object")
    kind, name = objects[0]
    namespace = place.namespace(options)
    if namespace is None and BY_KIND[kind].namespaced:
        return Unclear("it names no namespace, and neither does the plan's target")
    return place.of(kind, namespace, name)


def _rollout_status(words: list[str], options: _Options, place: _Place) -> Reading:
    return _named("rollout_complete", _one(words, options, place))


def _named(check: str, about: Target | Unclear) -> Reading:
    if isinstance(about, Unclear):
        return about
    known = registry.find(check)
    if known is None or about.kind not in known.target_kinds:
        return Unclear(f"it cannot be read of a {about.kind}")
    return NamedCondition(check=check, version=known.version, target=about)


def _wait(words: list[str], options: _Options, place: _Place) -> Reading:
    about = _one(words, options, place)
    condition = (options.value("--for") or "").lower()
    if isinstance(about, Target) and condition in _AVAILABLE:
        return _named("workload_available", about)
    return about if isinstance(about, Unclear) else Unclear(f"--for={condition[:60]} of a {about.kind} cannot be read")


_AVAILABLE = ("condition=available", "condition=available=true")


def _get(words: list[str], options: _Options, place: _Place) -> Reading:
    everywhere = options.value("-A", "--all-namespaces") == "true"
    fields, labels = options.value("--field-selector"), options.value("-l", "--selector")
    objects = _objects(words)
    if isinstance(objects, Unclear):
        return objects if fields else Shown("kubectl get shows, it proves nothing by itself")
    kind, name = objects[0]
    if fields is None or name is not None or len(objects) > 1:
        return Shown("kubectl get without a field selector shows, it proves nothing by itself")
    if not all(_FIELD_SELECTOR.fullmatch(part) for part in fields.split(",")):
        return Unclear(f"the field selector {fields[:80]!r} cannot be read")
    namespace = None if everywhere else place.namespace(options)
    if namespace is None and not everywhere and BY_KIND[kind].namespaced:
        return Unclear("it names no namespace, and neither does the plan's target")
    if "!=" in fields:
        return Unclear("whether it should find objects or none is not said")
    return ListCondition(
        target=place.of(kind, namespace, None),
        label_selector=labels,
        field_selector=fields,
        expression="size(objects) > 0",
    )


# --- curl

_CURL_FLAGS = frozenset(
    {
        "-s",
        "--silent",
        "-f",
        "--fail",
        "-S",
        "--show-error",
        "-sf",
        "-fs",
        "-sS",
        "-fsS",
        "-sSf",
        "-i",
        "-I",
        "--head",
        "-L",
        "--location",
        "-v",
    }
)
_CURL_WITH_VALUE = frozenset({"-m", "--max-time", "--connect-timeout", "--retry"})


def _curl(arguments: list[str]) -> Reading:
    found: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word in _CURL_WITH_VALUE:
            next(rest, "")
        elif word.startswith("-") and word not in _CURL_FLAGS:
            return Refused(
                "command_not_read_only", f"the option {word[:60]!r} of curl is not known to only read", _WRITES
            )
        elif not word.startswith("-"):
            found.append(word)
    if len(found) != 1:
        return Unclear("curl names no single URL")
    url = found[0] if "://" in found[0] else f"http://{found[0]}"
    why = urls.why_forbidden(url)
    if why is not None:
        return Refused("url_forbidden", f"the URL is refused: {why}", urls.REMEDY)
    return QueryCondition(source="http", query=url)
