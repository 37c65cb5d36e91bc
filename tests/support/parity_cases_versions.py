"""Buckets that keep versions: the current one is copied, and any that is named."""

from __future__ import annotations

from functools import partial

import oss2

from tests.support.demo_data import MIB, bytes_of
from tests.support.parity_registry import case
from tests.support.parity_sides import S3Side
from tests.support.parity_world import PART, World, failure, refusal

_GROUP = "versions"


def _keep_versions(side: S3Side) -> None:
    side.client.put_bucket_versioning(
        Bucket=side.bucket, VersioningConfiguration={"Status": "Enabled"}
    )


def _put(side: S3Side, key: str, body: bytes) -> str:
    """Put one more version, and return its id."""
    return side.client.put_object(Bucket=side.bucket, Key=key, Body=body)["VersionId"]


@case(_GROUP, "the current version of each object")
def current(world: World) -> None:
    """Older ones stay at the source."""
    trip = world.plain()
    _keep_versions(trip.source)
    for body in (b"first", b"second", b"third"):
        _put(trip.source, "object", body)
    _put(trip.source, "large", bytes_of("old", 17 * MIB))
    _put(trip.source, "large", bytes_of("new", 17 * MIB))
    trip.sync()
    trip.same()


@case(_GROUP, "a version that is named")
def named(world: World) -> None:
    """Its bytes, although there are newer ones."""
    trip = world.plain()
    _keep_versions(trip.source)
    for key, size in (("small", 1_000), ("larger", 10 * MIB)):
        wanted = _put(trip.source, key, bytes_of("wanted", size))
        _put(trip.source, key, bytes_of("newer", size))
        trip.copy(key, f"copies/{key}", source_version_id=wanted)
        assert trip.target.read(f"copies/{key}") == trip.source.read(key, version_id=wanted)


@case(_GROUP, "an object that was deleted")
def deleted(world: World) -> None:
    """A delete marker is no object: neither a run nor its own name copies it."""
    trip = world.plain()
    _keep_versions(trip.source)
    _put(trip.source, "deleted", b"still there as a version")
    trip.source.client.delete_object(Bucket=trip.source.bucket, Key="deleted")
    _put(trip.source, "object", b"there")
    trip.sync()
    trip.arrived({"object": "object"})
    assert "deleted" in refusal(lambda: trip.copy("deleted"))
    trip.arrived({"object": "object"})


@case(_GROUP, "a target that keeps versions")
def versioned_target(world: World) -> None:
    """The old object is there as a version; a second run makes no new one."""
    trip = world.plain()
    _keep_versions(trip.target)
    old = _put(trip.target, "object", b"old")
    trip.source.put("object", b"new bytes", ContentType="text/plain")
    trip.sync()
    trip.sync()
    trip.same()
    found = trip.target.client.list_object_versions(Bucket=trip.target.bucket)["Versions"]
    assert len(found) == 2
    answer = trip.target.client.get_object(Bucket=trip.target.bucket, Key="object", VersionId=old)
    assert answer["Body"].read() == b"old"


@case(_GROUP, "a version of an object of OSS that is named")
def named_oss(world: World) -> None:
    """The same from there, in one request and in parts."""
    trip = world.oss_to_plain()
    trip.source.sdk.put_bucket_versioning(
        oss2.models.BucketVersioningConfig(oss2.BUCKET_VERSIONING_ENABLE)
    )
    for key, size in (("small", 1_000), ("large", 17 * MIB)):
        wanted = trip.source.sdk.put_object(key, bytes_of("wanted", size)).versionid
        trip.source.put(key, bytes_of("newer", size))
        trip.copy(key, f"copies/{key}", source_version_id=wanted, part_size=PART)
        assert trip.target.read(f"copies/{key}") == trip.source.read(key, version_id=wanted)


@case(_GROUP, "a version that is not there")
def missing(world: World) -> None:
    """It is refused by name, as a delete marker is; the newest one is not copied in its place."""
    trip = world.plain()
    _keep_versions(trip.source)
    _put(trip.source, "object", b"there")
    place = {"Bucket": trip.source.bucket, "Key": "object"}
    marker = trip.source.client.delete_object(**place)["VersionId"]  # type: ignore[arg-type]
    _put(trip.source, "object", b"there again")
    for wanted in ("no-such-version", marker):
        assert wanted in refusal(partial(trip.copy, "object", source_version_id=wanted))
    assert trip.target.all_keys() == []


@case(_GROUP, "what was planned, and nothing newer")
def exactly_as_planned(world: World) -> None:
    """An object that was replaced since the plan is refused, if it is asked for so."""
    trip = world.plain()
    _keep_versions(trip.source)
    _put(trip.source, "object", b"planned")
    _put(trip.source, "other", b"planned, too")
    (batch,), _ = trip.plan()
    _put(trip.source, "object", b"newer, of another size")
    said = failure(lambda: trip.transfer(batch, on_source_change="fail"))
    assert "object" in said
    assert trip.target.all_keys() == ["other"]
    trip.sync()
    trip.same()
