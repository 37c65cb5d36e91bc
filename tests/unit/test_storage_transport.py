"""TLS between memory and memory: who is there is verified, and nothing waits for ever."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from airflow_provider_s3resume.exceptions import StoreError, TransientStoreError
from airflow_provider_s3resume.plan.objects import SourceIdentity
from airflow_provider_s3resume.storage._connection import Connection
from airflow_provider_s3resume.storage._pace import Awaited, Patience, StalledError
from airflow_provider_s3resume.storage._tls_buffers import (
    LARGE,
    MOST_LARGE,
    SMALL,
    give_back,
    take,
    take_large,
)
from airflow_provider_s3resume.storage._transport import TlsTransport, scratch_of
from airflow_provider_s3resume.storage.s3 import S3Settings
from tests.support.ports import LOOPBACK
from tests.support.tls import make_certificate
from tests.support.wire_direct import (
    Servers,
    answer,
    read_head,
    read_request,
    store_of,
    trusting,
)
from tests.support.wire_scripted import Handler, trickle

VERSIONS = pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"]
)
OBJECT = answer(200, b"data", etag='"e"', last_modified="Thu, 01 Jan 2026 00:00:00 GMT")
IDENTITY = SourceIdentity(etag="e", size=4)


def ask(connection: Connection, body: bytes = b"") -> bytes:
    """Make a request, and return the body of its answer."""
    connection.begin(Awaited.BODY)
    head = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.send(memoryview(head), memoryview(body))
    connection.end()
    found = memoryview(bytearray(connection.answer("PUT").length or 0))
    at = 0
    while at < len(found):
        at += connection.readinto(found[at:])
    return bytes(found)


@VERSIONS
def test_large_bodies_pass_both_ways(servers: Servers, version: ssl.TLSVersion) -> None:
    """Byte by byte the same, again and again on one connection."""
    connected: list[object] = []

    def serve(connection: socket.socket, _: threading.Event) -> None:
        connected.append(connection)
        while (request := read_request(connection)) is not None:
            connection.sendall(answer(200, request.body[::-1]))

    pool = servers.connections(servers.scripted(serve, secure=True, version=version))
    for size in (0, 1, SMALL - 1, LARGE - 1, (8 << 20) + 7):
        body = random.Random(size).randbytes(size)
        connection = pool.take()
        assert ask(connection, body) == body[::-1]
        pool.give_back(connection)
    assert len(connected) == 1


@pytest.mark.parametrize("record", [1000, 16 * 1024, 100_000])
@pytest.mark.parametrize("alone", [True, False])
def test_a_large_body_of_whatever_records_arrives_as_it_was_sent(
    servers: Servers, record: int, *, alone: bool
) -> None:
    """A buffer ends in the middle of a record, be it a large one or, with others about, a small."""
    body = random.Random(record).randbytes((3 << 20) + 7)

    def serve(connection: socket.socket, over: threading.Event) -> None:
        del over
        while read_request(connection) is not None:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
            for at in range(0, len(body), record):
                connection.sendall(body[at : at + record])

    pool = servers.connections(servers.scripted(serve, secure=True))
    in_use = [] if alone else [take_large() for _ in range(MOST_LARGE)]
    try:
        with closing(pool.take()) as connection:
            for _ in range(2):
                assert ask(connection) == body
            assert connection.is_reusable
    finally:
        for buffer in in_use:
            give_back(buffer)


def test_c20_few_buffers_are_large() -> None:
    """Threads that wait have one each, beside the budget."""
    taken = [take_large() for _ in range(MOST_LARGE + 2)]
    assert [len(buffer) for buffer in taken] == [LARGE] * MOST_LARGE + [SMALL] * 2
    for buffer in taken:
        give_back(buffer)
    again = [take_large() for _ in range(MOST_LARGE + 2)]
    assert {id(buffer.obj) for buffer in again} == {id(buffer.obj) for buffer in taken}
    for buffer in again:
        give_back(buffer)


def test_c20_no_more_buffers_are_kept_than_some_need() -> None:
    """What hundreds of threads had while they waited is not the task's for ever."""
    taken = [take(SMALL) for _ in range(50)]
    for buffer in taken:
        give_back(buffer)
    were = {id(buffer.obj) for buffer in taken}
    again = [take(SMALL) for _ in range(50)]
    assert 0 < sum(id(buffer.obj) in were for buffer in again) <= 16
    # ``taken`` keeps the others, whose addresses would be used again.
    assert len(taken) == 50


