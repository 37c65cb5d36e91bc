"""Reading a range of a file, watching that it stays the file that was meant (c10)."""

from __future__ import annotations

import os
from typing import Self

from airflow_provider_s3resume.exceptions import TransientStoreError
from airflow_provider_s3resume.plan.objects import ObjectInfo, object_uri
from airflow_provider_s3resume.storage._local_errors import translated
from airflow_provider_s3resume.storage._local_paths import etag_of


class LocalReader:
    """A ``RangeReader`` of an open file; it is looked at after every read.

    A file that has changed ends the read with an error that lets it be opened again; then it is
    another object than the one that is meant.

    :param fd: is closed with the reader; ``None`` for a directory, which has nothing to read.
    :param start, stop: the bytes that are meant.
    """

    def __init__(
        self, fd: int | None, info: ObjectInfo, start: int, stop: int, *, inodes: bool
    ) -> None:
        self._fd = fd
        self._info = info
        self._at, self._stop = start, stop
        self._inodes = inodes
        self._broken = False
        self._closed = False

    @property
    def info(self) -> ObjectInfo:
        """What the file was when it was opened."""
        return self._info

    @property
    def _uri(self) -> str:
        return object_uri("", self._info.key, "file")

    def readinto(self, buffer: memoryview) -> int:
        """Fill the start of ``buffer``; 0 only at the end.

        :raises TransientStoreError: after :meth:`abort`, or if the file has changed.
        """
        if self._broken or self._closed:
            raise TransientStoreError("GetObject", self._uri, "the read was broken off")
        wanted = min(len(buffer), self._stop - self._at)
        if wanted == 0 or self._fd is None:
            return 0
        with translated("GetObject", self._uri):
            count = os.preadv(self._fd, [buffer[:wanted]], self._at)
            now = etag_of(os.fstat(self._fd), inodes=self._inodes)
        if now != self._info.etag or count == 0:
            raise TransientStoreError("GetObject", self._uri, "it changed while it was read")
        self._at += count
        return count

    def abort(self) -> None:
        """Make the next read fail."""
        self._broken = True

    def close(self) -> None:
        """Close the file; never raises."""
        if not self._closed:
            self._closed = True
            if self._fd is not None:
                os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
