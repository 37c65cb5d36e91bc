"""Traffic is counted."""

from __future__ import annotations

import pytest

from airflow_provider_s3resume.exceptions import ObjectNotFoundError
from airflow_provider_s3resume.storage.base import NewUpload
from airflow_provider_s3resume.storage.layers import Metered
from airflow_provider_s3resume.storage.memory import MemoryStore


def test_calls_bytes_and_errors_are_counted() -> None:
    """A reading shows calls by operation, bytes both ways, and errors by kind."""
    store = Metered(MemoryStore())
    store.put_object("k", b"12345", upload=NewUpload(), checksum=None)
    with store.open_range("k", None, store.head("k").identity()) as reader:
        reader.readinto(memoryview(bytearray(3)))
    assert len(list(store.list_objects())) == 1
    with pytest.raises(ObjectNotFoundError):
        store.head("absent")
    reading = store.snapshot()
    assert reading.calls == {"PutObject": 1, "HeadObject": 2, "GetObject": 1, "ListObjectsV2": 1}
    assert (reading.bytes_sent, reading.bytes_received) == (5, 3)
    assert reading.errors == {"ObjectNotFoundError": 1}
