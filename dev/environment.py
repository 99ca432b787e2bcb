"""Builds `.venv` in the repository root from the locks: the whole of `make setup`.

Run by the Makefile as `python -m dev.environment` with any Python that the project supports; standard library only,
since it runs before anything is installed. It is idempotent: what is there already stays. It never decides *when* it
has to run (the Makefile's stamp does) and never changes a lock (`dev/locks.py` does).

uv installs, because it needs seconds where pip needs a minute. It knows nothing of pip's configuration, so the package
index that pip is set up for is passed on; where uv fails all the same, pip installs the same locks.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCKS = ROOT / "requirements"
STAMP = VENV / ".kubernaut-setup"
OLDEST, BEYOND = (3, 11), (3, 14)


class SetupFailed(Exception):
    """Setup cannot go on; the text says what to do."""


def check_python(version: tuple[int, ...]) -> None:
    """Raises `SetupFailed` unless the project supports this Python."""
    if not OLDEST <= version[:2] < BEYOND:
        raise SetupFailed(
            f"Python {'.'.join(map(str, version[:3]))} cannot be used: Kubernaut needs 3.11, 3.12 or 3.13. "
            "Name one that is installed: make setup PYTHON=/path/to/python3.11"
        )


def pip_options(listing: str) -> dict[str, str]:
    """What `pip config list` says, by option name: the environment over the section `[install]` over `[global]`."""
    ranked: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        key, found, quoted = line.partition("=")
        section, _, option = key.strip().rpartition(".")
        rank = {"global": 0, "install": 1, ":env:": 2}.get(section)
        if found and rank is not None and rank >= ranked.get(option, (0, ""))[0]:
            ranked[option] = (rank, str(ast.literal_eval(quoted.strip())))
    return {option: value for option, (_, value) in ranked.items()}


def uv_environment(pip: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which uv asks the index that pip would ask. What the user has set for uv stays."""
    words = {option: value.split() for option, value in pip.items()}
    wanted = {
        "UV_DEFAULT_INDEX": pip.get("index-url", ""),
        "UV_INDEX": " ".join(words.get("extra-index-url", ())),
        "UV_FIND_LINKS": ",".join(words.get("find-links", ())),
        "UV_NO_INDEX": "1" if pip.get("no-index", "").lower() in ("1", "true", "yes", "on") else "",
        "UV_INSECURE_HOST": " ".join(words.get("trusted-host", ())),
        "UV_HTTP_TIMEOUT": pip.get("timeout", pip.get("default-timeout", "")),
        "SSL_CERT_FILE": pip.get("cert", ""),
        "ALL_PROXY": pip.get("proxy", ""),
        # pip looks at all its indexes; the hashes in the lock make that safe.
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    return {**{name: value for name, value in wanted.items() if value}, **environment}


def say(text: str) -> None:
    print(f"[setup] {text}", flush=True)


@contextmanager
def timed(what: str) -> Iterator[None]:
    say(f"{what} …")
    start = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - start:.1f} s")


def run(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, quiet: bool = False) -> bool:
    """Whether the command succeeded. A quiet command's output is shown only when it failed."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=dict(env) if env is not None else None,
        text=True,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
        check=False,
    )
    if done.returncode and quiet:
        print(done.stdout, flush=True)
    return done.returncode == 0


def works() -> bool:
    """Whether `.venv` holds a Python that runs, is supported, and was made for this folder."""
    if not PYTHON.exists():
        return False
    probe = "import sys; print(sys.prefix, *sys.version_info[:2])"
    try:
        done = subprocess.run([str(PYTHON), "-c", probe], capture_output=True, text=True, check=False)
    except OSError:
        return False
    if done.returncode:
        return False
    prefix, major, minor = done.stdout.rsplit(maxsplit=2)
    return Path(prefix).resolve() == VENV.resolve() and OLDEST <= (int(major), int(minor)) < BEYOND


def create() -> None:
    """An environment with pip in it. One that no longer works (moved, its Python gone) is built anew."""
    if works():
        return
    try:
        import ensurepip  # noqa: F401  (Debian ships Python without it)
        import venv  # noqa: F401
    except ImportError as error:
        raise SetupFailed(
            f"{sys.executable} cannot make virtual environments ({error}). On Debian and Ubuntu: "
            f"apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-venv; "
            "or name another Python: make setup PYTHON=/path/to/python3.11"
        ) from error
    with timed("virtual environment .venv"):
        if VENV.exists():
            shutil.rmtree(VENV)
        if not run([sys.executable, "-m", "venv", VENV], quiet=True):
            raise SetupFailed(f"{sys.executable} could not make the virtual environment; its words are above")


def install() -> None:
    """The locked packages, then the project itself (editable, so that a change is live at once)."""
    listing = subprocess.run([str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    env = uv_environment(pip_options(listing.stdout), os.environ)
    pip: list[str | Path] = [PYTHON, "-m", "pip", "--disable-pip-version-check"]
    with timed("uv, which installs the rest"):
        has_uv = run([*pip, "install", "-q", "--require-hashes", "-r", LOCKS / "bootstrap.lock"], quiet=True)
    uv: list[str | Path] = [VENV / "bin" / "uv", "pip"]
    into: list[str | Path] = ["--python", PYTHON]
    with timed("locked packages (requirements/dev.lock)"):
        locks = [LOCKS / "bootstrap.lock", LOCKS / "dev.lock"]
        brief = [] if sys.stderr.isatty() else ["-q"]
        installed = has_uv and run([*uv, "sync", *into, *brief, "--require-hashes", *locks], env=env)
        if not installed:
            say("uv could not install them (see above); pip tries the same lock, which takes a minute or two …")
            if not run([*pip, "install", "--require-hashes", "-r", LOCKS / "dev.lock"]):
                raise SetupFailed(
                    "the locked packages could not be installed; pip's words are above. Where the index is not "
                    "reachable, point pip at one (PIP_INDEX_URL or pip's configuration file) and run make setup again."
                )
    with timed("this project, editable"):
        project: list[str | Path] = ["--no-deps", "--no-build-isolation", "-e", ROOT]
        done = installed and run([*uv, "install", *into, "-q", *project], env=env, quiet=True)
        if not done and not run([*pip, "install", "-q", *project], quiet=True):
            raise SetupFailed("the project itself could not be installed; pip's words are above")


def main() -> int:
    start = time.monotonic()
    try:
        check_python(sys.version_info[:3])
        say(f"Python {sys.version.split()[0]} ({sys.executable})")
        create()
        install()
    except SetupFailed as error:
        print(f"[setup] failed: {error}", file=sys.stderr)
        return 1
    STAMP.touch()
    say(f"ready in {time.monotonic() - start:.1f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
