"""Reading objects: GetObject, HeadObject, and GetObjectMeta with ranges and conditions."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator

from tests.support.oss_content import Content, flipped
from tests.support.oss_messages import Answer, Body, OSSError, Request, from_http_date, http_date
from tests.support.oss_model import Bucket, StoredObject
from tests.support.oss_objects import OSSState, resolved

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_COMPRESSED_TYPES = ("text/", "application/javascript", "application/json", "application/xml")
_LEAST_COMPRESSED = 1024


def get_object(state: OSSState, request: Request) -> Answer:
    """Answer with an object, or as much of it as was asked for."""
    bucket, found = _found(state, request)
    source = resolved(bucket, found)
    _require_thawed(bucket, source)
    headers = object_headers(bucket, found, source)
    if unchanged := require_conditions(request.headers, source, headers):
        return unchanged
    headers |= _overrides(request)
    span = requested_range(request.headers, source.content.size)
    if span is None and _is_compressed(request, source):
        return _compressed(source.content, headers)
    start, end = span or (0, source.content.size)
    pieces = _served(source, start, end)
    if span is not None:
        headers["content-range"] = f"bytes {start}-{end - 1}/{source.content.size}"
    return Answer(
        status=200 if span is None else 206,
        headers=headers,
        body=Body(length=end - start, pieces=pieces),
    )


def head_object(state: OSSState, request: Request) -> Answer:
    """Answer with all that an object's headers say; a Range changes nothing here."""
    bucket, found = _found(state, request)
    source = resolved(bucket, found)
    headers = object_headers(bucket, found, source)
    if unchanged := require_conditions(request.headers, source, headers):
        return unchanged
    return Answer(headers=headers, body=Body(length=source.content.size, pieces=iter(())))


def get_object_meta(state: OSSState, request: Request) -> Answer:
    """Answer with the few headers that do not depend on the object's metadata."""
    bucket, found = _found(state, request)
    source = found if request.header_or_query("versionId") else resolved(bucket, found)
    every = object_headers(bucket, found, source)
    few = ("etag", "last-modified", "x-oss-hash-crc64ecma", "x-oss-version-id")
    headers = {name: every[name] for name in few if name in every}
    return Answer(headers=headers, body=Body(length=source.content.size, pieces=iter(())))


def _found(state: OSSState, request: Request) -> tuple[Bucket, StoredObject]:
    bucket = state.bucket(request.bucket)
    return bucket, bucket.find(request.key, request.query.get("versionId"))


def object_headers(bucket: Bucket, found: StoredObject, source: StoredObject) -> dict[str, str]:
    """Return the headers of an object; of a link, with length, ETag, and class of its target."""
    headers = {
        **found.headers,
        "etag": f'"{source.etag}"',
        "last-modified": http_date(max(found.modified, source.modified)),
        "accept-ranges": "bytes",
        "x-oss-object-type": found.kind,
        "x-oss-storage-class": source.storage_class,
        **bucket.shown_version(found),
    }
    if source.has_crc:
        headers["x-oss-hash-crc64ecma"] = str(source.content.crc64)
    if source.has_md5 and (md5 := source.content.md5):
        headers["content-md5"] = base64.b64encode(md5).decode()
    if found.tags:
        headers["x-oss-tagging-count"] = str(len(found.tags))
    if source.kind == "Appendable":
        headers["x-oss-next-append-position"] = str(source.content.size)
    if source.restore_info:
        headers["x-oss-restore"] = source.restore_info
    return headers


def require_conditions(
    headers: dict[str, str], source: StoredObject, shown: dict[str, str], prefix: str = ""
) -> Answer | None:
    """Check If-Match and the like: raise PreconditionFailed, or return the answer 304."""
    wanted = headers.get(f"{prefix}if-match")
    if wanted is not None and not _names_etag(wanted, source.etag):
        raise _precondition_failed("If-Match")
    since = from_http_date(headers.get(f"{prefix}if-unmodified-since", ""))
    if since is not None and source.modified > since:
        raise _precondition_failed("If-Unmodified-Since")
    unwanted = headers.get(f"{prefix}if-none-match")
    if unwanted is not None and _names_etag(unwanted, source.etag):
        return Answer(status=304, headers=shown)
    since = from_http_date(headers.get(f"{prefix}if-modified-since", ""))
    if since is not None and source.modified <= since:
        return Answer(status=304, headers=shown)
    return None


