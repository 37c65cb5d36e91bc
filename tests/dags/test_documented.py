"""The Python of the documentation makes tasks as it stands there."""

from __future__ import annotations

import re
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_s3resume.operators.clean_uploads import CleanStrayUploadsOperator
from airflow_provider_s3resume.operators.sync import RETRIES, sync_task_group

ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
DAG_CALL = re.compile(r"^(\w+)\(\)$", re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(PYTHON.findall(page.read_text(encoding="utf-8")))
]
SIDES: dict[str, Any] = {
    "source_conn_id": "source",
    "source_uri": "s3://reports/",
    "target_conn_id": "target",
    "target_uri": "s3://reports-mirror/",
}


def group(*left_out: object, **given: Any) -> None:
    """Make a group; three dots stand for the sides."""
    assert left_out in {(), (Ellipsis,)}
    sync_task_group(**(SIDES if left_out else {}), **given)


def dag_of(block: str) -> DAG:
    """Run a block: as a DAG file, or inside of one where it makes none."""
    known = (CleanStrayUploadsOperator, timedelta)
    names: dict[str, Any] = {one.__name__: one for one in known}
    names |= {"RETRIES": RETRIES, "sync_task_group": group}
    with DAG("documented", schedule=None) as around:
        exec(compile(block, "documentation", "exec"), names)  # noqa: S102 - it is our own
    made = DAG_CALL.findall(block)
    dag: DAG = names[made[0]]() if made else around
    return dag


def test_there_are_examples() -> None:
    """The first thing that a user sees, and what others ask for most."""
    told = {str(one.id).rpartition("-")[0] for one in BLOCKS}
    assert told >= {"README", "events", "local", "operating", "selection", "throttling"}


@pytest.mark.parametrize("block", BLOCKS)
def test_an_example_makes_tasks(block: str) -> None:
    """Without a warning, and with nothing added but what three dots stand for."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dag = dag_of(block)
    assert dag.task_ids
