"""The OSS test server lets in who signed rightly, and nobody else."""

from __future__ import annotations

import dataclasses
import http.client
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlencode

import oss2
import pytest
import requests
from oss2.exceptions import AccessDenied, NoSuchBucket, NoSuchKey, ServerError

from tests.support.oss_http import parsed_request
from tests.support.oss_server import OSSEndpoint, OSSServer
from tests.support.oss_signatures import sign_v1, sign_v4

# What Alibaba's V2 SDK for Python asserts of its own signers, for the key pair "ak", "sk".
PARAMETERS = {
    "param1": "value1",
    "+param1": "value3",
    "|param1": "value4",
    "+param2": "",
    "|param2": "",
    "param2": "",
}
V4_HEADERS = {
    "host": "bucket.oss-cn-hangzhou.aliyuncs.com",
    "x-oss-head1": "value",
    "abc": "value",
    "zabc": "value",
    "xyz": "value",
    "content-type": "text/plain",
    "x-oss-content-sha256": "UNSIGNED-PAYLOAD",
}
V4_HEADER_CASES = [
    (1702743657, {}, [], "e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe"),
    (
        1702784856,
        {"x-oss-security-token": "token"},
        [],
        "b94a3f999cf85bcdc00d332fbd3734ba03e48382c36fa4d5af5df817395bd9ea",
    ),
    (
        1702747512,
        {},
        ["abc", "zabc"],
        "4a4183c187c07c8947db7620deb0a6b38d9fbdd34187b6dbaccb316fa251212f",
    ),
]
V4_URL_CASES = [
    (1702781677, "", "a39966c61718be0d5b14e668088b3fa07601033f6518ac7b523100014269c0fe"),
    (1702783809, "abc;zabc", "6bd984bfe531afb6db1f7550983a741b103a8c58e5e14f83ea474c2322dfa2b7"),
]
V1_HEADERS = {
    "host": "examplebucket.oss-cn-hangzhou.aliyuncs.com",
    "x-oss-date": "Wed, 28 Dec 2022 10:27:41 GMT",
}
V1_PUT_HEADERS = {
    **V1_HEADERS,
    "content-md5": "eB5eJF1ptWaXm4bijSPyxw==",
    "content-type": "text/html",
    "x-oss-meta-author": "alice",
    "x-oss-meta-magic": "abracadabra",
}
V1_CASES = [
    ("PUT", "/nelson", V1_PUT_HEADERS, "kSHKmLxlyEAKtZPkJhG9bZb5k7M="),
    ("PUT", "/nelson?acl", V1_PUT_HEADERS, "/afkugFbmWDQ967j1vr6zygBLQk="),
    ("GET", "/?resourceGroup&non-resousce=null", V1_HEADERS, "vkQmfuUDyi1uDi3bKt67oemssIs="),
    ("GET", "/?resourceGroup&acl", V1_HEADERS, "x3E5TgOvl/i7PN618s5mEvpJDYk="),
]
KEY = "a b/ü+%2F~'.txt"


@pytest.fixture(scope="module")
def running() -> Iterator[OSSServer]:
    """Give a server that all tests of this file share."""
    with OSSServer() as server:
        server.state.create_bucket("bucket")
        server.state.put("bucket", KEY, b"hello")
        yield server


@pytest.fixture
def server(running: OSSServer) -> Iterator[OSSServer]:
    """Give the server with its own clock back afterwards."""
    yield running
    running.state.clock = time.time


def _iso(at: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(at))


@pytest.mark.parametrize(("at", "more", "additional", "signature"), V4_HEADER_CASES)
def test_header_signatures_of_version_4_agree_with_known_ones(
    at: int, more: dict[str, str], additional: list[str], signature: str
) -> None:
    """Odd parameters, a token, and additional headers are signed as the V2 SDK signs them."""
    target = "/1234%2B-/123/1.txt?" + urlencode(PARAMETERS, quote_via=quote)
    request = parsed_request("PUT", target, {**V4_HEADERS, "x-oss-date": _iso(at), **more})
    computed = sign_v4(request, "sk", date=_iso(at), region="cn-hangzhou", additional=additional)
    assert computed.signature == signature


@pytest.mark.parametrize(("at", "additional", "signature"), V4_URL_CASES)
def test_url_signatures_of_version_4_agree_with_known_ones(
    at: int, additional: str, signature: str
) -> None:
    """The signature's own parameter is the only one that is not signed."""
    scope = f"{_iso(at)[:8]}/cn-hangzhou/oss/aliyun_v4_request"
    query = {
        **PARAMETERS,
        "x-oss-signature-version": "OSS4-HMAC-SHA256",
        "x-oss-date": _iso(at),
        "x-oss-expires": "599",
        "x-oss-credential": f"ak/{scope}",
        "x-oss-signature": "ignored",
    }
    if additional:
        query["x-oss-additional-headers"] = additional
    target = "/1234%2B-/123/1.txt?" + urlencode(query, quote_via=quote)
    named = {**V4_HEADERS, "content-type": "application/octet-stream"}
    del named["x-oss-content-sha256"]
    names = additional.split(";") if additional else []
    request = parsed_request("PUT", target, named)
    computed = sign_v4(request, "sk", date=_iso(at), region="cn-hangzhou", additional=names)
    assert computed.signature == signature


