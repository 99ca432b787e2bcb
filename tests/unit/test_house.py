"""The house itself: setup, locks, generated pages, deployment files, and the trace of requirements."""

import re
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings

from dev import generated_docs, requirements_trace, settings_docs
from dev.environment import SetupFailed, check_python, pip_options, uv_environment
from dev.requirements_trace import Requirement, Result, TraceFailed
from kubernaut.actions.registry import executors
from kubernaut.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("bootstrap", "dev", "runtime")
PACKAGE = re.compile(r"^([a-z0-9][a-z0-9._-]*)(\[[a-z0-9,-]+\])?==(\S+)", re.MULTILINE)


def lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.lock").read_text()


class TestSetup:
    @pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 9), (3, 13, 1)])
    def test_takes_a_supported_python(self, version: tuple[int, ...]) -> None:
        check_python(version)

    @pytest.mark.parametrize("version", [(2, 7, 18), (3, 10, 13), (3, 14, 0)])
    def test_refuses_another_python_and_says_how_to_name_one(self, version: tuple[int, ...]) -> None:
        with pytest.raises(SetupFailed, match=r"3\.11, 3\.12 or 3\.13.*make setup PYTHON="):
            check_python(version)

    def test_reads_pips_configuration_environment_first(self) -> None:
        listing = ":env:.timeout='9'\nglobal.index-url='https://general/'\nglobal.timeout='180'\ninstall.index-url='https://install/'\n"
        assert pip_options(listing) == {"timeout": "9", "index-url": "https://install/"}

    def test_ignores_sections_of_other_pip_commands(self) -> None:
        assert pip_options("download.index-url='https://elsewhere/'\n") == {}

    def test_passes_pips_index_on_to_uv(self) -> None:
        pip = {"index-url": "https://one/", "extra-index-url": "https://two/\nhttps://three/", "find-links": "/a /b"}
        passed = uv_environment(pip, {"PATH": "/bin"})
        assert passed == {
            "PATH": "/bin",
            "UV_DEFAULT_INDEX": "https://one/",
            "UV_INDEX": "https://two/ https://three/",
            "UV_FIND_LINKS": "/a,/b",
            "UV_INDEX_STRATEGY": "unsafe-best-match",
        }

    def test_leaves_what_the_user_set_for_uv(self) -> None:
        assert uv_environment({"index-url": "https://pip/"}, {"UV_DEFAULT_INDEX": "https://uv/"})[
            "UV_DEFAULT_INDEX"
        ] == ("https://uv/")

    def test_says_so_where_no_python_fits(self, tmp_path: Path) -> None:
        old = tmp_path / "python3"
        old.write_text("#!/bin/sh\nexit 1\n")
        old.chmod(0o755)
        done = subprocess.run(
            ["/bin/sh", ROOT / "dev" / "find-python"], env={"PATH": str(tmp_path)}, capture_output=True, text=True
        )
        assert done.returncode == 1
        assert "make setup PYTHON=" in done.stderr


