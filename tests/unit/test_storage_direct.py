"""Calls past botocore: which are, where they go, with whose credentials, what they tell (c42)."""

from __future__ import annotations

import datetime as dt
import io
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import botocore.session
import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import CredentialRetrievalError

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CredentialsExpiredError,
    ObjectNotFoundError,
    StoreError,
    ThrottledError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.objects import ByteRange, SourceIdentity
from airflow_provider_s3resume.storage._connections import Connections
from airflow_provider_s3resume.storage._pace import Patience
from airflow_provider_s3resume.storage._s3_direct import OPERATIONS, Direct, MovedError, open_direct
from airflow_provider_s3resume.storage.base import NewUpload
from airflow_provider_s3resume.storage.s3 import S3Settings, S3Store, client_config
from tests.support.endpoints import NO_PROXIES
from tests.support.ports import free_port
from tests.support.wire_direct import (
    Asked,
    Recorder,
    Servers,
    answer,
    client_of,
    direct_of,
    everything_in,
    read_head,
    read_request,
    signature_of,
    store_of,
)

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

MOMENT = "Thu, 01 Jan 2026 00:00:00 GMT"
OBJECT = answer(200, b"data", etag='"e"', last_modified=MOMENT)
IDENTITY = SourceIdentity(etag="e", size=4)
DIRECT = pytest.mark.parametrize("direct", [True, False], ids=["direct", "botocore"])
ACCESS_KEY, SECRET, TOKEN = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI-K7MDENG", "FwoGZXIvYXdz-token"


def said(asked: Asked) -> bytes:
    """Answer what each call is content with."""
    return OBJECT if asked.method == "GET" else answer(200, etag='"e"')


def get(store: S3Store, key: str = "k") -> bytes:
    """Read an object whole."""
    with store.open_range(key, None, IDENTITY) as reader:
        buffer = memoryview(bytearray(4))
        at = 0
        while at < 4:
            at += reader.readinto(buffer[at:])
        return bytes(buffer)


def put(store: S3Store) -> object:
    """Write an object."""
    return store.put_object("k", b"data", upload=NewUpload(), checksum=None).etag


def part(store: S3Store) -> object:
    """Write a part."""
    return store.upload_part("k", "u", 1, b"data", None)


CALLS: list[Callable[[S3Store], object]] = [get, put, part]
EACH = pytest.mark.parametrize("call", CALLS, ids=["get", "put", "part"])


def is_direct(asked: Asked) -> bool:
    """Tell whether a request was made past botocore, which numbers its own."""
    return "amz-sdk-invocation-id" not in asked.headers


def all_served(direct: Direct | None) -> bool:
    """Tell whether all three operations are served, or none is."""
    found = {direct is not None and direct.serves(operation) for operation in OPERATIONS}
    assert len(found) == 1
    return found.pop()


def opened(client: S3Client, bucket: str = "bucket") -> Direct | None:
    """Return what makes a client's calls directly, if anything does."""
    return open_direct(client, bucket, Patience())


# What is served.


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("token", [None, TOKEN])
@EACH
def test_a_plain_client_is_served(
    servers: Servers, call: Callable[[S3Store], object], token: str | None, *, secure: bool
) -> None:
    """From its first call on; asking botocore how it would be made sends nothing."""
    server = servers.recorder(said, secure=secure)
    store = store_of(server, aws_session_token=token)
    assert all_served(store._calls._direct)
    assert server.requests == []
    for _ in range(2):
        assert call(store) in {b"data", "e"}
    assert [is_direct(asked) for asked in server.requests] == [True, True]
    assert server.connections == 1
    expected = signature_of(server.asked, server.url, "secret", token=token)
    assert server.asked.headers["authorization"] == expected
    assert server.asked.headers.get("x-amz-security-token") == token


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "cn-north-1"])
@pytest.mark.parametrize("style", ["auto", "virtual", "path"])
def test_a_client_of_amazon_is_served(region: str, style: str) -> None:
    """As the hooks make it, without an endpoint of its own."""
    client = amazon(region, settings=S3Settings(addressing_style=style))
    assert all_served(opened(client))


