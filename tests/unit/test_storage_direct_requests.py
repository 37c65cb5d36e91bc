"""What is sent directly is what botocore would have sent: both are compared as they come."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from airflow_provider_s3resume.exceptions import UnsupportedError
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import ByteRange, ContentAttributes, SourceIdentity
from airflow_provider_s3resume.storage._customer_key import CustomerKey
from airflow_provider_s3resume.storage._s3_headers import CHECKSUM_PARAMETERS
from airflow_provider_s3resume.storage.base import Condition, NewUpload, WriteOptions
from airflow_provider_s3resume.storage.s3 import S3Settings, S3Store
from tests.conformance.keys import ODD_KEYS
from tests.support.null_s3 import Chunks
from tests.support.tls import Certificate
from tests.support.wire_direct import Asked, Recorder, Servers, answer, signature_of, store_of

MOMENT = "Thu, 01 Jan 2026 00:00:00 GMT"
ITS_OWN = frozenset(
    {
        "user-agent",  # its features differ
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "x-amz-date",
        "authorization",
        "expect",  # answers are heard in the middle of a body here
    }
)
FRAMES = frozenset(
    {
        "content-length",  # known before, here
        "transfer-encoding",  # and there in chunks around chunks
        "x-amz-sdk-checksum-algorithm",  # tells what the trailer's name tells
    }
)
CUSTOMER = "x-amz-server-side-encryption-customer-"
KEY = base64.b64encode(bytes(range(32))).decode()
MD5 = base64.b64encode(hashlib.md5(b"data", usedforsecurity=False).digest()).decode()
Call = Callable[[S3Store], object]


def open_(identity: SourceIdentity, span: ByteRange | None = None, key: str = "k") -> Call:
    """Return a GetObject."""
    return lambda store: store.open_range(key, span, identity).close()


def put(key: str = "k", body: bytes = b"data", **given: Any) -> Call:
    """Return a PutObject."""
    attributes = given.pop("attributes", {})
    options = WriteOptions(**given.pop("options", {}))
    upload = NewUpload(attributes=ContentAttributes(**attributes), options=options)
    return lambda store: store.put_object(
        key, body, **{"checksum": None, **given, "upload": upload}
    )


def part(checksum: Checksum | None = None, key: str = "k", upload_id: str = "u") -> Call:
    """Return an UploadPart."""
    return lambda store: store.upload_part(key, upload_id, 3, b"data", checksum)


def streamed(algorithm: ChecksumAlgorithm | None, size: int = 4) -> Call:
    """Return an UploadPart that is read while it is sent."""
    data = (b"data" * size)[:size]
    return lambda store: store.upload_part_stream("k", "u", 3, io.BytesIO(data), size, algorithm)


def streamed_whole(**given: Any) -> Call:
    """Return a PutObject that is read while it is sent."""
    attributes = given.pop("attributes", {})
    upload = NewUpload(
        attributes=ContentAttributes(**attributes),
        options=WriteOptions(**given.pop("options", {})),
        algorithm=ChecksumAlgorithm.CRC64NVME,
        full_object=True,
    )
    return lambda store: store.put_object_stream(
        "k", io.BytesIO(b"data"), 4, upload=upload, content_md5=MD5, **given
    )


def checksum_of(algorithm: ChecksumAlgorithm) -> Checksum:
    """Return a checksum; what it is of nobody checks."""
    return Checksum(algorithm=algorithm, value="AAAAAAAAAAA=", full_object=True)


ATTRIBUTES = {
    "content_type": 'text/plain; charset="utf-8"',
    "content_encoding": "gzip",
    "content_language": "de,  en",
    "content_disposition": 'attachment; filename="a b.txt"',
    "cache_control": "no-cache",
    "expires": "Thu, 01 Dec 1994 16:00:00 GMT",
    "website_redirect": "/other?x=1",
    "metadata": {"a": "b", "a-b": "two  blanks", "\x75mlaut": "gr\u00fc\u00dfe", "z": "1,2;=?"},
    "tags": {"a b": "c&d", "\u00e9": "=+/"},
}
CALLS: dict[str, Call] = {
    "get": open_(SourceIdentity(etag="e", size=4)),
    "get any": open_(SourceIdentity(etag=None, size=4)),
    "get version": open_(SourceIdentity(etag="e", size=4, version_id="v 1+/=%")),
    "put": put(),
    "put nothing": put(body=b""),
    "put all": put(attributes=ATTRIBUTES),
    "put expires never": put(attributes={"expires": "-1"}),
    "put class": put(options={"storage_class": "STANDARD_IA", "encryption": "AES256"}),
    "put kms": put(options={"encryption": "aws:kms", "kms_key_id": "arn:aws:kms:x:1:key/2"}),
    "put dsse": put(options={"encryption": "aws:kms:dsse", "kms_key_id": "alias/mine"}),
    "put bucket key": put(options={"encryption": "aws:kms", "bucket_key": True}),
    "put no bucket key": put(options={"encryption": "aws:kms", "bucket_key": False}),
    "put acl": put(options={"acl": "bucket-owner-full-control"}),
    "put absent": put(condition=Condition(absent=True)),
    "put match": put(condition=Condition(etag="e-2")),
    "put md5": put(content_md5="1B2M2Y8AsgTpgAmY7PhCfg=="),
    "put both": put(
        content_md5="1B2M2Y8AsgTpgAmY7PhCfg==", checksum=checksum_of(ChecksumAlgorithm.CRC32C)
    ),
    "part": part(),
    "part odd id": part(upload_id="u+/= %?&~\u00e9"),
    "part md5": part(checksum_of(ChecksumAlgorithm.MD5)),
    "stream": streamed(None),
    **{f"put {a.value}": put(checksum=checksum_of(a)) for a in CHECKSUM_PARAMETERS},
    **{f"part {a.value}": part(checksum_of(a)) for a in CHECKSUM_PARAMETERS},
}


Sides = Callable[..., tuple[Recorder, S3Store]]


def said(asked: Asked) -> bytes:
    """Answer what each call is content with."""
    if asked.method == "PUT":
        algorithm = asked.headers.get(f"{CUSTOMER}algorithm", "")
        more: dict[str, Any] = {f"{CUSTOMER}algorithm": algorithm}
        return answer(200, etag='"e"', **more)
    span = asked.headers.get("range")
    if span is None:
        return answer(200, b"data", etag='"e"', last_modified=MOMENT)
    ranged = f"{span.replace('=', ' ')}/11"
    return answer(206, b"data", etag='"e"', last_modified=MOMENT, content_range=ranged)


@pytest.fixture(scope="module")
def sides(certificate_of_servers: Certificate) -> Iterator[Sides]:
    """Give servers and stores of theirs by how they are called; a client takes a while to make."""
    servers = Servers(certificate_of_servers)

    @functools.cache
    def make(
        *, direct: bool, secure: bool, payer: bool, access: bool = False
    ) -> tuple[Recorder, S3Store]:
        server = servers.recorder(said, secure=secure)
        settings = S3Settings(addressing_style="path", request_payer=payer)
        if access:
            key = CustomerKey.parse(KEY)
            settings = replace(settings, expected_bucket_owner="012345678901", customer_key=key)
        store = store_of(server, direct=direct, settings=settings, aws_session_token="a-token")
        return server, store

    yield make
    servers.close()


def both(
    sides: Sides, call: Call, *, secure: bool = False, payer: bool = False, access: bool = False
) -> tuple[Asked, Asked]:
    """Make a call directly, and by botocore; return what was sent."""
    found: list[Asked] = []
    for direct in (True, False):
        server, store = sides(direct=direct, secure=secure, payer=payer, access=access)
        before = len(server.requests)
        call(store)
        assert len(server.requests) == before + 1
        asked = server.asked
        assert ("amz-sdk-invocation-id" in asked.headers) is not direct
        expected = signature_of(asked, server.url, "secret", token="a-token")
        assert asked.headers["authorization"] == expected
        signed = asked.headers["authorization"].partition("SignedHeaders=")[2].split(",")[0]
        must = {name for name in asked.headers if name.startswith("x-amz-")} | {"host"}
        assert must <= set(signed.split(";"))
        found.append(asked)
    return found[0], found[1]


def compared(asked: Asked, but: frozenset[str] = frozenset()) -> Mapping[str, str]:
    """Return the headers that have to be the same."""
    kept = {n: v for n, v in asked.headers.items() if n not in ITS_OWN | but}
    # Each server has a port of its own.
    assert kept.pop("host").partition(":")[0] == "127.0.0.1"
    return kept


def place(asked: Asked) -> tuple[str, list[tuple[str, str]]]:
    """Return a target's path as it is sent, and what its query says."""
    parts = urlsplit(asked.target)
    return parts.path, sorted(parse_qsl(parts.query, keep_blank_values=True))


