"""A body is as long as was asked for, or its read fails (c12)."""

from __future__ import annotations

import io
import socket
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import TransientStoreError
from airflow_provider_s3resume.plan.objects import ObjectInfo
from airflow_provider_s3resume.storage._s3_reader import S3RangeReader

INFO = ObjectInfo(key="k", size=10, etag="e", last_modified=0)


class Raw:
    """urllib3's response before 2.0, which takes a short body for a whole one."""

    def __init__(self, data: bytes, sock: socket.socket | None = None) -> None:
        self._stream = io.BytesIO(data)
        self.connection = type("Connection", (), {"sock": sock})()
        self.given_back = 0

    def read(self, size: int, *, decode_content: bool) -> bytes:
        """Return the next bytes as they came."""
        assert not decode_content
        return self._stream.read(size)

    def drain_conn(self) -> None:
        """Read the rest."""

    def release_conn(self) -> None:
        """Take the connection back."""
        self.given_back += 1

    def close(self) -> None:
        """Fail as a socket does that is gone."""
        raise OSError("gone")


def _reader(raw: Any, length: int) -> S3RangeReader:
    return S3RangeReader(raw, INFO, length, "s3://b/k")


def test_c12_a_short_body_is_an_error() -> None:
    """The end of the stream before the end of the range is no end, and says what is missing."""
    reader = _reader(Raw(b"0123456"), 10)
    buffer = memoryview(bytearray(100))
    assert reader.readinto(buffer) == 7
    with pytest.raises(TransientStoreError, match="3 bytes early"):
        reader.readinto(buffer)
    reader.close()


def test_a_whole_body_gives_its_connection_back() -> None:
    """Read to its end, a body is followed by nothing, and the connection lives on."""
    raw = Raw(b"0123456789")
    with _reader(raw, 10) as reader:
        buffer = memoryview(bytearray(4))
        assert [reader.readinto(buffer) for _ in range(4)] == [4, 4, 2, 0]
    assert raw.given_back == 1


def test_an_abort_works_with_old_urllib3() -> None:
    """Without a ``shutdown`` of the response, the socket itself is shut down."""
    one, other = socket.socketpair()
    with one, other:
        reader = _reader(Raw(b"0123456789", one), 10)
        reader.abort()
        assert other.recv(1) == b""
        with pytest.raises(TransientStoreError, match="aborted"):
            reader.readinto(memoryview(bytearray(1)))
        reader.close()
