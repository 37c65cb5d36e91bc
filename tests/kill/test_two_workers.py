"""One run, whose batches are copied by two workers at once."""

from __future__ import annotations

from tests.support.celery_backend import WORKERS
from tests.support.demo_data import bytes_of
from tests.support.distributed_stage import DistributedStage
from tests.support.stage import SOURCE_BUCKET, TARGET_BUCKET
from tests.support.wire_rules import Match

BATCHED = "batched_sync"
"""A sync that puts 25 objects into a batch."""
PREFIX = "spread/"
OBJECTS = 75


def test_c40_the_batches_of_one_run_are_copied_by_both_workers(stage: DistributedStage) -> None:
    """Three are under way at once, of which one worker can take two; the report has them all."""
    source = stage.source.client()
    keys = [f"{PREFIX}{number:03d}.bin" for number in range(OBJECTS)]
    for key in keys:
        source.put_object(Bucket=SOURCE_BUCKET, Key=key, Body=bytes_of(key, 2_000))
    writes = Match(operation="PutObject", path=f"^/{TARGET_BUCKET}/{PREFIX}")
    try:
        stage.airflow.wait_for_dag(BATCHED)
        with stage.target_wire.hold(writes) as hold:
            sides = {"source_uri": SOURCE_BUCKET, "target_uri": TARGET_BUCKET}
            conf = {name: f"s3://{bucket}/{PREFIX}" for name, bucket in sides.items()}
            run_id = stage.airflow.api.trigger(BATCHED, conf)
            hold.wait(deadline_s=60)
            workers = {
                stage.processes(BATCHED, run_id, "transfer", map_index=index).worker
                for index in range(3)
            }
        assert stage.airflow.api.wait_run(BATCHED, run_id) == "success"
        report = stage.report(run_id, BATCHED)
        assert report["planned"] == report["copied"] == report["verified"] == OBJECTS
        assert sorted(report["copied_keys"]) == keys
        check = stage.rclone_check(PREFIX)
        assert check.returncode == 0, check.stderr
    finally:
        target = stage.target.client()
        for key in keys:
            source.delete_object(Bucket=SOURCE_BUCKET, Key=key)
            target.delete_object(Bucket=TARGET_BUCKET, Key=key)
    assert workers == set(WORKERS)
