"""Talking to stores: one contract in ``base``, each SDK in a file of its own, no Airflow."""
