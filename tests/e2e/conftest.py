"""One Airflow with two S3 servers for all end-to-end tests: each starts from where it finds it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.wired_stage import WiredStage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WiredStage]:
    """Give the running stage, its source filled with the demo's data."""
    with WiredStage(tmp_path_factory.mktemp("stage")) as running:
        yield running
