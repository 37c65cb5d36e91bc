"""The data set of the OSS demo: every kind of object, varied on purpose, the same every time."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import oss2

from tests.support.demo_data import MIB, ODD_KEYS, bytes_of

READINGS = 200
LINK, LINK_TARGET = "links/latest.csv", "readings/2026-05/day-0100.csv"
OLD_SMALL, OLD_LARGE = "old/from-before-crcs.csv", "old/large-from-before-crcs.bin"
OLD_LOG = "old/log-from-before-crcs.log"
WITHOUT_CRC = (OLD_SMALL, OLD_LARGE, OLD_LOG)
GZIPPED = ("web/page.html.gz", "web/large.json.gz")
METADATA_KEY = "web/page.html"
UNEVEN_KEY, BIG_KEY = "archive/uneven-parts.bin", "archive/big-96MiB.bin"
LOG_KEY, LARGE_LOG_KEY = "logs/app.log", "logs/large.log"

# The target of the demo takes a backslash for a slash.
KEYS = tuple(key for key in ODD_KEYS if "\\" not in key)

PLAIN_TEXT = {"Content-Type": "text/plain"}

Control = Callable[..., object]
"""Calls a method of the server's state: what no client of OSS can ask for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """An object that is written in one request."""

    key: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def items() -> Iterator[Item]:
    """Yield the Normal objects."""
    for number in range(READINGS):
        key = f"readings/2026-{number % 12 + 1:02d}/day-{number:04d}.csv"
        yield Item(key=key, body=bytes_of(key, 500 + number * 75))
    for key in KEYS:
        yield Item(key=key, body=bytes_of(key, 1_234))
    for key in ("empty/zero-bytes", "markers/folder/"):
        yield Item(key=key, body=b"")
    yield Item(key="medium/just-over-one-part.bin", body=bytes_of("medium", 20 * MIB + 1))
    encoded = {"Content-Encoding": "gzip"}
    sizes = dict(zip(GZIPPED, (3_000, 18 * MIB), strict=True))
    for key, size in sizes.items():
        body = gzip.compress(bytes_of(key, size), compresslevel=1, mtime=0)
        yield Item(key=key, body=body, headers=encoded)
    yield Item(
        key=METADATA_KEY,
        body=b"<p>hello</p>",
        headers={
            "Content-Type": "text/html; charset=utf-8",
            "Cache-Control": "max-age=60",
            "Content-Disposition": 'inline; filename="page.html"',
            "Content-Language": "de",
            "x-oss-meta-owner": "demo",
            "x-oss-meta-city": "Città 日本",
            "x-oss-tagging": "class=public&team=data%20platform",
        },
    )


def seed(bucket: oss2.Bucket, control: Control) -> None:
    """Put every object into a bucket that is there."""
    for item in items():
        # The SDK sends text as Latin-1; OSS means UTF-8.
        headers = {name: value.encode() for name, value in item.headers.items()}
        bucket.put_object(item.key, item.body, headers=headers)
    for key, sizes in ((UNEVEN_KEY, (5, 7, 6)), (BIG_KEY, (8,) * 12)):
        parts = [bytes_of(f"{key} {n}", size * MIB) for n, size in enumerate(sizes)]
        put_multipart(bucket, key, parts)
    for key, pieces in ((LOG_KEY, (700, 0, 1_300)), (LARGE_LOG_KEY, (9 * MIB, 10 * MIB))):
        at = 0
        for number, size in enumerate(pieces):
            body = bytes_of(f"{key} {number}", size)
            at = bucket.append_object(key, at, body, headers=PLAIN_TEXT).next_position
    bucket.put_symlink(LINK_TARGET, LINK)
    control("put", bucket.bucket_name, OLD_SMALL, bytes_of(OLD_SMALL, 4_321), crc=False)
    control("put", bucket.bucket_name, OLD_LARGE, bytes_of(OLD_LARGE, 19 * MIB), crc=False)
    control("append", bucket.bucket_name, OLD_LOG, bytes_of(OLD_LOG, 2_222), crc=False)


def put_multipart(bucket: oss2.Bucket, key: str, parts: list[bytes]) -> None:
    """Upload an object in exactly these parts."""
    upload = bucket.init_multipart_upload(key).upload_id
    done = [
        oss2.models.PartInfo(number, bucket.upload_part(key, upload, number, body).etag)
        for number, body in enumerate(parts, 1)
    ]
    bucket.complete_multipart_upload(key, upload, done)
