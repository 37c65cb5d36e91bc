"""Digests against independent implementations, and which two of them may be compared."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable

import awscrt.checksums
import fastcrc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.plan.digests import (
    COMBINABLE,
    Checksum,
    ChecksumAlgorithm,
    Match,
    combine,
    compare_checksums,
    compare_etags,
    composite_etag,
    decode_crc,
    encode_crc,
    md5_of_etag,
    normal_etag,
    part_count_of_etag,
)

PARTS = st.lists(st.binary(max_size=70), max_size=8)
REFERENCE: dict[ChecksumAlgorithm, Callable[[bytes], int]] = {
    ChecksumAlgorithm.CRC32: zlib.crc32,
    ChecksumAlgorithm.CRC32C: awscrt.checksums.crc32c,
    ChecksumAlgorithm.CRC64NVME: awscrt.checksums.crc64nvme,
    ChecksumAlgorithm.CRC64XZ: fastcrc.crc64.xz,
}
PLAIN, OTHER = "a" * 32, "b" * 32
COMPOSITE, OTHER_COMPOSITE = f"{PLAIN}-3", f"{OTHER}-3"


def md5(data: bytes) -> str:
    """Return the hexadecimal MD5."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@given(parts=PARTS.filter(bool))
def test_a_composite_etag_is_the_md5_of_the_binary_md5s(parts: list[bytes]) -> None:
    """As Amazon S3 computes it, whatever the quotes and the case of the parts' ETags."""
    joined = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
    expected = f"{md5(joined)}-{len(parts)}"
    assert composite_etag([md5(part) for part in parts]) == expected
    assert composite_etag([f'"{md5(part).upper()}"' for part in parts]) == expected
    assert part_count_of_etag(expected) == len(parts)
    assert md5_of_etag(expected) is None


def test_no_composite_etag_without_md5s() -> None:
    """Parts whose ETags are no MD5s, or no parts at all, give none."""
    assert composite_etag([PLAIN, "opaque"]) is None
    assert composite_etag([PLAIN, COMPOSITE]) is None
    assert composite_etag([]) is None


@pytest.mark.parametrize("algorithm", [a for a in ChecksumAlgorithm if a in COMBINABLE])
@given(parts=PARTS)
def test_a_combined_crc_is_that_of_the_whole(
    algorithm: ChecksumAlgorithm, parts: list[bytes]
) -> None:
    """Parts of any length, empty ones too, combine into the checksum of all bytes."""
    crc = REFERENCE[algorithm]
    pieces = [(encode_crc(algorithm, crc(part)), len(part)) for part in parts]
    assert combine(algorithm, pieces) == encode_crc(algorithm, crc(b"".join(parts)))


@given(
    length=st.integers(min_value=0, max_value=1 << 43),
    other=st.integers(min_value=0, max_value=1 << 43),
)
def test_crcs_of_huge_parts_combine_in_any_grouping(length: int, other: int) -> None:
    """Combining is associative, so terabytes need not be read to trust it."""
    algorithm = ChecksumAlgorithm.CRC64NVME
    a, b, c = ((encode_crc(algorithm, n), size) for n, size in ((7, length), (8, other), (9, 3)))
    first = (combine(algorithm, [a, b]), length + other)
    last = (combine(algorithm, [b, c]), other + 3)
    assert combine(algorithm, [first, c]) == combine(algorithm, [a, last])
    assert combine(algorithm, [first, c]) == combine(algorithm, [a, b, c])


@given(value=st.integers(min_value=0, max_value=(1 << 64) - 1))
def test_crcs_are_written_as_s3_writes_them(value: int) -> None:
    """Base64 of the big-endian bytes, read back as the same number."""
    text = encode_crc(ChecksumAlgorithm.CRC64NVME, value)
    assert base64.b64decode(text) == value.to_bytes(8, "big")
    assert decode_crc(text) == value


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (PLAIN, PLAIN, Match.SAME),
        (PLAIN, OTHER, Match.DIFFERENT),
        (f'"{PLAIN}"', PLAIN.upper(), Match.SAME),
        (f'W/"{PLAIN}"', PLAIN, Match.SAME),
        (COMPOSITE, COMPOSITE, Match.SAME),
        (COMPOSITE, OTHER_COMPOSITE, Match.UNKNOWN),
        (COMPOSITE, f"{PLAIN}-4", Match.UNKNOWN),
        (PLAIN, COMPOSITE, Match.UNKNOWN),
        (COMPOSITE, PLAIN, Match.UNKNOWN),
        (PLAIN, None, Match.UNKNOWN),
        (None, None, Match.UNKNOWN),
        ("", "", Match.UNKNOWN),
        ("opaque", "opaque", Match.UNKNOWN),
        ("opaque", PLAIN, Match.UNKNOWN),
        (f"{PLAIN}-0", f"{PLAIN}-0", Match.UNKNOWN),
        (PLAIN + "\n", PLAIN + "\n", Match.UNKNOWN),
    ],
)
def test_c07_which_etags_may_be_compared(
    one: str | None, other: str | None, expected: Match
) -> None:
    """Only two plain MD5s can say "different"; a composite one is never held against a plain."""
    assert compare_etags(one, other) is expected
    assert compare_etags(other, one) is expected


def test_c07_plain_etags_of_encrypted_objects_do_not_differ() -> None:
    """Under KMS a plain ETag is not an MD5, so two of them say nothing."""
    assert compare_etags(PLAIN, OTHER, encrypted=True) is Match.UNKNOWN
    assert compare_etags(PLAIN, PLAIN, encrypted=True) is Match.SAME


def test_etags_are_compared_without_quotes() -> None:
    """Quotes, the weak mark and the case are the service's manner, not the digest."""
    assert normal_etag(f'W/"{PLAIN.upper()}"') == PLAIN
    assert normal_etag('""') is None
    assert normal_etag(None) is None


def checksum(value: str, algorithm: str = "CRC32C", *, full: bool = True) -> Checksum:
    """Return a checksum."""
    return Checksum(algorithm=ChecksumAlgorithm(algorithm), value=value, full_object=full)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([checksum("x")], [checksum("x")], Match.SAME),
        ([checksum("x")], [checksum("y")], Match.DIFFERENT),
        ([checksum("x")], [checksum("x", full=False)], Match.UNKNOWN),
        ([checksum("x", full=False)], [checksum("x", full=False)], Match.UNKNOWN),
        ([checksum("x")], [checksum("x", "CRC32")], Match.UNKNOWN),
        ([checksum("x"), checksum("p", "SHA1")], [checksum("q", "SHA1")], Match.DIFFERENT),
        (
            [checksum("x"), checksum("p", "SHA1")],
            [checksum("x"), checksum("q", "SHA1")],
            Match.DIFFERENT,
        ),
        ([], [checksum("x")], Match.UNKNOWN),
    ],
)
def test_which_checksums_may_be_compared(
    one: list[Checksum], other: list[Checksum], expected: Match
) -> None:
    """Full-object ones of one algorithm; one that differs outweighs all that are the same."""
    assert compare_checksums(one, other) is expected
    assert compare_checksums(other, one) is expected
