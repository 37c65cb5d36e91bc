"""Connections are given up when they stall, and not while they move (ADR 0016)."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.config import Config
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ProtocolError

from airflow_provider_s3resume.exceptions import (
    InvalidInputError,
    ThrottledError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.objects import SourceIdentity
from airflow_provider_s3resume.plan.resume import PartRecord
from airflow_provider_s3resume.storage import _pace
from airflow_provider_s3resume.storage._extra import patience
from airflow_provider_s3resume.storage._pace import (
    Awaited,
    Pace,
    PacedSocket,
    Patience,
    StalledError,
    awaiting,
)
from airflow_provider_s3resume.storage._paced_connections import paced
from airflow_provider_s3resume.storage._s3_calls import pace_connections
from airflow_provider_s3resume.storage.base import NewUpload
from airflow_provider_s3resume.storage.s3 import S3Store, client_config, store_settings_from_extra
from tests.support.tls import Certificate, make_certificate
from tests.support.wire_scripted import TICK_S, Handler, Scripted, read_head, trickle

QUICK = {
    "addressing_style": "path",
    "low_speed_bytes_per_s": 10_000,
    "low_speed_time_s": 0.4,
    "answer_deadline_s": 30,
    "complete_deadline_s": 30,
    "read_timeout_s": 3,
}
DUE: Any = {"answer_deadline_s": 0.6}
"""Where the answer's deadline is judged: later than its pace would be."""


def store_of(
    server: Scripted,
    *,
    certificate: Certificate | None = None,
    proxy: Scripted | None = None,
    **extra: object,
) -> S3Store:
    """Return a store of a bucket of a server's, which speaks TLS if there is a certificate."""
    settings = store_settings_from_extra({**QUICK, **extra})
    options: dict[str, Any] = client_config(settings)
    if proxy is not None:
        options["proxies"] = {"https": proxy.url}
    client = boto3.client(
        "s3",
        endpoint_url=server.url if certificate is None else f"https{server.url[4:]}",
        verify=None if certificate is None else str(certificate.ca_file),
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        region_name="us-east-1",
        config=Config(**options),
    )
    return S3Store(client, "bucket", service="http://scripted", settings=settings)


@pytest.fixture
def scripted() -> Iterator[Callable[[Handler], Scripted]]:
    """Give a factory of servers."""
    made: list[Scripted] = []

    def make(handler: Handler) -> Scripted:
        made.append(Scripted(handler))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Give what servers of this module show."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


def over_tls(certificate: Certificate, handler: Handler) -> Handler:
    """Return what does the same over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)

    def serve(connection: socket.socket, over: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            handler(secure, over)

    return serve


def put_without_asking(
    server: Scripted,
    size: int,
    limits: Patience,
    certificate: Certificate | None = None,
    *,
    buffer: int = 0,
) -> int:
    """Send a body without "Expect", which would read what is there first; return the status."""
    scheme = "http" if certificate is None else "https"
    plain = {"http": HTTPConnectionPool, "https": HTTPSConnectionPool}
    host, port = server.url.removeprefix("http://").split(":")
    trusted: dict[str, Any] = {} if certificate is None else {"ca_certs": str(certificate.ca_file)}
    # A slice of TLS does not fit into the buffer at once.
    options = [(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)] if buffer else None
    pool = paced(plain, limits, 10)[scheme](
        host, int(port), timeout=10, socket_options=options, **trusted
    )
    with pool, awaiting(Awaited.SMALL):
        return pool.urlopen("PUT", "/k", body=bytes(size), retries=False).status


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HEAD = (
    b'HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: "e"\r\n'
    b"Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n"
)
IDENTITY = SourceIdentity(etag="e", size=5000)


def test_a_body_that_trickles_is_given_up_and_no_byte_of_it_is_lost(
    scripted: Callable[[Handler], Scripted],
) -> None:
    """What came is given out; only then the error says that the connection was given up."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_head(connection)
        connection.sendall(HEAD % 5000 + b"x" * 700)
        trickle(connection, over, b"y" * 4300)

    store = store_of(scripted(serve), low_speed_time_s=1.0)
    buffer = memoryview(bytearray(5000))
    with store.open_range("k", None, IDENTITY) as reader:
        got = reader.readinto(buffer)
        assert got > 700
        assert bytes(buffer[:got]) == b"x" * 700 + b"y" * (got - 700)
        with pytest.raises(TransientStoreError, match=r"given up as stalled.*low_speed"):
            reader.readinto(buffer)


