"""Aborting stray uploads: only those that our own records name (c34).

Age, prefix or initiator never make an upload ours: on a managed Airflow every initiator is one
role, and other tools write to the same buckets.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import (
    ListingError,
    UnsupportedError,
    UploadNotFoundError,
)
from airflow_provider_s3resume.storage.base import uri_of
from airflow_provider_s3resume.transfer.checkpoints import Stored

if TYPE_CHECKING:
    from airflow_provider_s3resume.plan.resume import Checkpoint
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.checkpoints import CheckpointRecords

log = logging.getLogger(__name__)

UNKNOWN_UPLOADS = "*"
"""Among the uploads before an intent: they could not be listed, so any may have been there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnUpload:
    """An unfinished upload whose id a record of ours holds."""

    key: str
    upload_id: str


def own_uploads(target: ObjectStore, target_key: str, checkpoint: Checkpoint) -> list[OwnUpload]:
    """Return the unfinished uploads of a key whose ids a checkpoint names."""
    named = {checkpoint.upload_id, *checkpoint.superseded}
    return [
        OwnUpload(key=target_key, upload_id=upload.upload_id)
        for upload in target.list_uploads(target_key)
        if upload.key == target_key and upload.upload_id in named
    ]


def stray_notes(target: ObjectStore, target_key: str, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Name, in the log too, what a kill between Create and the record of its id may have left.

    Such an upload was not there before the intent and has no part: none is sent before the id is
    recorded. But another tool may have begun one like it meanwhile, and no service shows anything
    by which to tell them apart. So it is never aborted, only named (c34).
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
            and _is_empty(target, target_key, upload.upload_id)
        )
    except (ListingError, UnsupportedError) as error:
        notes = (f"a stray upload may be left: {error}",)
    for note in notes:
        log.warning("%s: %s", uri_of(target, target_key), note)
    return notes


def _is_empty(target: ObjectStore, key: str, upload_id: str) -> bool:
    try:
        return target.list_parts(key, upload_id) == []
    except UploadNotFoundError:
        return False


def abort_uploads_of(
    target: ObjectStore, target_key: str, checkpoint: Checkpoint
) -> tuple[str, ...]:
    """Abort the uploads that a checkpoint names, even where the target cannot list uploads.

    :returns: notes on uploads that may be ours and are left.
    """
    for upload_id in filter(None, (checkpoint.upload_id, *checkpoint.superseded)):
        target.abort_upload(target_key, upload_id)
    return stray_notes(target, target_key, checkpoint)


def abort_own_uploads(
    target: ObjectStore,
    target_key: str,
    records: CheckpointRecords,
    source_uri: str,
    target_uri: str,
) -> list[OwnUpload]:
    """Abort an object's unfinished uploads that our record holds, then forget the record.

    :returns: what was aborted; nothing if there is no usable record.
    """
    stored = records.load(source_uri, target_uri)
    if not isinstance(stored, Stored):
        return []
    mine = own_uploads(target, target_key, stored.checkpoint)
    for upload in mine:
        target.abort_upload(target_key, upload.upload_id)
    stray_notes(target, target_key, stored.checkpoint)
    records.forget(source_uri, target_uri)
    return mine
