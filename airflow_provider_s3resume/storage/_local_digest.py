"""The checksums of a file's bytes, as they are read back from it."""

from __future__ import annotations

import base64
import hashlib
import os
from typing import Final, Protocol

import fastcrc

from airflow_provider_s3resume.exceptions import DigestRejectedError
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.storage.checksums import RUNNING, RunningChecksum, running_checksum

_STEP: Final = 1 << 20
_HASHES: Final = {
    ChecksumAlgorithm.SHA256: "sha256",
    ChecksumAlgorithm.SHA1: "sha1",
    ChecksumAlgorithm.MD5: "md5",
}


class Running(Protocol):
    """A checksum that grows with the bytes."""

    def update(self, data: memoryview) -> None:
        """Take more bytes."""

    def value(self) -> str:
        """Return the checksum of all bytes so far, as S3 writes it."""


class _Hash:
    def __init__(self, name: str) -> None:
        # Services define them; none guards a secret.
        self._hash = hashlib.new(name, usedforsecurity=False)

    def update(self, data: memoryview) -> None:
        self._hash.update(data)

    def value(self) -> str:
        return base64.b64encode(self._hash.digest()).decode("ascii")


def running(algorithm: ChecksumAlgorithm) -> Running:
    """Return an empty checksum that grows with the bytes."""
    if algorithm.value in RUNNING:
        return running_checksum(algorithm.value)
    if algorithm is ChecksumAlgorithm.CRC64XZ:
        return RunningChecksum(fastcrc.crc64.xz, 8)
    return _Hash(_HASHES[algorithm])


def read_back(
    fd: int, offset: int, length: int, wanted: set[ChecksumAlgorithm]
) -> dict[ChecksumAlgorithm, str]:
    """Return the checksums of a range of a file, as S3 writes them.

    :raises OSError: if the file does not have all of it.
    """
    sums = {algorithm: running(algorithm) for algorithm in wanted}
    buffer = memoryview(bytearray(min(_STEP, length) or 1))
    stop = offset + length
    while offset < stop:
        count = os.preadv(fd, [buffer[: min(len(buffer), stop - offset)]], offset)
        if count == 0:
            raise OSError(f"what was written is not there: the file ends at byte {offset}")
        for one in sums.values():
            one.update(buffer[:count])
        offset += count
    return {algorithm: one.value() for algorithm, one in sums.items()}


def check_written(uri: str, operation: str, found: str, sent: Checksum | None) -> None:
    """Compare what is in the file with what was sent.

    :raises DigestRejectedError: if the bytes are others.
    """
    if sent is not None and sent.value != found:
        name = sent.algorithm.value
        detail = f"BadDigest: {name} of the bytes in the file is {found}, sent was {sent.value}"
        raise DigestRejectedError(operation, uri, detail)
