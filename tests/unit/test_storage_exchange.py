"""Exchanges: calls that one thread drives together, which never wait and end in every case."""

from __future__ import annotations

import gc
import hashlib
import random
import selectors
import socket
import ssl
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    ObjectNotFoundError,
    PreconditionFailedError,
    RangeMismatchError,
    StoreError,
    ThrottledError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.digests import Checksum, ChecksumAlgorithm
from airflow_provider_s3resume.plan.objects import ContentAttributes, ObjectInfo, SourceIdentity
from airflow_provider_s3resume.storage._exchange import Exchange, Line
from airflow_provider_s3resume.storage._heads import MOST, Head, ProtocolError
from airflow_provider_s3resume.storage._pace import Patience, StalledError, queued_bytes
from airflow_provider_s3resume.storage.base import Condition, NewUpload, Written
from airflow_provider_s3resume.storage.express import Express
from airflow_provider_s3resume.storage.s3 import S3Settings, S3Store
from tests.support.ports import LOOPBACK, free_port
from tests.support.processes import wait_until
from tests.support.wire_direct import (
    CONTINUE,
    Scene,
    Servers,
    answer,
    client_of,
    drive,
    read_head,
    read_request,
    store_of,
)
from tests.support.wire_scripted import Handler

BOTH = pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
LARGE = 16 << 20
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nETag: e\r\nTransfer-Encoding: chunked\r\n\r\n"
MOMENT = "Thu, 01 Jan 2026 00:00:00 GMT"
REFUSAL = b"<Error><Code>InternalError</Code></Error>"


class FailedError(Exception):
    """What the tests make of an error of the network."""


def failed(error: BaseException) -> FailedError:
    """Return an error that tells of another."""
    return FailedError(f"{type(error).__name__}: {error}")


def exchange_on(
    line: Line, *pieces: bytes, sink: memoryview | None = None, method: str = "GET"
) -> Exchange[Head]:
    """Begin an exchange whose result is the answer's head."""
    return Exchange(
        line,
        method,
        [memoryview(piece) for piece in pieces],
        sink=sink,
        finish=lambda head, _refusal: head,
        translate=failed,
    )


def put_of(body: bytes) -> tuple[bytes, bytes]:
    """Return head and body of a request."""
    return b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body), body


def sink_of(size: int) -> memoryview:
    """Return room for a body."""
    return memoryview(bytearray(size))


@BOTH
def test_a_body_is_read_into_the_callers_buffer(servers: Servers, *, secure: bool) -> None:
    """Whole, and the line may be used for the next exchange."""
    body = random.Random(1).randbytes(300_000)
    server = servers.recorder(answer(200, body, etag="e"), secure=secure)
    line = servers.connections(server).line()
    for _ in range(3):
        sink = sink_of(len(body))
        exchange = exchange_on(line, GET, sink=sink)
        assert drive(exchange).headers["etag"] == "e"
        assert sink == body
        assert exchange.keeps
    assert server.connections == 1
    line.close()


@BOTH
@pytest.mark.parametrize("seed", range(3))
def test_a_body_may_come_in_pieces(servers: Servers, seed: int, *, secure: bool) -> None:
    """The head, too; between them the exchange waits for nothing."""
    body = random.Random(seed).randbytes(50_000)
    turns = threading.Semaphore(0)

    def serve(connection: socket.socket, _: threading.Event) -> None:
        chance = random.Random(seed)
        while read_request(connection) is not None:
            rest = CONTINUE + answer(200, body)
            while rest:
                turns.acquire(timeout=20)
                size = chance.choice([1, 10, 45, 1000, 20_000])
                connection.sendall(rest[:size])
                rest = rest[size:]

    line = servers.connections(servers.scripted(serve, secure=secure)).line()
    for _ in range(2):
        sink = sink_of(len(body))
        exchange = exchange_on(line, GET, sink=sink)
        while not exchange.advance():
            turns.release()
            with selectors.DefaultSelector() as selector:
                selector.register(line, selectors.EVENT_READ)
                assert selector.select(20)
        assert exchange.result().status == 200
        assert sink == body
        assert exchange.keeps
    line.close()


