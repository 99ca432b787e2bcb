"""Where the store is, and what is said when it cannot be used. Nothing here connects to a database."""

from collections.abc import Iterator

import pytest

from kubernaut.errors import ConfigurationError
from kubernaut.settings import get_settings
from kubernaut.store import engine
from kubernaut.store.audit import MAX_TEXT, storable
from kubernaut.store.tables import STEP_STATES
from kubernaut.workflow.gate import StepState


@pytest.fixture(autouse=True)
def _no_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("KUBERNAUT_STORE_URL", raising=False)
    get_settings.cache_clear()
    yield
    engine.set_url_provider(None)
    get_settings.cache_clear()


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://me:pw@db:5433/kn",
        "postgres://me:pw@db:5433/kn",
        "postgresql+psycopg://me:pw@db:5433/kn",
        "postgresql+asyncpg://me:pw@db:5433/kn",
        "postgresql+psycopg2://me:pw@db:5433/kn",
    ],
)
def test_every_form_of_a_postgresql_url_is_read(given: str) -> None:
    assert engine.dsn(engine.parse_url(given)) == "postgresql://me:pw@db:5433/kn"


@pytest.mark.parametrize("given", ["sqlite:///x.db", "mysql://me:hunter2@db/kn"])
def test_another_database_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError, match="only PostgreSQL is supported") as caught:
        engine.parse_url(given)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("given", ["hunter2", "postgresql//me:hunter2@db", "postgresql://me:hunter2@db:port/kn"])
def test_an_unreadable_url_is_not_shown(given: str) -> None:
    with pytest.raises(ConfigurationError, match="percent-encode") as caught:
        engine.parse_url(given)
    assert "hunter2" not in str(caught.value)


def test_without_a_store_the_text_names_both_ways_to_configure_one() -> None:
    with pytest.raises(ConfigurationError, match=r"KUBERNAUT_STORE_URL.*kubernaut_store"):
        engine.store_url()


def test_the_setting_wins_over_the_connection_of_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    engine.set_url_provider(lambda: "postgresql://airflow@db/kn")
    assert engine.store_url().username == "airflow"
    monkeypatch.setenv("KUBERNAUT_STORE_URL", "postgresql://setting@db/kn")
    get_settings.cache_clear()
    assert engine.store_url().username == "setting"


def test_the_url_masks_its_password_where_people_read_it() -> None:
    url = engine.parse_url("postgresql://me:hunter2@db/kn")
    assert "hunter2" not in str(url)
    assert "hunter2" not in repr(url)
    assert "hunter2" not in str(engine.unavailable(url, OSError("cannot log in with hunter2")))


def test_the_states_of_steps_are_those_of_the_gate() -> None:
    assert set(STEP_STATES) == {state.value for state in StepState}


@pytest.mark.parametrize(
    ("given", "kept"),
    [("plain ✓", "plain ✓"), ("a\0b", "a\N{REPLACEMENT CHARACTER}b"), ("a\ud800b", "a?b")],
)
def test_foreign_text_is_made_storable(given: str, kept: str) -> None:
    assert storable(given) == kept


def test_foreign_text_is_cut() -> None:
    assert len(storable("x" * 100_000)) == MAX_TEXT
