"""``MemoryStore``: an S3 in memory that checks what a strict service checks.

It is the reference for tests of the engine: every call can be counted, refused or made the last
one of a process, before and after it takes effect.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from airflow_provider_s3resume.exceptions import (
    ObjectArchivedError,
    RangeMismatchError,
    UnsupportedError,
)
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import (
    ALL_KEYS,
    ByteRange,
    KeyRange,
    ListedObject,
    ObjectInfo,
    SourceIdentity,
    key_bytes,
)
from airflow_provider_s3resume.plan.parts import Limits
from airflow_provider_s3resume.plan.resume import ListedPart, PartRecord
from airflow_provider_s3resume.storage._memory_bucket import (
    Call,
    ObjectTable,
    OpenUpload,
    StoredObject,
)
from airflow_provider_s3resume.storage._memory_copying import MemoryCopying
from airflow_provider_s3resume.storage._memory_reader import (
    Hook,
    MemoryReader,
    Observer,
    Transit,
    no_hook,
    unchanged,
)
from airflow_provider_s3resume.storage._memory_service import (
    MemoryService,
    MemoryTraits,
    read_exactly,
)
from airflow_provider_s3resume.storage.base import (
    Capabilities,
    Condition,
    NewUpload,
    PartBody,
    PartInfo,
    SupportsRead,
    UploadInfo,
    Written,
)
from airflow_provider_s3resume.storage.checksums import checksum_value
from airflow_provider_s3resume.storage.presets import AMAZON_S3

__all__ = ["MemoryStore", "MemoryTraits", "StoredObject"]


class MemoryStore:
    """An ``ObjectStore`` in memory, safe to use from many threads.

    ``observer.before`` and ``observer.after`` may be replaced at any time, ``exists`` and
    ``denied`` set on :attr:`state`, and ``copies_from`` to the buckets, by name, that the service
    copies from by itself.

    :param clock: seconds since the epoch, for modification times.
    :param before_call: called before a call takes effect, outside of any lock; what it raises is
        what the call raises.
    :param after_call: called when it has taken effect (or was refused); the same.
    :param in_transit: changes the bytes of ``PutObject``, ``UploadPart`` and ``GetObject``, and of
        copies by the service.
    """

    def __init__(
        self,
        bucket: str = "memory",
        *,
        service: str = "memory://local",
        clock: Callable[[], float] = time.time,
        capabilities: Capabilities = AMAZON_S3,
        limits: Limits | None = None,
        traits: MemoryTraits | None = None,
        before_call: Hook = no_hook,
        after_call: Hook = no_hook,
        in_transit: Transit = unchanged,
    ) -> None:
        self.bucket = bucket
        self.scheme = "s3"
        self.service = service
        self.capabilities = capabilities
        self.limits = limits or Limits()
        self.in_transit = in_transit
        self.observer = Observer(before_call, after_call)
        self.state = MemoryService(
            bucket=bucket,
            clock=clock,
            capabilities=capabilities,
            limits=self.limits,
            traits=traits or MemoryTraits(),
        )
        self.copies_from: Mapping[str, MemoryStore] | None = None
        self.bucket_owner: str | None = None
        self._lock = threading.RLock()

    # What a test needs besides the calls of the contract; none of these is observed.

    @property
    def objects(self) -> ObjectTable:
        """The objects by key: a ``dict[str, StoredObject]`` to look at and to change."""
        return self.state.objects

    @property
    def uploads(self) -> dict[str, OpenUpload]:
        """The unfinished uploads by upload id."""
        return self.state.uploads

    def data(self, key: str) -> bytes:
        """Return an object's bytes.

        :raises KeyError: if there is no such object.
        """
        return self.objects[key].data

    def keys(self) -> list[str]:
        """Return all keys in the order of the listing."""
        return self.objects.page("", None, len(self.objects))

    @contextmanager
    def _call(self, operation: str, key: str = "", **arguments: object) -> Iterator[Call]:
        with self.observer.call(operation, key=key, **arguments), self._lock:
            yield self.state.begin(operation, key)

    @property
    def server_side(self) -> MemoryCopying | None:
        """The part for copies by the service, if ``copies_from`` names buckets."""
        if self.copies_from is None:
            return None
        return MemoryCopying(self.state, self._call, self.copies_from, self.in_transit)

    # Reading.

    def check_access(self, prefix: str = "") -> None:
        """Make sure that the bucket exists and answers."""
        with self._call("HeadBucket", prefix=prefix):
            pass

    def list_objects(
        self, prefix: str = "", key_range: KeyRange = ALL_KEYS
    ) -> Iterator[ListedObject]:
        """Yield the objects, one observed call a page; writes between two pages are seen."""
        ordered = self.capabilities.ordered_listing
        after = self.objects.last_before(key_range.start) if ordered else None
        while True:
            page = self._page(prefix, after)
            for listed in page:
                if key_range.contains(listed.key):
                    yield listed
                elif ordered and _behind(key_range, listed.key):
                    return
            if len(page) < self.limits.list_page:
                return
            after = page[-1].key

    def _page(self, prefix: str, after: str | None) -> list[ListedObject]:
        with self._call("ListObjectsV2", prefix=prefix, start_after=after):
            keys = self.objects.page(prefix, after, self.limits.list_page)
            return [self.objects[key].listed(key) for key in keys]

    def head(self, key: str, *, version_id: str | None = None) -> ObjectInfo:
        """Return the object's headers."""
        with self._call("HeadObject", key) as call:
            return self.state.find(call, version_id).info(key)

    def head_part(self, key: str, part_number: int, identity: SourceIdentity) -> PartInfo | None:
        """Return one part of a multipart object, ``None`` if the store cannot tell."""
        with self._call("HeadObject", key, part_number=part_number) as call:
            stored = self.state.find_exact(call, identity)
            sizes = stored.part_sizes
            if not self.capabilities.part_layout or not sizes:
                return None
            if not 1 <= part_number <= len(sizes):
                raise RangeMismatchError(call.operation, call.uri, "InvalidPartNumber")
            size = sizes[part_number - 1]
            return PartInfo(size=size, part_count=len(sizes), etag=stored.etag)

    def open_range(
        self, key: str, byte_range: ByteRange | None, identity: SourceIdentity
    ) -> MemoryReader:
        """Open a range of exactly the object that ``identity`` names."""
        with self._call("GetObject", key, byte_range=byte_range) as call:
            stored = self.state.find_exact(call, identity)
            size = len(stored.data)
            if stored.archived:
                raise ObjectArchivedError(call.operation, call.uri, "InvalidObjectState")
            if size != identity.size or (byte_range and byte_range.stop > size):
                raise RangeMismatchError(call.operation, call.uri, f"the object has {size} bytes")
            wanted = slice(byte_range.start, byte_range.stop) if byte_range else slice(None)
            data = memoryview(self.in_transit("GetObject", stored.data[wanted]))
        most = self.state.traits.read_size
        return MemoryReader(stored.info(key), self.bucket, data, self.observer, most)

    def get_tags(self, key: str, *, version_id: str | None = None) -> Mapping[str, str]:
        """Return the object's tags."""
        with self._call("GetObjectTagging", key) as call:
            if not self.capabilities.tags:
                raise UnsupportedError(call.operation, call.uri, "NotImplemented")
            return dict(self.state.find(call, version_id).attributes.tags)

    # Writing.

    def put_object(
        self,
        key: str,
        body: PartBody,
        *,
        upload: NewUpload,
        checksum: Checksum | None,
        condition: Condition | None = None,
        content_md5: str | None = None,
    ) -> Written:
        """Write a whole object."""
        with self._call("PutObject", key, size=len(body), condition=condition) as call:
            arrived = self.in_transit("PutObject", bytes(body))
            if len(arrived) > self.limits.max_single_put:
                raise call.refuse("EntityTooLarge", f"an object of {len(arrived)} bytes")
            self.state.check_checksum(call, checksum, arrived)
            md5 = checksum_value(ChecksumAlgorithm.MD5, arrived)
            if content_md5 not in {None, md5} and not self.state.traits.ignores_checksums:
                raise call.refuse("BadDigest", "Content-MD5 of the body differs")
            honoured = self.capabilities.conditional_put
            self.state.check_condition(call, condition, honoured=honoured)
            return self.state.put(call, arrived, upload, checksum)

    def put_object_stream(
        self,
        key: str,
        body: SupportsRead,
        length: int,
        *,
        upload: NewUpload,
        content_md5: str,
        condition: Condition | None = None,
    ) -> Written:
        """Write a whole object while it is read."""
        # The body is read outside of the lock: its source may be another call of this store.
        uri_of = Call(operation="PutObject", bucket=self.bucket, key=key)
        if not self.capabilities.streams_objects:
            raise UnsupportedError(uri_of.operation, uri_of.uri, "objects are not streamed")
        sent = read_exactly(uri_of, body, length)
        return self.put_object(
            key, sent, upload=upload, checksum=None, condition=condition, content_md5=content_md5
        )

    def create_upload(self, key: str, upload: NewUpload) -> str:
        """Begin a multipart upload and return its id."""
        with self._call("CreateMultipartUpload", key) as call:
            return self.state.create(call, upload)

    def upload_part(
        self,
        key: str,
        upload_id: str,
        part_number: int,
        body: PartBody,
        checksum: Checksum | None,
    ) -> str:
        """Send one part and return its ETag."""
        with self._call(
            "UploadPart", key, upload_id=upload_id, part_number=part_number, size=len(body)
        ) as call:
            arrived = self.in_transit("UploadPart", bytes(body))
            return self.state.add_part(call, upload_id, part_number, arrived, checksum)

    def upload_part_stream(
        self,
        key: str,
        upload_id: str,
        part_number: int,
        body: SupportsRead,
        length: int,
        algorithm: ChecksumAlgorithm | None,
    ) -> str:
        """Send one part while it is read; its checksum follows the bytes, as a trailer does."""
        # The body is read outside of the lock: its source may be another call of this store.
        uri_of = Call(operation="UploadPart", bucket=self.bucket, key=key)
        if not self.capabilities.streams_parts:
            raise UnsupportedError(uri_of.operation, uri_of.uri, "parts are not streamed")
        sent = read_exactly(uri_of, body, length)
        checksum = algorithm and Checksum(
            algorithm=algorithm, value=checksum_value(algorithm, sent), full_object=True
        )
        return self.upload_part(key, upload_id, part_number, sent, checksum)

    def list_parts(self, key: str, upload_id: str) -> list[ListedPart]:
        """Return all parts of an upload, one observed call a page."""
        found: list[ListedPart] = []
        size = self.limits.list_page
        while True:
            with self._call("ListParts", key, upload_id=upload_id) as call:
                page = self.state.parts(call, upload_id)[len(found) : len(found) + size]
            found += page
            if len(page) < size:
                return found

    def list_uploads(self, key: str) -> list[UploadInfo]:
        """Return the unfinished uploads of exactly this key."""
        with self._call("ListMultipartUploads", key) as call:
            return [
                UploadInfo(key=key, upload_id=upload_id, initiated=upload.initiated)
                for upload_id, upload in self.uploads.items()
                if upload.key == call.key
            ]

    def list_all_uploads(self, prefix: str = "") -> list[UploadInfo]:
        """Return the unfinished uploads of all keys under a prefix."""
        with self._call("ListMultipartUploads", prefix):
            return [
                UploadInfo(key=upload.key, upload_id=upload_id, initiated=upload.initiated)
                for upload_id, upload in self.uploads.items()
                if upload.key.startswith(prefix)
            ]

    def complete_upload(
        self,
        key: str,
        upload_id: str,
        parts: Sequence[PartRecord],
        *,
        size: int,
        checksum: Checksum | None,
        algorithm: ChecksumAlgorithm | None = None,
        condition: Condition | None = None,
    ) -> Written:
        """Make the parts the object."""
        with self._call(
            "CompleteMultipartUpload", key, upload_id=upload_id, condition=condition
        ) as call:
            return self.state.complete(
                call,
                upload_id,
                parts,
                size=size,
                checksum=checksum,
                algorithm=algorithm,
                condition=condition,
            )

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop an upload; nothing happens if it is gone."""
        with self._call("AbortMultipartUpload", key, upload_id=upload_id) as call:
            upload = self.uploads.get(upload_id)
            if upload is not None and upload.key == call.key:
                del self.uploads[upload_id]

    def delete_object(self, key: str) -> None:
        """Delete an object; nothing happens if it is gone."""
        with self._call("DeleteObject", key) as call:
            if call.key in self.objects:
                del self.objects[call.key]


def _behind(key_range: KeyRange, key: str) -> bool:
    return key_range.stop is not None and key_bytes(key) >= key_bytes(key_range.stop)
