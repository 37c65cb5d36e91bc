"""What a harsh reading of the connections found once, and must not come back."""

from __future__ import annotations

import random
import socket
import threading
from types import SimpleNamespace
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import CredentialRetrievalError

from airflow_provider_s3resume.exceptions import TransientStoreError
from airflow_provider_s3resume.plan.objects import SourceIdentity
from airflow_provider_s3resume.storage import _connection
from airflow_provider_s3resume.storage._pace import Awaited, Patience
from airflow_provider_s3resume.storage.base import NewUpload
from airflow_provider_s3resume.storage.express import express_of
from airflow_provider_s3resume.storage.s3 import (
    S3Settings,
    S3Store,
    client_config,
    store_settings_from_extra,
)
from tests.support.wire_direct import Servers, answer, read_head, read_request, store_of
from tests.support.wire_scripted import Handler

GET = memoryview(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
PUT = memoryview(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\n")
BOTH = pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
RECORD = 3_000


def saying_in_records(head: bytes, body: bytes, tail: bytes) -> Handler:
    """Return what answers once, in pieces that are a record each, and keeps the connection."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(head)
        for at in range(0, len(body), RECORD):
            connection.sendall(body[at : at + RECORD])
        connection.sendall(tail)
        over.wait(30)

    return serve


@BOTH
@pytest.mark.parametrize("size", [RECORD, 6 * RECORD, 40 * RECORD])
def test_a_chunk_of_many_records_arrives_as_it_was_sent(
    servers: Servers, size: int, *, secure: bool
) -> None:
    """What is decrypted does not lie where the next encrypted bytes are read to."""
    body = random.Random(size).randbytes(size)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % size
    serve = saying_in_records(head, body, b"\r\n0\r\n\r\n")
    connection = servers.connections(servers.scripted(serve, secure=secure)).take()
    connection.begin(Awaited.SMALL)
    connection.send(GET)
    connection.end()
    connection.answer("GET")
    assert connection.read_rest(1 << 20) == body
    assert connection.is_reusable
    connection.close()


def test_time_in_which_nothing_was_to_be_sent_is_not_the_peers(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that is slow does not make the connection to the target a stalled one."""

    def serve(connection: socket.socket, _: threading.Event) -> None:
        read_request(connection)
        connection.sendall(answer(200))

    patience = Patience(low_speed_bytes_per_s=1000, low_speed_time_s=2.0)
    connection = servers.connections(servers.scripted(serve), patience=patience).take()
    now = [0.0]
    monkeypatch.setattr(_connection, "time", SimpleNamespace(monotonic=lambda: now[0]))
    connection.begin(Awaited.SMALL)
    connection.send(PUT, memoryview(bytes(10)))
    now[0] += 1000.0
    connection.send(memoryview(bytes(10)))
    connection.end()
    assert connection.answer("PUT").status == 200
    connection.close()


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_c18_a_success_that_comes_before_all_was_sent_is_none(
    servers: Servers, *, secure: bool
) -> None:
    """Nobody can have kept what was not there yet."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        read_head(connection)
        connection.sendall(answer(200, etag='"e"'))
        over.wait(30)

    server = servers.scripted(serve, secure=secure)
    patience = Patience(low_speed_time_s=1.0)
    store = store_of(server, settings=S3Settings(addressing_style="path", patience=patience))
    with pytest.raises(TransientStoreError, match="before all was sent"):
        store.put_object("k", bytes(16 << 20), upload=NewUpload(), checksum=None)


class _NoCredentials:
    """Credentials that nobody gives at the moment."""

    method = "test"

    def get_frozen_credentials(self) -> Any:
        raise CredentialRetrievalError(provider="test", error_msg="the machine does not answer")

    def get_deferred_property(self, name: str) -> Any:
        return lambda: name


def test_c41_credentials_that_cannot_be_had_are_a_fault_like_any_other() -> None:
    """They are asked for before a first call is made, and may be there a moment later."""
    session: Any = botocore.session.get_session()
    session._credentials = _NoCredentials()
    settings = store_settings_from_extra({"addressing_style": "path"})
    options: dict[str, Any] = client_config(settings)
    client = boto3.session.Session(botocore_session=session).client(
        "s3", endpoint_url="http://127.0.0.1:1", region_name="r", config=Config(**options)
    )
    store = S3Store(client, "bucket", service="http://127.0.0.1:1", settings=settings)
    with pytest.raises(TransientStoreError, match="does not answer"):
        store.open_range("k", None, SourceIdentity(etag="e", size=3))
    express = express_of(store)
    assert express is not None
    assert not express.is_open()
