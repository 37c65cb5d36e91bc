"""What a user of the installed package writes; type checkers have to find nothing in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param

from airflow_provider_s3resume import __version__
from airflow_provider_s3resume.exceptions import ObjectNotFoundError, S3ResumeError
from airflow_provider_s3resume.hooks.local import LocalResumeHook
from airflow_provider_s3resume.hooks.oss import OSSResumeHook
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
from airflow_provider_s3resume.operators.clean_uploads import CleanStrayUploadsOperator
from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator
from airflow_provider_s3resume.operators.params import (
    COPYING_FROM_PARAMS,
    PLANNING_FROM_PARAMS,
    SIDES_FROM_PARAMS,
    copying_params,
    planning_params,
    sides_params,
)
from airflow_provider_s3resume.operators.plan import ListSyncOperator, PlanSyncOperator
from airflow_provider_s3resume.operators.report import ReportSyncOperator
from airflow_provider_s3resume.operators.sync import RETRIES, sync_task_group
from airflow_provider_s3resume.operators.verify import VerifyCopyOperator
from airflow_provider_s3resume.sensors.bucket_diff import BucketDiffSensor
from airflow_provider_s3resume.sensors.s3_events import S3EventsSensor
from airflow_provider_s3resume.storage.base import ObjectStore

version: str = __version__

# To be given to a DAG; Pyright does not know what Airflow makes of a dictionary there.
params: dict[str, Param] = {
    **sides_params(
        source_conn_id="s3_source",
        source_uri="s3://source/",
        target_conn_id="s3_target",
        target_uri="s3://target/",
    ),
    **planning_params(),
    **copying_params(),
}


def sizes(store: ObjectStore, prefix: str) -> Mapping[str, int]:
    """Return what a store holds below a prefix: key → bytes."""
    return {found.key: found.size for found in store.list_objects(prefix)}


def size_of(conn_id: str, bucket: str, key: str) -> int | None:
    """Return the bytes of an object, or None where there is none."""
    try:
        found = S3ResumeHook(conn_id).get_store(bucket).head(key)
    except ObjectNotFoundError:
        return None
    return found.size


def worth_another_try(error: S3ResumeError) -> bool:
    """Return what an error says of itself."""
    return error.retryable


def stores() -> list[ObjectStore]:
    """Return a store of each kind."""
    return [
        S3ResumeHook("s3_source").get_store("source"),
        OSSResumeHook("oss_source").get_store("source"),
        LocalResumeHook("local_source").get_store("data/"),
    ]


def works(hook: S3ResumeHook | OSSResumeHook | LocalResumeHook) -> bool:
    """Return whether a connection answers."""
    answered, said = hook.test_connection()
    return answered and bool(said.strip())


class NightlyCopy(ResumableMultipartCopyOperator):
    """An operator of the user's own."""

    def execute(self, context: Any) -> dict[str, Any]:
        """Copy, and count."""
        outcome = super().execute(context)
        return {**outcome, "kept": len(outcome)}


with DAG(
    dag_id="typed",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
) as dag:
    wait = BucketDiffSensor(
        task_id="wait",
        source_conn_id="s3_source",
        source_uri="s3://source/",
        target_conn_id="s3_target",
        target_uri="s3://target/",
        min_objects=1,
        selection={"include": ["*.csv"]},
    )
    sync = sync_task_group(
        **SIDES_FROM_PARAMS,
        planning=PLANNING_FROM_PARAMS,
        copying={**COPYING_FROM_PARAMS, "execution_timeout": timedelta(hours=6)},
        pool="s3resume_transfer",
        retrying={**RETRIES, "retry_delay": timedelta(seconds=30)},
    )
    wait >> sync

    listed = ListSyncOperator(task_id="list", **SIDES_FROM_PARAMS)
    diff = PlanSyncOperator(task_id="diff", max_objects=1000, **SIDES_FROM_PARAMS)
    transfer = NightlyCopy.partial(task_id="transfer", part_size=64 * 1024 * 1024).expand(
        batch=diff.output
    )
    verify = VerifyCopyOperator.partial(task_id="verify").expand(plan=diff.output)
    report = ReportSyncOperator(
        task_id="report", plan="{{ ti.xcom_pull(task_ids='diff', key='plan') | tojson }}"
    )
    listed >> diff >> transfer >> verify >> report

    events = S3EventsSensor(
        task_id="events", queue_conn_id="sqs", queue_url="https://sqs.example/queue"
    )
    clean = CleanStrayUploadsOperator(
        task_id="clean",
        target_conn_id="s3_target",
        target_uri="s3://target/",
        state_uri="s3://target/.s3resume/",
        older_than=timedelta(days=7),
        report_only=True,
    )
    events >> clean
