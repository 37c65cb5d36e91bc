"""What becomes part of Airflow's own processes."""
