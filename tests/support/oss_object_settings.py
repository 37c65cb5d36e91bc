"""What objects have besides bytes: ACL, tags, link target, and the way back from an archive."""

from __future__ import annotations

from urllib.parse import quote

from tests.support.oss_listing import owner
from tests.support.oss_messages import (
    Answer,
    OSSError,
    Request,
    invalid_argument,
    malformed_xml,
    xml_answer,
)
from tests.support.oss_model import FROZEN, Bucket, StoredObject
from tests.support.oss_objects import OSSState
from tests.support.oss_options import checked_acl, checked_tags
from tests.support.oss_xml import document, element, elements, join, parsed, text_of

_TIERS = ("Expedited", "Standard", "Bulk")
_MOST_DAYS = 365


def _found(state: OSSState, request: Request) -> tuple[Bucket, StoredObject]:
    bucket = state.bucket(request.bucket)
    return bucket, bucket.find(request.key, request.query.get("versionId"))


def put_acl(state: OSSState, request: Request) -> Answer:
    """Set the ACL of an object."""
    bucket, found = _found(state, request)
    found.acl = checked_acl(request.headers.get("x-oss-object-acl", ""))
    return Answer(headers=bucket.shown_version(found))


def get_acl(state: OSSState, request: Request) -> Answer:
    """Tell the ACL of an object."""
    bucket, found = _found(state, request)
    return xml_answer(acl_document(bucket, found.acl), headers=bucket.shown_version(found))


def acl_document(bucket: Bucket, acl: str) -> bytes:
    """Return the document that tells an ACL."""
    grant = element("AccessControlList", element("Grant", acl))
    return document("AccessControlPolicy", element("Owner", owner(bucket)) + grant)


def put_tags(state: OSSState, request: Request) -> Answer:
    """Replace the tags of an object."""
    bucket, found = _found(state, request)
    root = parsed(request.body, "Tagging")
    pairs = [(text_of(tag, "Key"), text_of(tag, "Value")) for tag in root.findall("TagSet/Tag")]
    found.tags = checked_tags(pairs)
    return Answer(headers=bucket.shown_version(found))


def get_tags(state: OSSState, request: Request) -> Answer:
    """Tell the tags of an object."""
    bucket, found = _found(state, request)
    tags = (elements({"Key": name, "Value": value}) for name, value in found.tags.items())
    content = element("TagSet", join(element("Tag", tag) for tag in tags))
    return xml_answer(document("Tagging", content), headers=bucket.shown_version(found))


def delete_tags(state: OSSState, request: Request) -> Answer:
    """Take all tags from an object."""
    bucket, found = _found(state, request)
    found.tags = {}
    return Answer(status=204, headers=bucket.shown_version(found))


def get_symlink(state: OSSState, request: Request) -> Answer:
    """Tell where a link leads to."""
    bucket, found = _found(state, request)
    if found.kind != "Symlink":
        raise OSSError(400, "NotSymlink", "The object is not symlink.")
    shown = {"x-oss-symlink-target": quote(found.target, safe=""), "etag": f'"{found.etag}"'}
    return Answer(headers={**shown, **bucket.shown_version(found)})


def restore(state: OSSState, request: Request) -> Answer:
    """Begin to thaw a frozen object; it stays frozen until the test lets the restoring end."""
    bucket, found = _found(state, request)
    shown = dict(bucket.shown_version(found))
    if found.storage_class not in FROZEN:
        words = "The operation is not supported for this resource"
        raise OSSError(400, "OperationNotSupported", words, extras={"Resource": found.key})
    tier = _restore_tier(request, found)
    if found.restore == "ongoing":
        words = "The restore operation is in progress."
        raise OSSError(409, "RestoreAlreadyInProgress", words)
    if found.restore == "restored":
        return Answer(status=200, headers=shown)
    found.restore = "ongoing"
    if found.storage_class != "Archive":
        shown["x-oss-object-restore-priority"] = tier
    return Answer(status=202, headers=shown)


def _restore_tier(request: Request, found: StoredObject) -> str:
    """Check the document of a restore request and return the speed it asks for."""
    if not request.body.strip():
        return "Standard"
    root = parsed(request.body, "RestoreRequest")
    days = root.findtext("Days", "1")
    if not days.isdigit() or not 1 <= int(days) <= _MOST_DAYS:
        raise invalid_argument("The days are invalid.", "Days", days)
    parameters = root.find("JobParameters")
    if parameters is None:
        return "Standard"
    if found.storage_class == "Archive":
        raise malformed_xml()
    tier = text_of(parameters, "Tier")
    if tier not in _TIERS:
        raise invalid_argument("The tier is invalid.", "Tier", tier)
    return tier
