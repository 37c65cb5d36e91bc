"""Every error of oss2 becomes one that says whether a retry helps, and tells no secret."""

from __future__ import annotations

import http.client
import logging
import traceback
from collections.abc import Mapping
from xml.etree.ElementTree import ParseError

import oss2
import pytest
import requests
from urllib3.exceptions import (
    IncompleteRead,
    LocationParseError,
    ProtocolError,
    ReadTimeoutError,
    ResponseNotChunked,
)

from airflow_provider_s3resume import exceptions as e
from airflow_provider_s3resume.storage._oss_errors import translated
from airflow_provider_s3resume.storage._redaction import redact

SIGNATURE = "9c2d4f4d0d8b2f0bd5d1f5c9b3a1ad7f3b0c3ff9b7a5d9b1f5bd8f3c9a1e7d21"
TOKEN = "CAISzgJ1q6Ft5B2yfSjIr5fSGv3zj7oR8oKKaHWFnDZnd0pUOZkKyGEPpFfYxKhsDmRLXwDGYdPcDz9VyLbmJ"
ACCESS_KEY = "LTAI5tExampleExampleId"
ROLE_KEY = "STS.NUgYrLnoC37mZZCNnAbezExamp"
SECRETS = (SIGNATURE, TOKEN, ACCESS_KEY, ROLE_KEY, "pass-word", "20231203")
TUNNEL = "OSError('Tunnel connection failed: "
AUTHORIZATION = (
    f"OSS4-HMAC-SHA256 Credential={ACCESS_KEY}/20231203/cn-hangzhou/oss/aliyun_v4_request, "
    f"Signature={SIGNATURE}"
)
SIGNED = (
    f"https://b.oss-cn-hangzhou.aliyuncs.com/k?x-oss-credential={ACCESS_KEY}%2F20231203"
    f"&x-oss-security-token={TOKEN}&x-oss-signature={SIGNATURE}"
)


def _answer(
    code: str,
    status: int,
    message: str | None = "words",
    headers: Mapping[str, str] | None = None,
    **more: str,
) -> Exception:
    details = {"Code": code, "Message": message, "EC": "0002-00000040", **more}
    given = {"x-oss-request-id": "5C3D9175B6FC201293AD", **(headers or {})}
    # As oss2 makes it from an answer.
    kind = oss2.exceptions._OSS_ERROR_TO_EXCEPTION.get((status, code), oss2.exceptions.ServerError)
    found: Exception = kind(status, given, b"<Error>", details if code else {})
    return found


def _request_error(error: Exception) -> Exception:
    found: Exception = oss2.exceptions.RequestError(error)
    return found


def _translate(error: Exception, operation: str = "GetObject") -> e.StoreError:
    with pytest.raises(e.StoreError) as caught, translated(operation, "oss://b/k"):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("AccessDenied", 403, e.AccessDeniedError),
        ("SignatureDoesNotMatch", 403, e.AccessDeniedError),
        ("InvalidAccessKeyId", 403, e.AccessDeniedError),
        ("InvalidSecurityToken", 403, e.AccessDeniedError),
        ("RequestTimeTooSkewed", 403, e.AccessDeniedError),
        ("", 403, e.AccessDeniedError),
        ("", 407, e.AccessDeniedError),
        ("SecurityTokenExpired", 403, e.CredentialsExpiredError),
        ("Unheard", 401, e.CredentialsExpiredError),
        ("DownloadTrafficRateLimitExceeded", 503, e.ThrottledError),
        ("TotalQpsLimitExceeded", 503, e.ThrottledError),
        ("ActiveRequestLimitExceeded", 503, e.ThrottledError),
        ("ServiceUnavailable", 503, e.ThrottledError),
        ("Unheard", 503, e.ThrottledError),
        ("Unheard", 429, e.ThrottledError),
        ("InternalError", 500, e.TransientStoreError),
        ("", 502, e.TransientStoreError),
        ("BadRequest", 400, e.TransientStoreError),
        ("RequestTimeout", 400, e.TransientStoreError),
        ("", 408, e.TransientStoreError),
        ("InvalidDigest", 400, e.DigestRejectedError),
        ("PreconditionFailed", 412, e.PreconditionFailedError),
        ("", 412, e.PreconditionFailedError),
        ("InvalidObjectState", 403, e.ObjectArchivedError),
        ("InvalidRange", 416, e.RangeMismatchError),
        ("NotImplemented", 400, e.UnsupportedError),
        ("NoSuchBucket", 404, e.BucketNotFoundError),
        ("NoSuchKey", 404, e.ObjectNotFoundError),
        ("NoSuchVersion", 404, e.ObjectNotFoundError),
        ("SymlinkTargetNotExist", 404, e.ObjectNotFoundError),
        ("InvalidTargetType", 400, e.ObjectNotFoundError),
        ("MethodNotAllowed", 405, e.UnsupportedError),
        ("", 404, e.ObjectNotFoundError),
        ("NoSuchUpload", 404, e.UploadNotFoundError),
        ("InvalidArgument", 400, e.StoreError),
        ("", 400, e.StoreError),
        ("", 304, e.StoreError),
    ],
)
def test_c41_a_code_has_its_kind(code: str, status: int, kind: type[e.StoreError]) -> None:
    """The code decides, then the status; the text names both, the object, and the request."""
    found = _translate(_answer(code, status))
    assert type(found) is kind
    assert "oss://b/k" in str(found)
    assert str(status) in str(found)
    assert found.__cause__ is None
    if code:
        expected = f"{code} (HTTP {status}, EC 0002-00000040, request 5C3D9175B6FC201293AD): words"
        assert found.detail.startswith(expected)


