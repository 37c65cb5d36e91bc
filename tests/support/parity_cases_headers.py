"""What an object is besides its bytes: headers, metadata, tags, storage class, encryption."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.demo_data import MIB, bytes_of
from tests.support.parity_registry import case
from tests.support.parity_world import PART, World
from tests.support.processes import wait_until

_GROUP = "headers"
_HEADERS: Mapping[str, Any] = {
    "ContentType": "text/html; charset=utf-8",
    "CacheControl": "max-age=60, public",
    "ContentDisposition": 'attachment; filename="page.html"',
    "ContentLanguage": "de-DE",
    "ContentEncoding": "gzip",
    "Expires": "Fri, 01 Jan 2027 00:00:00 GMT",
}
_METADATA: Mapping[str, Any] = {"Metadata": {"owner": "data team", "batch-id": "4711"}}
_TAGS: Mapping[str, Any] = {"Tagging": "class=public&team=data%20platform"}
_DEADLINE_S = 30.0


def _whole_and_in_parts(world: World, **parameters: Any) -> dict[str, Mapping[str, str]]:
    """Copy an object that is written in one request, and two that are sent in parts."""
    trip = world.s3()
    trip.source.put("small", bytes_of("small", 1_000), **parameters)
    trip.source.put("large", bytes_of("large", 17 * MIB), **parameters)
    trip.source.put_parts("parts", [bytes_of("1", PART), b"end"], **parameters)
    trip.sync()
    trip.same()
    found = {key: trip.target.read(key) for key in ("small", "large", "parts")}
    return {key: {**one.headers, **one.tags} for key, one in found.items()}


@case(_GROUP, "content type, encoding, language, disposition, caching and expiry")
def content_headers(world: World) -> None:
    """All of them, as they were written."""
    for found in _whole_and_in_parts(world, **_HEADERS).values():
        assert found["content-type"] == _HEADERS["ContentType"]
        assert found["content-encoding"] == "gzip"
        assert found["cache-control"] == _HEADERS["CacheControl"]
        assert found["expires"] == _HEADERS["Expires"]


@case(_GROUP, "metadata of the user")
def metadata(world: World) -> None:
    """Names and values."""
    for found in _whole_and_in_parts(world, **_METADATA).values():
        assert (found["meta owner"], found["meta batch-id"]) == ("data team", "4711")


@case(_GROUP, "metadata that is not ASCII")
def unicode_metadata(world: World) -> None:
    """In the form in which S3 gives it."""
    word = "=?UTF-8?B?Q2l0dMOg?="
    for found in _whole_and_in_parts(world, Metadata={"city": word}).values():
        assert found["meta city"] == "Città"


@case(_GROUP, "tags")
def tags(world: World) -> None:
    """Also of objects in parts."""
    for found in _whole_and_in_parts(world, **_TAGS).values():
        assert (found["class"], found["team"]) == ("public", "data platform")


@case(_GROUP, "everything at once")
def everything(world: World) -> None:
    """Headers, metadata and tags of one object."""
    for found in _whole_and_in_parts(world, **_HEADERS, **_METADATA, **_TAGS).values():
        assert len(found) == len(_HEADERS) + 2 + 2


@case(_GROUP, "bytes that say that they are compressed")
def compressed(world: World) -> None:
    """They arrive as stored; nobody unpacks them on the way, though they are no gzip at all."""
    trip = world.s3()
    for encoding in ("gzip", "br", "zstd", "deflate"):
        trip.source.put(encoding, bytes_of(encoding, 3_000), ContentEncoding=encoding)
    trip.sync()
    trip.same()


@case(_GROUP, "a storage class that can be read at once")
def storage_classes(world: World) -> None:
    """Each of those that the older tools offer, of a whole run and of single objects."""
    classes = ("ONEZONE_IA", "INTELLIGENT_TIERING", "REDUCED_REDUNDANCY", "GLACIER_IR")
    trip = world.plain()
    trip.source.put("large", bytes_of("large", 17 * MIB))
    for wanted in classes:
        trip.source.put(wanted, b"small", ContentType="text/plain")
    trip.sync(storage_class="STANDARD_IA")
    trip.same()
    assert {one["StorageClass"] for one in map(trip.target.head, trip.target.all_keys())} == {
        "STANDARD_IA"
    }
    for wanted in classes:
        trip.copy(wanted, storage_class=wanted)
        assert trip.target.head(wanted)["StorageClass"] == wanted
    trip.same()


@case(_GROUP, "a storage class that has to be restored")
def archive_classes(world: World) -> None:
    """What was archived is read back after it was restored by another tool."""
    for wanted in ("GLACIER", "DEEP_ARCHIVE"):
        trip = world.plain()
        trip.source.put("object", bytes_of(wanted, 5_000), ContentType="text/plain")
        trip.sync(storage_class=wanted)
        assert trip.target.head("object")["StorageClass"] == wanted
        trip.target.client.restore_object(
            Bucket=trip.target.bucket, Key="object", RestoreRequest={"Days": 1}
        )

        def restored(trip: Any = trip) -> bool:
            return 'ongoing-request="false"' in trip.target.head("object").get("Restore", "")

        wait_until(restored, deadline_s=_DEADLINE_S, what="the object is restored")
        trip.same()


@case(_GROUP, "encryption by the service's keys")
def encrypted(world: World) -> None:
    """AES256, asked for of all that is written."""
    trip = world.s3()
    trip.source.put("small", bytes_of("small", 1_000))
    trip.source.put("large", bytes_of("large", 17 * MIB))
    trip.sync(encryption="AES256")
    trip.same()
    for key in ("small", "large"):
        assert trip.target.head(key)["ServerSideEncryption"] == "AES256"
