"""The nightly sync cut into small batches, so that a few objects keep several workers busy."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from airflow_provider_s3resume.operators.params import (
    COPYING_FROM_PARAMS,
    PLANNING_FROM_PARAMS,
    SIDES_FROM_PARAMS,
    copying_params,
    planning_params,
    sides_params,
)
from airflow_provider_s3resume.operators.sync import RETRIES, sync_task_group

MOST_OBJECTS = 25
MOST_BYTES = 16 * 1024 * 1024
"""Of one batch: a large object is one by itself."""

with DAG(
    dag_id="batched_sync",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    # Two runs at once are what one of the tests is about.
    max_active_runs=2,
    params={
        **sides_params(
            source_conn_id=os.environ["S3RESUME_SOURCE_CONN_ID"],
            source_uri=os.environ["S3RESUME_SOURCE_URI"],
            target_conn_id=os.environ["S3RESUME_TARGET_CONN_ID"],
            target_uri=os.environ["S3RESUME_TARGET_URI"],
            state_uri=os.environ["S3RESUME_STATE_URI"],
        ),
        **planning_params(),
        **copying_params(),
    },
) as dag:
    sync_task_group(
        **SIDES_FROM_PARAMS,
        planning={**PLANNING_FROM_PARAMS, "max_objects": MOST_OBJECTS, "max_bytes": MOST_BYTES},
        copying={**COPYING_FROM_PARAMS, "execution_timeout": timedelta(hours=1)},
        pool="s3resume_transfer",
        retrying={**RETRIES, "retry_delay": timedelta(seconds=1)},
        refuse_unknown_params=True,
        prefix_group_id=False,
    )
