"""``ObjectStore``: the contract between the engine and every service that holds a bucket.

What every store promises
-------------------------
* A store is bound to one bucket and is safe to use from many threads at once.
* Keys are opaque strings and travel unchanged; order is by UTF-8 bytes.
* A listing is complete and ordered, or it raises (``ListingError``, ``StoreError``). It is never
  shortened, never repeats a key. A store whose service lists in another order declares
  ``Capabilities.ordered_listing = False`` and is wrapped before it is merged
  (``storage.layers.SortedListing``).
* Reads name the object they mean: ``open_range`` takes the identity and raises
  ``PreconditionFailedError`` when the object is another one by now.
* Every write carries a digest that the service checks, or ``Capabilities`` says that it cannot.
* A call either returns, or raises one of the classes of ``exceptions.StoreError``; what the
  service or the SDK raised is chained. ``retryable`` on the class says whether another try helps.
  Stores do not retry by themselves: ``storage.layers.Retrying`` does.
* ``abort_upload`` and ``delete_object`` of something that is not there succeed. Nothing else
  is idempotent unless its conditions make it so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

from airflow_provider_s3resume.plan.objects import ALL_KEYS, ContentAttributes, object_uri
from airflow_provider_s3resume.plan.parts import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
    from airflow_provider_s3resume.plan.file_keys import FileTree
    from airflow_provider_s3resume.plan.objects import (
        ByteRange,
        KeyRange,
        ListedObject,
        ObjectInfo,
        SourceIdentity,
    )
    from airflow_provider_s3resume.plan.parts import PartLayout
    from airflow_provider_s3resume.plan.resume import ListedPart, PartRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a store can do at all. Ask this, never which service it is.

    :param ordered_listing: objects are listed in UTF-8 byte order.
    :param lists_ranges: listing a key range does not cost a listing of all that lies before it.
    :param folds_keys: the service makes ``a//b`` and ``a/b`` one key, drops leading slashes, takes
        a backslash for a slash, and refuses ``.`` and ``..`` segments.
    :param part_checksums: algorithms that the service checks on UploadPart and PutObject, best
        first. ``MD5`` stands for ``Content-MD5``.
    :param full_object_checksum: the service checks and keeps a full-object CRC given at Complete.
    :param conditional_put: ``If-None-Match: *`` and ``If-Match`` are honoured by PutObject.
    :param conditional_complete: the same for CompleteMultipartUpload.
    :param part_layout: HEAD with a part number tells the object's own parts.
    :param md5_etags: ETags of plain objects and parts are MD5s (not for KMS or customer keys).
    :param tags: object tags exist.
    :param streams_parts: a part can be sent while it is read, without being held whole.
    :param streams_objects: the same of an object that is written in one request, whose MD5 is known
        before: the service compares it (``MD5`` among ``part_checksums``).
    :param trailers: the checksum of such a part can follow its bytes (not without TLS).
    :param reread_for_md5: a large object whose only digest is an MD5 of the whole is read a second
        time, in order, to compare it: the parts of a copy are read side by side.
    :param customer_key: a mark of the customer-provided key that all objects are encrypted with,
        which tells keys apart and is neither the key nor made of it alone; empty for no such key.
    :param keeps_attributes: headers, metadata and encryption stay with an object.
    :param reads_back: no digest stays with an object, but what was written can be read again at the
        cost of no request: it is, before a part is acknowledged, and to recognise what has landed.
    :param file_tree: keys are paths in a tree of files; ``None`` for all keys that S3 takes.
    """

    ordered_listing: bool = True
    lists_ranges: bool = True
    folds_keys: bool = False
    part_checksums: tuple[ChecksumAlgorithm, ...] = ()
    full_object_checksum: bool = False
    conditional_put: bool = False
    conditional_complete: bool = False
    part_layout: bool = False
    md5_etags: bool = True
    tags: bool = True
    streams_parts: bool = False
    streams_objects: bool = False
    trailers: bool = True
    reread_for_md5: bool = False
    customer_key: str = ""
    keeps_attributes: bool = True
    reads_back: bool = False
    file_tree: FileTree | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What must be true of the target key for a write to take effect.

    Exactly one of the two is set.

    :param absent: no object may be there (``If-None-Match: *``).
    :param etag: the object there must have this ETag (``If-Match``).
    """

    absent: bool = False
    etag: str | None = None

    def __post_init__(self) -> None:
        """Refuse a condition that says nothing or two things.

        :raises ValueError: in that case.
        """
        if self.absent == (self.etag is not None):
            msg = "a condition is either 'absent' or an ETag"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """What the user asked every written object to have.

    :param encryption: ``AES256``, ``aws:kms`` or ``aws:kms:dsse``; ``None`` leaves it to the
        bucket.
    :param kms_key_id: only with one of the latter two.
    :param acl: a canned ACL, such as ``bucket-owner-full-control``.
    :param bucket_key: only with ``aws:kms``: whether the service asks KMS once for many objects.
    """

    storage_class: str | None = None
    encryption: str | None = None
    kms_key_id: str | None = None
    acl: str | None = None
    bucket_key: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The answer to PutObject or CompleteMultipartUpload.

    :param encryption: with which the service says that it keeps the object; not every one says it.
    """

    etag: str | None
    version_id: str | None = None
    checksums: tuple[Checksum, ...] = ()
    encryption: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadInfo:
    """One unfinished multipart upload. ``initiated``: seconds since the epoch, store's clock."""

    key: str
    upload_id: str
    initiated: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PartInfo:
    """One part of a finished object, as HEAD with a part number gives it."""

    size: int
    part_count: int
    etag: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUpload:
    """What CreateMultipartUpload needs to know.

    :param algorithm: checksum that the parts will carry; ``None`` for none.
    :param full_object: the checksum will be given for the full object at Complete.
    :param layout: how the parts will be cut, for a store that writes each at its place; a hint.
    """

    attributes: ContentAttributes = field(default_factory=ContentAttributes)
    options: WriteOptions = field(default_factory=WriteOptions)
    algorithm: ChecksumAlgorithm | None = None
    full_object: bool = False
    layout: PartLayout | None = None


