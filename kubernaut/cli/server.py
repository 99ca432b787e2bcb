"""Options and the connection that every command shares which speaks to a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kubernaut.rest_client import RestClient

User = Annotated[
    str | None, typer.Option("--user", help="Airflow user; KUBERNAUT_TOKEN or KUBERNAUT_USER unless given.")
]
Password = Annotated[
    str | None,
    typer.Option(
        "--password", help="The user's password; better in KUBERNAUT_PASSWORD, where no process list shows it."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")]


def connect(user: str | None, password: str | None) -> RestClient:
    """To the server of the setting `api_url` (KUBERNAUT_API_URL)."""
    from kubernaut.rest_client import Credentials, RestClient
    from kubernaut.settings import get_settings

    return RestClient(
        base_url=get_settings().api_url.rstrip("/"), credentials=Credentials.from_environment(user, password)
    )
