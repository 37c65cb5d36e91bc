"""One object, or one part, that the target's service copies by itself.

No byte passes here, so nothing can be computed on the way: the copy is proven by what the service
shows of it, as far as that can be compared with what it shows of the source (ADR 0030).
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.exceptions import (
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
from airflow_provider_s3resume.plan.resume import PartRecord
from airflow_provider_s3resume.storage.base import Condition, uri_of
from airflow_provider_s3resume.storage.server_side import TakenForPutError
from airflow_provider_s3resume.transfer.attributes import condition_of, is_marker, upload_of
from airflow_provider_s3resume.transfer.context import CopyContext, Landed
from airflow_provider_s3resume.transfer.kept import is_type_alone
from airflow_provider_s3resume.transfer.losses import judged
from airflow_provider_s3resume.transfer.metadata import is_untouched
from airflow_provider_s3resume.transfer.outcomes import Proof, Status
from airflow_provider_s3resume.transfer.proving import (
    PLAIN_ENCRYPTION,
    Expected,
    algorithm_for,
    attribute_notes,
    check_landed,
    is_expected,
    look,
    target_changed,
    vouched_md5,
)
from airflow_provider_s3resume.transfer.same_bytes import has_same_bytes
from airflow_provider_s3resume.transfer.server_side import is_refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_s3resume.plan.manifest import CopyEntry
    from airflow_provider_s3resume.plan.objects import ByteRange, ObjectInfo
    from airflow_provider_s3resume.storage.base import Written
    from airflow_provider_s3resume.storage.server_side import ServerSide
    from airflow_provider_s3resume.transfer.reading import ExactSource

log = logging.getLogger(__name__)

_TRIES: Final = 4
_FIRST_WAIT_S = 0.2


def copy_by_service(
    context: CopyContext, entry: CopyEntry, source: ExactSource, info: ObjectInfo
) -> Landed | CopyEntry:
    """Let the target's service copy one object in one request.

    :param info: the source's headers.
    :returns: the entry to relay, if the service does not copy it.
    :raises SourceChangedError: if the source is another object by now.
    :raises TargetChangedError: if the target is not what the plan saw.
    :raises VerificationError: if the copy is not what the source is.
    """
    calls = context.by_service.calls
    # What a marker is written with is found out by looking, which its relay does.
    if calls is None or is_marker(entry, folds_keys=context.target.capabilities.folds_keys):
        return entry
    return _ServiceCopy(context, calls, entry, source, info).run()


class PartCopies:
    """Lets the target's service copy parts of one upload.

    :param key: the target's.
    :param upload_id: waits for the upload, and returns its id.
    :param algorithm: of the checksums that its parts carry.
    """

    def __init__(
        self,
        context: CopyContext,
        source: ExactSource,
        key: str,
        upload_id: Callable[[], str],
        algorithm: ChecksumAlgorithm | None,
    ) -> None:
        self._by_service = context.by_service
        self._source = source
        self._key = key
        self._upload_id = upload_id
        self._algorithm = algorithm

    def copy(self, part_number: int, byte_range: ByteRange) -> PartRecord | None:
        """Let the service copy one part; ``None`` if it has to be relayed.

        :raises SourceChangedError: if the source is another object by now.
        """
        calls = self._by_service.calls
        if calls is None:
            return None
        origin = self._by_service.origin(self._source)
        try:
            written = calls.copy_part(self._key, self._upload_id(), part_number, origin, byte_range)
        except (PreconditionFailedError, ObjectNotFoundError) as error:
            if not _is_unchanged(self._source):
                raise self._source.changed() from error
            # It is as it should be: the service sees something else, so it must not copy.
            self._by_service.refused(error)
            return None
        except StoreError as error:
            if not is_refusal(error):
                raise
            self._by_service.refused(error)
            return None
        self._by_service.copied()
        shown = (c.value for c in written.checksums if c.algorithm is self._algorithm)
        return PartRecord(
            part_number=part_number,
            size=byte_range.length,
            etag=written.etag or "",
            checksum=next(shown, None),
            by_service=True,
        )


def _is_unchanged(source: ExactSource, written: float | None = None) -> bool:
    """Tell whether the source is still the object that is copied.

    :param written: when it was last modified, if one that has come back is another one.
    """
    identity = source.identity
    try:
        now = source.store.head(source.key, version_id=identity.version_id)
    except ObjectNotFoundError:
        return False
    same = now.size == identity.size and normal_etag(now.etag) == normal_etag(identity.etag)
    return same and written in {None, now.last_modified}


class _ServiceCopy:
    """One object's copy in one request, tried until its fate is known."""

    def __init__(
        self,
        context: CopyContext,
        calls: ServerSide,
        entry: CopyEntry,
        source: ExactSource,
        info: ObjectInfo,
    ) -> None:
        self._context = context
        self._calls = calls
        self._entry = entry
        self._source = source
        self._info = info
        capabilities = context.target.capabilities
        algorithm = algorithm_for(info, capabilities)
        computed = None if algorithm is ChecksumAlgorithm.MD5 else algorithm
        self._upload, self._notes = upload_of(context, entry, info, computed, full_object=True)
        self._condition = condition_of(entry, supported=capabilities.conditional_put)
        self._compared: dict[str | None, bool] = {}
        md5_etags = capabilities.md5_etags
        self._expected = Expected(
            size=info.size,
            etag=vouched_md5(context.source, info) if md5_etags else None,
            checksum=next((c for c in info.checksums if c.full_object), None),
        )

    @property
    def _uri(self) -> str:
        return uri_of(self._context.target, self._entry.target_key)

    def run(self) -> Landed | CopyEntry:
        """Ask for the copy, look where the answer is unclear, and prove it."""
        for attempt in range(_TRIES):
            self._context.stop.check()
            try:
                written = self._copy(self._condition)
            except (PreconditionFailedError, ObjectNotFoundError) as error:
                return self._after_condition(error, lost_before=attempt > 0)
            except ThrottledError:
                raise  # Refused, and repeated by the store's layers as often as can help.
            except TransientStoreError:
                # A copy without a condition has been repeated too: it is looked at once.
                last = self._condition is None or attempt == _TRIES - 1
                landed = self._landed_there(Status.COPIED, self._look())
                if landed is not None:
                    return landed
                if last:
                    raise
                self._context.stop.wait(_FIRST_WAIT_S * 2**attempt)
            except StoreError as error:
                if not is_refusal(error):
                    raise
                return self._refused(error)
            else:
                return self._land(written)
        msg = "unreachable"
        raise AssertionError(msg)

    def _copy(self, condition: Condition | None) -> Written:
        origin = self._context.by_service.origin(self._source)
        key, upload = self._entry.target_key, self._upload
        return self._calls.copy_object(key, origin, upload=upload, condition=condition)

    def _look(self) -> ObjectInfo | None:
        return look(self._context.target, self._entry.target_key)

    def _refused(self, error: StoreError) -> CopyEntry:
        """Note a refusal; return the entry that is relayed, on condition of what is there now.

        :raises StoreError: if the service has to copy.
        """
        taken = isinstance(error, TakenForPutError) and not self._entry.target_there
        left = self._look() if taken else None
        if left is None or left.size or not self._info.size:
            self._context.by_service.refused(error)
            return self._entry
        if self._context.by_service.required:
            detail = (
                f"{error.detail}; an object of no bytes is there now, which the next run with "
                "server_side_copy 'auto' or 'never' replaces"
            )
            raise TakenForPutError(error.operation, error.subject, detail) from error
        self._context.by_service.refused(error)
        self._context.by_service.leave(self._entry.target_key, left.etag)
        return self._context.by_service.as_left(self._entry)

    def _landed_there(self, status: Status, found: ObjectInfo | None) -> Landed | None:
        """Return the end of the copy, if what is at the target is provably it (c16)."""
        if found is None or self._is_untouched(found):
            return None
        if is_expected(found, self._expected) or self._is_shown(found):
            return self._seen(status, found)
        if self._is_as_planned(found) or self._is_another(found):
            return None
        if found.etag not in self._compared:
            # Many tries may find the same object: both are read once.
            self._compared[found.etag] = has_same_bytes(self._context, self._source, found)
        if not self._compared[found.etag]:
            return None
        self._notes.append("its bytes were read to tell what it is: no digest of both sides does")
        return self._seen(status, found, Proof.PARTS)

    def _is_untouched(self, found: ObjectInfo) -> bool:
        asked = replace(self._info, attributes=self._upload.attributes)
        stores = self._context.source, self._context.target
        tags = all(store.capabilities.tags for store in stores)
        return is_untouched(self._entry, asked, found, tags=tags)

    def _is_shown(self, found: ObjectInfo) -> bool:
        """Tell whether a checksum of any kind that both sides show is the same."""
        match = compare_checksums(self._info.checksums, found.checksums)
        return found.size == self._info.size and match is Match.SAME

    def _is_another(self, found: ObjectInfo) -> bool:
        """Tell whether size, checksums or ETags say that two objects are not the same."""
        if found.size != self._info.size:
            return True
        if compare_checksums(self._info.checksums, found.checksums) is Match.DIFFERENT:
            return True
        plain = found.md5_etag and found.encryption in PLAIN_ENCRYPTION
        md5s = self._expected.etag is not None and md5_of_etag(found.etag) is not None
        return plain and md5s

    def _after_condition(self, error: StoreError, *, lost_before: bool) -> Landed | CopyEntry:
        """Find out which of the two conditions does not hold: the service does not say.

        :param lost_before: the answer to an earlier try was lost, so the copy may be this one's.
        """
        self._check_source()
        there = self._look()
        status = Status.COPIED if lost_before else Status.ALREADY_THERE
        landed = self._landed_there(status, there)
        if landed is not None:
            return landed
        if self._condition is None or self._is_as_planned(there):
            # Both are as they should be: the service sees something else, so it must not copy.
            return self._refused(error)
        raise target_changed(self._uri, self._entry, there) from error

    def _check_source(self) -> None:
        """Make sure that the source is still the object that is copied.

        :raises SourceChangedError: if it is not.
        """
        if not _is_unchanged(self._source):
            raise self._source.changed()

    def _is_surely_unchanged(self) -> bool:
        try:
            return _is_unchanged(self._source, self._info.last_modified)
        except StoreError as error:
            log.info("Whether the source is unchanged is not known: %s", error)
            return False

    def _is_as_planned(self, there: ObjectInfo | None) -> bool:
        if there is None:
            return not self._entry.target_there
        planned = self._entry.target_etag
        return self._entry.target_there and normal_etag(there.etag) == normal_etag(planned)

    def _land(self, written: Written) -> Landed:
        by_service = self._context.by_service
        by_service.copied()
        if self._condition is not None and by_service.conditional is None:
            absent = Condition(absent=True)
            again = by_service.settle_conditions(
                lambda: self._copy(absent), self._is_surely_unchanged
            )
            written = again or written
        proof = self._proof(written)
        if proof is not Proof.SERVICE and is_type_alone(self._upload):
            return self._landed(Status.COPIED, written.etag, proof)
        found = self._look()
        check_landed(self._uri, found, self._expected, written.etag)
        if found is None or proof is not Proof.SERVICE:
            self._note(found)
            return self._landed(Status.COPIED, written.etag, proof)
        return self._seen(Status.COPIED, found)

    def _seen(self, status: Status, found: ObjectInfo, proof: Proof | None = None) -> Landed:
        """Say what was found at the target.

        :param proof: what is known of it beside what the service shows.
        """
        self._note(found)
        return self._landed(status, found.etag, proof or self._proof(found))

    def _note(self, found: ObjectInfo | None) -> None:
        """Note what was asked for and is not on the copy (c19).

        :raises AttributesLostError: if what is lost is to be an error.
        """
        if found is not None:
            asked = replace(self._info, attributes=self._upload.attributes)
            options = self._upload.options
            losses = attribute_notes(self._uri, asked, found, options)
            self._notes += judged(self._context.config, self._uri, losses, landed=True)

    def _proof(self, found: Written | ObjectInfo) -> Proof:
        """Return what the service shows that the copy is.

        :raises VerificationError: if it shows another checksum of it than of the source.
        """
        match = compare_checksums(self._info.checksums, found.checksums)
        if match is Match.DIFFERENT:
            raise VerificationError(
                f"{self._uri}: the service copied it, and its full-object checksum is not the "
                f"source's, of ETag {self._info.etag}. A retry copies it again"
            )
        if compare_etags(self._info.etag, found.etag) is Match.SAME:
            return Proof.ETAG
        return Proof.CHECKSUM if match is Match.SAME else Proof.SERVICE

    def _landed(self, status: Status, etag: str | None, proof: Proof) -> Landed:
        copied = status is Status.COPIED
        guarded = self._condition is not None and bool(self._context.by_service.conditional)
        return Landed(
            status=status,
            target_etag=normal_etag(etag),
            proof=proof,
            unprotected=copied and not guarded,
            by_service=copied,
            notes=tuple(self._notes),
        )
