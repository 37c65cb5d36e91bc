"""Unfinished uploads of a folder: a directory each, with the file, and a log of its parts.

``upload.json`` says whose it is; without it there is no upload. ``data`` becomes the object. Each
line of ``parts.jsonl`` says where a part lies; one with an ETag, that its bytes are on the disk,
and were read back. A part that is sent again first gets a line without, so that one that was
written over half way is none. What a kill leaves half written of a line is no line.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from airflow_provider_s3resume.exceptions import StoreError, UploadNotFoundError
from airflow_provider_s3resume.plan.manifest import dumps
from airflow_provider_s3resume.plan.objects import key_bytes
from airflow_provider_s3resume.plan.parts import PartLayout
from airflow_provider_s3resume.plan.resume import ListedPart, PartRecord
from airflow_provider_s3resume.storage._local_area import (
    ABOUT,
    NEW_FILE,
    Area,
    read_all,
    settle,
    write_all,
    write_new,
)
from airflow_provider_s3resume.storage._local_paths import flush_folder, names_in, open_inside
from airflow_provider_s3resume.storage.base import NewUpload, UploadInfo

_ID: Final = re.compile(r"[0-9a-f]{32}\Z")
_DATA, _WHOLE, _PARTS = "data", "whole", "parts.jsonl"
_STEP: Final = 1 << 20
_FLAGS: Final = os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """A line of the log: where a part lies. ``etag``: ``None`` while it is being written."""

    part_number: int
    offset: int
    size: int
    etag: str | None = None
    checksum: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenUpload:
    """An upload that is there.

    :param fd: its open directory.
    :param layout: how its parts are cut, if that is known: then each has its place.
    """

    upload_id: str
    fd: int
    key: str
    layout: PartLayout | None

    @contextmanager
    def data(self, *, alone: bool) -> Iterator[int]:
        """Give the file that parts are written to.

        :param alone: wait until nobody writes to it any more, and let nobody begin.
        :raises FileNotFoundError: if the upload was finished meanwhile.
        """
        fd = os.open(_DATA, os.O_RDWR | _FLAGS, dir_fd=self.fd)
        try:
            _lock(fd, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            os.stat(ABOUT, dir_fd=self.fd)
            yield fd
        finally:
            os.close(fd)

    def parts(self) -> dict[int, Extent]:
        """Return what the log says of each part, also of those that are being written."""
        found = [_extent(line) for line in self._lines().splitlines()]
        return {extent.part_number: extent for extent in found if extent is not None}

    def reserve(self, number: int, size: int) -> Extent:
        """Return where a part is to be written; from now on there is none of that number.

        :raises ValueError: if it does not fit the layout.
        """
        with self._log() as fd:
            offset = self._place(number, size)
            extent = Extent(part_number=number, offset=offset, size=size)
            self._append(fd, extent, flush=self._has_line_of(number))
            return extent

    def acknowledge(self, extent: Extent) -> None:
        """Note that a part is on the disk."""
        with self._log() as fd:
            self._append(fd, extent, flush=True)

    def _has_line_of(self, number: int) -> bool:
        # Not parsed: of ten thousand parts, each would read the lines of all before it.
        return f'"part_number":{number},'.encode() in self._lines()

    def _lines(self) -> bytes:
        fd = os.open(_PARTS, os.O_RDONLY | _FLAGS, dir_fd=self.fd)
        try:
            return read_all(fd)
        finally:
            os.close(fd)

    def _place(self, number: int, size: int) -> int:
        if self.layout is None:
            known = self.parts()
            # A part that is sent again may lie where it lay, if it has the same size.
            before = known.get(number)
            if before is not None and before.size == size:
                return before.offset
            return max((one.offset + one.size for one in known.values()), default=0)
        if not 1 <= number <= self.layout.count or size != self.layout.length_of(number):
            raise ValueError(f"part {number} of {size} bytes is none of the upload's layout")
        if self.layout.sizes is None:
            return (number - 1) * self.layout.part_size
        return sum(self.layout.sizes[: number - 1])

    @contextmanager
    def _log(self) -> Iterator[int]:
        fd = os.open(_PARTS, os.O_WRONLY | os.O_APPEND | _FLAGS, dir_fd=self.fd)
        try:
            _lock(fd, fcntl.LOCK_EX)
            yield fd
        finally:
            os.close(fd)

    def _append(self, fd: int, extent: Extent, *, flush: bool) -> None:
        # The newline before it ends a line that a kill has left unfinished.
        os.write(fd, f"\n{dumps(asdict(extent))}\n".encode())
        if flush:
            os.fdatasync(fd)

    def whole(self, extents: Sequence[Extent], data: int) -> str:
        """Return the name of a file of exactly these parts in order.

        Where they lie in order, as the layout had it, that is the file that they were written to.
        """
        size = sum(extent.size for extent in extents)
        at = 0
        for extent in extents:
            if extent.offset != at:
                return self._put_in_order(extents, data)
            at += extent.size
        there = os.fstat(data).st_size
        if there < size:
            # Somebody cut it short: what would be put there in place of the rest are zeros.
            raise OSError(errno.EIO, f"the parts have {size} bytes, {there} are there")
        os.ftruncate(data, size)
        settle(data)
        return _DATA

    def _put_in_order(self, extents: Sequence[Extent], data: int) -> str:
        with suppress(FileNotFoundError):
            os.unlink(_WHOLE, dir_fd=self.fd)
        fd = os.open(_WHOLE, NEW_FILE, 0o666, dir_fd=self.fd)
        try:
            at = 0
            for extent in extents:
                _copy_extent(data, extent, fd, at)
                at += extent.size
            if os.fstat(fd).st_size != at:
                raise OSError(errno.EIO, f"{at} bytes were written, and the file has not so many")
            settle(fd)
        finally:
            os.close(fd)
        return _WHOLE

    def remove(self, area: int) -> None:
        """Remove it; what says that there is one goes first."""
        for name in (ABOUT, _DATA, _WHOLE, _PARTS):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.fd)
        with suppress(FileNotFoundError, OSError):
            os.rmdir(self.upload_id, dir_fd=area)


class Uploads:
    """The unfinished uploads of an area."""

    def __init__(self, area: Area) -> None:
        self._area = area

    def create(self, key: str, upload: NewUpload) -> str:
        """Begin an upload.

        :raises OSError: also if there is not enough room for it.
        """
        upload_id, layout = uuid.uuid4().hex, upload.layout
        about = {
            "key": key,
            "initiated": time.time(),
            "layout": None if layout is None else asdict(layout),
        }
        with self._area.opened(create=True) as area:
            if layout is not None:
                _check_room(area, layout.size)
            os.mkdir(upload_id, 0o700, dir_fd=area)
            fd = open_inside(area, upload_id)
            try:
                _new_data(fd, layout.size if layout is not None else 0)
                write_new(fd, _PARTS, b"")
                write_new(fd, ABOUT, dumps(about).encode())
            finally:
                os.close(fd)
            flush_folder(area)
        return upload_id

    @contextmanager
    def opened(self, key: str, upload_id: str, uri: str, operation: str) -> Iterator[OpenUpload]:
        """Give the upload of exactly this key.

        :raises UploadNotFoundError: if there is none, or it went away meanwhile.
        """
        try:
            with self._found(upload_id) as (_, upload):
                yield _of_key(upload, key)
        except FileNotFoundError as error:
            detail = f"NoSuchUpload: {upload_id}"
            raise UploadNotFoundError(operation, uri, detail) from error

    @contextmanager
    def _found(self, upload_id: str) -> Iterator[tuple[int, OpenUpload | None]]:
        # It comes from a record, and becomes a name here.
        if not _ID.match(upload_id):
            raise FileNotFoundError(2, "no such upload")
        with self._area.opened(create=False) as area:
            fd = open_inside(area, upload_id)
            try:
                about = _about(fd)
                layout = about and about["layout"]
                yield (
                    area,
                    None
                    if about is None
                    else OpenUpload(
                        upload_id=upload_id,
                        fd=fd,
                        key=about["key"],
                        layout=_layout(layout) if layout else None,
                    ),
                )
            finally:
                os.close(fd)

    def abort(self, key: str, upload_id: str) -> None:
        """Remove an upload of this key, if it is there."""
        with suppress(FileNotFoundError), self._found(upload_id) as (area, upload):
            if upload is not None and upload.key == key:
                upload.remove(area)

    def remove(self, upload: OpenUpload) -> None:
        """Remove an upload that was finished."""
        with self._area.opened(create=False) as area:
            upload.remove(area)

    def listed(self) -> list[UploadInfo]:
        """Return all uploads, in the order of their keys."""
        found: list[UploadInfo] = []
        with suppress(FileNotFoundError), self._area.opened(create=False) as area:
            for name in names_in(area):
                if not _ID.match(name):
                    continue
                with suppress(FileNotFoundError):
                    fd = open_inside(area, name)
                    try:
                        about = _about(fd)
                    finally:
                        os.close(fd)
                    if about is not None:
                        found.append(
                            UploadInfo(
                                key=about["key"], upload_id=name, initiated=about["initiated"]
                            )
                        )
        return sorted(found, key=lambda one: (key_bytes(one.key), one.initiated, one.upload_id))


def _of_key(upload: OpenUpload | None, key: str) -> OpenUpload:
    if upload is None or upload.key != key:
        raise FileNotFoundError(2, "no such upload")
    return upload


def listed_parts(upload: OpenUpload) -> list[ListedPart]:
    """Return the parts that are there whole, by their numbers."""
    return [
        ListedPart(part_number=n, size=one.size, etag=one.etag, checksum=one.checksum)
        for n, one in sorted(upload.parts().items())
        if one.etag is not None
    ]


def chosen(upload: OpenUpload, records: Sequence[PartRecord], size: int, uri: str) -> list[Extent]:
    """Return where the parts of a Complete lie.

    :raises StoreError: if they are not exactly what was sent, or do not ascend.
    """
    operation = "CompleteMultipartUpload"
    numbers = [record.part_number for record in records]
    if not numbers or numbers != sorted(set(numbers)):
        raise StoreError(operation, uri, "InvalidPartOrder: there must be one, and they ascend")
    known = upload.parts()
    found = []
    for record in records:
        extent = known.get(record.part_number)
        if extent is None or extent.etag is None or extent.etag != record.etag:
            raise StoreError(operation, uri, f"InvalidPart: part {record.part_number}")
        found.append(extent)
    total = sum(extent.size for extent in found)
    if total != size:
        raise StoreError(operation, uri, f"InvalidRequest: {total} bytes of parts, not {size}")
    return found


def _copy_extent(data: int, extent: Extent, fd: int, at: int) -> None:
    """Copy the bytes of a part to a place of another file, however few a read gives at once."""
    done = 0
    while done < extent.size:
        piece = os.pread(data, min(_STEP, extent.size - done), extent.offset + done)
        if not piece:
            number = extent.part_number
            raise OSError(errno.EIO, f"part {number} has {extent.size} bytes, {done} are there")
        write_all(fd, memoryview(piece), at + done)
        done += len(piece)


def _new_data(fd: int, size: int) -> None:
    made = os.open(_DATA, NEW_FILE, 0o666, dir_fd=fd)
    try:
        os.ftruncate(made, size)
    finally:
        os.close(made)


def _check_room(area: int, size: int) -> None:
    found = os.statvfs(area)
    free = found.f_bavail * found.f_frsize
    # Some file systems do not know how much they have.
    if found.f_blocks and free < size:
        raise OSError(28, f"{size} bytes are needed, {free} are free")


def _about(fd: int) -> dict[str, Any] | None:
    """Return what an upload's directory says of it, ``None`` if it is none (any more)."""
    try:
        opened = os.open(ABOUT, os.O_RDONLY | _FLAGS, dir_fd=fd)
    except FileNotFoundError:
        return None
    try:
        found: dict[str, Any] = json.loads(read_all(opened))
    except ValueError:
        return None  # Killed while it was written: nobody was told its id.
    finally:
        os.close(opened)
    return found


def _layout(data: Mapping[str, Any]) -> PartLayout:
    sizes = data["sizes"]
    return PartLayout(**{**data, "sizes": tuple(sizes) if sizes is not None else None})


def _extent(line: bytes) -> Extent | None:
    try:
        return Extent(**json.loads(line))
    except (TypeError, ValueError):
        return None


def _lock(fd: int, kind: int) -> None:
    # Some network file systems have no locks; then what is written twice is the same all the same.
    with suppress(OSError):
        fcntl.flock(fd, kind)
