"""Keep an S3 bucket in step with a folder of the workers, every night."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_s3resume.operators.params import (
    COPYING_FROM_PARAMS,
    LOCAL_SOURCE_FROM_PARAMS,
    PLANNING_FROM_PARAMS,
    copying_params,
    local_symlinks_params,
    planning_params,
    sides_params,
)
from airflow_provider_s3resume.operators.sync import RETRIES, sync_task_group

POOL = "s3resume_transfer"
SCHEDULE = os.environ.get("S3RESUME_SCHEDULE", "0 2 * * *")
"""Cron expression; ``none`` leaves the DAG to manual runs and to other DAGs."""
RETRY_DELAY = timedelta(seconds=float(os.environ.get("S3RESUME_RETRY_DELAY_S", "30")))
"""What waits before another attempt are multiples of, by the class of the error."""

with DAG(
    dag_id="local_to_s3_upload",
    description="List a folder and a bucket, upload what differs, verify it, report it.",
    doc_md=f"""
### What it does

`list` checks both sides, `diff` makes the plan, `transfer` uploads its batches, one mapped task for
each, `verify` compares what landed with what was read, `report` adds up the run and fails it if one
file failed. Objects that lie at the target only are left alone.

Whatever ends a task, the next attempt goes on at the part where it stopped. A file that is changed
while it is read is begun again as it is now, and never uploaded half old, half new.

### Before the first run

* The folder has to be the same for all workers: a shared file system, or a single worker.
* Make a connection of type `s3resume_local` (or `fs`) whose `path` is the folder that URIs may lie
  in, and one of type `aws` or `s3resume` for the target. Their ids, and both URIs, are parameters;
  their defaults come from `S3RESUME_LOCAL_CONN_ID`, `S3RESUME_LOCAL_SOURCE_URI`,
  `S3RESUME_TARGET_CONN_ID`, `S3RESUME_TARGET_URI` and `S3RESUME_STATE_URI` in the environment.
* `S3RESUME_SCHEDULE` in the environment is the schedule (`0 2 * * *`; `none` for no schedule),
  `S3RESUME_RETRY_DELAY_S` the seconds before a task's second attempt (30; longer when throttled,
  shorter when stopped, and doubled with each further one, up to ten minutes).
* Make the pool of the transfer tasks: `airflow pools set {POOL} 4 "S3 transfers"`.

### A manual run

asks for all parameters. With *Dry run* it plans and reports, and copies nothing.
""",
    schedule=None if SCHEDULE == "none" else SCHEDULE,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    # The last resort: whatever hangs, the next night's run starts.
    dagrun_timeout=timedelta(hours=20),
    params={
        **sides_params(
            source_conn_id=os.environ.get("S3RESUME_LOCAL_CONN_ID", "local_folder"),
            source_uri=os.environ.get("S3RESUME_LOCAL_SOURCE_URI", "file:///data/exports/"),
            target_conn_id=os.environ.get("S3RESUME_TARGET_CONN_ID", "s3_target"),
            target_uri=os.environ.get("S3RESUME_TARGET_URI", "s3://demo-target/"),
            state_uri=os.environ.get("S3RESUME_STATE_URI") or None,
            source_schemes=["file"],
        ),
        **local_symlinks_params(),
        **planning_params(),
        **copying_params(),
    },
    tags=["s3resume"],
) as dag:
    sync_task_group(
        **LOCAL_SOURCE_FROM_PARAMS,
        planning=PLANNING_FROM_PARAMS,
        copying={**COPYING_FROM_PARAMS, "execution_timeout": timedelta(hours=6)},
        asset_uri="{{ params.target_uri }}",
        pool=POOL,
        retrying={**RETRIES, "retry_delay": RETRY_DELAY},
        refuse_unknown_params=True,
        prefix_group_id=False,
    )
