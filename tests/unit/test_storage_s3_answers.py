"""Answers of a service that do not say what they should."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CredentialsExpiredError,
    StoreError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.objects import SourceIdentity
from airflow_provider_s3resume.storage.base import NewUpload
from airflow_provider_s3resume.storage.s3 import S3Store

Scene = tuple[S3Store, Stubber]


@pytest.fixture
def scene() -> Iterator[Scene]:
    """Give a store, and the script of what its client answers."""
    client = boto3.client(
        "s3",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    with Stubber(client) as stubber:
        yield S3Store(client, "bucket", service="https://s3.amazonaws.com"), stubber
        stubber.assert_no_pending_responses()


HEADS: list[Callable[[S3Store], object]] = [
    lambda store: store.head("k"),
    lambda store: store.head_part("k", 1, SourceIdentity(etag="e", size=1)),
]


@pytest.mark.parametrize("call", HEADS)
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AccessDenied", AccessDeniedError),
        ("ExpiredToken", CredentialsExpiredError),
        ("SlowDown", TransientStoreError),
    ],
)
def test_c41_a_get_says_why_a_head_was_refused(
    scene: Scene, call: Callable[[S3Store], object], code: str, kind: type[StoreError]
) -> None:
    """HEAD has no body: whether another try helps is told by a GET of one byte."""
    store, stubber = scene
    stubber.add_client_error("head_object", "403", "Forbidden", 403)
    asked = {"Bucket": "bucket", "Key": "k", "Range": "bytes=0-0"}
    stubber.add_client_error("get_object", code, "why", 403, expected_params=asked)
    with pytest.raises(kind, match=f"HeadObject of s3://bucket/k: {code}"):
        call(store)


def test_c41_a_head_that_alone_was_refused_is_tried_again(scene: Scene) -> None:
    """Whoever may GET an object may HEAD it."""
    store, stubber = scene
    stubber.add_client_error("head_object", "403", "Forbidden", 403)
    body = StreamingBody(io.BytesIO(b"x"), 1)
    stubber.add_response("get_object", {"Body": body})
    with pytest.raises(TransientStoreError, match="a GET of the same object is answered") as caught:
        store.head("k")
    assert type(caught.value) is TransientStoreError


def test_an_empty_object_that_may_be_read_counts_as_answered(scene: Scene) -> None:
    """Its first byte is no range of it."""
    store, stubber = scene
    stubber.add_client_error("head_object", "400", "Bad Request", 400)
    stubber.add_client_error("get_object", "InvalidRange", "none", 416)
    with pytest.raises(TransientStoreError, match="a GET of the same object is answered"):
        store.head("k")


def test_c19_an_answer_without_tags_is_none_that_says_that_there_are_none(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a proxy's empty answer would lose the tags in silence."""
    store, stubber = scene
    stubber.add_response("get_object_tagging", {"TagSet": []})
    assert store.get_tags("k") == {}
    # botocore parses such an answer, and its stubs refuse to give it.
    monkeypatch.setattr(store._calls, "make", lambda *_, **__: {})
    with pytest.raises(TransientStoreError, match="has no set of tags"):
        store.get_tags("k")


def test_an_upload_without_an_id_is_an_error(scene: Scene) -> None:
    """It is one of the provider's own, and no KeyError."""
    store, stubber = scene
    stubber.add_response("create_multipart_upload", {})
    with pytest.raises(TransientStoreError, match="names no upload"):
        store.create_upload("k", NewUpload())


def test_an_answer_that_lists_nothing_is_no_access(scene: Scene) -> None:
    """The login page of a gateway is no bucket."""
    store, stubber = scene
    stubber.add_response("list_objects_v2", {})
    with pytest.raises(TransientStoreError, match="lists nothing, nor an end"):
        store.check_access()
