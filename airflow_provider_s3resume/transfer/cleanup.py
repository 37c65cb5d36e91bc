"""Aborting stray uploads: only those that our own records name (c34).

Age, prefix or initiator never make an upload ours: on a managed Airflow every initiator is one
role, and other tools write to the same buckets.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import (
    ListingError,
    TransientStoreError,
    UnsupportedError,
    UploadNotFoundError,
)
from airflow_provider_s3resume.storage.base import uri_of

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.resume import Checkpoint, ListedPart
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.checkpoints import CheckpointRecords

log = logging.getLogger(__name__)

_ABORTS = 3
"""A part that was on its way may be kept by an upload that was aborted: it has to be aborted again
("AbortMultipartUpload")."""


def stray_notes(
    target: ObjectStore, target_key: str, checkpoint: Checkpoint, records: CheckpointRecords
) -> tuple[str, ...]:
    """Name, in the log too, what a kill between Create and the record of its id may have left.

    Such an upload was not there before the intent and has no part: none is sent before the id is
    recorded. But another tool may have begun one like it meanwhile, and no service shows anything
    by which to tell them apart. So it is never aborted, only named, and its intent is kept: a
    cleaner goes by that (c34).
    """
    if checkpoint.upload_id is not None:
        return ()
    known = {*checkpoint.uploads_before, *checkpoint.superseded}
    try:
        notes = tuple(
            f"upload {upload.upload_id} may be a stray one of ours: it is empty, and an attempt "
            "ended between beginning an upload and recording it; abort it if no other tool began it"
            for upload in target.list_uploads(target_key)
            if upload.key == target_key
            and upload.upload_id not in known
            and parts_of_upload(target, target_key, upload.upload_id) == []
        )
    except (ListingError, UnsupportedError) as error:
        notes = (f"a stray upload may be left: {error}",)
    for note in notes:
        log.warning("%s: %s", uri_of(target, target_key), note)
    if notes:
        records.keep_intent(checkpoint)
    return notes


def abort_uploads_of(
    target: ObjectStore, target_key: str, checkpoint: Checkpoint, records: CheckpointRecords
) -> tuple[str, ...]:
    """Abort the uploads that a checkpoint names, even where the target cannot list uploads.

    :returns: notes on uploads that may be ours and are left.
    """
    for upload_id in filter(None, (checkpoint.upload_id, *checkpoint.superseded)):
        target.abort_upload(target_key, upload_id)
    return stray_notes(target, target_key, checkpoint, records)


def parts_of_upload(target: ObjectStore, key: str, upload_id: str) -> list[ListedPart] | None:
    """Return the parts of an unfinished upload, ``None`` if there is no such upload."""
    try:
        return target.list_parts(key, upload_id)
    except UploadNotFoundError:
        return None


def abort_for_good(target: ObjectStore, key: str, upload_id: str) -> None:
    """Abort an upload, and see that nothing of it is left.

    :raises TransientStoreError: if it is still there after three requests.
    """
    for _ in range(_ABORTS):
        target.abort_upload(key, upload_id)
        if parts_of_upload(target, key, upload_id) is None:
            return
    detail = f"it is still there after {_ABORTS} requests; parts of it may be on their way"
    raise TransientStoreError("AbortMultipartUpload", uri_of(target, key), detail)