def amazon(
    region: str = "eu-central-1", *, settings: S3Settings | None = None, **config: Any
) -> S3Client:
    """Return a client of Amazon S3."""
    given: dict[str, Any] = client_config(settings or S3Settings())
    given.update({"proxies": NO_PROXIES, **config})
    return boto3.client(
        "s3",
        region_name=region,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(**given),
    )


@pytest.mark.parametrize(
    "settings",
    [S3Settings(payload_signing=True), S3Settings(direct=False)],
    ids=["signed payload", "not wanted"],
)
@EACH
def test_what_is_asked_for_otherwise_is_left_to_botocore(
    servers: Servers, call: Callable[[S3Store], object], settings: S3Settings
) -> None:
    """Signed payloads, and whoever says so."""
    server = servers.recorder(said)
    client = client_of(server.url, settings=settings, config={"s3": _path(settings)})
    store = S3Store(client, "bucket", service=server.url, settings=settings)
    assert store.express is None
    assert call(store) in {b"data", "e"}
    assert not is_direct(server.asked)


def _path(settings: S3Settings) -> dict[str, Any]:
    given: Any = client_config(settings)["s3"]
    return {**given, "addressing_style": "path"}


def test_another_kind_of_signature_is_left_to_botocore(servers: Servers) -> None:
    """Version 2, as old services want it."""
    server = servers.recorder(said)
    store = store_of(server, config={"signature_version": "s3"})
    direct, express = store._calls._direct, store.express
    assert direct is not None
    assert express is not None
    assert not all_served(direct)
    assert not express.is_open()
    for operation in OPERATIONS:
        with pytest.raises(MovedError):
            direct.line(operation)
    for writes in (False, True):
        with pytest.raises(TransientStoreError, match="only botocore can call it"):
            express.open_line(writes=writes)
    for call in CALLS:
        assert call(store) in {b"data", "e"}
        assert not is_direct(server.asked)
        assert server.asked.headers["authorization"].startswith("AWS key:")


@pytest.mark.parametrize("name", ["_verify", "_cert_file", "_key_file", "_proxy_config"])
def test_a_botocore_that_keeps_things_elsewhere_does_it_all_itself(
    servers: Servers, name: str
) -> None:
    """What it verifies servers with has no public name."""
    server = servers.recorder(said)
    client: Any = client_of(server.url)
    session = client._endpoint.http_session
    kept = getattr(session, name)
    delattr(session, name)
    store = S3Store(client, "bucket", service=server.url)
    setattr(session, name, kept)
    assert store._calls._direct is None
    assert get(store) == b"data"
    assert not is_direct(server.asked)
    del client._endpoint
    assert opened(client) is None


