"""Bodies that are paid for while they are sent, so that a part is no burst of its whole size."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Final

from airflow_provider_s3resume.exceptions import CopyStoppedError
from airflow_provider_s3resume.storage.base import PartBody, SupportsRead

_LEAST_SENT_AT_ONCE: Final = 8 * 1024
_MOST_SENT_AT_ONCE: Final = 256 * 1024
"""urllib3 reads a body that it sends in blocks of 16 KiB (``blocksize``, before version 2 those of
http.client, 8 KiB). One that is signed is read before: by botocore in blocks of 1 MiB
(``PAYLOAD_BUFFER``), by awscrt, where that is installed, in blocks of 4 KiB."""


class _Paid:
    """:param pay: waits until so many bytes are due."""

    def __init__(self, pay: Callable[[float], None]) -> None:
        self.stopped: CopyStoppedError | None = None
        self._pay = pay

    def _pay_for(self, count: int) -> None:
        try:
            self._pay(count)
        except CopyStoppedError as error:
            self.stopped = error
            raise


class PacedStream(_Paid):
    """A body that is read while it is sent.

    :param most: bytes that are given out at once.
    """

    def __init__(self, body: SupportsRead, pay: Callable[[float], None], most: int) -> None:
        super().__init__(pay)
        self._body = body
        self._most = most

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes when they are due.

        :raises CopyStoppedError: if told to stop meanwhile.
        """
        data = self._body.read(self._most if size < 0 else min(size, self._most))
        self._pay_for(len(data))
        return data


class PacedBody(_Paid):
    """A body that is held in memory, as botocore takes one from a file.

    It is announced (``Expect: 100-continue``), as botocore does with files. A body that the service
    refuses before it was sent is read by urllib3 all the same, and so paid for.

    :param most: bytes that are given out at once.
    """

    def __init__(self, body: PartBody, pay: Callable[[float], None], most: int) -> None:
        super().__init__(pay)
        self._view = memoryview(body)
        self._most = most
        self._at = 0

    def __len__(self) -> int:
        return len(self._view)

    def __bytes__(self) -> bytes:
        """Return the whole, paid for: how a store takes it that sends nothing over a network."""
        self._pay_for(len(self))
        return bytes(self._view)

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes when they are due; those that are only signed are free.

        :raises CopyStoppedError: if told to stop meanwhile.
        """
        most = len(self) if size < 0 else min(size, self._most)
        data = bytes(self._view[self._at : self._at + most])
        self._at += len(data)
        if size < 0 or _LEAST_SENT_AT_ONCE <= size <= _MOST_SENT_AT_ONCE:
            self._pay_for(len(data))
        return data

    def tell(self) -> int:
        """Return where reading goes on."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go on reading elsewhere."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self)}[whence]
        self._at = min(max(0, start + offset), len(self))
        return self._at
