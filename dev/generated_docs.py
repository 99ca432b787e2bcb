"""Writes the pages under `docs/` that are made from code (`make docs`), or says which are stale (`make docs-check`).

One line in `PAGES` is all that a further generated page needs. `docs/requirements.md` is not among them: it is made
from a test run, by `dev.requirements_trace`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from dev import openapi_docs, schema_docs, settings_docs
from dev.environment import ROOT

PAGES: Mapping[Path, Callable[[], str]] = {
    settings_docs.PAGE: settings_docs.render,
    schema_docs.PAGE: schema_docs.render,
    openapi_docs.PAGE: openapi_docs.render,
}


def stale(pages: Mapping[Path, Callable[[], str]], root: Path) -> list[Path]:
    """The pages whose file does not say what the code says now."""
    return [
        page for page, render in pages.items() if not (root / page).exists() or (root / page).read_text() != render()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make docs", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a page is stale")
    check = parser.parse_args().check
    behind = stale(PAGES, ROOT)
    for page in behind:
        if not check:
            (ROOT / page).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / page).write_text(PAGES[page]())
        print(f"[docs] {page}: {'stale, run make docs and commit it' if check else 'written'}")
    if not behind:
        print(f"[docs] {len(PAGES)} generated pages are up to date")
    return 1 if check and behind else 0


if __name__ == "__main__":
    raise SystemExit(main())
