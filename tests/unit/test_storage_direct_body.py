"""Bodies of direct calls: as long as they say, with the checksum of what was sent behind them."""

from __future__ import annotations

import base64
import gc
import io
import random
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from awscrt import checksums as crt

from airflow_provider_s3resume.exceptions import DigestRejectedError, TransientStoreError
from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.storage._connection import Connection
from airflow_provider_s3resume.storage._connections import Connections
from airflow_provider_s3resume.storage._direct_body import (
    CHUNK,
    SLICE,
    Body,
    DirectBody,
    TrailedBody,
    body_of,
    pieces_of,
)
from airflow_provider_s3resume.storage._pace import Awaited
from airflow_provider_s3resume.storage._s3_bodies import StreamBody as SentStream
from airflow_provider_s3resume.storage.base import NewUpload, SupportsRead
from airflow_provider_s3resume.storage.checksums import (
    RUNNING,
    checksum_value,
    running_checksum,
)
from airflow_provider_s3resume.storage.s3 import S3Settings, S3Store
from airflow_provider_s3resume.transfer.hashing import Hasher
from airflow_provider_s3resume.transfer.reading import StreamBody
from tests.support.null_s3 import Chunks
from tests.support.seaweed import SeaweedServer
from tests.support.tls import Certificate
from tests.support.wire_direct import Servers, answer, client_of

SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK]
ALGORITHMS = ["CRC64NVME", "CRC32C", "CRC32"]
BYTES = random.Random(7).randbytes(3 * CHUNK)
EXPECTED: dict[str, Callable[[bytes], str]] = {
    "CRC64NVME": lambda data: _b64(crt.crc64nvme(data), 8),
    "CRC32C": lambda data: _b64(crt.crc32c(data), 4),
    "CRC32": lambda data: _b64(zlib.crc32(data), 4),
}


def _b64(value: int, size: int) -> str:
    return base64.b64encode(value.to_bytes(size, "big")).decode("ascii")


class Sipped:
    """A file that gives out less than is asked for."""

    def __init__(self, data: bytes, most: int) -> None:
        self._file = io.BytesIO(data)
        self._most = most
        self.asked: list[int] = []

    def read(self, size: int = -1, /) -> bytes:
        """Return a few bytes."""
        self.asked.append(size)
        return self._file.read(min(size, self._most))


class Streamed:
    """A body that is there in pieces, and knows its checksum if it is told so."""

    def __init__(self, data: bytes, step: int, digest: str | None = None) -> None:
        self._data = data
        self._step = step
        self.asked: list[str] = []
        if digest is not None:
            self._digest = digest
            self.digest = self._told

    def read(self, size: int = -1, /) -> bytes:
        """Refuse: this would be a copy."""
        raise AssertionError(size)

    def _told(self, algorithm: str) -> str:
        self.asked.append(algorithm)
        return self._digest

    def pieces(self) -> Iterator[memoryview]:
        """Yield the bytes as they are."""
        for start in range(0, len(self._data), self._step):
            yield memoryview(self._data)[start : start + self._step]


FORMS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "file": io.BytesIO,
    "sipped": lambda data: Sipped(data, 100_000),
    "pieces": lambda data: Streamed(data, 300_000),
    "whole": lambda data: Streamed(data, max(1, len(data))),
}


def sent(body: Body) -> bytes:
    """Return all that a body sends; each piece is good until the next one only."""
    found = bytearray()
    for piece in body.pieces():
        assert isinstance(piece, memoryview)
        found += piece
    return bytes(found)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", SIZES)
