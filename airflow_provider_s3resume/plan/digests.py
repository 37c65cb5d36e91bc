"""Digests: what an ETag says, how part digests make one of the whole, which two may be compared.

Sources of the rules: "Checking object integrity in Amazon S3" (multipart ETags are the MD5 of the
concatenated binary MD5s, then ``-N``; full-object CRCs may be combined from those of the parts)
and RFC 1321. CRC combination follows from CRCs being linear over GF(2).
"""

from __future__ import annotations

import base64
import enum
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_MD5_HEX = re.compile(r"[0-9a-f]{32}\Z")
_ETAGS = 1024
"""ETags whose forms are known: each is looked at some ten times while its object is copied."""
_COMPOSITE = re.compile(r"([0-9a-f]{32})-([1-9][0-9]{0,4})\Z")


class ChecksumAlgorithm(enum.Enum):
    """Checksums that a part may carry; the value is the name in the S3 API.

    ``MD5`` travels as ``Content-MD5``: every S3-compatible service checks it.
    """

    CRC64NVME = "CRC64NVME"
    CRC32C = "CRC32C"
    CRC32 = "CRC32"
    SHA256 = "SHA256"
    SHA1 = "SHA1"
    CRC64XZ = "CRC64XZ"
    MD5 = "MD5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksum:
    """A checksum as a service holds it.

    :param value: base64 of the big-endian bytes, as in ``x-amz-checksum-…``.
    :param full_object: True if it is of the object's bytes, False if it is a checksum of the
        parts' checksums (composite), which depends on the part layout.
    """

    algorithm: ChecksumAlgorithm
    value: str
    full_object: bool


class Match(enum.Enum):
    """The answer to "are these the same bytes?"; ``UNKNOWN`` is never taken for ``SAME``."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crc:
    width: int
    reflected_polynomial: int


_CRCS = {
    ChecksumAlgorithm.CRC32: _Crc(width=32, reflected_polynomial=0xEDB88320),
    ChecksumAlgorithm.CRC32C: _Crc(width=32, reflected_polynomial=0x82F63B78),
    ChecksumAlgorithm.CRC64NVME: _Crc(width=64, reflected_polynomial=0x9A6C9329AC4BC9B5),
    ChecksumAlgorithm.CRC64XZ: _Crc(width=64, reflected_polynomial=0xC96C5795D7870F42),
}

COMBINABLE = frozenset(_CRCS)
"""Algorithms whose full-object value follows from the parts' values and lengths."""


@lru_cache(maxsize=_ETAGS)
def normal_etag(etag: str | None) -> str | None:
    """Return an ETag without quotes and weak mark, in lower case, or ``None`` if it is empty."""
    if etag is None:
        return None
    bare = etag.removeprefix("W/").strip('"')
    return bare.lower() or None


@lru_cache(maxsize=_ETAGS)
def md5_of_etag(etag: str | None) -> str | None:
    """Return the hexadecimal MD5 that a plain ETag has the form of, else ``None``.

    The form alone is no proof: SSE-KMS and SSE-C objects have ETags of the same form that are not
    MD5s. Two ETags of that form that are *equal* do prove equal bytes.
    """
    bare = normal_etag(etag)
    return bare if bare is not None and _MD5_HEX.match(bare) else None


@lru_cache(maxsize=_ETAGS)
def part_count_of_etag(etag: str | None) -> int | None:
    """Return N of a composite ETag ``<md5>-N``, else ``None``."""
    found = _COMPOSITE.match(normal_etag(etag) or "")
    return int(found[2]) if found else None


def composite_etag(part_etags: Sequence[str]) -> str | None:
    """Return the multipart ETag that parts with these ETags give.

    :returns: ``<md5 of the binary MD5s>-N``, or ``None`` if a part's ETag is not an MD5.
    """
    digests = [md5_of_etag(etag) for etag in part_etags]
    if not digests or any(digest is None for digest in digests):
        return None
    joined = b"".join(bytes.fromhex(digest) for digest in digests if digest is not None)
    # MD5 is what S3 defines here; nothing rests on it against an attacker.
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(digests)}"


def compare_etags(one: str | None, other: str | None, *, encrypted: bool = False) -> Match:
    """Compare two ETags of objects of the same size.

    Equal ETags of MD5 form mean equal bytes. Different ones mean different bytes only when both are
    plain MD5s: a composite ETag depends on the part layout, so two different composite ETags, or a
    composite and a plain one, say nothing.

    :param encrypted: True if either side's ETag is known to be no MD5 whatever its form: under KMS
        or customer keys, or because the service says so.
    """
    left, right = normal_etag(one), normal_etag(other)
    if left is None or right is None:
        return Match.UNKNOWN
    known_form = md5_of_etag(left) is not None or part_count_of_etag(left) is not None
    if left == right:
        return Match.SAME if known_form else Match.UNKNOWN
    if md5_of_etag(left) and md5_of_etag(right) and not encrypted:
        return Match.DIFFERENT
    return Match.UNKNOWN


def compare_checksums(one: Iterable[Checksum], other: Iterable[Checksum]) -> Match:
    """Compare by any full-object checksum that both sides hold for the same algorithm."""
    theirs = [checksum for checksum in other if checksum.full_object]
    verdict = Match.UNKNOWN
    for checksum in one:
        if not checksum.full_object:
            continue
        # Of several in one algorithm the last one counts.
        same = [c.value for c in theirs if c.algorithm is checksum.algorithm]
        if not same:
            continue
        if same[-1] != checksum.value:
            return Match.DIFFERENT
        verdict = Match.SAME
    return verdict


def encode_crc(algorithm: ChecksumAlgorithm, value: int) -> str:
    """Return a CRC as S3 writes it: base64 of the big-endian bytes."""
    return base64.b64encode(value.to_bytes(_CRCS[algorithm].width // 8, "big")).decode("ascii")


def decode_crc(value: str) -> int:
    """Return the number behind a base64 CRC.

    :raises ValueError: if the text is not base64.
    """
    return int.from_bytes(base64.b64decode(value, validate=True), "big")


def combine(algorithm: ChecksumAlgorithm, parts: Iterable[tuple[str, int]]) -> str:
    """Return the full-object CRC from the parts' CRCs.

    :param parts: (base64 CRC, length in bytes) of each part, in order.
    :returns: the base64 CRC of the whole.
    :raises KeyError: if the algorithm cannot be combined (see :data:`COMBINABLE`).
    """
    crc = _CRCS[algorithm]
    whole = 0
    for value, length in parts:
        whole = _apply(_zeros_operator(crc, length), whole) ^ decode_crc(value)
    return encode_crc(algorithm, whole)


def _apply(matrix: tuple[int, ...], vector: int) -> int:
    result = 0
    for row in matrix:
        if vector & 1:
            result ^= row
        vector >>= 1
        if not vector:
            break
    return result


def _product(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(_apply(first, row) for row in second)


@lru_cache(maxsize=64)
def _zeros_operator(crc: _Crc, length: int) -> tuple[int, ...]:
    """Return the GF(2) matrix that appends ``length`` zero bytes; cached, as parts repeat sizes."""
    bit = (crc.reflected_polynomial, *(1 << n for n in range(crc.width - 1)))
    power = bit
    for _ in range(3):
        power = _product(power, power)
    operator = tuple(1 << n for n in range(crc.width))
    while length:
        if length & 1:
            operator = _product(power, operator)
        power = _product(power, power)
        length >>= 1
    return operator
