"""Workflows whose hash begins with d: DAGs built from the store (airflow: dag)."""

from kubernaut_operators.dag_files import workflows

globals().update(workflows("d"))
