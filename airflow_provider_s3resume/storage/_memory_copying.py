"""Copies that a service in memory makes by itself, from the buckets that it is told of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from airflow_provider_s3resume.exceptions import BucketNotFoundError, ObjectArchivedError
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import ByteRange, ObjectInfo
from airflow_provider_s3resume.storage._memory_bucket import Call, StoredObject
from airflow_provider_s3resume.storage._memory_reader import Transit
from airflow_provider_s3resume.storage._memory_service import MemoryService
from airflow_provider_s3resume.storage.base import Condition, NewUpload, Written
from airflow_provider_s3resume.storage.checksums import checksum_value
from airflow_provider_s3resume.storage.server_side import Origin, TakenForPutError


class _Store(Protocol):
    """What of a store in memory is needed of another bucket."""

    state: MemoryService


class MemoryCopying:
    """The ``ServerSide`` of a bucket in memory.

    :param call: begins an observed call of the bucket that is written to.
    :param buckets: by name, those that its credentials read.
    :param in_transit: changes the bytes of ``CopyObject`` and ``UploadPartCopy``.
    """

    def __init__(
        self,
        state: MemoryService,
        call: Callable[..., AbstractContextManager[Call]],
        buckets: Mapping[str, _Store],
        in_transit: Transit,
    ) -> None:
        self._state = state
        self._call = call
        self._buckets = buckets
        self._in_transit = in_transit

    def look_at(self, origin: Origin) -> ObjectInfo:
        """Return the headers of an origin."""
        with self._call("HeadObject", origin.key, origin=origin) as call:
            found = self._bucket(call, origin).state
            there = self._named(call, origin)
            return found.find(there, origin.identity.version_id).info(origin.key)

    def copy_object(
        self, key: str, origin: Origin, *, upload: NewUpload, condition: Condition | None
    ) -> Written:
        """Copy a whole object."""
        with self._call("CopyObject", key, origin=origin, condition=condition) as call:
            state = self._state
            if state.traits.knows_no_copies:
                raise self._taken_for_put(call, upload, condition)
            stored = self._find(call, origin)
            if len(stored.data) > state.limits.max_single_put:
                raise call.refuse("InvalidRequest", f"a copy of {len(stored.data)} bytes")
            if not state.traits.ignores_copy_conditions:
                honoured = state.capabilities.conditional_put
                state.check_condition(call, condition, honoured=honoured)
            data = self._in_transit("CopyObject", stored.data)
            return state.put(call, data, upload, _computed(upload.algorithm, data))

    def copy_part(
        self, key: str, upload_id: str, part_number: int, origin: Origin, byte_range: ByteRange
    ) -> Written:
        """Copy a range into a part."""
        arguments = {"upload_id": upload_id, "part_number": part_number, "origin": origin}
        with self._call("UploadPartCopy", key, **arguments) as call:
            if self._state.traits.knows_no_copies:
                raise TakenForPutError(call.operation, call.uri, "the answer names no copy")
            data = self._find(call, origin).data[byte_range.start : byte_range.stop]
            data = self._in_transit("UploadPartCopy", data)
            upload = self._state.find_upload(call, upload_id).upload
            checksum = _computed(upload.algorithm, data)
            etag = self._state.add_part(call, upload_id, part_number, data, checksum)
            return Written(etag=etag, checksums=() if checksum is None else (checksum,))

    def _taken_for_put(
        self, call: Call, upload: NewUpload, condition: Condition | None
    ) -> TakenForPutError:
        self._state.check_condition(call, condition, honoured=True)
        self._state.put(call, b"", upload, None)
        return TakenForPutError(call.operation, call.uri, "the answer names no copy")

    def _find(self, call: Call, origin: Origin) -> StoredObject:
        named = self._named(call, origin)
        stored = self._bucket(call, origin).state.find_exact(named, origin.identity)
        if stored.archived:
            raise ObjectArchivedError(call.operation, named.uri, "InvalidObjectState")
        return stored

    def _bucket(self, call: Call, origin: Origin) -> _Store:
        found = self._buckets.get(origin.bucket)
        if found is None or not found.state.exists:
            uri = self._named(call, origin).uri
            raise BucketNotFoundError(call.operation, uri, "NoSuchBucket")
        return found

    @staticmethod
    def _named(call: Call, origin: Origin) -> Call:
        return Call(operation=call.operation, bucket=origin.bucket, key=origin.key)


def _computed(algorithm: ChecksumAlgorithm | None, data: bytes) -> Checksum | None:
    if algorithm is None or algorithm is ChecksumAlgorithm.MD5:
        return None
    value = checksum_value(algorithm, data)
    return Checksum(algorithm=algorithm, value=value, full_object=True)