@pytest.mark.parametrize("where", ["config", "environment"])
def test_what_goes_through_a_proxy_is_left_to_botocore(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """It is the proxy that is asked, as ever."""
    proxy = servers.recorder(said)
    config: dict[str, Any] = {"proxies": {"http": proxy.url}}
    if where == "environment":
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        config = {"proxies": None}
    client = client_of("http://s3.example.com", config=config)
    store = S3Store(client, "bucket", service="http://s3.example.com")
    assert not all_served(store._calls._direct)
    for call in CALLS:
        assert call(store) in {b"data", "e"}
        assert proxy.asked.target.startswith("http://s3.example.com/bucket/k")
        assert not is_direct(proxy.asked)


def test_a_place_that_is_excepted_from_the_proxy_is_served(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``NO_PROXY`` says."""
    server = servers.recorder(said)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    store = store_of(server, config={"proxies": None})
    assert all_served(store._calls._direct)
    assert get(store) == b"data"
    assert is_direct(server.asked)


@EACH
def test_an_unsigned_client_is_served_without_a_signature(
    servers: Servers, call: Callable[[S3Store], object]
) -> None:
    """Public buckets ask for none; nothing about credentials is sent."""
    server = servers.recorder(said)
    store = store_of(server, config={"signature_version": UNSIGNED}, aws_session_token=TOKEN)
    assert all_served(store._calls._direct)
    assert call(store) in {b"data", "e"}
    assert is_direct(server.asked)
    unsigned = {name for name in server.asked.headers if name.startswith(("x-amz-", "auth"))}
    assert unsigned == set()


def test_only_what_carries_bytes_is_served(servers: Servers) -> None:
    """All else is botocore's."""
    direct = direct_of(client_of(servers.recorder(said).url))
    assert {"GetObject", "PutObject", "UploadPart"} == OPERATIONS
    assert not direct.serves("HeadObject")
    assert not direct.serves("CompleteMultipartUpload")


def test_a_trailer_that_cannot_be_computed_is_left_to_botocore(servers: Servers) -> None:
    """SHA-256, say: it is not asked for by a plan, and works all the same."""
    server = servers.recorder(said, secure=True)
    store = store_of(server)
    body: Any = io.BytesIO(b"data")
    answered = store._calls.make(
        "UploadPart",
        "k",
        UploadId="u",
        PartNumber=1,
        Body=body,
        ContentLength=4,
        ChecksumAlgorithm="SHA256",
    )
    assert answered["ETag"] == '"e"'
    assert not is_direct(server.asked)


def test_a_clients_own_calls_stay_its_own(servers: Servers) -> None:
    """What is asked of a client elsewhere is sent, though its store has seen how it does that."""
    server = servers.recorder(said)
    client = client_of(server.url)
    store = S3Store(client, "bucket", service=server.url)
    assert get(store) == b"data"
    assert client.get_object(Bucket="other", Key="k")["Body"].read() == b"data"
    assert [is_direct(asked) for asked in server.requests] == [True, False]
    assert server.asked.target == "/other/k"


def test_threads_that_ask_first_at_once_are_all_served(servers: Servers) -> None:
    """Each sees what one of them found out."""
    server = servers.recorder(said)
    store = store_of(server)
    barrier = threading.Barrier(8)

    def first(number: int) -> object:
        barrier.wait(20)
        return CALLS[number % 3](store)

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(first, range(8))) == {b"data", "e"}
    assert all(is_direct(asked) for asked in server.requests)
    assert len(store._calls._direct._pools) == 1  # type: ignore[union-attr]


# Where it is sent.


def sent_by(client: S3Client, bucket: str, key: str) -> AWSPreparedRequest:
    """Return what botocore would send for a GetObject."""
    seen: list[AWSPreparedRequest] = []

    def keep(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        seen.append(request)
        return AWSResponse(str(request.url), 200, {}, io.BytesIO())  # type: ignore[arg-type]

    client.meta.events.register("before-send.s3", keep)  # type: ignore[arg-type]
    client.get_object(Bucket=bucket, Key=key)
    return seen[0]


PLACES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "plain": ("bucket", {}, {}),
    "virtual": ("bucket", {}, {"addressing_style": "virtual"}),
    "path": ("bucket", {}, {"addressing_style": "path"}),
    "dots": ("my.bucket.name", {}, {}),
    "dots, path": ("my.bucket.name", {}, {"addressing_style": "path"}),
    "us-east-1": ("bucket", {"region_name": "us-east-1"}, {}),
    "dual stack": ("bucket", {"config": {"use_dualstack_endpoint": True}}, {}),
    "fips": (
        "bucket",
        {"config": {"use_fips_endpoint": True}, "region_name": "us-east-1"},
        {},
    ),
    "accelerate": ("bucket", {"config": {"s3": {"use_accelerate_endpoint": True}}}, {}),
    "access point": ("arn:aws:s3:eu-central-1:123456789012:accesspoint/name", {}, {}),
    "endpoint": ("bucket", {"url": "https://s3.example.com"}, {"addressing_style": "path"}),
    "endpoint, virtual": (
        "bucket",
        {"url": "https://s3.example.com"},
        {"addressing_style": "virtual"},
    ),
    "port": ("bucket", {"url": "http://127.0.0.1:9000"}, {"addressing_style": "path"}),
    "port, virtual": (
        "bucket",
        {"url": "http://s3.example.com:9000"},
        {"addressing_style": "virtual"},
    ),
    "address": ("bucket", {"url": "http://127.0.0.1:9000"}, {}),
    "usual port": ("bucket", {"url": "https://s3.example.com:443"}, {"addressing_style": "path"}),
    "path before": ("bucket", {"url": "https://gate.example.com/s3/x"}, {}),
    "odd name": ("b_cket", {"url": "https://s3.example.com"}, {}),
}


@pytest.mark.parametrize("key", ["k", "a b/../c//\u00e9%2F"])
@pytest.mark.parametrize("name", PLACES)
def test_a_request_goes_where_botocore_sends_it(name: str, key: str) -> None:
    """Host, port and path of every style, and what they are signed for."""
    bucket, given, style = PLACES[name]
    given = dict(given)
    config = dict(given.pop("config", {}))
    s3 = {"payload_signing_enabled": False, **style, **config.pop("s3", {})}
    client = client_of(
        given.pop("url", None),
        **{"region_name": "eu-central-1", **given, "config": {"s3": s3, **config}},
    )
    direct = direct_of(client, bucket)
    assert all_served(direct)
    place, head = direct.request("GetObject", key, {}, {})
    first, *lines = head.decode().split("\r\n")[:-2]
    headers = dict(line.split(": ", 1) for line in lines)
    theirs = sent_by(client, bucket, key)
    parts = urlsplit(str(theirs.url))
    assert first == f"GET {parts.path} HTTP/1.1"
    assert headers["host"] == parts.netloc
    assert isinstance(place, Connections)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    assert place.url == f"{parts.scheme}://{parts.hostname}:{port}"
    signed: Any = theirs.headers["Authorization"]
    scope = signed.decode().partition("Credential=key/")[2].partition(",")[0]
    ours = headers["authorization"].partition("Credential=key/")[2].partition(",")[0]
    # The day may have changed in between.
    assert ours.split("/")[1:] == scope.split("/")[1:]


@pytest.mark.parametrize(
    "bucket",
    [
        "arn:aws:s3::123456789012:accesspoint/mfzwi23gnjvgw.mrap",
        "name--usw2-az1--x-s3",
        f"arn:aws:s3-outposts:us-west-2:123456789012:outpost/op-{'01' * 8}0/accesspoint/name",
    ],
    ids=["multi-region", "directory", "outpost"],
)
def test_buckets_that_are_signed_for_otherwise_are_left_to_botocore(bucket: str) -> None:
    """Multi-region access points (version 4A), directory buckets (sessions), Outposts."""
    assert not all_served(opened(amazon("us-west-2"), bucket))


# With whose credentials.


class Clock:
    """A time that the test sets."""

    def __init__(self) -> None:
        self.now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    def __call__(self) -> dt.datetime:
        """Return it."""
        return self.now


def test_credentials_that_were_renewed_are_used(servers: Servers) -> None:
    """Each call asks botocore for those of the moment."""
    server, clock, number = servers.recorder(said), Clock(), iter(range(1, 10))

    def renew() -> dict[str, str]:
        count = next(number)
        until = clock.now + dt.timedelta(hours=1)
        return {
            "access_key": f"key{count}",
            "secret_key": f"secret{count}",
            "token": f"token{count}",
            "expiry_time": until.isoformat(),
        }

    session = botocore.session.Session()
    session._credentials = RefreshableCredentials(  # type: ignore[attr-defined]
        "key0",
        "secret0",
        "token0",
        clock.now + dt.timedelta(hours=1),
        renew,
        "test",
        time_fetcher=clock,
    )
    config: dict[str, Any] = client_config(S3Settings(addressing_style="path"))
    client = boto3.Session(botocore_session=session).client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        config=Config(**config, proxies=NO_PROXIES),
    )
    store = S3Store(client, "bucket", service=server.url)
    for count in range(4):
        for call in CALLS:
            call(store)
            asked = server.asked
            assert is_direct(asked)
            assert asked.headers["x-amz-security-token"] == f"token{count}"
            expected = signature_of(asked, server.url, f"secret{count}", token=f"token{count}")
            assert asked.headers["authorization"] == expected
            assert f"Credential=key{count}/" in asked.headers["authorization"]
        clock.now += dt.timedelta(hours=1)