class RangeReader(Protocol):
    """The open body of one ranged read; use as a context manager, from one thread.

    ``abort`` may be called from any thread: a blocked ``readinto`` then ends with an error.
    """

    @property
    def info(self) -> ObjectInfo:
        """The object's headers as the read itself gave them (``size`` is the whole object's)."""

    def readinto(self, buffer: memoryview) -> int:
        """Fill the start of ``buffer`` and return how many bytes; 0 only at the end of the range.

        :raises TransientStoreError: if the body ends before the range does, or the network fails.
        """

    def abort(self) -> None:
        """Break the connection, so that a read blocked in another thread returns promptly."""

    def close(self) -> None:
        """Give the connection back; never raises."""

    def __enter__(self) -> Self:
        """Return the reader itself."""

    def __exit__(self, *exc_info: object) -> None:
        """Close the reader."""


class SupportsRead(Protocol):
    """A body that is sent while it is read."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes, empty at the end."""


PartBody = bytes | bytearray | memoryview
"""A part that is held in memory while it is sent."""


class ObjectStore(Protocol):
    """A bucket of a service. See the module's docstring for what all methods promise."""

    @property
    def bucket(self) -> str:
        """The bucket's name."""

    @property
    def scheme(self) -> str:
        """The scheme of the store's URIs: ``s3``, ``oss`` or ``file``."""

    @property
    def service(self) -> str:
        """Where the bucket is: scheme, host and port (``https://s3.amazonaws.com``), no secrets.

        Two stores with the same service and bucket are the same bucket.
        """

    @property
    def capabilities(self) -> Capabilities:
        """What the store can do."""

    @property
    def limits(self) -> Limits:
        """What the store accepts in numbers."""

    def check_access(self, prefix: str = "") -> None:
        """Make sure that the bucket exists and answers this caller (HeadBucket, or a listing).

        :param prefix: what the caller may be limited to.
        :raises BucketNotFoundError, AccessDeniedError: as the service says.
        """

    def list_objects(
        self, prefix: str = "", key_range: KeyRange = ALL_KEYS
    ) -> Iterator[ListedObject]:
        """Yield the objects under ``prefix`` in ``key_range``, in order, to the true end.

        :raises ListingError: if a page is out of order, or keys or tokens repeat.
        """

    def head(self, key: str, *, version_id: str | None = None) -> ObjectInfo:
        """Return the object's headers, checksums included where the service keeps them.

        :raises ObjectNotFoundError: if there is no such object.
        """

    def head_part(self, key: str, part_number: int, identity: SourceIdentity) -> PartInfo | None:
        """Return one part of a finished multipart object, ``None`` if the store cannot tell.

        :raises PreconditionFailedError: if the object is another one by now.
        """

    def open_range(
        self, key: str, byte_range: ByteRange | None, identity: SourceIdentity
    ) -> RangeReader:
        """Open a range (or all, for ``None``) of exactly the object that ``identity`` names.

        :raises PreconditionFailedError: if the object is another one by now.
        :raises RangeMismatchError: if the answer is not exactly the range asked for, of an object
            of exactly ``identity.size`` bytes.
        :raises ObjectArchivedError: if it must be restored first.
        """

    def get_tags(self, key: str, *, version_id: str | None = None) -> Mapping[str, str]:
        """Return the object's tags.

        :raises UnsupportedError: if the service has none.
        """

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
        """Write a whole object in one request.

        :param checksum: of ``body``; the service refuses other bytes.
        :param content_md5: base64 MD5 that the source's own ETag proves, if there is one.
        :raises DigestRejectedError: if the service computed another digest.
        :raises PreconditionFailedError: if ``condition`` does not hold.
        """

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
        """Write a whole object while it is read; only if ``capabilities.streams_objects``.

        :param content_md5: base64 MD5 of the body; the service refuses other bytes.
        :raises DigestRejectedError: if the service computed another digest.
        :raises PreconditionFailedError: if ``condition`` does not hold.
        :raises UnsupportedError: if it cannot be done with this connection.
        """

    def create_upload(self, key: str, upload: NewUpload) -> str:
        """Begin a multipart upload and return its id."""

    def upload_part(
        self,
        key: str,
        upload_id: str,
        part_number: int,
        body: PartBody,
        checksum: Checksum | None,
    ) -> str:
        """Send one part that is held in memory and return its ETag without quotes.

        :raises UploadNotFoundError: if the upload is gone.
        :raises DigestRejectedError: if the service computed another digest.
        """

    def upload_part_stream(
        self,
        key: str,
        upload_id: str,
        part_number: int,
        body: SupportsRead,
        length: int,
        algorithm: ChecksumAlgorithm | None,
    ) -> str:
        """Send one part while it is read; only if ``capabilities.streams_parts``.

        The caller compares the ETag returned, or the full object's checksum, with its own digest.
        """

    def list_parts(self, key: str, upload_id: str) -> list[ListedPart]:
        """Return all parts of an upload, as listed: a part listed twice appears twice.

        :raises UploadNotFoundError: if the upload is gone.
        :raises ListingError: if the listing repeats itself.
        """

    def list_uploads(self, key: str) -> list[UploadInfo]:
        """Return the unfinished uploads of exactly this key (never of keys that it begins).

        :raises ListingError: if the listing repeats itself.
        """

    def list_all_uploads(self, prefix: str = "") -> list[UploadInfo]:
        """Return the unfinished uploads of all keys under ``prefix``, whoever began them.

        For reports only: a service may name a key otherwise than it is (SeaweedFS says that names
        are encoded, and does not encode them). ``list_uploads`` knows whose an upload is.

        :raises ListingError: if the listing repeats itself.
        """

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
        """Make the parts the object. A 200 answer with an error in its body raises.

        :param size: bytes of the whole, sent as ``x-amz-mp-object-size`` where known.
        :param checksum: full-object checksum to be checked, if the service takes one.
        :param algorithm: of the checksums that ``parts`` carry. Without a full-object checksum the
            service wants each of them repeated ("Checking object integrity in Amazon S3").
        :raises UploadNotFoundError: if the upload is gone.
        :raises PreconditionFailedError: if ``condition`` does not hold.
        """

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts; nothing happens if it is gone."""

    def delete_object(self, key: str) -> None:
        """Delete an object (used for the provider's own state); nothing happens if it is gone."""


def uri_of(store: ObjectStore, key: str = "") -> str:
    """Return the URI of an object (or, without a key, of the bucket) for messages and records."""
    return object_uri(store.bucket, key, store.scheme)
