"""What every store does with single objects."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import io

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    BucketNotFoundError,
    DigestRejectedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    RangeMismatchError,
    StoreError,
    TransientStoreError,
    UnsupportedError,
)
from airflow_provider_s3resume.plan.objects import ByteRange, ContentAttributes
from airflow_provider_s3resume.storage.base import Condition, NewUpload, ObjectStore, uri_of
from tests.conformance.actions import best_checksum, checksum, put, read
from tests.conformance.cases import Case

ATTRIBUTES = ContentAttributes(
    content_type="text/x-odd; charset=utf-8",
    content_encoding="gzip",
    content_language="de",
    content_disposition='attachment; filename="a b"',
    cache_control="max-age=3, private",
    expires="Thu, 01 Dec 2044 16:00:00 GMT",
    metadata={"plain": "a b+c=d", "hyphen-ed": "1"},
    tags={"k 1": "v+1/ü=", "empty": ""},
)


def md5_of(data: bytes) -> str:
    """Return an MD5 as ``Content-MD5`` has it."""
    return base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()


def test_zero_bytes_are_an_object(store: ObjectStore) -> None:
    """An object of no bytes is written, listed, and read like any other."""
    put(store, "empty", b"")
    put(store, "after", b"x")
    assert store.head("empty").size == 0
    assert read(store, "empty") == b""
    assert read(store, "after") == b"x"
    assert [listed.size for listed in store.list_objects("empty")] == [0]


def test_directory_markers_are_objects(store: ObjectStore) -> None:
    """A key that ends in a slash, beside keys under it, is an object (c08)."""
    tree = store.capabilities.file_tree
    if tree is not None and not tree.directory_markers:
        with pytest.raises(StoreError):
            put(store, "dir/", b"")
        assert [*store.list_objects()] == []
        return
    put(store, "dir/", b"")
    put(store, "dir/file", b"x")
    assert store.head("dir/").size == 0
    assert [listed.key for listed in store.list_objects()] == ["dir/", "dir/file"]


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (0, 10), (3, 7), (9, 10)])
def test_a_range_is_exact(store: ObjectStore, start: int, stop: int) -> None:
    """A range gives its bytes, all of them, and no others."""
    put(store, "k", b"0123456789")
    wanted = ByteRange(start=start, stop=stop)
    assert read(store, "k", wanted) == b"0123456789"[start:stop]


@pytest.mark.parametrize(("start", "stop"), [(5, 11), (10, 11), (100, 200)])
def test_a_range_past_the_end_is_refused(store: ObjectStore, start: int, stop: int) -> None:
    """A range that the object does not have is an error, not fewer or other bytes."""
    put(store, "k", b"0123456789")
    with pytest.raises(RangeMismatchError):
        store.open_range("k", ByteRange(start=start, stop=stop), store.head("k").identity())


def test_another_size_than_planned_is_refused(store: ObjectStore) -> None:
    """Where no ETag tells, the size of the whole object has to be the planned one."""
    put(store, "k", b"0123456789")
    planned = dataclasses.replace(store.head("k").identity(), etag=None, size=11)
    for wanted in (None, ByteRange(start=0, stop=3)):
        with pytest.raises(RangeMismatchError):
            store.open_range("k", wanted, planned)


def test_a_replaced_object_is_not_read(store: ObjectStore) -> None:
    """A read is of the object that was planned, or fails."""
    put(store, "k", b"old")
    planned = store.head("k").identity()
    put(store, "k", b"new")
    for wanted in (None, ByteRange(start=0, stop=2)):
        with pytest.raises(PreconditionFailedError):
            store.open_range("k", wanted, planned)


def test_an_aborted_read_fails(store: ObjectStore) -> None:
    """After an abort nothing more is read, and closing is harmless."""
    put(store, "k", b"x" * 1_000_000)
    reader = store.open_range("k", None, store.head("k").identity())
    assert reader.readinto(memoryview(bytearray(10)))
    reader.abort()
    with pytest.raises(TransientStoreError):
        reader.readinto(memoryview(bytearray(10)))
    reader.close()
    reader.close()
    assert read(store, "k") == b"x" * 1_000_000


def test_a_put_only_if_absent(store: ObjectStore) -> None:
    """``absent`` lets the first write in and no second."""
    if not store.capabilities.conditional_put:
        with pytest.raises(UnsupportedError):
            put(store, "k", b"first", condition=Condition(absent=True))
        assert [*store.list_objects()] == []
        return
    put(store, "k", b"first", condition=Condition(absent=True))
    with pytest.raises(PreconditionFailedError):
        put(store, "k", b"second", condition=Condition(absent=True))
    assert read(store, "k") == b"first"


def test_a_put_only_over_the_object_seen(store: ObjectStore) -> None:
    """An ETag lets only the write over that object in, and none where there is no object."""
    etag = put(store, "k", b"first").etag
    assert etag is not None
    if not store.capabilities.conditional_put:
        with pytest.raises(UnsupportedError):
            put(store, "k", b"second", condition=Condition(etag=etag))
        assert read(store, "k") == b"first"
        return
    put(store, "k", b"second", condition=Condition(etag=etag))
    for key in ("k", "absent"):
        with pytest.raises(PreconditionFailedError):
            put(store, key, b"third", condition=Condition(etag=etag))
    assert read(store, "k") == b"second"
    with pytest.raises(ObjectNotFoundError):
        store.head("absent")


def test_other_bytes_than_the_checksum_are_refused(store: ObjectStore) -> None:
    """Each declared checksum is really checked, and what it refuses is not stored."""
    assert store.capabilities.part_checksums
    for algorithm in store.capabilities.part_checksums:
        wrong = checksum(algorithm, b"sent")
        with pytest.raises(DigestRejectedError):
            store.put_object("k", b"arrived", upload=NewUpload(), checksum=wrong)
        with pytest.raises(ObjectNotFoundError):
            store.head("k")
        store.put_object("ok", b"sent", upload=NewUpload(), checksum=wrong)
        assert read(store, "ok") == b"sent"


def test_other_bytes_than_the_sources_md5_are_refused(store: ObjectStore) -> None:
    """The MD5 that the source's ETag proves is checked beside the checksum of what is sent."""
    md5 = base64.b64encode(hashlib.md5(b"source", usedforsecurity=False).digest()).decode()
    with pytest.raises(DigestRejectedError):
        store.put_object("k", b"else", upload=NewUpload(), checksum=None, content_md5=md5)
    store.put_object("k", b"source", upload=NewUpload(), checksum=None, content_md5=md5)
    assert read(store, "k") == b"source"


