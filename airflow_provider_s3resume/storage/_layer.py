"""What all layers share: a store that passes every call on, through one place.

A layer changes ``around``; only listings and open bodies, which are more than one call, need more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Self, TypeVar

from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import (
    ALL_KEYS,
    ByteRange,
    KeyRange,
    ListedObject,
    ObjectInfo,
    SourceIdentity,
)
from airflow_provider_s3resume.plan.parts import Limits
from airflow_provider_s3resume.plan.resume import ListedPart, PartRecord
from airflow_provider_s3resume.storage._layered_copying import LayeredCopying
from airflow_provider_s3resume.storage.base import (
    Capabilities,
    Condition,
    NewUpload,
    ObjectStore,
    PartBody,
    PartInfo,
    RangeReader,
    SupportsRead,
    UploadInfo,
    Written,
    uri_of,
)
from airflow_provider_s3resume.storage.server_side import ServerSide, owner_of, server_side_of

T = TypeVar("T")
_Listed = TypeVar("_Listed")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCall:
    """A call on its way to the store.

    :param operation: in the service's words.
    :param sent: bytes of its body.
    :param settles: if it fails without an answer, it may have taken effect all the same, and made
        again it would meet its own success: the caller has to look (c16).
    :param once: its body is read while it is sent, so it cannot be sent again.
    """

    operation: str
    store: ObjectStore
    key: str
    sent: int = 0
    settles: bool = False
    once: bool = False

    @property
    def subject(self) -> str:
        """What it is about, for messages."""
        return uri_of(self.store, self.key)


class Layer:
    """An ``ObjectStore`` that passes everything on to ``inner``."""

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner

    def around(self, call: StoreCall, act: Callable[[], T]) -> T:  # noqa: ARG002 - for subclasses
        """Make a call; layers do their work here."""
        return act()

    def _call(
        self,
        operation: str,
        key: str,
        act: Callable[[], T],
        *,
        sent: int = 0,
        settles: bool = False,
        once: bool = False,
    ) -> T:
        call = StoreCall(
            operation=operation, store=self, key=key, sent=sent, settles=settles, once=once
        )
        return self.around(call, act)

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.inner.bucket

    @property
    def scheme(self) -> str:
        """The inner store's."""
        return self.inner.scheme

    @property
    def service(self) -> str:
        """Where the bucket is."""
        return self.inner.service

    @property
    def capabilities(self) -> Capabilities:
        """What the store can do."""
        return self.inner.capabilities

    @property
    def limits(self) -> Limits:
        """What the store accepts in numbers."""
        return self.inner.limits

    @property
    def bucket_owner(self) -> str | None:
        """The account that the inner store's bucket has to belong to."""
        return owner_of(self.inner)

    @property
    def server_side(self) -> ServerSide | None:
        """The inner store's part for copies by its service, its calls made by this layer."""
        if server_side_of(self.inner) is None:
            return None
        return LayeredCopying(lambda: self.inner, self._call)

    def check_access(self, prefix: str = "") -> None:
        """Make sure that the bucket exists and answers."""
        self._call("HeadBucket", prefix, partial(self.inner.check_access, prefix))

    def list_objects(
        self, prefix: str = "", key_range: KeyRange = ALL_KEYS
    ) -> Iterator[ListedObject]:
        """Yield the objects."""
        return self._call(
            "ListObjectsV2", prefix, lambda: self.inner.list_objects(prefix, key_range)
        )

    def head(self, key: str, *, version_id: str | None = None) -> ObjectInfo:
        """Return the object's headers."""
        return self._call("HeadObject", key, partial(self.inner.head, key, version_id=version_id))

    def head_part(self, key: str, part_number: int, identity: SourceIdentity) -> PartInfo | None:
        """Return one part of a multipart object, ``None`` if the store cannot tell."""
        act = partial(self.inner.head_part, key, part_number, identity)
        return self._call("HeadObject", key, act)

    def open_range(
        self, key: str, byte_range: ByteRange | None, identity: SourceIdentity
    ) -> RangeReader:
        """Open a range of exactly the object that ``identity`` names."""
        act = partial(self.inner.open_range, key, byte_range, identity)
        return self._call("GetObject", key, act)

    def get_tags(self, key: str, *, version_id: str | None = None) -> Mapping[str, str]:
        """Return the object's tags."""
        act = partial(self.inner.get_tags, key, version_id=version_id)
        return self._call("GetObjectTagging", key, act)

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
        act = partial(
            self.inner.put_object,
            key,
            body,
            upload=upload,
            checksum=checksum,
            condition=condition,
            content_md5=content_md5,
        )
        settles = condition is not None
        return self._call("PutObject", key, act, sent=len(body), settles=settles)

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
        act = partial(
            self.inner.put_object_stream,
            key,
            body,
            length,
            upload=upload,
            content_md5=content_md5,
            condition=condition,
        )
        settles = condition is not None
        return self._call("PutObject", key, act, sent=length, settles=settles, once=True)

    def create_upload(self, key: str, upload: NewUpload) -> str:
        """Begin a multipart upload and return its id."""
        act = partial(self.inner.create_upload, key, upload)
        # Begun again after a lost answer, the first one would be left behind, known to nobody.
        return self._call("CreateMultipartUpload", key, act, settles=True)

    def upload_part(
        self,
        key: str,
        upload_id: str,
        part_number: int,
        body: PartBody,
        checksum: Checksum | None,
    ) -> str:
        """Send one part and return its ETag."""
        act = partial(self.inner.upload_part, key, upload_id, part_number, body, checksum)
        return self._call("UploadPart", key, act, sent=len(body))

    def upload_part_stream(
        self,
        key: str,
        upload_id: str,
        part_number: int,
        body: SupportsRead,
        length: int,
        algorithm: ChecksumAlgorithm | None,
    ) -> str:
        """Send one part while it is read."""
        stream = self.inner.upload_part_stream
        act = partial(stream, key, upload_id, part_number, body, length, algorithm)
        return self._call("UploadPart", key, act, sent=length, once=True)

    def list_parts(self, key: str, upload_id: str) -> list[ListedPart]:
        """Return all parts of an upload."""
        return self._call("ListParts", key, partial(self.inner.list_parts, key, upload_id))

    def list_uploads(self, key: str) -> list[UploadInfo]:
        """Return the unfinished uploads of exactly this key."""
        return self._call("ListMultipartUploads", key, partial(self.inner.list_uploads, key))

    def list_all_uploads(self, prefix: str = "") -> list[UploadInfo]:
        """Return the unfinished uploads of all keys under a prefix."""
        act = partial(self.inner.list_all_uploads, prefix)
        return self._call("ListMultipartUploads", prefix, act)

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
        act = partial(
            self.inner.complete_upload,
            key,
            upload_id,
            parts,
            size=size,
            checksum=checksum,
            algorithm=algorithm,
            condition=condition,
        )
        return self._call("CompleteMultipartUpload", key, act, settles=True)

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop an upload."""
        act = partial(self.inner.abort_upload, key, upload_id)
        self._call("AbortMultipartUpload", key, act)

    def delete_object(self, key: str) -> None:
        """Delete an object."""
        self._call("DeleteObject", key, partial(self.inner.delete_object, key))


def each_page(
    listing: Iterator[_Listed],
    size: int,
    ask: Callable[[Callable[[], _Listed | None]], _Listed | None],
) -> Iterator[_Listed]:
    """Yield a listing, and let ``ask`` fetch the first of every page, which takes a request.

    Where a page begins can only be guessed from here: a listing is one call, and keys that were not
    asked for may stand on its first page.

    :param size: keys on a page.
    """
    first = partial(next, listing, None)
    while (listed := ask(first)) is not None:
        yield listed
        count = 1
        for listed in islice(listing, size - 1):
            yield listed
            count += 1
        if count < size:
            return


class CountedReader:
    """A ``RangeReader`` that tells how many bytes each read gave.

    :param on_bytes: called after each read, from the reading thread.
    :param on_error: called with what a read raised.
    :param most: bytes that one read gives, ``None`` for as many as there are.
    """

    def __init__(
        self,
        inner: RangeReader,
        on_bytes: Callable[[int], None],
        on_error: Callable[[BaseException], None] | None = None,
        most: int | None = None,
    ) -> None:
        self._inner = inner
        self._most = most
        self._on_bytes = on_bytes
        self._on_error = on_error

    @property
    def info(self) -> ObjectInfo:
        """The object's headers."""
        return self._inner.info

    def readinto(self, buffer: memoryview) -> int:
        """Fill the start of ``buffer``; 0 only at the end."""
        try:
            count = self._inner.readinto(buffer[: self._most])
        except BaseException as error:
            if self._on_error is not None:
                self._on_error(error)
            raise
        self._on_bytes(count)
        return count

    def abort(self) -> None:
        """Break the connection."""
        self._inner.abort()

    def close(self) -> None:
        """Give the connection back."""
        self._inner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
