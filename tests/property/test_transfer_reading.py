"""Reading ranges over a connection that breaks, in pieces of any size, gives the range's bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.exceptions import TransientStoreError
from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import ByteRange, ObjectInfo
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer.hashing import Hasher, checksum_of
from airflow_provider_s3resume.transfer.reading import ExactSource, StreamBody
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.support.transfer_world import pattern, put_object

SIZE = 300
RANGES = st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE)).map(
    lambda pair: ByteRange(start=pair[0], stop=min(pair[0] + pair[1], SIZE))
)


class Quick(StopSignal):
    """A signal that nobody waits for."""

    def wait(self, seconds: float) -> bool:  # noqa: ARG002 - that is the point
        """Return at once."""
        return False


def source_that_breaks(breaks: set[int], read_size: int) -> ExactSource:
    """Return an object whose reads break at these calls; never often without a byte between."""
    store = MemoryStore("from")
    put_object(store, "k", pattern(SIZE))
    store.state.traits = replace(store.state.traits, read_size=read_size)
    reads = [0]

    def before(operation: str, _arguments: Mapping[str, Any]) -> None:
        if operation == "Read":
            reads[0] += 1
            if reads[0] in breaks:
                raise TransientStoreError("GetObject", "s3://from/k", "reset")

    store.observer.before = before
    return ExactSource(store, "k", store.objects["k"].info("k").identity(), Quick())


# Every second call at most, so that a byte comes between two breaks.
BREAKS = st.sets(st.integers(1, 60).map(lambda n: 2 * n), max_size=20)


@given(RANGES, BREAKS, st.integers(1, 64), st.integers(1, SIZE))
def test_chunks_are_the_range_whatever_breaks(
    byte_range: ByteRange, breaks: set[int], read_size: int, buffer_size: int
) -> None:
    """Pieces in a buffer of any size, over any breaks, make up exactly the range."""
    source = source_that_breaks(breaks, read_size)
    buffer = memoryview(bytearray(buffer_size))
    got = b"".join(bytes(piece) for piece in source.chunks(byte_range, buffer))
    assert got == pattern(SIZE)[byte_range.start : byte_range.stop]


@given(RANGES, BREAKS, st.integers(1, 64), st.integers(1, 50))
def test_a_streamed_body_is_the_range_and_hashed_once(
    byte_range: ByteRange, breaks: set[int], read_size: int, step: int
) -> None:
    """However it is read, the body is the range, and its digest is that of the bytes sent."""
    source = source_that_breaks(breaks, read_size)
    hasher = Hasher(ChecksumAlgorithm.CRC64NVME)
    body = StreamBody(source.chunks(byte_range, memoryview(bytearray(37))), hasher)
    got = b""
    while piece := body.read(step):
        got += piece
    assert got == pattern(SIZE)[byte_range.start : byte_range.stop]
    assert hasher.checksum() == checksum_of(ChecksumAlgorithm.CRC64NVME, got)


@given(BREAKS, st.integers(1, 64))
def test_a_whole_object_is_whole_and_hashed_once_whatever_breaks(
    breaks: set[int], read_size: int
) -> None:
    """A small object that is read in one request goes on in ranges where that broke."""
    data, hasher = bytearray(SIZE), Hasher(ChecksumAlgorithm.CRC64NVME)
    headers: list[ObjectInfo] = []

    def hashers_for(info: ObjectInfo) -> list[Hasher]:
        headers.append(info)
        return [hasher]

    info = source_that_breaks(breaks, read_size).whole(memoryview(data), hashers_for)
    assert bytes(data) == pattern(SIZE)
    assert info.size == SIZE
    assert headers == [info]
    assert hasher.checksum() == checksum_of(ChecksumAlgorithm.CRC64NVME, data)
