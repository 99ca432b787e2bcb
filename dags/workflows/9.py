"""Workflows whose hash begins with 9: DAGs built from the store (airflow: dag)."""

from kubernaut_operators.dag_files import workflows

globals().update(workflows("9"))
