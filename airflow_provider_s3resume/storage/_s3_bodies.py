"""Bodies as botocore takes them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from airflow_provider_s3resume.storage.base import PartBody, SupportsRead


def sendable(body: PartBody) -> bytes | bytearray:
    """Return a body that botocore takes: a view of the whole of a buffer costs no copy."""
    if not isinstance(body, memoryview):
        return body
    whole = body.obj
    if isinstance(whole, bytes | bytearray) and len(whole) == body.nbytes:
        return whole
    return bytes(body)


class StreamBody:
    """A body of known length that is read once, as botocore wants to see it."""

    def __init__(self, body: SupportsRead, length: int) -> None:
        self._body = body
        self._length = length
        self._begun = False

        # What can be had without a copy, by who asks for it.
        if hasattr(body, "pieces"):
            self.pieces = self._given_out
        if hasattr(body, "digest"):
            self.digest = body.digest

    def _given_out(self) -> Iterator[memoryview]:
        self._begun = True
        given: Any = self._body
        return iter(given.pieces())

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes."""
        self._begun = True
        return self._body.read(size)

    def tell(self) -> int:
        """Return where reading begins; botocore asks before that alone."""
        return 0

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Do nothing at the start, where botocore's signers insist on being able to seek.

        :raises io.UnsupportedOperation: anywhere else.
        """
        if offset or whence or self._begun:
            raise io.UnsupportedOperation("the body is read once")
        return 0
