"""The body of a ranged read: exact in length, and breakable from another thread.

It reads urllib3's response, which the SDKs of all services have beneath their own.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, Self

from urllib3.exceptions import HTTPError

from airflow_provider_s3resume.exceptions import (
    PreconditionFailedError,
    RangeMismatchError,
    StoreError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.digests import normal_etag
from airflow_provider_s3resume.plan.objects import ByteRange, ObjectInfo, SourceIdentity
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage._direct_body import DirectBody

OPERATION: Final = "GetObject"
_MOST_AT_ONCE: Final = MIB
# What is lost of a body in chunks when its connection breaks.
_MOST_COPIED: Final = 64 * 1024

Translated = Callable[[str, str], AbstractContextManager[None]]
"""Raises what a call about a subject raises as errors of this provider."""


def check_answer(
    found: tuple[int, str | None, str | None],
    byte_range: ByteRange | None,
    size: int,
    subject: str,
) -> None:
    """Refuse an answer that is not exactly what was asked for (c12).

    :param found: status, ``Content-Length`` and ``Content-Range`` of the answer.
    :param size: bytes that the whole object must have.
    :raises RangeMismatchError: naming what was found and what was expected.
    """
    expected = (200, str(size), None) if byte_range is None else _ranged(byte_range, size)
    if found != expected:
        detail = f"status, length and range are {found}, expected were {expected}"
        raise RangeMismatchError(OPERATION, subject, detail)


def check_identity(info: ObjectInfo, identity: SourceIdentity, subject: str) -> None:
    """Refuse an answer of another object: there are services that do not look at ``If-Match``.

    :raises PreconditionFailedError: naming both ETags.
    """
    found, meant = normal_etag(info.etag), normal_etag(identity.etag)
    if found is not None and meant is not None and found != meant:
        detail = f"answered ETag {found} to If-Match {meant}: it is another object by now"
        raise PreconditionFailedError(OPERATION, subject, detail)


def _ranged(byte_range: ByteRange, size: int) -> tuple[int, str, str]:
    span = f"bytes {byte_range.start}-{byte_range.stop - 1}/{size}"
    return (206, str(byte_range.length), span)


class BodyReader:
    """A ``RangeReader`` on urllib3's response.

    :param raw: urllib3's response, of which nothing was read yet.
    :param length: bytes that the body must have.
    :param translated: turns what the connection raises into errors of this provider.
    """

    def __init__(
        self,
        raw: Any,  # noqa: ANN401 - urllib3 1 and 2 differ
        info: ObjectInfo,
        length: int,
        subject: str,
        translated: Translated,
    ) -> None:
        self._raw = raw
        self._info = info
        self._left = length
        self._subject = subject
        self._translated = translated
        self._receive = _direct(raw) or self._copied
        self._aborted = False
        self._filled = 0
        self._broken_by: StoreError | None = None

    @property
    def info(self) -> ObjectInfo:
        """The object's headers as the read itself gave them."""
        return self._info

    def readinto(self, buffer: memoryview) -> int:
        """Fill the start of ``buffer`` with up to 1 MiB; 0 only at the end of the range.

        Bytes that came before a connection broke are given out; the next call raises.

        :raises TransientStoreError: if the body ends early, the network fails, or after ``abort``.
        """
        wanted = min(len(buffer), self._left, _MOST_AT_ONCE)
        if not wanted:
            return 0
        if self._aborted:
            raise self._broken("the read was aborted")
        if self._broken_by is not None:
            raise self._broken_by
        try:
            with self._translated(OPERATION, self._subject):
                self._fill(buffer[:wanted])
        except StoreError as error:
            if not self._filled:
                raise
            self._broken_by = error
        if self._aborted:
            raise self._broken("the read was aborted")
        if not self._filled:
            raise self._broken(f"the body ends {self._left} bytes early")
        self._left -= self._filled
        return self._filled

    def _fill(self, buffer: memoryview) -> None:
        """Fill a buffer as far as the body goes; what is there is counted as it comes."""
        self._filled, wanted = 0, len(buffer)
        while self._filled < wanted:
            count = self._receive(buffer[self._filled :])
            if not count:
                return
            self._filled += count

    def _copied(self, buffer: memoryview) -> int:
        piece = self._raw.read(min(len(buffer), _MOST_COPIED), decode_content=False)
        buffer[: len(piece)] = piece
        return len(piece)

    def _broken(self, detail: str) -> TransientStoreError:
        return TransientStoreError(OPERATION, self._subject, detail)

    def abort(self) -> None:
        """Shut the connection down, so that a blocked ``recv`` returns at once."""
        self._aborted = True
        # A socket that is gone already, or given back, is what was asked for.
        with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):
            if hasattr(self._raw, "shutdown"):
                self._raw.shutdown()
            else:
                # urllib3 before 2.3
                self._raw.connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Give the connection back if all was read, else drop it; never raises."""
        with contextlib.suppress(OSError, ValueError, HTTPError):
            if self._left or self._aborted or isinstance(self._raw, DirectBody):
                self._raw.close()
            else:
                # Nothing is left, but a body of no bytes has not been read at all.
                self._raw.drain_conn()
                self._raw.release_conn()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _direct(raw: Any) -> Callable[[memoryview], int] | None:  # noqa: ANN401 - urllib3 1 and 2 differ
    """Return what reads a plain body straight into the caller's buffer, ``None`` if nothing does.

    urllib3 has a ``readinto`` that makes a copy; http.client's, beneath it, makes none. With chunks
    urllib3 and http.client each parse the body in their own way, so they are left to urllib3.
    """
    if isinstance(raw, DirectBody):
        return raw.readinto
    beneath = getattr(raw, "_fp", None)
    if not isinstance(beneath, http.client.HTTPResponse):
        return None
    if beneath.length is None or raw.length_remaining is None:
        return None

    def receive(buffer: memoryview) -> int:
        count = beneath.readinto(buffer)
        # What urllib3 counts itself when it reads; it drops a connection that it thinks unread.
        raw.length_remaining -= count
        return count

    return receive
