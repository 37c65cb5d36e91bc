"""Where a folder that is written to keeps files before they have their names; never data (c33)."""

from __future__ import annotations

import json
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from airflow_provider_s3resume.plan.file_keys import PARTS_FOLDER
from airflow_provider_s3resume.storage._local_paths import (
    Tree,
    flush_folder,
    names_in,
    open_inside,
)

MARKER: Final = "marker.json"
ABOUT: Final = "upload.json"
"""Says whose an upload is; without it there is none."""
_FORMAT: Final = "airflow-provider-s3resume parts"
_PUT: Final = "put-"
_OLD_S: Final = 24 * 3600.0
"""After so long nobody is writing an object of one request any more."""

NEW_FILE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE: Final = 0o666
"""As programs make files: what the worker's umask leaves of it is what the file has in the end."""


class ForeignFolderError(OSError):
    """A directory of that name is there, and is not ours."""


class Area:
    """The directory of unfinished files in a tree."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._is_ours = False

    @contextmanager
    def opened(self, *, create: bool) -> Iterator[int]:
        """Give the open directory.

        :raises FileNotFoundError: if it is not there, and not to be made.
        :raises ForeignFolderError: if somebody else made it.
        """
        with self._tree.folder(create=create) as base:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(PARTS_FOLDER, 0o700, dir_fd=base)
                    flush_folder(base)
            fd = open_inside(base, PARTS_FOLDER)
        try:
            if create and not self._is_ours:
                _make_ours(fd)
                _sweep(fd)
                self._is_ours = True
            yield fd
        finally:
            os.close(fd)


@contextmanager
def new_file(area: int) -> Iterator[tuple[int, str]]:
    """Give a new file in the area, open, and its name; it is gone at the end unless moved."""
    name = f"{_PUT}{uuid.uuid4().hex}"
    fd = os.open(name, NEW_FILE, _MODE, dir_fd=area)
    try:
        yield fd, name
    finally:
        os.close(fd)
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=area)


def is_ours(fd: int, name: str) -> bool:
    """Tell whether a directory in an open one carries our marker."""
    try:
        inner = open_inside(fd, name)
    except OSError:
        return False
    try:
        return _has_marker(inner)
    finally:
        os.close(inner)


def _has_marker(fd: int) -> bool:
    return _has(fd, MARKER)


def _has(fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _make_ours(fd: int) -> None:
    if _has_marker(fd):
        return
    # Another worker may have written it between the two looks.
    if names_in(fd) and not _has_marker(fd):
        raise ForeignFolderError(
            f"a directory {PARTS_FOLDER!r} is there that this provider did not make; rename it"
        )
    with suppress(FileExistsError):
        write_new(fd, MARKER, json.dumps({"format": _FORMAT, "schema": 1}).encode())


def write_new(fd: int, name: str, data: bytes) -> None:
    """Write a small file that outlives the machine.

    :raises FileExistsError: if it is there.
    """
    made = os.open(name, NEW_FILE, 0o600, dir_fd=fd)
    try:
        write_all(made, memoryview(data), 0)
        os.fsync(made)
    finally:
        os.close(made)
    flush_folder(fd)


def settle(fd: int) -> None:
    """Make a file outlive the machine, with a time that does not change any more.

    Network file systems may set it once more when they write out what they hold. If the time itself
    is lost with the machine, the file is copied once more.
    """
    os.fsync(fd)
    os.utime(fd)


def read_all(fd: int) -> bytes:
    """Return what a small file holds."""
    found = bytearray()
    while piece := os.pread(fd, 1 << 20, len(found)):
        found += piece
    return bytes(found)


def write_all(fd: int, data: memoryview, offset: int) -> None:
    """Write bytes at a place of a file."""
    while data:
        count = os.pwrite(fd, data, offset)
        data, offset = data[count:], offset + count


def _sweep(fd: int) -> None:
    """Remove what killed workers left that no record can name.

    Files of objects of one request, and uploads that were not begun to the end: what says whose an
    upload is comes last.
    """
    for name in names_in(fd):
        with suppress(OSError):
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if name == MARKER or time.time() - found.st_mtime <= _OLD_S:
                continue
            if name.startswith(_PUT):
                os.unlink(name, dir_fd=fd)
            elif stat.S_ISDIR(found.st_mode) and not _has(fd, f"{name}/{ABOUT}"):
                _remove_folder(fd, name)


def _remove_folder(fd: int, name: str) -> None:
    inner = open_inside(fd, name)
    try:
        for file in names_in(inner):
            os.unlink(file, dir_fd=inner)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=fd)
