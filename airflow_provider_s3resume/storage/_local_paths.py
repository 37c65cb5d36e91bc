"""Reaching files of a folder, one segment after the other, never through a link (c43)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.storage._local_errors import MissingFolderError, OutsideFolderError

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe without a writer would be waited for.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Tree:
    """A folder, and the one above it that nothing may leave.

    :param root: path of the folder that nothing may leave, without links in it.
    :param below: segments from there to the folder itself.
    :param may_miss: the folder need not be there yet; the root has to be.
    """

    def __init__(self, root: str, below: Sequence[str], *, may_miss: bool) -> None:
        self.root = root
        self.below = tuple(below)
        self._may_miss = may_miss

    @classmethod
    def resolved(cls, root: str, folder: str, *, may_miss: bool, parameter: str) -> Tree:
        """Return the tree of a folder, with links in both paths resolved, once.

        :param parameter: what errors call the folder.
        :raises InvalidInputError: if the folder does not lie in the root.
        """
        real_root, real_folder = os.path.realpath(root), os.path.realpath(folder)
        below = segments_below(real_root, real_folder)
        if below is None:
            raise InvalidInputError(
                parameter,
                found=f"file://{folder}"
                + (f", which is {real_folder}" if real_folder != folder.rstrip("/") else ""),
                accepted=f"a folder in that of its connection, {root}",
            )
        return cls(real_root, below, may_miss=may_miss)

    @property
    def path(self) -> str:
        """The folder's path, for looking where links lead; never for opening."""
        return "/".join((self.root.rstrip("/"), *self.below))

    @contextmanager
    def folder(self, segments: Sequence[str] = (), *, create: bool = False) -> Iterator[int]:
        """Give an open directory of the folder.

        :param segments: from the folder to it.
        :param create: make what is not there.
        :raises MissingFolderError: if the folder itself is not there, and has to be.
        """
        fd = self.open_folder(segments, create=create)
        try:
            yield fd
        finally:
            os.close(fd)

    def open_folder(self, segments: Sequence[str] = (), *, create: bool = False) -> int:
        """Do the same for a caller who closes it."""
        fd = self._open_root()
        for number, segment in enumerate((*self.below, *segments)):
            try:
                fd = _step(fd, segment, create=create)
            except (FileNotFoundError, NotADirectoryError) as error:
                if number < len(self.below) and not self._may_miss:
                    raise MissingFolderError(error.errno, error.strerror, self.path) from error
                raise
        return fd

    def open_real(self, path: str) -> int:
        """Open a directory by a path without links, such as that a link leads to.

        :raises OutsideFolderError: if it does not lie in the root.
        """
        segments = segments_below(self.root, path)
        if segments is None:
            text = f"a link leads to {path}, outside of {self.root}"
            raise OutsideFolderError(errno.EACCES, text)
        fd = self._open_root()
        for segment in segments:
            fd = _step(fd, segment, create=False)
        return fd

    def _open_root(self) -> int:
        try:
            return os.open(self.root, _FOLDER)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise MissingFolderError(error.errno, error.strerror, self.root) from error


def segments_below(root: str, path: str) -> list[str] | None:
    """Return the segments from a folder to a path in it, ``None`` if it is not in it."""
    if path == root:
        return []
    start = root.rstrip("/") + "/"
    return path[len(start) :].split("/") if path.startswith(start) else None


def open_inside(fd: int, segment: str) -> int:
    """Open a directory in an open one; a link to one is none."""
    return os.open(segment, _FOLDER, dir_fd=fd)


def names_in(fd: int) -> list[str]:
    """Return the names in an open directory."""
    with os.scandir(fd) as entries:
        return [entry.name for entry in entries]


def open_file(fd: int, name: str) -> int:
    """Open a file to be read.

    :raises FileNotFoundError: if something stands there that is no file.
    """
    opened = os.open(name, _FILE, dir_fd=fd)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise FileNotFoundError(2, "no file")
    return opened


def _step(fd: int, segment: str, *, create: bool) -> int:
    """Open a directory in another, which is closed, whatever happens."""
    try:
        try:
            return open_inside(fd, segment)
        except FileNotFoundError:
            if not create:
                raise
        with suppress(FileExistsError):
            os.mkdir(segment, dir_fd=fd)
        flush_folder(fd)
        return open_inside(fd, segment)
    finally:
        os.close(fd)


def flush_folder(fd: int) -> None:
    """Make the names in a directory outlive the machine; some file systems have no word for it."""
    with suppress(OSError):
        os.fsync(fd)


def etag_of(found: os.stat_result, *, inodes: bool) -> str:
    """Return what tells a file from what it was before, and that looks like no MD5 (c07, c10).

    The device is not in it: a network file system has another number on each worker.
    """
    inode = found.st_ino if inodes else 0
    return f"f-{inode:x}-{found.st_size:x}-{found.st_mtime_ns:x}"
