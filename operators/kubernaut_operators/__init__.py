"""What runs inside Airflow's tasks: operators, triggers, sensors and the DAG factory.

Imports `airflow.sdk` and Airflow's trigger and provider packages, never Airflow's core models.
"""
