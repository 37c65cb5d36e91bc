"""An S3 that stores no bytes: what it is asked for it makes up, what it is sent it only hashes.

``python -m tests.support.null_s3 [CERT KEY]`` prints its port and serves until its stdin ends.
Buckets: ``source`` has ``big/<parts>x<MiB>``, made of so many parts, ``whole/<n>`` of 8 MiB, which
are not, ``half/<n>`` of 512 KiB, ``quarter/<n>`` of 256 and ``small/<n>`` of 64; ``target`` keeps
sizes and ETags; ``state`` keeps its objects whole. ``POST /reset`` forgets the target, and all of
the state since ``POST /keep``; ``POST /gather/<n>`` leaves writes to the target unanswered until so
many of them have come; ``GET /totals`` tells what arrived.

It checks neither signatures nor checksums, and knows just the calls that a copy makes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import random
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

MIB = 1 << 20
SIZES = {"small": 64 * 1024, "quarter": 256 * 1024, "half": 512 * 1024, "whole": 8 * MIB}
PAGE = 1000
GATHERING_S = 30
"""The longest that a write waits for others."""
BLOCK = random.Random(1).randbytes(MIB)
_TWICE = memoryview(BLOCK + BLOCK)
_STAMP = "2026-01-01T00:00:00.000Z"
_DATE = formatdate(time.mktime((2026, 1, 1, 0, 0, 0, 0, 0, 0)), usegmt=True)


@functools.cache
def md5_of_part(size: int) -> str:
    """Return the MD5 of so many bytes from the start of a block that repeats."""
    digest = hashlib.md5(usedforsecurity=False)
    for start in range(0, size, MIB):
        digest.update(_TWICE[: min(MIB, size - start)])
    return digest.hexdigest()


def etag_of_parts(digests: list[str]) -> str:
    """Return the ETag of a multipart object."""
    joined = b"".join(bytes.fromhex(digest) for digest in digests)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(digests)}"


@dataclass(frozen=True, slots=True)
class Kept:
    """An object; ``part_size`` of one made of parts, ``data`` if its bytes are kept."""

    size: int
    etag: str
    part_size: int | None = None
    data: bytes | None = None


def source_object(key: str) -> Kept | None:
    """Return an object of the source by its name."""
    kind, _, name = key.partition("/")
    if size := SIZES.get(kind, 0):
        return Kept(size, md5_of_part(size))
    if kind != "big":
        return None
    count, _, mib = name.partition("x")
    size = int(mib) * MIB
    return Kept(int(count) * size, etag_of_parts([md5_of_part(size)] * int(count)), size)


@dataclass
class Upload:
    """An unfinished upload: part number → size and MD5."""

    parts: dict[int, tuple[int, str]] = field(default_factory=dict)


class World:
    """What is kept, for all connections."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.gathered = threading.Condition(self.lock)
        self.buckets: dict[str, dict[str, Kept]] = {"target": {}, "state": {}}
        self.kept: dict[str, Kept] = {}
        self.uploads: dict[tuple[str, str], Upload] = {}
        self.most_at_once = 0
        self.now = 0
        self.sent_parts = 0
        self.awaited = 0

    def find(self, bucket: str, key: str) -> Kept | None:
        """Return an object."""
        return source_object(key) if bucket == "source" else self.buckets[bucket].get(key)

    def keep(self) -> None:
        """Remember the state as it is."""
        self.kept = dict(self.buckets["state"])

    def reset(self) -> None:
        """Go back to what was remembered."""
        self.buckets = {"target": {}, "state": dict(self.kept)}
        self.uploads.clear()
        self.most_at_once = self.sent_parts = self.awaited = 0

    def gather(self) -> None:
        """Wait until as many writes are under way as are awaited; to be called with the lock."""
        if self.now >= self.awaited:
            self.awaited = 0
            self.gathered.notify_all()
        self.gathered.wait_for(lambda: not self.awaited, GATHERING_S)

    def totals(self) -> dict[str, object]:
        """Return what arrived."""
        found = self.buckets["target"]
        return {
            "objects": len(found),
            "bytes": sum(kept.size for kept in found.values()),
            "other_etags": sum(
                kept.etag != getattr(source_object(k), "etag", 0) for k, kept in found.items()
            ),
            "uploads": len(self.uploads),
            "parts": self.sent_parts,
            "most_at_once": self.most_at_once,
        }


WORLD = World()


class Readable(Protocol):
    """What chunks are read from."""

    def read(self, size: int, /) -> bytes:
        """Return so many bytes."""

    def readline(self) -> bytes:
        """Return a line."""