@BOTH
def test_a_body_is_sent_as_far_as_it_goes(servers: Servers, *, secure: bool) -> None:
    """And goes on when the line can be written; it never waits for that."""
    body = random.Random(2).randbytes(LARGE)
    reading = threading.Event()
    digests: list[str] = []

    def serve(connection: socket.socket, _: threading.Event) -> None:
        reading.wait(20)
        while (request := read_request(connection)) is not None:
            digests.append(hashlib.sha256(request.body).hexdigest())
            connection.sendall(answer(200))

    line = servers.connections(servers.scripted(serve, secure=secure)).line()
    exchange = exchange_on(line, *put_of(body), method="PUT")
    assert not exchange.advance()
    assert exchange.wants_to_write
    reading.set()
    assert drive(exchange).status == 200
    assert (exchange.keeps, exchange.wants_to_write) == (True, False)
    assert digests == [hashlib.sha256(body).hexdigest()]
    assert drive(exchange_on(line, *put_of(b""), method="PUT")).status == 200
    assert len(digests) == 2
    line.close()


@pytest.mark.parametrize("size", [99, 101, 0])
def test_a_body_of_another_length_than_expected_ends_the_line(servers: Servers, size: int) -> None:
    """Its head says so, before anything of it is taken."""
    server = servers.recorder(answer(200, bytes(size)))
    line = servers.connections(server).line()
    sink = memoryview(bytearray(b"?" * 100))
    exchange = exchange_on(line, GET, sink=sink)
    assert drive(exchange).length == size
    assert not exchange.keeps
    assert sink == b"?" * 100
    line.close()


@BOTH
def test_a_body_that_ends_early_is_an_error(servers: Servers, *, secure: bool) -> None:
    """What is missing is told."""
    server = servers.scripted(_saying(answer(200, bytes(100))[:-1]), secure=secure)
    line = servers.connections(server).line()
    exchange = exchange_on(line, GET, sink=sink_of(100))
    with pytest.raises(FailedError, match="the body ends 1 bytes early"):
        drive(exchange)
    assert not exchange.keeps
    line.close()


def _saying(data: bytes) -> Handler:
    def serve(connection: socket.socket, over: threading.Event) -> None:
        del over
        if read_request(connection) is not None:
            connection.sendall(data)

    return serve


def _keeping(data: bytes) -> Handler:
    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(data)
        over.wait(30)

    return serve


@BOTH
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 2", b"HTTP/1.1 200 OK\r\nETag: e\r\n", CONTINUE])
def test_an_end_instead_of_an_answer_is_an_error(
    servers: Servers, said: bytes, *, secure: bool
) -> None:
    """Be it before the answer or within its head."""
    line = servers.connections(servers.scripted(_saying(said), secure=secure)).line()
    exchange = exchange_on(line, GET)
    with pytest.raises(FailedError, match="closed without an answer"):
        drive(exchange)
    assert not exchange.keeps
    line.close()


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "ProtocolError: no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\n folded\r\n\r\n", "ProtocolError: a header line"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"x" * (MOST + 20_000), f"more than {MOST} bytes"),
    ],
)
def test_what_is_no_answer_is_an_error(servers: Servers, said: bytes, reason: str) -> None:
    """Nothing of it is guessed."""
    line = servers.connections(servers.scripted(_keeping(said))).line()
    exchange = exchange_on(line, GET)
    with pytest.raises(FailedError, match=reason):
        drive(exchange)
    assert not exchange.keeps
    line.close()


