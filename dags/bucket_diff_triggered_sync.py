"""Sync as soon as there is enough to copy: a sensor in the triggerer starts the tasks."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Param

from airflow_provider_s3resume.operators.params import (
    COPYING_FROM_PARAMS,
    PLANNING_FROM_PARAMS,
    SIDES_FROM_PARAMS,
    copying_params,
    planning_params,
    sides_params,
)
from airflow_provider_s3resume.operators.sync import RETRIES, sync_task_group
from airflow_provider_s3resume.sensors.bucket_diff import BucketDiffSensor

POOL = "s3resume_transfer"
SCHEDULE = os.environ.get("S3RESUME_SCHEDULE", "*/10 * * * *")
RETRY_DELAY = timedelta(seconds=float(os.environ.get("S3RESUME_RETRY_DELAY_S", "30")))
"""What waits before another attempt are multiples of, by the class of the error."""
RETRYING = {**RETRIES, "retry_delay": RETRY_DELAY}

with DAG(
    dag_id="bucket_diff_triggered_sync",
    description="Wait until two buckets differ enough, then copy what differs.",
    doc_md=f"""
### What it does

`wait` is deferred: it occupies no worker while the triggerer lists both buckets now and then. When
there is enough to copy, its plan is handed to `diff`, so nothing is listed twice, and the rest is
as in `s3_to_s3_nightly_sync`. The next run waits again.

The transfer tasks need their pool: `airflow pools set {POOL} 4 "S3 transfers"`.
""",
    schedule=None if SCHEDULE == "none" else SCHEDULE,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={
        **sides_params(
            source_conn_id=os.environ.get("S3RESUME_SOURCE_CONN_ID", "s3_source"),
            source_uri=os.environ.get("S3RESUME_SOURCE_URI", "s3://demo-source/"),
            target_conn_id=os.environ.get("S3RESUME_TARGET_CONN_ID", "s3_target"),
            target_uri=os.environ.get("S3RESUME_TARGET_URI", "s3://demo-target/"),
            state_uri=os.environ.get("S3RESUME_STATE_URI") or None,
        ),
        **planning_params(),
        **copying_params(),
        "min_objects": Param(
            1,
            type="integer",
            minimum=1,
            title="Objects to copy, at least",
            section="When to start",
        ),
        "min_bytes": Param(
            0, type="integer", minimum=0, title="Bytes to copy, at least", section="When to start"
        ),
        "min_age_s": Param(
            0,
            type="integer",
            minimum=0,
            title="Seconds since the newest of them was written, at least",
            description_md="What is still being uploaded is waited for.",
            section="When to start",
        ),
    },
    tags=["s3resume"],
) as dag:
    wait = BucketDiffSensor(
        task_id="wait",
        **SIDES_FROM_PARAMS,
        **PLANNING_FROM_PARAMS,
        min_objects="{{ params.min_objects }}",
        min_bytes="{{ params.min_bytes }}",
        min_age_s="{{ params.min_age_s }}",
        poke_interval=float(os.environ.get("S3RESUME_POKE_INTERVAL_S", "60")),
        timeout=timedelta(days=30),
        **RETRYING,
    )
    sync = sync_task_group(
        **SIDES_FROM_PARAMS,
        planning=PLANNING_FROM_PARAMS,
        copying={**COPYING_FROM_PARAMS, "execution_timeout": timedelta(hours=6)},
        plan="{{ ti.xcom_pull(task_ids='wait') | tojson }}",
        asset_uri="{{ params.target_uri }}",
        pool=POOL,
        retrying=RETRYING,
        refuse_unknown_params=True,
        prefix_group_id=False,
    )
    wait >> sync
