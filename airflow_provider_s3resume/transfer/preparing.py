"""Before the parts of a copy: an upload to go on with, or a new one that a record names.

Whatever a kill leaves behind between two calls, the next attempt can tell whose it is (c17).
"""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import (
    S3ResumeError,
    UploadNotFoundError,
)
from airflow_provider_s3resume.plan.resume import (
    Checkpoint,
    Continue,
    ListedPart,
    PartRecord,
    StartOver,
    decide,
)
from airflow_provider_s3resume.transfer.checkpoints import Stored
from airflow_provider_s3resume.transfer.cleanup import stray_notes
from airflow_provider_s3resume.transfer.context import Landed
from airflow_provider_s3resume.transfer.layouts import layout_of_copy
from airflow_provider_s3resume.transfer.outcomes import Status
from airflow_provider_s3resume.transfer.uploads import UploadRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_s3resume.plan.parts import PartLayout
    from airflow_provider_s3resume.transfer.subject import CopySubject

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An upload to go on with, or to begin.

    :param upload: its record, once it has begun.
    :param begin: begins it; ``None`` if it has begun. Parts may be read meanwhile.
    :param unrecorded: parts that the target holds and no record knows; to be read again.
    :param notes: for the report.
    """

    layout: PartLayout
    upload: Future[UploadRecord]
    begin: Callable[[], UploadRecord] | None = None
    kept: tuple[PartRecord, ...] = ()
    unrecorded: tuple[ListedPart, ...] = ()
    missing: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def record(self) -> UploadRecord:
        """The record of the upload, which has begun."""
        return self.upload.result()


def prepare(copy: CopySubject) -> Prepared | Landed:
    """Return an upload that can be gone on with, or what an earlier attempt completed.

    :raises PreconditionFailedError: if another worker took the checkpoint over.
    """
    loaded = copy.lookups.record.answer()
    if isinstance(loaded, Stored):
        copy.lookups.drop()
        return _resume(copy, loaded)
    if isinstance(loaded, str):
        log.warning("%s: starting over: %s", copy.uri, loaded)
    return _begin(copy, None, superseded=(), damaged=isinstance(loaded, str))


def _resume(copy: CopySubject, stored: Stored) -> Prepared | Landed:
    checkpoint = stored.checkpoint
    listed = _listed(copy, checkpoint.upload_id)
    if copy.context.target.capabilities.reads_back:
        checkpoint = _with_log(checkpoint, listed or ())
    decision = decide(
        checkpoint,
        source_uri=copy.source_uri,
        target_uri=copy.target_uri,
        identity=copy.source.identity,
        algorithm=copy.algorithm_name,
        asked=copy.asked(),
        listed=listed,
        source_algorithm=copy.source_algorithm_name,
    )
    if isinstance(decision, Continue):
        return _continue(copy, stored, decision)
    if listed is None and checkpoint.upload_id is not None:
        landed = _completed_before(copy, checkpoint)
        if landed is not None:
            return landed
    return _start_over(copy, stored, decision)


def _with_log(checkpoint: Checkpoint, listed: Iterable[ListedPart]) -> Checkpoint:
    """Return a checkpoint with the parts that a folder's own log says are on its disk.

    It was written after they were read back and compared with their checksum, as the checkpoint is,
    and sooner: what it knows need not be read at the source again.
    """
    logged = {
        part.part_number: PartRecord(
            part_number=part.part_number, size=part.size, etag=part.etag, checksum=part.checksum
        )
        for part in listed
        if part.checksum is not None
    }
    recorded = {part.part_number: part for part in checkpoint.parts}
    parts = {**logged, **recorded}
    return replace(checkpoint, parts=tuple(parts[number] for number in sorted(parts)))


def _continue(copy: CopySubject, stored: Stored, decision: Continue) -> Prepared:
    copy.upload_id = decision.upload_id
    log.info(
        "%s: resuming upload: kept %d of %d parts, %d to be read again, %d to be sent",
        copy.uri,
        len(decision.kept) + len(decision.unrecorded),
        stored.checkpoint.layout.count,
        len(decision.unrecorded),
        len(decision.missing),
    )
    # Parts without the digests that are needed now are read again, and recorded with them.
    checkpoint = replace(
        stored.checkpoint, parts=decision.kept, source_algorithm=copy.source_algorithm_name
    )
    upload: Future[UploadRecord] = Future()
    upload.set_result(UploadRecord(copy.context.records, replace(stored, checkpoint=checkpoint)))
    return Prepared(
        layout=checkpoint.layout,
        upload=upload,
        kept=decision.kept,
        unrecorded=decision.unrecorded,
        missing=decision.missing,
    )


def _start_over(copy: CopySubject, stored: Stored, decision: StartOver) -> Prepared:
    # That the upload is gone is no news if it was given up for another reason.
    reason = copy.reason or decision.reason
    log.warning("%s: starting over: %s", copy.uri, reason)
    checkpoint = stored.checkpoint
    strays = stray_notes(copy.context.target, copy.key, checkpoint, copy.context.records)
    given_up = checkpoint.superseded
    if checkpoint.upload_id is not None:
        given_up += (checkpoint.upload_id,)
    for upload_id in given_up:
        copy.context.target.abort_upload(copy.key, upload_id)
    prepared = _begin(copy, stored, superseded=given_up, damaged=False)
    return replace(prepared, notes=(*prepared.notes, f"started over: {reason}", *strays))


def _begin(
    copy: CopySubject, previous: Stored | None, *, superseded: tuple[str, ...], damaged: bool
) -> Prepared:
    context = copy.context
    layout, notes = layout_of_copy(context, copy.source, copy.info, copy.lookups.first_part.answer)
    intent = Checkpoint(
        source_uri=copy.source_uri,
        target_uri=copy.target_uri,
        identity=copy.source.identity,
        layout=layout,
        upload_id=None,
        algorithm=copy.algorithm_name,
        uploads_before=copy.lookups.uploads.answer(),
        superseded=superseded,
        started=context.started,
        asked=copy.asked(),
        source_algorithm=copy.source_algorithm_name,
    )
    return Prepared(
        layout=layout,
        upload=Future(),
        begin=lambda: _create(copy, intent, previous, damaged=damaged),
        missing=tuple(range(1, layout.count + 1)),
        notes=notes,
    )


def _create(
    copy: CopySubject, intent: Checkpoint, previous: Stored | None, *, damaged: bool
) -> UploadRecord:
    """Begin the upload; no part is sent before its id is recorded."""
    context = copy.context
    # The intent comes first: whatever a kill leaves behind, the next attempt can tell.
    stored = context.records.save(intent, previous, force=damaged)
    made_of = replace(copy.upload()[0], layout=intent.layout)
    copy.upload_id = context.target.create_upload(copy.key, made_of)
    try:
        stored = context.records.save(replace(intent, upload_id=copy.upload_id), stored)
    except S3ResumeError:
        # Only this process knows its id: the next attempt could not tell whose it is.
        context.target.abort_upload(copy.key, copy.upload_id)
        raise
    layout = intent.layout
    log.info("%s: new upload of %d parts of %d bytes", copy.uri, layout.count, layout.part_size)
    return UploadRecord(context.records, stored)


def _listed(copy: CopySubject, upload_id: str | None) -> list[ListedPart] | None:
    if upload_id is None:
        return None
    try:
        return copy.parts_of(upload_id)
    except UploadNotFoundError:
        return None


def _completed_before(copy: CopySubject, checkpoint: Checkpoint) -> Landed | None:
    """Look whether the vanished upload was completed, and its end not recorded."""
    if len(checkpoint.parts) != checkpoint.layout.count:
        return copy.landed_elsewhere()
    if checkpoint.identity != copy.source.identity:
        return None
    copy.last_expected = copy.expected(checkpoint.parts)
    landed = copy.landed_elsewhere()
    if landed is None:
        return None
    kept = len(checkpoint.parts)
    copy.context.progress.add(parts_kept=kept)
    return replace(landed, kept_parts=kept, status=Status.COPIED)
