"""The data set of the demo and of the end-to-end tests: varied on purpose, the same every time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

MIB = 1024 * 1024
BIG_KEY = "archive/big-200MiB.bin"
BIG_PART = 8 * MIB
BIG_PARTS = 26
"""26 parts of 8 MiB: 208 MiB."""

UNEVEN_KEY = "archive/uneven-parts.bin"
UNEVEN_PARTS = (5 * MIB, 7 * MIB, 6 * MIB)
METADATA_KEY = "web/page.html"
ODD_KEYS = (
    "odd/space in key.txt",
    "odd/plus+sign.txt",
    "odd/percent%2Fnot-a-slash.txt",
    "odd/quote'double\"and`back.txt",
    "odd/question?hash#amp&.txt",
    "odd/ünï-çödé-ß-日本-😀.txt",
    "odd/e\u0301-decomposed.txt",
    "odd/\u00e9-composed.txt",
    "odd/back\\slash.txt",
    "odd/star*brackets[1]{2}.txt",
    "odd/a",
    "odd/a.b",
    "odd/a b/below.txt",
    "odd/" + "long-" * 40 + "key.txt",
)
EMPTY_KEYS = ("empty/zero-bytes", "markers/folder/")


@dataclass(frozen=True, kw_only=True, slots=True)
class Small:
    """A small object."""

    key: str
    body: bytes


def bytes_of(seed: str, size: int) -> bytes:
    """Return ``size`` bytes that depend on ``seed`` alone and do not compress."""
    return hashlib.shake_128(seed.encode()).digest(size)


def small_objects() -> Iterator[Small]:
    """Yield the objects that are written in one request: a few hundred of 0 bytes to 20 kB."""
    for number in range(260):
        key = f"readings/2026-{number % 12 + 1:02d}/day-{number:04d}.csv"
        yield Small(key=key, body=bytes_of(key, 500 + number * 75))
    for key in ODD_KEYS:
        yield Small(key=key, body=bytes_of(key, 1_234))
    for key in EMPTY_KEYS:
        yield Small(key=key, body=b"")
    yield Small(key="medium/just-over-one-part.bin", body=bytes_of("medium", 20 * MIB + 1))


def put_multipart(client: S3Client, bucket: str, key: str, parts: list[bytes]) -> None:
    """Upload an object in exactly these parts."""
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    done: list[CompletedPartTypeDef] = []
    for number, body in enumerate(parts, 1):
        answer = client.upload_part(
            Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body
        )
        done.append({"PartNumber": number, "ETag": answer["ETag"]})
    client.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done}
    )


def big_parts() -> list[bytes]:
    """Return the parts of the large object."""
    pattern = bytes_of(BIG_KEY, BIG_PART)
    return [number.to_bytes(8, "big") + pattern[8:] for number in range(BIG_PARTS)]


def seed(client: S3Client, bucket: str, *, big: bool = True) -> None:
    """Put every object into a bucket, which is created if it is not there.

    :param big: the object of 208 MiB, too.
    """
    ensure_bucket(client, bucket)
    for item in small_objects():
        client.put_object(Bucket=bucket, Key=item.key, Body=item.body)
    client.put_object(
        Bucket=bucket,
        Key=METADATA_KEY,
        Body=b"<p>hello</p>",
        ContentType="text/html; charset=utf-8",
        CacheControl="max-age=60",
        ContentDisposition='inline; filename="page.html"',
        ContentLanguage="de",
        Metadata={"owner": "demo"},
        Tagging="class=public&team=data%20platform",
    )
    uneven = [bytes_of(f"uneven-{n}", size) for n, size in enumerate(UNEVEN_PARTS)]
    put_multipart(client, bucket, UNEVEN_KEY, uneven)
    if big:
        put_multipart(client, bucket, BIG_KEY, big_parts())


def ensure_bucket(client: S3Client, bucket: str) -> None:
    """Create a bucket unless it exists."""
    if bucket not in {found.get("Name") for found in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=bucket)
