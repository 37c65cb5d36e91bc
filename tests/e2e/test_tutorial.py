"""The tutorial of the documentation, carried out by the letter."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from airflow_provider_s3resume.plan.parts import MIB
from tests.support.oss_server import OSSServer
from tests.support.ports import LOOPBACK, free_port
from tests.support.processes import wait_until
from tests.support.seaweed import SeaweedServer
from tests.support.stage import SEAWEED
from tests.support.tutorial import Reader, shell_blocks, told_lines

BODIES = {
    "2026/january.csv": b"1,2,3\n4,5,6",
    "2026/february.csv": b"7,8,9\n",
    "2026/large.bin": random.Random(34).randbytes(20 * MIB + 1),
}
SOURCE, TARGET, STATE = "reports", "reports-mirror", "sync-state"
DEADLINE_S = 180.0


@pytest.fixture(scope="module")
def source() -> Iterator[OSSServer]:
    """Give the OSS of the tutorial, with its bucket."""
    with OSSServer() as running:
        running.state.create_bucket(SOURCE)
        for key, body in BODIES.items():
            running.state.put(SOURCE, key, body)
        yield running


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    """Give the S3 of the tutorial, with both buckets."""
    folder = tmp_path_factory.mktemp("target")
    with SeaweedServer(folder, "target-user", "target-secret") as running:
        for bucket in (TARGET, STATE):
            running.client().create_bucket(Bucket=bucket)
        yield running


@pytest.fixture
def reader(source: OSSServer, target: SeaweedServer, tmp_path: Path) -> Reader:
    """Give somebody with an empty home, and keys of both services."""
    endpoint, port = source.endpoint, free_port()
    oss = {
        "conn_type": "oss",
        "login": endpoint.access_key_id,
        "password": endpoint.access_key_secret,
        "extra": {"region": endpoint.region, "endpoint": endpoint.endpoint_url},
    }
    url = f"http://{LOOPBACK}:{port}"
    kept = {name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ}
    env = {
        **kept,
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONUNBUFFERED": "1",
        # Beside other Airflows on this machine.
        "AIRFLOW__API__HOST": LOOPBACK,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"{url}/",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
    }
    connections = {
        "AIRFLOW_CONN_OSS_HANGZHOU": json.dumps(oss),
        "AIRFLOW_CONN_AWS_TARGET": target.endpoint.airflow_connection(s3resume=SEAWEED),
    }
    return Reader(env=env, connections=connections)


@pytest.mark.timeout(900)
def test_the_tutorial_ends_in_a_verified_sync_every_night(
    reader: Reader, target: SeaweedServer
) -> None:
    """Each command, the DAG, and what the page says that the report tells."""
    install, *before, dry, first, again, begin, standalone, trigger, look = shell_blocks()
    assert install.text.endswith('pip install "apache-airflow>=3.0.6" airflow-provider-s3resume\n')
    for block in before:
        reader.run(block)
    reader.save_dag()
    said = reader.run(dry)
    assert not keys(target)
    said += reader.run(first)
    client = target.client()
    for key, body in BODIES.items():
        assert client.get_object(Bucket=TARGET, Key=key)["Body"].read() == body
    said += reader.run(again)
    assert not [line for line in told_lines() if line.partition("…")[0] not in said]
    reader.run(begin)
    with reader.start(standalone) as airflow:
        log = airflow.log_file
        airflow.wait_ready(lambda: "Airflow is ready" in log.read_text(), deadline_s=DEADLINE_S)
        reader.run(trigger)
        database = Path(reader.env["HOME"]) / "airflow" / "airflow.db"
        wait_until(lambda: has_ended(database), deadline_s=DEADLINE_S, what="the run has ended")
        assert state(reader.run(look)) == "success"


def has_ended(database: Path) -> bool:
    """Return whether no run is under way: each command of Airflow takes seconds to be asked."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)) as opened:
        states = {one for (one,) in opened.execute("SELECT state FROM dag_run")}
    return states <= {"success", "failed"}


def state(said: str) -> str:
    """Return the state of the last run that was started by hand."""
    runs = json.JSONDecoder().raw_decode(said[said.index("[{") :])[0]
    # Runs by `airflow dags test` are kept, too.
    by_hand = [run for run in runs if run["run_id"].startswith("manual")]
    return str(max(by_hand, key=lambda run: str(run["run_after"]))["state"])


def keys(target: SeaweedServer) -> set[str]:
    """Return what lies at the target."""
    listed = target.client().list_objects_v2(Bucket=TARGET)
    return {found["Key"] for found in listed.get("Contents", ())}
