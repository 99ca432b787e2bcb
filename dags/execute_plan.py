"""A plan through Airflow's own trigger form and `POST /api/v2/dags/execute_plan/dagRuns` (airflow: dag)."""

from kubernaut_operators.execute_plan import build

dag = build()
