"""docs/rest-api.md tells of every route and every problem."""

from pathlib import Path

from fastapi import FastAPI

PAGE = Path(__file__).parents[3] / "docs" / "rest-api.md"


def test_the_page_has_every_route(app: FastAPI) -> None:
    text = PAGE.read_text()
    for route in app.routes:
        for method in route.methods:
            path = "/kubernaut" + route.path if route.path == "/livez" else route.path.removeprefix("/api/v1")
            assert f"| `{method} {path}` |" in text


def test_the_page_has_every_code_of_a_problem() -> None:
    from kubernaut_plugin.api.problems import TITLES

    text = PAGE.read_text()
    assert [code for code in TITLES if f"`{code}`" not in text] == []
