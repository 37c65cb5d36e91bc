"""Multipart uploads: begin, upload, copy, complete, abort, and list."""

from __future__ import annotations

import re

from tests.support.oss_content import Kept, part_of
from tests.support.oss_messages import (
    Answer,
    OSSError,
    Request,
    invalid_argument,
    iso_date,
    xml_answer,
)
from tests.support.oss_model import Bucket, Part, StoredObject, Upload, require_key
from tests.support.oss_objects import OSSState, kept_headers, multipart_etag
from tests.support.oss_options import apply_options, tags_of_header
from tests.support.oss_paging import asked, number
from tests.support.oss_writing import (
    copy_source,
    require_digest,
    require_overwritable,
    stored_answer,
)
from tests.support.oss_xml import (
    Fragment,
    document,
    element,
    elements,
    encoded,
    join,
    parsed,
    text_of,
)

MOST_PARTS = 10_000
LEAST_PART = 100 * 1024
_LARGEST_PART = 5 * 1024**3
_COPIED_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


def initiate(state: OSSState, request: Request) -> Answer:
    """Begin an upload; what its headers set comes true when it is completed."""
    bucket = state.bucket(request.bucket)
    require_key(request.key)
    require_overwritable(bucket, request)
    tags_of_header(request.headers.get("x-oss-tagging", ""))
    upload = state.new_upload(bucket, request.key, dict(request.headers))
    upload.sequential = "sequential" in request.query
    told = {"Bucket": bucket.name, "Key": _shown(request), "UploadId": upload.upload_id}
    return xml_answer(document("InitiateMultipartUploadResult", elements(told)))


def _shown(request: Request) -> str:
    return encoded(request.key, request.header_or_query("encoding-type"))


def upload_part(state: OSSState, request: Request) -> Answer:
    """Keep the body as a part, in place of one with that number."""
    upload = _upload(state, request)
    part_number = _part_number(request)
    if upload.sequential and part_number not in {len(upload.parts), len(upload.parts) + 1}:
        words = "The part is not the one behind the last, as a sequential upload wants it."
        raise OSSError(400, "PartNotSequential", words)
    require_digest(request)
    part = Part(content=request.content, has_crc=True, modified=state.now)
    upload.parts[part_number] = part
    headers = {"etag": f'"{part.etag}"', "x-oss-hash-crc64ecma": str(part.content.crc64)}
    return Answer(headers=headers)


def upload_part_copy(state: OSSState, request: Request) -> Answer:
    """Keep an object, or a range of it, as a part."""
    upload = _upload(state, request)
    part_number = _part_number(request)
    _, source = copy_source(state, request)
    size = source.content.size
    start, end = 0, size
    if given := request.headers.get("x-oss-copy-source-range"):
        found = _COPIED_RANGE.fullmatch(given)
        if found is None or int(found[1]) >= size:
            raise OSSError(416, "InvalidRange", "The requested range cannot be satisfied.")
        start, end = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
    if end - start > _LARGEST_PART:
        raise invalid_argument("The part is too large.", "x-oss-copy-source-range")
    content = part_of(source.content, start, end)
    part = Part(content=content, has_crc=source.has_crc, modified=state.now)
    upload.parts[part_number] = part
    told = {"ETag": f'"{part.etag}"', "LastModified": iso_date(part.modified)}
    shown = {"etag": f'"{part.etag}"', "x-oss-hash-crc64ecma": str(content.crc64)}
    return xml_answer(document("CopyPartResult", elements(told)), headers=shown)


def complete(state: OSSState, request: Request) -> Answer:
    """Make an object of the parts named, or of all."""
    bucket, upload = state.bucket(request.bucket), _upload(state, request)
    parts = _named_parts(request, upload)
    if any(part.content.size < LEAST_PART for part in parts[:-1]):
        words = "Your proposed upload smaller than the minimum allowed size."
        raise OSSError(400, "EntityTooSmall", words, extras={"MinSizeAllowed": str(LEAST_PART)})
    require_overwritable(bucket, request)
    made = StoredObject(
        key=upload.key,
        content=Kept.joined(part.content for part in parts),
        kind="Multipart",
        etag=multipart_etag([part.etag for part in parts]),
        headers=kept_headers(upload.headers),
        has_crc=all(part.has_crc for part in parts),
        has_md5=upload.sequential,
    )
    apply_options(bucket, made, upload.headers)
    if "x-oss-object-acl" in request.headers:
        made.acl = request.headers["x-oss-object-acl"]
    state.store(bucket.name, made)
    del bucket.uploads[upload.upload_id]
    told = {"Bucket": bucket.name, "Key": _shown(request), "ETag": f'"{made.etag}"'}
    headers = stored_answer(bucket, made).headers
    return xml_answer(document("CompleteMultipartUploadResult", elements(told)), headers=headers)