@DIRECT
@EACH
def test_c41_without_credentials_nothing_is_sent(
    servers: Servers, call: Callable[[S3Store], object], *, direct: bool
) -> None:
    """It is an error for good, and says what is missing."""
    server = servers.recorder(said)
    store = store_of(server, direct=direct, aws_access_key_id=None, aws_secret_access_key=None)
    with pytest.raises(AccessDeniedError, match="Unable to locate credentials") as caught:
        call(store)
    assert not caught.value.retryable
    assert server.requests == []


class _Failing:
    """Credentials that cannot be had."""

    method = "test"
    account_id = None

    def get_frozen_credentials(self) -> None:
        """Fail, as the metadata service may."""
        raise CredentialRetrievalError(provider="p", error_msg="no")


@DIRECT
@EACH
def test_c41_credentials_that_cannot_be_had_are_worth_another_try(
    servers: Servers, call: Callable[[S3Store], object], *, direct: bool
) -> None:
    """The same error, of this provider, whoever makes the call."""
    store = store_of(servers.recorder(said), direct=direct)
    signer: Any = store._calls._client._request_signer  # type: ignore[attr-defined]
    signer._credentials = _Failing()
    with pytest.raises(TransientStoreError, match="retrieving credentials"):
        call(store)
    if store.express is not None:
        assert not store.express.is_open()


