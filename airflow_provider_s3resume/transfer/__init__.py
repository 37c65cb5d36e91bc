"""Doing what a plan says: copy, resume, verify, report. No Airflow, no SDK, no concrete store."""