class Chunks:
    """The payload of chunks, each behind a line that begins with its size."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._left = 0
        self._ended = False

    def read(self, size: int, /) -> bytes:
        """Return so many bytes, less at the end."""
        found = bytearray()
        while len(found) < size and (data := self._some(size - len(found))):
            found += data
        return bytes(found)

    def readline(self) -> bytes:
        """Return a line, the rest at the end."""
        line = bytearray()
        while not line.endswith(b"\n") and (data := self._some(1)):
            line += data
        return bytes(line)

    def pieces(self) -> Iterator[bytes]:
        """Yield all payload."""
        while data := self._some(MIB):
            yield data

    def finish(self) -> None:
        """Read to the end of the last chunk's trailers."""
        for _ in self.pieces():
            pass

    def _some(self, most: int) -> bytes:
        if self._ended:
            return b""
        if not self._left:
            self._left = int(self._source.readline().partition(b";")[0], 16)
            if not self._left:
                self._ended = True
                while self._source.readline().strip():
                    pass
                return b""
        data = self._source.read(min(self._left, most))
        self._left -= len(data)
        if not self._left:
            self._source.readline()
        return data


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        """Count what is under way at once."""
        super().handle_one_request()
        self.wfile.flush()

    def _target(self) -> tuple[str, str, dict[str, str]]:
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        return bucket, key, dict(parse_qsl(parts.query, keep_blank_values=True))

    def _body(self) -> tuple[int, str, bytes]:
        """Return size, MD5 and, of what is for the state, the bytes of what is sent."""
        if "100-continue" in self.headers.get("Expect", ""):
            self.send_response_only(100)
            self.end_headers()
            self.wfile.flush()
        digest, size, kept = hashlib.md5(usedforsecurity=False), 0, bytearray()
        for data in self._pieces():
            digest.update(data)
            size += len(data)
            if self.path.startswith("/state/"):
                kept += data
        return size, digest.hexdigest(), bytes(kept)

    def _pieces(self) -> Iterator[bytes]:
        """Yield what is sent, without the frames of trailers (aws-chunked), nor those of HTTP."""
        source: Readable = self.rfile
        if self.headers.get("Transfer-Encoding") == "chunked":
            source = Chunks(source)
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            yield from Chunks(source).pieces()
            if isinstance(source, Chunks):
                source.finish()
        elif isinstance(source, Chunks):
            yield from source.pieces()
        else:
            left = int(self.headers.get("Content-Length") or 0)
            while left > 0 and (data := source.read(min(left, MIB))):
                left -= len(data)
                yield data

    def _answer(self, status: int, body: bytes = b"", **headers: object) -> None:
        self.send_response(status)
        given = {
            "Content-Length": len(body),
            **{k.replace("_", "-"): v for k, v in headers.items()},
        }
        for name, value in given.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _missing(self, code: str) -> None:
        self._answer(404, f"<Error><Code>{code}</Code></Error>".encode())

    # What HTTP calls them.

    def do_HEAD(self) -> None:
        """HeadObject, also of a part."""
        bucket, key, query = self._target()
        found = WORLD.find(bucket, key)
        if found is None:
            self._answer(404)
            return
        size, more = found.size, dict[str, Any]()
        if "partNumber" in query and found.part_size:
            size, more = found.part_size, {"x-amz-mp-parts-count": found.size // found.part_size}
        self._answer(200, ETag=f'"{found.etag}"', Last_Modified=_DATE, Content_Length=size, **more)

    def do_GET(self) -> None:
        """GetObject, ListParts, and listings."""
        bucket, key, query = self._target()
        if bucket == "totals":
            self._answer(200, json.dumps(WORLD.totals()).encode())
        elif not key:
            self._list(bucket, query)
        elif "uploadId" in query:
            self._list_parts(key, query["uploadId"])
        else:
            self._get(WORLD.find(bucket, key))

    def _get(self, found: Kept | None) -> None:
        if found is None:
            self._missing("NoSuchKey")
            return
        start, stop, status = 0, found.size, 200
        headers: dict[str, object] = {"ETag": f'"{found.etag}"', "Last-Modified": _DATE}
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop, status = int(first), int(last) + 1, 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{found.size}"
        self.send_response(status)
        for name, value in {**headers, "Content-Length": stop - start}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if found.data is not None:
            self.wfile.write(found.data[start:stop])
            return
        while start < stop:
            at = start % MIB
            piece = _TWICE[at : at + min(MIB, stop - start)]
            self.wfile.write(piece)
            start += len(piece)

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        if "uploads" in query:
            self._answer(
                200,
                b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>"
                b"</ListMultipartUploadsResult>",
            )
            return
        after = max(query.get("start-after", ""), query.get("continuation-token", ""))
        prefix, most = query.get("prefix", ""), int(query.get("max-keys", PAGE))
        with WORLD.lock:
            known = WORLD.buckets.get(bucket, {})
            keys = sorted(k for k in known if k.startswith(prefix) and k > after)
            page = [(k, known[k]) for k in keys[:most]]
        more = len(keys) > len(page)
        entries = "".join(
            f"<Contents><Key>{escape(k)}</Key><Size>{o.size}</Size><ETag>{o.etag}</ETag>"
            f"<LastModified>{_STAMP}</LastModified></Contents>"
            for k, o in page
        )
        token = (
            f"<NextContinuationToken>{escape(page[-1][0])}</NextContinuationToken>" if more else ""
        )
        text = (
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
            f"<KeyCount>{len(page)}</KeyCount>{entries}</ListBucketResult>"
        )
        self._answer(200, text.encode())

    def _list_parts(self, key: str, upload_id: str) -> None:
        upload = WORLD.uploads.get((key, upload_id))
        if upload is None:
            self._missing("NoSuchUpload")
            return
        with WORLD.lock:
            parts = sorted(upload.parts.items())
        entries = "".join(
            f"<Part><PartNumber>{n}</PartNumber><Size>{size}</Size><ETag>{md5}</ETag></Part>"
            for n, (size, md5) in parts
        )
        text = f"<ListPartsResult><IsTruncated>false</IsTruncated>{entries}</ListPartsResult>"
        self._answer(200, text.encode())

    def do_PUT(self) -> None:
        """PutObject and UploadPart."""
        bucket, key, query = self._target()
        with WORLD.lock:
            WORLD.now += 1
            WORLD.most_at_once = max(WORLD.most_at_once, WORLD.now)
        size, digest, data = self._body()
        with WORLD.lock:
            if bucket == "target":
                WORLD.gather()
            WORLD.now -= 1
            if "uploadId" in query:
                WORLD.uploads[key, query["uploadId"]].parts[int(query["partNumber"])] = size, digest
                WORLD.sent_parts += 1
            else:
                kept = data if bucket == "state" else None
                WORLD.buckets[bucket][key] = Kept(size, digest, data=kept)
        self._answer(200, ETag=f'"{digest}"')

    def do_POST(self) -> None:
        """CreateMultipartUpload, CompleteMultipartUpload, and the orders of the benchmark."""
        bucket, key, query = self._target()
        self._body()
        if bucket in {"keep", "reset"}:
            with WORLD.lock:
                getattr(WORLD, bucket)()
            self._answer(200)
        elif bucket == "gather":
            WORLD.awaited = int(key)
            self._answer(200)
        elif "uploads" in query:
            with WORLD.lock:
                upload_id = f"u{len(WORLD.uploads)}-{time.monotonic_ns()}"
                WORLD.uploads[key, upload_id] = Upload()
            text = f"<R><UploadId>{upload_id}</UploadId></R>"
            self._answer(200, text.encode())
        else:
            self._complete(bucket, key, query["uploadId"])

    def _complete(self, bucket: str, key: str, upload_id: str) -> None:
        with WORLD.lock:
            upload = WORLD.uploads.pop((key, upload_id), None)
            if upload is not None:
                parts = [upload.parts[number] for number in sorted(upload.parts)]
                etag = etag_of_parts([md5 for _, md5 in parts])
                WORLD.buckets[bucket][key] = Kept(sum(size for size, _ in parts), etag)
        if upload is None:
            self._missing("NoSuchUpload")
        else:
            self._answer(200, f"<R><ETag>{etag}</ETag></R>".encode())

    def do_DELETE(self) -> None:
        """DeleteObject and AbortMultipartUpload."""
        bucket, key, query = self._target()
        with WORLD.lock:
            if "uploadId" in query:
                WORLD.uploads.pop((key, query["uploadId"]), None)
            else:
                WORLD.buckets[bucket].pop(key, None)
        self._answer(204)


class Server(ThreadingHTTPServer):
    """Many connections at once."""

    daemon_threads = True
    request_queue_size = 1024

    def handle_error(self, *_: object) -> None:
        """Say nothing of connections that a client dropped."""


def main() -> None:
    """Serve until stdin ends."""
    server = Server(("127.0.0.1", 0), Handler)
    if len(sys.argv) > 1:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
