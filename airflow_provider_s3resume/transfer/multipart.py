"""The copy of an object in parts, resumed where an earlier attempt stopped.

ListParts at the target is the single point of truth; the checkpoint only says whose parts they
are. The old target stays until the proof of the new one is in hand.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import (
    ListingError,
    ObjectNotFoundError,
    PreconditionFailedError,
    S3ResumeError,
    TargetChangedError,
    ThrottledError,
    TransientStoreError,
    UnsupportedError,
    UploadNotFoundError,
    VerificationError,
)
from airflow_provider_s3resume.plan.digests import (
    COMBINABLE,
    ChecksumAlgorithm,
    Match,
    compare_checksums,
    normal_etag,
)
from airflow_provider_s3resume.plan.resume import (
    Checkpoint,
    Continue,
    ListedPart,
    PartRecord,
    StartOver,
    decide,
)
from airflow_provider_s3resume.storage.base import uri_of
from airflow_provider_s3resume.transfer.attributes import condition_of, digest_of, upload_of
from airflow_provider_s3resume.transfer.checkpoints import Stored
from airflow_provider_s3resume.transfer.cleanup import UNKNOWN_UPLOADS, stray_notes
from airflow_provider_s3resume.transfer.context import CopyContext, Landed
from airflow_provider_s3resume.transfer.layouts import layout_of_copy
from airflow_provider_s3resume.transfer.outcomes import Proof, Status
from airflow_provider_s3resume.transfer.parts import PartMover
from airflow_provider_s3resume.transfer.proving import (
    PLAIN_ENCRYPTION,
    Expected,
    WrittenParts,
    algorithm_for,
    attribute_notes,
    check_landed,
    expected_of,
    is_expected,
    look,
    source_algorithm_for,
    source_proof,
    without_target,
)
from airflow_provider_s3resume.transfer.rereading import prove_whole
from airflow_provider_s3resume.transfer.uploads import UploadRecord, same_part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_s3resume.plan.manifest import CopyEntry
    from airflow_provider_s3resume.plan.objects import ObjectInfo
    from airflow_provider_s3resume.storage.base import Condition, NewUpload, Written
    from airflow_provider_s3resume.transfer.reading import ExactSource
    from airflow_provider_s3resume.transfer.stopping import StopSignal

log = logging.getLogger(__name__)

_ROUNDS = 5
_COMPLETE_TRIES = 4
_FIRST_WAIT_S = 0.2


class _StartOverError(S3ResumeError):
    """Inside this module: the upload cannot be used, for this reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """An upload to go on with."""

    record: UploadRecord
    kept: tuple[PartRecord, ...] = ()
    unrecorded: tuple[ListedPart, ...] = ()
    missing: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def copy_multipart(
    context: CopyContext, entry: CopyEntry, source: ExactSource, info: ObjectInfo
) -> Landed:
    """Copy one object in parts.

    :raises SourceChangedError: if the source is another object by now.
    :raises TargetChangedError: if the target is not what the plan saw.
    :raises VerificationError: if the parts do not make the source; the upload was aborted.
    :raises TransientStoreError: if other workers keep taking the upload away.
    """
    copy = _MultipartCopy(context, entry, source, info)
    for done in range(_ROUNDS):
        try:
            return copy.attempt()
        except (UploadNotFoundError, PreconditionFailedError, _StartOverError) as error:
            # Another worker completed, aborted or took over the upload, or its parts are not ours.
            context.stop.check()
            copy.give_up(error)
            landed = copy.landed_elsewhere()
            if landed is not None:
                return landed
            log.warning("%s: starting over: %s", copy.uri, error)
            # Two workers that keep in step would take the upload from each other for ever.
            context.stop.wait(random.uniform(0, _FIRST_WAIT_S) * 2**done)
            last = error
    detail = f"started over {_ROUNDS} times, the last time because: {last}"
    raise TransientStoreError("CompleteMultipartUpload", copy.uri, detail) from last


