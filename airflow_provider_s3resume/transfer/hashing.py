"""Digests of bytes in memory, at the speed of the machine and without holding the GIL.

Measured per GiB: CRC64NVME 0.1 CPU-s, CRC32C 0.16, CRC-64/XZ 0.1, zlib's CRC32 0.5, MD5 1.65;
hence CRC64NVME first, MD5 only where a target checks nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from typing import TYPE_CHECKING

import awscrt.checksums
import fastcrc

from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm, encode_crc

if TYPE_CHECKING:
    from collections.abc import Callable

_CRC_STEPS: dict[ChecksumAlgorithm, Callable[[memoryview, int], int]] = {
    ChecksumAlgorithm.CRC64NVME: awscrt.checksums.crc64nvme,
    ChecksumAlgorithm.CRC32C: awscrt.checksums.crc32c,
    ChecksumAlgorithm.CRC32: zlib.crc32,
    ChecksumAlgorithm.CRC64XZ: fastcrc.crc64.xz,
}
_HASHES = {
    ChecksumAlgorithm.MD5: "md5",
    ChecksumAlgorithm.SHA1: "sha1",
    ChecksumAlgorithm.SHA256: "sha256",
}


class Hasher:
    """One digest that grows with the bytes.

    :raises KeyError: for an algorithm that is not known.
    """

    def __init__(self, algorithm: ChecksumAlgorithm) -> None:
        self.algorithm = algorithm
        self._crc = 0
        self._step = _CRC_STEPS.get(algorithm)
        # These hashes are what the services define; none of them guards a secret.
        self._hash = (
            None
            if self._step is not None
            else hashlib.new(_HASHES[algorithm], usedforsecurity=False)
        )

    def update(self, data: memoryview) -> None:
        """Take more bytes."""
        if self._step is not None:
            self._crc = self._step(data, self._crc)
        elif self._hash is not None:
            self._hash.update(data)

    def checksum(self) -> Checksum:
        """Return the digest of all bytes so far."""
        value = (
            encode_crc(self.algorithm, self._crc)
            if self._hash is None
            else base64.b64encode(self._hash.digest()).decode("ascii")
        )
        return Checksum(algorithm=self.algorithm, value=value, full_object=True)


def checksum_of(algorithm: ChecksumAlgorithm, data: memoryview | bytes | bytearray) -> Checksum:
    """Return the checksum of bytes in memory."""
    step = _CRC_STEPS.get(algorithm)
    if step is not None:
        value = encode_crc(algorithm, step(memoryview(data), 0))
        return Checksum(algorithm=algorithm, value=value, full_object=True)
    hasher = Hasher(algorithm)
    hasher.update(memoryview(data))
    return hasher.checksum()


def hex_of(checksum: Checksum) -> str:
    """Return a checksum's bytes in hexadecimal, as ETags write them."""
    return base64.b64decode(checksum.value).hex()


def md5_hex(data: memoryview | bytes | bytearray) -> str:
    """Return the hexadecimal MD5, the form of a plain ETag."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
