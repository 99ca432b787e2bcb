"""Resolves `requirements/*.lock` anew: what `make lock` runs.

A lock holds versions and hashes for every platform and Python that the project supports, and never an index's address.
`bootstrap` is uv alone, `dev` is everything that a developer and CI need, `runtime` what an installation needs, in the
versions of `dev`. What is locked stays where it is unless `pyproject.toml` or `--upgrade` says otherwise.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from dev.environment import LOCKS, PYTHON, ROOT, VENV, pip_options, uv_environment

COMMON = (
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-emit-find-links",
    "--no-header",
    "--annotation-style=line",
    "--quiet",
)
LOCKED: dict[str, tuple[str, ...]] = {
    "bootstrap": ("requirements/bootstrap.in",),
    "dev": ("pyproject.toml", "--group=dev"),
    "runtime": ("pyproject.toml", "--constraint=requirements/dev.lock"),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make lock", description=__doc__.splitlines()[0])
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that are allowed")
    upgrade = ["--upgrade"] if parser.parse_args().upgrade else []
    listing = subprocess.run([str(PYTHON), "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    environment = uv_environment(pip_options(listing.stdout), os.environ)
    for name, sources in LOCKED.items():
        lock = LOCKS / f"{name}.lock"
        command = [str(VENV / "bin" / "uv"), "pip", "compile", *sources, *COMMON, *upgrade, "--output-file", str(lock)]
        if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
            print(f"[lock] {lock.relative_to(ROOT)} could not be resolved; uv's words are above", file=sys.stderr)
            return 1
        print(f"[lock] {lock.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
