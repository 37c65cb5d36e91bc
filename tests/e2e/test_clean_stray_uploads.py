"""The cleaning of stray uploads through a running Airflow."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider_s3resume.transfer.state import FORMAT, MARKER, SCHEMA
from tests.e2e.places import Places
from tests.support.stage import TARGET_CONN

CLEANING = "s3_clean_stray_uploads"


def run(places: Places, **conf: object) -> tuple[str, dict[str, Any]]:
    """Run the DAG on a target of one's own; return its end, and what its task returned."""
    airflow = places.stage.airflow
    airflow.wait_for_dag(CLEANING)
    where = {
        "target_conn_id": TARGET_CONN,
        "target_uri": f"s3://{places.bucket}/data/",
        "state_uri": f"s3://{places.bucket}/.s3resume/",
    }
    run_id = airflow.api.trigger(CLEANING, {**where, **conf})
    state = airflow.api.wait_run(CLEANING, run_id)
    if state != "success":
        task = airflow.api.task_instance(CLEANING, run_id, "clean")
        log = airflow.api.task_log(CLEANING, run_id, "clean")
        return state, {"tries": task["try_number"], "log": log}
    return state, airflow.api.xcom(CLEANING, run_id, "clean", "return_value")


def test_c34_uploads_of_others_are_counted_and_left(places: Places) -> None:
    """With the dry run on and off; the report lies in the state location."""
    client, bucket = places.stage.target.client(), places.bucket
    marker = json.dumps({"format": FORMAT, "schema": SCHEMA})
    client.put_object(Bucket=bucket, Key=f".s3resume/{MARKER}", Body=marker.encode())
    upload = client.create_multipart_upload(Bucket=bucket, Key="data/theirs")["UploadId"]
    client.upload_part(
        Bucket=bucket, Key="data/theirs", UploadId=upload, PartNumber=1, Body=b"theirs"
    )
    for dry_run in (True, False):
        state, found = run(places, dry_run=dry_run)
        assert state == "success", found
        assert (found["dry_run"], found["foreign_uploads"], found["foreign_bytes"]) == (
            dry_run,
            1,
            len(b"theirs"),
        )
        assert found["uploads_aborted"] == 0
    left = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [one["UploadId"] for one in left] == [upload]
    stored = client.list_objects_v2(Bucket=bucket, Prefix=".s3resume/cleanups/")
    assert stored["KeyCount"] == 2


def test_c41_a_cleaning_that_cannot_be_done_fails_at_its_first_try(places: Places) -> None:
    """A misspelt parameter, which would leave the dry run on; a bucket that is not there."""
    for conf, reason in (
        ({"dry_runs": False}, "dry_runs"),
        ({"target_uri": "s3://no-such-bucket/"}, "no-such-bucket"),
    ):
        state, found = run(places, **conf)
        assert state == "failed"
        assert found["tries"] == 1
        assert reason in found["log"]