@DIRECT
@EACH
def test_a_bucket_that_can_be_none_is_an_error_of_ours(
    servers: Servers, call: Callable[[S3Store], object], *, direct: bool
) -> None:
    """The name is refused before anything is sent."""
    server = servers.recorder(said)
    with pytest.raises(StoreError, match="Invalid bucket name"):
        call(store_of(server, direct=direct, bucket="no bucket!"))
    assert server.requests == []


# Where it is not answered as was hoped.

ELSEWHERE = [
    answer(301, b"<Error><Code>PermanentRedirect</Code></Error>", x_amz_bucket_region="eu-west-1"),
    answer(307, b"<Error><Code>TemporaryRedirect</Code></Error>", x_amz_bucket_region="eu-west-1"),
    answer(302, b"", x_amz_bucket_region="eu-west-1"),
    answer(
        400,
        b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>",
    ),
    answer(
        400,
        b"<Error><Code>IllegalLocationConstraintException</Code></Error>",
        x_amz_bucket_region="eu-west-1",
    ),
]


@pytest.mark.parametrize("moved", ELSEWHERE, ids=["301", "307", "302", "malformed", "opt-in"])
@EACH
def test_a_bucket_that_is_elsewhere_is_found_by_botocore(
    servers: Servers, call: Callable[[S3Store], object], moved: bytes
) -> None:
    """It makes the call that was answered so; what it learned is what is done from then on."""
    server = servers.recorder(moved, moved, said)
    store = store_of(server)
    for _ in range(2):
        assert call(store) in {b"data", "e"}
    regions = [
        (is_direct(asked), asked.headers["authorization"].split("/")[2])
        for asked in server.requests
    ]
    assert regions == [
        (True, "us-east-1"),
        (False, "us-east-1"),
        (False, "eu-west-1"),
        (True, "eu-west-1"),
    ]
    assert {asked.body for asked in server.requests} == {b"" if call is get else b"data"}


