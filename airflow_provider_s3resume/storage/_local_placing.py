"""Giving a finished file its name: at once, and only over what the plan saw."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import Final

from airflow_provider_s3resume.exceptions import PreconditionFailedError
from airflow_provider_s3resume.storage._local_paths import etag_of, flush_folder
from airflow_provider_s3resume.storage.base import Condition

_NO_LINKS: Final = frozenset(
    {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}
)
"""What file systems without hard links answer."""


def place(
    held: tuple[int, str],
    there: tuple[int, str],
    condition: Condition | None,
    uri: str,
    operation: str,
    *,
    inodes: bool,
) -> str:
    """Move a file that was written and flushed under its final name; return its ETag.

    A link of the file system takes a name only if it is free, which no rename of POSIX can ask for.
    Over an ETag there is an instant between the look and the rename; readers see either file.

    :param held: open directory, and name in it, of the finished file.
    :param there: the same of where it belongs.
    :raises PreconditionFailedError: if the condition does not hold.
    :raises IsADirectoryError: if a directory has the name.
    """
    source, name = held
    target, final = there
    # Of the file before it has its name: after that, another program's may be there already.
    etag = etag_of(os.stat(name, dir_fd=source, follow_symlinks=False), inodes=inodes)
    if condition is not None and condition.absent:
        _take_free_name(held, there, uri, operation)
    else:
        if condition is not None and condition.etag != etag_there(target, final, inodes=inodes):
            detail = "PreconditionFailed: another file is there, or none"
            raise PreconditionFailedError(operation, uri, detail)
        os.replace(name, final, src_dir_fd=source, dst_dir_fd=target)
    flush_folder(target)
    return etag


def _take_free_name(
    held: tuple[int, str], there: tuple[int, str], uri: str, operation: str
) -> None:
    (source, name), (target, final) = held, there
    try:
        os.link(name, final, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except FileExistsError as error:
        raise _taken(target, final, uri, operation) from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if _mode_there(target, final) is not None:
            raise _taken(target, final, uri, operation) from error
        os.rename(name, final, src_dir_fd=source, dst_dir_fd=target)
    else:
        # Its other name may be gone with the folder of an upload that was aborted.
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=source)


def _taken(
    fd: int, name: str, uri: str, operation: str
) -> PreconditionFailedError | IsADirectoryError:
    # An empty directory is in no listing: the next plan would end here again, and not know why.
    if stat.S_ISDIR(_mode_there(fd, name) or 0):
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return PreconditionFailedError(operation, uri, "PreconditionFailed: something is there")


def _mode_there(fd: int, name: str) -> int | None:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def etag_there(fd: int, name: str, *, inodes: bool) -> str | None:
    """Return the ETag of the file under a name, ``None`` if no file is there."""
    try:
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return etag_of(found, inodes=inodes) if stat.S_ISREG(found.st_mode) else None