@pytest.mark.parametrize(
    "said",
    [
        answer(404, bytes(64 * 1024 + 1)),
        answer(200, b"abc", connection="close"),
        answer(200, b"abc").replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nabc",
        answer(200, b"abc") + b"HTTP",
    ],
    ids=["refused at length", "close", "1.0", "chunks", "no length", "more"],
)
def test_a_line_is_kept_after_whole_answers_alone(servers: Servers, said: bytes) -> None:
    """What is left of an answer would be taken for the next one."""
    line = servers.connections(servers.scripted(_keeping(said))).line()
    exchange = exchange_on(line, GET, sink=sink_of(3))
    assert drive(exchange).status in {200, 404}
    # What comes behind a whole answer is seen by whoever looks at the line.
    assert not (exchange.keeps and _is_quiet(line))
    line.close()


def _is_quiet(line: Line) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(line, selectors.EVENT_READ)
        return line.is_alive() and not selector.select(0.2)


@pytest.mark.parametrize("status", [200, 204, 404, 503])
def test_a_line_is_kept_after_an_answer_without_a_body(servers: Servers, status: int) -> None:
    """A refusal is no reason to connect anew."""
    line = servers.connections(servers.recorder(answer(status))).line()
    for _ in range(2):
        exchange = exchange_on(line, GET)
        assert drive(exchange).status == status
        assert exchange.keeps
    line.close()


@BOTH
def test_an_answer_in_the_middle_of_a_body_ends_the_exchange(
    servers: Servers, *, secure: bool
) -> None:
    """Who refuses a request takes no more of it; its line is not used again."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_head(connection)
        connection.sendall(CONTINUE + answer(503))
        over.wait(30)

    line = servers.connections(servers.scripted(serve, secure=secure)).line()
    exchange = exchange_on(line, *put_of(bytes(LARGE)), method="PUT")
    assert drive(exchange).status == 503
    assert exchange.wants_to_write
    assert not exchange.keeps
    line.close()


@BOTH
def test_a_success_in_the_middle_of_a_body_is_none(servers: Servers, *, secure: bool) -> None:
    """Nobody can say so of what has not come."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_head(connection)
        connection.sendall(answer(200))
        over.wait(30)

    line = servers.connections(servers.scripted(serve, secure=secure)).line()
    exchange = exchange_on(line, *put_of(bytes(LARGE)), method="PUT")
    with pytest.raises(FailedError, match="a success was answered before all was sent"):
        drive(exchange)
    assert not exchange.keeps
    line.close()


@BOTH
@pytest.mark.parametrize("status", [200, 503])
def test_a_line_that_broke_while_it_was_sent_is_not_kept(
    servers: Servers, status: int, *, secure: bool
) -> None:
    """Though what was answered before can be read."""
    begun, gone = threading.Event(), threading.Event()

    def serve(connection: socket.socket, _: threading.Event) -> None:
        # Else it would wait for the client to have taken the tickets of TLS.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(10)
        begun.wait(20)
        connection.sendall(answer(status))
        # There is more to read, so that this is no end, but a reset.
        connection.close()
        gone.set()

    line = servers.connections(servers.scripted(serve, secure=secure)).line()
    head, body = put_of(bytes(64 * 1024))
    for piece in (head, body[:1000]):
        assert line.transport.send(memoryview(piece)) == len(piece)
    begun.set()
    assert gone.wait(20)
    exchange = exchange_on(line, body[1000:], method="PUT")
    if status == 503:
        assert drive(exchange).status == status
    else:
        with pytest.raises(FailedError, match="a success was answered before all was sent"):
            drive(exchange)
    assert not exchange.keeps
    line.close()


def test_an_exchange_that_was_not_answered_has_no_result(servers: Servers) -> None:
    """Whoever gives one up early is told so."""
    line = servers.connections(servers.scripted(_keeping(b""))).line()
    exchange = exchange_on(line, GET)
    assert not exchange.advance()
    with pytest.raises(FailedError, match="there is no answer"):
        exchange.result()
    line.close()


# Pace.


