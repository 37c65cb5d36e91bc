"""Stores made from connections, against a server that checks every signature."""

from __future__ import annotations

import json
import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    BucketNotFoundError,
    StoreError,
)
from airflow_provider_s3resume.hooks import _renewing
from airflow_provider_s3resume.hooks._alibaba import count_buckets
from airflow_provider_s3resume.hooks.oss import OSSResumeHook
from airflow_provider_s3resume.plan.objects import ByteRange, Hindrance
from airflow_provider_s3resume.storage.base import ObjectStore
from tests.support.oss_server import OSSServer

DATA = bytes(range(256)) * 20
KEYS = ["a", "dir//ü", "dir/b"]
Connect = Callable[..., OSSResumeHook]


@pytest.fixture
def server() -> Iterator[OSSServer]:
    """Give a running server with one bucket of a few objects."""
    with OSSServer() as found:
        found.state.create_bucket("data")
        for key in KEYS:
            found.state.put("data", key, DATA)
        yield found


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, server: OSSServer) -> Connect:
    """Give a factory of hooks on a connection to the server, of the keys and fields given."""

    def make(
        conn_type: str = "s3resume_oss", *, schema: str | None = "data", **extra: Any
    ) -> OSSResumeHook:
        endpoint = server.endpoint
        keys = {
            "access_key_id": endpoint.access_key_id,
            "access_key_secret": endpoint.access_key_secret,
        }
        place = {"endpoint": endpoint.endpoint_url, "region": endpoint.region}
        connection = {"conn_type": conn_type, "schema": schema, "extra": {**keys, **place, **extra}}
        monkeypatch.setenv("AIRFLOW_CONN_SIDE", json.dumps(connection))
        return OSSResumeHook("side")

    return make


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """Run a server that gives the same answer to every request, and give its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def read(store: ObjectStore, key: str) -> bytes:
    """Return a few bytes of an object, read as a copy reads them."""
    info = store.head(key)
    assert info.size == len(DATA)
    buffer = bytearray(100)
    with store.open_range(key, ByteRange(start=50, stop=150), info.identity()) as reader:
        filled = 0
        while filled < 100:
            filled += reader.readinto(memoryview(buffer)[filled:])
    return bytes(buffer)


@pytest.mark.parametrize("conn_type", ["oss", "s3resume_oss"])
@pytest.mark.parametrize("signature_version", ["v4", "v1"])
def test_a_store_lists_heads_and_reads(
    connect: Connect, server: OSSServer, conn_type: str, signature_version: str
) -> None:
    """Through all layers, signed by either version."""
    store = connect(conn_type, signature_version=signature_version).get_store("data")
    store.check_access()
    assert [found.key for found in store.list_objects()] == KEYS
    assert read(store, "dir//ü") == DATA[50:150]
    signed = {request.access_key_id for request in server.requests}
    assert signed == {server.endpoint.access_key_id}


def test_symlinks_are_followed_or_reported(connect: Connect, server: OSSServer) -> None:
    """As the argument says, before the connection."""
    server.state.put_symlink("data", "link", "a")
    hook = connect(symlinks="report")
    for word, hindrance in ((None, Hindrance.SYMLINK), ("follow", None)):
        listed = {o.key: o for o in hook.get_store("data", symlinks=word).list_objects()}
        assert listed["link"].hindrance is hindrance
    assert listed["link"].size == len(DATA)


@pytest.mark.parametrize("signature_version", ["v4", "v1"])
def test_keys_with_a_token_are_taken(
    connect: Connect, server: OSSServer, signature_version: str
) -> None:
    """As an STS service gives them."""
    server.add_credentials("STS.key", "sts-secret", "the-token", time.time() + 900)
    temporary = {"access_key_id": "STS.key", "access_key_secret": "sts-secret"}
    hook = connect(**temporary, security_token="the-token", signature_version=signature_version)
    assert read(hook.get_store("data"), "a") == DATA[50:150]
    assert hook.test_connection() == (True, "The bucket 'data' answers.")


def test_an_expired_token_is_renewed_from_the_connection(
    connect: Connect,
    server: OSSServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The call that was refused is made again; no message or log has a token in it (c41, c42)."""
    # The token is renewed while the first one has only just been refused.
    monkeypatch.setattr(_renewing, "BETWEEN_S", 0.0)
    caplog.set_level(logging.DEBUG)
    server.add_credentials("STS.key", "sts-secret", "old-token", time.time() - 1)
    temporary = {"access_key_id": "STS.key", "access_key_secret": "sts-secret"}
    store = connect(**temporary, security_token="old-token").get_store("data")
    with pytest.raises(StoreError) as raised:
        store.check_access()
    assert "old-token" not in "".join(traceback.format_exception(raised.value))
    server.add_credentials("STS.new", "new-secret", "new-token", time.time() + 900)
    renewed = {"access_key_id": "STS.new", "access_key_secret": "new-secret"}
    connect(**renewed, security_token="new-token")
    assert [found.key for found in store.list_objects()] == KEYS
    assert server.requests[-1].access_key_id == "STS.new"
    for secret in ("old-token", "new-token", "sts-secret", "new-secret"):
        assert secret not in caplog.text


