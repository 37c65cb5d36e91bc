"""From Alibaba Cloud OSS to S3: every kind of object that OSS has."""

from __future__ import annotations

from typing import Any

from tests.support import oss_demo_data
from tests.support.demo_data import MIB, bytes_of
from tests.support.parity_registry import case
from tests.support.parity_world import PART, OSSTrip, World, refusal

_GROUP = "OSS to S3"


def _fill(trip: OSSTrip, *prefixes: str) -> list[str]:
    keys = [f"{prefix}{name}" for prefix in prefixes for name in ("a.txt", "dir/b.bin", "z")]
    for number, key in enumerate(keys):
        trip.source.put(key, bytes_of(key, 100 + 1000 * number), content_type="text/plain")
    return keys


@case(_GROUP, "a whole bucket of all kinds of objects")
def all_kinds(world: World) -> None:
    """Normal, in parts, appended to, compressed, links, and some from before OSS had CRCs."""
    # A SeaweedFS would guess the type of what has none, by its key.
    trip = world.oss_to_plain()
    state = trip.source.state

    def control(name: str, *given: Any, **more: Any) -> object:
        return getattr(state, name)(*given, **more)

    oss_demo_data.seed(trip.source.sdk, control)
    run = trip.sync()
    trip.same()
    assert run.report["failed"] == 0
    assert run.report["verified_by"]["crc64"] > oss_demo_data.READINGS


@case(_GROUP, "a prefix onto another prefix")
def prefix(world: World) -> None:
    """What stands beside it stays where it is."""
    trip = world.oss()
    keys = _fill(trip, "reports/2026/", "reports/2025/")
    trip.sync("reports/2026/", "mirror/")
    wanted = [key for key in keys if key.startswith("reports/2026/")]
    trip.arrived({f"mirror/{key.removeprefix('reports/2026/')}": key for key in wanted})


@case(_GROUP, "a single object")
def single_object(world: World) -> None:
    """By its own name, under another one."""
    trip = world.oss()
    _fill(trip, "in/")
    trip.copy("in/dir/b.bin", "out/b.bin")
    trip.arrived({"out/b.bin": "in/dir/b.bin"})


@case(_GROUP, "a second run copies nothing")
def second_run(world: World) -> None:
    """Then only what has changed, though its size is the same."""
    trip = world.oss()
    keys = _fill(trip, "", "dir/")
    trip.source.state.put_multipart(trip.source.bucket, "parts", [bytes_of("1", PART), b"end"])
    trip.source.put("large", bytes_of("large", 17 * MIB))
    trip.sync()
    before = trip.target.written()
    assert trip.sync().report["planned"] == 0
    assert trip.target.written() == before
    trip.source.put(keys[0], b"x" * trip.source.read(keys[0]).size, content_type="text/plain")
    assert trip.sync().report["copied"] == 1
    trip.same()


@case(_GROUP, "objects in parts of any size")
def in_parts(world: World) -> None:
    """Parts that S3 would take, and parts that it would not."""
    trip = world.oss()
    bucket, state = trip.source.bucket, trip.source.state
    state.put_multipart(bucket, "as-at-s3", [bytes_of(f"{n}", n * MIB) for n in (5, 7, 6)])
    state.put_multipart(bucket, "too-small", [bytes_of(f"{n}", MIB) for n in range(18)])
    state.put_multipart(bucket, "one-part", [bytes_of("one", 300_000)])
    trip.sync()
    trip.same()


@case(_GROUP, "objects that were appended to")
def appended(world: World) -> None:
    """A log that grew, and grows again between two runs."""
    trip = world.oss_to_plain()
    bucket, state = trip.source.bucket, trip.source.state
    for body in (b"one\n", b"two\n"):
        state.append(bucket, "small.log", body)
    for number in range(2):
        state.append(bucket, "large.log", bytes_of(f"log {number}", 9 * MIB))
    trip.sync()
    trip.same()
    state.append(bucket, "small.log", b"three\n")
    state.append(bucket, "large.log", b"end\n")
    assert trip.sync().report["copied"] == 2
    trip.same()