def test_full_object_checksums_are_kept(case: Case) -> None:
    """Where the store keeps checksums, HEAD gives the one that was sent, and its own."""
    store = case.store
    put(store, "k", b"data")
    expected = [checksum(algorithm, b"data") for algorithm in case.own_checksums]
    if store.capabilities.full_object_checksum:
        expected.append(best_checksum(store, b"data"))
    found = store.head("k").checksums
    assert found == () if not expected else set(expected) <= set(found)


def test_attributes_and_tags_arrive(store: ObjectStore) -> None:
    """Headers, metadata and tags of a written object are the ones given."""
    put(store, "k", b"x", ATTRIBUTES)
    found = store.head("k").attributes
    if not store.capabilities.keeps_attributes:
        assert found == ContentAttributes()
        with pytest.raises(UnsupportedError):
            store.get_tags("k")
        return
    assert dataclasses.replace(found, tags={}) == dataclasses.replace(ATTRIBUTES, tags={})
    assert store.get_tags("k") == ATTRIBUTES.tags
    with store.open_range("k", None, store.head("k").identity()) as reader:
        assert reader.info.attributes.metadata == ATTRIBUTES.metadata
        assert reader.info.etag == store.head("k").etag


def test_missing_objects_are_named(store: ObjectStore) -> None:
    """What is not there is an error that says where; deleting it is none."""
    put(store, "k", b"x")
    identity = store.head("k").identity()
    store.delete_object("k")
    store.delete_object("k")
    for call in (
        lambda: store.head("k"),
        lambda: store.open_range("k", None, identity),
        lambda: store.get_tags("k"),
    ):
        with pytest.raises(ObjectNotFoundError, match=uri_of(store, "k")):
            call()


