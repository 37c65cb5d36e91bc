"""A mapped copy of the batches that come with the run, as the task group of a sync has it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, get_current_context, task

from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator

with DAG(
    dag_id="transfer_bench",
    schedule=None,
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    render_template_as_native_obj=True,
):

    @task
    def batches() -> list[dict[str, Any]]:
        """Return what the run was given."""
        found: list[dict[str, Any]] = get_current_context()["dag_run"].conf["batches"]
        return found

    given: dict[str, Any] = {
        name: "{{ dag_run.conf['config'].get('" + name + "') }}"
        for name in ("part_size", "memory_budget", "part_concurrency", "object_concurrency")
    }
    # Both buckets are of one server, and what is measured is the relay.
    given["server_side_copy"] = "never"
    ResumableMultipartCopyOperator.partial(task_id="copy", **given).expand(batch=batches())
