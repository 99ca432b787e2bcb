"""The store: our own PostgreSQL schema, how it is reached, and what is read from it and written to it (docs/store.md)."""
