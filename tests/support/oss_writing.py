"""Writing and deleting objects: put, append, copy, link, and delete."""

from __future__ import annotations

import base64
import binascii
import hmac
from urllib.parse import unquote

from tests.support.oss_content import Content, Kept
from tests.support.oss_messages import (
    Answer,
    OSSError,
    Request,
    access_denied,
    invalid_argument,
    iso_date,
    xml_answer,
)
from tests.support.oss_model import Bucket, StoredObject, require_key, require_version_id
from tests.support.oss_objects import (
    OSSState,
    appendable_content,
    appended,
    kept_headers,
    normal_object,
    resolved,
    symlink_object,
)
from tests.support.oss_options import apply_options
from tests.support.oss_reading import require_conditions
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

_MOST_DELETED = 1000
_LARGEST_COPY = 5 * 1024**3


def require_digest(request: Request) -> None:
    """Check Content-MD5; InvalidDigest if it is not of the body that came."""
    given = request.headers.get("content-md5")
    if given is None:
        return
    try:
        digest = base64.b64decode(given, validate=True)
    except binascii.Error:
        digest = b""
    if not hmac.compare_digest(digest, request.content.md5):
        words = "The Content-MD5 you specified is not valid."
        raise OSSError(400, "InvalidDigest", words, extras={"Content-MD5": given})


def require_overwritable(bucket: Bucket, request: Request) -> None:
    """Raise FileAlreadyExists if the request forbids to overwrite, and there is an object."""
    old = bucket.current(request.key)
    if request.headers.get("x-oss-forbid-overwrite") == "true" and old and not old.is_marker:
        words = "The object you specified already exists and can not be overwritten."
        raise OSSError(409, "FileAlreadyExists", words, extras={"Key": request.key})


def stored_answer(bucket: Bucket, made: StoredObject) -> Answer:
    """Return what a writer is told: ETag, CRC, and version."""
    headers = {"etag": f'"{made.etag}"', **bucket.shown_version(made)}
    headers |= {k: v for k, v in made.headers.items() if k.startswith("x-oss-server-side-")}
    if made.has_crc:
        headers["x-oss-hash-crc64ecma"] = str(made.content.crc64)
    return Answer(headers=headers)


def put_object(state: OSSState, request: Request) -> Answer:
    """Store the body as a Normal object."""
    bucket = state.bucket(request.bucket)
    require_key(request.key)
    require_digest(request)
    require_overwritable(bucket, request)
    made = normal_object(request.key, request.content, request.headers)
    apply_options(bucket, made, request.headers)
    state.store(bucket.name, made)
    answer = stored_answer(bucket, made)
    answer.headers["content-md5"] = base64.b64encode(request.content.md5).decode()
    return answer


def append_object(state: OSSState, request: Request) -> Answer:
    """Append the body to an Appendable object at its end, or begin one."""
    bucket = state.bucket(request.bucket)
    require_key(request.key)
    require_digest(request)
    position = request.query.get("position", "")
    if not position.isdigit():
        raise invalid_argument("The position is invalid.", "position", position)
    old = bucket.current(request.key)
    kept = appendable_content(old)
    if int(position) != kept.size:
        raise _position_refused(kept)
    content = Kept.joined([kept, request.content])
    made = appended(request.key, content, old, request.headers)
    if old is None or old.is_marker:
        apply_options(bucket, made, request.headers)
    state.store(bucket.name, made)
    answer = stored_answer(bucket, made)
    answer.headers["x-oss-next-append-position"] = str(content.size)
    return answer


def _position_refused(kept: Kept) -> OSSError:
    words = "Position is not equal to file length"
    shown = {
        "x-oss-next-append-position": str(kept.size),
        "x-oss-hash-crc64ecma": str(kept.crc64),
    }
    return OSSError(409, "PositionNotEqualToLength", words, headers=shown)


def put_symlink(state: OSSState, request: Request) -> Answer:
    """Store a link."""
    bucket = state.bucket(request.bucket)
    require_key(request.key)
    require_overwritable(bucket, request)
    target = unquote(request.headers.get("x-oss-symlink-target", ""))
    made = symlink_object(request.key, target, request.headers)
    apply_options(bucket, made, request.headers)
    state.store(bucket.name, made)
    return Answer(headers={"etag": f'"{made.etag}"', **bucket.shown_version(made)})