@pytest.mark.parametrize(
    ("said", "sink", "no_byte_s", "reason"),
    [
        (b"", 0, 2.0, "no byte for 2 s"),
        (b"HTTP/1.1 200 OK\r\n", 0, 2.0, "no byte for 2 s"),
        (answer(200, bytes(100))[:-50], 100, 2.0, "no byte for 2 s"),
        (answer(200, bytes(100))[:-50], 100, 60.0, r"stalled: \d+ bytes in 2 s"),
    ],
    ids=["answer", "head", "body", "enough"],
)
def test_what_does_not_move_is_given_up(
    servers: Servers, said: bytes, sink: int, no_byte_s: float, reason: str
) -> None:
    """By the clock of whoever looks, which is the test's: no byte, or too few of them."""
    quick = Patience(low_speed_bytes_per_s=1000, low_speed_time_s=1.0)
    server = servers.scripted(_keeping(said))
    line = servers.connections(server, patience=quick, read_timeout_s=no_byte_s).line()
    exchange = exchange_on(line, GET, sink=sink_of(sink) if sink else None)
    now = time.monotonic()
    _advance_until(exchange, lambda: exchange._moved >= len(GET) + len(said))
    assert not exchange.look(now)
    assert not exchange.look(now + 0.9)
    assert exchange.look(now + 2.0)
    with pytest.raises(FailedError, match=f"StalledError.*{reason}"):
        exchange.result()
    assert not exchange.keeps
    line.close()


def _advance_until(exchange: Exchange[Head], condition: Callable[[], bool]) -> None:
    def met() -> bool:
        assert not exchange.advance()
        return condition()

    wait_until(met, deadline_s=20, what="all that was said has come")


def test_an_answer_has_a_deadline(servers: Servers) -> None:
    """From the last byte of the request to the end of the answer's head."""
    line = servers.connections(
        servers.scripted(_keeping(b"HTTP/1.1 200 OK\r\n")), patience=Patience(answer_deadline_s=0.2)
    ).line()
    exchange = exchange_on(line, GET)
    with pytest.raises(FailedError, match=r"StalledError.*was not there as a whole after 0.2 s"):
        drive(exchange)
    line.close()


def test_what_moves_is_not_given_up(servers: Servers) -> None:
    """However long it takes, as long as enough comes between two looks."""
    body = bytes(10_000)
    turns = threading.Semaphore(0)

    def serve(connection: socket.socket, _: threading.Event) -> None:
        read_request(connection)
        said = answer(200, body)
        for at in range(0, len(said), 1000):
            turns.acquire(timeout=20)
            connection.sendall(said[at : at + 1000])

    limits = Patience(low_speed_bytes_per_s=100, low_speed_time_s=4.0)
    pool = servers.connections(servers.scripted(serve), patience=limits, read_timeout_s=6.0)
    line = pool.line()
    exchange = exchange_on(line, GET, sink=sink_of(len(body)))
    now = time.monotonic()
    while not exchange.advance():
        turns.release()
        with selectors.DefaultSelector() as selector:
            selector.register(line, selectors.EVENT_READ)
            assert selector.select(20)
        if exchange.advance():
            break
        now += 5.0
        assert not exchange.look(now)
    assert exchange.result().status == 200
    line.close()


# Through a store.


def express_of(server: Scene, **settings: object) -> Express:
    """Return what a store makes of a server for small objects."""
    given = S3Settings(addressing_style="path", **settings)  # type: ignore[arg-type]
    express = store_of(server, settings=given).express
    assert express is not None
    assert express.is_open()
    return express


IDENTITY = SourceIdentity(etag="e", size=4, version_id="v1")
OBJECT = answer(
    200,
    b"data",
    etag='"e"',
    last_modified=MOMENT,
    content_type="text/plain",
    x_amz_meta_a="b",
    x_amz_version_id="v1",
    x_amz_storage_class="STANDARD_IA",
)


