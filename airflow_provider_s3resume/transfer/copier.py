"""The copy of one object: which way it is taken, and what a changed source means."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import (
    ObjectArchivedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    SourceChangedError,
    TransientStoreError,
    UnsupportedError,
)
from airflow_provider_s3resume.plan.digests import part_count_of_etag
from airflow_provider_s3resume.plan.objects import SourceIdentity
from airflow_provider_s3resume.plan.parts import check_object_size
from airflow_provider_s3resume.storage.base import uri_of
from airflow_provider_s3resume.transfer.absence import LISTED_ALL_THE_SAME, listed_exactly
from airflow_provider_s3resume.transfer.checkpoints import CheckpointRecords, Stored
from airflow_provider_s3resume.transfer.cleanup import abort_uploads_of
from airflow_provider_s3resume.transfer.config import OnSourceChange
from airflow_provider_s3resume.transfer.context import Landed
from airflow_provider_s3resume.transfer.lookups import lookups_of
from airflow_provider_s3resume.transfer.multipart import copy_multipart
from airflow_provider_s3resume.transfer.outcomes import Outcome, Proof, Status
from airflow_provider_s3resume.transfer.reading import ExactSource
from airflow_provider_s3resume.transfer.service_copy import copy_by_service
from airflow_provider_s3resume.transfer.single import copy_single

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_s3resume.plan.manifest import CopyEntry
    from airflow_provider_s3resume.plan.objects import ObjectInfo
    from airflow_provider_s3resume.transfer.context import CopyContext

log = logging.getLogger(__name__)


def copy_object(context: CopyContext, entry: CopyEntry) -> Outcome:
    """Copy one object of a manifest.

    A source object that is not the planned one any more is copied as it is now, once, or fails,
    as the configuration says; a source object that is gone is reported as gone.

    :raises S3ResumeError: whatever made the copy fail.
    """
    try:
        return _copy(context, entry, entry.identity(), planned=True)
    except ObjectArchivedError as error:
        detail = (
            f"{error.detail}. The object is archived (storage class {entry.storage_class}): "
            "restore it, then run again"
        )
        raise ObjectArchivedError(error.operation, error.subject, detail) from error
    except SourceChangedError:
        if entry.version_id is not None:
            return _version_gone(context, entry)
        if context.config.on_source_change is OnSourceChange.FAIL:
            raise
    context.stop.check()
    try:
        now = context.source.head(entry.key)
    except ObjectNotFoundError as error:
        _check_gone(context, entry, error)
        return _gone(context, entry)
    log.warning(
        "%s: the source was replaced since the plan (was ETag %s, %d bytes; is ETag %s, %d "
        "bytes): starting over with what it is now",
        uri_of(context.source, entry.key),
        entry.etag,
        entry.size,
        now.etag,
        now.size,
    )
    outcome = _copy(context, entry, now.identity(), planned=False)
    return replace(outcome, notes=(*outcome.notes, "the source was replaced since the plan"))


def _copy(
    context: CopyContext, entry: CopyEntry, identity: SourceIdentity, *, planned: bool
) -> Outcome:
    check_object_size(entry.key, identity.size, context.target.limits)
    entry = context.by_service.as_left(entry)
    if identity.size and not (identity.etag or identity.version_id):
        uri = uri_of(context.source, entry.key)
        detail = "the source gives neither an ETag nor a version: ranges of it could be mixed"
        raise UnsupportedError("GetObject", uri, detail)
    source = ExactSource(context.source, entry.key, identity, context.stop)
    landed, single = None, _Singles.of(context).has(identity.size, identity.etag)
    if _is_trial(context, entry, identity):
        single = False
    elif _copies_whole(context, entry, identity):
        info = _head(context, source, planned=planned)
        done = copy_by_service(context, entry, source, info)
        if isinstance(done, Landed):
            landed = _cleared(context, entry, done, planned=planned)
        else:
            entry = done
    if landed is None and single:
        landed = copy_single(context, entry, source)
        landed = _cleared(context, entry, landed, planned=planned)
    if landed is None:
        landed = _in_parts(context, entry, source, planned=planned)
    return outcome_of(entry, identity, landed)


def _is_trial(context: CopyContext, entry: CopyEntry, identity: SourceIdentity) -> bool:
    """Tell whether the service would replace something by the first copy that it makes.

    One that knows nothing of copies takes CopyObject for an empty PutObject. So this is done in
    parts, which replace nothing before they are proven (c18).
    """
    by_service = context.by_service
    untried = by_service.calls is not None and not by_service.has_copied
    return untried and entry.target_there and identity.size > 0


def _copies_whole(context: CopyContext, entry: CopyEntry, identity: SourceIdentity) -> bool:
    """Tell whether the target's service copies an object by itself, and in one request.

    One that an earlier attempt began in parts is gone on with in parts.
    """
    if context.by_service.calls is None:
        return False
    singles = _Singles.of(context)
    if singles.has(identity.size, identity.etag):
        return True
    fits = identity.size <= context.target.limits.max_single_put
    return fits and not singles.are_parts(identity.etag) and not _had_checkpoint(context, entry)


def _in_parts(
    context: CopyContext, entry: CopyEntry, source: ExactSource, *, planned: bool
) -> Landed:
    uris = context.source_uri(entry.key), context.target_uri(entry.target_key)
    lookups = lookups_of(context, source, entry.target_key, uris)
    if not _had_checkpoint(context, entry):
        lookups.begin(context, source)
    info = _head(context, source, planned=planned)
    return copy_multipart(context, entry, source, info, lookups)


def outcome_of(entry: CopyEntry, identity: SourceIdentity, landed: Landed) -> Outcome:
    """Return the outcome of an object that has landed."""
    return Outcome(
        key=entry.key,
        target_key=entry.target_key,
        status=landed.status,
        size=identity.size,
        source_etag=identity.etag,
        target_etag=landed.target_etag,
        proof=landed.proof,
        sent_parts=landed.sent_parts,
        kept_parts=landed.kept_parts,
        reread_parts=landed.reread_parts,
        bytes_moved=landed.bytes_moved,
        unprotected=landed.unprotected,
        by_service=landed.by_service,
        checkpointed=landed.checkpointed,
        superseded=landed.superseded,
        notes=landed.notes,
    )


def smallness(context: CopyContext, most: int) -> Callable[[CopyEntry], bool]:
    """Return what tells whether an object of up to ``most`` bytes needs one GET and one PUT alone.

    Whatever may need more than that, an error with good reasons included, is for ``copy_object``.
    """
    singles = _Singles.of(context)
    largest = min(most, context.target.limits.max_object_size)

    def is_small(entry: CopyEntry) -> bool:
        return (
            entry.size <= largest
            and bool(entry.etag)
            and singles.has(entry.size, entry.etag)
            and not _had_checkpoint(context, entry)
        )

    return is_small


@dataclass(frozen=True, slots=True)
class _Singles:
    """The objects that are written in one request.

    :param most: bytes.
    :param layouts: an object that the source holds in parts is copied in parts, however small, so
        that the target's ETag comes out as the source's.
    """

    most: int
    layouts: bool

    @classmethod
    def of(cls, context: CopyContext) -> _Singles:
        config, limits = context.config, context.target.limits
        return cls(
            most=min(config.multipart_threshold, limits.max_single_put, config.memory_budget // 2),
            layouts=config.reproduce_layout and context.source.capabilities.part_layout,
        )

    def has(self, size: int, etag: str | None) -> bool:
        if size == 0:
            return True
        return size <= self.most and not self.are_parts(etag)

    def are_parts(self, etag: str | None) -> bool:
        """Tell whether the source holds an object in parts that are to be reproduced."""
        return self.layouts and part_count_of_etag(etag) is not None


def _head(context: CopyContext, source: ExactSource, *, planned: bool) -> ObjectInfo:
    """Return the source's headers, if it is still the object that was meant.

    :raises SourceChangedError: if it is not.
    """
    try:
        info = context.source.head(source.key, version_id=source.identity.version_id)
    except ObjectNotFoundError as error:
        raise source.changed() from error
    same = info.size == source.identity.size and info.etag == source.identity.etag
    if not same and (planned or source.identity.version_id is None):
        raise source.changed()
    return info


def _cleared(context: CopyContext, entry: CopyEntry, landed: Landed, *, planned: bool) -> Landed:
    """Abort what was begun under the key of an object that was written in one request."""
    # An earlier, larger object under this key may have left an upload behind: in another attempt,
    # or in this one, if it was replaced while it was copied.
    if planned and not _had_checkpoint(context, entry):
        return landed
    notes = _abort_earlier(context, entry)
    return replace(landed, checkpointed=True, notes=(*landed.notes, *notes))


def _had_checkpoint(context: CopyContext, entry: CopyEntry) -> bool:
    if not context.known_checkpoints:
        return False
    pair = context.source_uri(entry.key), context.target_uri(entry.target_key)
    return CheckpointRecords.name_of(*pair) in context.known_checkpoints


def _abort_earlier(context: CopyContext, entry: CopyEntry) -> tuple[str, ...]:
    """Abort what an earlier attempt left behind of this object; its checkpoint stays.

    :returns: notes on uploads that may be ours and were left alone.
    """
    stored = context.records.load(
        context.source_uri(entry.key), context.target_uri(entry.target_key)
    )
    if not isinstance(stored, Stored):
        return ()
    return abort_uploads_of(context.target, entry.target_key, stored.checkpoint, context.records)


def _check_gone(context: CopyContext, entry: CopyEntry, error: ObjectNotFoundError) -> None:
    """Make sure that the object is gone, and not its bucket, or our access to it.

    :raises StoreError: if the bucket does not answer, or lists the object all the same.
    """
    context.source.check_access(entry.key)
    found = listed_exactly(context.source, entry.key)
    if found is not None and found.hindrance is not None:
        detail = f"it was planned, and cannot be copied any more: {found.hindrance.value}"
        raise ObjectNotFoundError("HeadObject", error.subject, detail) from error
    if found is not None:
        uri = uri_of(context.source, entry.key)
        raise TransientStoreError("HeadObject", uri, LISTED_ALL_THE_SAME) from error


def _version_gone(context: CopyContext, entry: CopyEntry) -> Outcome:
    """Return the end of a copy of a version that was deleted since the plan.

    A version never changes, and a listing of current objects says nothing of it; so both HEAD and a
    GET, whose answer has a body, have to miss it in a bucket that answers.

    :raises SourceChangedError: if it is there after all: only "null" is a name that passes on.
    :raises StoreError: if the bucket does not answer.
    """
    context.stop.check()
    identity = entry.identity()
    source = ExactSource(context.source, entry.key, identity, context.stop)
    try:
        context.source.head(entry.key, version_id=entry.version_id)
    except ObjectNotFoundError:
        context.source.check_access(entry.key)
    else:
        raise source.changed()
    try:
        context.source.open_range(entry.key, None, identity).close()
    except ObjectNotFoundError:
        return _gone(context, entry)
    except PreconditionFailedError as error:
        raise source.changed() from error
    uri = uri_of(context.source, entry.key)
    raise TransientStoreError("HeadObject", uri, "HEAD does not find the version, GET does")


def _gone(context: CopyContext, entry: CopyEntry) -> Outcome:
    notes = _abort_earlier(context, entry)
    what = "object" if entry.version_id is None else "version"
    return Outcome(
        key=entry.key,
        target_key=entry.target_key,
        status=Status.GONE,
        size=entry.size,
        source_etag=entry.etag,
        proof=Proof.NONE,
        checkpointed=True,
        notes=(f"the source {what} was deleted since the plan", *notes),
    )
