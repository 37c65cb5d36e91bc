"""Writing a body into a file, whole or while it is read."""

from __future__ import annotations

from typing import Final

from airflow_provider_s3resume.exceptions import TransientStoreError
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.storage._local_area import write_all
from airflow_provider_s3resume.storage._local_digest import running
from airflow_provider_s3resume.storage.base import PartBody, SupportsRead

_STREAMED: Final = 1 << 20
_PACED: Final = 256 * 1024
"""What a body that is paid for by its bytes gives out at once."""


def write_body(fd: int, body: PartBody, offset: int) -> None:
    """Write a body that is held in memory."""
    read = getattr(body, "read", None)
    if read is None:
        write_all(fd, memoryview(body), offset)
        return
    # Under a budget it is no buffer, but paid for while it is read.
    while piece := read(_PACED):
        write_all(fd, memoryview(piece), offset)
        offset += len(piece)


def write_stream(
    fd: int,
    body: SupportsRead,
    span: tuple[int, int],
    algorithm: ChecksumAlgorithm | None,
    uri: str,
) -> Checksum | None:
    """Write a body while it is read; return the checksum of the bytes that came.

    :param span: place in the file, and length, in bytes.
    :raises TransientStoreError: if it ends before that.
    """
    offset, length = span
    digest = running(algorithm) if algorithm is not None else None
    done = 0
    while done < length:
        piece = memoryview(body.read(min(_STREAMED, length - done)))
        if not piece:
            detail = f"IncompleteBody: {done} of {length} bytes"
            raise TransientStoreError("UploadPart", uri, detail)
        if digest is not None:
            digest.update(piece)
        write_all(fd, piece, offset + done)
        done += len(piece)
    if algorithm is None or digest is None:
        return None
    return Checksum(algorithm=algorithm, value=digest.value(), full_object=True)
