"""Bodies as botocore takes them."""

from __future__ import annotations

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

    def __len__(self) -> int:
        return self._length

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes."""
        return self._body.read(size)
