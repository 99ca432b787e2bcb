"""What the stack's Airflow is: its environment, its users, its parts' commands and its databases. Starts nothing
itself.

Called by `Stack`. The environment is built from nothing, so no `AIRFLOW_…` variable, kubeconfig, proxy or plugin
folder of the caller changes a test. Settings differ from Airflow's defaults only where a line below says why; what
the product needs from its users must work with the defaults too.
"""

import base64
import importlib.metadata
import importlib.util
import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devstack.postgres import AIRFLOW_DATABASE, STORE_DATABASE, STORE_TEMPLATE, Postgres
from devstack.prepared import Layer, digest
from devstack.processes import Part, run_command

REPOSITORY = Path(__file__).resolve().parent.parent
BUNDLE = "kubernaut"
"""The name of the DAG bundle with the repository's `dags/`."""

API_SERVER, SCHEDULER, DAG_PROCESSOR, TRIGGERER = "api-server", "scheduler", "dag-processor", "triggerer"
PARTS = (API_SERVER, SCHEDULER, DAG_PROCESSOR, TRIGGERER)


@dataclass(frozen=True)
class User:
    """A login of the stack; the password is the name. A user without a role may log in and do nothing."""

    name: str
    role: str

    @property
    def password(self) -> str:
        return self.name


USERS = (User("admin", "admin"), User("op", "op"), User("user", "user"), User("viewer", "viewer"), User("nobody", ""))


@dataclass(frozen=True)
class Home:
    """The folders of one stack."""

    root: Path

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def passwords(self) -> Path:
        return self.root / "passwords.json"

    def log(self, name: str) -> Path:
        """The log file of a part, or of a command of the start-up."""
        return self.logs / f"{name}.log"

    def create(self) -> None:
        for folder in (self.root, self.logs, self.root / "dags", self.root / "plugins"):
            folder.mkdir(parents=True, exist_ok=True)
        # Without the file each part writes one of 130 kB at its start, and four at once read each other's halves.
        (self.root / "airflow.cfg").write_text("# The settings are in the environment.\n")
        self.passwords.touch(mode=0o600)
        self.passwords.write_text(json.dumps({user.name: user.password for user in USERS}))


def base_environment(home: Home) -> dict[str, str]:
    """What any process gets. HOME is the stack's folder: the caller's `~/.kube/config` is out of reach."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.defpath]),
        "HOME": str(home.root),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        "no_proxy": "127.0.0.1,localhost",
        "AIRFLOW_HOME": str(home.root),
    }


def bundles(extra: Mapping[str, Path]) -> str:
    """`dag_bundle_config_list`: the repository's `dags/` and the caller's folders by name."""
    folders = {BUNDLE: REPOSITORY / "dags", **extra}
    return json.dumps(
        [
            {
                "name": name,
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(path.resolve())},
            }
            for name, path in folders.items()
        ]
    )


def settings(home: Home, server: Postgres, api_port: int, extra_bundles: Mapping[str, Path]) -> dict[str, str]:
    """The `AIRFLOW__SECTION__KEY` variables. Secrets are new for each stack and the same in all of its parts."""
    return {
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "4",  # each is a process from the start on
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home.root / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home.root / "plugins"),
        "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user.name}:{user.role}" for user in USERS),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home.passwords),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{api_port}/execution/",
        # One workflow is one DAG: the default of 16 would hold back a burst of the same repair.
        "AIRFLOW__CORE__MAX_ACTIVE_RUNS_PER_DAG": "1000",
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{api_port}/",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(api_port),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(48),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": driver_url(server.url(AIRFLOW_DATABASE)),
        "AIRFLOW__DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": bundles(extra_bundles),
        # A registered workflow needs no parse; a new shape must never arrive by one within a test.
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "600",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",  # steps in the triggerer never count as work
        "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": "1000",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home.logs / "tasks"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home.logs / "dag-files"),
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


def environment(
    home: Home,
    server: Postgres,
    api_port: int,
    *,
    connections: Mapping[str, str],
    extra_bundles: Mapping[str, Path],
    extra_env: Mapping[str, str],
) -> dict[str, str]:
    """The whole environment of a part; `extra_env` wins."""
    return {
        **base_environment(home),
        **settings(home, server, api_port, extra_bundles),
        **{f"AIRFLOW_CONN_{name.upper()}": value for name, value in connections.items()},
        "KUBERNAUT_STORE_URL": server.url(STORE_DATABASE),
        **extra_env,
    }


def driver_url(url: str) -> str:
    """Airflow's synchronous engine speaks psycopg2."""
    return url.replace("postgresql://", "postgresql+psycopg2://", 1)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "airflow", *arguments]


def parts(home: Home, env: Mapping[str, str]) -> dict[str, Part]:
    """The four processes. Logs are read from the disk that they share: nobody has to serve them."""
    commands = {
        API_SERVER: command("api-server"),
        SCHEDULER: command("scheduler", "--skip-serve-logs"),
        DAG_PROCESSOR: command("dag-processor"),
        TRIGGERER: command("triggerer", "--skip-serve-logs"),
    }
    return {name: Part(name, commands[name], log=home.log(name), env=env, cwd=home.root, grace=8.0) for name in PARTS}


def airflow_layer(home: Home, env: Callable[[], Mapping[str, str]]) -> Layer:
    """Airflow's own tables. `env` is called when the server runs, since its URL holds the password."""

    def build(server: Postgres) -> None:
        server.create_database(AIRFLOW_DATABASE)
        run_command(
            command("db", "migrate"),
            log=home.log("airflow-db-migrate"),
            env=env(),
            cwd=home.root,
            what="airflow db migrate",
        )

    return Layer("airflow database", importlib.metadata.version("apache-airflow"), build)


def store_commands() -> list[list[str]]:
    """The commands that create our tables, as far as the product has them."""
    if importlib.util.find_spec("kubernaut.store.migrate") is None:
        return []
    return [[sys.executable, "-m", "kubernaut.store.migrate"]]


def store_layer(home: Home, env: Callable[[], Mapping[str, str]], commands: Sequence[Sequence[str]]) -> Layer:
    """Our store and an untouched copy of it, from which tests make theirs."""

    def build(server: Postgres) -> None:
        server.create_database(STORE_DATABASE)
        for number, one in enumerate(commands, 1):
            run_command(one, log=home.log(f"prepare-{number}"), env=env(), cwd=home.root, what=" ".join(one))
        server.create_database(STORE_TEMPLATE, template=STORE_DATABASE, owner=STORE_DATABASE)

    return Layer("store", json.dumps([[*map(list, commands)], digest(REPOSITORY / "kubernaut" / "store")]), build)
