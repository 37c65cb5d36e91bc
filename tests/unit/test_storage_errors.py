"""Every error of the SDK becomes one that says whether a retry helps, and tells no secret."""

from __future__ import annotations

import traceback

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import IncompleteRead, ProtocolError

from airflow_provider_s3resume import exceptions as e
from airflow_provider_s3resume.storage._redaction import redact
from airflow_provider_s3resume.storage._s3_errors import translated
from airflow_provider_s3resume.storage.s3 import S3Store

SIGNATURE = "3f786850e387550fdab836ed7e6dc881de23001b3f786850e387550fdab836ed"
PRESIGNED = (
    "https://h/b/k?X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20260101"
    f"&X-Amz-Security-Token=FwoGZXIvYXdzEXAMPLE&X-Amz-Signature={SIGNATURE}"
)
SECRETS = ("AKIAIOSFODNN7EXAMPLE", "FwoGZXIvYXdzEXAMPLE", SIGNATURE, "wJalrXUtnFEMI")


def _answer(code: str, status: int, message: str = "words") -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {"HTTPStatusCode": status},  # type: ignore[typeddict-item]
        },
        "GetObject",
    )


def _translate(
    error: Exception, operation: str = "GetObject", *, versioned: bool = False
) -> e.StoreError:
    call = translated(operation, "s3://b/k", versioned=versioned)
    with pytest.raises(e.StoreError) as caught, call:
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDenied", 403, e.AccessDeniedError),
        ("SignatureDoesNotMatch", 403, e.AccessDeniedError),
        ("InvalidAccessKeyId", 403, e.AccessDeniedError),
        ("403", 403, e.AccessDeniedError),
        ("KMS.DisabledException", 400, e.AccessDeniedError),
        ("KMS.NotFoundException", 400, e.AccessDeniedError),
        ("KMS.ThrottlingException", 400, e.ThrottledError),
        ("ExpiredToken", 400, e.CredentialsExpiredError),
        ("TokenRefreshRequired", 400, e.CredentialsExpiredError),
        ("RequestExpired", 400, e.CredentialsExpiredError),
        ("SlowDown", 503, e.ThrottledError),
        ("Throttling", 400, e.ThrottledError),
        ("ThrottlingException", 400, e.ThrottledError),
        ("Unheard", 503, e.ThrottledError),
        ("429", 429, e.ThrottledError),
        ("InternalError", 500, e.TransientStoreError),
        ("InternalError", 200, e.TransientStoreError),
        ("500", 500, e.TransientStoreError),
        ("502", 502, e.TransientStoreError),
        ("RequestTimeout", 400, e.TransientStoreError),
        ("ConditionalRequestConflict", 409, e.TransientStoreError),
        ("BadDigest", 400, e.DigestRejectedError),
        ("InvalidDigest", 400, e.DigestRejectedError),
        ("XAmzContentChecksumMismatch", 400, e.DigestRejectedError),
        ("PreconditionFailed", 412, e.PreconditionFailedError),
        ("412", 412, e.PreconditionFailedError),
        ("InvalidObjectState", 403, e.ObjectArchivedError),
        ("InvalidRange", 416, e.RangeMismatchError),
        ("NotImplemented", 501, e.UnsupportedError),
        ("NoSuchBucket", 404, e.BucketNotFoundError),
        ("NoSuchKey", 404, e.ObjectNotFoundError),
        ("NoSuchUpload", 404, e.UploadNotFoundError),
        ("404", 404, e.ObjectNotFoundError),
        ("EntityTooSmall", 400, e.StoreError),
        ("InvalidPart", 400, e.StoreError),
    ],
)
def test_c41_a_code_has_its_kind(code: str, status: int, kind: type[e.StoreError]) -> None:
    """The code decides, then the status; the SDK's error stays attached."""
    error = _answer(code, status)
    found = _translate(error)
    assert type(found) is kind
    assert found.__cause__ is error
    assert code in str(found)
    assert "s3://b/k" in str(found)


def test_a_missing_thing_is_what_the_call_is_about() -> None:
    """404 without a code is a bucket, an upload or an object."""
    error = _answer("404", 404)
    assert type(_translate(error, "HeadBucket")) is e.BucketNotFoundError
    assert type(_translate(error, "UploadPart")) is e.UploadNotFoundError
    assert type(_translate(error, "HeadObject")) is e.ObjectNotFoundError


def _answer_405(code: str = "405", **headers: str) -> ClientError:
    made = _answer(code, 405)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    made.response["ResponseMetadata"]["HTTPHeaders"] = named
    return made