def _named_parts(request: Request, upload: Upload) -> list[Part]:
    if request.headers.get("x-oss-complete-all") == "yes":
        named = [(index, upload.parts[index].etag) for index in sorted(upload.parts)]
    else:
        root = parsed(request.body, "CompleteMultipartUpload")
        items = [(text_of(p, "PartNumber"), text_of(p, "ETag")) for p in root.findall("Part")]
        named = [(int(index), etag.strip('"').upper()) for index, etag in items if index.isdigit()]
    numbers = [index for index, _ in named]
    if numbers != sorted(set(numbers)):
        words = "The list of parts was not in ascending order."
        raise OSSError(400, "InvalidPartOrder", words)
    for index, etag in named:
        if index not in upload.parts or upload.parts[index].etag != etag:
            words = "One or more of the specified parts could not be found or the specified"
            words += " entity tag might not have matched the part's entity tag."
            extras = {"PartNumber": str(index), "UploadId": upload.upload_id}
            raise OSSError(400, "InvalidPart", words, extras=extras)
    if not named:
        raise OSSError(400, "InvalidPart", "No part was named.")
    return [upload.parts[index] for index in numbers]


def abort(state: OSSState, request: Request) -> Answer:
    """Forget an upload and its parts."""
    upload = _upload(state, request)
    del state.bucket(request.bucket).uploads[upload.upload_id]
    return Answer(status=204)


def list_parts(state: OSSState, request: Request) -> Answer:
    """List the parts of an upload behind a number."""
    upload = _upload(state, request)
    most = number(request, "max-parts", 1000, 1000)
    marker = request.query.get("part-number-marker", "") or "0"
    if not marker.isdigit():
        raise invalid_argument("The marker is invalid.", "part-number-marker", marker)
    behind = [index for index in sorted(upload.parts) if index > int(marker)]
    shown = behind[:most]
    head: dict[str, str | int | bool | Fragment] = {
        "Bucket": request.bucket,
        "Key": _shown(request),
        "UploadId": upload.upload_id,
        "NextPartNumberMarker": shown[-1] if shown else 0,
        "PartNumberMarker": int(marker),
        "MaxParts": most,
        "IsTruncated": len(behind) > most,
    }
    lines = join(_part_line(index, upload.parts[index]) for index in shown)
    return xml_answer(document("ListPartsResult", elements(head) + lines))


def _part_line(index: int, part: Part) -> Fragment:
    line: dict[str, str | int | bool | Fragment] = {
        "PartNumber": index,
        "LastModified": iso_date(part.modified),
        "ETag": f'"{part.etag}"',
        "Size": part.content.size,
    }
    if part.has_crc:
        line["HashCrc64ecma"] = str(part.content.crc64)
    return element("Part", elements(line))


def list_uploads(state: OSSState, request: Request) -> Answer:
    """List uploads by key and id, behind a key, or behind an upload of it."""
    bucket, wanted = state.bucket(request.bucket), asked(request, "max-uploads")
    after = (request.query.get("key-marker", ""), request.query.get("upload-id-marker", ""))
    lines: list[Upload] = []
    prefixes: list[str] = []
    last, truncated = ("", ""), False
    for upload in _uploads_behind(bucket, after):
        group = wanted.group_of(upload.key)
        if not upload.key.startswith(wanted.prefix) or group in prefixes or group == after[0]:
            continue
        if len(lines) + len(prefixes) == wanted.most:
            truncated = True
            break
        if group is None:
            lines.append(upload)
            last = (upload.key, upload.upload_id)
        else:
            prefixes.append(group)
            last = (group, "")
    head: dict[str, str | int | bool | Fragment] = {
        "Bucket": bucket.name,
        "KeyMarker": encoded(after[0], wanted.encoding),
        "UploadIdMarker": after[1],
        "NextKeyMarker": encoded(last[0], wanted.encoding) if truncated else "",
        "NextUploadIdMarker": last[1] if truncated else "",
        "Delimiter": encoded(wanted.delimiter, wanted.encoding),
        "Prefix": encoded(wanted.prefix, wanted.encoding),
        "MaxUploads": wanted.most,
        "IsTruncated": truncated,
    }
    if wanted.encoding:
        head["EncodingType"] = wanted.encoding
    shown = join(_upload_line(upload, wanted.encoding) for upload in lines)
    groups = join(
        element("CommonPrefixes", element("Prefix", encoded(group, wanted.encoding)))
        for group in prefixes
    )
    content = elements(head) + shown + groups
    return xml_answer(document("ListMultipartUploadsResult", content))


def _uploads_behind(bucket: Bucket, after: tuple[str, str]) -> list[Upload]:
    every = sorted(bucket.uploads.values(), key=lambda upload: (upload.key, upload.upload_id))
    key, upload_id = after
    if upload_id:
        return [upload for upload in every if (upload.key, upload.upload_id) > after]
    return [upload for upload in every if upload.key > key]


def _upload_line(upload: Upload, encoding: str | None) -> Fragment:
    line = {
        "Key": encoded(upload.key, encoding),
        "UploadId": upload.upload_id,
        "Initiated": iso_date(upload.initiated),
    }
    return element("Upload", elements(line))


def _upload(state: OSSState, request: Request) -> Upload:
    upload_id = request.query.get("uploadId", "")
    found = state.bucket(request.bucket).uploads.get(upload_id)
    if found is None or found.key != request.key:
        words = "The specified upload does not exist. The upload ID may be invalid,"
        words += " or the upload may have been aborted or completed."
        raise OSSError(
            404, "NoSuchUpload", words, ec="0042-00000002", extras={"UploadId": upload_id}
        )
    return found


def _part_number(request: Request) -> int:
    return number(request, "partNumber", 0, MOST_PARTS)
