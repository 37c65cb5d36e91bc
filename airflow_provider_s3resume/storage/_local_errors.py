"""What an error of the operating system means for a folder that is a store."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    BucketNotFoundError,
    ObjectNotFoundError,
    StoreError,
    TransientStoreError,
    UnsupportedError,
)

_DENIED: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_ABSENT: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_PASSING: Final = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EINTR,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
"""What may be over by the next try: of network file systems above all."""
_WAYS_OUT: Final = {
    errno.ENOSPC: "free some space, then run again: what was written is kept",
    errno.EDQUOT: "free some space, then run again: what was written is kept",
    errno.EISDIR: "a directory stands there; it is not replaced by a file",
    errno.ENOTEMPTY: "a directory stands there; it is not replaced by a file",
    errno.EXDEV: "another file system is mounted in the folder; name that mount as the folder",
    errno.ENOTDIR: "a file or a link stands in its way; nothing is written through it",
    errno.ELOOP: "a link stands there; nothing is written through it",
}
_WRITES: Final = frozenset(
    {"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "DeleteObject"}
)


class MissingFolderError(OSError):
    """The folder itself is not there: no object of it says anything."""


class OutsideFolderError(PermissionError):
    """A link leads out of the folder that nothing may leave: its key alone is refused (c43)."""


@contextmanager
def translated(operation: str, uri: str) -> Iterator[None]:
    """Turn errors of the operating system into ours.

    :raises StoreError: of the class that the error stands for.
    """
    try:
        yield
    except OSError as error:
        raise error_of(operation, uri, error) from error


def error_of(operation: str, uri: str, error: OSError) -> StoreError:
    """Return the error of ours that an error of the operating system stands for."""
    number = error.errno or 0
    detail = error.strerror or str(error)
    if isinstance(error, MissingFolderError):
        return BucketNotFoundError(operation, uri, f"no such folder: {error.filename}")
    if isinstance(error, OutsideFolderError):
        return UnsupportedError(operation, uri, detail)
    if number in _DENIED:
        return AccessDeniedError(operation, uri, detail)
    if number in _PASSING:
        return TransientStoreError(operation, uri, detail)
    if number in _ABSENT and operation not in _WRITES:
        return ObjectNotFoundError(operation, uri, detail)
    advice = _WAYS_OUT.get(number)
    return StoreError(operation, uri, f"{detail}: {advice}" if advice else detail)
