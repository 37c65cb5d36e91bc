"""One call to a service: its common parameters, its errors, and headers botocore would rewrite."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_s3resume.exceptions import TransientStoreError
from airflow_provider_s3resume.plan.objects import object_uri
from airflow_provider_s3resume.storage._direct_body import body_of
from airflow_provider_s3resume.storage._pace import Awaited, Patience, awaiting
from airflow_provider_s3resume.storage._paced_connections import paced
from airflow_provider_s3resume.storage._s3_bodies import sendable
from airflow_provider_s3resume.storage._s3_common import Common
from airflow_provider_s3resume.storage._s3_direct import Direct, MovedError
from airflow_provider_s3resume.storage._s3_errors import translated
from airflow_provider_s3resume.storage._s3_express import PutParameters, S3Express
from airflow_provider_s3resume.storage.checksums import RUNNING

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

log = logging.getLogger(__name__)

_METHODS: Final = {
    "AbortMultipartUpload": "abort_multipart_upload",
    "CompleteMultipartUpload": "complete_multipart_upload",
    "CopyObject": "copy_object",
    "CreateMultipartUpload": "create_multipart_upload",
    "DeleteObject": "delete_object",
    "GetObject": "get_object",
    "GetBucketLocation": "get_bucket_location",
    "GetObjectTagging": "get_object_tagging",
    "HeadBucket": "head_bucket",
    "HeadObject": "head_object",
    "ListMultipartUploads": "list_multipart_uploads",
    "ListObjectsV2": "list_objects_v2",
    "ListParts": "list_parts",
    "PutObject": "put_object",
    "UploadPart": "upload_part",
    "UploadPartCopy": "upload_part_copy",
}

_AWAITED: Final = {
    "GetObject": Awaited.BODY,
    "CompleteMultipartUpload": Awaited.COMPLETE,
    "CopyObject": Awaited.COMPLETE,
    "UploadPartCopy": Awaited.COMPLETE,
}
_DIRECT_BODIES: Final = ("Body", "ContentLength", "ChecksumAlgorithm")
_OLD_NAMES: Final = {"EU": "eu-west-1", "": "us-east-1"}
_RAW_HEADERS: ContextVar[Mapping[str, str] | None] = ContextVar("raw_headers", default=None)


def _add_raw_headers(params: dict[str, Any], **_: object) -> None:
    params["headers"].update(_RAW_HEADERS.get() or {})


def pace_connections(client: S3Client, patience: Patience) -> bool:
    """See to it that a client's connections give up what stalls; tell whether they do.

    botocore has no public way to choose them. If it keeps them elsewhere one day, the client is
    used as it is, with the timeouts that botocore itself has.
    """
    try:
        session = client._endpoint.http_session  # type: ignore[attr-defined] # noqa: SLF001 - see above
        pools = paced(
            session._pool_classes_by_scheme,  # noqa: SLF001 - see above
            patience,
            float(client.meta.config.read_timeout),  # type: ignore[attr-defined]
        )
        session._manager.pool_classes_by_scheme = pools  # noqa: SLF001 - see above
    except (AttributeError, TypeError) as error:
        log.warning(
            "this botocore keeps its connections elsewhere (%s): a connection that trickles is "
            "not given up, and a body has to be sent within the connect timeout",
            error,
        )
        return False
    session._pool_classes_by_scheme = pools  # noqa: SLF001 - proxies' managers are made from it
    # Connections that were made before stay as they are.
    session.close()
    return True


class Calls:
    """Makes calls on one bucket through one boto3 client.

    :param direct: makes those that carry an object's bytes, where it can.
    """

    def __init__(
        self,
        client: S3Client,
        bucket: str,
        *,
        common: Common | None = None,
        patience: Patience | None = None,
        direct: Direct | None = None,
    ) -> None:
        pace_connections(client, patience or Patience())
        self._client = client
        self._direct = direct
        self.bucket = bucket
        self._common = common or Common()
        client.meta.events.register(
            "before-call.s3", _add_raw_headers, unique_id="s3resume-raw-headers"
        )

    def express(self, put_parameters: PutParameters) -> S3Express | None:
        """Return the calls for small objects, ``None`` if botocore makes them all."""
        if self._direct is None:
            return None
        return S3Express(self._direct, self.subject, self._common, put_parameters)

    def of_bucket(self, bucket: str, owner: str | None = None) -> Calls:
        """Return what makes the same calls on another bucket; botocore makes them all.

        :param owner: account that this bucket has to belong to.
        """
        other = copy.copy(self)
        other.bucket, other._direct = bucket, None  # noqa: SLF001 - its own kind
        # It may be another account's, and its objects have no key of this connection.
        other._common = self._common.of_source(owner)  # noqa: SLF001 - as above
        return other

    def subject(self, key: str = "") -> str:
        """Return the bucket or object as it is named in messages."""
        return object_uri(self.bucket, key)

    def make(
        self,
        operation: str,
        key: str | None = None,
        *,
        named: str = "",
        raw_headers: Mapping[str, str] | None = None,
        **parameters: Any,  # noqa: ANN401 - as many types as the API has
    ) -> dict[str, Any]:
        """Make one call.

        :param named: what a call without a key is about.
        :param raw_headers: headers to be sent as they are.
        :raises StoreError: what the service or the network answers.
        """
        asked = {
            "versioned": parameters.get("VersionId") is not None,
            "keyed": self._common.has_key,
        }
        if key is not None:
            subject = self.subject(key)
            with translated(operation, subject, **asked), suppress(MovedError):
                if self._serves(operation, parameters):
                    return self._make_direct(operation, key, raw_headers or {}, parameters)
        common = dict[str, object](self._common.of(operation))
        if key is not None:
            common["Key"] = key
        if "Body" in parameters:
            parameters["Body"] = sendable(parameters["Body"])
        method = getattr(self._client, _METHODS[operation])
        token = _RAW_HEADERS.set(raw_headers)
        try:
            with (
                awaiting(_AWAITED.get(operation, Awaited.SMALL)),
                translated(operation, self.subject(key or named), **asked),
            ):
                answer: dict[str, Any] = method(Bucket=self.bucket, **common, **parameters)
                return answer
        finally:
            _RAW_HEADERS.reset(token)

    def makes_directly(self, operation: str) -> bool:
        """Tell whether calls of an operation are made past botocore's own machinery.

        :raises StoreError: what the service or the network answers to whoever finds out.
        """
        with translated(operation, self.subject()):
            return self._serves(operation, {})

    def _serves(self, operation: str, parameters: Mapping[str, Any]) -> bool:
        trailer = parameters.get("ChecksumAlgorithm")
        return (
            self._direct is not None
            and (trailer is None or trailer in RUNNING)
            and self._direct.serves(operation)
        )

    def _make_direct(
        self,
        operation: str,
        key: str,
        raw_headers: Mapping[str, str],
        parameters: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Make a call past botocore's own machinery; the answer is what that would give.

        :raises MovedError: if botocore has to make it.
        """
        direct = self._direct
        if direct is None:
            raise MovedError(operation)
        if operation == "GetObject":
            answer, answered = direct.get(key, {**parameters, **self._common.of(operation)})
            answer["Body"] = answered
            return answer
        given = {**parameters, **self._common.of(operation)}
        content = given.get("Body")
        body = body_of(*(given.pop(name, None) for name in _DIRECT_BODIES))
        by_name = {name.lower(): text for name, text in raw_headers.items()}
        try:
            return direct.send(operation, key, given, body, by_name)
        except MovedError as error:
            if not _is_at_its_start(content):
                # What was read while it was sent is gone: whoever has it reads it again.
                detail = "the bucket is elsewhere, and the body has to be read again"
                raise TransientStoreError(operation, self.subject(key), detail) from error
            raise


def _is_at_its_start(content: Any) -> bool:  # noqa: ANN401 - buffers and files
    """Tell whether a body can be sent once more, after going back to where it begins."""
    if isinstance(content, bytes | bytearray | memoryview):
        return True
    try:
        content.seek(0)
    except (AttributeError, OSError):
        return False
    return True


def discover_region(client: S3Client, bucket: str, bucket_owner: str | None = None) -> str:
    """Return the region that a bucket is in.

    :param bucket_owner: account that it has to belong to.
    :raises BucketNotFoundError, AccessDeniedError: as the service says.
    """
    calls = Calls(client, bucket, common=Common(bucket_owner=bucket_owner))
    answer = calls.make("HeadBucket")
    region = answer.get("BucketRegion") or answer["ResponseMetadata"]["HTTPHeaders"].get(
        "x-amz-bucket-region"
    )
    if region:
        return str(region)
    found = str(calls.make("GetBucketLocation").get("LocationConstraint") or "")
    return _OLD_NAMES.get(found, found)