def test_time_that_the_reader_spends_elsewhere_is_not_the_connections(
    scripted: Callable[[Handler], Scripted],
) -> None:
    """A body is as fast as it is asked for; only waiting for it counts."""
    taken = threading.Event()

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_head(connection)
        connection.sendall(HEAD % 5000 + b"x" * 5000)
        taken.wait(10)
        over.wait(0)

    store = store_of(scripted(serve))
    with store.open_range("k", None, IDENTITY) as reader:
        for _ in range(10):
            threading.Event().wait(TICK_S * 2)  # The consumer is slow: that is the case.
            assert reader.readinto(memoryview(bytearray(500))) == 500
    taken.set()


@pytest.mark.parametrize("in_head", [True, False])
def test_a_small_answer_that_trickles_ends_at_its_deadline(
    scripted: Callable[[Handler], Scripted], *, in_head: bool
) -> None:
    """Neither a listing nor its head may take for ever, though each byte ends a wait."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_head(connection)
        head = HEAD % 100_000
        if not in_head:
            connection.sendall(head)
        trickle(connection, over, head if in_head else b" " * 100_000)

    store = store_of(scripted(serve), **DUE)
    with pytest.raises(TransientStoreError, match=r"a small answer was not there .* after 0.6 s"):
        store.check_access()


def test_an_objects_head_that_trickles_ends_at_the_deadline(
    scripted: Callable[[Handler], Scripted],
) -> None:
    """The pace is judged from the body on: before, the deadline counts."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_head(connection)
        trickle(connection, over, HEAD % 5000)

    store = store_of(scripted(serve), **DUE)
    with pytest.raises(TransientStoreError, match="an object's bytes was not there"):
        store.open_range("k", None, IDENTITY)


def test_complete_has_a_deadline_of_its_own(scripted: Callable[[Handler], Scripted]) -> None:
    """Amazon S3 sends white space while it puts the parts together."""
    answer = b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_head(connection)
        connection.sendall(HEAD % (len(answer) + 16))
        trickle(connection, over, b" " * 16)
        connection.sendall(answer)

    # The white space alone takes longer than another answer may.
    store = store_of(scripted(serve), **DUE)
    part = PartRecord(part_number=1, size=1, etag="e", checksum=None)
    assert store.complete_upload("k", "id", [part], size=1, checksum=None).etag == "e"
    hasty = store_of(scripted(serve), complete_deadline_s=0.3)
    with pytest.raises(TransientStoreError, match="CompleteMultipartUpload was not there"):
        hasty.complete_upload("k", "id", [part], size=1, checksum=None)


