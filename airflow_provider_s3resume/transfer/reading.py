"""Reading byte ranges of exactly one source object, going on where a connection broke."""

from __future__ import annotations

import logging
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import (
    ObjectNotFoundError,
    PreconditionFailedError,
    S3ResumeError,
    SourceChangedError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import ByteRange
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage.base import uri_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from airflow_provider_s3resume.plan.objects import ObjectInfo, SourceIdentity
    from airflow_provider_s3resume.storage.base import ObjectStore, PartInfo, RangeReader
    from airflow_provider_s3resume.transfer.hashing import Hasher
    from airflow_provider_s3resume.transfer.stopping import StopSignal

log = logging.getLogger(__name__)

BREAKS_ALLOWED = 5
"""Breaks in one range without a single byte in between; each one that moved bytes starts anew.

So a link that is slow, and not broken, delivers in the end, however often its connections are given
up as stalled.
"""

_FIRST_WAIT_S = 0.2
READ_STEP = 1 << 20
STREAM_BUFFER = 4 * MIB
"""Bytes held of a range that is used while it is read."""


class ExactSource:
    """One source object: every read names its identity, so bytes of two versions never mix (c10).

    :raises SourceChangedError: from every method, if the object is another one by now.
    """

    def __init__(
        self, store: ObjectStore, key: str, identity: SourceIdentity, stop: StopSignal
    ) -> None:
        self.store = store
        self.key = key
        self.identity = identity
        self._stop = stop

    def under(self, stop: StopSignal) -> ExactSource:
        """Return the same object, whose reads end with another signal."""
        return ExactSource(self.store, self.key, self.identity, stop)

    def read(self, byte_range: ByteRange, buffer: memoryview, *hashers: Hasher) -> None:
        """Fill ``buffer`` with the range, feeding ``hashers`` in order.

        :raises TransientStoreError: if the connection keeps breaking.
        :raises CopyStoppedError: if told to stop.
        """
        filled = 0
        for chunk in self.chunks(byte_range, buffer):
            for hasher in hashers:
                hasher.update(chunk)
            filled += len(chunk)

    def chunks(self, byte_range: ByteRange, buffer: memoryview) -> Generator[memoryview]:
        """Yield the range as it arrives, in pieces that lie in ``buffer``, one after another.

        A buffer shorter than the range is used over and over, from its start for each piece.
        """
        done, breaks = 0, 0
        while done < byte_range.length:
            self._stop.check()
            rest = ByteRange(start=byte_range.start + done, stop=byte_range.stop)
            before = done
            # What opening raises has been repeated as often as can help; a broken body has not.
            opened = self._open(rest)
            try:
                with opened as reader, self._stop.watching(reader):
                    for piece in self._drain(reader, buffer, done, byte_range.length):
                        done += len(piece)
                        yield piece
            except TransientStoreError as error:
                self._stop.check()
                breaks = 0 if done > before else breaks + 1
                if breaks > BREAKS_ALLOWED:
                    raise
                self._going_on(byte_range.start + done, error)
                self._stop.wait(_FIRST_WAIT_S * 2**breaks)

    def whole(
        self,
        view: memoryview,
        hashers_for: Callable[[ObjectInfo], Sequence[Hasher]] = lambda _: (),
    ) -> ObjectInfo:
        """Read an object whole into ``view``; return its headers, from the same answer.

        :param hashers_for: returns what is to be fed, in order, with an object of these headers.
        """
        with self._open(None) as reader, self._stop.watching(reader):
            info = reader.info
            hashers = hashers_for(info)
            filled = 0
            try:
                while filled < len(view):
                    piece = view[filled : filled + READ_STEP]
                    if not (count := reader.readinto(piece)):
                        break
                    filled += count
                    for hasher in hashers:
                        hasher.update(piece[:count])
            except TransientStoreError as error:
                self._stop.check()
                self._going_on(filled, error)
        if filled < len(view):
            rest = ByteRange(start=filled, stop=len(view))
            self.read(rest, view[filled:], *hashers)
        return info

    @contextmanager
    def streaming(self, buffer: memoryview) -> Iterator[tuple[ObjectInfo, Iterator[memoryview]]]:
        """Open an object for a ``with`` block: its headers, and from the same answer its bytes.

        The bytes come as from :meth:`chunks`, in pieces that lie in ``buffer``.
        """
        with (
            self._open(None) as reader,
            self._stop.watching(reader),
            closing(self._from(reader, buffer)) as chunks,
        ):
            yield reader.info, chunks

    def _from(self, reader: RangeReader, buffer: memoryview) -> Generator[memoryview]:
        """Yield an object from its start, and from where ``reader`` breaks on new connections."""
        done, size = 0, self.identity.size
        try:
            for piece in self._drain(reader, buffer, 0, size):
                done += len(piece)
                yield piece
        except TransientStoreError as error:
            self._stop.check()
            self._going_on(done, error)
            reader.close()  # Its connection is of no use while others are opened.
            yield from self.chunks(ByteRange(start=done, stop=size), buffer)

    def _going_on(self, at: int, error: TransientStoreError) -> None:
        log.warning("%s; going on at byte %d on a new connection", error, at)

    def part(self, number: int) -> PartInfo | None:
        """Return one of the object's own parts, ``None`` if the store cannot tell."""
        try:
            return self.store.head_part(self.key, number, self.identity)
        except (PreconditionFailedError, ObjectNotFoundError) as error:
            raise self.changed() from error

    def _drain(
        self, reader: RangeReader, buffer: memoryview, done: int, length: int
    ) -> Iterator[memoryview]:
        while done < length:
            # What goes at once starts over for each piece: there is always room for a large read.
            at = done if length <= len(buffer) else 0
            room = min(len(buffer) - at, length - done, READ_STEP)
            got = reader.readinto(buffer[at : at + room])
            if got == 0:
                uri = uri_of(self.store, self.key)
                raise TransientStoreError("GetObject", uri, f"ended {length - done} bytes early")
            done += got
            yield buffer[at : at + got]

    def _open(self, byte_range: ByteRange | None) -> RangeReader:
        try:
            return self.store.open_range(self.key, byte_range, self.identity)
        except (PreconditionFailedError, ObjectNotFoundError) as error:
            raise self.changed() from error

    def changed(self) -> SourceChangedError:
        """Return the error that says that the object is another one by now."""
        uri = uri_of(self.store, self.key)
        return SourceChangedError(
            f"{uri} was replaced or deleted while it was copied (it was ETag "
            f"{self.identity.etag}, {self.identity.size} bytes); the target was not changed"
        )


class StreamBody:
    """A range as a body that is sent while it is read, in ``buffer`` bytes of memory.

    An SDK that sends the body may wrap what reading it raised; ``error`` is what it was. ``begun``
    tells whether anything was read.
    """

    def __init__(self, chunks: Iterator[memoryview], *hashers: Hasher) -> None:
        self.error: S3ResumeError | None = None
        self.begun = False
        self._chunks = chunks
        self._hashers = {hasher.algorithm: hasher for hasher in hashers}
        self._left = memoryview(b"")

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes (one piece for a negative size); empty at the end."""
        if not self._left:
            self._left = self._next()
        taken = self._left if size < 0 else self._left[:size]
        self._left = self._left[len(taken) :]
        return bytes(taken)

    def pieces(self) -> Iterator[memoryview]:
        """Yield the range as it arrives, without a copy; each piece is good until the next one."""
        while piece := self._next():
            yield piece

    def digest(self, algorithm: str) -> str | None:
        """Return the checksum of all that was given out, ``None`` if it was not taken."""
        hasher = self._hashers.get(ChecksumAlgorithm(algorithm))
        return hasher.checksum().value if hasher else None

    def _next(self) -> memoryview:
        self.begun = True
        try:
            piece = next(self._chunks, memoryview(b""))
        except S3ResumeError as error:
            self.error = error
            raise
        for hasher in self._hashers.values():
            hasher.update(piece)
        return piece
