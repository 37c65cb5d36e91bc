"""One transfer task in a process of its own, which can be killed.

``python -m tests.support.parity_attempt FILE``: the file names the batch and the arguments.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator
from tests.dags.fakes import context_of


def main() -> None:
    """Make the attempt."""
    given = json.loads(Path(sys.argv[1]).read_text())
    task = ResumableMultipartCopyOperator(
        task_id="transfer", batch=given["batch"], **given["copying"]
    )
    task.execute(context_of(task))


if __name__ == "__main__":
    main()
