"""Tasks of a sync: glue between Airflow and the engine."""
