"""Listings of objects, in both versions of the call, and of their versions."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from tests.support.oss_messages import Answer, Request, invalid_argument, iso_date, xml_answer
from tests.support.oss_model import Bucket, StoredObject
from tests.support.oss_objects import OSSState
from tests.support.oss_paging import Asked, asked, page_of
from tests.support.oss_xml import Fragment, document, element, elements, encoded, join

_TOKEN_MARK = b"after:"


def list_objects(state: OSSState, request: Request) -> Answer:
    """List current objects behind a key; the owner always stands beside them."""
    bucket, wanted = state.bucket(request.bucket), asked(request)
    marker = request.query.get("marker", "")
    page = page_of(bucket, wanted, (marker, ""), _current(bucket))
    head = _head(bucket, wanted, request)
    head |= {"Marker": encoded(marker, wanted.encoding), "MaxKeys": wanted.most}
    head["IsTruncated"] = page.is_truncated
    if page.is_truncated:
        head["NextMarker"] = encoded(page.last[0], wanted.encoding)
    lines = [_contents(bucket, found, wanted, with_owner=True) for found in page.objects]
    content = elements(head) + join(lines) + _prefixes(page.prefixes, wanted)
    return xml_answer(document("ListBucketResult", content))


def list_objects_v2(state: OSSState, request: Request) -> Answer:
    """List current objects behind a token or a key; the owner only when asked for."""
    bucket, wanted = state.bucket(request.bucket), asked(request)
    start, token = request.query.get("start-after", ""), request.query.get("continuation-token", "")
    after = _key_of_token(token) if token else start
    page = page_of(bucket, wanted, (after, ""), _current(bucket))
    head = _head(bucket, wanted, request)
    head |= {"StartAfter": encoded(start, wanted.encoding), "MaxKeys": wanted.most}
    head |= {"IsTruncated": page.is_truncated, "KeyCount": len(page)}
    if token:
        head["ContinuationToken"] = token
    if page.is_truncated:
        head["NextContinuationToken"] = _token_of_key(page.last[0])
    with_owner = request.query.get("fetch-owner") == "true"
    lines = [_contents(bucket, found, wanted, with_owner=with_owner) for found in page.objects]
    content = elements(head) + join(lines) + _prefixes(page.prefixes, wanted)
    return xml_answer(document("ListBucketResult", content))


def list_object_versions(state: OSSState, request: Request) -> Answer:
    """List versions and delete markers, of each key the newest first."""
    bucket, wanted = state.bucket(request.bucket), asked(request)
    marker = request.query.get("key-marker", "")
    version_marker = request.query.get("version-id-marker", "")
    if version_marker and not marker:
        words = "A version-id marker cannot be specified without a key marker."
        raise invalid_argument(words, "version-id-marker", version_marker)
    page = page_of(bucket, wanted, (marker, version_marker), bucket.versions_of)
    head = _head(bucket, wanted, request)
    head |= {"KeyMarker": encoded(marker, wanted.encoding), "VersionIdMarker": version_marker}
    head |= {"MaxKeys": wanted.most, "IsTruncated": page.is_truncated}
    if page.is_truncated:
        head["NextKeyMarker"] = encoded(page.last[0], wanted.encoding)
        head["NextVersionIdMarker"] = page.last[1]
    lines = [_version(bucket, found, wanted) for found in page.objects]
    content = elements(head) + join(lines) + _prefixes(page.prefixes, wanted)
    return xml_answer(document("ListVersionsResult", content))


def _current(bucket: Bucket) -> Callable[[str], list[StoredObject]]:
    """Return what gives the object that a plain listing shows for a key, if it shows one."""

    def shown(key: str) -> list[StoredObject]:
        found = bucket.current(key)
        return [] if found is None or found.is_marker else [found]

    return shown


def _head(
    bucket: Bucket, wanted: Asked, request: Request
) -> dict[str, str | int | bool | Fragment]:
    head: dict[str, str | int | bool | Fragment] = {
        "Name": bucket.name,
        "Prefix": encoded(wanted.prefix, wanted.encoding),
    }
    if "delimiter" in request.query:
        head["Delimiter"] = encoded(wanted.delimiter, wanted.encoding)
    if wanted.encoding:
        head["EncodingType"] = wanted.encoding
    return head


def _contents(bucket: Bucket, found: StoredObject, wanted: Asked, *, with_owner: bool) -> Fragment:
    line: dict[str, str | int | bool | Fragment] = {
        "Key": encoded(found.key, wanted.encoding),
        **_description(found),
    }
    if with_owner:
        line["Owner"] = owner(bucket)
    return element("Contents", elements(line))


def _description(found: StoredObject) -> dict[str, str | int | bool | Fragment]:
    shown: dict[str, str | int | bool | Fragment] = {
        "LastModified": iso_date(found.modified),
        "ETag": f'"{found.etag}"',
        "Type": found.kind,
        "Size": found.content.size,
        "StorageClass": found.storage_class,
    }
    if found.restore_info:
        shown["RestoreInfo"] = found.restore_info
    return shown


def _version(bucket: Bucket, found: StoredObject, wanted: Asked) -> Fragment:
    line: dict[str, str | int | bool | Fragment] = {
        "Key": encoded(found.key, wanted.encoding),
        "VersionId": found.version_id,
        "IsLatest": bucket.current(found.key) is found,
    }
    if found.is_marker:
        line |= {"LastModified": iso_date(found.modified), "Owner": owner(bucket)}
        return element("DeleteMarker", elements(line))
    return element("Version", elements({**line, **_description(found), "Owner": owner(bucket)}))


def owner(bucket: Bucket) -> Fragment:
    """Return whom a bucket belongs to."""
    return elements({"ID": bucket.owner, "DisplayName": bucket.owner})


def _prefixes(prefixes: list[str], wanted: Asked) -> Fragment:
    shown = (element("Prefix", encoded(prefix, wanted.encoding)) for prefix in prefixes)
    return join(element("CommonPrefixes", prefix) for prefix in shown)


def _token_of_key(key: str) -> str:
    return base64.urlsafe_b64encode(_TOKEN_MARK + key.encode()).decode()


def _key_of_token(token: str) -> str:
    try:
        key = base64.b64decode(token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key.startswith(_TOKEN_MARK):
        words = "The continuation token provided is incorrect."
        raise invalid_argument(words, "continuation-token", token)
    return key.removeprefix(_TOKEN_MARK).decode()
