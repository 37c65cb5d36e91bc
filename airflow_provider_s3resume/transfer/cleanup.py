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
from airflow_provider_s3resume.plan.objects import object_uri
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
    """An unfinished upload that a record of ours holds, and why it is known to be ours."""

    key: str
    upload_id: str
    reason: str


def own_uploads(target: ObjectStore, target_key: str, checkpoint: Checkpoint) -> list[OwnUpload]:
    """Return the unfinished uploads of a key that a checkpoint proves to be ours.

    They are ours if the record names their id; or if only an intent was recorded, they were not
    there before it, and have no part: no part is sent before the id is recorded.
    """
    found: list[OwnUpload] = []
    named = {checkpoint.upload_id, *checkpoint.superseded}
    intent = checkpoint.upload_id is None and UNKNOWN_UPLOADS not in checkpoint.uploads_before
    for upload in target.list_uploads(target_key):
        if upload.key != target_key:
            continue
        known = upload.upload_id in named
        fresh = intent and upload.upload_id not in checkpoint.uploads_before
        if known:
            reason = "recorded"
        elif fresh and _is_empty(target, target_key, upload.upload_id):
            reason = "intended"
        else:
            continue
        found.append(OwnUpload(key=target_key, upload_id=upload.upload_id, reason=reason))
    return found


def _is_empty(target: ObjectStore, key: str, upload_id: str) -> bool:
    try:
        return target.list_parts(key, upload_id) == []
    except UploadNotFoundError:
        return False


def abort_uploads_of(target: ObjectStore, target_key: str, checkpoint: Checkpoint) -> None:
    """Abort the uploads that a checkpoint names, and those that only its intent explains.

    Those named are aborted even where the target cannot list uploads.
    """
    named = (checkpoint.upload_id, *checkpoint.superseded)
    for upload_id in filter(None, named):
        target.abort_upload(target_key, upload_id)
    if checkpoint.upload_id is not None:
        return
    try:
        mine = own_uploads(target, target_key, checkpoint)
    except (ListingError, UnsupportedError) as error:
        uri = object_uri(target.bucket, target_key)
        log.warning("%s: a stray upload may be left: %s", uri, error)
        return
    for upload in mine:
        target.abort_upload(target_key, upload.upload_id)


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
    records.forget(source_uri, target_uri)
    return mine