def test_a_body_may_take_longer_to_be_sent_than_to_connect(
    scripted: Callable[[Handler], Scripted],
) -> None:
    """Neither a pause nor a slow link breaks what is sent, as long as the rule is kept."""
    paused = threading.Event()

    def serve(connection: socket.socket, over: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        got = len(read_head(connection).partition(b"\r\n\r\n")[2])
        paused.set()
        over.wait(0.5)  # Longer than the connect timeout: that is the case.
        while got < 16 << 20:
            got += len(connection.recv(1 << 20))
        connection.sendall(HEAD % 0)

    store = store_of(scripted(serve), connect_timeout_s=0.1, low_speed_time_s=5)
    written = store.put_object("k", bytes(16 << 20), upload=NewUpload(), checksum=None)
    assert written.etag == "e"
    assert paused.is_set()


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("trickles", [True, False])
def test_a_body_that_nobody_takes_is_given_up(
    scripted: Callable[[Handler], Scripted],
    certificate: Certificate,
    *,
    trickles: bool,
    secure: bool,
) -> None:
    """No byte for the read timeout, or too few of them: the request is given up."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        read_head(connection)
        connection.sendall(CONTINUE)
        while not over.wait(TICK_S):
            if trickles:
                connection.recv(100)

    extra: dict[str, Any] = {"read_timeout_s": 0.3, "low_speed_time_s": 60} if not trickles else {}
    if secure:
        server = scripted(over_tls(certificate, serve))
        store = store_of(server, certificate=certificate, **extra)
    else:
        store = store_of(scripted(serve), **extra)
    reason = "given up as stalled" if trickles else "no byte was taken"
    with pytest.raises(TransientStoreError, match=reason):
        store.put_object("k", bytes(16 << 20), upload=NewUpload(), checksum=None)


def test_an_answer_before_the_body_is_taken_is_heard(
    scripted: Callable[[Handler], Scripted],
) -> None:
    """A server that refuses at once, and reads no further, is not waited for."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_head(connection)
        body = b"<Error><Code>SlowDown</Code><Message>slow</Message></Error>"
        head = b"HTTP/1.1 503 Slow\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % len(body) + body)
        over.wait(5)

    store = store_of(scripted(serve))
    with pytest.raises(TransientStoreError, match="SlowDown"):
        store.put_object("k", bytes(1000), upload=NewUpload(), checksum=None)


@pytest.mark.parametrize("secure", [True, False])
def test_a_refusal_in_the_middle_of_a_body_is_heard_and_its_connection_ends(
    scripted: Callable[[Handler], Scripted], certificate: Certificate, *, secure: bool
) -> None:
    """A server that reads no further, and keeps the connection, has said what is wrong."""
    connections: list[socket.socket] = []

    def serve(connection: socket.socket, over: threading.Event) -> None:
        connections.append(connection)
        read_head(connection)
        connection.sendall(CONTINUE)
        body = b"<Error><Code>SlowDown</Code><Message>slow</Message></Error>"
        connection.recv(1)  # The body has begun: it was not refused by its head alone.
        connection.sendall(b"HTTP/1.1 503 Slow\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        over.wait(10)

    if secure:
        server = scripted(over_tls(certificate, serve))
        store = store_of(server, certificate=certificate)
    else:
        store = store_of(scripted(serve))
    for asked in (1, 2):
        with pytest.raises(ThrottledError, match="SlowDown"):
            store.put_object("k", bytes(16 << 20), upload=NewUpload(), checksum=None)
        # The next request would be taken for the rest of this body.
        assert len(connections) == asked


def test_a_refusal_in_the_middle_of_a_tls_slice_is_heard(
    scripted: Callable[[Handler], Scripted], certificate: Certificate
) -> None:
    """A call that waits until a whole slice is taken would hear nothing."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        read_head(connection)
        connection.sendall(b"HTTP/1.1 503 Slow\r\nContent-Length: 0\r\n\r\n")
        over.wait(30)

    server = scripted(over_tls(certificate, serve))
    assert put_without_asking(server, 16 << 20, Patience(), certificate, buffer=8192) == 503


def test_an_end_in_the_middle_of_a_body_is_heard(scripted: Callable[[Handler], Scripted]) -> None:
    """Nothing is answered any more: there is nothing to wait for."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_head(connection)
        connection.shutdown(socket.SHUT_WR)
        over.wait(30)

    with pytest.raises(ProtocolError, match="closed connection without response"):
        put_without_asking(scripted(serve), 16 << 20, Patience())


def test_what_was_taken_of_a_slice_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel has taken some of it before the call says that all was taken."""
    moved: list[int] = []
    # At first, then when 60 of 130 bytes were taken, 20 acknowledged, all taken, 30 more gone.
    queued = iter([0, 60, 40, 110, 80])
    monkeypatch.setattr(_pace, "_queued", lambda _: next(queued))
    monkeypatch.setattr(Pace, "judge", lambda _self, _waited, count: moved.append(count))
    paced_socket = SimpleNamespace(pace=Pace(Patience(), 60, Awaited.BODY))
    moving = _pace._Moving(paced_socket, None)  # type: ignore[arg-type]
    for count in (0, 0, 130, 0):
        moving.accepted(count)
    assert moved == [0, 20, 0, 30]


@pytest.mark.parametrize("size", [16 << 20, 1 << 20])
def test_a_late_100_continue_is_no_answer(
    scripted: Callable[[Handler], Scripted], size: int
) -> None:
    """It asks for the body: neither is less sent, nor does the answer's deadline begin."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        got = len(read_head(connection).partition(b"\r\n\r\n")[2])
        connection.sendall(CONTINUE)
        over.wait(3)  # Longer than a step, and than the deadline: that is the case.
        while got < size:
            got += len(connection.recv(1 << 20))
        connection.sendall(HEAD % 0)

    limits = Patience(answer_deadline_s=2)
    assert put_without_asking(scripted(serve), size, limits) == 200


def test_tickets_of_a_tls_session_are_no_answer(
    scripted: Callable[[Handler], Scripted], certificate: Certificate
) -> None:
    """The deadline begins when the body was taken, though something can be read before."""
    size = 1 << 20

    def serve(connection: socket.socket, over: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        got = len(read_head(connection).partition(b"\r\n\r\n")[2])
        over.wait(3)  # Longer than the answer's deadline: that is the case.
        while got < size:
            got += len(connection.recv(1 << 20))
        connection.sendall(HEAD % 0)

    server = scripted(over_tls(certificate, serve))
    limits = Patience(answer_deadline_s=2)
    assert put_without_asking(server, size, limits, certificate) == 200


def test_a_proxy_that_trickles_its_answer_to_connect_is_given_up(
    scripted: Callable[[Handler], Scripted], certificate: Certificate
) -> None:
    """A tunnel is part of connecting: each byte would begin that time anew."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_head(connection)
        trickle(connection, over, b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1000)

    proxy = scripted(serve)
    store = store_of(proxy, certificate=certificate, proxy=proxy, connect_timeout_s=0.5)
    with pytest.raises(TransientStoreError, match=r"answer to CONNECT was not there .* 0.5 s"):
        store.check_access()


def test_a_tunnel_is_used_and_what_comes_through_it_is_judged(
    scripted: Callable[[Handler], Scripted], certificate: Certificate
) -> None:
    """TLS is put around the plain socket, and the pace around that."""
    asked = []

    def serve(connection: socket.socket, over: threading.Event) -> None:
        head = read_head(connection)
        asked.append(head.split()[0])
        connection.sendall(HEAD % 5000 + b"x" * 700)
        trickle(connection, over, b"y" * 4300)

    def tunnel(connection: socket.socket, over: threading.Event) -> None:
        asked.append(read_head(connection).split()[0])
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        over_tls(certificate, serve)(connection, over)

    proxy = scripted(tunnel)
    store = store_of(proxy, certificate=certificate, proxy=proxy)
    with store.open_range("k", None, IDENTITY) as reader:
        assert reader.readinto(memoryview(bytearray(5000))) >= 700
        with pytest.raises(TransientStoreError, match="given up as stalled"):
            reader.readinto(memoryview(bytearray(5000)))
    assert asked == [b"CONNECT", b"GET"]


def test_the_pace_is_judged_over_the_time_waited() -> None:
    """At the limit is enough; below it is not; each span is judged anew."""
    rule = Patience(low_speed_bytes_per_s=100, low_speed_time_s=10)
    pace = Pace(rule, 60, Awaited.BODY)
    for _ in range(5):
        pace.judge(10, 1000)
    pace.judge(9.9, 0)
    with pytest.raises(StalledError, match=r"999 bytes in 10 s, at least 100 a second"):
        pace.judge(0.1, 999)


def test_a_shut_down_leaves_the_tls_layer_in_place() -> None:
    """A thread that reads would else take what is encrypted for the body."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        paced = PacedSocket(ours, Pace(Patience(), 1, Awaited.BODY))
        paced.settimeout(5)
        file = paced.makefile("rb")
        paced.shutdown(socket.SHUT_RD)
        assert file.read(1) == b""
        file.close()


def test_a_botocore_that_keeps_its_connections_elsewhere_is_used_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """There is a warning, and no failure; with the botocore installed there is none."""
    client = boto3.client("s3", region_name="us-east-1")
    assert pace_connections(client, Patience())
    with caplog.at_level(logging.WARNING):
        del client._endpoint.http_session._manager  # type: ignore[attr-defined]
        assert not pace_connections(client, Patience())
    assert "keeps its connections elsewhere" in caplog.text


@pytest.mark.parametrize(
    "name",
    ["low_speed_bytes_per_s", "low_speed_time_s", "answer_deadline_s", "complete_deadline_s"],
)
def test_the_fields_of_a_connection_are_checked(name: str) -> None:
    """A number that cannot be one is refused by name."""
    with pytest.raises(InvalidInputError, match=f"extra.{name}"):
        patience({name: 0})
    assert getattr(patience({name: 7}), name) == 7