@pytest.mark.parametrize(("method", "target", "headers", "signature"), V1_CASES)
def test_header_signatures_of_version_1_agree_with_known_ones(
    method: str, target: str, headers: dict[str, str], signature: str
) -> None:
    """Only known parameters are signed, in the order of their names."""
    computed = sign_v1(parsed_request(method, target, headers), "sk", headers["x-oss-date"])
    assert computed.signature == signature


def test_url_signatures_of_version_1_agree_with_known_ones() -> None:
    """The time of expiry stands where the date does in a header."""
    headers = {"host": "bucket.oss-cn-hangzhou.aliyuncs.com"}
    request = parsed_request("GET", "/key?versionId=versionId", headers)
    assert sign_v1(request, "sk", "1699807420").signature == "dcLTea+Yh9ApirQ8o8dOPqtvJXQ="
    token = "/key+123?versionId=versionId&security-token=token"
    request = parsed_request("GET", token, headers)
    assert sign_v1(request, "sk", "1699808204").signature == "jzKYRrM5y6Br0dRFPaTGOsbrDhY="


@pytest.mark.parametrize("version", ["v1", "v2", "v4"])
def test_what_the_sdk_signs_is_let_in(server: OSSServer, version: str) -> None:
    """Headers and URLs of each version are accepted, also for keys of odd characters."""
    bucket = server.endpoint.bucket("bucket", auth_version=version)
    assert bucket.get_object(KEY).read() == b"hello"
    url = bucket.sign_url("GET", KEY, 60)
    assert bucket.get_object_with_url(url).read() == b"hello"
    assert server.requests[-1].access_key_id == server.endpoint.access_key_id


@pytest.mark.parametrize("version", ["v1", "v2", "v4"])
def test_a_wrong_secret_is_refused_with_what_was_signed(server: OSSServer, version: str) -> None:
    """The refusal shows the text that the server signed."""
    wrong = dataclasses.replace(server.endpoint, access_key_secret="wrong")
    with pytest.raises(ServerError) as caught:
        wrong.bucket("bucket", auth_version=version).get_object(KEY)
    assert (caught.value.status, caught.value.code) == (403, "SignatureDoesNotMatch")
    assert caught.value.ec == "0002-00000040"
    details = caught.value.details
    assert bytes.fromhex(details["StringToSignBytes"]).decode() == details["StringToSign"]
    assert details["SignatureProvided"]
    assert ("CanonicalRequest" in details) == (version == "v4")


Change = Callable[[str], str]
CHANGES: list[tuple[str, Change, int, str]] = [
    ("key", lambda url: url.replace("/bucket/", "/bucket/x"), 403, "SignatureDoesNotMatch"),
    ("parameter", lambda url: url + "&acl", 403, "SignatureDoesNotMatch"),
    ("signature", lambda url: url[:-1] + "z", 403, "SignatureDoesNotMatch"),
    ("date", lambda url: url.replace("x-oss-date=2", "x-oss-date=1"), 400, "InvalidArgument"),
    ("id", lambda url: url.replace("credential=L", "credential=M"), 403, "InvalidAccessKeyId"),
    ("region", lambda url: url.replace("cn-hangzhou", "cn-beijing"), 400, "InvalidArgument"),
    ("expiry", lambda url: url.replace("expires=60", "expires=604801"), 400, "InvalidArgument"),
    ("age", lambda url: url.replace("expires=60", "expires=61"), 403, "SignatureDoesNotMatch"),
]


@pytest.mark.parametrize(("change", "status", "code"), [case[1:] for case in CHANGES])
def test_a_changed_url_is_refused(
    server: OSSServer, change: Change, status: int, code: str
) -> None:
    """Nothing of a signed URL can be changed."""
    bucket = server.endpoint.bucket("bucket")
    answer = _get(change(bucket.sign_url("GET", KEY, 60)))
    assert answer.status_code == status
    assert f"<Code>{code}</Code>" in answer.text


def _get(url: str, **headers: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, headers=headers)


@pytest.mark.parametrize("version", ["v1", "v2", "v4"])
def test_an_old_url_is_refused(server: OSSServer, version: str) -> None:
    """A URL is good until it expires, and says so afterwards."""
    url = server.endpoint.bucket("bucket", auth_version=version).sign_url("GET", KEY, 60)
    assert _get(url).status_code == 200
    server.state.clock = lambda: time.time() + 100
    answer = _get(url)
    assert answer.status_code == 403
    assert "<Message>Request has expired.</Message>" in answer.text


def test_a_header_added_to_a_signed_url_counts_if_it_is_of_oss(server: OSSServer) -> None:
    """Range may be added to a signed URL freely; an x-oss-… header may not."""
    url = server.endpoint.bucket("bucket").sign_url("GET", KEY, 60)
    assert _get(url, Range="bytes=1-2").content == b"el"
    assert _get(url, **{"x-oss-range-behavior": "standard"}).status_code == 403


