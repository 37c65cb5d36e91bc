"""A copy whose whole order comes with the run, and a task that does nothing, to compare it with."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator

with DAG(
    dag_id="memory_bench",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    render_template_as_native_obj=True,
):
    given: dict[str, Any] = {
        name: "{{ dag_run.conf['" + name + "'] }}"
        for name in (
            "batch",
            "memory_budget",
            "part_size",
            "part_concurrency",
            "object_concurrency",
        )
    }
    ResumableMultipartCopyOperator(task_id="copy", server_side_copy="never", **given)

with DAG(
    dag_id="memory_nothing",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
):

    @task
    def nothing() -> None:
        """Be there for a while."""
        time.sleep(5)

    nothing()
