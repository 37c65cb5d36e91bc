"""Hosts, paths, headers and signatures of requests, as Amazon S3's endpoints want them.

Nothing is sent: botocore's requests are caught where it would send them, and those that are made
past it are looked at as they would go out. Expected hosts are those of "Amazon S3 endpoints and
quotas" and of "Making requests using Amazon S3 access points".
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest

from airflow_provider_s3resume.exceptions import InvalidInputError, StoreError, UnsupportedError
from airflow_provider_s3resume.hooks import _access, _amazon
from airflow_provider_s3resume.hooks._amazon import make_client_near
from airflow_provider_s3resume.hooks._services import service_of
from airflow_provider_s3resume.hooks.s3 import S3ResumeHook
from airflow_provider_s3resume.plan.objects import ByteRange, SourceIdentity
from airflow_provider_s3resume.plan.resume import PartRecord
from airflow_provider_s3resume.storage._s3_calls import discover_region
from airflow_provider_s3resume.storage.base import NewUpload
from airflow_provider_s3resume.storage.s3 import S3Settings, S3Store, client_config
from airflow_provider_s3resume.storage.server_side import Origin, ServerSide, owner_of
from tests.support.endpoints import CLIENTS
from tests.support.wire_captured import Answer, Captured, Sent, sent_directly
from tests.support.wire_direct import everything_in

ACCOUNT = "123456789012"
POINT = f"arn:aws:s3:us-west-2:{ACCOUNT}:accesspoint/reports"
SEVERAL = f"arn:aws:s3::{ACCOUNT}:accesspoint/mfzwi23gnjvgw.mrap"
KEY_BYTES = bytes(range(32))
KEY = base64.b64encode(KEY_BYTES).decode()
KEY_MD5 = base64.b64encode(hashlib.md5(KEY_BYTES, usedforsecurity=False).digest()).decode()
CUSTOMER = "x-amz-server-side-encryption-customer-"
MOMENT = "Thu, 01 Jan 2026 00:00:00 GMT"
IDENTITY = SourceIdentity(etag="e", size=4)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A bucket, what its connection says, and where requests for its objects go."""

    host: str
    extra: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    bucket: str = "bucket"
    region: str = "us-west-2"
    service: str = "https://s3.amazonaws.com"


def in_(region: str, **settings: bool) -> dict[str, Any]:
    """Return what names a region, and fields of ours."""
    return {"extra": {"region_name": region}, "settings": settings, "region": region}


ACCELERATE = {"use_accelerate_endpoint": True}
DUAL = {"use_dualstack_endpoint": True}
FIPS = {"use_fips_endpoint": True}
CHINA, GOV = "https://s3.amazonaws.com.cn", "https://s3.us-gov-west-1.amazonaws.com"
POINT_CN = f"arn:aws-cn:s3:cn-north-1:{ACCOUNT}:accesspoint/reports"
POINT_GOV = f"arn:aws-us-gov:s3:us-gov-west-1:{ACCOUNT}:accesspoint/reports"
REPORTS = f"reports-{ACCOUNT}.s3-accesspoint"
PLACES = {
    "region": Place(host="bucket.s3.us-west-2.amazonaws.com", **in_("us-west-2")),
    "accelerated": Place(
        host="bucket.s3-accelerate.amazonaws.com", **in_("us-west-2", **ACCELERATE)
    ),
    "dual-stack": Place(
        host="bucket.s3.dualstack.us-west-2.amazonaws.com", **in_("us-west-2", **DUAL)
    ),
    "accelerated dual-stack": Place(
        host="bucket.s3-accelerate.dualstack.amazonaws.com",
        **in_("us-west-2", **ACCELERATE, **DUAL),
    ),
    "fips": Place(host="bucket.s3-fips.us-west-2.amazonaws.com", **in_("us-west-2", **FIPS)),
    "fips dual-stack": Place(
        host="bucket.s3-fips.dualstack.us-west-2.amazonaws.com", **in_("us-west-2", **FIPS, **DUAL)
    ),
    "China": Place(
        host="bucket.s3.cn-north-1.amazonaws.com.cn", **in_("cn-north-1"), service=CHINA
    ),
    "China dual-stack": Place(
        host="bucket.s3.dualstack.cn-northwest-1.amazonaws.com.cn",
        **in_("cn-northwest-1", **DUAL),
        service=CHINA,
    ),
    "GovCloud": Place(
        host="bucket.s3.us-gov-west-1.amazonaws.com", **in_("us-gov-west-1"), service=GOV
    ),
    "GovCloud fips": Place(
        host="bucket.s3-fips.us-gov-east-1.amazonaws.com",
        **in_("us-gov-east-1", **FIPS),
        service=GOV,
    ),
    "access point": Place(host=f"{REPORTS}.us-west-2.amazonaws.com", bucket=POINT),
    "access point elsewhere": Place(
        host=f"{REPORTS}.us-west-2.amazonaws.com",
        bucket=POINT,
        extra={"region_name": "eu-central-1"},
    ),
    "access point dual-stack": Place(
        host=f"{REPORTS}.dualstack.us-west-2.amazonaws.com", bucket=POINT, settings=DUAL
    ),
    "access point fips": Place(
        host=f"{REPORTS}-fips.us-west-2.amazonaws.com", bucket=POINT, settings=FIPS
    ),
    "access point in China": Place(
        host=f"{REPORTS}.cn-north-1.amazonaws.com.cn",
        bucket=POINT_CN,
        region="cn-north-1",
        service=CHINA,
    ),
    "access point in GovCloud": Place(
        host=f"{REPORTS}.us-gov-west-1.amazonaws.com",
        bucket=POINT_GOV,
        region="us-gov-west-1",
        service=GOV,
    ),
    "alias of an access point": Place(
        host="reports-x1y2z3-s3alias.s3.us-west-2.amazonaws.com",
        bucket="reports-x1y2z3-s3alias",
        **in_("us-west-2"),
    ),
}


