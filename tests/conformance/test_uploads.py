"""What every store does with multipart uploads."""

from __future__ import annotations

import io

import pytest

from airflow_provider_s3resume.exceptions import (
    DigestRejectedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreError,
    UnsupportedError,
    UploadNotFoundError,
)
from airflow_provider_s3resume.plan.digests import composite_etag, normal_etag
from airflow_provider_s3resume.plan.resume import PartRecord
from airflow_provider_s3resume.storage.base import Condition, NewUpload, ObjectStore
from tests.conformance.actions import (
    best_checksum,
    checksum,
    complete,
    new_upload,
    put,
    put_parts,
    read,
    send_parts,
)
from tests.conformance.cases import Case
from tests.conformance.test_objects import ATTRIBUTES


def _parts(case: Case) -> list[bytes]:
    # Parts of different sizes: the layout cannot be guessed from the first one.
    return [b"a" * case.part_size, b"b" * (case.part_size + 1), b"c" * 3]


def test_parts_become_the_object(case: Case) -> None:
    """The object is its parts in order, with their composite ETag and the given attributes."""
    store, parts = case.store, _parts(case)
    written = put_parts(store, "k", parts, ATTRIBUTES)
    assert read(store, "k") == b"".join(parts)
    info = store.head("k")
    if store.capabilities.keeps_attributes:
        assert info.attributes.metadata == ATTRIBUTES.metadata
        assert info.attributes.expires == ATTRIBUTES.expires
        assert store.get_tags("k") == (ATTRIBUTES.tags if case.keeps_upload_tags else {})
    etags = [put(store, f"part-{n}", part).etag or "" for n, part in enumerate(parts)]
    assert normal_etag(written.etag) == normal_etag(info.etag)
    # A store whose ETags of parts are made in another way says so.
    assert (normal_etag(info.etag) == composite_etag(etags)) is info.md5_etag
    assert info.part_count == (3 if store.capabilities.keeps_attributes else None)
    assert [listed.md5_etag for listed in store.list_objects("k")] == [info.md5_etag]


def test_the_layout_is_told_where_it_is_known(case: Case) -> None:
    """HEAD with a part number gives that part's size, and only of the object meant."""
    store, parts = case.store, _parts(case)
    put_parts(store, "k", parts)
    identity = store.head("k").identity()
    found = [store.head_part("k", number, identity) for number in (1, 2, 3)]
    if not store.capabilities.part_layout:
        assert found == [None, None, None]
        return
    assert [part and (part.size, part.part_count) for part in found] == [
        (len(part), 3) for part in parts
    ]
    put(store, "k", b"another")
    with pytest.raises(PreconditionFailedError):
        store.head_part("k", 1, identity)


def test_a_plain_object_has_no_layout(store: ObjectStore) -> None:
    """An object written in one request has no parts to tell of."""
    put(store, "k", b"plain")
    assert store.head_part("k", 1, store.head("k").identity()) is None


def test_parts_are_listed_as_sent(case: Case) -> None:
    """ListParts gives number, size and ETag of each part, and fails for an unknown upload."""
    store, parts = case.store, _parts(case)
    upload_id = store.create_upload("k", new_upload(store))
    assert store.list_parts("k", upload_id) == []
    records = send_parts(store, "k", upload_id, parts)
    listed = store.list_parts("k", upload_id)
    assert [(p.part_number, p.size, normal_etag(p.etag)) for p in listed] == [
        (r.part_number, r.size, normal_etag(r.etag)) for r in records
    ]
    with pytest.raises(ObjectNotFoundError):
        store.head("k")


def test_a_part_with_other_bytes_is_refused(store: ObjectStore) -> None:
    """Each declared checksum is checked for parts too."""
    for algorithm in store.capabilities.part_checksums:
        upload_id = store.create_upload("k", NewUpload())
        with pytest.raises(DigestRejectedError):
            store.upload_part("k", upload_id, 1, b"arrived", checksum(algorithm, b"sent"))
        assert store.list_parts("k", upload_id) == []


def test_any_buffer_can_be_a_part(store: ObjectStore) -> None:
    """Bytes, byte arrays and views, whole or not, are sent as the bytes they show."""
    whole = bytearray(b"0123456789")
    upload_id = store.create_upload("k", new_upload(store))
    for body in (bytes(whole), whole, memoryview(whole), memoryview(whole)[2:8]):
        sent = best_checksum(store, bytes(body))
        etag = store.upload_part("k", upload_id, 1, body, sent)
        record = PartRecord(part_number=1, size=len(body), etag=etag)
        assert store.list_parts("k", upload_id)[-1].size in {len(body), 10}
    complete(store, "k", upload_id, [record], bytes(whole[2:8]))
    assert read(store, "k") == b"234567"