@case(_GROUP, "links, followed")
def links_followed(world: World) -> None:
    """What a link leads to arrives under the link's key."""
    trip = world.oss()
    trip.source.put("data", b"what the link leads to", content_type="text/plain")
    trip.source.sdk.put_symlink("data", "latest")
    trip.sync(planning={"symlinks": "follow"})
    assert sorted(trip.target.all_keys()) == ["data", "latest"]
    assert trip.target.read("latest").sha256 == trip.source.read("data").sha256
    assert trip.target.read("data") == trip.source.read("data")


@case(_GROUP, "links, reported")
def links_reported(world: World) -> None:
    """A link is named, and nothing is copied under its key."""
    trip = world.oss()
    trip.source.put("data", b"what the link leads to", content_type="text/plain")
    trip.source.sdk.put_symlink("data", "latest")
    run = trip.sync(planning={"symlinks": "report"})
    trip.arrived({"data": "data"})
    assert run.report["skipped"]["symlink"] == 1


@case(_GROUP, "headers, metadata and tags")
def headers(world: World) -> None:
    """UTF-8 stays what it was, in small objects and in large ones."""
    trip = world.oss()
    for key, size in (("small", 1_000), ("large", 17 * MIB)):
        trip.source.put(
            key,
            bytes_of(key, size),
            content_type="text/html; charset=utf-8",
            cache_control="max-age=60",
            content_disposition='inline; filename="page.html"',
            content_language="de",
            content_encoding="gzip",
            expires="Fri, 01 Jan 2027 00:00:00 GMT",
            x_oss_meta_city="Città 日本",
            x_oss_tagging="class=public&team=data%20platform",
        )
    trip.sync()
    trip.same()
    for key in ("small", "large"):
        found = trip.target.read(key)
        assert found.headers["meta city"] == "Città 日本"
        assert found.tags == {"class": "public", "team": "data platform"}


@case(_GROUP, "keys of all kinds")
def odd_keys(world: World) -> None:
    """Unicode, plus signs, spaces, percent signs, quotes."""
    trip = world.oss()
    for key in oss_demo_data.KEYS:
        trip.source.put(key, bytes_of(key, 1_234), content_type="text/plain")
    trip.sync()
    trip.same()


@case(_GROUP, "empty objects and folders' markers")
def empty(world: World) -> None:
    """Both are objects."""
    trip = world.oss()
    trip.source.put("empty")
    trip.source.put("folder/")
    trip.source.put("folder/file", b"file")
    trip.sync()
    trip.same()


@case(_GROUP, "archived objects")
def archived(world: World) -> None:
    """Reported, or tried and refused by its name; all others arrive, and restored it does, too."""
    trip = world.oss()
    keys = _fill(trip, "")
    trip.source.put("cold", b"archived", content_type="text/plain")
    trip.source.state.set_class(trip.source.bucket, "cold", "Archive")
    assert trip.sync().report["skipped"]["archived"] == 1
    (batch,), _ = trip.plan(archived="try")
    assert "cold" in refusal(lambda: trip.transfer(batch))
    trip.arrived({key: key for key in keys})
    trip.source.state.set_class(trip.source.bucket, "cold", "Archive", restored=True)
    trip.sync()
    trip.same()


@case(_GROUP, "into a storage class")
def storage_class(world: World) -> None:
    """Asked for of a whole run."""
    trip = world.oss_to_plain()
    _fill(trip, "", "dir/")
    trip.source.put("large", bytes_of("large", 17 * MIB))
    trip.sync(storage_class="STANDARD_IA")
    trip.same()
    classes = {trip.target.head(key)["StorageClass"] for key in trip.target.all_keys()}
    assert classes == {"STANDARD_IA"}


@case(_GROUP, "storage classes by those of the source")
def classes_of_source(world: World) -> None:
    """Each has one at S3 that is read about as fast; a mapping may name others."""
    wanted = {"Standard": "STANDARD", "IA": "STANDARD_IA", "Archive": "GLACIER_IR"}
    for mapping in ({}, {"Archive": "GLACIER", "IA": "ONEZONE_IA"}):
        trip = world.oss_to_plain()
        for name in wanted:
            trip.source.put(name, name.encode(), content_type="text/plain")
            restored = name == "Archive"
            trip.source.state.set_class(trip.source.bucket, name, name, restored=restored)
        trip.sync(storage_class="source", storage_class_map=mapping)
        found = {
            key: trip.target.head(key).get("StorageClass", "STANDARD")
            for key in trip.target.all_keys()
        }
        assert found == {**wanted, **mapping}
