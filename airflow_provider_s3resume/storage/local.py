"""``LocalStore``: a folder of a worker's file system as a store.

Keys are paths, below a folder that nothing leaves. A write goes to a file that has no name yet, is
flushed, read back and compared with the checksum that came with it, and gets its name at once. What
S3 keeps beside the bytes (headers, metadata, tags, checksums) a file cannot hold.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from airflow_provider_s3resume.exceptions import (
    ObjectNotFoundError,
    PreconditionFailedError,
    RangeMismatchError,
    StoreError,
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
    object_uri,
)
from airflow_provider_s3resume.plan.parts import Limits
from airflow_provider_s3resume.plan.resume import ListedPart, PartRecord
from airflow_provider_s3resume.storage._local_area import Area, new_file, settle
from airflow_provider_s3resume.storage._local_bodies import write_body, write_stream
from airflow_provider_s3resume.storage._local_digest import check_written, read_back
from airflow_provider_s3resume.storage._local_errors import error_of, translated
from airflow_provider_s3resume.storage._local_files import Files, is_marker
from airflow_provider_s3resume.storage._local_paths import Tree
from airflow_provider_s3resume.storage._local_placing import place
from airflow_provider_s3resume.storage._local_reader import LocalReader
from airflow_provider_s3resume.storage._local_settings import (
    LocalSettings,
    local_settings_from_extra,
)
from airflow_provider_s3resume.storage._local_uploads import (
    Extent,
    OpenUpload,
    Uploads,
    chosen,
    listed_parts,
)
from airflow_provider_s3resume.storage._local_walk import MARKER_ETAG, Walk, Wanted
from airflow_provider_s3resume.storage.base import (
    Capabilities,
    Condition,
    NewUpload,
    PartBody,
    PartInfo,
    SupportsRead,
    UploadInfo,
    Written,
    uri_of,
)

__all__ = ["LocalStore", "open_folder"]

_CRC: Final = ChecksumAlgorithm.CRC64NVME
_LIMITS: Final = Limits(min_part_size=1, max_key_bytes=4094)
"""A path has at most 4,095 bytes on Linux (``PATH_MAX``), the first slash included."""


class LocalStore:
    """A folder as an ``ObjectStore``, safe to use from many threads.

    :param base: the folder's own path as all keys begin with it, without the first slash and with
        the last one.
    """

    def __init__(self, tree: Tree, base: str, settings: LocalSettings) -> None:
        self.bucket = ""
        self.scheme = "file"
        self.limits = _LIMITS
        self._files = Files(tree, base, settings)
        self.capabilities = Capabilities(
            part_checksums=(
                _CRC,
                ChecksumAlgorithm.CRC32C,
                ChecksumAlgorithm.CRC32,
                ChecksumAlgorithm.CRC64XZ,
                ChecksumAlgorithm.SHA256,
                ChecksumAlgorithm.SHA1,
                ChecksumAlgorithm.MD5,
            ),
            conditional_put=True,
            conditional_complete=True,
            md5_etags=False,
            tags=False,
            streams_parts=True,
            keeps_attributes=False,
            reads_back=True,
            file_tree=self._files.rules,
        )
        self._tree = tree
        self._base = base
        self._settings = settings
        self._area = Area(tree)
        self._uploads = Uploads(self._area)
        self._service: str | None = None

    @property
    def service(self) -> str:
        """Which folder of that name: by the number that its file system knows it by.

        A worker that has another one under the same path is not to go on with a plan of this one.
        """
        if self._service is None and self._settings.inodes:
            path = self._tree.root if self._settings.writes else self._tree.path
            try:
                self._service = f"file://{Path(path).stat().st_ino:x}"
            except OSError:
                return "file://missing"  # Whatever is asked of it says so.
        return self._service or "file://localhost"

    def _uri(self, key: str) -> str:
        return object_uri(self.bucket, key, self.scheme)

    @contextmanager
    def _call(self, operation: str, key: str) -> Iterator[str]:
        uri = self._uri(key)
        with translated(operation, uri):
            yield uri

    # Reading.

    def check_access(self, prefix: str = "") -> None:
        """Make sure that the folder is there and may be used."""
        with self._call("HeadBucket", prefix or self._base) as uri:
            try:
                with self._tree.folder() as fd:
                    wanted = os.R_OK | os.X_OK | (os.W_OK if self._settings.writes else 0)
                    if not os.access(".", wanted, dir_fd=fd):
                        raise PermissionError(13, "not allowed")
            except FileNotFoundError:
                # It is made by the first write.
                if not os.access(self._tree.root, os.R_OK | os.W_OK | os.X_OK):
                    error = PermissionError(13, "not allowed")
                    raise error_of("HeadBucket", uri, error) from None

    def list_objects(
        self, prefix: str = "", key_range: KeyRange = ALL_KEYS
    ) -> Iterator[ListedObject]:
        """Yield the files, in the order of their keys."""
        wanted = Wanted(base=self._base, prefix=prefix, key_range=key_range)
        with self._call("ListObjectsV2", prefix or self._base):
            yield from Walk(self._tree, self._settings, wanted).objects()

    def head(self, key: str, *, version_id: str | None = None) -> ObjectInfo:
        """Return what a file is."""
        with self._call("HeadObject", key) as uri:
            self._refuse_version("HeadObject", uri, version_id)
            return self._files.look(key)

    def head_part(
        self,
        key: str,
        part_number: int,  # noqa: ARG002 - the contract's
        identity: SourceIdentity,
    ) -> PartInfo | None:
        """Return ``None``: files have no parts."""
        with self._call("HeadObject", key) as uri:
            self._check_identity("HeadObject", uri, self.head(key), identity)
        return None

    def open_range(
        self, key: str, byte_range: ByteRange | None, identity: SourceIdentity
    ) -> LocalReader:
        """Open a range of exactly the file that ``identity`` names."""
        operation = "GetObject"
        with self._call(operation, key) as uri:
            self._refuse_version(operation, uri, identity.version_id)
            fd, info = self._files.open(key)
            try:
                self._check_identity(operation, uri, info, identity)
                _check_range(uri, info, byte_range, identity)
            except BaseException:
                if fd is not None:
                    os.close(fd)
                raise
        start, stop = (byte_range.start, byte_range.stop) if byte_range else (0, info.size)
        return LocalReader(fd, info, start, stop, inodes=self._settings.inodes)

    def get_tags(self, key: str, *, version_id: str | None = None) -> Mapping[str, str]:
        """Refuse: files have no tags."""
        self.head(key, version_id=version_id)
        raise UnsupportedError("GetObjectTagging", self._uri(key), "files have no tags")

    def _refuse_version(self, operation: str, uri: str, version_id: str | None) -> None:
        if version_id is not None:
            raise ObjectNotFoundError(operation, uri, "files have no versions")

    def _check_identity(
        self, operation: str, uri: str, info: ObjectInfo, identity: SourceIdentity
    ) -> None:
        if identity.etag is not None and identity.etag != info.etag:
            raise PreconditionFailedError(operation, uri, "PreconditionFailed: it was changed")

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
        """Write a whole file."""
        operation = "PutObject"
        del upload  # A file keeps none of it.
        with self._writing(operation, key, len(body)) as uri:
            if is_marker(key):
                with self._tree.folder(self._files.segments(key), create=True):
                    return Written(etag=MARKER_ETAG)
            with self._area.opened(create=True) as area, new_file(area) as (fd, name):
                write_body(fd, body, 0)
                settle(fd)
                sent = [one for one in (checksum, _md5(content_md5)) if one is not None]
                _check_back(uri, operation, fd, (0, len(body)), sent)
                etag = self._place((area, name), key, condition, operation)
        return Written(etag=etag, checksums=() if checksum is None else (checksum,))

    def put_object_stream(
        self,
        key: str,
        body: SupportsRead,  # noqa: ARG002 - the contract's
        length: int,  # noqa: ARG002 - the contract's
        *,
        upload: NewUpload,  # noqa: ARG002 - the contract's
        content_md5: str,  # noqa: ARG002 - the contract's
        condition: Condition | None = None,  # noqa: ARG002 - the contract's
    ) -> Written:
        """Refuse: a file is compared when it was read back, and not by who takes it."""
        raise UnsupportedError("PutObject", uri_of(self, key), "objects are not streamed")

    def create_upload(self, key: str, upload: NewUpload) -> str:
        """Begin an upload and return its id."""
        operation = "CreateMultipartUpload"
        with self._writing(operation, key, 0) as uri:
            if upload.full_object:
                raise UnsupportedError(operation, uri, "no full-object checksums are kept")
            return self._uploads.create(key, upload)

    def upload_part(
        self,
        key: str,
        upload_id: str,
        part_number: int,
        body: PartBody,
        checksum: Checksum | None,
    ) -> str:
        """Write one part at its place, and read it back."""
        with self._part(key, upload_id, part_number, len(body)) as (uri, upload, extent, fd):
            write_body(fd, body, extent.offset)
            return _acknowledge(uri, upload, extent, fd, checksum)

    def upload_part_stream(
        self,
        key: str,
        upload_id: str,
        part_number: int,
        body: SupportsRead,
        length: int,
        algorithm: ChecksumAlgorithm | None,
    ) -> str:
        """Write one part while it is read, and read it back."""
        with self._part(key, upload_id, part_number, length) as (uri, upload, extent, fd):
            arrived = write_stream(fd, body, (extent.offset, length), algorithm, uri)
            return _acknowledge(uri, upload, extent, fd, arrived)

    def list_parts(self, key: str, upload_id: str) -> list[ListedPart]:
        """Return the parts of an upload that are there whole."""
        with (
            self._call("ListParts", key) as uri,
            self._uploads.opened(key, upload_id, uri, "ListParts") as upload,
        ):
            return listed_parts(upload)

    def list_uploads(self, key: str) -> list[UploadInfo]:
        """Return the unfinished uploads of exactly this key."""
        with self._call("ListMultipartUploads", key):
            return [one for one in self._uploads.listed() if one.key == key]

    def list_all_uploads(self, prefix: str = "") -> list[UploadInfo]:
        """Return the unfinished uploads of all keys under a prefix."""
        with self._call("ListMultipartUploads", prefix):
            return [one for one in self._uploads.listed() if one.key.startswith(prefix)]

    def complete_upload(
        self,
        key: str,
        upload_id: str,
        parts: Sequence[PartRecord],
        *,
        size: int,
        checksum: Checksum | None,
        algorithm: ChecksumAlgorithm | None = None,  # noqa: ARG002 - the contract's
        condition: Condition | None = None,
    ) -> Written:
        """Make the parts the file, once nobody writes to it any more."""
        operation = "CompleteMultipartUpload"
        with (
            self._writing(operation, key, 0) as uri,
            self._uploads.opened(key, upload_id, uri, operation) as upload,
        ):
            if checksum is not None:
                raise UnsupportedError(operation, uri, "no full-object checksums are kept")
            with upload.data(alone=True) as data:
                extents = chosen(upload, parts, size, uri)
                name = upload.whole(extents, data)
                etag = self._place((upload.fd, name), key, condition, operation)
                self._uploads.remove(upload)
        return Written(etag=etag)

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts; nothing happens if it is gone."""
        with self._call("AbortMultipartUpload", key):
            self._uploads.abort(key, upload_id)

    def delete_object(self, key: str) -> None:
        """Delete a file; nothing happens if it is gone."""
        with self._writing("DeleteObject", key, 0):
            *folders, name = self._files.segments(key)
            try:
                with self._tree.folder(folders) as fd:
                    remove = os.rmdir if is_marker(key) else os.unlink
                    remove(name, dir_fd=fd)
            except FileNotFoundError:
                return

    @contextmanager
    def _writing(self, operation: str, key: str, size: int) -> Iterator[str]:
        with self._call(operation, key) as uri:
            if not self._settings.writes:
                raise UnsupportedError(operation, uri, "this folder is only read")
            fault = self._files.rules.fault(key, size)
            if not key.startswith(self._base) or fault is not None:
                why = fault.value if fault is not None else f"outside of {self._uri(self._base)}"
                raise UnsupportedError(operation, uri, f"no file can have this key: {why}")
            yield uri

    @contextmanager
    def _part(
        self, key: str, upload_id: str, number: int, size: int
    ) -> Iterator[tuple[str, OpenUpload, Extent, int]]:
        with (
            self._writing("UploadPart", key, 0) as uri,
            self._uploads.opened(key, upload_id, uri, "UploadPart") as upload,
            upload.data(alone=False) as fd,
        ):
            try:
                extent = upload.reserve(number, size)
            except ValueError as error:
                raise StoreError("UploadPart", uri, f"InvalidPart: {error}") from error
            yield uri, upload, extent, fd

    def _place(
        self, held: tuple[int, str], key: str, condition: Condition | None, operation: str
    ) -> str:
        *folders, name = self._files.segments(key)
        with self._tree.folder(folders, create=True) as fd:
            return place(
                held,
                (fd, name),
                condition,
                self._uri(key),
                operation,
                inodes=self._settings.inodes,
            )


