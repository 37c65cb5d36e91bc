"""What an object is besides its bytes: headers, metadata, tags, storage class, encryption."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.demo_data import MIB, bytes_of
from tests.support.parity_registry import case
from tests.support.parity_sides import S3Side
from tests.support.parity_world import PART, World, refusal
from tests.support.processes import wait_until
from tests.support.wire_rules import Match

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
_ACL = "x-amz-acl"
_ALL_USERS = "http://acs.amazonaws.com/groups/global/AllUsers"
_AUTHENTICATED = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
_WRITES = ("PutObject", "CreateMultipartUpload")


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


@case(_GROUP, "encryption by a key of KMS")
def encrypted_by_kms(world: World) -> None:
    """Named once for all that is written."""
    wanted = "arn:aws:kms:us-east-1:000000000000:key/11111111-2222-3333-4444-555555555555"
    trip = world.plain()
    trip.source.put("small", bytes_of("small", 1_000))
    trip.source.put("large", bytes_of("large", 17 * MIB))
    trip.sync(encryption="aws:kms", kms_key_id=wanted)
    trip.same()
    for key in ("small", "large"):
        found = trip.target.head(key)
        assert (found["ServerSideEncryption"], found["SSEKMSKeyId"]) == ("aws:kms", wanted)


@case(_GROUP, "the storage class of each source object")
def class_of_source(world: World) -> None:
    """The same at the target, and another one for those that a mapping names."""
    classes = ("STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR")
    mapped = {"STANDARD_IA": "GLACIER_IR", "ONEZONE_IA": "STANDARD"}
    for mapping in (None, mapped):
        trip = world.plain()
        for name in classes:
            trip.source.put(name, name.encode(), StorageClass=name)
        trip.source.put("large", bytes_of("large", 17 * MIB), StorageClass="STANDARD_IA")
        trip.sync(storage_class="source", storage_class_map=mapping)
        trip.same()
        wanted = {name: (mapping or {}).get(name, name) for name in classes}
        wanted["large"] = wanted["STANDARD_IA"]
        assert {key: _class_of(trip.target, key) for key in wanted} == wanted


def _class_of(side: S3Side, key: str) -> str:
    return str(side.head(key).get("StorageClass", "STANDARD"))


@case(_GROUP, "a difference in metadata alone")
def metadata_alone(world: World) -> None:
    """Seen where it is asked for, as one of the older tools does; then equal again."""
    rule = {"rule": "size+etag+metadata"}
    trip = world.s3()
    for key in ("same", "changed"):
        trip.source.put(key, b"bytes", CacheControl="max-age=1", Metadata={"a": "1"})
    trip.sync()
    before = trip.target.written()
    trip.source.put("changed", b"bytes", ContentType="text/plain", Metadata={"a": "2"})
    assert trip.sync().report["planned"] == 0
    assert trip.sync(planning=rule).report["copied"] == 1
    assert trip.target.written()["same"] == before["same"]
    trip.same()
    assert trip.sync(planning=rule).report["planned"] == 0


@case(_GROUP, "canned ACLs")
def canned_acls(world: World) -> None:
    """What the server says of an object's grants, and what an upload in parts is begun with."""
    for acl, grants in (
        ("public-read", {_ALL_USERS: "READ"}),
        ("authenticated-read", {_AUTHENTICATED: "READ"}),
        ("bucket-owner-full-control", {}),
    ):
        trip = world.plain()
        _allow_acls(trip.target)
        _, target = trip.wired(world)
        trip.source.put("small", bytes_of("small", 1_000), ContentType="text/plain")
        trip.source.put("large", bytes_of("large", 17 * MIB))
        trip.sync(acl=acl)
        trip.same()
        assert _grants(trip.target, "small") == grants
        of_objects = f"^/{trip.target.bucket}/"
        for name in _WRITES:
            sent = target.seen(Match(operation=name, path=of_objects))
            assert [one.headers[_ACL] for one in sent] == [acl], name


@case(_GROUP, "canned ACLs of what the service copies by itself")
def canned_acl_by_service(world: World) -> None:
    """The copy does not take its source's grants with it."""
    trip = world.plain()
    _allow_acls(trip.target)
    trip.source.put("object", bytes_of("object", MIB))
    run = trip.sync(acl="public-read", server_side_copy="require")
    trip.same()
    assert run.report["by_service"] == 1
    assert _grants(trip.target, "object") == {_ALL_USERS: "READ"}


@case(_GROUP, "a bucket without ACLs")
def no_acls(world: World) -> None:
    """It refuses one that gives others anything, by name; the one that the owner has goes."""
    trip = world.plain()
    trip.source.put("object", b"object")
    (batch,), _ = trip.plan()
    said = refusal(lambda: trip.transfer(batch, acl="public-read"))
    assert "AccessControlListNotSupported" in said
    assert trip.target.all_keys() == []
    trip.transfer(batch, try_number=2, acl="bucket-owner-full-control")
    trip.same()


def _allow_acls(side: S3Side) -> None:
    """Let a bucket have ACLs: buckets are made without them."""
    rules: Any = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    side.client.put_bucket_ownership_controls(Bucket=side.bucket, OwnershipControls=rules)


def _grants(side: S3Side, key: str) -> dict[str, str]:
    """Return group → permission, of an object's grants to groups."""
    found = side.client.get_object_acl(Bucket=side.bucket, Key=key)["Grants"]
    return {one["Grantee"]["URI"]: one["Permission"] for one in found if "URI" in one["Grantee"]}
