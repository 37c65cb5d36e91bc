"""Copies that an S3 service makes by itself: CopyObject and UploadPartCopy.

Sources: these two calls in the Amazon S3 API reference. What is written has the attributes that are
given, as with PutObject, and none of the origin's: both directives are ``REPLACE``.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_s3resume.plan.objects import ByteRange, ObjectInfo
from airflow_provider_s3resume.storage._headers import bare, quoted
from airflow_provider_s3resume.storage._s3_calls import Calls
from airflow_provider_s3resume.storage._s3_headers import (
    CHECKSUM_PARAMETERS,
    Parameters,
    checksums_of,
    object_info,
    raw_headers,
    upload_parameters,
    version_parameters,
)
from airflow_provider_s3resume.storage.base import Capabilities, Condition, NewUpload, Written
from airflow_provider_s3resume.storage.server_side import Origin, TakenForPutError


class S3Copying:
    """The ``ServerSide`` of a bucket.

    :param calls: of the bucket that is written to.
    """

    def __init__(self, calls: Calls, capabilities: Capabilities) -> None:
        self._calls = calls
        self._capabilities = capabilities

    def look_at(self, origin: Origin) -> ObjectInfo:
        """Return the headers of an origin, as the target's credentials get them."""
        calls = self._calls.of_bucket(origin.bucket, origin.owner)
        version = version_parameters(origin.identity.version_id)
        answer = calls.make("HeadObject", origin.key, ChecksumMode="ENABLED", **version)
        return object_info(origin.key, answer, answer["ContentLength"])

    def copy_object(
        self, key: str, origin: Origin, *, upload: NewUpload, condition: Condition | None
    ) -> Written:
        """Let the service copy a whole object.

        :raises TakenForPutError: if the answer does not name the copy.
        """
        parameters: Parameters = {
            **upload_parameters(upload),
            **_origin_parameters(origin),
            "MetadataDirective": "REPLACE",
        }
        if self._capabilities.tags:
            parameters["TaggingDirective"] = "REPLACE"
        if upload.algorithm in CHECKSUM_PARAMETERS and upload.algorithm is not None:
            parameters["ChecksumAlgorithm"] = upload.algorithm.value
        headers = {**raw_headers(upload), **_condition_headers(condition)}
        answer = self._calls.make("CopyObject", key, raw_headers=headers, **parameters)
        return self._written("CopyObject", key, answer, answer.get("CopyObjectResult"))

    def copy_part(
        self, key: str, upload_id: str, part_number: int, origin: Origin, byte_range: ByteRange
    ) -> Written:
        """Let the service copy a range into a part."""
        parameters = _origin_parameters(origin)
        # "You can copy a range only if the source object is greater than 5 MB."
        if byte_range != ByteRange(start=0, stop=origin.identity.size):
            parameters["CopySourceRange"] = byte_range.http
        answer = self._calls.make(
            "UploadPartCopy", key, UploadId=upload_id, PartNumber=part_number, **parameters
        )
        return self._written("UploadPartCopy", key, answer, answer.get("CopyPartResult"))

    def _written(self, operation: str, key: str, answer: Any, result: Any) -> Written:  # noqa: ANN401 - botocore's
        etag = bare((result or {}).get("ETag"))
        if etag is None:
            # What does not know the header that names the origin takes this for an empty PutObject.
            detail = "the answer names no copy: the service may not know of copies"
            raise TakenForPutError(operation, self._calls.subject(key), detail)
        checksums = checksums_of(result)
        return Written(etag=etag, version_id=answer.get("VersionId"), checksums=checksums)


def _origin_parameters(origin: Origin) -> Parameters:
    """Return the parameters that make a copy one of exactly this object (c10)."""
    identity = origin.identity
    named = {"Bucket": origin.bucket, "Key": origin.key}
    if identity.version_id is not None:
        named["VersionId"] = identity.version_id
    parameters: Parameters = {"CopySource": named}
    if identity.etag is not None:
        parameters["CopySourceIfMatch"] = quoted(identity.etag)
    if origin.owner is not None:
        parameters["ExpectedSourceBucketOwner"] = origin.owner
    return parameters


def _condition_headers(condition: Condition | None) -> dict[str, str]:
    """Return the headers of a conditional copy; the first botocore that serves knows none."""
    if condition is None:
        return {}
    if condition.etag is not None:
        return {"If-Match": quoted(condition.etag)}
    return {"If-None-Match": "*"}
