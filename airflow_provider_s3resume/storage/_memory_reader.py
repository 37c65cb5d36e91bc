"""The body of a read from memory, and the observation of every call made to the memory store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from airflow_provider_s3resume.exceptions import TransientStoreError
from airflow_provider_s3resume.plan.objects import ObjectInfo, object_uri

Hook = Callable[[str, Mapping[str, Any]], None]
"""Called with the operation in the service's words and its arguments; may raise anything."""

Transit = Callable[[str, bytes], bytes]
"""What becomes of the bytes of an operation on their way; must keep their number."""


def no_hook(_operation: str, _arguments: Mapping[str, Any]) -> None:
    """Do nothing."""


def unchanged(_operation: str, data: bytes) -> bytes:
    """Let the bytes arrive as they were sent."""
    return data


class Observer:
    """Calls the hooks around a call, the second one also when the call was refused."""

    def __init__(self, before: Hook, after: Hook) -> None:
        self.before = before
        self.after = after

    @contextmanager
    def call(self, operation: str, **arguments: object) -> Iterator[None]:
        """Surround one call."""
        self.before(operation, arguments)
        try:
            yield
        finally:
            self.after(operation, arguments)


class MemoryReader:
    """A ``RangeReader`` over bytes that do not change any more.

    :param most: bytes that one ``readinto`` gives at most, ``None`` for as many as fit.
    """

    def __init__(
        self, info: ObjectInfo, bucket: str, data: memoryview, observer: Observer, most: int | None
    ) -> None:
        self._info = info
        self._bucket = bucket
        self._left = data
        self._observer = observer
        self._most = most
        self._broken = False

    @property
    def info(self) -> ObjectInfo:
        """The object's headers."""
        return self._info

    def readinto(self, buffer: memoryview) -> int:
        """Fill the start of ``buffer``; 0 only at the end.

        :raises TransientStoreError: after :meth:`abort` or :meth:`close`.
        """
        with self._observer.call("Read", key=self._info.key, left=len(self._left)):
            if self._broken:
                uri = object_uri(self._bucket, self._info.key)
                raise TransientStoreError("GetObject", uri, "the connection was closed")
            most = len(buffer) if self._most is None else min(len(buffer), self._most)
            taken = self._left[:most]
            buffer[: len(taken)] = taken
            self._left = self._left[len(taken) :]
            return len(taken)

    def abort(self) -> None:
        """Make the next read fail."""
        self._broken = True

    def close(self) -> None:
        """Do the same as :meth:`abort`; never raises."""
        self._broken = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
