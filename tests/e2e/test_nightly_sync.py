"""The main job: the nightly sync between two running S3 servers through a running Airflow."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.transfer.crew_shares import LEAST_OBJECTS, usable_processors
from tests.support.demo_data import (
    BIG_KEY,
    BIG_PARTS,
    METADATA_KEY,
    MIB,
    UNEVEN_KEY,
    bytes_of,
    put_multipart,
)
from tests.support.stage import NIGHTLY, SOURCE_BUCKET, TARGET_BUCKET, Stage
from tests.support.wire_rules import Match, Replace, Rule
from tests.support.wired_stage import WiredStage

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

CHANGED, ADDED, DELETED, REUPLOADED = (
    "readings/2026-02/day-0001.csv",
    "readings/2026-02/new-day.csv",
    "readings/2026-03/day-0002.csv",
    "readings/2026-04/day-0003.csv",
)
DENIED = (
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
)


def keys_of(stage: Stage) -> list[str]:
    """Return the keys of the source, by a client that is not ours."""
    pages = stage.source.client().get_paginator("list_objects_v2").paginate(Bucket=SOURCE_BUCKET)
    return sorted(found["Key"] for page in pages for found in page.get("Contents", []))


def sync_all(stage: Stage) -> dict[str, Any]:
    """Bring the target in step, whatever an earlier test left, and return the report."""
    run = stage.nightly()
    assert run.state == "success", stage.logs(run.run_id)
    return run.report


def asset_events(stage: Stage) -> list[dict[str, Any]]:
    """Return the asset events that the nightly sync has emitted."""
    found = stage.airflow.api.call("GET", "assets/events", source_dag_id=NIGHTLY, limit=100)
    events: list[dict[str, Any]] = found["asset_events"]
    return events


def test_two_runs_bring_the_target_in_step_and_then_copy_nothing(stage: WiredStage) -> None:
    """Everything arrives, is verified and compares equal byte for byte; again, nothing is left."""
    keys = keys_of(stage)
    first = stage.nightly()
    assert first.state == "success", stage.logs(first.run_id)
    assert first.report["planned"] == first.report["copied"] == len(keys)
    assert first.report["verified"] == len(keys)
    assert first.report["failed"] == first.report["unprotected"] == 0
    check = stage.rclone_check()
    assert check.returncode == 0, check.stderr
    tasks = {t["task_id"] for t in stage.airflow.api.task_instances(NIGHTLY, first.run_id)}
    assert {"list", "diff", "transfer", "verify", "report"} <= tasks
    assert len(asset_events(stage)) == 1
    assert asset_events(stage)[0]["extra"]["copied"] == len(keys)

    second = stage.nightly()
    assert second.state == "success", stage.logs(second.run_id)
    assert second.report["planned"] == second.report["copied"] == 0
    assert second.report["bytes"] == 0
    client = stage.target.client()
    page = client.head_object(Bucket=TARGET_BUCKET, Key=METADATA_KEY)
    assert page["ContentType"] == "text/html; charset=utf-8"
    assert (page["CacheControl"], page["Metadata"]) == ("max-age=60", {"owner": "demo"})
    tags = client.get_object_tagging(Bucket=TARGET_BUCKET, Key=METADATA_KEY)["TagSet"]
    assert {t["Key"]: t["Value"] for t in tags} == {"class": "public", "team": "data platform"}


def test_a_run_names_exactly_what_changed(stage: WiredStage) -> None:
    """Same size and an older time; added; deleted; uploaded again in parts: no more, no less."""
    sync_all(stage)
    source, target = stage.source.client(), stage.target.client()
    old = source.get_object(Bucket=SOURCE_BUCKET, Key=CHANGED)["Body"].read()
    source.put_object(Bucket=SOURCE_BUCKET, Key=CHANGED, Body=bytes_of("changed", len(old)))
    # The target is written after the source: by time alone, it would pass for the newer one.
    target.put_object(Bucket=TARGET_BUCKET, Key=CHANGED, Body=old)
    source.put_object(Bucket=SOURCE_BUCKET, Key=ADDED, Body=b"new")
    source.delete_object(Bucket=SOURCE_BUCKET, Key=DELETED)
    same = source.get_object(Bucket=SOURCE_BUCKET, Key=REUPLOADED)["Body"].read()
    put_multipart(source, SOURCE_BUCKET, REUPLOADED, [same])

    report = sync_all(stage)
    assert sorted(report["copied_keys"]) == sorted([CHANGED, ADDED, REUPLOADED])
    assert report["planned"] == report["copied"] == report["verified"] == 3
    assert report["reasons"] == {
        "digest_differs": 1,
        "digest_unknown": 1,
        "missing_at_target": 1,
    }
    assert report["skipped"]["only_at_target"] == 1
    assert target.head_object(Bucket=TARGET_BUCKET, Key=DELETED)["ContentLength"] > 0
    assert sync_all(stage)["planned"] == 0


def test_c40_one_failed_object_fails_the_run_after_the_others_were_copied(
    stage: WiredStage,
) -> None:
    """The report exists and names it, the others are there, and no asset event says otherwise."""
    sync_all(stage)
    events = len(asset_events(stage))
    source = stage.source.client()
    bad, good = "failing/denied.bin", [f"failing/good-{n}.bin" for n in range(5)]
    for key in (bad, *good):
        source.put_object(Bucket=SOURCE_BUCKET, Key=key, Body=bytes_of(key, 5000))
    stage.target_wire.add(
        Rule(
            when=Match(operation="PutObject", path=f"/{bad}$"),
            action=Replace(status=403, body=DENIED, headers={"Content-Type": "application/xml"}),
        )
    )
    try:
        run = stage.nightly()
    finally:
        stage.target_wire.clear()
    assert run.state == "failed"
    assert run.report["planned"] == 6
    assert run.report["copied"] == run.report["verified"] == 5
    assert [failure["key"] for failure in run.report["failures"]] == [bad]
    assert "AccessDenied" in run.report["failures"][0]["error"]
    assert sorted(run.report["copied_keys"]) == good
    assert len(asset_events(stage)) == events
    assert sync_all(stage)["copied_keys"] == [bad]
    assert len(asset_events(stage)) == events + 1


def test_a_dry_run_plans_and_copies_nothing(stage: WiredStage) -> None:
    """The report says what would be copied; the target stays as it is, and no event is emitted."""
    sync_all(stage)
    events = len(asset_events(stage))
    key = "dry/run.bin"
    stage.source.client().put_object(Bucket=SOURCE_BUCKET, Key=key, Body=b"not yet")
    run = stage.nightly({"dry_run": True})
    assert run.state == "success", stage.logs(run.run_id)
    assert (run.report["planned"], run.report["copied"], run.report["dry_run"]) == (1, 0, True)
    listed = stage.target.client().list_objects_v2(Bucket=TARGET_BUCKET, Prefix="dry/")
    assert listed["KeyCount"] == 0
    assert len(asset_events(stage)) == events
    assert sync_all(stage)["copied_keys"] == [key]


def test_part_layouts_are_reproduced(stage: WiredStage) -> None:
    """The multipart ETag of the target is the source's; uneven parts are proven in another way."""
    sync_all(stage)
    source, target = stage.source.client(), stage.target.client()
    big = source.head_object(Bucket=SOURCE_BUCKET, Key=BIG_KEY)
    assert big["ContentLength"] > 200 * MIB
    assert big["ETag"].endswith(f'-{BIG_PARTS}"')
    assert target.head_object(Bucket=TARGET_BUCKET, Key=BIG_KEY)["ETag"] == big["ETag"]
    there = target.head_object(Bucket=TARGET_BUCKET, Key=UNEVEN_KEY)
    assert there["ETag"] == source.head_object(Bucket=SOURCE_BUCKET, Key=UNEVEN_KEY)["ETag"]


