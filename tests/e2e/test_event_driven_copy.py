"""Copies that a bucket's notifications start, through a running scheduler and triggerer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_provider_s3resume.plan.parts import MIB
from tests.dags.fake_queue import notification
from tests.support.airflow_api import ApiError
from tests.support.demo_data import bytes_of, put_multipart
from tests.support.event_stage import DEAD, EVENTS, QUEUE, EventStage
from tests.support.processes import wait_until
from tests.support.stage import NIGHTLY, SOURCE_BUCKET, TARGET_BUCKET

ODD = "in/ünï çödé+%2F&?#[1]'.txt"
BIG = bytes_of("big", 12 * MIB)


def bodies(stage: EventStage) -> dict[str, bytes]:
    """Return all objects of the target, by a client that is not ours."""
    client = stage.target.client()
    listed = client.list_objects_v2(Bucket=TARGET_BUCKET).get("Contents", [])
    keys = [found["Key"] for found in listed]
    return {key: client.get_object(Bucket=TARGET_BUCKET, Key=key)["Body"].read() for key in keys}


def begin(stage: EventStage) -> None:
    """Let the queue start runs."""
    stage.airflow.wait_for_dag(EVENTS)
    stage.airflow.api.unpause(EVENTS)


def wait_for(stage: EventStage, wanted: dict[str, bytes]) -> None:
    """Return once the target holds exactly this, and all messages are acknowledged."""
    try:
        wait_until(lambda: bodies(stage) == wanted, deadline_s=120, what="the objects are there")
        stage.wait_empty()
    except TimeoutError as error:
        texts = [f"{r['dag_run_id']} {r['state']}" for r in stage.runs()]
        texts += [stage.logs(r["dag_run_id"], EVENTS) for r in stage.runs()]
        raise AssertionError("\n".join([*texts, str(stage.counts(QUEUE))])) from error


def reports(stage: EventStage) -> list[dict[str, Any]]:
    """Return the reports of all runs that made one."""
    found = []
    for run in stage.runs():
        try:
            found.append(stage.report(run["dag_run_id"], EVENTS))
        except (LookupError, ApiError):
            continue
    return found


def test_objects_are_copied_when_they_arrive(tmp_path: Path) -> None:
    """Once each, whatever comes twice; poison lies aside with its reason, and nothing is left.

    The scan then finds nothing that events have missed, and says so.
    """
    env = {"S3RESUME_POKE_INTERVAL_S": "1", "S3RESUME_RETRY_DELAY_S": "1"}
    with EventStage(tmp_path, by="watcher", env=env) as stage:
        source, sqs = stage.source.client(), stage.source.sqs()
        begin(stage)
        source.put_object(Bucket=SOURCE_BUCKET, Key="in/a.txt", Body=b"a")
        source.put_object(Bucket=SOURCE_BUCKET, Key=ODD, Body=b"odd")
        source.put_object(Bucket=SOURCE_BUCKET, Key="elsewhere/b.txt", Body=b"b")
        put_multipart(source, SOURCE_BUCKET, "in/big.bin", [BIG[: 7 * MIB], BIG[7 * MIB :]])
        sqs.send_message(QueueUrl=stage.url_of(QUEUE), MessageBody="{not json")
        wanted = {"a.txt": b"a", ODD.removeprefix("in/"): b"odd", "big.bin": BIG}
        wait_for(stage, wanted)
        assert {run["state"] for run in stage.runs()} == {"success"}
        assert {run["run_type"] for run in stage.runs()} == {"asset_triggered"}
        found = reports(stage)
        assert sum(report["copied"] for report in found) == 3
        assert sum(report["verified"] for report in found) == 3
        assert sum(report["events"]["other_prefix"] for report in found) == 1
        assert sum(report["events"]["test_messages"] for report in found) == 1
        [dead] = sqs.receive_message(
            QueueUrl=stage.url_of(DEAD), MessageAttributeNames=["All"], WaitTimeSeconds=1
        )["Messages"]
        assert dead["Body"] == "{not json"
        reason = dead["MessageAttributes"]["s3resume.reason"]["StringValue"]
        assert reason == "poison: no JSON document: JSONDecodeError"

        runs, seen = len(stage.runs()), len(stage.target_wire.exchanges)
        again = notification("in/a.txt", ODD, "in/big.bin", "in/a.txt", bucket=SOURCE_BUCKET)
        for _ in range(2):
            sqs.send_message(QueueUrl=stage.url_of(QUEUE), MessageBody=again)
        wait_until(lambda: len(stage.runs()) > runs, deadline_s=120, what="another run")
        wait_for(stage, wanted)
        written = {
            exchange.path
            for exchange in stage.target_wire.exchanges[seen:]
            if exchange.method not in {"GET", "HEAD"}
            and exchange.path.startswith(f"/{TARGET_BUCKET}/")
        }
        assert written == set()

        scanned = stage.run(NIGHTLY)
        assert scanned.state == "success", stage.logs(scanned.run_id)
        assert scanned.report["planned"] == 0
        assert scanned.report["events"]["missed"] == 0


def test_an_airflow_that_starts_no_runs_by_events_waits_in_a_deferred_task(tmp_path: Path) -> None:
    """One run after the other: each waits for the next message, in no worker."""
    env = {"S3RESUME_POKE_INTERVAL_S": "1", "S3RESUME_RETRY_DELAY_S": "1"}
    with EventStage(tmp_path, by="sensor", env=env) as stage:
        source, api = stage.source.client(), stage.airflow.api
        begin(stage)
        wait_until(lambda: bool(stage.runs()), deadline_s=60, what="a run has begun")
        # The message that tests the configuration is there from the start: it ends the first wait.
        wait_until(lambda: len(stage.runs()) > 1, deadline_s=120, what="the first run has ended")
        waiting = stage.runs()[-1]["dag_run_id"]
        found = api.wait_task(EVENTS, waiting, "wait", "deferred")
        assert found["trigger"]["classpath"].endswith(".S3EventsTrigger")
        source.put_object(Bucket=SOURCE_BUCKET, Key="in/a.txt", Body=b"a")
        assert api.wait_run(EVENTS, waiting) == "success", stage.logs(waiting, EVENTS)
        assert bodies(stage) == {"a.txt": b"a"}
        assert stage.counts(QUEUE) == (0, 0)
        assert stage.report(waiting, EVENTS)["copied"] == 1
