"""An Airflow between two S3 servers, with one large object to copy, for all kill tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.demo_data import BIG_KEY, big_parts, put_multipart
from tests.support.stage import SOURCE_BUCKET
from tests.support.wired_stage import WiredStage


@pytest.fixture(scope="session")
def airflow_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WiredStage]:
    """Give the running stage; a failed task is tried again after a second or two."""
    folder = tmp_path_factory.mktemp("stage")
    with WiredStage(folder, fill=False, env={"S3RESUME_RETRY_DELAY_S": "1"}) as running:
        put_multipart(running.source.client(), SOURCE_BUCKET, BIG_KEY, big_parts())
        yield running
