"""The body of a ranged read: exact in length, and breakable from another thread."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from typing import Any, Final, Self

from urllib3.exceptions import HTTPError

from airflow_provider_s3resume.exceptions import (
    PreconditionFailedError,
    RangeMismatchError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.digests import normal_etag
from airflow_provider_s3resume.plan.objects import ByteRange, ObjectInfo, SourceIdentity
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage._s3_errors import translated

_OPERATION: Final = "GetObject"
_MOST_AT_ONCE: Final = MIB


def check_answer(
    answer: Mapping[str, Any], byte_range: ByteRange | None, size: int, subject: str
) -> None:
    """Refuse an answer that is not exactly what was asked for (c12).

    :param size: bytes that the whole object must have.
    :raises RangeMismatchError: naming what was found and what was expected.
    """
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    found: tuple[int, str | None, str | None] = (
        answer["ResponseMetadata"]["HTTPStatusCode"],
        headers.get("content-length"),
        headers.get("content-range"),
    )
    expected = (200, str(size), None) if byte_range is None else _ranged(byte_range, size)
    if found != expected:
        detail = f"status, length and range are {found}, expected were {expected}"
        raise RangeMismatchError(_OPERATION, subject, detail)


def check_identity(info: ObjectInfo, identity: SourceIdentity, subject: str) -> None:
    """Refuse an answer of another object: there are services that do not look at ``If-Match``.

    :raises PreconditionFailedError: naming both ETags.
    """
    found, meant = normal_etag(info.etag), normal_etag(identity.etag)
    if found is not None and meant is not None and found != meant:
        detail = f"answered ETag {found} to If-Match {meant}: it is another object by now"
        raise PreconditionFailedError(_OPERATION, subject, detail)


def _ranged(byte_range: ByteRange, size: int) -> tuple[int, str, str]:
    span = f"bytes {byte_range.start}-{byte_range.stop - 1}/{size}"
    return (206, str(byte_range.length), span)


class S3RangeReader:
    """A ``RangeReader`` on the raw body of a botocore answer.

    :param raw: urllib3's response; it decodes nothing.
    :param length: bytes that the body must have.
    """

    def __init__(self, raw: Any, info: ObjectInfo, length: int, subject: str) -> None:  # noqa: ANN401 - urllib3 1 and 2 differ
        self._raw = raw
        self._info = info
        self._left = length
        self._subject = subject
        self._aborted = False

    @property
    def info(self) -> ObjectInfo:
        """The object's headers as the read itself gave them."""
        return self._info

    def readinto(self, buffer: memoryview) -> int:
        """Fill the start of ``buffer`` with up to 1 MiB; 0 only at the end of the range.

        :raises TransientStoreError: if the body ends early, the network fails, or after ``abort``.
        """
        wanted = min(len(buffer), self._left, _MOST_AT_ONCE)
        if not wanted:
            return 0
        if self._aborted:
            raise self._broken("the read was aborted")
        with translated(_OPERATION, self._subject):
            piece = self._raw.read(wanted, decode_content=False)
        if self._aborted:
            raise self._broken("the read was aborted")
        if not piece:
            raise self._broken(f"the body ends {self._left} bytes early")
        buffer[: len(piece)] = piece
        self._left -= len(piece)
        return len(piece)

    def _broken(self, detail: str) -> TransientStoreError:
        return TransientStoreError(_OPERATION, self._subject, detail)

    def abort(self) -> None:
        """Shut the connection down, so that a blocked ``recv`` returns at once."""
        self._aborted = True
        # A socket that is gone already is what was asked for.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            if hasattr(self._raw, "shutdown"):
                self._raw.shutdown()
            else:
                # urllib3 before 2.3
                self._raw.connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back if all was read, else drop it; never raises."""
        with contextlib.suppress(OSError, ValueError, HTTPError):
            if self._left or self._aborted:
                self._raw.close()
            else:
                # Nothing is left, but a body of no bytes has not been read at all.
                self._raw.drain_conn()
                self._raw.release_conn()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