@pytest.mark.parametrize(
    ("code", "ec", "advice"),
    [
        ("InvalidArgument", "0002-00000226", "the region of the connection"),
        ("SignatureDoesNotMatch", "0002-00000040", "the access key secret of the connection"),
        ("InvalidAccessKeyId", "0002-00000902", "the access key id of the connection"),
    ],
)
def test_what_is_wrong_with_a_connection_is_said(code: str, ec: str, advice: str) -> None:
    """The service's own words name no field that a person could change."""
    assert advice in _translate(_answer(code, 403, EC=ec)).detail


def test_a_missing_thing_is_what_the_call_is_about() -> None:
    """404 without a code is a bucket, an upload or an object."""
    assert type(_translate(_answer("", 404), "ListObjectsV2")) is e.BucketNotFoundError
    assert type(_translate(_answer("", 404), "UploadPart")) is e.UploadNotFoundError
    assert type(_translate(_answer("", 404), "HeadObject")) is e.ObjectNotFoundError


@pytest.mark.parametrize("operation", ["HeadObject", "GetObject", "ListObjectsV2"])
@pytest.mark.parametrize("code", ["", "MethodNotAllowed"])
def test_c40_a_405_without_the_marker_header_says_nothing_of_an_object(
    operation: str, code: str
) -> None:
    """A gateway that does not take the method answers so; OSS names the marker in a header."""
    for headers in ({}, {"x-oss-delete-marker": "false"}):
        found = _translate(_answer(code, 405, headers=headers), operation)
        assert type(found) is e.UnsupportedError


def test_a_delete_marker_is_no_object() -> None:
    """What a delete marker hides is not there, and the error says by what."""
    for status in (404, 405):
        marked = _answer("", status, headers={"x-oss-delete-marker": "true"})
        found = _translate(marked)
        assert type(found) is e.ObjectNotFoundError
        assert "delete marker" in str(found)
    refused = _answer("AccessDenied", 403, headers={"x-oss-delete-marker": "true"})
    assert type(_translate(refused)) is e.AccessDeniedError


def test_a_redirect_is_told_by_its_host() -> None:
    """A redirect is an error that names where it leads, and none of what stands behind that."""
    found = _translate(_answer("", 307, headers={"location": SIGNED}))
    assert type(found) is e.StoreError
    assert "b.oss-cn-hangzhou.aliyuncs.com" in str(found)
    assert "/k" not in found.detail
    assert "nowhere" in str(_translate(_answer("", 301)))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (_request_error(requests.ConnectTimeout("slow")), e.TransientStoreError),
        (_request_error(requests.ReadTimeout("slow")), e.TransientStoreError),
        (_request_error(requests.ConnectionError("refused")), e.TransientStoreError),
        (_request_error(requests.exceptions.ProxyError("down")), e.TransientStoreError),
        (_request_error(requests.exceptions.SSLError("eof")), e.TransientStoreError),
        (
            _request_error(requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED]")),
            e.StoreError,
        ),
        (_request_error(requests.exceptions.InvalidHeader("line break")), e.StoreError),
        (_request_error(requests.exceptions.InvalidURL("no host")), e.StoreError),
        (oss2.exceptions.ClientError("no key"), e.StoreError),
        (oss2.exceptions.ClientError("Failed to get credentials: x"), e.TransientStoreError),
        (oss2.exceptions.InconsistentError("crc"), e.TransientStoreError),
        (requests.exceptions.ChunkedEncodingError("cut"), e.TransientStoreError),
        (requests.ConnectionError("cut"), e.TransientStoreError),
        (IncompleteRead(1, 2), e.TransientStoreError),
        (ProtocolError("cut"), e.TransientStoreError),
        (ReadTimeoutError(None, None, "slow"), e.TransientStoreError),  # type: ignore[arg-type]
        (ConnectionResetError("reset"), e.TransientStoreError),
        (TimeoutError("slow"), e.TransientStoreError),
        (ParseError("no element found"), e.TransientStoreError),
        (ValueError("read of closed file"), e.StoreError),
        (ResponseNotChunked("no chunks"), e.TransientStoreError),
        (_request_error(requests.exceptions.ProxyError(TUNNEL + "407 x")), e.AccessDeniedError),
        (_request_error(requests.exceptions.ProxyError(TUNNEL + "503 x")), e.TransientStoreError),
    ],
)
def test_c41_a_fault_has_its_kind(error: Exception, kind: type[e.StoreError]) -> None:
    """Faults of the network may pass; what cannot be sent, and a wrong certificate, do not."""
    assert type(_translate(error)) is kind