def test_a_plain_body_is_sent_as_it_is(form: str, size: int) -> None:
    """And announced in its length."""
    data = BYTES[:size]
    body = body_of(FORMS[form](data), size, None)
    assert type(body) is Body
    assert body.trailer is None
    assert body.headers() == {"content-length": str(size)}
    assert sent(body) == data


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", SIZES)
def test_a_trailer_has_the_checksum_of_all_that_was_sent(algorithm: str, size: int) -> None:
    """The length that is announced is the one that is sent, frames and trailer included."""
    data = BYTES[:size]
    body = body_of(data, size, algorithm)
    headers, said = body.headers(), sent(body)
    assert body.trailer == algorithm
    assert headers == {
        "content-encoding": "aws-chunked",
        "content-length": str(len(said)),
        "x-amz-decoded-content-length": str(size),
        "x-amz-trailer": f"x-amz-checksum-{algorithm.lower()}",
    }
    chunks = Chunks(io.BytesIO(said))
    assert b"".join(chunks.pieces()) == data
    trailer = f"0\r\n{headers['x-amz-trailer']}:{EXPECTED[algorithm](data)}\r\n\r\n"
    assert said.endswith(trailer.encode("ascii"))
    assert said.startswith(b"%x\r\n" % min(size, CHUNK) if size else b"0\r\n")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK + 1, 3 * CHUNK])
def test_a_trailed_body_is_the_same_in_every_form(form: str, size: int) -> None:
    """Chunks end where they should, however the bytes come."""
    data = BYTES[:size]
    expected = sent(TrailedBody(data, size, "CRC64NVME"))
    assert sent(TrailedBody(FORMS[form](data), size, "CRC64NVME")) == expected


def test_botocore_frames_a_body_alike() -> None:
    """Chunk by chunk: what its own wrapper would send."""
    from botocore.httpchecksum import AwsChunkedWrapper, CrtCrc64NvmeChecksum  # noqa: PLC0415

    wrapped = AwsChunkedWrapper(
        io.BytesIO(BYTES), CrtCrc64NvmeChecksum, checksum_name="x-amz-checksum-crc64nvme"
    )
    assert sent(TrailedBody(BYTES, len(BYTES), "CRC64NVME")) == wrapped.read()


@pytest.mark.parametrize("trailer", [None, "CRC32"])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (io.BytesIO(b"abc"), 4),
        (io.BytesIO(b""), 1),
        (Sipped(b"abc", 1), 4),
        (Streamed(b"abc", 2), 4),
        (Streamed(b"abcd", 2), 3),
        (Streamed(b"", 1), 1),
    ],
)
def test_a_body_of_another_length_than_announced_is_an_error(
    given: Any, said: int, trailer: str | None
) -> None:
    """Else a service would wait for the rest, or take the next request for it."""
    with pytest.raises(ValueError, match=f"has not the {said} bytes"):
        sent(body_of(given, said, trailer))


def test_no_more_is_sent_than_was_announced() -> None:
    """Of a file, the rest is left in it; of a stream, the piece that is too much is not sent."""
    file = io.BytesIO(b"abcdef")
    assert sent(body_of(file, 4, None)) == b"abcd"
    assert file.read() == b"ef"
    found = bytearray()
    with pytest.raises(ValueError, match="has not the 3 bytes"):
        for piece in body_of(Streamed(b"abcd", 2), 3, None).pieces():
            found += piece
    assert found == b"ab"


def test_a_file_is_read_in_slices() -> None:
    """Of a size that a rate limit pays for, and no further than it goes."""
    file = Sipped(BYTES, SLICE)
    assert b"".join(pieces_of(file, 2 * SLICE + 1)) == BYTES[: 2 * SLICE + 1]
    assert file.asked == [SLICE, SLICE, 1]


def test_a_body_in_memory_is_not_copied() -> None:
    """What is sent lies where it lay."""
    data = bytearray(BYTES[: CHUNK + 1])
    assert next(Body(data, len(data)).pieces()).obj is data
    framed = [piece for piece in TrailedBody(data, len(data), "CRC32").pieces() if len(piece) > 50]
    assert [piece.obj is data for piece in framed] == [True]