class TestLocks:
    @pytest.mark.parametrize("name", LOCKS)
    def test_every_package_has_a_version_and_a_hash(self, name: str) -> None:
        entries = [entry for entry in re.split(r"\n(?=[a-z0-9])", lock(name)) if entry.strip()]
        assert entries
        assert [
            entry.partition(" ")[0] for entry in entries if not (PACKAGE.match(entry) and "--hash=sha256:" in entry)
        ] == []

    @pytest.mark.parametrize("name", LOCKS)
    def test_names_no_index_and_no_path(self, name: str) -> None:
        assert "://" not in lock(name)
        assert not re.search(r"^(--|file:|/|-e )", lock(name), re.MULTILINE)

    def test_installations_get_the_tested_versions(self) -> None:
        tested = {match[0] + match[2] for match in PACKAGE.findall(lock("dev"))}
        assert {match[0] + match[2] for match in PACKAGE.findall(lock("runtime"))} <= tested

    def test_airflow_is_pinned(self) -> None:
        assert ("apache-airflow", "", "3.3.2") in PACKAGE.findall(lock("runtime"))

    def test_every_dependency_of_the_project_is_locked(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
        locked = {match[0] for match in PACKAGE.findall(lock("runtime"))}
        assert {re.split(r"[\[<>=~]", name)[0] for name in project} <= locked


class TestGeneratedPages:
    def test_a_page_that_code_has_left_behind_is_stale(self, tmp_path: Path) -> None:
        (tmp_path / "fresh.md").write_text("new")
        (tmp_path / "old.md").write_text("old")
        pages = {Path("fresh.md"): lambda: "new", Path("old.md"): lambda: "new", Path("absent.md"): lambda: "new"}
        assert generated_docs.stale(pages, tmp_path) == [Path("old.md"), Path("absent.md")]

    def test_every_setting_is_in_the_page_with_variable_default_unit_and_meaning(self) -> None:
        row = "| `request_timeout` | `KUBERNAUT_REQUEST_TIMEOUT` | `30` | seconds | One request to a cluster's API. |"
        assert row in settings_docs.render().splitlines()

    @pytest.mark.parametrize(
        ("name", "annotation", "unit"),
        [
            ("max_plan_bytes", int, "bytes"),
            ("idempotency_hours", float, "hours"),
            ("poll_interval", float, "seconds"),
            ("confidence_human", float, "0 to 1"),
            ("recent_workflows", int, "count"),
            ("api_url", str, "–"),
        ],
    )
    def test_a_unit_follows_from_the_name(self, name: str, annotation: type, unit: str) -> None:
        assert settings_docs.unit(name, annotation) == unit

    def test_a_number_without_a_unit_is_refused(self) -> None:
        with pytest.raises(ValueError, match="'patience' is a float without a unit"):
            settings_docs.unit("patience", float)

    def test_a_setting_without_a_meaning_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Mute(BaseSettings):
            poll_interval: float = 1.0

        monkeypatch.setattr(settings_docs, "Settings", Mute)
        with pytest.raises(ValueError, match="'poll_interval' has no description"):
            settings_docs.render()


TABLE = '[BR-A-001]\ntext = "Something is done."\npage = "concepts.md"\n'


def result(nodeid: str, *requirements: str, outcome: str = "passed", summary: str = "") -> Result:
    return Result(
        nodeid=nodeid,
        outcome=outcome,
        requirements=requirements,
        summary=summary,
        file=nodeid.partition("::")[0],
        line=7,
    )


class TestTrace:
    def test_counts_the_tests_that_passed(self) -> None:
        table = requirements_trace.read_table(TABLE + TABLE.replace("001", "002"))
        results = [
            result("t.py::test_a", "BR-A-001"),
            result("t.py::test_b[1]", "BR-A-001", "BR-A-002"),
            result("t.py::test_c", "BR-A-002", outcome="failed"),
            result("t.py::test_d", "BR-A-002", outcome="skipped"),
            result("t.py::test_e"),
        ]
        assert requirements_trace.tsv(requirements_trace.link(table, results)) == "BR-A-001\t2\nBR-A-002\t1\n"

    def test_a_requirement_without_a_passing_test_is_counted_as_none(self) -> None:
        trace = requirements_trace.link(requirements_trace.read_table(TABLE), [])
        assert requirements_trace.tsv(trace) == "BR-A-001\t0\n"
        assert trace.unproved() == ["BR-A-001"]

    def test_a_marker_with_an_unknown_id_is_an_error_that_names_its_place(self) -> None:
        table = requirements_trace.read_table(TABLE)
        with pytest.raises(TraceFailed, match=r"tests/unit/t\.py:7: BR-A-999"):
            requirements_trace.link(table, [result("tests/unit/t.py::test_a", "BR-A-999", outcome="failed")])

    def test_the_page_shows_requirement_page_tests_and_deviation(self) -> None:
        requirement = Requirement(text="It is done.", page="concepts.md#words", deviation="Half of it.", why="Time.")
        results = [
            result("tests/t.py::TestX::test_a", "BR-A-001", summary="Does it."),
            result("tests/t.py::test_b[1]", "BR-A-001"),
            result("tests/t.py::test_b[2]", "BR-A-001"),
        ]
        page = requirements_trace.page(requirements_trace.link({"BR-A-001": requirement}, results))
        assert page.endswith(
            "## BR-A-001\n\nIt is done.\n\nDescribed in [concepts.md](concepts.md#words).\n\n"
            "**Deviation**: Half of it. *Why*: Time.\n\n"
            "- [`TestX.test_a`](../tests/t.py#L7): Does it.\n"
            "- [`test_b`](../tests/t.py#L7) (2 inputs): test b\n"
        )

    @pytest.mark.parametrize(
        ("entry", "message"),
        [
            ('[BR-A-001]\ntext = "x"\n', r"\[BR-A-001\].*page"),
            (TABLE + 'colour = "red"\n', r"\[BR-A-001\].*colour"),
            (TABLE + 'deviation = "Less."\n', r"deviation and why together"),
        ],
    )
    def test_a_table_entry_that_is_not_whole_is_refused(self, entry: str, message: str) -> None:
        with pytest.raises(TraceFailed, match=re.compile(message, re.DOTALL)):
            requirements_trace.read_table(entry)

    def test_a_run_of_a_part_is_refused(self) -> None:
        with pytest.raises(TraceFailed, match="not of a whole run"):
            requirements_trace.read_results('{"full": false, "tests": []}')

    def test_a_figure_that_the_benchmark_does_not_compute_is_refused(self) -> None:
        table = {"BR-A-001": Requirement(text="Fast.", page="concepts.md", figures=("speed_s",))}
        with pytest.raises(TraceFailed, match="no key 'speed_s'; it has: other_s"):
            requirements_trace.check_figures(table, {"other_s": {}})

    def test_writes_both_files_from_a_run(self, tmp_path: Path) -> None:
        for folder in ("build", "tests", "docs"):
            (tmp_path / folder).mkdir()
        (tmp_path / "docs" / "concepts.md").touch()
        (tmp_path / "tests" / "requirements.toml").write_text(TABLE)
        one = result("tests/t.py::test_a", "BR-A-001").model_dump_json()
        (tmp_path / "build" / "test-results.json").write_text(f'{{"full": true, "tests": [{one}]}}')
        requirements_trace.make(tmp_path)
        assert (tmp_path / "build" / "requirements.tsv").read_text() == "BR-A-001\t1\n"
        assert "## BR-A-001" in (tmp_path / "docs" / "requirements.md").read_text()

    def test_says_what_to_run_where_there_was_no_run(self, tmp_path: Path) -> None:
        with pytest.raises(TraceFailed, match="run make test first"):
            requirements_trace.make(tmp_path)

    def test_the_table_of_this_version_is_whole(self) -> None:
        table = requirements_trace.read_table((ROOT / "tests" / "requirements.toml").read_text())
        requirements_trace.check_pages(table, ROOT / "docs")
        assert "BR-WF-017" in table


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
    return document


def needed() -> set[tuple[str, str]]:
    """(verb, group/resource) of the installed actions, but those that only read the kind that their target has."""
    verbs = {verb for executor in executors().values() for verb in executor.spec.verbs}
    return {(verb, resource) for verb, space, resource in (one.partition(" ") for one in verbs) if " " not in resource}


def rights() -> set[tuple[str, str]]:
    """(verb, group/resource) that rbac.yaml gives, as an action's `verbs` write them."""
    given = set()
    for document in yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "rbac.yaml").read_text()):
        for rule in document.get("rules", []):
            for group in rule["apiGroups"]:
                prefix = f"{group}/" if group else ""
                given |= {(verb, prefix + resource) for resource in rule["resources"] for verb in rule["verbs"]}
    return given


