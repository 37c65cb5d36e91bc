"""An Airflow of several machines between two S3 servers, with one large object to copy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kill.large_copy import IN_FLIGHT
from tests.support.demo_data import BIG_KEY, big_parts, put_multipart
from tests.support.distributed_stage import DistributedStage
from tests.support.stage import DAGS, NIGHTLY, SOURCE_BUCKET

BATCHED = Path(__file__).resolve().parent / "dags" / "batched_sync.py"


def with_parts_in_flight(dag: str) -> str:
    """Return a DAG that says how many parts are under way: on its own a task finds its number."""
    found = "copying={**COPYING_FROM_PARAMS,"
    assert dag.count(found) == 1
    return dag.replace(found, f'{found} "part_concurrency": {IN_FLIGHT},')


@pytest.fixture(scope="session")
def running_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DistributedStage]:
    """Give the running stage; a failed task is tried again after a second or two."""
    dags = tmp_path_factory.mktemp("dags")
    for file in (DAGS / f"{NIGHTLY}.py", BATCHED):
        (dags / file.name).write_text(with_parts_in_flight(file.read_text()))
    env = {"S3RESUME_RETRY_DELAY_S": "1"}
    folder = tmp_path_factory.mktemp("stage")
    with DistributedStage(folder, fill=False, env=env, dags=dags) as running:
        put_multipart(running.source.client(), SOURCE_BUCKET, BIG_KEY, big_parts())
        yield running


@pytest.fixture
def stage(running_stage: DistributedStage) -> Iterator[DistributedStage]:
    """Give the stage with all its processes at work, whatever the last test did to them."""
    running_stage.revive()
    yield running_stage
    running_stage.end_runs()