def read(server: Scene) -> tuple[ObjectInfo, bytes, bool]:
    """Read an object through the express of a store; tell whether the line is kept."""
    express = express_of(server)
    line = express.open_line(writes=False)
    sink = sink_of(4)
    exchange = express.get(line, "a b", IDENTITY, sink)
    try:
        return drive(exchange), bytes(sink), exchange.keeps
    finally:
        line.close()


def write(server: Scene, body: bytes = b"data") -> Written:
    """Write an object through the express of a store."""
    express = express_of(server, request_payer=True)
    line = express.open_line(writes=True)
    exchange = express.put(
        line,
        "a b",
        memoryview(body),
        upload=NewUpload(
            attributes=ContentAttributes(metadata={"a": "b"}, expires="never", tags={"t": "1"})
        ),
        checksum=Checksum(algorithm=ChecksumAlgorithm.CRC32, value="AAAAAA==", full_object=True),
        condition=Condition(etag="old"),
        content_md5="1B2M2Y8AsgTpgAmY7PhCfg==",
    )
    try:
        return drive(exchange)
    finally:
        line.close()


@BOTH
def test_a_small_object_is_read(servers: Servers, *, secure: bool) -> None:
    """Exactly the one that was meant; its headers come with it."""
    server = servers.recorder(OBJECT, secure=secure)
    info, data, keeps = read(server)
    assert (data, keeps) == (b"data", True)
    assert (info.key, info.size, info.etag, info.version_id) == ("a b", 4, "e", "v1")
    assert info.storage_class == "STANDARD_IA"
    assert info.attributes.metadata == {"a": "b"}
    assert info.attributes.content_type == "text/plain"
    asked = server.asked
    assert (asked.method, asked.target) == ("GET", "/bucket/a%20b?versionId=v1")
    assert asked.headers["if-match"] == '"e"'


def test_an_empty_object_is_read(servers: Servers) -> None:
    """Nothing has to come for that, and the line is kept."""
    express = express_of(servers.recorder(answer(200, etag='"e"', last_modified=MOMENT)))
    line = express.open_line(writes=False)
    for _ in range(2):
        exchange = express.get(line, "k", SourceIdentity(etag="e", size=0), sink_of(0))
        assert drive(exchange).size == 0
        assert exchange.keeps
    line.close()


