"""Keeps prepared PostgreSQL data directories, because Airflow's migrations take longer than everything else of a start.

Called by `Stack` and by the test fixtures. A data directory is built in *layers*, each with a key that holds all that
it depends on; the directory after each layer is kept under ``~/.cache/kubernaut/devstack``
(`KUBERNAUT_DEVSTACK_CACHE` moves it) and later starts copy it. Deleting the folder is always safe.
"""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from devstack import postgres
from devstack.postgres import Postgres

FORMAT = 1
"""Raise it when the way in which a layer is built changes."""
KEPT = 6
"""Directories that stay (60 MB each); the least recently used ones go."""


@dataclass(frozen=True)
class Layer:
    """One step of the preparation.

    :param name: for people, in progress lines.
    :param key: everything that the result depends on, as text.
    :param build: changes the databases of the running server.
    """

    name: str
    key: str
    build: Callable[[Postgres], None]


def cache_folder() -> Path:
    chosen = os.environ.get("KUBERNAUT_DEVSTACK_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubernaut" / "devstack"


def digest(folder: Path) -> str:
    """Of every file below, with its name; compiled files left out."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            total.update(f"{path.relative_to(folder)}\0".encode())
            total.update(path.read_bytes())
    return total.hexdigest()


def prepare(server: Postgres, layers: Sequence[Layer], progress: Callable[[str], None]) -> None:
    """Fills the server's data directory, which must not exist yet, from the deepest kept layer; builds and keeps the
    rest; leaves the server running."""
    keys = _keys(layers)
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "lock"):
        kept = max((depth for depth in range(len(keys)) if (folder / keys[depth]).exists()), default=-1)
        if kept >= 0:
            server.copy_from(folder / keys[kept] / "data")
            os.utime(folder / keys[kept])
        else:
            server.create()
        server.start()
        for depth in range(kept + 1, len(layers)):
            started = time.monotonic()
            layers[depth].build(server)
            server.stop()
            _keep(server, folder / keys[depth])
            server.start()
            progress(f"{layers[depth].name}: built and kept for later starts, {time.monotonic() - started:.1f} s")
        _prune(folder)


def _keys(layers: Sequence[Layer]) -> list[str]:
    """One name for each layer that holds the layers below it too."""
    chain = hashlib.sha256(f"{FORMAT} {postgres.version()} {os.uname().machine} {os.geteuid() == 0}".encode())
    keys = []
    for layer in layers:
        chain.update(f"\0{layer.name}\0{layer.key}".encode())
        keys.append(f"{layer.name.replace(' ', '-')}-{chain.hexdigest()[:16]}")
    return keys


def _keep(server: Postgres, target: Path) -> None:
    """Renamed into place when whole: a reader never sees half a directory."""
    draft = target.with_name(f".draft-{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    server.save_to(draft / "data")
    draft.rename(target)


def _prune(folder: Path) -> None:
    kept = sorted(
        (path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime, reverse=True
    )
    for path in kept[KEPT:]:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two sessions on one machine build a missing directory once; a reader does not meet a directory that is pruned."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
