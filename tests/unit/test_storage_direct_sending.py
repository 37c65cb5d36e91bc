"""Which pieces of a request leave together, and that each leaves as it was given out."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.storage._connection import Connection
from airflow_provider_s3resume.storage._direct_body import CHUNK, TrailedBody
from airflow_provider_s3resume.storage.base import SupportsRead
from airflow_provider_s3resume.storage.s3 import S3Settings
from airflow_provider_s3resume.transfer.reading import StreamBody
from tests.support.null_s3 import Chunks
from tests.support.wire_direct import Recorder, Servers, answer, store_of

TRAILED = pytest.mark.parametrize("trailer", [None, ChecksumAlgorithm.CRC32C])
Sends = list[list[bytes]]


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> Sends:
    """Give what each call was given to send, as it was at that moment."""
    made: Sends = []
    real = Connection.send

    def send(connection: Connection, *pieces: memoryview) -> None:
        made.append([bytes(piece) for piece in pieces])
        real(connection, *pieces)

    monkeypatch.setattr(Connection, "send", send)
    return made


def overwritten(data: bytes, step: int) -> StreamBody:
    """Return a body each of whose pieces lies where the one before lay, as the engine's do."""
    buffer = bytearray(step)

    def chunks() -> Iterator[memoryview]:
        for start in range(0, len(data), step):
            piece = data[start : start + step]
            buffer[: len(piece)] = piece
            yield memoryview(buffer)[: len(piece)]

    return StreamBody(chunks())


def upload(
    server: Recorder, body: SupportsRead, length: int, trailer: ChecksumAlgorithm | None
) -> bytes:
    """Send a part, and return its bytes as they arrived."""
    store = store_of(server, settings=S3Settings(addressing_style="path"))
    store.upload_part_stream("k", "u", 1, body, length, trailer)
    [request] = server.requests
    if trailer is None:
        return request.body
    return b"".join(Chunks(io.BytesIO(request.body)).pieces())


def test_the_end_of_a_chunk_is_in_one_piece_with_what_follows() -> None:
    """The next one's size, or the trailer."""
    data = bytes(2 * CHUNK + 1)
    pieces = [bytes(piece) for piece in TrailedBody(data, len(data), "CRC32C").pieces()]
    frames = [piece for piece in pieces if piece.strip(b"\0")]
    assert frames[:3] == [b"100000\r\n", b"\r\n100000\r\n", b"\r\n1\r\n"]
    assert frames[3].startswith(b"\r\n0\r\nx-amz-checksum-crc32c:")
    assert len(pieces) == len(frames) + 3


def test_frames_leave_with_their_chunks(servers: Servers, sends: Sends) -> None:
    """Each call sends bytes of the body, the last one the trailer alone."""
    data = bytes(range(1, 256)) * 9000
    server = servers.recorder(answer(200, etag='"e"'), secure=True)
    body = overwritten(data, 300_000)
    assert upload(server, body, len(data), ChecksumAlgorithm.CRC32C) == data
    *calls, last = sends
    assert b"".join(call[-1] for call in calls) == data
    assert calls[0][0].startswith(b"PUT ")
    assert calls[0][1] == b"100000\r\n"
    assert [call[:-1] for call in calls[1:] if len(call) > 1] == [
        [b"\r\n100000\r\n"],
        [b"\r\n%x\r\n" % (len(data) - 2 * CHUNK)],
    ]
    assert [piece.startswith(b"\r\n0\r\n") for piece in last] == [True]


@TRAILED
def test_a_small_piece_that_will_be_overwritten_does_not_wait(
    servers: Servers, trailer: ChecksumAlgorithm | None
) -> None:
    """The next one lies where it lies."""
    data = bytes(range(256)) * 4
    server = servers.recorder(answer(200, etag='"e"'), secure=True)
    assert upload(server, overwritten(data, 10), len(data), trailer) == data


@TRAILED
def test_a_file_that_is_read_byte_by_byte_is_not_gathered(
    servers: Servers, sends: Sends, trailer: ChecksumAlgorithm | None
) -> None:
    """A few bytes may wait for more, but not the whole of a part."""
    data = bytes(range(200))
    server = servers.recorder(answer(200, etag='"e"'), secure=True)

    class Dripping(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(1, size or 0))

    assert upload(server, Dripping(data), len(data), trailer) == data
    assert max(map(len, sends)) <= 5
