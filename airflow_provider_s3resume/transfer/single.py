"""The copy of an object that is written in one request."""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import (
    DigestRejectedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreError,
    ThrottledError,
    TransientStoreError,
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
from airflow_provider_s3resume.plan.objects import ByteRange
from airflow_provider_s3resume.storage.base import uri_of
from airflow_provider_s3resume.transfer.attributes import (
    carries_tags,
    condition_of,
    is_marker,
    upload_of,
)
from airflow_provider_s3resume.transfer.context import CopyContext, Landed
from airflow_provider_s3resume.transfer.hashing import Hasher, checksum_of, md5_hex
from airflow_provider_s3resume.transfer.kept import is_type_alone, looked_for, losses_of
from airflow_provider_s3resume.transfer.metadata import is_untouched
from airflow_provider_s3resume.transfer.outcomes import Proof, Status
from airflow_provider_s3resume.transfer.proving import (
    PLAIN_ENCRYPTION,
    Expected,
    algorithm_for,
    is_expected,
    look,
    source_algorithm_for,
    source_proof,
    target_changed,
    vouched_md5,
)
from airflow_provider_s3resume.transfer.reading_back import has_landed
from airflow_provider_s3resume.transfer.streamed import copy_streamed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_s3resume.plan.digests import Checksum
    from airflow_provider_s3resume.plan.manifest import CopyEntry
    from airflow_provider_s3resume.plan.objects import ObjectInfo
    from airflow_provider_s3resume.storage.base import NewUpload, Written
    from airflow_provider_s3resume.storage.express import Exchange, Express, Line
    from airflow_provider_s3resume.transfer.reading import ExactSource

_TRIES = 4
_READS = 2
_FIRST_WAIT_S = 0.2
_SMALL = 64 * 1024
"""Whose MD5 takes a tenth of a millisecond at the most."""


def copy_single(context: CopyContext, entry: CopyEntry, source: ExactSource) -> Landed:
    """Copy one object in one request, while it is read where that can be, else held in memory.

    :raises SourceChangedError: if the source is another object by now.
    :raises TargetChangedError: if the target is not what the plan saw.
    :raises VerificationError: if the bytes are not those the source's service vouches for.
    """
    streamed = copy_streamed(context, entry, source)
    if isinstance(streamed, Landed):
        return streamed
    with context.budget.buffer(source.identity.size, context.stop, context.beside_held) as view:
        return _read_and_put(context, entry, source, view, streamed)


def _read_and_put(
    context: CopyContext,
    entry: CopyEntry,
    source: ExactSource,
    view: memoryview,
    unheard: TransientStoreError | None,
) -> Landed:
    hashers: list[Hasher] = []

    def hashers_for(info: ObjectInfo) -> Sequence[Hasher]:
        hashers.extend(map(Hasher, _algorithms(context, info)))
        return hashers

    info = source.whole(view, hashers_for)
    read = [hasher.checksum() for hasher in hashers]
    return SinglePut(context, entry, source, info, view, read).run(unheard)


def _algorithms(context: CopyContext, info: ObjectInfo) -> list[ChecksumAlgorithm]:
    """Return which checksums are taken of an object: the target's, and beside it the source's."""
    sent = algorithm_for(info, context.target.capabilities)
    return [one for one in (sent, source_algorithm_for(info, sent)) if one is not None]


class SinglePut:
    """One object's write, tried until its fate is known.

    :param data: the object's bytes, as they were read.
    :param read: checksums of them that were taken while they were read.
    """

    def __init__(
        self,
        context: CopyContext,
        entry: CopyEntry,
        source: ExactSource,
        info: ObjectInfo,
        data: memoryview,
        read: Sequence[Checksum] = (),
    ) -> None:
        self._context = context
        self._entry = entry
        self._source = source
        self._info = info
        self._data = data
        capabilities = context.target.capabilities
        known = {one.algorithm: one for one in read}
        algorithm = algorithm_for(info, capabilities)
        beside = source_algorithm_for(info, algorithm)
        self._checksum, self._source_checksum = (
            (known.get(one) or checksum_of(one, data)) if one else None
            for one in (algorithm, beside)
        )
        self._vouched = vouched_md5(context.source, info)
        self._content_md5: str | None = None
        if self._vouched and ChecksumAlgorithm.MD5 in capabilities.part_checksums:
            self._content_md5 = base64.b64encode(bytes.fromhex(self._vouched)).decode("ascii")
        # A source that was replaced since the plan may have bytes.
        self._marker = not data and is_marker(entry, folds_keys=capabilities.folds_keys)
        self._condition = condition_of(entry, supported=capabilities.conditional_put)
        self._md5: str | None = None
        self._notes: list[str] = []
        self._upload: NewUpload | None = None

    @property
    def _uri(self) -> str:
        return uri_of(self._context.target, self._entry.target_key)

    def is_plain(self) -> bool:
        """Tell whether it can be written without asking either store for more (tags, a reread)."""
        if carries_tags(self._context, self._info):
            return False
        match = compare_checksums(self._info.checksums, self._sums())
        if match is Match.DIFFERENT:
            return False
        compared_by_target = self._vouched is None or self._content_md5 is not None
        return compared_by_target or match is Match.SAME

    def begin(self, express: Express, line: Line) -> Exchange[Written]:
        """Begin the write of a plain one in one request."""
        self._upload = self._made_of()
        return express.put(
            line,
            self._entry.target_key,
            self._data,
            upload=self._upload,
            checksum=self._checksum,
            condition=self._condition,
            content_md5=self._content_md5,
        )

    def is_clear(self, written: Written) -> bool:
        """Tell whether an answer says all, so that nobody need look at the target.

        Large objects are not clear by their MD5, which takes too long for who has others to copy.
        """
        if self._upload is None or not is_type_alone(self._upload):
            return False
        return self._is_shown(written) or (len(self._data) <= _SMALL and self._is_md5(written))

    def _is_md5(self, written: Written) -> bool:
        """Tell whether an answer's ETag is the MD5 of what was sent, where ETags are such."""
        etag = md5_of_etag(written.etag)
        md5s = self._context.target.capabilities.md5_etags
        return md5s and etag is not None and etag == self._md5_hex()

    def _md5_hex(self) -> str:
        if self._md5 is None:
            self._md5 = md5_hex(self._data)
        return self._md5

    def _is_shown(self, written: Written) -> bool:
        """Tell whether an answer shows the checksum of what was sent."""
        sent = (self._checksum,) if self._checksum else ()
        return compare_checksums(written.checksums, sent) is Match.SAME

    def land(self, written: Written) -> Landed:
        """Say what was written; looks at the target unless :meth:`is_clear`.

        :raises VerificationError: if other bytes have arrived.
        """
        if written.etag is None and not self._is_shown(written):
            return self._found_after_all()
        arrived = self._check_arrived(written)
        if self._upload is not None:
            self._note_what_is_lost(self._upload)
        unprotected = self._condition is None
        return self._landed(Status.COPIED, written, unprotected=unprotected, arrived=arrived)

    def _found_after_all(self) -> Landed:
        """Look at the target after a success that shows nothing: no S3 service answers like that.

        A portal or a proxy does, and then nothing was written.

        :raises TransientStoreError: if the object is not there.
        """
        found = look(self._context.target, self._entry.target_key)
        expected = Expected(size=len(self._data), etag=self._md5_hex(), checksum=self._checksum)
        if found is None or not is_expected(found, expected):
            detail = "answered as a success without an ETag, and what was sent is not there"
            raise TransientStoreError("PutObject", self._uri, detail)
        if self._upload is not None:
            self._note_what_is_lost(self._upload)
        unprotected = self._condition is None
        return self._landed(Status.COPIED, found, unprotected=unprotected, arrived=True)

    def _made_of(self) -> NewUpload:
        algorithm = self._checksum.algorithm if self._checksum else None
        upload, notes = upload_of(
            self._context, self._entry, self._info, algorithm, full_object=True
        )
        self._notes += notes
        return upload

    def run(self, unheard: TransientStoreError | None = None) -> Landed:
        """Write, look where the answer is unclear, and prove.

        :param unheard: what an earlier write of the same bytes ended with, which may have landed.
        """
        self._check_read()
        upload = self._upload = self._made_of()
        if unheard is not None and (landed := self._resolve(unheard, last=False)) is not None:
            return landed
        for attempt in range(_TRIES):
            self._context.stop.check()
            try:
                written = self._context.target.put_object(
                    self._entry.target_key,
                    self._data,
                    upload=upload,
                    checksum=self._checksum,
                    condition=self._condition,
                    content_md5=self._content_md5,
                )
            except DigestRejectedError:
                if attempt == _TRIES - 1:
                    raise
                self._after_rejection()
            except ThrottledError:
                raise  # Refused, and repeated by the store's layers as often as can help.
            except (TransientStoreError, PreconditionFailedError, ObjectNotFoundError) as error:
                # A write without a condition has been repeated too: it is looked at once.
                last = self._condition is None or attempt == _TRIES - 1
                landed = self._resolve(error, last=last)
                if landed is not None:
                    return landed
                self._context.stop.wait(_FIRST_WAIT_S * 2**attempt)
            else:
                return self.land(written)
        msg = "unreachable"
        raise AssertionError(msg)

    def _check_arrived(self, written: Written) -> bool:
        """Compare the ETag where nothing else says what arrived (c18).

        A service may take a checksum header and ignore it without a word; one that does not gives
        the checksum back. ``Content-MD5`` is as old as S3, and believed.

        :returns: whether the service is known to have looked at the bytes that arrived.
        :raises VerificationError: if the ETag is an MD5, and of other bytes.
        """
        if self._is_shown(written):
            return True
        sent = self._checksum
        md5_sent = self._content_md5 is not None or (
            sent is not None and sent.algorithm is ChecksumAlgorithm.MD5
        )
        etag, target = md5_of_etag(written.etag), self._context.target
        if self._is_md5(written):
            return True
        if etag is None or not target.capabilities.md5_etags:
            return md5_sent
        found = look(target, self._entry.target_key)
        if found is None or found.encryption not in PLAIN_ENCRYPTION:
            return md5_sent  # Under a KMS key an ETag is no MD5.
        raise VerificationError(
            f"{self._uri}: its ETag {written.etag} is not the MD5 of what was sent, "
            f"{self._md5_hex()}, and the service shows no checksum of it; if the service makes "
            "ETags in another way, set md5_etags to false in its connection"
        )

    def _note_what_is_lost(self, upload: NewUpload) -> None:
        """Look at the target if more than a content type was asked for (c19).

        :raises AttributesLostError: if what is lost is to be an error.
        """
        key = self._entry.target_key
        self._notes += looked_for(self._context, key, self._uri, upload, self._info)

    def _is_untouched(self, found: ObjectInfo) -> bool:
        if self._upload is None:
            return False
        asked = replace(self._info, attributes=self._upload.attributes)
        stores = self._context.source, self._context.target
        tags = all(store.capabilities.tags for store in stores)
        return is_untouched(self._entry, asked, found, tags=tags)

    def _check_read(self) -> None:
        """Read again, then refuse, bytes that the source's own full-object checksum is not of.

        :raises VerificationError: if none of the reads gave the right ones.
        """
        reads = 1
        while (match := compare_checksums(self._info.checksums, self._sums())) is Match.DIFFERENT:
            if reads > _READS:
                raise self._not_the_source(f"do not match the source's own checksum, {reads} times")
            self._read_again()
            reads += 1
        proven = match is Match.SAME
        if self._vouched is not None and self._content_md5 is None and not proven:
            self._look_closer()  # The target will not compare it, so it is done here.

    def _sums(self) -> list[Checksum]:
        """Return the checksums of the bytes read, in the target's and in the source's algorithm."""
        return [one for one in (self._checksum, self._source_checksum) if one is not None]

    def _after_rejection(self) -> None:
        """Find out why the target's service computed another digest than it was sent.

        :raises VerificationError: if the bytes read are not those that the source vouches for.
        """
        if compare_checksums(self._info.checksums, self._sums()) is Match.SAME:
            # The bytes are right: if it was not the line, then the source's ETag is no MD5.
            self._content_md5 = None
            return
        self._look_closer()

    def _look_closer(self) -> None:
        """Read again what does not have the MD5 that the source's ETag is.

        :raises VerificationError: if it never has.
        """
        expected = md5_of_etag(self._info.etag)
        if self._vouched is None or self._md5_hex() == expected:
            return
        for _ in range(_READS):
            self._read_again()
            if self._md5_hex() == expected:
                return
        raise self._not_the_source(
            f"do not have the MD5 that its ETag is ({expected}), read {_READS + 1} times; if the "
            "service makes ETags in another way, set md5_etags to false in its connection"
        )

    def _read_again(self) -> None:
        view, self._md5 = self._data, None
        if view:
            self._source.read(ByteRange(start=0, stop=len(view)), view)
        if self._checksum is not None:
            self._checksum = checksum_of(self._checksum.algorithm, view)
        if self._source_checksum is not None:
            self._source_checksum = checksum_of(self._source_checksum.algorithm, view)

    def _not_the_source(self, why: str) -> VerificationError:
        uri = uri_of(self._source.store, self._source.key)
        return VerificationError(
            f"{uri}: the bytes read {why}; nothing was written. A retry reads it again"
        )

    def _resolve(self, error: StoreError, *, last: bool) -> Landed | None:
        """Look at the target instead of guessing what became of a write (c16)."""
        found = look(self._context.target, self._entry.target_key)
        expected = Expected(size=len(self._data), etag=self._md5_hex(), checksum=self._checksum)
        lost = isinstance(error, TransientStoreError)
        if (
            found is not None
            and not self._is_untouched(found)
            and has_landed(self._context.target, found, expected, self._context.stop)
        ):
            status = Status.COPIED if lost else Status.ALREADY_THERE
            unprotected = lost and self._condition is None
            # Whoever wrote it may have been asked for other things.
            if self._upload is not None:
                lost_of_it = losses_of(self._context, self._uri, self._upload, self._info, found)
                self._notes += lost_of_it
            return self._landed(status, found, unprotected=unprotected, arrived=True)
        if not lost:
            if self._marker and not last and found and not found.size:
                # A directory without a marker: no condition tells it from one.
                self._condition = None
                return None
            raise target_changed(self._uri, self._entry, found) from error
        if last:
            raise error
        return None

    def _landed(
        self, status: Status, found: Written | ObjectInfo, *, unprotected: bool, arrived: bool
    ) -> Landed:
        size = len(self._data)
        sent = status is Status.COPIED
        self._context.progress.add(bytes_moved=size * sent, parts_sent=int(sent))
        return Landed(
            status=status,
            target_etag=normal_etag(found.etag),
            proof=self._proof(found.etag, found.checksums, arrived=arrived),
            sent_parts=int(sent),
            bytes_moved=size * sent,
            unprotected=unprotected,
            notes=tuple(self._notes),
        )

    def _proof(self, etag: str | None, checksums: tuple[Checksum, ...], *, arrived: bool) -> Proof:
        # What was read is the source's; that says nothing yet of what has arrived.
        proof = source_proof(self._info, self._sums()) if arrived else None
        if proof is Proof.CRC64:
            return proof
        if compare_etags(self._info.etag, etag) is Match.SAME:
            return Proof.ETAG
        if proof is not None:
            return proof
        ours = [self._checksum] if self._checksum else []
        if self._checksum is not None or normal_etag(etag) == self._md5_hex():
            # A file was read back, and has the MD5 that the source's ETag is.
            read_back = self._content_md5 and self._context.target.capabilities.reads_back
            return Proof.MD5 if read_back else Proof.PARTS
        if compare_checksums(checksums, ours) is Match.SAME:
            return Proof.PARTS
        return Proof.NONE
