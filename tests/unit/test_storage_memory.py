"""The memory store can be watched, stopped and spoiled at every call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    DigestRejectedError,
    ObjectArchivedError,
    StoreError,
)
from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.plan.parts import Limits
from airflow_provider_s3resume.plan.resume import PartRecord
from airflow_provider_s3resume.storage.base import NewUpload, WriteOptions
from airflow_provider_s3resume.storage.memory import MemoryStore, MemoryTraits
from tests.conformance.actions import checksum

SMALL = Limits(min_part_size=4, max_part_size=8, max_single_put=8, max_object_size=20, max_parts=3)


class KilledError(BaseException):
    """The process ends here."""


def _kill(_operation: str, _arguments: Mapping[str, Any]) -> None:
    raise KilledError


def test_a_kill_before_a_call_leaves_nothing() -> None:
    """Before the call nothing has happened, after it everything."""
    store = MemoryStore(before_call=_kill)
    with pytest.raises(KilledError):
        store.put_object("k", b"x", upload=NewUpload(), checksum=None)
    assert store.keys() == []
    store = MemoryStore(after_call=_kill)
    with pytest.raises(KilledError):
        store.put_object("k", b"x", upload=NewUpload(), checksum=None)
    assert store.data("k") == b"x"


def test_every_read_is_a_call() -> None:
    """Each ``readinto`` is seen, and gives no more than told."""
    calls: list[str] = []
    store = MemoryStore(
        traits=MemoryTraits(read_size=2), before_call=lambda operation, _: calls.append(operation)
    )
    store.put_object("k", b"12345", upload=NewUpload(), checksum=None)
    with store.open_range("k", None, store.head("k").identity()) as reader:
        while reader.readinto(memoryview(bytearray(10))):
            pass
    assert calls == ["PutObject", "HeadObject", "GetObject", "Read", "Read", "Read", "Read"]


def test_bytes_changed_on_the_way_are_refused() -> None:
    """What arrives otherwise than it was sent does not have its checksum any more."""
    store = MemoryStore(in_transit=lambda _, data: data[:-1] + b"!")
    sent = checksum(ChecksumAlgorithm.CRC64NVME, b"data")
    with pytest.raises(DigestRejectedError):
        store.put_object("k", b"data", upload=NewUpload(), checksum=sent)


def test_limits_are_kept() -> None:
    """Sizes and numbers out of bounds are refused."""
    store = MemoryStore(limits=SMALL)
    upload_id = store.create_upload("k", NewUpload())
    for number, size in ((0, 4), (4, 4), (1, 9)):
        with pytest.raises(StoreError):
            store.upload_part("k", upload_id, number, b"x" * size, None)
    etags = [store.upload_part("k", upload_id, n, b"x" * 3, None) for n in (1, 2)]
    records = [PartRecord(part_number=n, size=3, etag=etag) for n, etag in enumerate(etags, 1)]
    with pytest.raises(StoreError, match="EntityTooSmall"):
        store.complete_upload("k", upload_id, records, size=6, checksum=None)
    with pytest.raises(StoreError, match="EntityTooLarge"):
        store.put_object("k", b"x" * 9, upload=NewUpload(), checksum=None)
    with pytest.raises(StoreError, match="KeyTooLong"):
        store.put_object("k" * 1025, b"", upload=NewUpload(), checksum=None)


def test_archived_objects_are_not_read() -> None:
    """HEAD tells of them, a read is refused."""
    store = MemoryStore()
    glacier = NewUpload(options=WriteOptions(storage_class="GLACIER"))
    store.put_object("k", b"x", upload=glacier, checksum=None)
    info = store.head("k")
    assert info.storage_class == "GLACIER"
    with pytest.raises(ObjectArchivedError):
        store.open_range("k", None, info.identity())


def test_a_part_sent_again_is_listed_as_told() -> None:
    """Once on Amazon S3, twice on SeaweedFS; the last one counts for both."""
    for twice in (False, True):
        store = MemoryStore(limits=SMALL, traits=MemoryTraits(lists_resent_parts=twice))
        upload_id = store.create_upload("k", NewUpload())
        etags = [store.upload_part("k", upload_id, 1, body, None) for body in (b"a", b"b")]
        assert len(store.list_parts("k", upload_id)) == 1 + twice
        for etag in etags:
            record = PartRecord(part_number=1, size=1, etag=etag)
            if etag == etags[0]:
                with pytest.raises(StoreError, match="InvalidPart"):
                    store.complete_upload("k", upload_id, [record], size=1, checksum=None)
            else:
                store.complete_upload("k", upload_id, [record], size=1, checksum=None)
        assert store.data("k") == b"b"
