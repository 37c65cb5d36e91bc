"""The one place where errors of oss2, requests and urllib3 become errors of this provider.

Sources: "Error codes" of the OSS API reference, and the codes and statuses that Alibaba's own V2
SDKs repeat a request for. A code decides before a status does.
"""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit
from xml.etree.ElementTree import ParseError

import oss2.exceptions
import requests
from urllib3.exceptions import HTTPError as Urllib3Error
from urllib3.exceptions import LocationValueError, ProtocolError

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
from airflow_provider_s3resume.storage._pace import reason_of
from airflow_provider_s3resume.storage._redaction import redact

_CODES: Final[dict[type[StoreError], str]] = {
    # RequestTimeTooSkewed is repeated by the V2 SDKs because they set their clock by the answer
    # first. oss2 does not: the next request would have the same wrong time in its signature.
    AccessDeniedError: (
        "AccessDenied Forbidden InvalidAccessKeyId InvalidSecurityToken RequestTimeTooSkewed "
        "SecurityTokenMalformed SignatureDoesNotMatch UserDisable"
    ),
    CredentialsExpiredError: "ExpiredToken SecurityTokenExpired InvalidSecurityToken.Expired",
    ThrottledError: (
        "ActiveRequestLimitExceeded BandwidthLimitExceeded DownloadTrafficRateLimitExceeded "
        "QpsLimitExceeded RequestRateLimitExceeded ServerBusy ServiceUnavailable SlowDown "
        "Throttling TooManyRequests TotalQpsLimitExceeded TrafficRateLimitExceeded "
        "UploadTrafficRateLimitExceeded"
    ),
    TransientStoreError: "BadRequest IncompleteBody InternalError RequestTimeout",
    DigestRejectedError: "BadDigest InvalidDigest",
    PreconditionFailedError: "FileAlreadyExists PreconditionFailed",
    ObjectArchivedError: "InvalidObjectState",
    RangeMismatchError: "InvalidRange",
    UnsupportedError: "MethodNotAllowed NotImplemented",
    BucketNotFoundError: "NoSuchBucket",
    # A link to a link, or to nothing, is as if there were no object.
    ObjectNotFoundError: "InvalidTargetType NoSuchKey NoSuchVersion SymlinkTargetNotExist",
    UploadNotFoundError: "NoSuchUpload",
}
_KIND_OF_CODE: Final = {code: kind for kind, codes in _CODES.items() for code in codes.split()}

_KIND_OF_STATUS: Final[dict[int, type[StoreError]]] = {
    401: CredentialsExpiredError,
    403: AccessDeniedError,
    # Of what takes no such method: by itself it says nothing about the object (c40).
    405: UnsupportedError,
    # It wants credentials itself.
    407: AccessDeniedError,
    408: TransientStoreError,
    412: PreconditionFailedError,
    416: RangeMismatchError,
    429: ThrottledError,
    501: UnsupportedError,
    503: ThrottledError,
}
_PROXY_REFUSES: Final = "Tunnel connection failed: 407"
_UNSENDABLE: Final = (
    "a header or address that cannot be sent; do the credentials end with a line break, "
    "or hold a sign that is not ASCII?"
)
# Texts of errors that are not about what is sent although their type could be.
_SAYS_NO_SECRET: Final = frozenset(
    {
        "I/O operation on closed file",
        "I/O operation on closed file.",
        "Missing dependencies for SOCKS support.",
        "read of closed file",
    }
)
_ADVICE: Final = {
    "0002-00000226": " Check the region of the connection: it is not the bucket's.",
    "SignatureDoesNotMatch": " Check the access key secret of the connection.",
    "InvalidAccessKeyId": " Check the access key id of the connection.",
}
"""What a person can do, by error code of the documentation (EC) or code."""

_MARKER_STATUSES: Final = frozenset({404, 405})
"""With the header that names it: 404 of a key whose newest version is a delete marker, 405 of the
marker itself, asked for by its id ("GetObject", "HeadObject")."""
_REDIRECTS: Final = range(300, 400)
_SERVER_FAULTS: Final = range(500, 600)
_BUCKET_CALLS: Final = frozenset({"ListObjectsV2", "ListMultipartUploads"})
_UPLOAD_CALLS: Final = frozenset(
    {"UploadPart", "ListParts", "CompleteMultipartUpload", "AbortMultipartUpload"}
)


@contextmanager
def translated(operation: str, subject: str) -> Iterator[None]:
    """Raise what the block's SDK calls raise as errors of this provider.

    :param operation: the call, in the service's words.
    :param subject: what it is about, as ``oss://bucket/key``.
    :raises StoreError: chained to what it was raised from, unless a text there may hold a secret.
    """
    around = sys.exc_info()[1]
    try:
        yield
    except oss2.exceptions.OssError as error:
        found = _of_sdk(error, operation, subject)
        raise found from _chainable(error, around)
    # OSError and ValueError come from sockets that another thread shut down or closed.
    except (
        requests.RequestException,
        Urllib3Error,
        http.client.HTTPException,
        ParseError,
        OSError,
        ValueError,
    ) as error:
        found = _of_fault(error, operation, subject)
        raise found from _chainable(error, around)


def _chainable(error: BaseException, around: BaseException | None) -> BaseException | None:
    """Return what an error may be raised from.

    Python keeps what it is not raised from as its context, so nothing secret may stay there.

    :param around: what was being handled before the call, and is none of its errors.
    """
    chain = _chain(error, around)
    is_answer = isinstance(error, oss2.exceptions.OssError) and error.status > 0
    if is_answer or any(_may_tell(one) for one in chain):
        for one in chain:
            _disarm(one)
        return None
    return getattr(error, "exception", error)


