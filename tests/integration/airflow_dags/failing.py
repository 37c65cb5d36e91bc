"""A DAG whose tasks fail by each class of error; as a program, runs it and prints every try."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_s3resume import exceptions
from airflow_provider_s3resume.hooks._errors import hopeless_fails
from airflow_provider_s3resume.operators.retries import RETRIES

WHAT = ("PutObject", "s3://bucket/key", "as the service says it")
ERRORS: dict[str, exceptions.S3ResumeError] = {
    "throttled": exceptions.ThrottledError(*WHAT),
    "network": exceptions.TransientStoreError(*WHAT),
    "stopped": exceptions.CopyStoppedError("SIGTERM"),
    "batch": exceptions.ObjectsFailedError(
        "2 of 9 failed", retryable=True, kinds=["TransientStoreError", "ThrottledError"]
    ),
    "unproven": exceptions.VerificationError("another digest"),
    "hopeless": exceptions.AccessDeniedError(*WHAT),
}
QUICK = {**RETRIES, "retry_delay": timedelta(milliseconds=40)}


def fail(name: str) -> None:
    """Fail as a task of the user's own would that calls a store."""
    raise ERRORS[name]


def fail_as_operators_do(name: str) -> None:
    """Fail as the operators do, on every release of Airflow."""
    with hopeless_fails():
        raise ERRORS[name]


with DAG("failing", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
    for error in ERRORS:
        task(task_id=error, **QUICK)(fail)(error)
    task(task_id="operator", **QUICK)(fail_as_operators_do)("hopeless")
    # Who says nothing of policies, gets none.
    task(task_id="own", retries=1, retry_delay=timedelta(milliseconds=40))(fail)("throttled")
    task(task_id="mapped", **QUICK)(fail).expand(name=["throttled"])


def main() -> None:
    """Run the DAG once, and print task → the wait that was chosen after each try, as JSON."""
    dag.test()
    from airflow.models.taskinstance import TaskInstance  # noqa: PLC0415
    from airflow.models.taskinstancehistory import TaskInstanceHistory  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415

    tries: dict[str, dict[int, float | None]] = {}
    models: tuple[Any, ...] = (TaskInstanceHistory, TaskInstance)
    with create_session() as session:
        for model in models:
            for row in session.query(model).all():
                tries.setdefault(row.task_id, {})[row.try_number] = row.retry_delay_override
    print("\n" + json.dumps(tries, sort_keys=True))


if __name__ == "__main__":
    main()