class Watched:
    """What encrypted bytes go through, and the most that it held."""

    def __init__(self, bio: ssl.MemoryBIO) -> None:
        self._bio = bio
        self.most = 0

    @property
    def pending(self) -> int:
        """Return how much it holds."""
        return self._bio.pending

    @property
    def eof(self) -> bool:
        """Tell whether there is no more."""
        return self._bio.eof

    def write(self, data: memoryview) -> int:
        """Take bytes."""
        taken = self._bio.write(data)
        self.most = max(self.most, self._bio.pending)
        return taken


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[TlsTransport, Callable[[bytes, bytes], None]]]:
    """Give a transport, and what sends it bytes, then others as they are, all before it reads."""
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert_file, certificate.key_file)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    ours, theirs = socket.socketpair()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
    theirs.settimeout(30)

    def shake_hands() -> None:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                theirs.sendall(outgoing.read())
                incoming.write(theirs.recv(65536))
            else:
                return

    def send(data: bytes, raw: bytes) -> None:
        tls.write(data)
        theirs.sendall(outgoing.read() + raw)

    peer = threading.Thread(target=shake_hands, daemon=True)
    peer.start()
    until = time.monotonic() + 30
    with closing(theirs):
        transport = TlsTransport(
            ours, 0.2, context=trusting(certificate), host=LOOPBACK, until=until
        )
        peer.join(30)
        with closing(transport):
            yield transport, send


Pair = tuple[TlsTransport, Callable[[bytes, bytes], None]]


def test_c20_much_is_read_at_once_and_little_of_it_given_to_openssl(pair: Pair) -> None:
    """OpenSSL keeps room for the most that it was ever given."""
    transport, send = pair
    body = random.Random(7).randbytes(900_000)
    send(body, b"")
    watched = Watched(transport._incoming)
    transport._incoming = watched  # type: ignore[assignment]
    view = memoryview(bytearray(LARGE))
    assert transport.receive(view) == len(body)
    assert view[: len(body)] == body
    assert 0 < watched.most <= 96 * 1024


@pytest.mark.parametrize("size", [0, 10, 40_000, 900_000])
def test_what_came_before_a_broken_record_is_given_out(pair: Pair, size: int) -> None:
    """Else a copy on a way that breaks again and again would get nowhere."""
    transport, send = pair
    body = random.Random(size).randbytes(size)
    send(body, b"\x17\x03\x03\x00\x20" + bytes(32))
    view, got = memoryview(bytearray(LARGE)), 0
    while got < size:
        got += transport.receive(view[got:])
    assert view[:size] == body
    if size:
        assert transport.has_ahead()
    with pytest.raises(ssl.SSLError, match=r"(?i)bad record|decryption failed"):
        transport.receive(view)
    assert not transport.is_quiet()


@VERSIONS
def test_what_a_new_session_brings_does_not_end_a_connection(
    servers: Servers, version: ssl.TLSVersion
) -> None:
    """TLS 1.3 sends tickets after the handshake; they are no answer that nobody asked for."""
    server = servers.scripted(lambda c, _: _answer_all(c), secure=True, version=version)
    pool = servers.connections(server)
    first = pool.take()
    assert first.is_alive()
    assert ask(first) == b"data"
    for _ in range(3):
        assert first.is_alive()
        pool.give_back(first)
        assert pool.take() is first
        assert ask(first) == b"data"
    with closing(pool.line()) as line:
        assert line.is_alive()
    first.close()


