"""Workflows whose hash begins with e: DAGs built from the store (airflow: dag)."""

from kubernaut_operators.dag_files import workflows

globals().update(workflows("e"))
