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
    """
    source, name = held
    target, final = there
    if condition is not None and condition.absent:
        _take_free_name(held, there, uri, operation)
    else:
        if condition is not None and condition.etag != etag_there(target, final, inodes=inodes):
            detail = "PreconditionFailed: another file is there, or none"
            raise PreconditionFailedError(operation, uri, detail)
        os.replace(name, final, src_dir_fd=source, dst_dir_fd=target)
    flush_folder(target)
    return etag_of(os.stat(final, dir_fd=target, follow_symlinks=False), inodes=inodes)


def _take_free_name(
    held: tuple[int, str], there: tuple[int, str], uri: str, operation: str
) -> None:
    (source, name), (target, final) = held, there
    try:
        os.link(name, final, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except FileExistsError as error:
        raise _taken(uri, operation) from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if _is_there(target, final):
            raise _taken(uri, operation) from error
        os.rename(name, final, src_dir_fd=source, dst_dir_fd=target)
    else:
        # Its other name may be gone with the folder of an upload that was aborted.
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=source)


def _taken(uri: str, operation: str) -> PreconditionFailedError:
    return PreconditionFailedError(operation, uri, "PreconditionFailed: something is there")


def _is_there(fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def etag_there(fd: int, name: str, *, inodes: bool) -> str | None:
    """Return the ETag of the file under a name, ``None`` if no file is there."""
    try:
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return etag_of(found, inodes=inodes) if stat.S_ISREG(found.st_mode) else None