class _MultipartCopy:
    def __init__(
        self, context: CopyContext, entry: CopyEntry, source: ExactSource, info: ObjectInfo
    ) -> None:
        self._context = context
        self._entry = entry
        self._source = source
        self._info = info
        self._key = entry.target_key
        self._algorithm = algorithm_for(info, context.target.capabilities, COMBINABLE)
        self._source_algorithm = source_algorithm_for(info, self._algorithm)
        self._source_uri = context.source_uri(entry.key)
        self._target_uri = context.target_uri(entry.target_key)
        self._last_expected: Expected | None = None
        self._upload_id: str | None = None
        self._reason: str | None = None
        self._made: tuple[NewUpload, list[str]] | None = None
        self._moved: list[int] = []
        self.uri = uri_of(context.target, entry.target_key)

    def attempt(self) -> Landed:
        """Prepare or resume an upload, move what is missing, prove, complete."""
        prepared = self._prepare()
        if isinstance(prepared, Landed):
            return prepared
        with self._context.stop.child() as stop:
            reread = self._move(prepared, stop)
        return self._finish(prepared, reread)

    def give_up(self, error: S3ResumeError) -> None:
        """Leave no upload behind that no record names, and remember why."""
        if isinstance(error, _StartOverError):
            self._reason = str(error)
        if self._upload_id is not None:
            self._context.target.abort_upload(self._key, self._upload_id)
            self._upload_id = None

    def landed_elsewhere(self) -> Landed | None:
        """Return the target object if it is provably what this copy would have made."""
        expected = self._last_expected
        found = look(self._context.target, self._key)
        if expected is None:
            expected = Expected(
                size=self._info.size,
                etag=normal_etag(self._info.etag),
                checksum=next((c for c in self._info.checksums if c.full_object), None),
            )
        if found is None or not is_expected(found, expected):
            return None
        log.info("%s: is there already, completed by another attempt", self.uri)
        same = normal_etag(found.etag) == normal_etag(self._info.etag)
        return Landed(
            status=Status.ALREADY_THERE,
            target_etag=normal_etag(found.etag),
            proof=Proof.ETAG if same else self._proof_of_last(),
            sent_parts=len(self._moved),
            bytes_moved=sum(self._moved),
            checkpointed=True,
            # Whoever completed it may have been asked for other things.
            notes=tuple(self._lost(found)),
        )

    def _proof_of_last(self) -> Proof:
        """Return what the digests of the parts last sent prove, now that they have landed."""
        ours = self._last_expected.checksums if self._last_expected is not None else []
        return source_proof(self._info, ours) or Proof.PARTS

    # --- before the parts -------------------------------------------------------------------

    def _prepare(self) -> _Prepared | Landed:
        loaded = self._context.records.load(self._source_uri, self._target_uri)
        if isinstance(loaded, Stored):
            return self._resume(loaded)
        if isinstance(loaded, str):
            log.warning("%s: starting over: %s", self.uri, loaded)
        return self._begin(None, superseded=(), damaged=isinstance(loaded, str))

    def _resume(self, stored: Stored) -> _Prepared | Landed:
        checkpoint = stored.checkpoint
        listed = self._listed(checkpoint.upload_id)
        decision = decide(
            checkpoint,
            source_uri=self._source_uri,
            target_uri=self._target_uri,
            identity=self._source.identity,
            algorithm=self._algorithm_name(),
            asked=digest_of(self._upload()[0]),
            listed=listed,
            source_algorithm=self._source_algorithm_name(),
        )
        if isinstance(decision, Continue):
            return self._continue(stored, decision)
        if listed is None and checkpoint.upload_id is not None:
            landed = self._completed_before(checkpoint)
            if landed is not None:
                return landed
        return self._start_over(stored, decision)

    def _continue(self, stored: Stored, decision: Continue) -> _Prepared:
        count = stored.checkpoint.layout.count
        self._upload_id = decision.upload_id
        log.info(
            "%s: resuming upload: kept %d of %d parts, %d to be read again, %d to be sent",
            self.uri,
            len(decision.kept) + len(decision.unrecorded),
            count,
            len(decision.unrecorded),
            len(decision.missing),
        )
        # Parts without the digests that are needed now are read again, and recorded with them.
        checkpoint = replace(
            stored.checkpoint, parts=decision.kept, source_algorithm=self._source_algorithm_name()
        )
        return _Prepared(
            record=UploadRecord(self._context.records, replace(stored, checkpoint=checkpoint)),
            kept=decision.kept,
            unrecorded=decision.unrecorded,
            missing=decision.missing,
        )

    def _start_over(self, stored: Stored, decision: StartOver) -> _Prepared:
        # That the upload is gone is no news if it was given up for another reason.
        reason = self._reason or decision.reason
        log.warning("%s: starting over: %s", self.uri, reason)
        checkpoint = stored.checkpoint
        strays = stray_notes(self._context.target, self._key, checkpoint)
        given_up = checkpoint.superseded
        if checkpoint.upload_id is not None:
            given_up += (checkpoint.upload_id,)
        for upload_id in given_up:
            self._context.target.abort_upload(self._key, upload_id)
        prepared = self._begin(stored, superseded=given_up, damaged=False)
        return replace(prepared, notes=(*prepared.notes, f"started over: {reason}", *strays))

    def _begin(
        self, previous: Stored | None, *, superseded: tuple[str, ...], damaged: bool
    ) -> _Prepared:
        layout, notes = layout_of_copy(self._context, self._source, self._info)
        intent = Checkpoint(
            source_uri=self._source_uri,
            target_uri=self._target_uri,
            identity=self._source.identity,
            layout=layout,
            upload_id=None,
            algorithm=self._algorithm_name(),
            uploads_before=self._uploads_before(),
            superseded=superseded,
            started=self._context.started,
            asked=digest_of(self._upload()[0]),
            source_algorithm=self._source_algorithm_name(),
        )
        # The intent comes first: whatever a kill leaves behind, the next attempt can tell.
        stored = self._context.records.save(intent, previous, force=damaged)
        upload, _ = self._upload()
        upload_id = self._context.target.create_upload(self._key, upload)
        self._upload_id = upload_id
        try:
            stored = self._context.records.save(replace(intent, upload_id=upload_id), stored)
        except S3ResumeError:
            # Only this process knows its id: the next attempt could not tell whose it is.
            self._context.target.abort_upload(self._key, upload_id)
            raise
        missing = tuple(range(1, layout.count + 1))
        log.info("%s: new upload of %d parts of %d bytes", self.uri, layout.count, layout.part_size)
        record = UploadRecord(self._context.records, stored)
        return _Prepared(record=record, missing=missing, notes=notes)

    def _uploads_before(self) -> tuple[str, ...]:
        try:
            return tuple(u.upload_id for u in self._context.target.list_uploads(self._key))
        except (ListingError, UnsupportedError):
            return (UNKNOWN_UPLOADS,)

    def _listed(self, upload_id: str | None) -> list[ListedPart] | None:
        if upload_id is None:
            return None
        try:
            return self._parts_of(upload_id)
        except UploadNotFoundError:
            return None

    def _parts_of(self, upload_id: str) -> list[ListedPart]:
        """List an upload's parts; the same part listed twice, to the last digit, is one.

        SeaweedFS lists a part as often as it was sent, so also when only an answer was lost.
        """
        return list(dict.fromkeys(self._context.target.list_parts(self._key, upload_id)))

    def _completed_before(self, checkpoint: Checkpoint) -> Landed | None:
        """Look whether the vanished upload was completed, and its end not recorded."""
        if len(checkpoint.parts) != checkpoint.layout.count:
            return self.landed_elsewhere()
        if checkpoint.identity != self._source.identity:
            return None
        self._last_expected = self._expected(checkpoint.parts)
        landed = self.landed_elsewhere()
        if landed is None:
            return None
        kept = len(checkpoint.parts)
        self._context.progress.add(parts_kept=kept)
        return replace(landed, kept_parts=kept, status=Status.COPIED)

    def _upload(self) -> tuple[NewUpload, list[str]]:
        if self._made is None:
            full = self._context.target.capabilities.full_object_checksum
            self._made = upload_of(
                self._context,
                self._entry,
                self._info,
                None if self._algorithm is ChecksumAlgorithm.MD5 else self._algorithm,
                full_object=full and self._algorithm in COMBINABLE,
            )
        return self._made

    def _algorithm_name(self) -> str:
        return self._algorithm.value if self._algorithm else "none"

    def _source_algorithm_name(self) -> str:
        return self._source_algorithm.value if self._source_algorithm else ""

    def _expected(self, parts: Sequence[PartRecord]) -> Expected:
        expected = expected_of(self._info.size, parts, self._algorithm, self._source_algorithm)
        # Where ETags are made in another way, the object's is not that of its parts' MD5s, though
        # these have ETags of that form: OSS, by its S3-compatible endpoint, is such a service.
        made_of_md5s = self._context.target.capabilities.md5_etags
        return expected if made_of_md5s else replace(expected, etag=None)

    # --- the parts --------------------------------------------------------------------------

    def _move(self, prepared: _Prepared, stop: StopSignal) -> int:
        """Send and prove what is missing; returns how many parts were only read again."""
        record = prepared.record
        mover = PartMover(
            self._context,
            self._source,
            self._key,
            record,
            self._algorithm,
            stop,
            self._moved,
            self._source_algorithm,
        )
        self._context.progress.add(parts_kept=len(prepared.kept))
        with record.flushing():
            try:
                unproven = mover.reread_all(prepared.unrecorded)
            except VerificationError as error:
                raise _StartOverError(str(error)) from error
            again = tuple(part.part_number for part in unproven)
            mover.send_all(prepared.missing + again)
        return len(prepared.unrecorded) - len(again)

    # --- after the parts --------------------------------------------------------------------

    def _finish(self, prepared: _Prepared, reread: int) -> Landed:
        upload, notes = self._upload()
        checkpoint = prepared.record.checkpoint
        parts, shown = self._covering(prepared.record)
        expected = self._expected(parts)
        self._last_expected = expected
        proof = self._proven(checkpoint, expected, parts)
        condition = self._condition()
        written = self._complete(checkpoint, parts, expected, condition, upload)
        found = look(self._context.target, self._key)
        check_landed(self.uri, found, expected, written.etag if written else None)
        lost = self._lost(found) if found else []
        arrived = shown or self._have_arrived(found, expected)
        return Landed(
            status=Status.COPIED,
            target_etag=normal_etag(found.etag) if found else None,
            proof=proof if arrived else without_target(proof, self._algorithm),
            sent_parts=len(self._moved),
            kept_parts=len(prepared.kept) + reread,
            reread_parts=reread,
            bytes_moved=sum(self._moved),
            unprotected=condition is None,
            checkpointed=True,
            superseded=checkpoint.superseded,
            notes=(*notes, *prepared.notes, *lost),
        )

    def _lost(self, found: ObjectInfo) -> list[str]:
        upload, _ = self._upload()
        asked = replace(self._info, attributes=upload.attributes)
        return attribute_notes(self.uri, asked, found, upload.options)

    def _condition(self) -> Condition | None:
        supported = self._context.target.capabilities.conditional_complete
        return condition_of(self._entry, supported=supported)

    def _have_arrived(self, found: ObjectInfo | None, expected: Expected) -> bool:
        """Tell whether the target's service is known to have looked at the bytes that arrived."""
        # Either each part's Content-MD5 was sent, or each part's ETag was compared.
        if self._algorithm is ChecksumAlgorithm.MD5 or self._md5_etags():
            return True
        ours = [expected.checksum] if expected.checksum is not None else []
        return found is not None and compare_checksums(found.checksums, ours) is Match.SAME

    def _md5_etags(self) -> bool:
        plain = self._context.config.options.encryption in PLAIN_ENCRYPTION
        return plain and self._context.target.capabilities.md5_etags

    def _covering(self, record: UploadRecord) -> tuple[list[PartRecord], bool]:
        """Return the parts that ListParts gives, if they are ours and cover the object.

        :returns: also whether the target shows the checksum of each, as it was sent.
        """
        checkpoint = record.checkpoint
        listed = self._parts_of(checkpoint.upload_id or "")
        mine = record.parts()
        seen: dict[int, PartRecord] = {}
        for part in listed:
            known = mine.get(part.part_number)
            if part.part_number in seen:
                raise _StartOverError(f"part {part.part_number} is listed twice")
            if known is None or known.size != part.size or not same_part(known, part.etag):
                raise _StartOverError(f"part {part.part_number} is not ours")
            seen[part.part_number] = known
        absent = [n for n in range(1, checkpoint.layout.count + 1) if n not in seen]
        if absent:
            raise _StartOverError(f"part {absent[0]} is not listed by the target")
        shown = all(
            p.checksum is not None and p.checksum == mine[p.part_number].checksum for p in listed
        )
        return [seen[number] for number in sorted(seen)], shown

    def _proven(
        self, checkpoint: Checkpoint, expected: Expected, parts: Sequence[PartRecord]
    ) -> Proof:
        written = WrittenParts(parts=parts, md5_etags=self._md5_etags(), algorithm=self._algorithm)
        try:
            return prove_whole(
                self._context, self._source, self._info, checkpoint.layout, expected, written
            )
        except VerificationError:
            self._context.target.abort_upload(self._key, checkpoint.upload_id or "")
            self._context.records.forget(self._source_uri, self._target_uri)
            raise

    def _complete(
        self,
        checkpoint: Checkpoint,
        parts: Sequence[PartRecord],
        expected: Expected,
        condition: Condition | None,
        upload: NewUpload,
    ) -> Written | None:
        """Complete, and where the answer is lost or unclear, look instead of guessing (c16).

        :returns: the answer, ``None`` if it was lost and the object is there.
        """
        for attempt in range(_COMPLETE_TRIES):
            self._context.stop.check()
            try:
                return self._context.target.complete_upload(
                    self._key,
                    checkpoint.upload_id or "",
                    parts,
                    size=expected.size,
                    checksum=expected.checksum if upload.full_object else None,
                    algorithm=upload.algorithm,
                    condition=condition,
                )
            except (PreconditionFailedError, ObjectNotFoundError, UploadNotFoundError) as error:
                if not is_expected(look(self._context.target, self._key), expected):
                    if isinstance(error, UploadNotFoundError):
                        raise
                    raise self._target_changed() from error
                if attempt == 0:
                    raise _StartOverError("another worker completed it") from error
                break  # It was this one's, whose answer was lost.
            except ThrottledError:
                raise  # Refused, and repeated by the store's layers as often as can help.
            except TransientStoreError:
                if is_expected(look(self._context.target, self._key), expected):
                    break
                if attempt == _COMPLETE_TRIES - 1:
                    raise
                self._context.stop.wait(_FIRST_WAIT_S * 2**attempt)
        # The object may be another worker's all the same; then the upload is still there.
        self._context.target.abort_upload(self._key, checkpoint.upload_id or "")
        return None

    def _target_changed(self) -> TargetChangedError:
        saw = f"ETag {self._entry.target_etag}" if self._entry.target_there else "no object"
        return TargetChangedError(
            f"{self.uri}: somebody changed it since the plan, which saw {saw}; it was not "
            "replaced. The parts are kept: the next plan looks again and goes on from them"
        )
