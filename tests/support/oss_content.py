"""The bytes of stored objects: kept in memory, or made up from their offset when they are read."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Protocol

from fastcrc import crc64

from airflow_provider_s3resume.plan.digests import (
    ChecksumAlgorithm,
    combine,
    decode_crc,
    encode_crc,
)

BLOCK = 1_048_573
"""Length of a synthetic block: a prime, so that no two usual part offsets meet the same bytes."""
_TURNS = 16
_LARGEST_HASHED = 64 * 1024 * 1024


class Content(Protocol):
    """What an object holds; ``md5`` is None where nobody can afford to compute it."""

    @property
    def size(self) -> int:
        """The length in bytes."""

    @property
    def crc64(self) -> int:
        """The CRC-64/XZ of all bytes."""

    @property
    def md5(self) -> bytes | None:
        """The MD5 of all bytes."""

    def pieces(self, start: int, end: int) -> Iterator[memoryview]:
        """Yield the bytes from ``start`` to ``end``, the latter excluded, in large views."""


def combined_crc(parts: Iterable[tuple[int, int]]) -> int:
    """Return the CRC-64/XZ of neighbours from (CRC, length) of each."""
    xz = ChecksumAlgorithm.CRC64XZ
    return decode_crc(combine(xz, [(encode_crc(xz, crc), length) for crc, length in parts]))


def crc_of(data: bytes | bytearray | memoryview, before: int = 0) -> int:
    """Return the CRC-64/XZ of some bytes, going on from the CRC of those before them."""
    return int(crc64.xz(data, before) if before else crc64.xz(data))


class Kept:
    """Bytes in memory, in as many chunks as they came in."""

    def __init__(self, chunks: tuple[bytes, ...], crc: int) -> None:
        self._chunks = chunks
        self._md5: bytes | None = None
        self.size = sum(map(len, chunks))
        self.crc64 = crc

    @classmethod
    def of(cls, data: bytes) -> Kept:
        """Return the content with these bytes."""
        return cls((data,) if data else (), crc_of(data))

    @classmethod
    def joined(cls, contents: Iterable[Kept]) -> Kept:
        """Return the content of several, one behind the other."""
        found = list(contents)
        chunks = tuple(chunk for content in found for chunk in content._chunks)
        return cls(chunks, combined_crc((content.crc64, content.size) for content in found))

    @property
    def md5(self) -> bytes:
        """The MD5 of all bytes, computed once."""
        if self._md5 is None:
            digest = hashlib.md5(usedforsecurity=False)
            for chunk in self._chunks:
                digest.update(chunk)
            self._md5 = digest.digest()
        return self._md5

    def pieces(self, start: int, end: int) -> Iterator[memoryview]:
        """Yield the bytes from ``start`` to ``end`` without copying them."""
        offset = 0
        for chunk in self._chunks:
            low, high = max(start - offset, 0), min(end - offset, len(chunk))
            if low < high:
                yield memoryview(chunk)[low:high]
            offset += len(chunk)
            if offset >= end:
                break


class Synthetic:
    """Bytes that follow from a seed and their offset; of any size, and of no weight.

    One block repeats, begun at another place in each of sixteen turns; the seed moves them all.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size = size
        self._moved = seed * 7_919
        self._crc: int | None = None

    def pieces(self, start: int, end: int) -> Iterator[memoryview]:
        """Yield the bytes from ``start`` to ``end`` as views into the block."""
        twice = memoryview(_block_twice())
        offset = start
        while offset < end:
            turn, inside = divmod(offset, BLOCK)
            length = min(BLOCK - inside, end - offset)
            begin = (turn % _TURNS * 65_521 + self._moved) % BLOCK + inside
            yield twice[begin : begin + length]
            offset += length

    @property
    def crc64(self) -> int:
        """The CRC of all bytes, combined from the CRC of one round instead of being read."""
        if self._crc is None:
            rounds, rest = divmod(self.size, BLOCK * _TURNS)
            whole = _repeated_crc(self._crc_of(BLOCK * _TURNS), rounds) if rounds else 0
            lengths = [(whole, self.size - rest), (self._crc_of(rest), rest)]
            self._crc = combined_crc(lengths)
        return self._crc

    @property
    def md5(self) -> bytes | None:
        """The MD5 of all bytes, as long as computing it is a matter of moments."""
        if self.size > _LARGEST_HASHED:
            return None
        digest = hashlib.md5(usedforsecurity=False)
        for piece in self.pieces(0, self.size):
            digest.update(piece)
        return digest.digest()

    def _crc_of(self, length: int) -> int:
        crc = 0
        for piece in self.pieces(0, length):
            crc = crc_of(piece, crc)
        return crc


@cache
def _block_twice() -> bytes:
    return random.Random(0).randbytes(BLOCK) * 2


def _repeated_crc(crc: int, times: int) -> int:
    """Return the CRC of ``times`` rounds with this CRC each, by doubling."""
    length = BLOCK * _TURNS
    whole = 0
    while times:
        if times & 1:
            # The length of the first of two plays no part.
            whole = combined_crc([(whole, 0), (crc, length)])
        crc, length = combined_crc([(crc, length), (crc, length)]), length * 2
        times >>= 1
    return whole


def part_of(content: Content, start: int, end: int) -> Kept:
    """Return the bytes from ``start`` to ``end`` as a content of their own."""
    return Kept.of(b"".join(content.pieces(start, end)))


def flipped(
    pieces: Iterable[memoryview], start: int, offsets: Iterable[int]
) -> Iterator[memoryview]:
    """Yield pieces that begin at ``start`` with every bit of the bytes at ``offsets`` turned."""
    wanted = sorted(offsets)
    begin = start
    for piece in pieces:
        done = 0
        for at in [offset - begin for offset in wanted]:
            if 0 <= at < len(piece):
                yield piece[done:at]
                yield memoryview(bytes([piece[at] ^ 0xFF]))
                done = at + 1
        yield piece[done:]
        begin += len(piece)
