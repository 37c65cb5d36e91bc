"""Buckets: made, described, set up, listed, and deleted."""

from __future__ import annotations

import re

from tests.support.oss_listing import owner
from tests.support.oss_messages import (
    Answer,
    OSSError,
    Request,
    invalid_argument,
    iso_date,
    malformed_xml,
    xml_answer,
)
from tests.support.oss_model import CLASSES, Bucket
from tests.support.oss_object_settings import acl_document
from tests.support.oss_objects import OWNER, OSSState
from tests.support.oss_paging import number
from tests.support.oss_xml import Fragment, document, element, elements, join, parsed, text_of

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
_ACLS = ("private", "public-read", "public-read-write")


def put_bucket(state: OSSState, request: Request) -> Answer:
    """Make a bucket; of an own one that is there, set the ACL."""
    if not _NAME.fullmatch(request.bucket):
        words = "The specified bucket is not valid."
        raise OSSError(400, "InvalidBucketName", words, extras={"BucketName": request.bucket})
    account = request.caller.account or OWNER
    old = state.buckets.get(request.bucket)
    if old is not None and old.owner != account:
        words = "The requested bucket name is not available."
        raise OSSError(409, "BucketAlreadyExists", words)
    acl = _checked_acl(request.headers.get("x-oss-acl", "private"))
    storage_class = old.storage_class if old else "Standard"
    if request.body.strip():
        root = parsed(request.body, "CreateBucketConfiguration")
        storage_class = root.findtext("StorageClass") or "Standard"
    if storage_class not in CLASSES:
        raise invalid_argument("The storage class is invalid.", "StorageClass", storage_class)
    if old is None:
        state.create_bucket(request.bucket, owner=account)
    bucket = state.bucket(request.bucket)
    bucket.acl, bucket.storage_class = acl, storage_class
    return Answer(headers={"location": f"/{request.bucket}"})


def _checked_acl(acl: str) -> str:
    if acl not in _ACLS:
        raise invalid_argument("no such bucket access control exists", "x-oss-acl", acl)
    return acl


def delete_bucket(state: OSSState, request: Request) -> Answer:
    """Delete a bucket that holds neither objects nor parts."""
    bucket = state.bucket(request.bucket)
    if not bucket.is_empty or bucket.uploads:
        words = "The bucket has objects or parts. Please delete them first."
        raise OSSError(409, "BucketNotEmpty", words, extras={"BucketName": bucket.name})
    del state.buckets[request.bucket]
    return Answer(status=204)


def get_info(state: OSSState, request: Request) -> Answer:
    """Describe a bucket."""
    bucket = state.bucket(request.bucket)
    shown: dict[str, str | int | bool | Fragment] = {
        **_summary(state, bucket),
        "Owner": owner(bucket),
        "AccessControlList": element("Grant", bucket.acl),
        "DataRedundancyType": "LRS",
        "ServerSideEncryptionRule": element("SSEAlgorithm", "None"),
        "Comment": "",
    }
    if bucket.versioning:
        shown["Versioning"] = bucket.versioning
    return xml_answer(document("BucketInfo", element("Bucket", elements(shown))))


def _summary(state: OSSState, bucket: Bucket) -> dict[str, str | int | bool | Fragment]:
    return {
        "Name": bucket.name,
        "Location": f"oss-{state.region}",
        "Region": state.region,
        "CreationDate": iso_date(bucket.created),
        "ExtranetEndpoint": state.address,
        "IntranetEndpoint": state.address,
        "StorageClass": bucket.storage_class,
    }


def list_buckets(state: OSSState, request: Request) -> Answer:
    """List the caller's buckets."""
    prefix, marker = request.query.get("prefix", ""), request.query.get("marker", "")
    most = number(request, "max-keys", 100, 1000)
    own = [
        bucket
        for name, bucket in sorted(state.buckets.items())
        if name.startswith(prefix) and name > marker and bucket.owner == request.caller.account
    ]
    account = request.caller.account or ""
    head: dict[str, str | int | bool | Fragment] = {
        "Owner": elements({"ID": account, "DisplayName": account}),
        "Prefix": prefix,
        "Marker": marker,
        "MaxKeys": most,
        "IsTruncated": len(own) > most,
    }
    if len(own) > most:
        head["NextMarker"] = own[most - 1].name
    lines = join(element("Bucket", elements(_summary(state, bucket))) for bucket in own[:most])
    head["Buckets"] = lines
    return xml_answer(document("ListAllMyBucketsResult", elements(head)))


def get_acl(state: OSSState, request: Request) -> Answer:
    """Tell the ACL of a bucket."""
    bucket = state.bucket(request.bucket)
    return xml_answer(acl_document(bucket, bucket.acl))


def put_acl(state: OSSState, request: Request) -> Answer:
    """Set the ACL of a bucket."""
    state.bucket(request.bucket).acl = _checked_acl(request.headers.get("x-oss-acl", ""))
    return Answer()


def get_location(state: OSSState, request: Request) -> Answer:
    """Tell where a bucket is."""
    state.bucket(request.bucket)
    return xml_answer(document("LocationConstraint", Fragment(f"oss-{state.region}")))


def put_versioning(state: OSSState, request: Request) -> Answer:
    """Switch versioning on, or suspend it."""
    root = parsed(request.body, "VersioningConfiguration")
    status = root.findtext("Status")
    if status not in {"Enabled", "Suspended"}:
        raise malformed_xml()
    state.bucket(request.bucket).versioning = "Enabled" if status == "Enabled" else "Suspended"
    return Answer()


def get_versioning(state: OSSState, request: Request) -> Answer:
    """Tell how a bucket keeps versions; of one that never did, nothing."""
    status = state.bucket(request.bucket).versioning
    content = element("Status", status) if status else Fragment()
    return xml_answer(document("VersioningConfiguration", content))


def put_payment(state: OSSState, request: Request) -> Answer:
    """Say who pays for a bucket."""
    root = parsed(request.body, "RequestPaymentConfiguration")
    payer = text_of(root, "Payer")
    if payer not in {"BucketOwner", "Requester"}:
        raise malformed_xml()
    state.bucket(request.bucket).requester_pays = payer == "Requester"
    return Answer()


def get_payment(state: OSSState, request: Request) -> Answer:
    """Tell who pays for a bucket."""
    payer = "Requester" if state.bucket(request.bucket).requester_pays else "BucketOwner"
    return xml_answer(document("RequestPaymentConfiguration", element("Payer", payer)))


def put_direct_read(state: OSSState, request: Request) -> Answer:
    """Let archived objects of a bucket be read without restoring them, or not."""
    root = parsed(request.body, "ArchiveDirectReadConfiguration")
    state.bucket(request.bucket).direct_archive_read = text_of(root, "Enabled") == "true"
    return Answer()


def get_direct_read(state: OSSState, request: Request) -> Answer:
    """Tell whether archived objects of a bucket can be read as they are."""
    enabled = state.bucket(request.bucket).direct_archive_read
    content = element("Enabled", enabled)
    return xml_answer(document("ArchiveDirectReadConfiguration", content))


def put_policy(state: OSSState, request: Request) -> Answer:
    """Keep a policy; the server lets every account in as it is."""
    state.bucket(request.bucket).documents["policy"] = request.body
    return Answer()
