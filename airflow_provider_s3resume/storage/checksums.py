"""The checksums that a service computes over what it received, for stores that play the service."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable
from typing import Final

import fastcrc
from awscrt import checksums as crt

from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm


def _crc(width: int, function: Callable[[bytes], int]) -> Callable[[bytes], bytes]:
    return lambda data: function(data).to_bytes(width // 8, "big")


_DIGESTS: Final[dict[ChecksumAlgorithm, Callable[[bytes], bytes]]] = {
    ChecksumAlgorithm.CRC64NVME: _crc(64, crt.crc64nvme),
    ChecksumAlgorithm.CRC32C: _crc(32, crt.crc32c),
    ChecksumAlgorithm.CRC32: _crc(32, zlib.crc32),
    ChecksumAlgorithm.CRC64XZ: _crc(64, fastcrc.crc64.xz),
    ChecksumAlgorithm.SHA256: lambda data: hashlib.sha256(data).digest(),
    ChecksumAlgorithm.SHA1: lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    ChecksumAlgorithm.MD5: lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
}


def checksum_value(algorithm: ChecksumAlgorithm, data: bytes) -> str:
    """Return the checksum of ``data`` as S3 writes it: base64 of the big-endian bytes."""
    return base64.b64encode(_DIGESTS[algorithm](data)).decode("ascii")


def composite_value(algorithm: ChecksumAlgorithm, part_values: list[str]) -> str:
    """Return S3's composite checksum: that of the parts' binary checksums, then ``-N``."""
    joined = b"".join(base64.b64decode(value) for value in part_values)
    return f"{checksum_value(algorithm, joined)}-{len(part_values)}"


class RunningChecksum:
    """A checksum that grows with the bytes.

    :param width: characters that its value has.
    """

    def __init__(self, step: Callable[[memoryview, int], int], size: int) -> None:
        self._step = step
        self._size = size
        self._crc = 0
        self.width = len(base64.b64encode(bytes(size)))

    def update(self, data: memoryview) -> None:
        """Take more bytes."""
        self._crc = self._step(data, self._crc)

    def value(self) -> str:
        """Return the checksum of all bytes so far, as S3 writes it."""
        return base64.b64encode(self._crc.to_bytes(self._size, "big")).decode("ascii")


_STEPS: Final[dict[str, tuple[Callable[[memoryview, int], int], int]]] = {
    ChecksumAlgorithm.CRC64NVME.value: (crt.crc64nvme, 8),
    ChecksumAlgorithm.CRC32C.value: (crt.crc32c, 4),
    ChecksumAlgorithm.CRC32.value: (zlib.crc32, 4),
}
RUNNING: Final = frozenset(_STEPS)
"""Names of the algorithms that can be computed while bytes pass by."""


def running_checksum(algorithm: str) -> RunningChecksum:
    """Return an empty checksum.

    :raises KeyError: for an algorithm that is not in ``RUNNING``.
    """
    return RunningChecksum(*_STEPS[algorithm])
