"""Alembic's entry point. Runs in the transaction that `kubernaut.store.migrate` opened; not by itself."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection

from kubernaut.store.tables import SCHEMA, Base

connection: Connection | None = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("run the migrations with `python -m kubernaut.store.migrate`, not with the alembic command")

context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    version_table_schema=SCHEMA,
    include_schemas=True,
)
with context.begin_transaction():
    context.run_migrations()