@pytest.fixture(autouse=True)
def no_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask no service of the outside for a bucket's region, and go through no proxy."""
    monkeypatch.setattr(_amazon, "discover_region", lambda *_: "")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


Open = Callable[..., tuple[S3Store, Captured]]


@pytest.fixture
def open_(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Give what opens a place as the hook does, with all of its requests caught."""

    def make(place: Place, *, say: Any = None, **more: Any) -> tuple[S3Store, Captured]:
        fields = {"extra": {**place.extra, "s3resume": {**place.settings, **more}}}
        keys = {} if more.get("unsigned") else {"login": "AKIDEXAMPLE", "password": "secret"}
        known = {"conn_type": "aws", **keys, **fields}
        monkeypatch.setenv("AIRFLOW_CONN_SIDE", json.dumps(known))
        hook = S3ResumeHook("side", parameter="source_conn_id")
        settings = hook.store_settings
        with CLIENTS:
            client = make_client_near(hook.facts, client_config(settings), place.bucket)
        service = service_of(client.meta.endpoint_url, client.meta.region_name)
        captured = Captured(client, say or answered)
        return S3Store(client, place.bucket, service=service, settings=settings), captured

    return make


def answered(request: AWSPreparedRequest) -> Answer:
    """Answer what each call is content with."""
    headers = {"etag": '"e"', "last-modified": MOMENT}
    sent = {name.lower() for name in request.headers}
    if f"{CUSTOMER}algorithm" in sent:
        headers[f"{CUSTOMER}algorithm"] = "AES256"
    url = str(request.url)
    if request.method == "GET" and "?" not in url:
        return (200, {**headers, "content-length": "4"}, b"data")
    if request.method == "HEAD":
        return (200, {**headers, "content-length": "4", "x-amz-bucket-region": "x"}, b"")
    if request.method == "POST" and "uploads" in url:
        return (200, headers, b"<Result><UploadId>u</UploadId></Result>")
    if request.method == "POST":
        return (200, headers, b"<Result><ETag>e</ETag></Result>")
    if request.method == "GET":
        listing = b"<Result><IsTruncated>false</IsTruncated><TagSet></TagSet></Result>"
        return (200, headers, listing)
    return (204 if request.method == "DELETE" else 200, headers, b"")


def directly(store: S3Store, operation: str = "GetObject") -> Sent:
    """Return the request that is made past botocore; its own parameters are none."""
    direct = store._calls._direct
    assert direct is not None
    assert direct.serves(operation)
    common = store._common.of(operation)
    return sent_directly(*direct.request(operation, "dir/k y", common, {}))


def by_botocore(store: S3Store, captured: Captured) -> Sent:
    """Return the request that botocore makes for the same."""
    store.head("dir/k y")
    return captured.sent


@pytest.mark.parametrize("name", PLACES)
def test_a_request_goes_to_its_host_by_botocore_and_past_it(open_: Open, name: str) -> None:
    """Host, path, and the region that it is signed for."""
    place = PLACES[name]
    store, captured = open_(place)
    for sent in (by_botocore(store, captured), directly(store), directly(store, "PutObject")):
        assert (sent.host, sent.path) == (place.host, "/dir/k%20y")
        assert sent.region == place.region
        assert "/s3/aws4_request" in sent.headers["authorization"]
    assert store.service == place.service


@pytest.mark.parametrize("name", PLACES)
def test_a_listing_goes_to_the_same_host(open_: Open, name: str) -> None:
    """Access points and acceleration take listings, too."""
    store, captured = open_(PLACES[name])
    assert list(store.list_objects("a/")) == []
    assert captured.sent.host == PLACES[name].host
    assert "list-type=2" in captured.sent.query


def test_an_access_point_of_several_regions_is_called_by_botocore_alone(open_: Open) -> None:
    """It signs for all regions at once, by another algorithm than is known here."""
    store, captured = open_(Place(host="", bucket=SEVERAL))
    sent = by_botocore(store, captured)
    assert sent.host == "mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com"
    assert sent.headers["authorization"].startswith("AWS4-ECDSA-P256-SHA256 ")
    assert sent.headers["x-amz-region-set"] == "*"
    assert not store._calls._direct.serves("GetObject")  # type: ignore[union-attr]
    with store.open_range("k", None, IDENTITY) as reader:
        assert reader.info.size == 4
    assert captured.sent.host == sent.host


def test_it_is_refused_where_nothing_can_sign_for_it(
    open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the name of what is missing."""
    monkeypatch.setattr(_access, "_signs_for_all_regions", lambda: False)
    with pytest.raises(InvalidInputError, match=r"Multi-Region Access Point.*awscrt"):
        open_(Place(host="", bucket=SEVERAL))


def test_acceleration_of_an_access_point_is_refused_by_botocore_as_an_error_of_ours(
    open_: Open,
) -> None:
    """There is none; no retry helps."""
    store, captured = open_(Place(host="", bucket=POINT, settings=ACCELERATE))
    with pytest.raises(StoreError) as raised:
        store.head("k")
    assert not raised.value.retryable
    assert captured.requests == []


def test_a_public_bucket_is_read_without_a_signature(open_: Open) -> None:
    """By both ways; nobody looks for credentials."""
    place = PLACES["region"]
    store, captured = open_(place, unsigned=True)
    for sent in (by_botocore(store, captured), directly(store)):
        assert sent.host == place.host
        assert not {"authorization", "x-amz-date", "x-amz-content-sha256"} & set(sent.headers)


def test_no_credentials_are_looked_for_where_none_are_used(
    open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's metadata service would be asked, and not answer."""
    looked: list[object] = []
    monkeypatch.setattr(
        "botocore.credentials.CredentialResolver.load_credentials",
        looked.append,
    )
    open_(PLACES["region"], unsigned=True)
    assert looked == []


CALLS: dict[str, Callable[[S3Store], object]] = {
    "ListObjectsV2": lambda store: list(store.list_objects("a")),
    "ListObjectsV2 access": lambda store: store.check_access("a"),
    "HeadObject": lambda store: store.head("k"),
    "HeadObject part": lambda store: store.head_part("k", 1, IDENTITY),
    "GetObject": lambda store: store.open_range("k", None, IDENTITY).close(),
    "GetObjectTagging": lambda store: store.get_tags("k"),
    "PutObject": lambda store: store.put_object("k", b"d", upload=NewUpload(), checksum=None),
    "CreateMultipartUpload": lambda store: store.create_upload("k", NewUpload()),
    "UploadPart": lambda store: store.upload_part("k", "u", 1, b"d", None),
    "ListParts": lambda store: store.list_parts("k", "u"),
    "ListMultipartUploads": lambda store: store.list_uploads("k"),
    "ListMultipartUploads all": lambda store: store.list_all_uploads("k"),
    "CompleteMultipartUpload": lambda store: store.complete_upload(
        "k", "u", [PartRecord(part_number=1, size=1, etag="e")], size=1, checksum=None
    ),
    "AbortMultipartUpload": lambda store: store.abort_upload("k", "u"),
    "DeleteObject": lambda store: store.delete_object("k"),
}
WITH_KEY = {
    "HeadObject", "GetObject", "PutObject", "CreateMultipartUpload", "UploadPart", "ListParts",
    "CompleteMultipartUpload",
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_what_a_connection_adds_goes_with_every_call(open_: Open, name: str) -> None:
    """The owner, who pays, and the customer's key where there is an object's content."""
    added = {
        "expected_bucket_owner": ACCOUNT,
        "request_payer": True,
        "sse_c_secret_key": KEY,
        "direct": False,
    }
    store, captured = open_(PLACES["region"], **added)
    CALLS[name](store)
    headers = captured.sent.headers
    assert headers["x-amz-expected-bucket-owner"] == ACCOUNT
    assert headers["x-amz-request-payer"] == "requester"
    key = {n: v for n, v in headers.items() if n.startswith(CUSTOMER)}
    asked = {"algorithm": "AES256", "key": KEY, "key-md5": KEY_MD5}
    wanted = {CUSTOMER + name: value for name, value in asked.items()}
    assert key == (wanted if name.partition(" ")[0] in WITH_KEY else {})
    signed = headers["authorization"].partition("SignedHeaders=")[2].split(",")[0].split(";")
    assert {n for n in headers if n.startswith("x-amz-")} <= set(signed)


OTHER = "111122223333"
SOURCE_OWNER = "x-amz-source-expected-bucket-owner"
TARGET_OWNER = "x-amz-expected-bucket-owner"
COPIES: dict[str, Callable[[ServerSide, Origin], object]] = {
    "HeadObject": lambda copies, origin: copies.look_at(origin),
    "CopyObject": lambda copies, origin: copies.copy_object(
        "k", origin, upload=NewUpload(), condition=None
    ),
    "UploadPartCopy": lambda copies, origin: copies.copy_part(
        "k", "u", 1, origin, ByteRange(start=0, stop=4)
    ),
}


def copied(request: AWSPreparedRequest) -> Answer:
    """Answer a copy with its ETag."""
    if request.method == "PUT":
        return (200, {}, b"<Result><ETag>e</ETag></Result>")
    return answered(request)


@pytest.mark.parametrize("name", COPIES)
@pytest.mark.parametrize("source", [OTHER, None])
@pytest.mark.parametrize("target", [ACCOUNT, None])
def test_each_owner_is_named_for_the_bucket_that_is_its(
    open_: Open, name: str, source: str | None, target: str | None
) -> None:
    """The source's by a header of its own, but where the source alone is looked at."""
    more = {} if target is None else {"expected_bucket_owner": target}
    store, captured = open_(PLACES["region"], say=copied, direct=False, **more)
    assert owner_of(store) == target
    origin = Origin(bucket="from", key="k y", identity=IDENTITY, owner=source)
    COPIES[name](store.server_side, origin)
    headers = captured.sent.headers
    found = (headers.get(TARGET_OWNER), headers.get(SOURCE_OWNER))
    assert found == ((source, None) if name == "HeadObject" else (target, source))
    signed = headers["authorization"].partition("SignedHeaders=")[2].split(",")[0].split(";")
    assert {n for n in headers if n.startswith("x-amz-")} <= set(signed)


@pytest.mark.parametrize("name", CALLS)
def test_nothing_is_added_that_was_not_asked_for(open_: Open, name: str) -> None:
    """Services that are no Amazon S3 refuse headers that they do not know."""
    store, captured = open_(PLACES["region"], direct=False)
    CALLS[name](store)
    added = (CUSTOMER, "x-amz-expected-bucket-owner", "x-amz-request-payer")
    assert not [n for n in captured.sent.headers if n.startswith(added)]


def test_the_owner_is_checked_when_a_region_is_found_out(open_: Open) -> None:
    """It is the first call of all."""
    store, captured = open_(PLACES["region"], direct=False)
    discover_region(store._calls._client, "bucket", ACCOUNT)
    assert captured.sent.headers["x-amz-expected-bucket-owner"] == ACCOUNT
    assert "x-amz-request-payer" not in captured.sent.headers


def test_who_pays_is_not_said_where_nobody_asks(open_: Open) -> None:
    """These calls cost nothing, and take no such header."""
    store, captured = open_(PLACES["region"], request_payer=True, direct=False)
    for operation in ("HeadBucket", "GetBucketLocation"):
        store._calls.make(operation)
        assert "x-amz-request-payer" not in captured.sent.headers


def test_the_owner_is_named_when_a_region_is_asked_for(
    open_: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nothing is asked of somebody else's bucket."""
    asked: list[tuple[Any, ...]] = []

    def discover(_: Any, *given: Any) -> str:
        asked.append(given)
        return ""

    monkeypatch.setattr(_amazon, "discover_region", discover)
    open_(Place(host=""), expected_bucket_owner=ACCOUNT)
    assert asked == [("bucket", ACCOUNT)]


def test_c41_a_bucket_of_another_owner_fails_at_once(open_: Open) -> None:
    """As the service says, 403."""
    denied = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    store, _ = open_(
        PLACES["region"],
        say=lambda _: (403, {}, denied),
        expected_bucket_owner=ACCOUNT,
        direct=False,
    )
    with pytest.raises(StoreError, match="AccessDenied") as raised:
        store.check_access("")
    assert not raised.value.retryable


@pytest.mark.parametrize("operation", ["PutObject", "UploadPart"])
def test_c19_a_service_that_ignores_the_customers_key_is_refused(
    open_: Open, operation: str
) -> None:
    """It does not say that it has used it; the object would lie there in the clear."""

    def forgets(request: AWSPreparedRequest) -> Answer:
        status, headers, body = answered(request)
        return status, {n: v for n, v in headers.items() if not n.startswith(CUSTOMER)}, body

    store, _ = open_(PLACES["region"], say=forgets, sse_c_secret_key=KEY, direct=False)
    with pytest.raises(UnsupportedError, match="sse_c_secret_key") as raised:
        CALLS[operation](store)
    assert KEY not in everything_in(raised.value)


def test_c42_a_customers_key_goes_over_no_open_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Wherever the endpoint's scheme comes from."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://minio.example")
    said = {"conn_type": "aws", "login": "AKIDEXAMPLE", "password": "secret"}
    extra = {"region_name": "us-west-2", "s3resume": {"sse_c_secret_key": KEY}}
    monkeypatch.setenv("AIRFLOW_CONN_SIDE", json.dumps({**said, "extra": extra}))
    with pytest.raises(InvalidInputError, match=r"endpoint.*https://") as raised:
        S3ResumeHook("side").get_store("bucket").head("k")
    assert KEY not in everything_in(raised.value)


def test_etags_of_a_customers_key_are_no_md5s(open_: Open) -> None:
    """And the key can be told from others, not be found."""
    store, _ = open_(PLACES["region"], sse_c_secret_key=KEY)
    other = base64.b64encode(bytes(32)).decode()
    another, _ = open_(PLACES["region"], sse_c_secret_key=other)
    assert not store.capabilities.md5_etags
    marks = {store.capabilities.customer_key, another.capabilities.customer_key}
    assert len(marks) == 2
    assert all(len(mark) == 16 for mark in marks)
    assert not any(mark in KEY or mark in KEY_BYTES.hex() for mark in marks)
    assert store.head("k").encryption == "SSE-C"


def test_c42_the_customers_key_is_in_no_log_and_no_text(
    open_: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK tells all of a request when debugging; one that is refused comes back whole."""
    caplog.set_level(logging.DEBUG)
    canonical = f"PUT\n/k\n\n{CUSTOMER}key:{KEY}\n{CUSTOMER}key-md5:{KEY_MD5}\n"
    said = (
        "<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message>"
        f"<CanonicalRequest>{canonical}</CanonicalRequest></Error>"
    )
    store, captured = open_(
        PLACES["region"],
        say=lambda _: (403, {}, said.encode()),
        sse_c_secret_key=KEY,
        direct=False,
    )
    for call in (CALLS["PutObject"], CALLS["GetObject"], CALLS["HeadObject"]):
        with pytest.raises(StoreError) as raised:
            call(store)
        assert KEY not in everything_in(raised.value)
    assert captured.sent.headers[f"{CUSTOMER}key"] == KEY
    assert "Making request for OperationModel" in caplog.text
    assert KEY not in caplog.text
    for text in (repr(store.settings), str(store.settings), repr(store.settings.customer_key)):
        assert KEY not in text


@pytest.mark.parametrize(
    "given",
    [
        KEY[:-4],
        KEY + KEY,
        f"{KEY[:10]}!{KEY[10:]}",
        "not base64!",
        base64.b64encode(bytes(16)).decode(),
        "ü" * 32,
    ],
)
def test_c42_what_is_no_key_is_refused_unsaid(open_: Open, given: str) -> None:
    """It may be one, mistyped."""
    with pytest.raises(InvalidInputError, match=r"sse_c_secret_key.*32 bytes") as raised:
        open_(PLACES["region"], sse_c_secret_key=given)
    assert given not in everything_in(raised.value)


@pytest.mark.parametrize("operation", ["GetObject", "PutObject", "UploadPart"])
def test_the_lean_way_adds_the_same(open_: Open, operation: str) -> None:
    """Call by call it is compared with botocore's elsewhere (``test_storage_direct_requests``)."""
    added = {"request_payer": True, "expected_bucket_owner": ACCOUNT, "sse_c_secret_key": KEY}
    store, _ = open_(PLACES["access point"], **added)
    sent = directly(store, operation)
    assert sent.headers["x-amz-request-payer"] == "requester"
    assert sent.headers["x-amz-expected-bucket-owner"] == ACCOUNT
    assert sent.headers[f"{CUSTOMER}key"] == KEY


def test_settings_of_other_clients_are_as_they_were() -> None:
    """A client without any of it is made as before."""
    config: dict[str, Any] = client_config(S3Settings())
    assert not {"use_dualstack_endpoint", "use_fips_endpoint", "signature_version"} & set(config)
    assert set(config["s3"]) == {"addressing_style", "payload_signing_enabled"}


NOT_ENCRYPTED = ("InvalidRequest", "The encryption parameters are not applicable to this object.")
STORED = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be "
    "provided to retrieve the object."
)
ENCRYPTED = ("InvalidRequest", STORED)
KEYED = (
    "Requests specifying Server Side Encryption with Customer provided keys must provide the "
    "correct secret key."
)
OTHER_KEY = ("AccessDenied", KEYED)


@pytest.mark.parametrize(
    ("said", "status", "keyed", "found"),
    [
        (NOT_ENCRYPTED, 400, True, "found one that is encrypted in another way or not at all"),
        (ENCRYPTED, 400, False, "found one that is encrypted with one"),
        (OTHER_KEY, 403, True, "found one that is encrypted in another way or not at all"),
    ],
)
@pytest.mark.parametrize("operation", ["HeadObject", "GetObject"])
def test_c41_an_object_under_another_key_or_none_is_refused_by_name(
    open_: Open, operation: str, said: tuple[str, str], status: int, found: str, *, keyed: bool
) -> None:
    """With what was expected and found, and the way out; the answer to a HEAD has no reason."""
    code, message = said
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()

    def refuse(request: AWSPreparedRequest) -> Answer:
        return (status, {}, b"" if request.method == "HEAD" else body)

    more = {"sse_c_secret_key": KEY} if keyed else {}
    store, _ = open_(PLACES["region"], say=refuse, direct=False, **more)
    with pytest.raises(StoreError, match=found) as raised:
        CALLS[operation](store)
    error = raised.value
    assert error.subject == "s3://bucket/k"
    assert not error.retryable
    assert "expected an object" in error.detail
    assert "sse_c_secret_key" in error.detail
    assert "state_uri" in error.detail
    assert KEY not in everything_in(error)


def test_a_refusal_that_is_about_no_key_has_no_advice_on_keys(open_: Open) -> None:
    """Neither of a read without one, nor of a write with one."""
    body = b"<Error><Code>InvalidRequest</Code><Message>something else</Message></Error>"
    for operation, more in (("GetObject", {}), ("UploadPart", {"sse_c_secret_key": KEY})):
        store, _ = open_(PLACES["region"], say=lambda _: (400, {}, body), direct=False, **more)
        with pytest.raises(StoreError) as raised:
            CALLS[operation](store)
        assert "sse_c_secret_key" not in raised.value.detail


def test_a_refusal_about_something_else_says_nothing_of_keys(open_: Open) -> None:
    """A connection that has one is told to take it out only where that is what is wrong."""
    body = b"<Error><Code>InvalidArgument</Code><Message>Invalid version id</Message></Error>"

    def refuse(request: AWSPreparedRequest) -> Answer:
        return (400, {}, b"" if request.method == "HEAD" else body)

    store, _ = open_(PLACES["region"], say=refuse, direct=False, sse_c_secret_key=KEY)
    with pytest.raises(StoreError) as raised:
        CALLS["GetObject"](store)
    assert "sse_c_secret_key" not in str(raised.value)