def _check_range(
    uri: str, info: ObjectInfo, byte_range: ByteRange | None, identity: SourceIdentity
) -> None:
    if info.size != identity.size or (byte_range and byte_range.stop > info.size):
        raise RangeMismatchError("GetObject", uri, f"the file has {info.size} bytes")


def _md5(content_md5: str | None) -> Checksum | None:
    if content_md5 is None:
        return None
    return Checksum(algorithm=ChecksumAlgorithm.MD5, value=content_md5, full_object=True)


def _check_back(
    uri: str, operation: str, fd: int, place_of: tuple[int, int], sent: Sequence[Checksum]
) -> dict[ChecksumAlgorithm, str]:
    """Read what was written, and compare it with what came with it.

    :raises DigestRejectedError: if the bytes are others.
    """
    found = read_back(fd, *place_of, {_CRC, *(one.algorithm for one in sent)})
    for one in sent:
        check_written(uri, operation, found[one.algorithm], one)
    return found


def _acknowledge(
    uri: str, upload: OpenUpload, extent: Extent, fd: int, checksum: Checksum | None
) -> str:
    """Note that a part is on the disk as it was sent; return its ETag."""
    os.fdatasync(fd)
    sent = [] if checksum is None else [checksum]
    found = _check_back(uri, "UploadPart", fd, (extent.offset, extent.size), sent)
    etag = f"p-{base64.b64decode(found[_CRC]).hex()}"
    value = None if checksum is None else checksum.value
    upload.acknowledge(
        Extent(
            part_number=extent.part_number,
            offset=extent.offset,
            size=extent.size,
            etag=etag,
            checksum=value,
        )
    )
    return etag


def open_folder(
    root: str,
    folder: str,
    extra: Mapping[str, object],
    *,
    writes: bool,
    subject: str,
    parameter: str,
) -> LocalStore:
    """Return a folder as a store.

    :param root: path of the folder that nothing leaves.
    :param folder: path without the first slash and with the last one.
    :param extra: fields of a connection.
    :param subject: how errors call the connection.
    :param parameter: how they call the folder.
    :raises InvalidInputError: naming the field, or the folder if it does not lie in the root.
    """
    settings = local_settings_from_extra(extra, subject, writes=writes)
    tree = Tree.resolved(root, f"/{folder}", may_miss=writes, parameter=parameter)
    return LocalStore(tree, folder, settings)
