"""The cleaner on a real server: what a killed copy left goes, whatever else is there stays."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_provider_s3resume.plan.strays import HOUR_S, CleaningRules
from airflow_provider_s3resume.transfer.checkpoints import FOLDER
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.stray_report import CleaningReport
from airflow_provider_s3resume.transfer.strays import clean_strays
from tests.conftest import SeaweedPair
from tests.support.processes import wait_until
from tests.support.transfer_servers import PART, Job, Pair
from tests.support.wire import Wire
from tests.support.wire_rules import Match, Replace, Rule

DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


@pytest.fixture
def pair(seaweed_pair: SeaweedPair, wire: Callable[..., Wire], bucket: str) -> Pair:
    """Give two buckets behind wires."""
    return Pair(seaweed_pair.source.endpoint, seaweed_pair.target.endpoint, bucket, wire)


def job_of(pair: Pair, key: str) -> Job:
    """Plan to copy one object, its parts one after the other."""
    return pair.plan(key, concurrency=1)


def leave_upload(pair: Pair, key: str) -> str:
    """Fail in the middle of a copy, and return the id of the upload that it leaves."""
    before = set(pair.open_uploads())
    pair.put(key, bytes(3 * PART))
    refused = Match(operation="UploadPart", path=f"/{key}$", query={"partNumber": "3"})
    pair.target_wire.add(Rule(when=refused, action=Replace(status=403, body=DENIED)))
    result = job_of(pair, key).run()
    assert [o.error_kind for o in result.failures] == ["AccessDeniedError"]
    (left,) = set(pair.open_uploads()) - before
    return left


def times(pair: Pair) -> dict[str, float]:
    """Return when each checkpoint was written, by the server's clock."""
    found = pair.target_client.list_objects_v2(Bucket=pair.bucket, Prefix=f".s3resume/{FOLDER}")
    return {one["Key"]: one["LastModified"].timestamp() for one in found.get("Contents", [])}


def clean(pair: Pair, key: str, now: float, *, dry_run: bool) -> CleaningReport:
    """Clear away what was not written to for an hour.

    :param key: of any object that can be planned.
    """
    target = job_of(pair, key).target.open("http://target")
    return clean_strays(
        target,
        StateLocation(target),
        CleaningRules(older_than_s=HOUR_S, dry_run=dry_run),
        run_id="run",
        now=now,
        stop=StopSignal(),
    )


def test_c34_a_real_server_keeps_all_but_what_an_old_checkpoint_names(pair: Pair) -> None:
    """Ours goes; another tool's, one of a longer key, and one in use stay, with their records."""
    ours = leave_upload(pair, "dir/stray")
    ((name, written),) = times(pair).items()
    client, bucket = pair.target_client, pair.bucket
    theirs = {
        client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        for key in ("dir/stray", "dir/stray-and-more", "other")
    }
    with_part = next(iter(theirs))
    at = {u["UploadId"]: u["Key"] for u in client.list_multipart_uploads(Bucket=bucket)["Uploads"]}
    client.upload_part(
        Bucket=bucket, Key=at[with_part], UploadId=with_part, PartNumber=1, Body=b"theirs"
    )
    in_use = leave_upload(pair, "dir/in-use")

    def is_younger() -> bool:
        # The server gives whole seconds: the record is written again until it has a later one.
        other = next(key for key in times(pair) if key != name)
        body = client.get_object(Bucket=bucket, Key=other)["Body"].read()
        client.put_object(Bucket=bucket, Key=other, Body=body)
        return times(pair)[other] >= written + 2

    wait_until(is_younger, deadline_s=30, what="a checkpoint younger than the other")
    now = written + 1 + HOUR_S
    found = clean(pair, "dir/stray", now, dry_run=True)
    assert set(pair.open_uploads()) == {ours, in_use, *theirs}
    assert (found.stray_uploads, found.uploads_aborted) == (1, 0)
    done = clean(pair, "dir/stray", now, dry_run=False)
    assert set(pair.open_uploads()) == {in_use, *theirs}
    assert name not in times(pair)
    assert len(times(pair)) == 1
    assert [upload.upload_id for upload in done.strays] == [ours]
    assert done.bytes_freed == found.stray_bytes == 2 * PART
    assert (done.uploads_aborted, done.records_forgotten, done.records_in_use) == (1, 1, 1)
    assert {upload.upload_id for upload in done.foreign} == theirs
    assert (done.foreign_bytes, done.foreign_unknown, done.failed) == (len(b"theirs"), "", 0)
    pair.target_wire.clear()
    # The object that was in use goes on; the one that was cleared away starts over.
    for key, sent in (("dir/in-use", 1), ("dir/stray", 3)):
        before = len(pair.sent_parts(key))
        job_of(pair, key).run().raise_for_failures()
        assert len(pair.sent_parts(key)) - before == sent
        assert pair.data(key) == bytes(3 * PART)
    assert set(pair.open_uploads()) == theirs


def test_c01_more_uploads_than_a_page_are_all_counted(pair: Pair) -> None:
    """The listing of a real server is followed to its end, and no upload of it is touched."""
    ours = leave_upload(pair, "stray")
    ((_, written),) = times(pair).items()
    client, bucket = pair.target_client, pair.bucket
    with ThreadPoolExecutor(8) as pool:
        made = pool.map(
            lambda n: client.create_multipart_upload(Bucket=bucket, Key=f"a/{n}"), range(1001)
        )
        assert len({upload["UploadId"] for upload in made}) == 1001
    report = clean(pair, "stray", written + 1 + HOUR_S, dry_run=False)
    assert (report.uploads_aborted, report.records_forgotten) == (1, 1)
    assert (report.foreign_uploads, report.foreign_unknown) == (1001, "")
    assert ours not in pair.open_uploads()
    found = client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket)
    assert sum(len(page.get("Uploads", [])) for page in found) == 1001