@VERSIONS
@pytest.mark.parametrize("chunked", [True, False])
def test_a_small_body_of_many_records_is_put_together(
    servers: Servers, version: ssl.TLSVersion, *, chunked: bool
) -> None:
    """What is encrypted never lies where what was decrypted lies."""
    body = bytes(range(256)) * 20
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    head = b"Transfer-Encoding: chunked\r\n" if chunked else b"A: b\r\n"

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
        for at in range(0, len(framed), 1000):
            connection.sendall(framed[at : at + 1000])
            over.wait(0.02)  # One after the other: that is the case.

    server = servers.scripted(serve, secure=True, version=version)
    with closing(servers.connections(server).take()) as connection:
        connection.begin(Awaited.SMALL)
        connection.send(memoryview(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
        connection.end()
        connection.answer("GET")
        assert connection.read_rest(1 << 20) == body


def _answer_all(connection: socket.socket) -> None:
    while read_request(connection) is not None:
        connection.sendall(answer(200, b"data"))


def silent(connection: socket.socket, over: threading.Event) -> None:
    """Say nothing at all."""
    del connection
    over.wait(30)


def hesitant(connection: socket.socket, over: threading.Event) -> None:
    """Begin a handshake, and never end it."""
    connection.recv(1000)
    # A record of 16 KiB with a ServerHello, of which one byte comes after the other.
    trickle(connection, over, b"\x16\x03\x03\x40\x00\x02" + bytes(1000))


@pytest.mark.parametrize("handler", [silent, hesitant])
def test_a_handshake_that_is_not_done_in_time_is_given_up(
    servers: Servers, handler: Handler
) -> None:
    """It is part of connecting; bytes that trickle do not begin its time anew."""
    pool = servers.connections(
        servers.beneath_tls(handler), connect_timeout_s=0.3, read_timeout_s=0.4
    )
    for open_one in (pool.take, pool.line):
        with pytest.raises(TimeoutError, match="the TLS handshake was not done in time"):
            open_one()


def test_a_store_gives_up_a_handshake_in_the_time_for_connecting(servers: Servers) -> None:
    """Another try may help; the error says that it was about connecting."""
    settings = S3Settings(addressing_style="path", connect_timeout_s=0.3, read_timeout_s=0.4)
    store = store_of(servers.beneath_tls(silent), settings=settings)
    with pytest.raises(TransientStoreError, match="Connect timeout"):
        store.open_range("k", None, IDENTITY)


def ending(connection: socket.socket, over: threading.Event) -> None:
    """End in the middle of a handshake."""
    del over
    connection.recv(10)


def plain(connection: socket.socket, over: threading.Event) -> None:
    """Answer as one does who speaks no TLS."""
    del over
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 The plain HTTP request was sent to HTTPS port\r\n\r\n")


@pytest.mark.parametrize("handler", [ending, plain])
def test_a_handshake_that_fails_may_be_tried_again(servers: Servers, handler: Handler) -> None:
    """An end, or what is no TLS: a proxy may be starting."""
    with pytest.raises(TransientStoreError):
        store_of(servers.beneath_tls(handler)).open_range("k", None, IDENTITY)


@pytest.mark.parametrize("direct", [True, False])
def test_a_wrong_certificate_is_for_good(servers: Servers, tmp_path: Path, *, direct: bool) -> None:
    """As botocore says it: no other try is made, and nothing was sent."""
    server = servers.recorder(OBJECT, secure=True)
    store = store_of(server, direct=direct, ca_file=make_certificate(tmp_path).ca_file)
    with pytest.raises(StoreError, match="CERTIFICATE_VERIFY_FAILED") as caught:
        store.open_range("k", None, IDENTITY)
    assert type(caught.value) is StoreError
    assert not caught.value.retryable
    assert server.requests == []


@pytest.mark.parametrize("host", ["example.com", "127.0.0.2", "localhost.example.com"])
def test_a_certificate_for_another_name_is_refused(servers: Servers, host: str) -> None:
    """Whoever has one for itself is nobody else."""
    server = servers.recorder(OBJECT, secure=True)
    with socket.create_connection((LOOPBACK, int(server.url.rpartition(":")[2]))) as sock:
        context = trusting(servers.certificate)
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            TlsTransport(sock, 0.1, context=context, host=host, until=time.monotonic() + 10)
    assert server.requests == []


def test_nothing_is_verified_where_nothing_shall_be(servers: Servers) -> None:
    """``verify`` is false: any certificate, for any name."""
    server = servers.recorder(OBJECT, secure=True)
    store = store_of(server, verify=False)
    with store.open_range("k", None, IDENTITY) as reader:
        buffer = memoryview(bytearray(4))
        assert reader.readinto(buffer) == 4
        assert bytes(buffer) == b"data"
    assert server.asked.method == "GET"


def test_authorities_may_stand_in_a_folder(servers: Servers, tmp_path: Path) -> None:
    """One file for each, named by its hash, as OpenSSL has them."""
    data = servers.certificate.ca_file.read_bytes()
    store = store_of(servers.recorder(OBJECT, secure=True), ca_file=_hashed(tmp_path, data))
    with store.open_range("k", None, IDENTITY) as reader:
        assert reader.readinto(memoryview(bytearray(4))) == 4


def _hashed(folder: Path, data: bytes) -> Path:
    from cryptography import x509  # noqa: PLC0415 - of this test alone
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

    subject = x509.load_pem_x509_certificate(data).subject
    # "X509_NAME_hash": SHA-1 of the canonical subject; with one common name that is its UTF-8 form.
    value = subject.rfc4514_string().partition("=")[2].lower().encode()
    canonical = b"\x31" + _der(b"\x30" + _der(b"\x06\x03\x55\x04\x03" + b"\x0c" + _der(value)))
    digest = hashlib.sha1(canonical, usedforsecurity=False).digest()[:4]
    name = f"{int.from_bytes(digest, 'little'):08x}.0"
    (folder / name).write_bytes(x509.load_pem_x509_certificate(data).public_bytes(Encoding.PEM))
    return folder


def _der(data: bytes) -> bytes:
    return bytes([len(data)]) + data


def test_a_client_may_have_a_certificate_of_its_own(servers: Servers, tmp_path: Path) -> None:
    """Where the service wants one."""
    own = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(servers.certificate.cert_file, servers.certificate.key_file)
    context.load_verify_locations(own.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    shown: list[object] = []

    def serve(connection: socket.socket, _: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            shown.append(secure.getpeercert())
            while read_request(secure) is not None:
                secure.sendall(OBJECT)

    server = servers.beneath_tls(serve)
    given = (str(own.cert_file), str(own.key_file))
    with store_of(server, config={"client_cert": given}).open_range("k", None, IDENTITY) as reader:
        assert reader.readinto(memoryview(bytearray(4))) == 4
    assert len(shown) == 1
    with pytest.raises(TransientStoreError):
        store_of(server).open_range("k", None, IDENTITY)


@pytest.mark.parametrize("size", [100, 3 << 20])
def test_an_end_without_a_farewell_is_no_whole_body(servers: Servers, size: int) -> None:
    """Who cuts a connection takes bytes away; the length says so."""

    def serve(connection: socket.socket, _: threading.Event) -> None:
        read_head(connection)
        connection.sendall(answer(200, bytes(size))[:-1])
        # Without the alert that says that no more comes.
        connection.detach()

    def closing_beneath(connection: socket.socket, over: threading.Event) -> None:
        beneath = socket.socket(fileno=os.dup(connection.fileno()))
        serve(connection, over)
        beneath.shutdown(socket.SHUT_RDWR)
        beneath.close()

    connection = servers.connections(servers.scripted(closing_beneath, secure=True)).take()
    with pytest.raises(ConnectionError, match="1 bytes early"):
        ask(connection)
    connection.close()


@pytest.mark.parametrize("pause", [True, False])
def test_half_a_record_is_no_byte(servers: Servers, *, pause: bool) -> None:
    """What cannot be decrypted yet is nothing, and is given up when no more comes."""
    limit = threading.Event()
    upstream = servers.recorder(answer(200, bytes(10_000)), secure=True)
    port = int(upstream.url.rpartition(":")[2])

    def relay(connection: socket.socket, over: threading.Event) -> None:
        with socket.create_connection((LOOPBACK, port)) as beyond:
            threading.Thread(target=_pump, args=(connection, beyond), daemon=True).start()
            while data := beyond.recv(65536):
                if limit.is_set() and len(data) > 5000:
                    connection.sendall(data[:5000])
                    over.wait(0.3 if pause else 30)
                    data = data[5000:]
                connection.sendall(data)

    # Patient, or not, with the second half.
    waits = 5.0 if pause else 0.2
    pool = servers.connections(
        servers.beneath_tls(relay),
        patience=Patience(low_speed_time_s=2 * waits),
        read_timeout_s=waits,
    )
    connection = pool.take()
    limit.set()
    if pause:
        assert ask(connection) == bytes(10_000)
    else:
        with pytest.raises(StalledError, match="no byte came"):
            ask(connection)
    connection.close()


def test_a_record_that_trickles_ends_at_the_deadline(servers: Servers) -> None:
    """Its bytes move, and none of them can be decrypted before the last one."""
    limit = threading.Event()
    upstream = servers.recorder(answer(200, bytes(10_000)), secure=True)
    port = int(upstream.url.rpartition(":")[2])

    def relay(connection: socket.socket, over: threading.Event) -> None:
        with socket.create_connection((LOOPBACK, port)) as beyond:
            threading.Thread(target=_pump, args=(connection, beyond), daemon=True).start()
            while data := beyond.recv(65536):
                if limit.is_set():
                    trickle(connection, over, data)
                connection.sendall(data)

    pool = servers.connections(servers.beneath_tls(relay), patience=Patience(answer_deadline_s=0.5))
    connection = pool.take()
    limit.set()
    with pytest.raises(StalledError, match="was not there as a whole after"):
        ask(connection)
    connection.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        return


def test_c42_nothing_of_tls_is_logged(servers: Servers, caplog: pytest.LogCaptureFixture) -> None:
    """Neither keys nor what passes, at any level."""
    with caplog.at_level(logging.DEBUG, "airflow_provider_s3resume"):
        connection = servers.connections(servers.recorder(OBJECT, secure=True)).take()
        assert ask(connection) == b"data"
        connection.close()
    assert caplog.records == []


def test_a_scratch_buffer_is_of_one_thread() -> None:
    """And has the size that was asked for."""
    mine = scratch_of(10)
    mine[:] = b"0123456789"
    found: list[bytes] = []
    other = threading.Thread(target=lambda: found.append(bytes(scratch_of(10))))
    other.start()
    other.join()
    assert found == [bytes(10)]
    assert bytes(scratch_of(10)) == b"0123456789"
    assert len(scratch_of(7)) == 7
