"""Connections become stores: the only place where Airflow's connections are read."""