@pytest.mark.parametrize("version", ["v1", "v2", "v4"])
@pytest.mark.parametrize("away_s", [-1000, 1000])
def test_a_clock_that_is_wrong_is_refused(server: OSSServer, version: str, away_s: int) -> None:
    """A quarter of an hour is the most that a client's clock may differ."""
    server.state.clock = lambda: time.time() + away_s
    with pytest.raises(ServerError) as caught:
        server.endpoint.bucket("bucket", auth_version=version).get_object(KEY)
    assert (caught.value.status, caught.value.code) == (403, "RequestTimeTooSkewed")


def test_another_region_is_refused(server: OSSServer) -> None:
    """A signature of version 4 names the region of the bucket."""
    there = dataclasses.replace(server.endpoint, region="cn-shanghai")
    with pytest.raises(ServerError) as caught:
        there.bucket("bucket").get_object(KEY)
    assert (caught.value.status, caught.value.code) == (400, "InvalidArgument")
    assert caught.value.message == "Invalid signing region in Authorization header."


def test_a_missing_bucket_comes_before_a_wrong_key(server: OSSServer) -> None:
    """Who may not read learns that the bucket is not there, but not whether the object is."""
    wrong = dataclasses.replace(server.endpoint, access_key_secret="wrong")
    with pytest.raises(NoSuchBucket):
        wrong.bucket("nowhere").get_object(KEY)
    with pytest.raises(ServerError, match="SignatureDoesNotMatch"):
        wrong.bucket("bucket").get_object("nothing")
    with pytest.raises(NoSuchKey):
        server.endpoint.bucket("bucket").get_object("nothing")


def _temporary(server: OSSServer, token: str | None) -> OSSEndpoint:
    return dataclasses.replace(
        server.endpoint,
        access_key_id="STS.one",
        access_key_secret="other",
        security_token=token,
    )


@pytest.mark.parametrize("version", ["v1", "v2", "v4"])
def test_temporary_credentials_need_their_token_until_they_end(
    server: OSSServer, version: str
) -> None:
    """The token goes with the key, and the service knows when both end."""
    server.add_credentials("STS.one", "other", "token+/=", time.time() + 50)
    good = _temporary(server, "token+/=").bucket("bucket", auth_version=version)
    assert good.get_object(KEY).read() == b"hello"
    assert good.get_object_with_url(good.sign_url("GET", KEY, 30)).read() == b"hello"
    for token, code in ((None, "InvalidAccessKeyId"), ("wrong", "InvalidSecurityToken")):
        with pytest.raises(ServerError) as caught:
            _temporary(server, token).bucket("bucket", auth_version=version).get_object(KEY)
        assert (caught.value.status, caught.value.code) == (403, code)
    server.state.clock = lambda: time.time() + 60
    with pytest.raises(ServerError) as caught:
        good.get_object(KEY)
    assert (caught.value.status, caught.value.code) == (403, "SecurityTokenExpired")
    assert caught.value.ec == "0002-00000007"


def test_anybody_reads_what_is_public(server: OSSServer) -> None:
    """Without a signature, the ACL of the object or of its bucket decides."""
    anonymous = oss2.Bucket(oss2.AnonymousAuth(), server.endpoint.endpoint_url, "bucket")
    server.state.put("bucket", "open", b"data", headers={"x-oss-object-acl": "public-read"})
    assert anonymous.get_object("open").read() == b"data"
    for refused in (anonymous.list_objects, lambda: anonymous.get_object(KEY)):
        with pytest.raises(AccessDenied):
            refused()


def test_another_account_has_to_say_that_it_pays(server: OSSServer) -> None:
    """Where the requester pays, only the owner need not say so."""
    server.state.create_bucket("paid")
    server.state.put("paid", "k", b"data")
    server.state.requester_pays("paid")
    server.add_credentials("other", "other", account="2")
    other = dataclasses.replace(
        server.endpoint, access_key_id="other", access_key_secret="other"
    ).bucket("paid")
    with pytest.raises(AccessDenied):
        other.get_object("k")
    assert other.get_object("k", headers={"x-oss-request-payer": "requester"}).read() == b"data"
    assert server.endpoint.bucket("paid").get_object("k").read() == b"data"


def test_a_bucket_may_stand_in_the_name_of_the_host(server: OSSServer) -> None:
    """The same resource is signed in virtual-host style and in path style."""
    bucket = server.endpoint.bucket("bucket")
    path = bucket.sign_url("GET", KEY, 60).removeprefix(server.endpoint.endpoint_url + "/bucket")
    connection = http.client.HTTPConnection(server.endpoint.endpoint_url.removeprefix("http://"))
    connection.request("GET", path, headers={"Host": "bucket.oss-cn-hangzhou.aliyuncs.com"})
    assert connection.getresponse().read() == b"hello"
    connection.close()
