"""The copy of an object that is written in one request, while it is read.

Its bytes never lie in memory as a whole, and the processor still has them at hand when they are
sent. What is said of them has to be said before they are there, so this is for objects whose ETag
is known to be their MD5: the target's service compares that with what arrives, and stores nothing
else (``Content-MD5``; c18). What was begun so cannot be sent again. Whatever goes wrong with it is
left to ``transfer.single``, which holds the object in memory, and can wait, repeat and tell.
"""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.exceptions import (
    CredentialsExpiredError,
    DigestRejectedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreError,
    ThrottledError,
    TransientStoreError,
    UnsupportedError,
    VerificationError,
)
from airflow_provider_s3resume.plan.digests import (
    ChecksumAlgorithm,
    Match,
    compare_checksums,
    compare_etags,
    md5_of_etag,
    normal_etag,
)
from airflow_provider_s3resume.storage.base import uri_of
from airflow_provider_s3resume.transfer.attributes import carries_tags, condition_of, upload_of
from airflow_provider_s3resume.transfer.context import CopyContext, Landed
from airflow_provider_s3resume.transfer.hashing import Hasher
from airflow_provider_s3resume.transfer.kept import looked_for
from airflow_provider_s3resume.transfer.outcomes import Proof, Status
from airflow_provider_s3resume.transfer.proving import (
    PLAIN_ENCRYPTION,
    algorithm_for,
    look,
    vouched_md5,
)
from airflow_provider_s3resume.transfer.reading import READ_STEP, STREAM_BUFFER, StreamBody

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_s3resume.plan.digests import Checksum
    from airflow_provider_s3resume.plan.manifest import CopyEntry
    from airflow_provider_s3resume.plan.objects import ObjectInfo, SourceIdentity
    from airflow_provider_s3resume.storage.base import NewUpload, Written
    from airflow_provider_s3resume.transfer.reading import ExactSource

log = logging.getLogger(__name__)

_CLEARED_UP: Final = (PreconditionFailedError, ObjectNotFoundError, TransientStoreError)
"""What the ordinary way clears up, by looking at the target and by trying again."""
_NOT_CARRIED_OUT: Final = (ThrottledError, CredentialsExpiredError, DigestRejectedError)
"""Refusals, which the store's layers repeat if the body can be sent again."""


_MOST_GIVEN_UP: Final = 5
"""In a row: a target, or a way to it, that breaks streams has each object read twice."""


class _GivenUpError(Exception):
    """The object has to be held to be copied.

    It leaves the block that holds the buffer as an error does: whatever else still has its hands on
    the bytes lets go of them before they count as free (c20).

    :param unheard: what the write ended with if it may have landed all the same.
    """

    def __init__(self, unheard: TransientStoreError | None) -> None:
        super().__init__()
        self.unheard = unheard


def copy_streamed(
    context: CopyContext, entry: CopyEntry, source: ExactSource
) -> Landed | TransientStoreError | None:
    """Copy one object while it is read.

    :returns: what has landed; or, where the object has to be held to be copied, what the write
        ended with if it may have landed all the same, and ``None`` if nothing can have.
    :raises SourceChangedError: if the source is another object by now.
    :raises VerificationError: if other bytes have arrived.
    """
    if not _may_be_streamed(context, source.identity):
        return None
    try:
        return _stream(context, entry, source)
    except _GivenUpError as given_up:
        return given_up.unheard


def _stream(context: CopyContext, entry: CopyEntry, source: ExactSource) -> Landed | None:
    size = min(source.identity.size, STREAM_BUFFER)
    with (
        context.budget.buffer(size, context.stop) as view,
        source.streaming(view[:READ_STEP]) as (info, chunks),
    ):
        vouched = vouched_md5(context.source, info)
        if vouched is None or info.checksums or carries_tags(context, info):
            # Its neighbours are mostly alike, and to open an object in vain costs a connection.
            _stream_no_more(context, "the source vouches for its objects in another way")
            return None
        return _StreamedPut(context, entry, info, vouched).run(chunks)


def _may_be_streamed(context: CopyContext, identity: SourceIdentity) -> bool:
    capabilities = context.target.capabilities
    return (
        identity.size > READ_STEP
        and capabilities.streams_objects
        and ChecksumAlgorithm.MD5 in capabilities.part_checksums
        and context.verdict.streams_objects
        and context.source.capabilities.md5_etags
        and md5_of_etag(identity.etag) is not None
    )


def _stream_no_more(context: CopyContext, why: str) -> None:
    context.verdict.streams_objects = False
    log.info("Objects are held in memory from now on: %s", why)


