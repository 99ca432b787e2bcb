"""The manual says what the code does: its plans validate, and what it names (commands, options, settings, routes) exists."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from pydantic import BaseModel

from kubernaut.actions import catalogue
from kubernaut.actions.registry import executors
from kubernaut.cli.app import app as cli
from kubernaut.cli.site import airflow_settings
from kubernaut.cluster.practice.cli import app as practice_cli
from kubernaut.examination import Outcome
from kubernaut.execution.phases import TRANSITIONS
from kubernaut.execution.retry import RETRIED
from kubernaut.plan import model
from kubernaut.plan.dialects import commands, prose
from kubernaut.plan.dialects.recognise import FORMS
from kubernaut.plan.examine import examine
from kubernaut.policy import DEFAULT_POLICY, Decision, Subject, load_policy, rule
from kubernaut.postconditions.registry import named_checks
from kubernaut.settings import Settings
from kubernaut.workflow.gate import NotReachedReason, StepState

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in DOCS.glob("*.md"))]
SITE = Settings(clusters={"prod": "kubernetes_prod"})
WORKER = model.Target(cluster="prod", kind="Deployment", namespace="shop", name="checkout")


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def fences(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text(page), re.MULTILINE | re.DOTALL)


def table(page: str, first_heading: str) -> list[list[str]]:
    """The cells of the table whose first column has this heading; `\\|` stays within its cell."""
    lines = text(page).splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"| {first_heading} |"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def words(cell: str) -> list[str]:
    return [word.replace("\\|", "|") for word in re.findall(r"`([^`]+)`", cell)]


# --- plans and other JSON


def blocks() -> Iterator[Any]:
    for page in PAGES:
        for number, block in enumerate(fences(page, "json"), start=1):
            yield pytest.param(block, id=f"{page}-{number}")


def is_plan(document: Any) -> bool:
    return isinstance(document, dict) and ("primary_action" in document or "version" in document)


@pytest.mark.parametrize("block", blocks())
def test_every_json_example_is_json_and_every_plan_among_them_may_run(block: str) -> None:
    document = json.loads(block)
    if not is_plan(document):
        return
    found = examine(document, settings=SITE, policy=DEFAULT_POLICY)
    assert (found.faults, found.human_reasons, found.outcome) == ((), (), Outcome.RUNNABLE)


def test_the_plan_reference_has_an_example_of_both_forms() -> None:
    found = [
        examine(block, settings=SITE, policy=DEFAULT_POLICY).dialect
        for block in fences("docs/plan-reference.md", "json")
        if is_plan(json.loads(block))
    ]
    assert {"kubernaut", "primary_secondary"} <= set(found)


def test_one_example_shows_every_field_of_a_plan_and_of_a_step() -> None:
    plans = [json.loads(block) for block in fences("docs/plan-reference.md", "json")]
    full = next(plan for plan in plans if "alternatives" in plan)
    assert set(model.Plan.model_fields) == set(full)
    assert set(model.Step.model_fields) == {name for step in full["steps"] for name in step}


MODELS: tuple[type[BaseModel], ...] = (
    model.Plan,
    model.Alternative,
    model.Step,
    model.Target,
    model.Dependency,
    model.Retry,
    model.PostCondition,
    model.RollbackTrigger,
    model.ObjectCondition,
    model.ListCondition,
    model.NamedCondition,
    model.MetricCondition,
    model.QueryCondition,
    model.StepsCondition,
    model.ActionUndo,
    model.NoUndo,
    model.Reasoning,
    model.Signal,
)


@pytest.mark.parametrize("shape", MODELS, ids=lambda shape: shape.__name__)
def test_the_plan_reference_names_every_field(shape: type[BaseModel]) -> None:
    page = text("docs/plan-reference.md")
    assert [name for name in shape.model_fields if f"`{name}`" not in page] == []


def test_the_plan_reference_lists_every_action_by_every_name() -> None:
    page = text("docs/plan-reference.md")
    names = [name for entry in catalogue.CATALOGUE.values() for name in (entry.name, *entry.aliases)]
    assert [name for name in names if f"`{name}`" not in page and f"`other.{name}`" not in page] == []


def test_the_plan_reference_lists_every_parameter_of_the_installed_actions() -> None:
    listed = {words(row[0])[0]: set(words(row[1])) for row in table("docs/plan-reference.md", "parameters of")}
    wanted = {
        name: set(one.spec.params.model_fields)
        for name, one in executors().items()
        if one.spec.params is not None and one.spec.params.model_fields
    }
    assert {name: parameters & wanted.get(name, set()) for name, parameters in listed.items()} == wanted


def test_the_plan_reference_lists_every_named_check_and_form() -> None:
    listed = {words(row[0])[0]: words(row[1]) for row in table("docs/plan-reference.md", "check")}
    assert listed == {check.name: list(check.target_kinds) for check in named_checks()}
    assert [form for form in FORMS if f"`{form}`" not in text("docs/plan-reference.md")] == []


def test_the_table_of_error_classes_is_the_codes() -> None:
    listed = {name: row[1] == "yes" for row in table("docs/plan-reference.md", "error class") for name in words(row[0])}
    assert listed == {error.value: again for error, again in RETRIED.items()}


def test_words_of_criteria_become_what_the_table_says() -> None:
    for row in table("docs/plan-reference.md", "criterion or trigger"):
        for word in words(row[0]):
            reading = prose.read(word, WORKER)
            if isinstance(reading, model.NamedCondition):
                assert words(row[1])[0] == reading.check, word
            elif isinstance(reading, prose.NotUnderstood):
                assert row[1].startswith("a question"), word
            else:
                assert not isinstance(reading, prose.NeedsTarget)
                assert f"`{reading.kind}`" in row[1], word


def test_commands_become_what_the_table_says() -> None:
    for row in table("docs/plan-reference.md", "command"):
        for command in words(row[0]):
            reading = commands.read(command, WORKER, cluster="prod")
            match reading:
                case commands.Refused():
                    assert row[1].startswith("a fault"), command
                case commands.Shown():
                    assert row[1].startswith("a note"), command
                case commands.Unclear():
                    assert row[1].startswith("a question"), command
                case model.NamedCondition():
                    assert words(row[1])[0] == reading.check, command
                case _:
                    assert f"`{reading.kind}`" in row[1], command


def test_the_concepts_list_every_state_phase_and_reason() -> None:
    page = text("docs/concepts.md")
    wanted = [*StepState, *TRANSITIONS, *NotReachedReason, *model.EdgeOutcome]
    assert [word.value for word in wanted if f"`{word.value}`" not in page] == []


# --- the command line


Command = Any
"""Of the click that typer carries inside; it has no public type."""


def subcommands(command: Command) -> dict[str, Command]:
    return getattr(command, "commands", {})


def find(line: list[str]) -> tuple[Command, list[str]]:
    """The command that the words lead to, and the rest of them."""
    command, rest = typer.main.get_command(cli), list(line)
    while rest and rest[0] in subcommands(command):
        command = subcommands(command)[rest.pop(0)]
    return (typer.main.get_command(practice_cli) if command.name == "practice-cluster" else command), rest


def options_of(command: Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts if option.startswith("--")}


SPAN = re.compile(r"(?:^\s*(?:\$ )?|`|\$\()(?:[./]*\.venv/bin/)?kubernaut (?P<rest>[^`#\n]+)", re.MULTILINE)


def named_commands() -> Iterator[Any]:
    for page in PAGES:
        for match in SPAN.finditer(text(page)):
            yield pytest.param(match["rest"].strip(), id=f"{page}: {match['rest'].strip()[:50]}")
    for row in table("docs/cli.md", "command"):
        for command in words(row[0]):
            yield pytest.param(command, id=f"docs/cli.md table: {command[:50]}")


@pytest.mark.parametrize("line", named_commands())
def test_every_command_that_is_named_exists_with_its_options(line: str) -> None:
    command, rest = find(re.sub(r"[\[\]]", " ", line).split())
    assert not subcommands(command), f"there is no command {line!r}"
    given = {word.partition("=")[0] for word in rest if word.startswith("--")}
    assert given - options_of(command) - {"--help"} == set()


def leaves(command: Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Command]]:
    for name, one in subcommands(command).items():
        yield from leaves(one, (*path, name)) if subcommands(one) else [((*path, name), one)]


def test_the_page_of_the_command_line_has_every_command_and_option() -> None:
    rows = [
        re.sub(r"[\[\]]", " ", command).split() for row in table("docs/cli.md", "command") for command in words(row[0])
    ]
    for path, command in leaves(typer.main.get_command(cli)):
        row = next((row for row in rows if tuple(row[: len(path)]) == path), None)
        assert row is not None, path
        if path == ("practice-cluster",):
            continue
        common = {"--user", "--password", "--help"}
        assert options_of(command) - common - set(row) == set(), path


# --- settings, routes, files


OF_THE_CLI = {"token", "user", "password", "traceback"}


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_that_is_named_exists(page: str) -> None:
    variables = {name.lower() for name in re.findall(r"KUBERNAUT_([A-Z][A-Z_]*[A-Z])\b", text(page))}
    named = set(re.findall(r"settings? `([a-z_]+)`", text(page)))
    assert (variables - OF_THE_CLI) - set(Settings.model_fields) == set()
    assert named - set(Settings.model_fields) == set()


ROUTE = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE) (?:<[^>]*>)?([…/][^\s`\"<|?,;:)]*)")
OF_OTHERS = ("/auth/token", "/api/v2/", "/practice/")


@pytest.mark.parametrize("page", PAGES)
def test_every_route_that_is_named_exists(page: str) -> None:
    described = json.loads(text("docs/openapi.json"))["paths"]
    known = {(method.upper(), path) for path, methods in described.items() for method in methods}
    for method, path in ROUTE.findall(text(page)):
        if path.startswith(OF_OTHERS):
            continue
        short = path.removeprefix("…").removeprefix("/kubernaut").removeprefix("/api/v1").rstrip(".")
        full = short if short == "/livez" else f"/api/v1{short}".replace("{id}", "{execution_id}")
        assert (method, full) in known, f"{method} {path}"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_exists(page: str) -> None:
    roots = r"kubernaut|operators|plugins|dags|devstack|dev|tests|deploy|requirements|\.ci"
    named = re.findall(rf"`((?:{roots})/[\w./-]*)`", text(page))
    assert [path for path in named if not (ROOT / path).exists()] == []


def anchors(page: str) -> set[str]:
    """As GitHub makes them from headings."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text(page), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_every_section_that_is_linked_exists(page: str) -> None:
    for path, anchor in re.findall(r"\]\(([^)#\s:]*)#([^)]+)\)", text(page)):
        other = (ROOT / page).parent / path if path else ROOT / page
        if other.suffix == ".py":  # a line of a test
            assert int(anchor.removeprefix("L")) <= len(other.read_text().splitlines()), f"{path}#{anchor}"
            continue
        assert anchor in anchors(str(other.resolve().relative_to(ROOT))), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_is_named_exists(page: str) -> None:
    known = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:`|\$ |^)make ([a-z-]+)", text(page), re.MULTILINE))
    assert named - known == set()


# --- installing


def test_operations_explain_what_airflow_config_prints() -> None:
    page = text("docs/operations.md")
    for (section, key), value in airflow_settings().items():
        row = next((line for line in page.splitlines() if f"`[{section}] {key}`" in line), None)
        assert row is not None, key
        assert value.startswith("[") or f"| {value} |" in row, key


def test_compose_sets_what_airflow_config_prints() -> None:
    given = yaml.safe_load(text("docker-compose.yaml"))["x-airflow"]["environment"]
    for (section, key), value in airflow_settings().items():
        variable = f"AIRFLOW__{section.upper()}__{key.upper()}"
        assert value.startswith("[") or given.get(variable) == value, variable


# --- the policy


def test_the_example_of_a_policy_can_be_used_and_does_what_the_page_says(tmp_path: Path) -> None:
    (example,) = [block for block in fences("docs/security.md", "yaml") if "rules:" in block]
    file = tmp_path / "policy.yaml"
    file.write_text(example)
    policy = load_policy(file)
    scale = Subject(action="kubernetes.scale", changes=True, cluster="prod", kind="Deployment", namespace="shop")
    labels = {"kubernaut.ai/managed": "true"}

    def decision(**changes: Any) -> Decision:
        return rule(policy, scale.model_copy(update={"labels": labels, "params": {"replicas": 5}, **changes})).decision

    assert decision() is Decision.ALLOW
    assert decision(namespace="payments") is Decision.HUMAN
    assert decision(namespace="kube-system") is Decision.DENY
    assert decision(params={"replicas": 21}) is Decision.ASK
    assert decision(labels={}) is Decision.ASK
    assert decision(kind="Secret", changes=False) is Decision.DENY
    assert decision(cluster="lab", labels={}) is Decision.ALLOW


def test_the_page_lists_the_rules_of_the_policy_that_holds_without_a_file() -> None:
    listed = {words(row[0])[0]: words(row[2])[0] for row in table("docs/security.md", "rule")}
    assert listed == {one.name: one.decision.value for one in DEFAULT_POLICY.rules}


def test_the_page_lists_every_part_of_a_rule() -> None:
    listed = {word for row in table("docs/security.md", "part of a rule") for word in words(row[0])}
    assert listed == set(type(DEFAULT_POLICY.rules[0]).model_fields)
