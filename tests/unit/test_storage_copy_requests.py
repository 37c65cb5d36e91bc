"""Requests for copies that Amazon S3 makes by itself, as they would be sent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest

from airflow_provider_s3resume.exceptions import UnsupportedError
from airflow_provider_s3resume.plan.digests import ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import ByteRange, ContentAttributes, SourceIdentity
from airflow_provider_s3resume.storage.base import Condition, NewUpload, WriteOptions
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.storage.s3 import S3Settings, S3Store
from airflow_provider_s3resume.storage.server_side import Origin
from tests.support.endpoints import S3Endpoint
from tests.support.wire_captured import Answer, Captured, Sent

AMAZON = S3Endpoint(
    endpoint_url="https://s3.us-east-1.amazonaws.com", access_key="key", secret_key="secret"
)
ACCOUNT = "123456789012"
ORIGIN = Origin(bucket="theirs", key="a b+ü", identity=SourceIdentity(etag="e1", size=10))
PLAIN = NewUpload()
COPIED = b"<CopyObjectResult><ETag>&quot;e2&quot;</ETag></CopyObjectResult>"
COPIED_PART = b"<CopyPartResult><ETag>&quot;e2&quot;</ETag></CopyPartResult>"
MOMENT = "Thu, 01 Jan 2026 00:00:00 GMT"

Open = Callable[..., tuple[S3Store, Captured]]


def answered(request: AWSPreparedRequest) -> Answer:
    """Answer as the service does."""
    if request.method == "HEAD":
        return (200, {"etag": '"e1"', "last-modified": MOMENT, "content-length": "10"}, b"")
    return (200, {}, COPIED_PART if "partNumber" in str(request.url) else COPIED)


@pytest.fixture
def open_() -> Open:
    """Give what makes a store, with all of its requests caught."""

    def make(say: Any = answered, **settings: Any) -> tuple[S3Store, Captured]:
        client = AMAZON.client()
        captured = Captured(client, say)
        known = S3Settings(direct=False, **settings)
        return S3Store(client, "ours", service=AMAZON.endpoint_url, settings=known), captured

    return make


def copied(opened: tuple[S3Store, Captured], condition: Condition | None = None, **of: Any) -> Sent:
    """Let an object be copied; return the request."""
    store, captured = opened
    upload, origin = of.get("upload", PLAIN), of.get("origin", ORIGIN)
    assert (
        store.server_side.copy_object("k", origin, upload=upload, condition=condition).etag == "e2"
    )
    return captured.sent


def copied_part(opened: tuple[S3Store, Captured], start: int, stop: int) -> Sent:
    """Let a range be copied; return the request."""
    store, captured = opened
    span = ByteRange(start=start, stop=stop)
    assert store.server_side.copy_part("k", "u", 3, ORIGIN, span).etag == "e2"
    return captured.sent


@pytest.mark.parametrize(
    ("condition", "header"),
    [
        (None, {}),
        (Condition(absent=True), {"if-none-match": "*"}),
        (Condition(etag="old"), {"if-match": '"old"'}),
    ],
)
def test_c18_a_copy_carries_its_condition_on_the_target(
    open_: Open, condition: Condition | None, header: dict[str, str]
) -> None:
    """That nothing is there, or what the plan saw; and it is signed."""
    headers = copied(open_(), condition).headers
    assert {n: headers[n] for n in ("if-match", "if-none-match") if n in headers} == header
    signed = headers["authorization"].partition("SignedHeaders=")[2].split(",")[0].split(";")
    assert set(header) <= set(signed)


def test_c18_a_condition_is_that_of_one_copy_alone(open_: Open) -> None:
    """The next request has none of it."""
    opened = open_()
    copied(opened, Condition(etag="old"))
    assert not {"if-match", "if-none-match"} & set(copied(opened).headers)


def test_c10_a_copy_names_the_very_object(open_: Open) -> None:
    """By its ETag, and by its version where one was chosen: a part, too."""
    for sent in (copied(open_()), copied_part(open_(), 2, 5)):
        assert sent.headers["x-amz-copy-source"] == "theirs/a%20b%2B%C3%BC"
        assert sent.headers["x-amz-copy-source-if-match"] == '"e1"'
    chosen = SourceIdentity(etag="e1", size=10, version_id="v/1")
    sent = copied(open_(), origin=Origin(bucket="theirs", key="k", identity=chosen))
    assert sent.headers["x-amz-copy-source"] == "theirs/k?versionId=v/1"
    assert sent.headers["x-amz-copy-source-if-match"] == '"e1"'


@pytest.mark.parametrize(
    ("span", "header"), [((0, 10), None), ((0, 9), "bytes=0-8"), ((9, 10), "bytes=9-9")]
)
def test_c12_a_part_names_its_range_unless_it_is_all(
    open_: Open, span: tuple[int, int], header: str | None
) -> None:
    """The service takes no range of a small object, not even the whole of it."""
    sent = copied_part(open_(), *span)
    assert sent.headers.get("x-amz-copy-source-range") == header
    assert set(sent.query.split("&")) == {"partNumber=3", "uploadId=u"}


def test_c19_nothing_of_the_origin_but_its_bytes_is_taken_over(open_: Open) -> None:
    """What is asked for is said, in full, as with PutObject."""
    upload = NewUpload(
        attributes=ContentAttributes(
            content_type="text/x-test", expires="no date", metadata={"n": "1"}, tags={"t": "a b"}
        ),
        options=WriteOptions(storage_class="STANDARD_IA", encryption="AES256", acl="private"),
        algorithm=ChecksumAlgorithm.CRC32C,
    )
    asked = {
        "x-amz-metadata-directive": "REPLACE",
        "x-amz-tagging-directive": "REPLACE",
        "x-amz-tagging": "t=a%20b",
        "x-amz-meta-n": "1",
        "content-type": "text/x-test",
        "expires": "no date",
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-server-side-encryption": "AES256",
        "x-amz-acl": "private",
        "x-amz-checksum-algorithm": "CRC32C",
    }
    headers = copied(open_(), upload=upload).headers
    assert {name: headers.get(name) for name in asked} == asked
    untagged = copied(open_(capabilities=replace(AMAZON_S3, tags=False)))
    assert "x-amz-tagging-directive" not in untagged.headers
    assert untagged.headers["x-amz-metadata-directive"] == "REPLACE"


@pytest.mark.parametrize("body", [b"", b"<CopyObjectResult></CopyObjectResult>", b"<Other/>"])
@pytest.mark.parametrize("part", [False, True])
def test_c16_an_answer_that_names_no_copy_is_none(open_: Open, body: bytes, *, part: bool) -> None:
    """Whoever does not know the header has taken it for an empty object's PUT."""
    opened = open_(lambda _: (200, {"etag": '"d41d8"'}, body))
    with pytest.raises(UnsupportedError, match="names no copy"):
        copied_part(opened, 0, 5) if part else copied(opened)


def test_the_source_is_asked_for_without_what_is_meant_for_the_target(open_: Open) -> None:
    """It may be another account's; whoever pays says so at both."""
    opened = open_(expected_bucket_owner=ACCOUNT, request_payer=True)
    store, captured = opened
    assert store.server_side.look_at(ORIGIN).etag == "e1"
    assert captured.sent.path == "/theirs/a%20b%2B%C3%BC"
    assert captured.sent.headers["x-amz-checksum-mode"] == "ENABLED"
    assert "x-amz-expected-bucket-owner" not in captured.sent.headers
    assert captured.sent.headers["x-amz-request-payer"] == "requester"
    for sent in (copied(opened), copied_part(opened, 0, 5)):
        assert sent.path == "/ours/k"
        assert sent.headers["x-amz-expected-bucket-owner"] == ACCOUNT
        assert sent.headers["x-amz-request-payer"] == "requester"


def test_a_chosen_version_is_looked_at(open_: Open) -> None:
    """And not the newest one."""
    store, captured = open_()
    chosen = SourceIdentity(etag="e1", size=10, version_id="v1")
    store.server_side.look_at(Origin(bucket="theirs", key="k", identity=chosen))
    assert captured.sent.query == "versionId=v1"
