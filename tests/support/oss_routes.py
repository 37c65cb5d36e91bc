"""Which operation a request is, who may ask for it, and its answer."""

from __future__ import annotations

from collections.abc import Callable

from tests.support import (
    oss_bucket_calls,
    oss_listing,
    oss_live,
    oss_multipart,
    oss_object_settings,
    oss_reading,
    oss_writing,
)
from tests.support.oss_auth import Authenticator
from tests.support.oss_messages import ANONYMOUS, Answer, OSSError, Request, access_denied
from tests.support.oss_model import Bucket, require_key
from tests.support.oss_objects import OSSState
from tests.support.oss_policies import Limits
from tests.support.oss_signatures import SIGNED_SUBRESOURCES

Operation = Callable[[OSSState, Request], Answer]
_SERVICE: dict[str, tuple[str, Operation]] = {
    "GET": ("ListBuckets", oss_bucket_calls.list_buckets),
}
# Method and parameter choose the operation; the last of a method stands for none of them.
_BUCKET: dict[tuple[str, str], tuple[str, Operation]] = {
    ("GET", "versions"): ("ListObjectVersions", oss_listing.list_object_versions),
    ("GET", "uploads"): ("ListMultipartUploads", oss_multipart.list_uploads),
    ("GET", "bucketInfo"): ("GetBucketInfo", oss_bucket_calls.get_info),
    ("GET", "acl"): ("GetBucketAcl", oss_bucket_calls.get_acl),
    ("GET", "location"): ("GetBucketLocation", oss_bucket_calls.get_location),
    ("GET", "versioning"): ("GetBucketVersioning", oss_bucket_calls.get_versioning),
    ("GET", "requestPayment"): ("GetBucketRequestPayment", oss_bucket_calls.get_payment),
    ("GET", "bucketArchiveDirectRead"): (
        "GetBucketArchiveDirectRead",
        oss_bucket_calls.get_direct_read,
    ),
    ("GET", "live"): ("ListLiveChannel", oss_live.list_channels),
    ("GET", "list-type"): ("ListObjectsV2", oss_listing.list_objects_v2),
    ("GET", ""): ("ListObjects", oss_listing.list_objects),
    ("PUT", "acl"): ("PutBucketAcl", oss_bucket_calls.put_acl),
    ("PUT", "versioning"): ("PutBucketVersioning", oss_bucket_calls.put_versioning),
    ("PUT", "requestPayment"): ("PutBucketRequestPayment", oss_bucket_calls.put_payment),
    ("PUT", "policy"): ("PutBucketPolicy", oss_bucket_calls.put_policy),
    ("PUT", "bucketArchiveDirectRead"): (
        "PutBucketArchiveDirectRead",
        oss_bucket_calls.put_direct_read,
    ),
    ("PUT", ""): ("PutBucket", oss_bucket_calls.put_bucket),
    ("POST", "delete"): ("DeleteMultipleObjects", oss_writing.delete_multiple_objects),
    ("DELETE", ""): ("DeleteBucket", oss_bucket_calls.delete_bucket),
}
_OBJECT: dict[tuple[str, str], tuple[str, Operation]] = {
    ("GET", "uploadId"): ("ListParts", oss_multipart.list_parts),
    ("GET", "acl"): ("GetObjectACL", oss_object_settings.get_acl),
    ("GET", "tagging"): ("GetObjectTagging", oss_object_settings.get_tags),
    ("GET", "symlink"): ("GetSymlink", oss_object_settings.get_symlink),
    ("GET", "objectMeta"): ("GetObjectMeta", oss_reading.get_object_meta),
    ("GET", "live"): ("GetLiveChannelInfo", oss_live.get_channel),
    ("GET", ""): ("GetObject", oss_reading.get_object),
    ("HEAD", "objectMeta"): ("GetObjectMeta", oss_reading.get_object_meta),
    ("HEAD", ""): ("HeadObject", oss_reading.head_object),
    ("PUT", "uploadId"): ("UploadPart", oss_multipart.upload_part),
    ("PUT", "acl"): ("PutObjectACL", oss_object_settings.put_acl),
    ("PUT", "tagging"): ("PutObjectTagging", oss_object_settings.put_tags),
    ("PUT", "symlink"): ("PutSymlink", oss_writing.put_symlink),
    ("PUT", "live"): ("PutLiveChannel", oss_live.put_channel),
    ("PUT", ""): ("PutObject", oss_writing.put_object),
    ("POST", "uploads"): ("InitiateMultipartUpload", oss_multipart.initiate),
    ("POST", "uploadId"): ("CompleteMultipartUpload", oss_multipart.complete),
    ("POST", "append"): ("AppendObject", oss_writing.append_object),
    ("POST", "restore"): ("RestoreObject", oss_object_settings.restore),
    ("DELETE", "uploadId"): ("AbortMultipartUpload", oss_multipart.abort),
    ("DELETE", "tagging"): ("DeleteObjectTagging", oss_object_settings.delete_tags),
    ("DELETE", "live"): ("DeleteLiveChannel", oss_live.delete_channel),
    ("DELETE", ""): ("DeleteObject", oss_writing.delete_object),
}
_COPIES: dict[str, tuple[str, Operation]] = {
    "UploadPart": ("UploadPartCopy", oss_multipart.upload_part_copy),
    "PutObject": ("CopyObject", oss_writing.copy_object),
}
# Parameters that belong to an operation without choosing it.
_DETAILS = {
    "callback",
    "callback-var",
    "continuation-token",
    "endTime",
    "partNumber",
    "position",
    "security-token",
    "sequential",
    "startTime",
    "versionId",
    "x-oss-request-payer",
    "x-oss-traffic-limit",
}
_OVERRIDES = ("response-", "x-oss-ac")
_SUBRESOURCES = {name for name in SIGNED_SUBRESOURCES - _DETAILS if not name.startswith(_OVERRIDES)}
_ANYBODY_READS = {"GetObject", "HeadObject", "GetObjectMeta", "GetSymlink"}
_ANYBODY_WRITES = {"PutObject", "AppendObject", "DeleteObject", "PutSymlink"}


