"""``S3Store``: a bucket of Amazon S3 or a compatible service, through a boto3 client.

The client should be made with ``client_config(settings)``; the store repeats no call by itself
(``storage.layers`` does) and asks the settings, never the service's name, what it may rely on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CredentialsExpiredError,
    ObjectNotFoundError,
    PreconditionFailedError,
    RangeMismatchError,
    StoreError,
    TransientStoreError,
    UnsupportedError,
    UploadNotFoundError,
)
from airflow_provider_s3resume.plan.archives import MAY_BE_ARCHIVED, is_archived
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm, part_count_of_etag
from airflow_provider_s3resume.plan.objects import (
    ALL_KEYS,
    ByteRange,
    KeyRange,
    ListedObject,
    ObjectInfo,
    SourceIdentity,
)
from airflow_provider_s3resume.plan.parts import Limits
from airflow_provider_s3resume.plan.resume import ListedPart, PartRecord
from airflow_provider_s3resume.storage import _s3_listing
from airflow_provider_s3resume.storage._headers import bare
from airflow_provider_s3resume.storage._s3_bodies import StreamBody
from airflow_provider_s3resume.storage._s3_calls import Calls, discover_region
from airflow_provider_s3resume.storage._s3_common import Common
from airflow_provider_s3resume.storage._s3_copying import S3Copying
from airflow_provider_s3resume.storage._s3_direct import open_direct
from airflow_provider_s3resume.storage._s3_headers import (
    CHECKSUM_PARAMETERS,
    Parameters,
    checksum_parameters,
    completed_part,
    condition_parameters,
    create_parameters,
    identity_parameters,
    object_info,
    raw_headers,
    upload_parameters,
    version_parameters,
    written,
)
from airflow_provider_s3resume.storage._s3_reader import (
    S3RangeReader,
    check_answer,
    check_identity,
)
from airflow_provider_s3resume.storage._s3_settings import (
    S3Settings,
    client_config,
    store_settings_from_extra,
)
from airflow_provider_s3resume.storage.base import (
    Capabilities,
    Condition,
    NewUpload,
    PartBody,
    PartInfo,
    SupportsRead,
    UploadInfo,
    Written,
)
from airflow_provider_s3resume.storage.express import Express

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_ONE_BYTE: Final = "bytes=0-0"
_AMAZON: Final = re.compile(r"\.amazonaws\.com(\.cn)?(:\d+)?\Z")

__all__ = [
    "S3Settings",
    "S3Store",
    "client_config",
    "discover_region",
    "store_settings_from_extra",
]


class S3Store:
    """An ``ObjectStore`` on a boto3 client, safe to use from many threads.

    :param client: made by the caller, with credentials that refresh themselves where they expire.
    :param service: scheme, host and port of the service, without anything secret.
    """

    def __init__(
        self, client: S3Client, bucket: str, *, service: str, settings: S3Settings | None = None
    ) -> None:
        self.settings = settings or S3Settings()
        self.bucket = bucket
        self.scheme = "s3"
        self.service = service
        # botocore sends a checksum behind a body only where TLS protects it on the way.
        tls = service.startswith("https://")
        self._capabilities = replace(self.settings.capabilities, trailers=tls)
        # Others let the attribute pass unseen: of their objects a HEAD has to be asked.
        # The API reference has it unsupported for directory buckets.
        directory = bucket.endswith("--x-s3")
        self._lists_restores = _AMAZON.search(service) is not None and not directory
        key = self.settings.customer_key
        if key is not None:
            key.keep_out_of_logs()
            # "Common response headers": such an ETag is no MD5.
            self._capabilities = replace(self._capabilities, md5_etags=False, customer_key=key.mark)
        self._common = Common(
            request_payer=self.settings.request_payer,
            bucket_owner=self.settings.expected_bucket_owner,
            customer_key=key,
        )
        patience = self.settings.patience
        direct = open_direct(client, bucket, patience) if self.settings.direct else None
        if direct is None:
            # botocore may read a body twice.
            self._capabilities = replace(self._capabilities, streams_objects=False)
        self._calls = Calls(client, bucket, common=self._common, patience=patience, direct=direct)
        self._express = self._calls.express(self._put_parameters)

    @property
    def capabilities(self) -> Capabilities:
        """What the settings say that the service can do."""
        return self._capabilities

    @property
    def limits(self) -> Limits:
        """What the settings say that the service accepts."""
        return self.settings.limits

    @property
    def express(self) -> Express | None:
        """The store's part for small objects, if its calls can be made directly."""
        return self._express

    @property
    def bucket_owner(self) -> str | None:
        """The account that the bucket has to belong to, as its connection says."""
        return self.settings.expected_bucket_owner

    @property
    def server_side(self) -> S3Copying:
        """The store's part for copies by the service; whether it makes any is to be tried."""
        return S3Copying(self._calls, self.capabilities)

    # Reading.

    def check_access(self, prefix: str = "") -> None:
        """Make sure that the bucket exists and answers: a listing of one key says why it does not.

        HeadBucket has no body to give a reason in, and needs the same permission.
        """
        # A policy may allow listings of a prefix only, and it looks at this very parameter.
        limited: dict[str, Any] = {"Prefix": prefix} if prefix else {}
        answer = self._calls.make("ListObjectsV2", named=prefix, MaxKeys=1, **limited)
        _s3_listing.check_said(answer, "ListObjectsV2", self._calls.subject(prefix))

    def list_objects(
        self, prefix: str = "", key_range: KeyRange = ALL_KEYS
    ) -> Iterator[ListedObject]:
        """Yield the objects, one call a page."""
        return _s3_listing.list_objects(
            lambda more: self._calls.make("ListObjectsV2", named=prefix, **more),
            self._calls.subject(prefix),
            prefix,
            key_range,
            ordered=self.capabilities.ordered_listing,
            restores=self._lists_restores,
        )

    def head(self, key: str, *, version_id: str | None = None) -> ObjectInfo:
        """Return the object's headers, its checksums included."""
        answer = self._headers(key, ChecksumMode="ENABLED", **version_parameters(version_id))
        info = object_info(key, answer, answer["ContentLength"])
        if info.storage_class not in MAY_BE_ARCHIVED:
            return info
        told = (answer.get("Restore"), answer.get("ArchiveStatus"))
        return replace(info, archived=is_archived(info.storage_class, *told))

    def head_part(self, key: str, part_number: int, identity: SourceIdentity) -> PartInfo | None:
        """Return one part of a multipart object, ``None`` if the service does not tell."""
        if not self.capabilities.part_layout:
            return None
        answer = self._headers(key, PartNumber=part_number, **identity_parameters(identity))
        count, etag = answer.get("PartsCount"), bare(answer.get("ETag"))
        # SeaweedFS gives plain objects one part, which says nothing about their ETag.
        if not count or (count == 1 and part_count_of_etag(etag) is None):
            return None
        return PartInfo(size=answer["ContentLength"], part_count=count, etag=etag)

    def _headers(self, key: str, **parameters: Any) -> dict[str, Any]:  # noqa: ANN401 - as the API has
        """Make a HEAD; one that is refused has no body to say why, so a GET is asked.

        A bare 403 or 400 may be a policy, expired credentials or another region, of which one is
        hopeless and another is mended by the next call.
        """
        operation = "HeadObject"
        try:
            return self._calls.make(operation, key, **parameters)
        except (AccessDeniedError, CredentialsExpiredError) as error:
            version = version_parameters(parameters.get("VersionId"))
            try:
                answer = self._calls.make("GetObject", key, Range=_ONE_BYTE, **version)
            except RangeMismatchError:
                pass  # It has no byte, and may be read.
            except StoreError as told:
                raise type(told)(operation, told.subject, told.detail) from told
            else:
                answer["Body"].close()
            detail = f"{error.detail}; a GET of the same object is answered"
            raise TransientStoreError(operation, error.subject, detail) from error

    def open_range(
        self, key: str, byte_range: ByteRange | None, identity: SourceIdentity
    ) -> S3RangeReader:
        """Open a range of exactly the object that ``identity`` names."""
        parameters = identity_parameters(identity)
        if byte_range is not None:
            parameters["Range"] = byte_range.http
        subject = self._calls.subject(key)
        answer = self._calls.make("GetObject", key, **parameters)
        length = byte_range.length if byte_range else identity.size
        info = object_info(key, answer, identity.size)
        body = answer["Body"]
        # StreamingBody would count, copy and check once more; its stream is urllib3's response.
        raw = getattr(body, "_raw_stream", body)
        reader = S3RangeReader(raw, info, length, subject)
        try:
            check_identity(info, identity, subject)
            check_answer(answer, byte_range, identity.size, subject)
        except BaseException:
            reader.abort()
            reader.close()
            raise
        return reader

    def get_tags(self, key: str, *, version_id: str | None = None) -> Mapping[str, str]:
        """Return the object's tags."""
        if not self.capabilities.tags:
            raise UnsupportedError("GetObjectTagging", self._calls.subject(key), "has no tags")
        answer = self._calls.make("GetObjectTagging", key, **version_parameters(version_id))
        tags = answer.get("TagSet")
        if tags is None:
            # An answer that says nothing of tags is none that says that there are none.
            detail = "the answer has no set of tags"
            raise TransientStoreError("GetObjectTagging", self._calls.subject(key), detail)
        return {tag["Key"]: tag["Value"] for tag in tags}

    # Writing.

    def put_object(
        self,
        key: str,
        body: PartBody,
        *,
        upload: NewUpload,
        checksum: Checksum | None,
        condition: Condition | None = None,
        content_md5: str | None = None,
    ) -> Written:
        """Write a whole object in one request."""
        parameters = self._put_parameters(key, upload, checksum, condition, content_md5)
        return self._put(key, upload, condition, {"Body": body, **parameters})

    def put_object_stream(
        self,
        key: str,
        body: SupportsRead,
        length: int,
        *,
        upload: NewUpload,
        content_md5: str,
        condition: Condition | None = None,
    ) -> Written:
        """Write a whole object while it is read.

        :raises UnsupportedError: also where botocore makes the call: it may read a body twice.
        """
        operation = "PutObject"
        if not (self.capabilities.streams_objects and self._calls.makes_directly(operation)):
            detail = "objects are not written while they are read"
            raise UnsupportedError(operation, self._calls.subject(key), detail)
        parameters = self._put_parameters(key, upload, None, condition, content_md5)
        sent = {"Body": StreamBody(body, length), "ContentLength": length}
        return self._put(key, upload, condition, {**sent, **parameters})

    def _put(
        self, key: str, upload: NewUpload, condition: Condition | None, parameters: Parameters
    ) -> Written:
        operation, raw = "PutObject", raw_headers(upload)
        answer = self._write(operation, key, condition, raw_headers=raw, **parameters)
        self._common.check_written(answer, operation, self._calls.subject(key))
        return written(answer)

    def _put_parameters(
        self,
        key: str,
        upload: NewUpload,
        checksum: Checksum | None,
        condition: Condition | None,
        content_md5: str | None,
    ) -> Parameters:
        """Return the parameters of a PutObject, but for the body and what is sent raw."""
        operation, subject = "PutObject", self._calls.subject(key)
        honoured = self.capabilities.conditional_put
        parameters = {
            **upload_parameters(upload),
            **checksum_parameters(checksum, operation, subject),
            **self._conditions(operation, key, condition, honoured=honoured),
        }
        if content_md5 is not None:
            parameters["ContentMD5"] = content_md5
        return parameters

    def create_upload(self, key: str, upload: NewUpload) -> str:
        """Begin a multipart upload and return its id."""
        operation = "CreateMultipartUpload"
        if upload.full_object and not self.capabilities.full_object_checksum:
            detail = "the service checks no full-object checksum"
            raise UnsupportedError(operation, self._calls.subject(key), detail)
        answer = self._calls.make(
            operation, key, raw_headers=raw_headers(upload), **create_parameters(upload)
        )
        upload_id: str | None = answer.get("UploadId")
        if not upload_id:
            detail = "the answer names no upload"
            raise TransientStoreError(operation, self._calls.subject(key), detail)
        return upload_id

    def upload_part(
        self,
        key: str,
        upload_id: str,
        part_number: int,
        body: PartBody,
        checksum: Checksum | None,
    ) -> str:
        """Send one part and return its ETag.

        Where botocore sends it, a view of a part of a buffer is copied for the time of the call.
        """
        parameters = checksum_parameters(checksum, "UploadPart", self._calls.subject(key))
        return self._part(key, upload_id, part_number, Body=body, **parameters)

    def upload_part_stream(
        self,
        key: str,
        upload_id: str,
        part_number: int,
        body: SupportsRead,
        length: int,
        algorithm: ChecksumAlgorithm | None,
    ) -> str:
        """Send one part while it is read; with an algorithm, a trailer carries the checksum.

        :raises UnsupportedError: for a trailer without TLS, which botocore does not send.
        """
        operation, subject = "UploadPart", self._calls.subject(key)
        if not self.capabilities.streams_parts:
            raise UnsupportedError(operation, subject, "parts are not streamed")
        parameters: Parameters = {"Body": StreamBody(body, length), "ContentLength": length}
        if algorithm is not None:
            if not self.service.startswith("https") or algorithm not in CHECKSUM_PARAMETERS:
                detail = f"no {algorithm.value} trailer to {self.service}"
                raise UnsupportedError(operation, subject, detail)
            parameters["ChecksumAlgorithm"] = algorithm.value
        return self._part(key, upload_id, part_number, **parameters)

    def _part(self, key: str, upload_id: str, part_number: int, **parameters: Any) -> str:  # noqa: ANN401
        answer = self._calls.make(
            "UploadPart", key, UploadId=upload_id, PartNumber=part_number, **parameters
        )
        # SeaweedFS says nothing of a key when an upload is begun, and of each part it does.
        self._common.check_written(answer, "UploadPart", self._calls.subject(key))
        etag = bare(answer.get("ETag"))
        if etag is None:
            raise TransientStoreError("UploadPart", self._calls.subject(key), "no ETag in answer")
        return etag

    def list_parts(self, key: str, upload_id: str) -> list[ListedPart]:
        """Return all parts of an upload, as listed."""
        fetch = partial(self._calls.make, "ListParts", key, UploadId=upload_id)
        subject = f"parts of {self._calls.subject(key)}"
        return _s3_listing.list_parts(lambda more: fetch(**more), subject)

    def list_uploads(self, key: str) -> list[UploadInfo]:
        """Return the unfinished uploads of exactly this key."""
        fetch = partial(self._calls.make, "ListMultipartUploads", named=key)
        subject = f"uploads of {self._calls.subject(key)}"
        return _s3_listing.list_uploads(lambda more: fetch(**more), subject, key)

    def list_all_uploads(self, prefix: str = "") -> list[UploadInfo]:
        """Return the unfinished uploads of all keys under a prefix."""
        fetch = partial(self._calls.make, "ListMultipartUploads", named=prefix)
        subject = f"uploads of {self._calls.subject(prefix)}"
        return _s3_listing.list_all_uploads(lambda more: fetch(**more), subject, prefix)

    def complete_upload(
        self,
        key: str,
        upload_id: str,
        parts: Sequence[PartRecord],
        *,
        size: int,
        checksum: Checksum | None,
        algorithm: ChecksumAlgorithm | None = None,
        condition: Condition | None = None,
    ) -> Written:
        """Make the parts the object.

        :raises TransientStoreError: also if the answer does not name the object: look at the
            target then.
        """
        operation, subject = "CompleteMultipartUpload", self._calls.subject(key)
        conditional = self.capabilities.conditional_complete
        parameters = {
            **checksum_parameters(checksum, operation, subject),
            **self._conditions(operation, key, condition, honoured=conditional),
        }
        if self.capabilities.full_object_checksum:
            # As old as full-object checksums; not all services take a header that they do not know.
            parameters["MpuObjectSize"] = size
        if checksum is not None:
            parameters["ChecksumType"] = "FULL_OBJECT"
        repeated = None if checksum is not None or algorithm is None else algorithm
        chosen = [completed_part(part, repeated) for part in parts]
        answer = self._write(
            operation,
            key,
            condition,
            UploadId=upload_id,
            MultipartUpload={"Parts": chosen},
            **parameters,
        )
        if not {"ETag", "Key", "Bucket", "Location"} & answer.keys():
            raise TransientStoreError(operation, subject, "the answer names no object")
        return written(answer)

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Drop an upload and its parts; nothing happens if it is gone."""
        try:
            self._calls.make("AbortMultipartUpload", key, UploadId=upload_id)
        except UploadNotFoundError:
            return

    def delete_object(self, key: str) -> None:
        """Delete an object; nothing happens if it is gone."""
        try:
            self._calls.make("DeleteObject", key)
        except ObjectNotFoundError:
            return

    def _conditions(
        self, operation: str, key: str, condition: Condition | None, *, honoured: bool
    ) -> Parameters:
        if condition is not None and not honoured:
            detail = "the service does not honour conditions"
            raise UnsupportedError(operation, self._calls.subject(key), detail)
        return condition_parameters(condition)

    def _write(
        self,
        operation: str,
        key: str,
        condition: Condition | None,
        **parameters: Any,  # noqa: ANN401 - as many types as the API has
    ) -> dict[str, Any]:
        try:
            return self._calls.make(operation, key, **parameters)
        except ObjectNotFoundError as error:
            if condition is None:
                raise
            # "Conditional writes": If-Match on a key without an object is answered 404.
            raise PreconditionFailedError(operation, error.subject, error.detail) from error
