"""Traffic is counted, and kept within agreed rates."""

from __future__ import annotations

import pytest

from airflow_provider_s3resume.exceptions import CopyStoppedError, ObjectNotFoundError
from airflow_provider_s3resume.storage.base import NewUpload
from airflow_provider_s3resume.storage.layers import Metered, RateLimited, Rates
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


class Time:
    """A clock that waiting moves."""

    def __init__(self, *, stop: bool = False) -> None:
        self.now = 0.0
        self.stop = stop

    def wait(self, seconds: float) -> bool:
        """Let the time pass."""
        self.now += seconds
        return self.stop


def test_requests_keep_their_rate() -> None:
    """A second's worth is free at first; from then on the rate holds."""
    time = Time()
    rates = Rates(requests_per_s=4)
    store = RateLimited(MemoryStore(), rates, wait=time.wait, clock=lambda: time.now)
    for _ in range(4):
        store.check_access()
    assert time.now == 0
    for _ in range(8):
        store.check_access()
    assert time.now == pytest.approx(2)


def test_bytes_keep_their_rate_both_ways() -> None:
    """Bodies sent and bodies read count alike."""
    time = Time()
    rates = Rates(bytes_per_s=100)
    store = RateLimited(MemoryStore(), rates, wait=time.wait, clock=lambda: time.now)
    store.put_object("k", b"x" * 200, upload=NewUpload(), checksum=None)
    assert time.now == pytest.approx(1)
    with store.open_range("k", None, store.head("k").identity()) as reader:
        assert reader.readinto(memoryview(bytearray(300))) == 200
    assert time.now == pytest.approx(3)


def test_a_stop_ends_the_waiting() -> None:
    """Told to stop while waiting, the call is not made."""
    time = Time(stop=True)
    memory = MemoryStore()
    store = RateLimited(memory, Rates(bytes_per_s=1), wait=time.wait, clock=lambda: time.now)
    with pytest.raises(CopyStoppedError):
        store.put_object("k", b"x" * 10, upload=NewUpload(), checksum=None)
    assert memory.keys() == []