class _StreamedPut:
    """One object's write, tried once.

    :param vouched: the hexadecimal MD5 that its source is known to have.
    """

    def __init__(
        self, context: CopyContext, entry: CopyEntry, info: ObjectInfo, vouched: str
    ) -> None:
        self._context = context
        self._entry = entry
        self._info = info
        self._vouched = vouched
        capabilities = context.target.capabilities
        self._condition = condition_of(entry, supported=capabilities.conditional_put)
        self._algorithm = algorithm_for(info, capabilities)
        self._uri = uri_of(context.target, entry.target_key)

    def run(self, chunks: Iterator[memoryview]) -> Landed:
        """Write the object; see :func:`copy_streamed` for what else comes of it.

        :raises _GivenUpError: if it has to be held.
        """
        upload, notes = upload_of(
            self._context, self._entry, self._info, self._algorithm, full_object=True
        )
        computed = self._algorithm not in {None, ChecksumAlgorithm.MD5}
        hashers = [Hasher(self._algorithm)] if computed and self._algorithm else []
        body = StreamBody(chunks, *hashers)
        self._context.stop.check()
        try:
            written = self._context.target.put_object_stream(
                self._entry.target_key,
                body,
                self._info.size,
                upload=upload,
                content_md5=base64.b64encode(bytes.fromhex(self._vouched)).decode("ascii"),
                condition=self._condition,
            )
        except StoreError as error:
            self._context.stop.check()
            if body.error is not None:
                raise body.error from None
            if self._is_hopeless(error, begun=body.begun):
                raise
            raise self._given_up(error) from error
        return self._landed(written, upload, notes, [hasher.checksum() for hasher in hashers])

    @staticmethod
    def _is_hopeless(error: StoreError, *, begun: bool) -> bool:
        """Tell whether the object would meet the same if it was held (c41).

        :param begun: the body was read from. Who cannot stream says so before; what is unsupported
            after that is what the answer says: that a customer's key was not used, for one.
        """
        if isinstance(error, UnsupportedError):
            return begun
        return not isinstance(error, _CLEARED_UP)

    def _given_up(self, error: StoreError) -> _GivenUpError:
        log.info("%s is sent again, held in memory: %s", self._uri, error)
        verdict = self._context.verdict
        verdict.streams_given_up += 1
        if verdict.streams_given_up == _MOST_GIVEN_UP:
            _stream_no_more(self._context, f"{_MOST_GIVEN_UP} writes in a row were given up")
        if isinstance(error, (DigestRejectedError, UnsupportedError)):
            # The next object would fare no better.
            _stream_no_more(self._context, str(error))
        if isinstance(error, TransientStoreError) and not isinstance(error, _NOT_CARRIED_OUT):
            return _GivenUpError(error)
        return _GivenUpError(None)

    def _landed(
        self, written: Written, upload: NewUpload, notes: list[str], sums: list[Checksum]
    ) -> Landed:
        if written.etag is None:
            # No S3 service answers like that; a portal does, and then nothing was written.
            detail = "answered without an ETag"
            raise _GivenUpError(TransientStoreError("PutObject", self._uri, detail))
        self._check_arrived(written, sums)
        self._context.verdict.streams_given_up = 0
        size, key = self._info.size, self._entry.target_key
        self._context.progress.add(bytes_moved=size, parts_sent=1)
        same = compare_etags(self._info.etag, written.etag) is Match.SAME
        lost = looked_for(self._context, key, self._uri, upload, self._info)
        return Landed(
            status=Status.COPIED,
            target_etag=normal_etag(written.etag),
            proof=Proof.ETAG if same else Proof.PARTS,
            sent_parts=1,
            bytes_moved=size,
            unprotected=self._condition is None,
            notes=(*notes, *lost),
        )

    def _check_arrived(self, written: Written, sums: list[Checksum]) -> None:
        """Compare what the answer shows with what was sent (c18).

        :raises VerificationError: if it is of other bytes.
        """
        if compare_checksums(written.checksums, sums) is Match.DIFFERENT:
            raise VerificationError(
                f"{self._uri}: the checksum that the service shows is not that of what was sent, "
                f"{sums[0].value} ({sums[0].algorithm.value}): it has other bytes. The next "
                "run finds the difference, and copies it again"
            )
        etag, target = md5_of_etag(written.etag), self._context.target
        if etag == self._vouched or etag is None or not target.capabilities.md5_etags:
            return
        if written.encryption not in PLAIN_ENCRYPTION:
            return  # Under a KMS key an ETag is no MD5.
        found = look(target, self._entry.target_key)
        if found is None or found.encryption not in PLAIN_ENCRYPTION:
            return  # A service that does not say so in its answer.
        raise VerificationError(
            f"{self._uri}: its ETag {written.etag} is not the MD5 of what was sent, "
            f"{self._vouched}; if the service makes ETags in another way, set md5_etags to false "
            "in its connection"
        )
