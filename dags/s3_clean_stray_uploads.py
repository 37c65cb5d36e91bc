"""Report unfinished uploads at a target, and abort those that our own checkpoints name."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_s3resume.operators.clean_uploads import CleanStrayUploadsOperator
from airflow_provider_s3resume.operators.params import (
    CLEANING_FROM_PARAMS,
    cleaning_params,
    target_params,
)
from airflow_provider_s3resume.operators.retries import RETRIES

SCHEDULE = os.environ.get("S3RESUME_CLEAN_SCHEDULE", "none")
"""Cron expression; ``none`` leaves the DAG to manual runs. A scheduled run is a dry run, too,
unless the default of *Dry run* below is changed."""
RETRY_DELAY = timedelta(seconds=float(os.environ.get("S3RESUME_RETRY_DELAY_S", "30")))
"""What waits before another attempt are multiples of, by the class of the error."""

with DAG(
    dag_id="s3_clean_stray_uploads",
    description="Report unfinished uploads at a target; abort those that old checkpoints name.",
    doc_md="""
### What it does

A copy that failed and is never tried again leaves an unfinished upload, which costs storage, and a
checkpoint, which knows its id. `clean` looks at all checkpoints of the state location that were
written for this target and not touched for *Older than* days: their uploads are aborted, and they
are forgotten. The next copy of such an object starts over.

**Dry run is on** until a run says otherwise: nothing is changed, and the log, XCom and the stored
report (`cleanups/` in the state location) say what would be.

Uploads that no checkpoint names are counted, with their bytes and the oldest, and never touched,
whatever their age: they may be other tools'. A lifecycle rule of the bucket
(AbortIncompleteMultipartUpload) is the way to end those.

### Before the first run

Connection, target and state location are those of the sync to clean up after; their defaults come
from `S3RESUME_TARGET_CONN_ID`, `S3RESUME_TARGET_URI` and `S3RESUME_STATE_URI` in the environment.
`S3RESUME_CLEAN_SCHEDULE` is the schedule, such as `0 5 * * 0` (none by default),
`S3RESUME_RETRY_DELAY_S` the seconds that waits before another attempt are made of (30).
""",
    schedule=None if SCHEDULE == "none" else SCHEDULE,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=20),
    params={
        **target_params(
            target_conn_id=os.environ.get("S3RESUME_TARGET_CONN_ID", "s3_target"),
            target_uri=os.environ.get("S3RESUME_TARGET_URI", "s3://demo-target/"),
            state_uri=os.environ.get("S3RESUME_STATE_URI") or None,
        ),
        **cleaning_params(),
    },
    tags=["s3resume"],
) as dag:
    CleanStrayUploadsOperator(
        task_id="clean",
        **CLEANING_FROM_PARAMS,
        execution_timeout=timedelta(hours=6),
        refuse_unknown_params=True,
        **{**RETRIES, "retry_delay": RETRY_DELAY},
    )