def test_a_part_is_sent_while_it_is_read(case: Case) -> None:
    """A streamed part is the bytes that the body gave."""
    store, data = case.store, b"s" * case.part_size
    upload_id = store.create_upload("k", NewUpload())
    if not store.capabilities.streams_parts:
        with pytest.raises(UnsupportedError):
            store.upload_part_stream("k", upload_id, 1, io.BytesIO(data), len(data), None)
        assert store.list_parts("k", upload_id) == []
        return
    etag = store.upload_part_stream("k", upload_id, 1, io.BytesIO(data), len(data), None)
    record = PartRecord(part_number=1, size=len(data), etag=etag)
    store.complete_upload("k", upload_id, [record], size=len(data), checksum=None)
    assert read(store, "k") == data


def test_a_wrong_whole_keeps_the_old_object(case: Case) -> None:
    """A checksum of the whole that does not fit is refused, and the object before stays."""
    store, parts = case.store, _parts(case)
    put(store, "k", b"old")
    if not store.capabilities.full_object_checksum:
        with pytest.raises(StoreError):
            store.create_upload("k", NewUpload(full_object=True))
        return
    upload_id = store.create_upload("k", new_upload(store))
    records = send_parts(store, "k", upload_id, parts)
    with pytest.raises(StoreError):
        complete(store, "k", upload_id, records, b"something else")
    assert read(store, "k") == b"old"


def test_a_complete_only_over_what_was_seen(case: Case) -> None:
    """Both conditions hold back a Complete over an object that the plan did not see."""
    store, parts = case.store, [b"x"]
    if not store.capabilities.conditional_complete:
        upload_id = store.create_upload("k", new_upload(store))
        records = send_parts(store, "k", upload_id, parts)
        with pytest.raises(UnsupportedError):
            complete(store, "k", upload_id, records, b"x", Condition(absent=True))
        assert [*store.list_objects()] == []
        return
    for condition in (Condition(absent=True), Condition(etag="0" * 32)):
        put(store, "k", b"theirs")
        upload_id = store.create_upload("k", new_upload(store))
        records = send_parts(store, "k", upload_id, parts)
        with pytest.raises(PreconditionFailedError):
            complete(store, "k", upload_id, records, b"x", condition)
        assert read(store, "k") == b"theirs"
        seen = store.head("k").etag
        assert seen is not None
        complete(store, "k", upload_id, records, b"x", Condition(etag=seen))
        assert read(store, "k") == b"x"


def test_a_part_that_was_not_sent_is_refused(store: ObjectStore) -> None:
    """Complete takes what was sent, under the ETag that it got."""
    upload_id = store.create_upload("k", new_upload(store))
    (record,) = send_parts(store, "k", upload_id, [b"x"])
    unknown = PartRecord(part_number=2, size=1, etag=record.etag)
    with pytest.raises(StoreError):
        complete(store, "k", upload_id, [record, unknown], b"xx")
    with pytest.raises(ObjectNotFoundError):
        store.head("k")


def test_c13_uploads_are_those_of_exactly_the_key(store: ObjectStore) -> None:
    """An upload of a key that begins with the key asked for is never taken for its own."""
    keys = ["k", "k+1", "k+1/x", "k 1", "k%2B1", "kk", "k/k", "ü", "K"]
    made = {key: store.create_upload(key, NewUpload()) for key in keys}
    for key, upload_id in made.items():
        found = store.list_uploads(key)
        assert [(upload.key, upload.upload_id) for upload in found] == [(key, upload_id)]
    assert store.list_uploads("k+") == []
    second = store.create_upload("k", NewUpload())
    assert {upload.upload_id for upload in store.list_uploads("k")} == {made["k"], second}


def test_all_uploads_are_those_under_the_prefix(store: ObjectStore) -> None:
    """All keys' uploads are there once, under their keys, and no others."""
    keys = ("p/a", "p/b", "p/b")
    made = {store.create_upload(key, NewUpload()): key for key in keys}
    other = store.create_upload("q/a", NewUpload())
    found = store.list_all_uploads("p/")
    assert len(found) == len(made)
    assert {one.upload_id: one.key for one in found} == made
    assert {one.upload_id for one in store.list_all_uploads()} == {*made, other}


def test_an_abort_is_final_and_can_be_repeated(store: ObjectStore) -> None:
    """What was aborted is gone for every call; aborting it again is no error."""
    upload_id = store.create_upload("k", new_upload(store))
    send_parts(store, "k", upload_id, [b"x"])
    store.abort_upload("k", upload_id)
    store.abort_upload("k", upload_id)
    assert store.list_uploads("k") == []
    record = PartRecord(part_number=1, size=1, etag="0" * 32)
    for call in (
        lambda: store.list_parts("k", upload_id),
        lambda: store.upload_part("k", upload_id, 1, b"x", None),
        lambda: complete(store, "k", upload_id, [record], b"x"),
    ):
        with pytest.raises(UploadNotFoundError):
            call()