def copy_source(state: OSSState, request: Request) -> tuple[Bucket, StoredObject]:
    """Return the object that a copy is made of, after the conditions on it."""
    text, has_version, version_id = request.headers["x-oss-copy-source"].partition("?versionId=")
    name, _, key = unquote(text).removeprefix("/").partition("/")
    bucket = state.bucket(name)
    if bucket.requester_pays and request.caller.account != bucket.owner:
        require_payer(request)
    source = resolved(bucket, bucket.find(key, version_id if has_version else None))
    if require_conditions(request.headers, source, {}, "x-oss-copy-source-"):
        raise OSSError(304, "NotModified", "The source has not changed.")
    if source.is_frozen:
        words = "The operation is not valid for the object's state"
        raise OSSError(403, "InvalidObjectState", words, extras={"ObjectName": source.key})
    return bucket, source


def require_payer(request: Request) -> None:
    """Raise AccessDenied unless the request says that its sender pays."""
    if request.header_or_query("x-oss-request-payer") != "requester":
        raise access_denied("Access denied for requester pay bucket", ec="0003-00000703")


def copy_object(state: OSSState, request: Request) -> Answer:
    """Copy an object within the service; its CRC goes with it."""
    bucket = state.bucket(request.bucket)
    require_key(request.key)
    require_overwritable(bucket, request)
    source_bucket, source = copy_source(state, request)
    if source.content.size > _LARGEST_COPY:
        raise invalid_argument("The copy source is too large for one request.")
    replaced = request.headers.get("x-oss-metadata-directive", "COPY").upper() == "REPLACE"
    onto_itself = bucket is source_bucket and source.key == request.key
    made = _copied(request.key, source, keep_kind=onto_itself)
    made.headers = kept_headers(request.headers if replaced else source.headers)
    apply_options(bucket, made, request.headers)
    if request.headers.get("x-oss-tagging-directive", "COPY").upper() == "COPY":
        made.tags = dict(source.tags)
    state.store(bucket.name, made)
    told = {"ETag": f'"{made.etag}"', "LastModified": iso_date(made.modified)}
    headers = stored_answer(bucket, made).headers
    if source_bucket.versioning:
        headers["x-oss-copy-source-version-id"] = source.version_id
    return xml_answer(document("CopyObjectResult", elements(told)), headers=headers)


def _copied(key: str, source: StoredObject, *, keep_kind: bool) -> StoredObject:
    content: Content = source.content
    made = normal_object(key, content, {}, has_crc=source.has_crc)
    if keep_kind or not made.etag:
        made.kind, made.etag, made.has_md5 = source.kind, source.etag, source.has_md5
    return made


def delete_object(state: OSSState, request: Request) -> Answer:
    """Delete an object or a version; that there was none is no error."""
    bucket = state.bucket(request.bucket)
    version_id = request.query.get("versionId")
    gone = bucket.delete(request.key, version_id, state.now)
    headers: dict[str, str] = {}
    if bucket.versioning and gone is not None:
        headers["x-oss-version-id"] = gone.version_id
        if gone.is_marker:
            headers["x-oss-delete-marker"] = "true"
    return Answer(status=204, headers=headers)


def delete_multiple_objects(state: OSSState, request: Request) -> Answer:
    """Delete up to a thousand objects or versions."""
    bucket = state.bucket(request.bucket)
    require_digest(request)
    root = parsed(request.body, "Delete")
    asked = [(text_of(o, "Key"), o.findtext("VersionId")) for o in root.findall("Object")]
    if not 1 <= len(asked) <= _MOST_DELETED:
        raise invalid_argument("Between 1 and 1000 objects can be deleted at once.")
    for _, version_id in asked:
        if version_id is not None:
            require_version_id(version_id)
    encoding = request.header_or_query("encoding-type")
    deleted = [_deleted(bucket, key, version_id, state.now, encoding) for key, version_id in asked]
    if root.findtext("Quiet") == "true":
        return Answer(headers={"Content-Type": "application/xml"})
    shown = element("EncodingType", encoding) if encoding else Fragment()
    return xml_answer(document("DeleteResult", shown + join(deleted)))


def _deleted(
    bucket: Bucket, key: str, version_id: str | None, now: int, encoding: str | None
) -> Fragment:
    gone = bucket.delete(key, version_id, now)
    shown: dict[str, str | int | bool | Fragment] = {"Key": encoded(key, encoding)}
    if version_id is not None:
        shown["VersionId"] = version_id
    if gone is not None and gone.is_marker:
        shown |= {"DeleteMarker": True, "DeleteMarkerVersionId": gone.version_id}
    return element("Deleted", elements(shown))
