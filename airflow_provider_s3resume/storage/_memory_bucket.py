"""The state of one bucket in memory, and the rules that a service applies to it.

Source of the rules: the Amazon S3 API reference, per call, and what running servers answered.
"""

from __future__ import annotations

import hashlib
import uuid
from bisect import bisect_left, insort
from dataclasses import dataclass, field
from itertools import islice

from airflow_provider_s3resume.exceptions import (
    DigestRejectedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreError,
    UploadNotFoundError,
)
from airflow_provider_s3resume.plan.archives import ARCHIVE_CLASSES
from airflow_provider_s3resume.plan.digests import Checksum, composite_etag
from airflow_provider_s3resume.plan.objects import (
    ContentAttributes,
    ListedObject,
    ObjectInfo,
    key_bytes,
    object_uri,
)
from airflow_provider_s3resume.storage.base import NewUpload, WriteOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPart:
    """A part as the service holds it."""

    data: bytes
    etag: str
    checksum: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """An object as the service holds it; tests may put one into ``MemoryStore.objects``.

    :param part_sizes: bytes of each part of a multipart object, empty for a plain one.
    :param restored: an archived object that can be read again for now.
    :param md5_etag: False for an object whose ETag the service makes in another way.
    """

    data: bytes
    etag: str
    last_modified: float
    attributes: ContentAttributes = field(default_factory=ContentAttributes)
    options: WriteOptions = field(default_factory=WriteOptions)
    checksums: tuple[Checksum, ...] = ()
    part_sizes: tuple[int, ...] = ()
    restored: bool = False
    md5_etag: bool = True

    @property
    def archived(self) -> bool:
        """Whether it has to be restored before it can be read."""
        return self.options.storage_class in ARCHIVE_CLASSES and not self.restored

    def info(self, key: str) -> ObjectInfo:
        """Return what HEAD says of it."""
        return ObjectInfo(
            key=key,
            size=len(self.data),
            etag=self.etag,
            last_modified=self.last_modified,
            storage_class=self.options.storage_class,
            part_count=len(self.part_sizes) or None,
            checksums=self.checksums,
            attributes=self.attributes,
            tag_count=len(self.attributes.tags),
            encryption=self.options.encryption,
            kms_key=self.options.kms_key_id,
            bucket_key=bool(self.options.bucket_key),
            md5_etag=self.md5_etag,
            archived=self.archived,
        )

    def listed(self, key: str) -> ListedObject:
        """Return what a listing says of it."""
        return ListedObject(
            key=key,
            size=len(self.data),
            etag=self.etag,
            last_modified=self.last_modified,
            storage_class=self.options.storage_class or "STANDARD",
            md5_etag=self.md5_etag,
            restored=self.restored if self.options.storage_class in ARCHIVE_CLASSES else None,
        )


@dataclass(slots=True, kw_only=True)
class OpenUpload:
    """An unfinished multipart upload; a part sent again is put behind the earlier one."""

    key: str
    upload: NewUpload
    initiated: float
    parts: dict[int, list[StoredPart]] = field(default_factory=dict)


class ObjectTable(dict[str, StoredObject]):
    """The objects of a bucket by key, with their keys kept in the order of the listing."""

    def __init__(self, *, by_segment: bool) -> None:
        super().__init__()
        self._by_segment = by_segment
        self._order: list[tuple[tuple[bytes, ...], str]] = []

    def _place(self, key: str) -> tuple[tuple[bytes, ...], str]:
        # Services on a file tree (SeaweedFS) list by path segments: `a/b` before `a b`.
        raw = key_bytes(key)
        return (tuple(raw.split(b"/")) if self._by_segment else (raw,)), key

    def __setitem__(self, key: str, value: StoredObject) -> None:
        if key not in self:
            insort(self._order, self._place(key))
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        del self._order[bisect_left(self._order, self._place(key))]

    def page(self, prefix: str, after: str | None, size: int) -> list[str]:
        """Return up to ``size`` keys under ``prefix`` behind ``after``, in the listing's order."""
        start = 0 if after is None else bisect_left(self._order, self._place(after))
        behind = (key for _, key in islice(self._order, start, None) if key != after)
        return list(islice((key for key in behind if key.startswith(prefix)), size))

    def last_before(self, start: str | None) -> str | None:
        """Return the last key before ``start`` in byte order, ``None`` if there is none."""
        at = 0 if start is None else bisect_left(self._order, self._place(start))
        return self._order[at - 1][1] if at else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The call that a refusal is about; makes the errors."""

    operation: str
    bucket: str
    key: str

    @property
    def uri(self) -> str:
        """Where the object is."""
        return object_uri(self.bucket, self.key)

    def refuse(self, code: str, message: str = "") -> StoreError:
        """Return the error that the service's code stands for."""
        kinds: dict[str, type[StoreError]] = {
            "BadDigest": DigestRejectedError,
            "NoSuchKey": ObjectNotFoundError,
            "NoSuchUpload": UploadNotFoundError,
            "NoSuchVersion": ObjectNotFoundError,
            "PreconditionFailed": PreconditionFailedError,
        }
        detail = f"{code}: {message}" if message else code
        return kinds.get(code, StoreError)(self.operation, self.uri, detail)


def etag_of(data: bytes, options: WriteOptions, *, md5: bool) -> str:
    """Return a plain ETag: the MD5, or something of its form where the service gives no MD5."""
    if not md5 or (options.encryption or "").startswith("aws:kms"):
        return uuid.uuid4().hex
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def multipart_etag(parts: list[StoredPart]) -> str:
    """Return the ETag of the object that these parts make."""
    etag = composite_etag([part.etag for part in parts])
    return etag if etag is not None else f"{uuid.uuid4().hex}-{len(parts)}"
