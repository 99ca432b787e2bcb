"""Settings from Airflow's configuration, below the environment's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kubernaut_operators import process

from kubernaut import settings
from kubernaut.store import engine


@pytest.fixture(autouse=True)
def _as_a_new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("KUBERNAUT_CLUSTERS", raising=False)
    process.configure.cache_clear()
    yield
    process.configure.cache_clear()
    settings.use({})
    engine.set_url_provider(None)


def test_the_section_kubernaut_of_airflows_configuration_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__KUBERNAUT__STEP_TIMEOUT", "77")
    monkeypatch.setenv("AIRFLOW__KUBERNAUT__CLUSTERS", '{"prod": "kubernetes_prod"}')

    process.configure()

    assert settings.get_settings().step_timeout == 77
    assert settings.get_settings().clusters == {"prod": "kubernetes_prod"}


def test_a_variable_of_our_own_wins_over_the_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__KUBERNAUT__STEP_TIMEOUT", "77")
    monkeypatch.setenv("KUBERNAUT_STEP_TIMEOUT", "55")

    process.configure()

    assert settings.get_settings().step_timeout == 55