def test_a_bucket_that_stays_elsewhere_is_told_as_botocore_tells_it(servers: Servers) -> None:
    """A region that nobody names cannot be found."""
    moved = answer(301, b"<Error><Code>PermanentRedirect</Code><Message>m</Message></Error>")
    # botocore asks for the bucket's region by HEAD, and for ever if that is answered so, too.
    server = servers.recorder(lambda asked: answer(403) if asked.method == "HEAD" else moved)
    store = store_of(server)
    with pytest.raises(StoreError, match=r"PermanentRedirect \(HTTP 301\)"):
        get(store)


DOCUMENT = "<Error><Code>%s</Code><Message>words</Message><RequestId>1</RequestId></Error>"
BODIES = {
    "nothing": (b"", {}),
    "no document": (b"not a document", {}),
    "page": (b"<html><body>503</body></html>", {"content_type": "text/html"}),
    "broken": (b"<Error><Code>SlowDown</Code>", {}),
    "other": (b"<Other/>", {}),
    "no code": (b"<Error/>", {}),
    "declared": (b'<?xml version="1.0"?>\n' + (DOCUMENT % "SlowDown").encode(), {}),
    "retry": ((DOCUMENT % "Unheard").encode(), {"retry_after": "1"}),
    "denied": ((DOCUMENT % "AccessDenied").encode(), {}),
    "no key": ((DOCUMENT % "NoSuchKey").encode(), {}),
    "expired": ((DOCUMENT % "ExpiredToken").encode(), {}),
    "condition": ((DOCUMENT % "PreconditionFailed").encode(), {}),
}


@pytest.mark.parametrize("status", [400, 403, 404, 409, 412, 416, 429, 500, 501, 503, 304])
def test_a_refusal_is_told_as_botocore_tells_it(servers: Servers, status: int) -> None:
    """The same class of error in the same words, whatever the body is, or is not."""
    bodies = {"nothing": BODIES["nothing"]} if status == 304 else BODIES
    server = servers.recorder(b"")
    stores = [store_of(server, direct=direct) for direct in (True, False)]
    for name, (body, headers) in bodies.items():
        server.says(answer(status, body, x_amz_request_id="r", **headers))
        for call in CALLS:
            ours, theirs = (_told(call, store) for store in stores)
            assert ours == theirs, name
    assert {is_direct(asked) for asked in server.requests} == {True, False}


def _told(call: Callable[[S3Store], object], store: S3Store) -> tuple[type, str, bool]:
    with pytest.raises(StoreError) as caught:
        call(store)
    return type(caught.value), str(caught.value), caught.value.retryable


@pytest.mark.parametrize(
    ("said_", "kind"),
    [
        (answer(503, (DOCUMENT % "SlowDown").encode()), ThrottledError),
        (answer(404, (DOCUMENT % "NoSuchKey").encode()), ObjectNotFoundError),
        (answer(400, (DOCUMENT % "ExpiredToken").encode()), CredentialsExpiredError),
        (answer(500), TransientStoreError),
        (b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", TransientStoreError),
    ],
)
@EACH
def test_c41_a_refusal_leaves_the_connection_for_the_next_call(
    servers: Servers, call: Callable[[S3Store], object], said_: bytes, kind: type[StoreError]
) -> None:
    """Or another one; the call after it is made as if nothing had been."""
    server = servers.recorder(said_, said)
    store = store_of(server)
    with pytest.raises(StoreError) as caught:
        call(store)
    assert type(caught.value) is kind
    assert call(store) in {b"data", "e"}
    assert all(is_direct(asked) for asked in server.requests)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1 ", b"rubbish\r\n\r\n", b"HTTP/1.1 200 OK\r\n x\r\n\r\n"]
)
@EACH
def test_what_is_no_answer_is_worth_another_try(
    servers: Servers, call: Callable[[S3Store], object], data: bytes, *, secure: bool
) -> None:
    """The network failed, or whoever is in between."""

    def serve(connection: Any, _: threading.Event) -> None:
        if read_request(connection) is not None:
            connection.sendall(data)

    store = store_of(servers.scripted(serve, secure=secure))
    with pytest.raises(TransientStoreError) as caught:
        call(store)
    assert caught.value.retryable
    assert "s3://bucket/k" in str(caught.value)