@pytest.mark.parametrize(
    "error",
    [
        _answer(
            "SignatureDoesNotMatch",
            403,
            OSSAccessKeyId=ACCESS_KEY,
            SignatureProvided=SIGNATURE,
            StringToSign=f"OSS4-HMAC-SHA256\n20231203T121212Z\n{SIGNATURE}",
            CanonicalRequest=f"GET\n/b/k\nx-oss-security-token:{TOKEN}",
        ),
        _answer("AccessDenied", 403, f"no: {SIGNED}"),
        _answer("AccessDenied", 403, f"authorization: {AUTHORIZATION}"),
        _answer("AccessDenied", 403, f"Authorization: OSS {ROLE_KEY}:{SIGNATURE}"),
        _answer("AccessDenied", 403, f"OSSAccessKeyId={ACCESS_KEY} security-token={TOKEN}"),
        _answer("InvalidSecurityToken", 403, f"the token {TOKEN} of {ROLE_KEY}"),
        _answer("InvalidAccessKeyId", 403, None, headers={"x-oss-echo": AUTHORIZATION}),
        _request_error(requests.ConnectionError(f"Max retries exceeded with url: {SIGNED}")),
        _request_error(requests.exceptions.ProxyError("http://user:pass-word@proxy:3128 down")),
        oss2.exceptions.ClientError(f"bad token {TOKEN}"),
        ProtocolError(f"{SIGNED} cut"),
    ],
)
def test_c42_no_secret_is_in_an_error(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Neither its words, nor its traceback, nor what it was raised from hold a secret."""
    found = _translate(error)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").error("failed", exc_info=found)
    told = "".join(traceback.format_exception(found)) + caplog.text
    context = found.__context__
    if isinstance(context, oss2.exceptions.ServerError):
        told += f"{context!r} {context} {vars(context)}"
    for text in (str(found), found.detail, told):
        assert not [secret for secret in SECRETS if secret in text]


@pytest.mark.parametrize(
    "error",
    [
        _request_error(requests.exceptions.InvalidHeader("Invalid header: 'w0rd\\n'")),
        _request_error(requests.exceptions.InvalidURL("http://u:w0rd@h")),
        _request_error(requests.exceptions.InvalidProxyURL("http://u:w0rd@h")),
        _request_error(requests.exceptions.InvalidHeader("w0rd", "w0rd")),
        requests.exceptions.InvalidHeader("w0rd"),
        http.client.InvalidURL("URL can't contain control characters: w0rd"),
        requests.ConnectionError(ProtocolError("aborted", http.client.InvalidURL("w0rd"))),
        LocationParseError("u:w0rd@h"),
        ValueError("Invalid header value b'w0rd'"),
        UnicodeEncodeError("latin-1", "w0rd\u20ac", 4, 5, "ordinal not in range(256)"),
        _request_error(UnicodeEncodeError("latin-1", "w0rd\u20ac", 4, 5, "not in range")),
    ],
)
def test_c42_what_cannot_be_sent_is_not_told(error: Exception) -> None:
    """Its text is the header or address itself; only its type is told, and what to look for."""
    found = _translate(error)
    assert type(found) is e.StoreError
    assert "line break" in found.detail
    told = "".join(traceback.format_exception(found))
    one: BaseException | None = found
    while one is not None:
        told += f"{one} {one!r} {one.args} {getattr(one, 'object', '')}"
        told += "".join(traceback.format_exception(one))
        one = one.__cause__ or one.__context__
    assert "w0rd" not in told


def test_what_was_handled_before_the_call_is_left_alone() -> None:
    """An error of somebody else's says nothing about the call, and keeps its words."""
    others = ValueError("something else")
    found: list[e.StoreError] = []

    def fail() -> None:
        with translated("GetObject", "oss://b/k"):
            raise requests.ConnectionError(f"cut at {SIGNED}")

    try:
        raise others
    except ValueError:
        with pytest.raises(e.TransientStoreError) as caught:
            fail()
        found.append(caught.value)
    assert "ConnectionError: cut at" in found[0].detail
    assert others.args == ("something else",)


def test_an_answer_that_is_none_may_be_asked_for_again() -> None:
    """http.client finds so by a ValueError of its own, which is about nothing that was sent."""

    def fail() -> None:
        try:
            int("x")
        except ValueError:
            raise http.client.BadStatusLine("HTTP/1.1 x") from None

    with pytest.raises(e.TransientStoreError), translated("GetObject", "oss://b/k"):
        fail()


def test_what_holds_no_secret_stays_attached() -> None:
    """A fault of the network is chained, so that its whole story can be read."""
    beneath = requests.ConnectionError("refused")
    assert _translate(_request_error(beneath)).__cause__ is beneath


def test_redaction_leaves_the_rest() -> None:
    """What is no secret stays to be read, keys with signs in them included."""
    for text in (
        "oss://bucket/LTAI/key=value;STS.x: not found",
        "SignatureDoesNotMatch (HTTP 403): the signature does not match",
        "https://oss-cn-hangzhou.aliyuncs.com refused",
    ):
        assert redact(text) == text
    assert redact("http://user:word@proxy:3128 down") == "http://…@proxy:3128 down"