@pytest.mark.parametrize("payer", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_sent_as_botocore_sends_it(sides: Sides, name: str, *, payer: bool) -> None:
    """Method, path, query, body and all headers but those that are each one's own."""
    ours, theirs = both(sides, CALLS[name], payer=payer)
    assert (ours.method, place(ours), ours.body) == (theirs.method, place(theirs), theirs.body)
    assert compared(ours) == compared(theirs)
    assert ("x-amz-request-payer" in ours.headers) is payer
    assert ours.headers["user-agent"].startswith("Boto3/")


@pytest.mark.parametrize("name", CALLS)
def test_what_a_connection_adds_is_sent_as_botocore_sends_it(sides: Sides, name: str) -> None:
    """The owner of the bucket, and a customer-provided key with its MD5."""
    ours, theirs = both(sides, CALLS[name], access=True)
    assert (ours.method, place(ours), ours.body) == (theirs.method, place(theirs), theirs.body)
    assert compared(ours) == compared(theirs)
    assert ours.headers["x-amz-expected-bucket-owner"] == "012345678901"
    assert ours.headers[f"{CUSTOMER}key"] == KEY
    assert len(ours.headers[f"{CUSTOMER}key-md5"]) == 24


WHOLE: dict[str, dict[str, Any]] = {
    "plain": {},
    "all": {"attributes": ATTRIBUTES},
    "kms": {"options": {"encryption": "aws:kms", "kms_key_id": "arn:aws:kms:x:1:key/2"}},
    "class": {"options": {"storage_class": "STANDARD_IA", "acl": "bucket-owner-full-control"}},
    "absent": {"condition": Condition(absent=True)},
    "match": {"condition": Condition(etag="e-2")},
}


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("access", [False, True])
@pytest.mark.parametrize("name", WHOLE)
def test_c18_an_object_that_is_read_meanwhile_is_sent_as_one_that_is_held(
    sides: Sides, name: str, *, access: bool, secure: bool
) -> None:
    """With the MD5 that the service compares, its length, no chunks and no other checksum."""
    server, store = sides(direct=True, secure=secure, payer=False, access=access)
    put(content_md5=MD5, **WHOLE[name])(store)
    held = server.asked
    streamed_whole(**WHOLE[name])(store)
    asked = server.asked
    assert asked is not held
    assert (asked.method, asked.target, asked.body) == (held.method, held.target, b"data")
    assert compared(asked) == compared(held)
    assert asked.headers["authorization"] == signature_of(
        asked, server.url, "secret", token="a-token"
    )
    assert (asked.headers["content-md5"], asked.headers["content-length"]) == (MD5, "4")
    unwanted = ("x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer", "transfer-encoding")
    assert not [name for name in asked.headers if name.startswith(unwanted)]
    assert "aws-chunked" not in asked.headers.get("content-encoding", "")
    assert asked.headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"


def test_an_object_is_not_read_meanwhile_where_botocore_sends_it(sides: Sides) -> None:
    """It may read a body twice: nothing is asked, and the store says so before."""
    server, store = sides(direct=False, secure=False, payer=False)
    before = len(server.requests)
    assert not store.capabilities.streams_objects
    with pytest.raises(UnsupportedError, match="while they are read"):
        streamed_whole()(store)
    signing = S3Settings(addressing_style="path", payload_signing=True)
    assert not store_of(server, settings=signing).capabilities.streams_objects
    _, direct = sides(direct=True, secure=False, payer=False)
    assert direct.capabilities.streams_objects
    assert len(server.requests) == before


def test_c19_an_answer_that_says_nothing_of_the_customers_key_is_refused(sides: Sides) -> None:
    """Of an object that was read meanwhile as well."""
    server, store = sides(direct=True, secure=False, payer=False, access=True)
    server.says(answer(200, etag='"e"'))
    try:
        with pytest.raises(UnsupportedError, match="customer-provided key"):
            streamed_whole()(store)
    finally:
        server.says(said)


def test_an_answer_tells_how_the_object_is_encrypted(sides: Sides) -> None:
    """So that nobody has to ask why its ETag is no MD5."""
    server, store = sides(direct=True, secure=False, payer=False)
    server.says(answer(200, etag='"e"', x_amz_server_side_encryption="aws:kms"))
    try:
        found: Any = streamed_whole()(store)
    finally:
        server.says(said)
    assert (found.etag, found.encryption) == ("e", "aws:kms")


@pytest.mark.parametrize("span", [ByteRange(start=0, stop=4), ByteRange(start=7, stop=11)])
def test_a_range_is_asked_for_as_botocore_does(sides: Sides, span: ByteRange) -> None:
    """Inclusive at both ends."""
    identity = SourceIdentity(etag="e", size=11)
    ours, theirs = both(sides, open_(identity, span))
    assert compared(ours) == compared(theirs)
    assert ours.headers["range"] == f"bytes={span.start}-{span.stop - 1}"


@pytest.mark.parametrize("algorithm", ["CRC64NVME", "CRC32C", "CRC32"])
@pytest.mark.parametrize("size", [0, 4, (1 << 20) + 1])
def test_a_trailer_says_what_botocores_says(sides: Sides, algorithm: str, size: int) -> None:
    """The same chunks with the same checksum behind them; only what is around them differs."""
    call = streamed(ChecksumAlgorithm(algorithm), size)
    ours, theirs = both(sides, call, secure=True)
    assert place(ours) == place(theirs)
    assert compared(ours, FRAMES) == compared(theirs, FRAMES)
    outer = b"".join(Chunks(io.BytesIO(theirs.body)).pieces())
    assert ours.body == outer
    assert ours.headers["content-length"] == str(len(ours.body))
    assert ours.headers["x-amz-content-sha256"] == "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


@pytest.mark.parametrize("key", ODD_KEYS)
def test_c04_a_key_is_sent_as_botocore_sends_it(sides: Sides, key: str) -> None:
    """Dot segments, slashes, per cent signs and control characters, in reads and writes."""
    for call in (open_(SourceIdentity(etag="e", size=4), key=key), put(key=key), part(key=key)):
        ours, theirs = both(sides, call)
        assert place(ours) == place(theirs)


def test_a_part_that_is_read_is_sent_once(sides: Sides) -> None:
    """As long as it was said to be, in one request, without being held."""
    size = (3 << 20) + 5
    ours, theirs = both(sides, streamed(None, size))
    assert ours.body == theirs.body == (b"data" * size)[:size]
    assert compared(ours) == compared(theirs)
