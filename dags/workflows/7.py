"""Workflows whose hash begins with 7: DAGs built from the store (airflow: dag)."""

from kubernaut_operators.dag_files import workflows

globals().update(workflows("7"))
