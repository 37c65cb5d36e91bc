"""Make a copy as a task does, and tell what memory it took: run by ``null_world``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

# What every Airflow task has imported.
import airflow.sdk.execution_time.task_runner  # noqa: F401

from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator
from tests.support.null_world import KIB_PER_MIB, SOURCE_CONN

_STATUS = Path("/proc/self/status")


def status(name: str) -> float:
    """Return a line of the kernel's count, in MiB."""
    lines = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(lines[name].split()[0]) / KIB_PER_MIB


def main() -> None:
    """Read the order from a file, and carry it out."""
    order: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    # Both buckets are of one server, and it is the relay whose memory is looked at.
    operator = ResumableMultipartCopyOperator(task_id="copy", server_side_copy="never", **order)
    S3ResumeHook(SOURCE_CONN).get_conn()
    before = status("VmRSS")
    task = SimpleNamespace(map_index=0, dag_id="d", run_id="r", task_id="copy", try_number=1)
    context: Any = {"ti": task}
    result = operator.execute(context)["result"]
    print(json.dumps({"result": result, "before": before, "peak": status("VmHWM")}))


if __name__ == "__main__":
    main()
