"""One Airflow with two S3 servers for all end-to-end tests: each starts from where it finds it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.places import Places
from tests.support.oss_server import OSSServer
from tests.support.oss_stage import source_env
from tests.support.wired_stage import WiredStage

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what starts an Airflow of its own before the shared one is up: two slow each other."""
    places = [n for n, item in enumerate(items) if item.path.is_relative_to(HERE)]
    ours = sorted((items[n] for n in places), key=_uses_the_stage)
    for place, item in zip(places, ours, strict=True):
        items[place] = item


def _uses_the_stage(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "stage" in item.fixturenames


@pytest.fixture(scope="session")
def oss_server() -> Iterator[OSSServer]:
    """Give an OSS that the stage's Airflow has a connection to: use buckets of your own."""
    with OSSServer() as running:
        yield running


@pytest.fixture(scope="session")
def local_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder that the stage's Airflow has a connection to: use your own in it."""
    return tmp_path_factory.mktemp("local")


@pytest.fixture(scope="session")
def stage(
    tmp_path_factory: pytest.TempPathFactory, oss_server: OSSServer, local_folder: Path
) -> Iterator[WiredStage]:
    """Give the running stage, its source filled with the demo's data."""
    folder = {"conn_type": "s3resume_local", "extra": {"path": str(local_folder)}}
    env = {
        "S3RESUME_POKE_INTERVAL_S": "1",
        "AIRFLOW_CONN_LOCAL_FOLDER": json.dumps(folder),
        "S3RESUME_RETRY_DELAY_S": "1",
        **source_env(oss_server.endpoint),
    }
    with WiredStage(tmp_path_factory.mktemp("stage"), env=env) as running:
        yield running


@pytest.fixture
def places(stage: WiredStage) -> Places:
    """Give two empty buckets that no other test uses."""
    name = f"own-{secrets.token_hex(4)}"
    stage.source.client().create_bucket(Bucket=name)
    stage.target.client().create_bucket(Bucket=name)
    return Places(stage=stage, bucket=name)
