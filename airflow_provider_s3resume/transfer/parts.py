"""Moving the parts of one upload: ranged reads into part writes, over shared threads."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_s3resume.exceptions import (
    BucketNotFoundError,
    CredentialsExpiredError,
    InvalidInputError,
    ObjectNotFoundError,
    StoreError,
    ThrottledError,
    TransientStoreError,
    UploadNotFoundError,
)
from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm, normal_etag
from airflow_provider_s3resume.plan.resume import ListedPart, PartRecord
from airflow_provider_s3resume.transfer.arrivals import Arrivals
from airflow_provider_s3resume.transfer.hashing import Hasher, hex_of, md5_hex
from airflow_provider_s3resume.transfer.part_jobs import PartJobs
from airflow_provider_s3resume.transfer.reading import READ_STEP, STREAM_BUFFER, StreamBody
from airflow_provider_s3resume.transfer.service_copy import PartCopies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_s3resume.plan.objects import ByteRange
    from airflow_provider_s3resume.plan.parts import PartLayout
    from airflow_provider_s3resume.transfer.context import CopyContext
    from airflow_provider_s3resume.transfer.reading import ExactSource
    from airflow_provider_s3resume.transfer.stopping import StopSignal
    from airflow_provider_s3resume.transfer.uploads import UploadRecord

log = logging.getLogger(__name__)
_Argument = TypeVar("_Argument")

_NOT_OF_STREAMS = (BucketNotFoundError, ObjectNotFoundError, UploadNotFoundError)
"""What a part that is held would meet as well."""

_STREAM_TRIES = 4
_FIRST_WAIT_S = 0.2
_THROTTLED_S = 600.0
"""How long throttled tries of a streamed part do not count; the store's layers pace them."""

_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Destination:
    """Where parts go.

    :param upload: the record of the upload, once it has begun.
    """

    layout: PartLayout
    upload: Future[UploadRecord]