def test_c03_an_unknown_bucket_is_no_empty_one(case: Case) -> None:
    """Neither a check, nor a listing, nor a write takes a missing bucket for an empty one."""
    store = case.unknown
    for call in (
        store.check_access,
        lambda: list(store.list_objects()),
        lambda: store.list_uploads("k"),
        store.list_all_uploads,
        lambda: put(store, "k", b"x"),
        lambda: store.create_upload("k", NewUpload()),
    ):
        with pytest.raises(BucketNotFoundError):
            call()


def test_c03_a_refused_caller_sees_no_empty_bucket(case: Case) -> None:
    """Wrong credentials are an error of every call."""
    store = case.denied
    if store is None:
        # This service does not look at credentials: what counts is that it says nothing wrong.
        case.store.check_access()
        return
    for call in (
        store.check_access,
        lambda: list(store.list_objects()),
        lambda: store.list_uploads("k"),
        store.list_all_uploads,
        lambda: store.head("k"),
        lambda: put(store, "k", b"x"),
    ):
        with pytest.raises(AccessDeniedError):
            call()


def test_an_object_is_written_while_it_is_read(store: ObjectStore) -> None:
    """Where it can be, it is the bytes that the body gave; else it is refused unread."""
    data, md5 = b"s" * 3000, md5_of(b"s" * 3000)
    body = io.BytesIO(data)
    if not store.capabilities.streams_objects:
        with pytest.raises(UnsupportedError):
            store.put_object_stream("k", body, 3000, upload=NewUpload(), content_md5=md5)
        assert (body.tell(), [*store.list_objects()]) == (0, [])
        return
    upload = NewUpload(attributes=ContentAttributes(content_type="text/x-odd"))
    etag = store.put_object_stream("k", body, 3000, upload=upload, content_md5=md5).etag
    assert read(store, "k") == data
    info = store.head("k")
    assert (info.etag, info.attributes.content_type) == (etag, "text/x-odd")
    if store.capabilities.md5_etags:
        assert etag == base64.b64decode(md5).hex()


def test_c18_an_object_with_another_md5_is_not_stored(store: ObjectStore) -> None:
    """The service compares what arrives while it is read, and the object before stays."""
    if not store.capabilities.streams_objects:
        return
    put(store, "k", b"old")
    md5 = md5_of(b"what was meant")
    with pytest.raises(DigestRejectedError):
        store.put_object_stream(
            "k", io.BytesIO(b"what arrived!!"), 14, upload=NewUpload(), content_md5=md5
        )
    assert read(store, "k") == b"old"


def test_c18_a_condition_holds_for_what_is_written_while_it_is_read(store: ObjectStore) -> None:
    """As for what is held."""
    can = store.capabilities
    if not (can.streams_objects and can.conditional_put):
        return
    put(store, "k", b"old")
    md5 = md5_of(b"new")
    for condition in (Condition(absent=True), Condition(etag="0" * 32)):
        with pytest.raises(PreconditionFailedError):
            store.put_object_stream(
                "k",
                io.BytesIO(b"new"),
                3,
                upload=NewUpload(),
                content_md5=md5,
                condition=condition,
            )
    assert read(store, "k") == b"old"
    there = Condition(etag=store.head("k").etag)
    store.put_object_stream(
        "k", io.BytesIO(b"new"), 3, upload=NewUpload(), content_md5=md5, condition=there
    )
    assert read(store, "k") == b"new"
