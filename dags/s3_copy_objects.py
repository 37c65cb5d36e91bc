"""Copy objects that are named one by one."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Param, get_current_context, task

from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator
from airflow_provider_s3resume.operators.params import (
    COPYING_FROM_PARAMS,
    SIDES_FROM_PARAMS,
    copying_params,
    sides_params,
    versions_params,
)
from airflow_provider_s3resume.operators.sync import RETRIES
from airflow_provider_s3resume.operators.verify import VerifyCopyOperator
from airflow_provider_s3resume.plan.sides import check_unknown, parse_places

POOL = "s3resume_transfer"
MOST_KEYS = 200
RETRY_DELAY = timedelta(seconds=float(os.environ.get("S3RESUME_RETRY_DELAY_S", "30")))
"""What waits before another attempt are multiples of, by the class of the error."""
RETRYING = {**RETRIES, "retry_delay": RETRY_DELAY}

with DAG(
    dag_id="s3_copy_objects",
    description="Copy the named keys from one bucket to another.",
    doc_md=f"""
### What it does

`pairs` puts every key behind the source prefix and behind the target prefix, `copy` copies each of
these objects in a task of its own, `verify` compares it with its source. Objects that are at the
target already are replaced. Of a key that *Versions* names a version of, that version is copied;
of all others the newest.

The copy tasks need their pool: `airflow pools set {POOL} 4 "S3 transfers"`.
""",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    # Tasks of a pool that does not exist would wait for ever; this ends even them.
    dagrun_timeout=timedelta(hours=20),
    params={
        "keys": Param(
            [],
            type="array",
            items={"type": "string", "minLength": 1},
            minItems=1,
            maxItems=MOST_KEYS,
            uniqueItems=True,
            title="Keys",
            description_md="One key a line, as it stands behind the source prefix.",
        ),
        **versions_params(),
        **sides_params(
            source_conn_id=os.environ.get("S3RESUME_SOURCE_CONN_ID", "s3_source"),
            source_uri=os.environ.get("S3RESUME_SOURCE_URI", "s3://demo-source/"),
            target_conn_id=os.environ.get("S3RESUME_TARGET_CONN_ID", "s3_target"),
            target_uri=os.environ.get("S3RESUME_TARGET_URI", "s3://demo-target/"),
            state_uri=os.environ.get("S3RESUME_STATE_URI") or None,
        ),
        **copying_params(),
    },
    tags=["s3resume"],
) as dag:

    @task
    def pairs() -> list[dict[str, str]]:
        """Return the source and target URI of every key, and the version that is meant."""
        context = get_current_context()
        given, known = context["params"], context["dag"].params
        check_unknown(context["dag_run"].conf or {}, known.keys(), what="parameters of the run")
        parse_places(given["source_uri"], given["target_uri"], given["state_uri"])
        versions = given["versions"]
        check_unknown(versions, given["keys"], what="keys of versions")
        return [
            {
                "source_uri": given["source_uri"] + key,
                "target_uri": given["target_uri"] + key,
                "source_version_id": versions.get(key, ""),
            }
            for key in given["keys"]
        ]

    sides = dict(SIDES_FROM_PARAMS)
    del sides["source_uri"], sides["target_uri"]
    copy = ResumableMultipartCopyOperator.partial(
        task_id="copy",
        **sides,
        **COPYING_FROM_PARAMS,
        # Airflow keeps at most 250 characters; the end of a key tells more than its beginning.
        map_index_template="{{ task.source_uri[-200:] }}",
        pool=POOL,
        execution_timeout=timedelta(hours=6),
        **RETRYING,
    ).expand_kwargs(pairs())
    VerifyCopyOperator.partial(task_id="verify", **RETRYING).expand(plan=copy.output)