def _not_built(_: OSSState, request: Request) -> Answer:
    words = "A header you provided implies functionality that is not implemented."
    raise OSSError(501, "NotImplemented", f"{words} ({request.method} {sorted(request.query)})")


def route(request: Request) -> Operation:
    """Return what answers a request, and note the operation's name in it."""
    request.operation, operation = _chosen(request)
    return operation


def _chosen(request: Request) -> tuple[str, Operation]:
    unknown: tuple[str, Operation] = ("", _not_built)
    if not request.bucket:
        return _SERVICE.get(request.method, unknown)
    table = _OBJECT if request.key else _BUCKET
    unbuilt = _SUBRESOURCES & set(request.query) - {name for _, name in table}
    if unbuilt:
        return unknown
    choices = (
        choice
        for (method, name), choice in table.items()
        if method == request.method and (not name or name in request.query)
    )
    found = next(choices, unknown)
    if "x-oss-copy-source" in request.headers:
        return _COPIES.get(found[0], found)
    return found


class Service:
    """Answers requests: first the bucket has to be there, then the signature to be right."""

    def __init__(self, state: OSSState, authenticator: Authenticator) -> None:
        self._state = state
        self._authenticator = authenticator
        self.limits = Limits()

    def answer(self, request: Request, overlook: Callable[[Request], None] | None = None) -> Answer:
        """Return the answer; an OSSError if it is one.

        :param overlook: may change the request once the caller is known.
        """
        operation = route(request)
        if request.body:
            # The digests are computed here, where other requests need not wait for them.
            _ = request.content
        with self._state.lock:
            bucket = None
            if request.bucket and request.operation != "PutBucket":
                bucket = self._state.bucket(request.bucket)
            request.caller = self._authenticator.caller(request)
            self._require_permission(request, bucket)
            if request.key:
                require_key(request.key)
            if overlook is not None:
                overlook(request)
            return operation(self._state, request)

    def _require_permission(self, request: Request, bucket: Bucket | None) -> None:
        if request.caller == ANONYMOUS:
            if bucket is None or not _is_open(bucket, request):
                raise access_denied("Anonymous access is forbidden for this operation.")
        elif bucket and bucket.requester_pays and request.caller.account != bucket.owner:
            oss_writing.require_payer(request)
        self.limits.check(request)


def _is_open(bucket: Bucket, request: Request) -> bool:
    """Return whether anybody may do this, by the ACL of the object or else of its bucket."""
    found = bucket.current(request.key) if request.key else None
    acl = found.acl if found and found.acl != "default" else bucket.acl
    reads = acl in {"public-read", "public-read-write"} and request.operation in _ANYBODY_READS
    return reads or (acl == "public-read-write" and request.operation in _ANYBODY_WRITES)