@BOTH
@pytest.mark.parametrize("body", [b"", b"data"])
def test_a_small_object_is_written(servers: Servers, body: bytes, *, secure: bool) -> None:
    """With all that it shall have, its conditions and checksums."""
    said = answer(200, etag='"n"', x_amz_version_id="v2", x_amz_checksum_crc32="AAAAAA==")
    server = servers.recorder(said, secure=secure)
    written = write(server, body)
    assert (written.etag, written.version_id) == ("n", "v2")
    assert [one.value for one in written.checksums] == ["AAAAAA=="]
    asked = server.asked
    assert (asked.method, asked.target, asked.body) == ("PUT", "/bucket/a%20b", body)
    expected = {
        "content-length": str(len(body)),
        "x-amz-meta-a": "b",
        "x-amz-tagging": "t=1",
        "expires": "never",
        "if-match": '"old"',
        "x-amz-checksum-crc32": "AAAAAA==",
        "content-md5": "1B2M2Y8AsgTpgAmY7PhCfg==",
        "x-amz-request-payer": "requester",
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
    }
    assert {name: asked.headers.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (503, ThrottledError),
        (429, ThrottledError),
        (400, StoreError),
        (403, AccessDeniedError),
        (404, ObjectNotFoundError),
        (412, PreconditionFailedError),
        (500, TransientStoreError),
        (304, StoreError),
        (301, TransientStoreError),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<Error><Code>X</Code></Error>"])
def test_what_is_no_success_is_told_at_a_glance(
    servers: Servers, status: int, kind: type[StoreError], body: bytes
) -> None:
    """By its body, or its status where it has none; where a bucket is, others find out."""
    server = servers.recorder(answer(status, body if status != 304 else b""))
    for call in (read, write):
        with pytest.raises(StoreError, match=f"HTTP {status}") as caught:
            call(server)
        assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("said", "kind", "reason"),
    [
        (answer(200, b"dat", etag='"e"'), RangeMismatchError, "'3'"),
        (answer(200, b"data!", etag='"e"'), RangeMismatchError, "'5'"),
        (answer(206, b"data", etag='"e"', content_range="bytes 0-3/9"), RangeMismatchError, "206"),
        (answer(200, b"data", etag='"other"'), PreconditionFailedError, "another object"),
        (CHUNKED + b"4\r\ndata\r\n0\r\n\r\n", RangeMismatchError, "None"),
        (b"", TransientStoreError, "without an answer"),
        (answer(200, b"data", etag='"e"')[:-1], TransientStoreError, "1 bytes early"),
        (b"HTTP/1.1 2OO\r\n\r\n", TransientStoreError, "no HTTP answer"),
    ],
)
def test_c12_an_answer_that_is_not_the_object_is_an_error(
    servers: Servers, said: bytes, kind: type[StoreError], reason: str
) -> None:
    """Another length, range or object; and what is no answer at all."""
    with pytest.raises(kind, match=reason) as caught:
        read(servers.scripted(_saying(said)))
    assert type(caught.value) is kind
    assert "s3://bucket/a b" in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        b'HTTP/1.1 200 OK\r\nETag: "n"\r\nConnection: close\r\n\r\n' + REFUSAL,
        b'HTTP/1.1 200 OK\r\nETag: "n"\r\n\r\n' + REFUSAL,
        answer(200, REFUSAL + b" " * (64 * 1024), etag='"n"'),
    ],
    ids=["until the end", "no length", "long"],
)
def test_c16_a_success_to_a_write_that_is_not_read_is_none(servers: Servers, said: bytes) -> None:
    """Its body may say that nothing was written."""
    with pytest.raises(TransientStoreError, match="not known what it says"):
        write(servers.scripted(_saying(said)))


def test_a_line_leads_to_one_place(servers: Servers) -> None:
    """A call that would go elsewhere is not made on it."""
    here, there = servers.recorder(OBJECT), servers.recorder(OBJECT)
    express = express_of(here)
    line = express_of(there).open_line(writes=False)
    with pytest.raises(TransientStoreError, match="the line leads elsewhere"):
        express.get(line, "k", IDENTITY, sink_of(4))
    assert here.requests == there.requests == []
    line.close()


def test_no_line_to_nobody() -> None:
    """It is an error of the provider's, which another try may help."""
    url = f"http://{LOOPBACK}:{free_port()}"
    express = S3Store(client_of(url), "bucket", service=url).express
    assert express is not None
    for writes in (False, True):
        with pytest.raises(TransientStoreError, match="Could not connect"):
            express.open_line(writes=writes)


def test_a_stalled_exchange_is_a_transient_error(servers: Servers) -> None:
    """In the words of the rule that it broke."""
    express = express_of(servers.scripted(_keeping(b"")), read_timeout_s=0.2)
    line = express.open_line(writes=False)
    exchange = express.get(line, "k", IDENTITY, sink_of(4))
    with pytest.raises(TransientStoreError, match="given up: no byte for") as caught:
        drive(exchange)
    assert isinstance(caught.value.__cause__, StalledError)
    line.close()


def test_errors_of_the_network_keep_their_cause(servers: Servers) -> None:
    """Unless it may hold a secret."""
    with pytest.raises(TransientStoreError) as caught:
        read(servers.scripted(_saying(b"rubbish\r\n\r\n")))
    assert isinstance(caught.value.__cause__, ProtocolError)


class _CountedSocket:
    """A socket that counts the calls that move bytes."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name in {"send", "sendmsg", "recv_into"}:
            self.calls.append(name)
        return getattr(self._inner, name)


def counted(line: Line) -> _CountedSocket:
    """Count the calls of a line's socket from now on."""
    sock = _CountedSocket(line.transport._sock)
    line.transport._sock = cast("socket.socket", sock)
    return sock


