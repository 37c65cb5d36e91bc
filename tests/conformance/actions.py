"""What tests do with a store, in a word each."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import ByteRange, ContentAttributes
from airflow_provider_s3resume.plan.resume import PartRecord
from airflow_provider_s3resume.storage.base import Condition, NewUpload, ObjectStore, Written
from airflow_provider_s3resume.storage.checksums import checksum_value


def checksum(algorithm: ChecksumAlgorithm, data: bytes) -> Checksum:
    """Return the checksum of some bytes."""
    return Checksum(algorithm=algorithm, value=checksum_value(algorithm, data), full_object=True)


def best_checksum(store: ObjectStore, data: bytes) -> Checksum:
    """Return the checksum that the store likes best."""
    return checksum(store.capabilities.part_checksums[0], data)


def put(
    store: ObjectStore,
    key: str,
    data: bytes,
    attributes: ContentAttributes | None = None,
    condition: Condition | None = None,
) -> Written:
    """Write an object with a checksum."""
    return store.put_object(
        key,
        data,
        upload=NewUpload(attributes=attributes or ContentAttributes()),
        checksum=best_checksum(store, data),
        condition=condition,
    )


def read(store: ObjectStore, key: str, byte_range: ByteRange | None = None) -> bytes:
    """Read an object, or a range of it, to its end."""
    found = bytearray()
    buffer = memoryview(bytearray(64 * 1024))
    with store.open_range(key, byte_range, store.head(key).identity()) as reader:
        while count := reader.readinto(buffer):
            found += buffer[:count]
    return bytes(found)


def new_upload(store: ObjectStore, attributes: ContentAttributes | None = None) -> NewUpload:
    """Return an upload with the store's best checksums."""
    full = store.capabilities.full_object_checksum
    return NewUpload(
        attributes=attributes or ContentAttributes(),
        algorithm=store.capabilities.part_checksums[0] if full else None,
        full_object=full,
    )


def send_parts(
    store: ObjectStore, key: str, upload_id: str, parts: Sequence[bytes]
) -> list[PartRecord]:
    """Send all parts of an upload."""
    return [
        PartRecord(
            part_number=number,
            size=len(part),
            etag=store.upload_part(key, upload_id, number, part, best_checksum(store, part)),
        )
        for number, part in enumerate(parts, start=1)
    ]


def complete(
    store: ObjectStore,
    key: str,
    upload_id: str,
    records: Sequence[PartRecord],
    data: bytes,
    condition: Condition | None = None,
) -> Written:
    """Complete an upload with the checksum of ``data``, where the store takes one."""
    full = store.capabilities.full_object_checksum
    return store.complete_upload(
        key,
        upload_id,
        records,
        size=sum(record.size for record in records),
        checksum=best_checksum(store, data) if full else None,
        condition=condition,
    )


def put_parts(
    store: ObjectStore,
    key: str,
    parts: Sequence[bytes],
    attributes: ContentAttributes | None = None,
) -> Written:
    """Write a multipart object."""
    upload_id = store.create_upload(key, new_upload(store, attributes))
    records = send_parts(store, key, upload_id, parts)
    return complete(store, key, upload_id, records, b"".join(parts))