def test_many_small_objects_are_copied_by_several_processes(stage: WiredStage) -> None:
    """In a task of a real Airflow nothing keeps it from forking, where there are processors."""
    sync_all(stage)
    keys = [f"many/{number:04d}" for number in range(2 * LEAST_OBJECTS)]
    source, target = stage.source.client(), stage.target.client()
    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda k: source.put_object(Bucket=SOURCE_BUCKET, Key=k, Body=k), keys))
        report = sync_all(stage)
        assert report["planned"] == report["copied"] == report["verified"] == len(keys)
        assert report["paces"]["batches"] == 1
        count = min(usable_processors(), 2)
        assert report["paces"]["processes"] == (count if count > 1 else 0)
        assert etags(target, TARGET_BUCKET) == etags(source, SOURCE_BUCKET)
        assert len(etags(target, TARGET_BUCKET)) == len(keys)
    finally:
        for client, bucket in ((source, SOURCE_BUCKET), (target, TARGET_BUCKET)):
            remove(client, bucket, keys)


def etags(client: S3Client, bucket: str) -> dict[str, str]:
    """Return the ETags of those objects."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="many/")
    return {found["Key"]: found["ETag"] for page in pages for found in page.get("Contents", [])}


def remove(client: S3Client, bucket: str, keys: list[str]) -> None:
    """Delete objects, so that later tests need not look at them."""
    for start in range(0, len(keys), 1000):
        some: list[Any] = [{"Key": key} for key in keys[start : start + 1000]]
        client.delete_objects(Bucket=bucket, Delete={"Objects": some})