@BOTH
def test_an_answer_is_not_looked_for_before_it_can_be_there(
    servers: Servers, *, secure: bool
) -> None:
    """A request costs one system call, and a small answer that is there another one."""
    line = servers.connections(servers.recorder(answer(200, b"x" * 4096), secure=secure)).line()
    drive(exchange_on(line, GET, sink=sink_of(4096)))
    sock, exchange = counted(line), exchange_on(line, GET, sink=sink_of(4096))
    assert not exchange.advance()
    assert sock.calls == ["send"]
    drive(exchange)
    assert sock.calls[:2] == ["send", "recv_into"]
    line.close()


@BOTH
def test_a_body_of_64_kib_leaves_with_its_head(servers: Servers, *, secure: bool) -> None:
    """Over TLS, too, where it is encrypted first."""
    server = servers.recorder(answer(200), secure=secure)
    line = servers.connections(server).line()
    drive(exchange_on(line, *put_of(b""), method="PUT"))
    body = random.Random(2).randbytes(64 * 1024)
    sock, exchange = counted(line), exchange_on(line, *put_of(body), method="PUT")
    assert not exchange.advance()
    assert sock.calls == ["send" if secure else "sendmsg"]
    drive(exchange)
    assert server.asked.body == body
    line.close()


def test_what_was_decrypted_before_its_time_is_seen_at_once(servers: Servers) -> None:
    """The socket has nothing more to tell of an answer that came unasked, behind another one."""
    body, sent = random.Random(3).randbytes(60_000), threading.Event()

    def serve(connection: socket.socket, closing: threading.Event) -> None:
        read_request(connection)
        connection.sendall(answer(200, body))
        connection.sendall(answer(408))
        # Acknowledged: all of it has arrived.
        wait_until(lambda: not queued_bytes(connection.fileno), deadline_s=20, what="it arrives")
        sent.set()
        closing.wait(20)

    line = servers.connections(servers.scripted(serve, secure=True)).line()
    first, sink = exchange_on(line, GET, sink=sink_of(len(body))), sink_of(4)
    assert not first.advance()
    assert sent.wait(20)
    drive(first)
    assert not first.keeps
    second = exchange_on(line, GET, sink=sink)
    assert second.advance()
    assert second.result().status == 408
    line.close()


def test_a_part_of_a_record_behind_an_answer_ends_the_line(servers: Servers) -> None:
    """The rest of it would be taken for the answer to the next request."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(servers.certificate.cert_file, servers.certificate.key_file)
        context.num_tickets = 0
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        for act in (tls.do_handshake, tls.read):
            while True:
                with suppress(ssl.SSLWantReadError):
                    act()
                    break
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(65536))
        connection.sendall(outgoing.read())
        tls.write(answer(200, etag="asked"))
        tls.write(answer(200, etag="unasked"))
        connection.sendall(outgoing.read()[:-5])
        over.wait(20)

    line = servers.connections(servers.beneath_tls(serve)).line()
    exchange = exchange_on(line, GET)
    assert drive(exchange).headers["etag"] == "asked"
    assert not exchange.keeps
    line.close()


class Data(bytearray):
    """Bytes of which can be told when they are gone."""


@BOTH
def test_c20_what_failed_holds_no_bytes(servers: Servers, *, secure: bool) -> None:
    """Their memory is given back, so it has to be free then, and not when garbage is looked for."""

    def serve(connection: socket.socket, _over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(answer(200, b"x" * 100_000)[:-50_000])

    line = servers.connections(servers.scripted(serve, secure=secure)).line()
    data = Data(100_000)
    seen, exchange = weakref.ref(data), exchange_on(line, GET, sink=memoryview(data))
    gc.disable()
    try:
        with pytest.raises(FailedError, match="50000 bytes early"):
            drive(exchange)
        del data, exchange
        assert seen() is None
    finally:
        gc.enable()
    line.close()
