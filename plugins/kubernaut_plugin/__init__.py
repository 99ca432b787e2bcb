"""What runs inside Airflow's API server and scheduler: REST API, listener, registrar, reconciler. May import airflow core."""
