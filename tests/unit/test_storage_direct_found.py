"""What was found wrong with the direct way once, and must not come back."""

from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import boto3
import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    StoreError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.objects import ContentAttributes, SourceIdentity
from airflow_provider_s3resume.storage._connection import Connection
from airflow_provider_s3resume.storage._direct_body import TrailedBody
from airflow_provider_s3resume.storage._pace import Awaited, Patience
from airflow_provider_s3resume.storage._paced_bodies import PacedBody
from airflow_provider_s3resume.storage._s3_shapes import Shapes
from airflow_provider_s3resume.storage.base import NewUpload
from airflow_provider_s3resume.storage.s3 import S3Settings, S3Store
from airflow_provider_s3resume.transfer.reading import StreamBody
from tests.support.tls import Certificate, make_certificate
from tests.support.wire_direct import (
    CONTINUE,
    Asked,
    Servers,
    answer,
    everything_in,
    read_head,
    read_request,
    signature_of,
    store_of,
)

GET = memoryview(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
OBJECT = answer(200, b"data", etag='"e"', last_modified="Thu, 01 Jan 2026 00:00:00 GMT")
IDENTITY = SourceIdentity(etag="e", size=4)
DIRECT = pytest.mark.parametrize("direct", [True, False], ids=["direct", "botocore"])


@pytest.fixture(scope="module")
def certificate_of_servers(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Give what servers show that speak TLS."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def servers(certificate_of_servers: Certificate) -> Iterator[Servers]:
    """Give what makes servers; all end with the test."""
    made = Servers(certificate_of_servers)
    yield made
    made.close()


def ask(connection: Connection, awaited: Awaited = Awaited.SMALL) -> None:
    """Send a request without a body, and read the head of its answer."""
    connection.begin(awaited)
    connection.send(GET)
    connection.end()
    connection.answer("GET")


def get(store: S3Store) -> None:
    """Read an object."""
    store.open_range("k", None, IDENTITY).close()


@DIRECT
def test_c42_a_token_with_a_lone_surrogate_is_not_told(servers: Servers, *, direct: bool) -> None:
    """Environments that are no UTF-8 have them; the error's ``object`` is the token."""
    store = store_of(servers.recorder(OBJECT), direct=direct, aws_session_token="w0rd\udce9")
    with pytest.raises(StoreError) as caught:
        get(store)
    assert "w0rd" not in everything_in(caught.value)


def _moved_once(asked: Asked) -> bytes:
    if "amz-sdk-invocation-id" not in asked.headers:
        return answer(307, b"<Error><Code>TemporaryRedirect</Code></Error>")
    return answer(200, etag='"e"')


def test_a_stream_that_was_read_is_not_sent_again_without_its_bytes(servers: Servers) -> None:
    """StreamBody with ``pieces`` does not know that it was read: UnseekableStreamError is meant."""
    server = servers.recorder(_moved_once)
    settings = S3Settings(addressing_style="path", read_timeout_s=2.0)
    body = StreamBody(iter([memoryview(b"x" * 1000)]))
    with pytest.raises(TransientStoreError, match=r"read again|read once"):
        store_of(server, settings=settings).upload_part_stream("k", "u", 1, body, 1000, None)


def test_an_object_that_was_read_is_not_sent_again_without_its_bytes(servers: Servers) -> None:
    """The bucket is elsewhere: what was read of it is gone, and whoever has it reads it again."""
    server = servers.recorder(_moved_once)
    settings = S3Settings(addressing_style="path", read_timeout_s=2.0)
    body = StreamBody(iter([memoryview(b"x" * 1000)]))
    store = store_of(server, settings=settings)
    with pytest.raises(TransientStoreError, match=r"read again|read once"):
        store.put_object_stream("k", body, 1000, upload=NewUpload(), content_md5="AAAA")
    assert body.begun


def test_c16_an_early_refusal_of_a_streamed_object_is_heard(servers: Servers) -> None:
    """Before its body was taken: the reason is the service's, and the connection is not kept."""

    def refuse(connection: socket.socket, over: threading.Event) -> None:
        read_head(connection)
        connection.sendall(answer(403, b"<Error><Code>AccessDenied</Code></Error>"))
        over.wait(10)

    server = servers.scripted(refuse)
    settings = S3Settings(addressing_style="path", read_timeout_s=5.0)
    store = store_of(server, settings=settings)
    piece, taken = memoryview(bytes(1 << 20)), [0]

    def pieces() -> Iterator[memoryview]:
        for _ in range(64):
            taken[0] += 1
            yield piece

    body = StreamBody(pieces())
    with pytest.raises(AccessDeniedError):
        store.put_object_stream("k", body, 64 << 20, upload=NewUpload(), content_md5="AAAA")
    assert taken[0] < 64


def test_a_paced_body_is_sent_again_from_its_start(servers: Servers) -> None:
    """It can be sought, and nobody does: Content-Length says 1000, and no byte follows."""
    server = servers.recorder(_moved_once)
    settings = S3Settings(addressing_style="path", read_timeout_s=2.0)
    body: Any = PacedBody(b"x" * 1000, lambda _: None, 100)
    assert store_of(server, settings=settings).upload_part("k", "u", 1, body, None) == "e"


@pytest.mark.parametrize("end", ["reset", "rubbish"])
def test_a_kept_connection_that_broke_is_not_used(servers: Servers, end: str) -> None:
    """Another one is made, as over plain HTTP."""
    idle, done = threading.Event(), threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(servers.certificate.cert_file, servers.certificate.key_file)

    def serve(connection: socket.socket, over: threading.Event) -> None:
        with (
            socket.socket(fileno=os.dup(connection.fileno())) as beneath,
            context.wrap_socket(connection, server_side=True) as secure,
        ):
            if read_request(secure) is None:
                return
            secure.sendall(answer(200))
            idle.wait(10)
            if end == "reset":
                beneath.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                socket.socket.close(secure)
                beneath.close()
            else:
                beneath.sendall(b"rubbish " * 10)
            done.set()
            over.wait(10)

    server = servers.beneath_tls(serve)
    pool = servers.connections(server)
    first = pool.take()
    ask(first)
    line = pool.line()
    pool.give_back(first)
    idle.set()
    assert done.wait(10)
    threading.Event().wait(0.1)
    try:
        with closing(pool.take()) as second:
            assert second is not first
        assert line.is_alive() in {True, False}
    finally:
        first.close()
        line.close()


def test_a_consumer_that_pauses_is_not_the_sources_fault(servers: Servers) -> None:
    """The next byte has the read timeout from when it is waited for."""
    asked = threading.Event()

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(answer(200, b"x" * 200)[:-100])
        asked.wait(10)
        over.wait(1.0)  # Longer than a step, less than the read timeout: that is the case.
        connection.sendall(b"x" * 100)
        over.wait(10)

    pool = servers.connections(servers.scripted(serve), read_timeout_s=3.0)
    with closing(pool.take()) as connection:
        ask(connection, Awaited.BODY)
        view = memoryview(bytearray(100))
        for turn in range(2):
            at = 0
            while at < 100:
                at += connection.readinto(view[at:])
            if not turn:
                threading.Event().wait(3.5)  # The consumer is slow: that is the case.
                asked.set()


def test_a_late_100_continue_does_not_begin_the_deadline(servers: Servers) -> None:
    """As ``test_a_late_100_continue_is_no_answer`` says for botocore's connections."""
    size = 1 << 20

    def serve(connection: socket.socket, over: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        got = len(read_head(connection).partition(b"\r\n\r\n")[2])
        connection.sendall(CONTINUE)
        over.wait(3)  # Longer than the deadline: that is the case.
        while got < size and (data := connection.recv(1 << 20)):
            got += len(data)
        connection.sendall(answer(200))
        over.wait(10)

    limits = Patience(answer_deadline_s=2)
    pool = servers.connections(servers.scripted(serve), patience=limits)
    with closing(pool.take()) as connection:
        connection.begin(Awaited.SMALL)
        connection.send(GET, memoryview(bytes(size)))
        connection.end()
        assert connection.answer("PUT").status == 200


@DIRECT
def test_c16_a_200_with_an_error_in_its_body_is_an_error(servers: Servers, *, direct: bool) -> None:
    """Though S3 documents it for Complete and copies alone, others do it everywhere."""
    said = answer(200, b"<Error><Code>SlowDown</Code></Error>", etag='"e"')
    store = store_of(servers.recorder(said), direct=direct)
    for call in (
        lambda: store.put_object("k", b"x", upload=NewUpload(), checksum=None),
        lambda: store.upload_part("k", "u", 1, b"x", None),
    ):
        with pytest.raises(TransientStoreError):
            call()


def test_a_checksum_that_was_not_taken_is_computed() -> None:
    """``transfer.reading.StreamBody.digest`` returns None for another algorithm."""
    stream = StreamBody(iter([memoryview(b"abc")]))
    made = b"".join(bytes(piece) for piece in TrailedBody(stream, 3, "CRC32").pieces())
    assert made == b"".join(bytes(p) for p in TrailedBody(b"abc", 3, "CRC32").pieces())


@pytest.mark.parametrize(
    "text",
    [
        "Thu, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Thu, 01 Jan 2026 00:00:00 +99999999999999999999",
    ],
)
def test_no_time_breaks_an_answer(text: str) -> None:
    """``parsedate_to_datetime`` raises OverflowError, too."""
    assert _read({"last-modified": text})["LastModified"] is None


@pytest.mark.parametrize("text", ["2026-01-01T00:00:00.000Z", "1767225600"])
def test_times_are_read_in_the_forms_that_botocore_reads(text: str) -> None:
    """Services that send them so are read right by HEAD, and as of 1970 by GET."""
    found = _read({"last-modified": text})["LastModified"]
    assert isinstance(found, datetime)
    assert found.timestamp() == 1767225600


def _read(headers: dict[str, str]) -> dict[str, Any]:
    client = boto3.client("s3", region_name="us-east-1")
    return Shapes(client.meta.service_model.operation_model("GetObject")).answer(headers)


@DIRECT
def test_metadata_names_in_capitals_are_signed_in_lower_case(
    servers: Servers, *, direct: bool
) -> None:
    """No reader of ours gives such names today; NewUpload takes them."""
    server = servers.recorder(answer(200, etag='"e"'))
    attributes = ContentAttributes(metadata={"Foo": "x"})
    store = store_of(server, direct=direct)
    store.put_object("k", b"", upload=NewUpload(attributes=attributes), checksum=None)
    said = server.asked.headers["authorization"]
    assert "x-amz-meta-foo" in said
    assert said == signature_of(server.asked, server.url, "secret")


@DIRECT
def test_authorities_that_are_not_there_are_told(servers: Servers, *, direct: bool) -> None:
    """Botocore says "No such file or directory"."""
    server = servers.recorder(OBJECT, secure=True)
    store = store_of(server, direct=direct, ca_file="/nowhere/ca.pem")
    with pytest.raises(StoreError, match="No such file"):
        get(store)


def test_an_answer_after_the_last_byte_is_not_early(servers: Servers) -> None:
    """A body that took longer than a step, whose answer comes at once."""
    said = threading.Event()

    def serve(connection: socket.socket, over: threading.Event) -> None:
        got = len(read_head(connection).partition(b"\r\n\r\n")[2])
        while got < 100:
            got += len(connection.recv(100))
        connection.sendall(answer(200))
        said.set()
        over.wait(10)

    pool = servers.connections(servers.scripted(serve), patience=Patience(low_speed_time_s=2.0))
    with closing(pool.take()) as connection:
        connection.begin(Awaited.SMALL)
        transport = connection._transport
        send = transport.send

        def slow(*pieces: memoryview) -> int:
            """Come back late, as a thread of a busy process does."""
            taken = send(*pieces)
            said.wait(10)
            connection._looked_at -= 0.6
            return taken

        connection._transport = SimpleNamespace(  # type: ignore[assignment]
            send=slow,
            receive=transport.receive,
            glance=transport.glance,
            flush=transport.flush,
            fileno=transport.fileno,
            close=transport.close,
        )
        connection.send(GET, memoryview(bytes(100)))
        connection.end()
        assert connection.answer("PUT").status == 200
        assert connection.is_reusable
