"""Objects to copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_s3resume.plan.resume import PartRecord
from airflow_provider_s3resume.storage.base import NewUpload

if TYPE_CHECKING:
    from airflow_provider_s3resume.storage.base import ObjectStore


def put(store: ObjectStore, key: str, body: bytes, *, part_size: int | None = None) -> None:
    """Write an object, in parts of this size if one is given."""
    if part_size is None:
        store.put_object(key, body, upload=NewUpload(), checksum=None)
        return
    upload_id = store.create_upload(key, NewUpload())
    pieces = [body[n : n + part_size] for n in range(0, len(body), part_size)]
    parts = [
        PartRecord(
            part_number=number,
            size=len(piece),
            etag=store.upload_part(key, upload_id, number, piece, None),
        )
        for number, piece in enumerate(pieces, 1)
    ]
    store.complete_upload(key, upload_id, parts, size=len(body), checksum=None)
