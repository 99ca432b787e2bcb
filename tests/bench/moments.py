"""When something was committed in a database, told by the database itself.

A trigger of the benchmark's own says `NOTIFY` for each row that comes into the state that is waited for; PostgreSQL
delivers it when the transaction has committed and never before. So a moment has no poll interval in it: only the way of
one message to this process, which counts against the figure. The trigger costs one comparison for each row that is
written, and one message for those that match.
"""

import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import LiteralString, Self

import psycopg
from psycopg import sql

CHANNEL = "kubernaut_bench"


@dataclass(frozen=True)
class Watched:
    """Rows that shall be told of.

    :param row: SQL text of the name under which a moment is kept; `NEW` is the row
    :param when: SQL condition over `NEW` and `OLD`
    """

    table: LiteralString
    row: LiteralString
    when: LiteralString


DEFERRED = Watched(
    table="task_instance",
    row="'deferred ' || NEW.run_id || ' ' || NEW.task_id",
    when="NEW.state = 'deferred' AND OLD.state IS DISTINCT FROM NEW.state",
)
"""A task instance that is handed over to the triggerer: `deferred <run_id> <task_id>`."""
RUN_STARTED = Watched(
    table="dag_run",
    row="'started ' || NEW.run_id || ' '",
    when="NEW.state = 'running' AND OLD.state IS DISTINCT FROM NEW.state",
)
ENDED = Watched(
    table="kubernaut.execution",
    row="'ended ' || NEW.id || ' ' || NEW.phase",
    when="NEW.phase IN ('completed', 'failed', 'cancelled') AND OLD.phase IS DISTINCT FROM NEW.phase",
)
"""An execution that has ended: `ended <id> <phase>`."""
REGISTERED = Watched(
    table="kubernaut.execution",
    row="'registered ' || NEW.id || ' '",
    when="NEW.registered_at IS NOT NULL AND OLD.registered_at IS NULL",
)


class Moments:
    """Listens in a thread of its own; a context manager. Moments are `time.monotonic()`."""

    def __init__(self, url: str, *watched: Watched) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._found: dict[str, float] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="bench-moments", daemon=True)
        for number, each in enumerate(watched):
            self._install(each, f"{CHANNEL}_{number}")
        self._connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))

    def _install(self, watched: Watched, name: str) -> None:
        schema_and_table = sql.Identifier(*watched.table.split("."))
        self._connection.execute(
            sql.SQL(
                "CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN PERFORM pg_notify({channel}, {row}); RETURN NULL; END $$"
            ).format(name=sql.Identifier(name), channel=sql.Literal(CHANNEL), row=sql.SQL(watched.row))
        )
        self._connection.execute(
            sql.SQL(
                "CREATE TRIGGER {name} AFTER UPDATE ON {table} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION {name}()"
            ).format(name=sql.Identifier(name), table=schema_and_table, when=sql.SQL(watched.when))
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join(timeout=10)
        self._connection.close()

    def _listen(self) -> None:
        while not self._stopping.is_set():
            for notification in self._connection.notifies(timeout=0.5):
                now = time.monotonic()
                with self._changed:
                    self._found.setdefault(notification.payload, now)
                    self._changed.notify_all()
                if self._stopping.is_set():
                    return

    def first(self, prefix: str, timeout: float) -> tuple[str, float]:
        """The earliest of those whose name begins so: the rest of its name, and the moment. Raises `TimeoutError`."""

        def earliest() -> tuple[str, float] | None:
            fitting = [(name, moment) for name, moment in self._found.items() if name.startswith(prefix)]
            return min(fitting, key=lambda each: each[1], default=None)

        with self._changed:
            found = self._changed.wait_for(earliest, timeout)
        if found is None:
            raise TimeoutError(f"not within {timeout:g} s: {prefix}…")
        return found[0].removeprefix(prefix), found[1]