class PartMover:
    """Sends, or reads again, the parts of one upload.

    :param algorithm: of the checksums that the target gets.
    :param moved: gets the size in bytes of every part that was sent.
    :param source_algorithm: of the checksums that are only recorded, to be compared with the
        source's own when all parts are there.
    """

    def __init__(
        self,
        context: CopyContext,
        source: ExactSource,
        target_key: str,
        destination: Destination,
        algorithm: ChecksumAlgorithm | None,
        stop: StopSignal,
        moved: list[int],
        source_algorithm: ChecksumAlgorithm | None = None,
    ) -> None:
        self._context = context
        self._source = source.under(stop)
        self._key = target_key
        self._upload = destination.upload
        self._algorithm = algorithm
        self._source_algorithm = source_algorithm
        self._stop = stop
        self._moved = moved
        self._ranges = dict(destination.layout.ranges())
        self._service = PartCopies(context, self._source, target_key, self._upload_id, algorithm)
        self._arrivals = Arrivals(context, target_key, self._upload_id)
        self._jobs = PartJobs(context, stop)
        self._ahead: dict[int, Future[None]] = {}

    def send_all(self, missing: Iterable[int]) -> None:
        """Send parts over the shared threads; every acknowledged one is recorded.

        After the first failure no further part is queued; those queued may still be sent, which
        the next attempt then need not do. A failure that no retry can help also breaks off the
        parts under way.

        :raises S3ResumeError: the first failure, one that no retry can help before all others.
        """
        ahead, self._ahead = self._ahead, {}
        jobs = [_job(self._send, number) for number in missing if number not in ahead]
        self._jobs.run_all(jobs, set(ahead.values()))

    def read_ahead(self, missing: Iterable[int]) -> None:
        """Let threads that are free read the first parts; they are sent when the upload has begun.

        Threads that have others' parts to move are not made to wait for it.
        """
        for number in islice(missing, self._context.workers.free()):
            job = _job(self._send, number)
            self._ahead[number] = self._context.workers.submit(job)

    def give_up(self, reason: str) -> None:
        """End what reads ahead: there will be no upload."""
        self._stop.stop(reason)
        self._upload.cancel()
        self._jobs.settle(self._ahead.values())

    def reread_all(self, parts: Iterable[ListedPart]) -> list[ListedPart]:
        """Prove parts that the target holds unrecorded, by reading their source ranges again.

        :returns: parts that can be compared in no way and have to be sent again.
        :raises VerificationError: if a part is not what its source range is.
        """
        unproven: list[ListedPart] = []

        def prove(part: ListedPart) -> None:
            if not self._prove(part):
                unproven.append(part)

        self._jobs.run_all([_job(prove, part) for part in parts])
        return unproven

    def _send(self, number: int) -> None:
        self._stop.check()
        byte_range = self._ranges[number]
        part = self._service.copy(number, byte_range)
        moved = byte_range.length if part is None else 0
        if part is None and byte_range.length > self._context.budget.total // 2:
            part = self._stream(number, byte_range)
        elif part is None:
            part = self._stream_at_first(number, byte_range) or self._hold(number, byte_range)
        self._moved.append(moved)
        self._context.progress.add(bytes_moved=moved, parts_sent=1)
        if self._context.parts.count(byte_range.length):
            self._context.workers.resize(self._context.parts.allowed)
        self._record().acknowledge(part)

    def _hold(self, number: int, byte_range: ByteRange) -> PartRecord:
        beside = self._context.beside_held
        with self._context.budget.buffer(byte_range.length, self._stop, beside) as view:
            return self._send_view(number, byte_range, view)

    def _stream_at_first(self, number: int, byte_range: ByteRange) -> PartRecord | None:
        """Send a part while it is read, once; ``None`` if it has to be held, and sent again.

        That takes less memory and less time. But such a body cannot be repeated by the store's
        layers, which is what gets a part through when a service is busy.
        """
        verdict, trailer = self._context.verdict, self._trailer()
        if trailer is None or verdict.streams is False:
            return None
        on_trial = verdict.streams is None
        if on_trial and not verdict.on_trial.acquire(blocking=False):
            return None
        try:
            part = self._stream_once(number, byte_range, trailer, on_trial=on_trial)
            return part if self._arrivals.keeps_streams(part) else None
        except StoreError as error:
            self._stop.check()
            if error.operation != "UploadPart" or isinstance(error, _NOT_OF_STREAMS):
                raise
            if on_trial and not error.retryable:
                verdict.streams = False
            elif not error.retryable:
                raise
            log.info("Part %d is sent again, held in memory: %s", number, error)
            return None
        finally:
            if on_trial:
                verdict.on_trial.release()

    def _trailer(self) -> ChecksumAlgorithm | None:
        """Return the checksum that can follow a part's bytes, if one can."""
        capabilities = self._context.target.capabilities
        follows = capabilities.trailers and self._algorithm is not ChecksumAlgorithm.MD5
        return self._algorithm if follows and capabilities.streams_parts else None

    def _send_view(self, number: int, byte_range: ByteRange, view: memoryview) -> PartRecord:
        hasher = Hasher(self._algorithm) if self._algorithm else None
        beside = self._beside()
        self._source.read(byte_range, view, *(one for one in (hasher, beside) if one))
        checksum = hasher.checksum() if hasher else None
        upload_id = self._upload_id()
        self._stop.check()
        etag = self._context.target.upload_part(self._key, upload_id, number, view, checksum)
        if not self._arrivals.is_its_md5(etag, view) and (
            self._arrivals.only_etag_tells(number, checksum) and normal_etag(etag) != md5_hex(view)
        ):
            raise self._arrivals.etag_differs(number)
        return PartRecord(
            part_number=number,
            size=byte_range.length,
            etag=etag,
            checksum=checksum.value if checksum else None,
            source_checksum=_value_of(beside),
        )

    def _beside(self) -> Hasher | None:
        """Return what computes the source's own kind of digest, in the same pass."""
        return Hasher(self._source_algorithm) if self._source_algorithm else None

    def _stream(self, number: int, byte_range: ByteRange) -> PartRecord:
        """Send a part that does not fit the memory budget while it is read.

        A trailer with its checksum follows it; where the target checks none, the MD5 of the same
        pass is compared with the ETag that it answers.
        """
        capabilities = self._context.target.capabilities
        trailer = self._trailer()
        if not capabilities.streams_parts or (trailer is None and not self._arrivals.md5_etags()):
            raise InvalidInputError(
                "memory_budget",
                found=self._context.budget.total,
                accepted=f"at least {2 * byte_range.length} bytes: two of this object's parts, "
                "as this target takes no parts while they are read",
            )
        left, until = _STREAM_TRIES, time.monotonic() + _THROTTLED_S
        while True:
            try:
                return self._stream_once(number, byte_range, trailer)
            except TransientStoreError as error:
                # No layer can send such a body again; it has to be read again.
                self._stop.check()
                if not isinstance(error, ThrottledError) or time.monotonic() > until:
                    left -= 1
                if left == 0:
                    raise
                if isinstance(error, CredentialsExpiredError):
                    # A call that can be made again is refused, too, and renews them.
                    self._context.target.list_parts(self._key, self._upload_id())
                self._stop.wait(_FIRST_WAIT_S * 2 ** (_STREAM_TRIES - left))

    def _stream_once(
        self,
        number: int,
        byte_range: ByteRange,
        trailer: ChecksumAlgorithm | None,
        *,
        on_trial: bool = False,
    ) -> PartRecord:
        beside = self._beside()
        md5s = beside is not None and beside.algorithm is ChecksumAlgorithm.MD5
        compared = beside if beside is not None and md5s else Hasher(ChecksumAlgorithm.MD5)
        other = self._algorithm not in {None, ChecksumAlgorithm.MD5}
        recorded = Hasher(self._algorithm) if other and self._algorithm else compared
        # Only now can an MD5 be taken: the bytes are gone when the answer comes.
        unneeded = trailer is not None and self._context.verdict.kept
        taken = {recorded} if unneeded else {compared, recorded}
        hashers = (*taken, *([beside] if beside else []))
        with self._context.budget.buffer(STREAM_BUFFER, self._stop) as view:
            # The rest is for the copies that an SDK makes to put a trailer behind.
            etag = self._send_stream(number, byte_range, trailer, hashers, view[:READ_STEP])
        followed = recorded.checksum() if trailer else None
        if (
            not unneeded
            and self._arrivals.only_etag_tells(number, followed, streamed=byte_range.length)
            and normal_etag(etag) != hex_of(compared.checksum())
            # On trial frames that were kept as bytes are no surprise: it is sent again, held.
            and not (on_trial and self._context.verdict.framed)
        ):
            raise self._arrivals.etag_differs(number)
        return PartRecord(
            part_number=number,
            size=byte_range.length,
            etag=etag,
            checksum=recorded.checksum().value if self._algorithm else None,
            source_checksum=_value_of(beside),
        )

    def _send_stream(
        self,
        number: int,
        byte_range: ByteRange,
        trailer: ChecksumAlgorithm | None,
        hashers: Iterable[Hasher],
        buffer: memoryview,
    ) -> str:
        with closing(self._source.chunks(byte_range, buffer)) as chunks:
            body = StreamBody(chunks, *hashers)
            try:
                return self._context.target.upload_part_stream(
                    self._key, self._upload_id(), number, body, byte_range.length, trailer
                )
            except StoreError:
                if body.error is not None:
                    raise body.error from None
                raise

    def _prove(self, part: ListedPart) -> bool:
        """Compare a part with its source range; False if nothing of them can be compared."""
        if (part.checksum is None or self._algorithm is None) and not self._arrivals.md5_etags():
            return False
        self._stop.check()
        byte_range = self._ranges[part.part_number]
        needed = {ChecksumAlgorithm.MD5, self._algorithm, self._source_algorithm}
        hashers = {a: Hasher(a) for a in needed if a}
        with self._context.budget.hold(STREAM_BUFFER, self._stop):
            self._source.read(byte_range, memoryview(bytearray(READ_STEP)), *hashers.values())
        values = {a: hasher.checksum() for a, hasher in hashers.items()}
        mine = values[self._algorithm].value if self._algorithm else None
        same_checksum = part.checksum is not None and part.checksum == mine
        if not same_checksum and normal_etag(part.etag) != hex_of(values[ChecksumAlgorithm.MD5]):
            raise self._arrivals.differs(part.part_number, "it is not what its source range is")
        beside = self._source_algorithm
        self._record().acknowledge(
            PartRecord(
                part_number=part.part_number,
                size=part.size,
                etag=part.etag,
                checksum=mine,
                source_checksum=values[beside].value if beside else None,
            )
        )
        self._context.progress.add(parts_kept=1, parts_reread=1)
        return True

    def _record(self) -> UploadRecord:
        """Return the record of the upload, waiting until it has begun."""
        # Where it has begun, a stop is no reason to forget a part that has landed.
        while not self._upload.done():
            self._stop.check()
            wait([self._upload], timeout=_POLL_S)
        if self._upload.cancelled():
            self._stop.check()
        return self._upload.result()

    def _upload_id(self) -> str:
        upload_id = self._record().checkpoint.upload_id
        if upload_id is None:
            msg = "no upload was created"
            raise AssertionError(msg)
        return upload_id


def _job(function: Callable[[_Argument], None], argument: _Argument) -> Callable[[], None]:
    return lambda: function(argument)


def _value_of(hasher: Hasher | None) -> str | None:
    return hasher.checksum().value if hasher is not None else None