@pytest.mark.parametrize("call", [put, part])
def test_a_success_before_the_body_has_come_is_none(
    servers: Servers, call: Callable[[S3Store], object]
) -> None:
    """Whoever says so has not seen what it is about."""

    def serve(connection: Any, over: threading.Event) -> None:
        read_head(connection)
        connection.sendall(answer(200, etag='"e"'))
        over.wait(30)

    settings = S3Settings(addressing_style="path", patience=Patience(low_speed_time_s=1.0))
    store = store_of(servers.scripted(serve), settings=settings)
    large = bytes(16 << 20)
    with pytest.raises(TransientStoreError, match="before all was sent"):
        if call is put:
            store.put_object("k", large, upload=NewUpload(), checksum=None)
        else:
            store.upload_part("k", "u", 1, large, None)


@DIRECT
def test_c19_metadata_may_be_any_utf_8(servers: Servers, *, direct: bool) -> None:
    """As services send it that encode nothing."""
    said_ = OBJECT.replace(b"\r\n\r\n", b"\r\nX-Amz-Meta-A: voil\xc3\xa0\r\n\r\n", 1)
    store = store_of(servers.recorder(said_), direct=direct)
    with store.open_range("k", None, IDENTITY) as reader:
        assert reader.info.attributes.metadata == {"a": "voil\u00e0"}


def test_nobody_there_is_told_as_botocore_tells_it() -> None:
    """Where nobody listens, with the address and without what else was asked."""
    url = f"http://127.0.0.1:{free_port()}"
    told = set()
    for direct in (True, False):
        settings = S3Settings(addressing_style="path", direct=direct)
        store = S3Store(client_of(url, settings=settings), "bucket", service=url, settings=settings)
        with pytest.raises(
            TransientStoreError, match="Could not connect to the endpoint"
        ) as caught:
            get(store)
        told.add(str(caught.value).replace("/bucket/k", ""))
    assert len(told) == 1


def test_c12_an_answer_in_chunks_is_no_object(servers: Servers) -> None:
    """Its length is not known, so it may be any; as it was with botocore."""
    chunked = (
        b'HTTP/1.1 200 OK\r\nETag: "e"\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n0\r\n\r\n'
    )
    for direct in (True, False):
        with pytest.raises(StoreError, match="status, length and range are"):
            get(store_of(servers.recorder(chunked), direct=direct))


def test_an_empty_object_is_read(servers: Servers) -> None:
    """Its connection is used again, though nobody reads from it."""
    server = servers.recorder(answer(200, b"", etag='"e"', last_modified=MOMENT))
    store = store_of(server)
    for _ in range(2):
        with store.open_range("k", None, SourceIdentity(etag="e", size=0)) as reader:
            assert reader.readinto(memoryview(bytearray(4))) == 0
    assert server.connections == 1


