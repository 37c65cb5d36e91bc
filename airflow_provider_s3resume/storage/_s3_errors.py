"""The one place where errors of botocore and urllib3 become errors of this provider.

Sources: "Error responses" of the Amazon S3 API reference, and what other services were seen to
answer. A code decides before a status does, since services disagree about the statuses.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
    UnseekableStreamError,
)
from botocore.exceptions import (
    ConnectionError as EndpointError,
)
from botocore.parsers import ResponseParserError
from urllib3.exceptions import HTTPError as Urllib3Error

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    BucketNotFoundError,
    CredentialsExpiredError,
    DigestRejectedError,
    ObjectArchivedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    RangeMismatchError,
    StoreError,
    ThrottledError,
    TransientStoreError,
    UnsupportedError,
    UploadNotFoundError,
)
from airflow_provider_s3resume.storage._key_advice import key_advice
from airflow_provider_s3resume.storage._pace import reason_of
from airflow_provider_s3resume.storage._redaction import redact

_CODES: Final[dict[type[StoreError], str]] = {
    AccessDeniedError: (
        "AccessDenied AccountProblem AllAccessDisabled AuthorizationHeaderMalformed Forbidden "
        "InvalidAccessKeyId InvalidPayer InvalidSecurity InvalidToken NotSignedUp "
        "RequestTimeTooSkewed SignatureDoesNotMatch UnauthorizedAccess"
    ),
    CredentialsExpiredError: (
        "ExpiredToken ExpiredTokenException RequestExpired TokenRefreshRequired"
    ),
    ThrottledError: (
        "BandwidthLimitExceeded Busy RequestLimitExceeded RequestThrottled "
        "RequestThrottledException ServerBusy ServiceUnavailable SlowDown SlowDownRead "
        "SlowDownWrite ThrottledException Throttling ThrottlingException TooManyRequests "
        "TooManyRequestsException KMS.ThrottlingException"
    ),
    TransientStoreError: (
        "ConditionalRequestConflict IncompleteBody InternalError InternalFailure "
        "InternalServerError MalformedXML OperationAborted RequestTimeout RequestTimeoutException "
        "KMS.InternalException KMS.KMSInternalException KMS.DependencyTimeoutException"
    ),
    DigestRejectedError: (
        "BadDigest InvalidDigest XAmzContentChecksumMismatch XAmzContentSHA256Mismatch"
    ),
    PreconditionFailedError: "PreconditionFailed",
    ObjectArchivedError: "InvalidObjectState",
    RangeMismatchError: "InvalidRange InvalidPartNumber",
    UnsupportedError: "NotImplemented MethodNotAllowed",
    BucketNotFoundError: "NoSuchBucket",
    ObjectNotFoundError: "NoSuchKey NoSuchVersion",
    UploadNotFoundError: "NoSuchUpload",
}
_KIND_OF_CODE: Final = {code: kind for kind, codes in _CODES.items() for code in codes.split()}

_KIND_OF_STATUS: Final[dict[int, type[StoreError]]] = {
    401: AccessDeniedError,
    403: AccessDeniedError,
    408: TransientStoreError,
    412: PreconditionFailedError,
    416: RangeMismatchError,
    429: ThrottledError,
    501: UnsupportedError,
    503: ThrottledError,
}
_SERVER_FAULTS: Final = range(500, 600)
_INVALID_HEADER: Final = "invalid header"
_UNSENDABLE: Final = (
    "a header that cannot be sent; do the credentials end with a line break, or hold a sign that "
    "is not ASCII?"
)
_BARE_400: Final = (
    "HTTP 400 without a reason: expired credentials, a bucket of another region, "
    "or an object with a customer-provided key"
)
_MARKER_STATUSES: Final = frozenset({404, 405})
_OBJECT_CALLS: Final = frozenset({"GetObject", "HeadObject"})
_BUCKET_CALLS: Final = frozenset({"HeadBucket", "ListObjectsV2", "ListMultipartUploads"})
_UPLOAD_CALLS: Final = frozenset(
    {
        "UploadPart",
        "UploadPartCopy",
        "ListParts",
        "CompleteMultipartUpload",
        "AbortMultipartUpload",
    }
)


@contextmanager
def translated(
    operation: str, subject: str, *, versioned: bool = False, keyed: bool = False
) -> Iterator[None]:
    """Raise what the block's SDK calls raise as errors of this provider.

    :param operation: the call, in the service's words.
    :param subject: what it is about, as ``s3://bucket/key``.
    :param versioned: whether it asks for one version by its id.
    :param keyed: whether it has a customer-provided key.
    :raises StoreError: chained to the SDK's error, unless that one's text holds a secret.
    """
    try:
        yield
    except ClientError as error:
        found = _of_answer(error.response, operation, subject, versioned=versioned, keyed=keyed)
        raise found from _chainable(error)
    # OSError and ValueError come from sockets that another thread shut down or closed.
    except (BotoCoreError, ResponseParserError, Urllib3Error, OSError, ValueError) as error:
        found = _of_fault(error, operation, subject)
        raise found from _chainable(error)


def _chainable(error: BaseException) -> BaseException | None:
    text = f"{error} {getattr(error, 'response', '')}"
    if redact(text) == text and not _is_unsendable(error):
        return error
    _disarm(error)
    return None


def _is_unsendable(error: BaseException) -> bool:
    """Tell whether an error is about a header that cannot be sent; its text repeats the header."""
    beneath = getattr(error, "kwargs", {}).get("error")
    unicode = isinstance(error, UnicodeError) or isinstance(beneath, UnicodeError)
    return unicode or _INVALID_HEADER in str(error).lower()


def _disarm(error: BaseException) -> None:
    """Empty an error that stays the context of ours, and all that it was raised from.

    What was being handled before the call is none of these kinds.
    """
    left: BaseException | None = error
    while isinstance(left, BotoCoreError | ClientError | Urllib3Error | OSError | ValueError):
        left.args = ()
        if isinstance(left, BotoCoreError):
            left.kwargs = {}
        if isinstance(left, ClientError):
            left.response = {}
        if isinstance(left, UnicodeEncodeError):
            left.object = ""
        left = left.__cause__ or left.__context__


def _of_answer(
    response: Any,  # noqa: ANN401 - botocore
    operation: str,
    subject: str,
    *,
    versioned: bool,
    keyed: bool,
) -> StoreError:
    given = response.get("Error", {})
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(given.get("Code") or "")
    message = str(given.get("Message") or "no message")
    advice = key_advice(operation, message, keyed=keyed)
    detail = redact(f"{code} (HTTP {status}): {message}") + advice
    if code == "400" and operation.startswith("Head"):
        # An answer to HEAD has no body; S3 answers so to expired session tokens.
        return CredentialsExpiredError(operation, subject, _BARE_400)
    by_id = versioned and operation in _OBJECT_CALLS
    if _is_of_marker(response, status, code, by_id=by_id):
        return ObjectNotFoundError(operation, subject, f"{detail} (a delete marker)")
    return _kind(code, status, operation)(operation, subject, detail)


def _is_of_marker(response: Any, status: int, code: str, *, by_id: bool) -> bool:  # noqa: ANN401 - botocore
    """Tell whether an answer is about a delete marker, and not about a missing object.

    "Working with delete markers": 404 if it is the newest version, 405 if it was asked for by its
    id, both with a header. Not every service sends it then; but a service says so in its own words,
    or, to a HEAD, when the marker was made. A 405 without any of these is of something on the way
    that does not take the method, and says nothing about the object (c40).
    """
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders") or {}
    if status in _MARKER_STATUSES and headers.get("x-amz-delete-marker") == "true":
        return True
    said = code == "MethodNotAllowed" or "last-modified" in headers
    return by_id and status == 405 and said  # noqa: PLR2004 - HTTP's own number


def _kind(code: str, status: int, operation: str) -> type[StoreError]:
    known = _KIND_OF_CODE.get(code)
    if known is not None:
        return known
    if code.startswith("KMS."):
        return AccessDeniedError
    if status == 404:  # noqa: PLR2004 - HTTP's own number
        return _missing(operation)
    if status in _KIND_OF_STATUS:
        return _KIND_OF_STATUS[status]
    return TransientStoreError if status in _SERVER_FAULTS else StoreError


def _missing(operation: str) -> type[StoreError]:
    if operation in _BUCKET_CALLS:
        return BucketNotFoundError
    return UploadNotFoundError if operation in _UPLOAD_CALLS else ObjectNotFoundError


def _of_fault(error: BaseException, operation: str, subject: str) -> StoreError:
    if _is_unsendable(error):
        return StoreError(operation, subject, f"{type(error).__name__}: {_UNSENDABLE}")
    detail = reason_of(error) or redact(f"{type(error).__name__}: {error}")
    return _kind_of_fault(error)(operation, subject, detail)


def _kind_of_fault(error: BaseException) -> type[StoreError]:
    if isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        # Another try meets the same certificate.
        return StoreError
    if isinstance(
        error,
        NoCredentialsError
        | PartialCredentialsError
        | UnauthorizedSSOTokenError
        | TokenRetrievalError,
    ):
        return AccessDeniedError
    transient = (
        EndpointError,
        HTTPClientError,
        IncompleteReadError,
        FlexibleChecksumError,
        ResponseParserError,
        CredentialRetrievalError,
        MetadataRetrievalError,
        # After a redirect, of a body that is read while it is sent: it has to be read again.
        UnseekableStreamError,
        Urllib3Error,
        OSError,
    )
    return TransientStoreError if isinstance(error, transient) else StoreError
