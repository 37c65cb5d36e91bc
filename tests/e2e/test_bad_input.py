"""What cannot be right fails the run at its first task, by name, before the target is written."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest

from tests.e2e.places import writes_to
from tests.support.stage import NIGHTLY, POOL, SEAWEED
from tests.support.wired_stage import WiredStage

WRONG_CONN = "wrong_keys"


def refusal(stage: WiredStage, conf: Mapping[str, object] | None = None) -> str:
    """Run the nightly sync, see it fail without a write, and return the log of its first task."""
    api = stage.airflow.api
    stage.airflow.wait_for_dag(NIGHTLY)
    written = len(writes_to(stage))
    run_id = api.trigger(NIGHTLY, conf)
    assert api.wait_run(NIGHTLY, run_id) == "failed"
    assert len(writes_to(stage)) == written
    # At its first attempt: another one cannot help.
    listed = api.task_instance(NIGHTLY, run_id, "list")
    assert (listed["state"], listed["try_number"]) == ("failed", 1)
    return api.task_log(NIGHTLY, run_id, "list").replace('\\"', '"')


def test_an_unknown_bucket(stage: WiredStage) -> None:
    """The message names the parameter and the bucket, and what is accepted."""
    log = refusal(stage, {"source_uri": "s3://no-such-bucket/"})
    assert "NoSuchBucket" in log
    assert "source_uri: found 's3://no-such-bucket/', accepted is a bucket that exists" in log


@pytest.fixture
def wrong_keys(stage: WiredStage) -> Iterator[str]:
    """Give the id of a connection whose secret is wrong."""
    source = stage.source.endpoint
    extra = {
        "endpoint_url": stage.source_wire.url,
        "region_name": source.region,
        "s3resume": dict(SEAWEED),
    }
    body = {
        "connection_id": WRONG_CONN,
        "conn_type": "aws",
        "login": source.access_key,
        "password": "not-the-secret",
        "extra": json.dumps(extra),
    }
    stage.airflow.api.call("POST", "connections", body)
    yield WRONG_CONN
    stage.airflow.api.call("DELETE", f"connections/{WRONG_CONN}")


def test_wrong_credentials(stage: WiredStage, wrong_keys: str) -> None:
    """The message names the place that they do not open, and the log shows no secret."""
    log = refusal(stage, {"source_conn_id": wrong_keys})
    assert "SignatureDoesNotMatch" in log
    assert "source_uri: found 's3://demo-source/'" in log
    assert "the credentials of its connection" in log
    assert "not-the-secret" not in log


def test_a_connection_that_does_not_exist(stage: WiredStage) -> None:
    """The message names the parameter, the id, and what is accepted."""
    log = refusal(stage, {"source_conn_id": "no_such_connection"})
    assert "source_conn_id: found 'no_such_connection'" in log
    assert "the id of a connection that exists" in log


def test_a_parameter_that_the_dag_does_not_have(stage: WiredStage) -> None:
    """Airflow lets it through; the message names it and those that exist."""
    log = refusal(stage, {"dryrun": True})
    assert "parameters of the run: found 'dryrun'" in log
    assert "dry_run" in log.partition("accepted")[2]


@pytest.fixture
def without_pool(stage: WiredStage) -> Iterator[None]:
    """Take the pool away until the test has ended."""
    pool = stage.airflow.api.call("GET", f"pools/{POOL}")
    stage.airflow.api.call("DELETE", f"pools/{POOL}")
    yield
    body = {name: pool[name] for name in ("name", "slots", "description", "include_deferred")}
    stage.airflow.api.call("POST", "pools", body)


@pytest.mark.usefixtures("without_pool")
def test_a_pool_that_does_not_exist(stage: WiredStage) -> None:
    """Airflow alone would let the copies wait for ever; the message says how to make the pool."""
    log = refusal(stage)
    assert f"pool of the task 'transfer': found '{POOL}'" in log
    assert f"airflow pools set {POOL}" in log