def test_an_abort_ends_a_read_that_waits(servers: Servers) -> None:
    """From another thread, with an error that another try may help."""

    def serve(connection: Any, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(OBJECT[:-2])
        over.wait(30)

    store = store_of(servers.scripted(serve))
    reader = store.open_range("k", None, IDENTITY)
    with reader, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(_rest, reader)
        reader.abort()
        with pytest.raises(TransientStoreError, match="the read was aborted"):
            waiting.result(30)


def _rest(reader: Any) -> None:
    while reader.readinto(memoryview(bytearray(4))):
        pass


def test_what_is_not_read_to_its_end_is_not_read_on(servers: Servers) -> None:
    """The next call has a connection of its own."""
    server = servers.recorder(said)
    store = store_of(server)
    store.open_range("k", None, IDENTITY).close()
    assert get(store) == b"data"
    assert server.connections == 2


# Secrets.

REFUSED = (
    f"<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message>"
    f"<AWSAccessKeyId>{ACCESS_KEY}</AWSAccessKeyId>"
    f"<StringToSign>AWS4-HMAC-SHA256 x-amz-security-token:{TOKEN}</StringToSign>"
    f"<SignatureProvided>Signature={'ab' * 32}</SignatureProvided></Error>"
)
FAULTS: dict[str, bytes] = {
    "refused": answer(403, REFUSED.encode()),
    "moved": answer(301, REFUSED.encode(), x_amz_bucket_region="eu-west-1"),
    "broken": answer(500, b"<Error><Code>"),
    "closed": b"",
    "rubbish": f"Authorization: AWS4-HMAC-SHA256 Credential={ACCESS_KEY}\r\n\r\n".encode(),
    "folded": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    "served": said(Asked(method="GET", target="", headers={}, body=b"")),
}


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("name", FAULTS)
def test_c42_no_secret_is_told_or_logged(
    servers: Servers, caplog: pytest.LogCaptureFixture, name: str, *, secure: bool
) -> None:
    """Neither in errors, nor in what they were raised from or beside, nor in a log at DEBUG."""
    server = servers.recorder(FAULTS[name], secure=secure)
    given: dict[str, Any] = {
        "aws_access_key_id": ACCESS_KEY,
        "aws_secret_access_key": SECRET,
        "aws_session_token": TOKEN,
    }
    store = store_of(server, **given)
    told = ""
    with caplog.at_level(logging.DEBUG):
        for call in CALLS:
            try:
                call(store)
            except StoreError as error:
                logging.getLogger("test").exception("failed")
                told += everything_in(error)
    ours = [record for record in caplog.records if not record.name.startswith("botocore")]
    logged = "\n".join(caplog.handler.format(record) for record in ours)
    sent = server.asked.headers
    signature = sent["authorization"].rpartition("=")[2]
    assert sent["x-amz-security-token"] == TOKEN
    for secret in (ACCESS_KEY, SECRET, TOKEN, signature, "ab" * 32):
        assert secret not in told
        assert secret not in logged


@pytest.mark.parametrize("token", ["w0rd-of-a-role\n", "w0rd\r\nInjected: x", "w0rd\0"])
@EACH
def test_c42_a_token_that_cannot_be_sent_is_not_told(
    servers: Servers, call: Callable[[S3Store], object], token: str
) -> None:
    """Files and Kubernetes secrets end with line breaks; nothing is sent, and it is for good."""
    server = servers.recorder(said)
    with pytest.raises(StoreError) as caught:
        call(store_of(server, aws_session_token=token))
    assert type(caught.value) is StoreError
    assert "w0rd" not in everything_in(caught.value)
    assert server.requests == []


def test_a_key_is_never_a_header(servers: Servers) -> None:
    """Line breaks in it are encoded."""
    server = servers.recorder(said)
    assert get(store_of(server), "a\r\nx-amz-acl: public-read") == b"data"
    assert server.asked.target == "/bucket/a%0D%0Ax-amz-acl%3A%20public-read"
    assert "x-amz-acl" not in server.asked.headers


def test_a_range_beyond_an_object_is_told(servers: Servers) -> None:
    """As the service says it."""
    body = (DOCUMENT % "InvalidRange").encode()
    store = store_of(servers.recorder(answer(416, body)))
    with pytest.raises(StoreError, match="InvalidRange"):
        store.open_range("k", ByteRange(start=5, stop=9), SourceIdentity(etag="e", size=9))


def test_a_stores_connections_are_closed_when_told(servers: Servers) -> None:
    """Those that are kept, at once."""
    server: Recorder = servers.recorder(said)
    store = store_of(server)
    get(store)
    direct = store._calls._direct
    assert direct is not None
    direct.close()
    get(store)
    assert server.connections == 2
