"""What a stored plan may be run with."""

from __future__ import annotations

import pytest

from airflow_provider_s3resume.exceptions import ManifestError
from airflow_provider_s3resume.plan.manifest import Manifest, Side
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer.loading import check_sides

POINT = "arn:aws:s3:us-west-2:123456789012:accesspoint/reports"


def planned(source: MemoryStore, bucket: str) -> Manifest:
    """Return a manifest from this bucket at the source's service."""
    side = Side(service=source.service, uri=f"s3://{bucket}/daily/")
    return Manifest(
        run_id="r",
        created=0.0,
        source=side,
        target=Side(service=source.service, uri="s3://target/"),
        rule="size",
        counts={},
        copy_objects=0,
        copy_bytes=0,
        batches=(),
    )


@pytest.mark.parametrize("bucket", ["source", POINT, POINT.replace("/", ":")])
def test_a_plan_runs_with_the_bucket_that_it_was_made_for(bucket: str) -> None:
    """However the bucket is named: an access point's name has a slash of its own."""
    source, target = MemoryStore(bucket), MemoryStore("target")
    check_sides(planned(source, bucket), source, target)


@pytest.mark.parametrize("bucket", ["sourc", "source2", POINT])
def test_a_plan_of_another_bucket_is_refused(bucket: str) -> None:
    """Also of one whose name begins or goes on alike."""
    source, target = MemoryStore("source"), MemoryStore("target")
    with pytest.raises(ManifestError, match="source of the manifest"):
        check_sides(planned(source, bucket), source, target)
