"""The sync that waits in the triggerer until there is enough to copy."""

from __future__ import annotations

from tests.e2e.places import Places
from tests.support.wire_rules import Match
from tests.support.wired_stage import WiredStage

DAG_ID = "bucket_diff_triggered_sync"


def test_a_deferred_sensor_fires_when_an_object_arrives(stage: WiredStage, places: Places) -> None:
    """While nothing differs it lists again and again, in no worker; then exactly the new is copied.

    Its own requests write nothing to the target's bucket.
    """
    api = stage.airflow.api
    stage.airflow.wait_for_dag(DAG_ID)
    places.put_source("in/known.bin", b"known")
    places.put_target("out/known.bin", b"known")
    run_id = api.trigger(DAG_ID, places.conf("in/", "out/"))
    api.wait_task(DAG_ID, run_id, "wait", "deferred")
    lists = Match(operation="ListObjectsV2", path=f"^/{places.bucket}/?$")
    seen = len(stage.source_wire.seen(lists))
    stage.source_wire.wait_for(lists, count=seen + 2)
    instance = api.task_instance(DAG_ID, run_id, "wait")
    assert instance["state"] == "deferred"
    assert instance["trigger"]["classpath"].endswith(".BucketDiffTrigger")
    assert places.writes() == []

    places.put_source("in/new ünï.bin", b"new")
    assert api.wait_run(DAG_ID, run_id) == "success", stage.logs(run_id, DAG_ID)
    report = stage.report(run_id, DAG_ID)
    assert report["copied_keys"] == ["in/new ünï.bin"]
    assert report["planned"] == report["copied"] == report["verified"] == 1
    assert places.target_bodies() == {"out/known.bin": b"known", "out/new ünï.bin": b"new"}