@pytest.mark.parametrize("schema", ["data", None])
@pytest.mark.parametrize("signature_version", ["v4", "v1"])
def test_c42_a_wrong_secret_is_told_without_it(
    connect: Connect, schema: str | None, signature_version: str
) -> None:
    """Neither the error nor the answer of the connection test repeats a secret."""
    secret = "not-the-secret-of-this-key"
    hook = connect(schema=schema, access_key_secret=secret, signature_version=signature_version)
    with pytest.raises(AccessDeniedError, match="SignatureDoesNotMatch") as raised:
        hook.get_store("data").check_access()
    works, message = hook.test_connection()
    assert not works
    assert "SignatureDoesNotMatch" in message
    for text in ("".join(traceback.format_exception(raised.value)), message):
        assert secret not in text
        assert "test-server-secret" not in text


def test_a_region_that_is_not_the_buckets_is_told(connect: Connect) -> None:
    """The service names it: a signature of version 4 holds for one region."""
    works, message = connect(region="cn-beijing").test_connection()
    assert not works
    assert "region" in message


def test_the_connection_test_asks_for_the_bucket_or_for_buckets(connect: Connect) -> None:
    """And names the bucket that is not there."""
    assert connect().test_connection() == (True, "The bucket 'data' answers.")
    shown = connect(schema=None).test_connection()
    assert shown == (True, "The service answers and shows 1 buckets.")
    works, message = connect(schema="elsewhere").test_connection()
    assert not works
    assert "NoSuchBucket" in message
    with pytest.raises(BucketNotFoundError):
        connect().get_store("elsewhere").check_access()


def test_a_service_that_does_not_answer_is_told(connect: Connect) -> None:
    """The connection test ends, and says where it asked."""
    works, message = connect(schema=None, endpoint="http://127.0.0.1:1").test_connection()
    assert not works
    assert "127.0.0.1:1" in message


@pytest.mark.parametrize(
    "body",
    [
        "<Result><Buckets><Bucket><Name>x</Name></Bucket></Buckets></Result>",
        "<Result><IsTruncated>maybe</IsTruncated></Result>",
        "<html>",
    ],
)
def test_an_answer_that_is_no_listing_of_buckets_is_told(connect: Connect, body: str) -> None:
    """Something else than OSS may answer at the endpoint; the connection test does not raise."""
    with answering(body.encode()) as endpoint:
        hook = connect(schema=None, endpoint=endpoint, is_path_style=True)
        with pytest.raises(StoreError, match="ListBuckets"):
            count_buckets(hook.facts)
        works, message = hook.test_connection()
    assert (works, "ListBuckets" in message) == (False, True)