class TestDeployment:
    def test_compose_starts_every_part_from_one_image(self) -> None:
        services = compose()["services"]
        ours = {name for name, service in services.items() if service.get("image") == "kubernaut-airflow:local"}
        assert set(services) == ours | {"postgres", "k3s"}
        assert ours == {"init", "api-server", "scheduler", "dag-processor", "triggerer"}
        assert {services[name]["build"]["dockerfile"] for name in ours} == {"deploy/Dockerfile"}

    def test_compose_publishes_on_loopback_only(self) -> None:
        published = [port for service in compose()["services"].values() for port in service.get("ports", [])]
        assert published == ["127.0.0.1:8080:8080"]

    def test_compose_volumes_and_configs_are_declared(self) -> None:
        document = compose()
        used = {volume.partition(":")[0] for service in document["services"].values() for volume in service["volumes"]}
        assert used == set(document["volumes"])

    def test_compose_settings_exist(self) -> None:
        names = {name for name in compose()["x-airflow"]["environment"] if name.startswith("KUBERNAUT_")}
        known = {f"KUBERNAUT_{name.upper()}" for name in Settings.model_fields}
        assert names <= known

    def test_the_image_holds_the_dag_files_where_compose_looks_for_them(self) -> None:
        bundles = compose()["x-airflow"]["environment"]["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"]
        (bundle,) = yaml.safe_load(bundles)
        assert f"COPY dags/ {bundle['kwargs']['path']}/" in (ROOT / "deploy" / "Dockerfile").read_text()
        assert bundle["name"] == Settings.model_fields["bundle_name"].default

    def test_what_the_image_copies_is_in_the_build_context(self) -> None:
        copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "deploy" / "Dockerfile").read_text(), re.MULTILINE)
        ignored = (ROOT / ".dockerignore").read_text().splitlines()
        for source in " ".join(copies).split():
            assert (ROOT / source).exists(), source
            assert f"!{source.rstrip('/')}" in ignored, source

    def test_rbac_gives_what_the_installed_actions_need(self) -> None:
        assert needed()
        assert needed() - rights() == set()

    def test_rbac_changes_nothing_that_no_installed_action_changes(self) -> None:
        changing = {(verb, resource) for verb, resource in rights() if verb not in ("get", "list", "watch")}
        assert changing - needed() == set()

    def test_rbac_reads_no_secrets_and_has_no_wildcard(self) -> None:
        assert not [right for right in rights() if "*" in "".join(right) or "secrets" in right[1]]


PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
TARGETS = (
    "help",
    "setup",
    "demo",
    "test",
    "test-unit",
    "lint",
    "format",
    "bench",
    "trace",
    "docs",
    "docs-check",
    "clean",
)


class TestPages:
    @pytest.mark.parametrize("page", PAGES)
    def test_links_lead_somewhere(self, page: str) -> None:
        folder = (ROOT / page).parent
        links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
        assert [link for link in links if "://" not in link and not (folder / link).exists()] == []

    @pytest.mark.parametrize("target", TARGETS)
    def test_the_makefile_has_the_target_and_says_what_it_does(self, target: str) -> None:
        assert re.search(rf"^{target}:.*## \S", (ROOT / "Makefile").read_text(), re.MULTILINE)

    def test_ci_is_a_program_that_bash_understands(self) -> None:
        script = ROOT / ".ci" / "run"
        assert script.stat().st_mode & stat.S_IXUSR
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