def test_a_checksum_that_is_known_is_not_computed_again() -> None:
    """Whoever reads the bytes may have taken it; asked for by name when all was given out."""
    stream = Streamed(b"abc", 2, digest="known===")
    said = sent(TrailedBody(stream, 3, "CRC32"))
    assert said == b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:known===\r\n\r\n"
    assert set(stream.asked) == {"CRC32"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_range_that_is_read_is_sent_with_the_checksum_that_was_taken(algorithm: str) -> None:
    """The engine's stream gives its pieces and its digest to what a store sends."""
    hashers = (Hasher(ChecksumAlgorithm(algorithm)), Hasher(ChecksumAlgorithm.MD5))
    buffer = bytearray(1000)

    def chunks() -> Iterator[memoryview]:
        # Each piece lies where the one before lay.
        for start in range(0, 100_000, 1000):
            buffer[:] = BYTES[start : start + 1000]
            yield memoryview(buffer)

    stream = SentStream(StreamBody(chunks(), *hashers), 100_000)
    said = sent(TrailedBody(stream, 100_000, algorithm))
    assert b"".join(Chunks(io.BytesIO(said)).pieces()) == BYTES[:100_000]
    assert said.endswith(f":{EXPECTED[algorithm](BYTES[:100_000])}\r\n\r\n".encode("ascii"))
    assert hashers[1].checksum().value == checksum_value(ChecksumAlgorithm.MD5, BYTES[:100_000])


def test_what_the_source_raises_is_told_as_it_is() -> None:
    """It is the source's error, and no other of the network."""
    gone = TransientStoreError("GetObject", "s3://b/k", "gone")

    def chunks() -> Iterator[memoryview]:
        yield memoryview(b"ab")
        raise gone

    stream = StreamBody(chunks())
    with pytest.raises(TransientStoreError) as caught:
        sent(body_of(SentStream(stream, 4), 4, "CRC32"))
    assert caught.value is stream.error is gone


def test_a_body_that_is_only_read_has_no_other_ways() -> None:
    """One that is paid for by rates, say: it is read, and its checksum computed."""
    only: SupportsRead = Sipped(b"abc", 2)
    stream = SentStream(only, 3)
    assert not hasattr(stream, "pieces")
    assert not hasattr(stream, "digest")
    assert sent(body_of(stream, 3, "CRC32")).endswith(
        f":{EXPECTED['CRC32'](b'abc')}\r\n\r\n".encode("ascii")
    )


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_running_checksum_is_that_of_the_whole(algorithm: str) -> None:
    """Whatever the steps; of nothing, too."""
    assert set(ALGORITHMS) == RUNNING
    running = running_checksum(algorithm)
    assert running.value() == EXPECTED[algorithm](b"")
    chance, at = random.Random(3), 0
    while at < len(BYTES):
        step = chance.choice([0, 1, 7, 4096, 1 << 20])
        running.update(memoryview(BYTES)[at : at + step])
        at += step
    assert running.value() == EXPECTED[algorithm](BYTES)
    assert running.value() == checksum_value(ChecksumAlgorithm(algorithm), BYTES)
    assert running.width == len(running.value())
    with pytest.raises(KeyError):
        running_checksum("SHA256")


@pytest.fixture(scope="module")
def weed(
    tmp_path_factory: pytest.TempPathFactory, certificate_of_servers: Certificate
) -> Iterator[S3Store]:
    """Give a store of a SeaweedFS that speaks TLS."""
    folder: Path = tmp_path_factory.mktemp("weed")
    with SeaweedServer(folder, "key", "secret", certificate=certificate_of_servers) as server:
        ca_file, url = certificate_of_servers.ca_file, server.endpoint_url
        settings = S3Settings(addressing_style="path")
        client = client_of(url, ca_file=ca_file, settings=settings)
        client.create_bucket(Bucket="bucket")
        yield S3Store(client, "bucket", service=url, settings=settings)


@pytest.mark.integration
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("size", [1, CHUNK, 2 * CHUNK + 1])
def test_a_real_server_takes_what_is_framed_and_checks_it(
    weed: S3Store, algorithm: str, size: int
) -> None:
    """A part that is streamed with its checksum behind it is the part that was meant."""
    assert weed._calls._direct is not None
    assert weed._calls._direct.serves("UploadPart")
    chosen = ChecksumAlgorithm(algorithm)
    upload = weed.create_upload("k", NewUpload(algorithm=chosen, full_object=True))
    data = BYTES[:size]
    etag = weed.upload_part_stream("k", upload, 1, io.BytesIO(data), size, chosen)
    assert etag == base64.b64decode(checksum_value(ChecksumAlgorithm.MD5, data)).hex()
    [listed] = weed.list_parts("k", upload)
    assert (listed.size, listed.etag) == (size, etag)
    weed.abort_upload("k", upload)


@pytest.mark.integration
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_real_server_refuses_another_checksum(weed: S3Store, algorithm: str) -> None:
    """What was sent is not what was meant."""
    chosen = ChecksumAlgorithm(algorithm)
    upload = weed.create_upload("k", NewUpload(algorithm=chosen, full_object=True))
    stream = Streamed(BYTES, CHUNK, digest=EXPECTED[algorithm](b"another"))
    with pytest.raises(DigestRejectedError):
        weed.upload_part_stream("k", upload, 1, stream, len(BYTES), chosen)
    assert weed.list_parts("k", upload) == []
    weed.abort_upload("k", upload)


# What is read.


def opened(pool: Connections, path: bytes = b"/") -> tuple[Connection, DirectBody]:
    """Ask for a body, and return it unread."""
    connection = pool.take()
    connection.begin(Awaited.BODY)
    connection.send(memoryview(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path))
    connection.end()
    head = connection.answer("GET")
    return connection, DirectBody(connection, head.length or 0, pool.give_back)


def test_a_body_gives_its_connection_back_when_it_was_read(servers: Servers) -> None:
    """As soon as its last byte is there; closing it later changes nothing."""
    pool = servers.connections(servers.recorder(answer(200, b"0123456789")))
    connection, body = opened(pool)
    view = memoryview(bytearray(10))
    assert body.readinto(view[:4]) + body.readinto(view[4:]) == 10
    assert bytes(view) == b"0123456789"
    assert body.readinto(view) == 0
    body.close()
    body.close()
    again, other = opened(pool)
    assert again is connection
    other.close()


def test_a_body_that_was_not_read_ends_its_connection(servers: Servers) -> None:
    """Its rest would be taken for the next answer."""
    pool = servers.connections(servers.recorder(answer(200, b"0123456789")))
    connection, body = opened(pool)
    assert body.readinto(memoryview(bytearray(9))) == 9
    body.close()
    assert not connection.is_alive()
    assert body.readinto(memoryview(bytearray(9))) == 0
    again, other = opened(pool)
    assert again is not connection
    other.close()


def test_a_body_that_is_forgotten_leaves_no_socket(servers: Servers) -> None:
    """A reader that an error kept from closing it."""
    pool = servers.connections(servers.recorder(answer(200, b"0123456789")))
    connection, body = opened(pool)
    del body
    gc.collect()
    assert not connection.is_alive()


def test_a_body_may_be_read_as_urllib3s(servers: Servers) -> None:
    """Whole, or so many bytes."""
    pool = servers.connections(servers.recorder(answer(200, b"0123456789")))
    body = opened(pool)[1]
    assert [body.read(4), body.read(4), body.read(4), body.read(4)] == [
        b"0123",
        b"4567",
        b"89",
        b"",
    ]
    assert opened(pool)[1].read() == b"0123456789"


def test_a_body_is_broken_from_another_thread(servers: Servers) -> None:
    """Whoever reads is told so; its connection is not used again."""
    server = servers.scripted(_stall)
    pool = servers.connections(server, read_timeout_s=120)
    connection, body = opened(pool)
    threading.Timer(0.05, body.shutdown).start()
    with pytest.raises(OSError, match="early"):
        body.readinto(memoryview(bytearray(10)))
    body.close()
    assert not connection.is_alive()
    body.shutdown()


def _stall(connection: Any, over: threading.Event) -> None:
    connection.recv(1000)
    connection.sendall(answer(200, bytes(10))[:-10])
    over.wait(30)