def _names_etag(header: str, etag: str) -> bool:
    return any(item.strip().strip('"') in {etag, "*"} for item in header.split(","))


def _precondition_failed(condition: str) -> OSSError:
    words = "At least one of the pre-conditions you specified did not hold."
    return OSSError(412, "PreconditionFailed", words, extras={"Condition": condition})


def requested_range(headers: dict[str, str], size: int) -> tuple[int, int] | None:
    """Return first byte and end of the range to serve, or None to serve the whole object.

    Without ``x-oss-range-behavior: standard`` a range that leaves the object is ignored; with it,
    its end is clipped, and one that begins behind the object is refused.
    """
    found = _RANGE.fullmatch(headers.get("range", "").strip())
    if found is None or not any(found.groups()):
        return None
    standard = headers.get("x-oss-range-behavior", "").lower() == "standard"
    if not found[1]:
        return _suffix(int(found[2]), size, standard=standard)
    start, end = int(found[1]), int(found[2]) + 1 if found[2] else size
    if found[2] and end <= start:
        return None
    if start >= size and standard:
        raise _invalid_range(headers["range"], size)
    if start >= size or (end > size and not standard):
        return None
    return start, min(end, size)


def _suffix(length: int, size: int, *, standard: bool) -> tuple[int, int] | None:
    impossible = length == 0 or size == 0
    if impossible and standard:
        raise _invalid_range(f"bytes=-{length}", size)
    if impossible or (length > size and not standard):
        return None
    return max(size - length, 0), size


def _invalid_range(header: str, size: int) -> OSSError:
    words = "The requested range cannot be satisfied."
    extras = {"RangeRequested": header, "ActualObjectSize": str(size)}
    shown = {"content-range": f"bytes */{size}"}
    return OSSError(416, "InvalidRange", words, extras=extras, headers=shown)


def _require_thawed(bucket: Bucket, source: StoredObject) -> None:
    direct = bucket.direct_archive_read and source.storage_class == "Archive"
    if source.is_frozen and not direct:
        words = "The operation is not valid for the object's state"
        raise OSSError(403, "InvalidObjectState", words, extras={"ObjectName": source.key})


def _overrides(request: Request) -> dict[str, str]:
    """Return the headers that a request asked to be answered with."""
    return {
        name.removeprefix("response-"): value
        for name, value in request.query.items()
        if name.startswith("response-")
    }


def _served(source: StoredObject, start: int, end: int) -> Iterator[memoryview]:
    """Return the bytes to send, the damaged ones among them."""
    damaged = [offset for offset in source.corrupted if start <= offset < end]
    for offset in damaged:
        if source.corrupted[offset]:
            del source.corrupted[offset]
    pieces = source.content.pieces(start, end)
    return flipped(pieces, start, damaged) if damaged else pieces


def _is_compressed(request: Request, source: StoredObject) -> bool:
    """Return whether OSS would compress the answer on its way, as it does with texts."""
    return (
        "gzip" in request.headers.get("accept-encoding", "")
        and "content-encoding" not in source.headers
        and source.content.size >= _LEAST_COMPRESSED
        and source.headers["content-type"].startswith(_COMPRESSED_TYPES)
    )


def _compressed(content: Content, headers: dict[str, str]) -> Answer:
    packer = zlib.compressobj(level=1, wbits=31)
    packed = [packer.compress(piece) for piece in content.pieces(0, content.size)]
    data = b"".join([*packed, packer.flush()])
    kept = {k: v for k, v in headers.items() if k not in {"etag", "content-md5", "accept-ranges"}}
    shown = {**kept, "content-encoding": "gzip", "vary": "Accept-Encoding"}
    return Answer(headers=shown, body=data, length_known=False)
