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