@pytest.mark.parametrize("operation", ["HeadObject", "GetObject"])
@pytest.mark.parametrize("versioned", [True, False])
def test_c40_a_bare_405_says_nothing_of_an_object(operation: str, *, versioned: bool) -> None:
    """A gateway that does not take the method answers so, whatever was asked for."""
    for answer in (_answer("405", 405), _answer_405(x_amz_delete_marker="false")):
        assert type(_translate(answer, operation, versioned=versioned)) is e.StoreError


@pytest.mark.parametrize("operation", ["HeadObject", "GetObject"])
def test_a_405_tells_of_a_delete_marker_where_the_service_says_so(operation: str) -> None:
    """By its header; or, of a version that was asked for, by its code or the time of the marker."""
    headed = _answer_405(x_amz_delete_marker="true")
    assert "a delete marker" in _translate(headed, operation).detail
    dated = _answer_405(last_modified="Thu, 01 Jan 2026 00:00:00 GMT")
    coded = _answer_405("MethodNotAllowed")
    for answer, otherwise in ((dated, e.StoreError), (coded, e.UnsupportedError)):
        marked = _translate(answer, operation, versioned=True)
        assert type(marked) is e.ObjectNotFoundError
        assert "a delete marker" in marked.detail
        assert type(_translate(answer, operation)) is otherwise
        assert type(_translate(answer, "HeadBucket", versioned=True)) is otherwise


def test_a_head_without_a_reason_may_mean_expired_credentials() -> None:
    """S3 answers 400 without a body to a HEAD with an expired session token."""
    assert type(_translate(_answer("400", 400), "HeadObject")) is e.CredentialsExpiredError
    assert type(_translate(_answer("400", 400), "GetObject")) is e.StoreError


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectTimeoutError(endpoint_url="http://h"), e.TransientStoreError),
        (ReadTimeoutError(endpoint_url="http://h"), e.TransientStoreError),
        (EndpointConnectionError(endpoint_url="http://h"), e.TransientStoreError),
        (IncompleteRead(1, 2), e.TransientStoreError),
        (ProtocolError("cut"), e.TransientStoreError),
        (ConnectionResetError("reset"), e.TransientStoreError),
        (SSLError(endpoint_url="h", error=OSError("eof")), e.TransientStoreError),
        (SSLError(endpoint_url="h", error=OSError("CERTIFICATE_VERIFY_FAILED")), e.StoreError),
        (NoCredentialsError(), e.AccessDeniedError),
        (BotoCoreError(), e.StoreError),
    ],
)
def test_c41_a_fault_has_its_kind(error: Exception, kind: type[e.StoreError]) -> None:
    """Faults of the network may pass; a wrong certificate and missing credentials do not."""
    assert type(_translate(error)) is kind


@pytest.mark.parametrize(
    "error",
    [
        EndpointConnectionError(endpoint_url=PRESIGNED),
        ReadTimeoutError(endpoint_url=PRESIGNED),
        _answer("AccessDenied", 403, f"no: {PRESIGNED}"),
        _answer("AccessDenied", 403, f"Signature={SIGNATURE}, Credential of AKIAIOSFODNN7EXAMPLE"),
        _answer("Odd", 400, f"Authorization: AWS4-HMAC-SHA256 Credential=x, Signature={SIGNATURE}"),
        _answer("Odd", 400, "aws_secret_access_key=wJalrXUtnFEMI"),
    ],
)
def test_c42_no_secret_is_in_an_error(error: Exception) -> None:
    """Neither its words nor its traceback, causes included, hold a key, signature or query."""
    found = _translate(error)
    told = "".join(traceback.format_exception(found))
    for text in (str(found), found.detail, told):
        assert not [secret for secret in SECRETS if secret in text]


def test_redaction_leaves_the_rest() -> None:
    """What is no secret stays to be read."""
    assert redact("https://h/b/k?uploadId=1 failed") == "https://h/b/k?… failed"
    assert redact("The specified key does not exist: a?b=c") == (
        "The specified key does not exist: a?b=c"
    )


@pytest.mark.parametrize("token", ["a-session-token\n", "a-session-token\r\nInjected: x"])
def test_c42_a_token_that_cannot_be_sent_is_not_told(token: str) -> None:
    """Files and Kubernetes secrets end with line breaks; the transport's error repeats the header.

    Neither the error nor anything that is printed with it holds the token.
    """
    client = boto3.client(
        "s3",
        endpoint_url="http://127.0.0.1:9",
        aws_access_key_id="id",
        aws_secret_access_key="secret",
        aws_session_token=token,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )
    store = S3Store(client, "bucket", service="http://127.0.0.1:9")
    with pytest.raises(e.StoreError) as raised:
        store.head("key")
    assert not raised.value.retryable
    error: BaseException | None = raised.value
    while error is not None:
        printed = "".join(traceback.format_exception(error, chain=False)) + repr(error)
        assert token.strip()[:15] not in printed
        error = error.__cause__ or error.__context__