def _chain(error: BaseException, around: BaseException | None) -> list[BaseException]:
    """Return an error, what it was raised from, and what was being handled then."""
    found: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and one is not around and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__, *one.args]
    return found


def _may_tell(error: BaseException) -> bool:
    text = f"{error} {error.args}"
    return _cannot_be_sent(error) or redact(text) != text


def _disarm(error: Any) -> None:  # noqa: ANN401 - oss2 has no types
    """Take out of an error what others can read there: what was signed or sent, ids, and tokens."""
    error.args = ()
    if isinstance(error, UnicodeEncodeError):
        error.object = ""
    if isinstance(error, OSError):
        error.strerror = None
    if isinstance(error, requests.RequestException):
        error.request = error.response = None
    if isinstance(error, oss2.exceptions.OssError):
        error.headers = error.details = {}
        error.body = ""
        error.message = redact(str(error.message))
    if isinstance(error, oss2.exceptions.RequestError):
        error.exception = None


def _is_unsendable(error: BaseException) -> bool:
    """Tell whether an error, or one that it hands on, is about something that cannot be sent."""
    handed_on = [one for one in error.args if isinstance(one, BaseException)]
    return _cannot_be_sent(error) or any(_is_unsendable(one) for one in handed_on)


def _cannot_be_sent(error: BaseException) -> bool:
    """Tell whether an error is about a header or an address, whose text it then repeats."""
    if isinstance(error, http.client.InvalidURL | LocationValueError):
        return True
    if isinstance(error, ProtocolError) or not isinstance(error, ValueError):
        return False
    of_socket = isinstance(error, OSError) and not isinstance(error, requests.RequestException)
    return not of_socket and str(error) not in _SAYS_NO_SECRET


def _of_sdk(error: Any, operation: str, subject: str) -> StoreError:  # noqa: ANN401 - oss2 has no types
    if error.status > 0:
        return _of_answer(error, operation, subject)
    beneath = getattr(error, "exception", None)
    if beneath is not None:
        return _of_fault(beneath, operation, subject)
    detail = redact(str(error.body or type(error).__name__))
    # Its client for the credentials of a machine's role says so of every fault it meets.
    transient = "Failed to get credentials" in detail or error.status == _INCONSISTENT
    return (TransientStoreError if transient else StoreError)(operation, subject, detail)


_INCONSISTENT: Final = oss2.exceptions.OSS_INCONSISTENT_ERROR_STATUS


def _of_answer(error: Any, operation: str, subject: str) -> StoreError:  # noqa: ANN401 - oss2 has no types
    status = int(error.status)
    if status in _REDIRECTS:
        host = _host_of(error.headers.get("location"))
        detail = f"HTTP {status}: redirected to {host}, which is not followed; check the endpoint"
        return StoreError(operation, subject, detail)
    code = str(error.code or "")
    place = f"HTTP {status}, EC {error.ec or '-'}, request {error.request_id or '-'}"
    advice = _ADVICE.get(str(error.ec), _ADVICE.get(code, ""))
    detail = redact(f"{code or 'no code'} ({place}): {error.message or 'no message'}{advice}")
    if status in _MARKER_STATUSES and error.headers.get("x-oss-delete-marker") == "true":
        return ObjectNotFoundError(operation, subject, f"{detail} (a delete marker)")
    return _kind(code, status, operation)(operation, subject, detail)


def _host_of(location: str | None) -> str:
    try:
        return urlsplit(location or "").hostname or "nowhere"
    except ValueError:
        return "an address that is none"


def _kind(code: str, status: int, operation: str) -> type[StoreError]:
    known = _KIND_OF_CODE.get(code) or _KIND_OF_STATUS.get(status)
    if known is not None:
        return known
    if status == 404:  # noqa: PLR2004 - HTTP's own number
        return _missing(operation)
    return TransientStoreError if status in _SERVER_FAULTS else StoreError


def _missing(operation: str) -> type[StoreError]:
    if operation in _BUCKET_CALLS:
        return BucketNotFoundError
    return UploadNotFoundError if operation in _UPLOAD_CALLS else ObjectNotFoundError


def _of_fault(error: BaseException, operation: str, subject: str) -> StoreError:
    if _is_unsendable(error):
        return StoreError(operation, subject, f"{type(error).__name__}: {_UNSENDABLE}")
    advice = "; does the endpoint answer as OSS does?" if isinstance(error, ParseError) else ""
    detail = reason_of(error) or redact(f"{type(error).__name__}: {error}{advice}")
    return _kind_of_fault(error)(operation, subject, detail)


def _kind_of_fault(error: BaseException) -> type[StoreError]:
    if _PROXY_REFUSES in str(error):
        return AccessDeniedError
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        # Another try meets the same certificate.
        return StoreError
    transient: tuple[type[BaseException], ...] = (
        requests.ConnectionError,
        requests.Timeout,
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
        Urllib3Error,
        http.client.HTTPException,
        ParseError,
    )
    if isinstance(error, transient):
        return TransientStoreError
    # requests calls an address or header that it cannot send an OSError too.
    sendable = not isinstance(error, requests.RequestException | ValueError)
    return TransientStoreError if sendable and isinstance(error, OSError) else StoreError
