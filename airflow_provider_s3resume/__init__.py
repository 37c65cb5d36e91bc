"""Keep buckets in step from Airflow: list, diff, copy with part-level resume, verify, announce."""

__version__ = "0.1.0"
