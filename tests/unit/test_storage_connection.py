"""One connection: bodies as they were sent, and an end to all that does not move (ADR 0016)."""

from __future__ import annotations

import gc
import hashlib
import random
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from airflow_provider_s3resume.storage._connection import AnsweredEarlyError, Connection, behind
from airflow_provider_s3resume.storage._connections import Connections, Place, Waits
from airflow_provider_s3resume.storage._heads import MOST, Head, ProtocolError
from airflow_provider_s3resume.storage._pace import Awaited, Patience, StalledError
from tests.support.ports import LOOPBACK, free_port
from tests.support.processes import wait_until
from tests.support.wire_direct import CONTINUE, Scene, Servers, answer, read_head, read_request
from tests.support.wire_scripted import TICK_S, Handler, trickle

GET = memoryview(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
OK = b"HTTP/1.1 200 OK\r\n"
BOTH = pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
QUICK = Patience(low_speed_bytes_per_s=100_000, low_speed_time_s=0.2, answer_deadline_s=0.3)
DUE = replace(QUICK, low_speed_time_s=60.0)
"""Where the answer's deadline is judged: on a busy machine even a request takes its time."""
PACED = replace(QUICK, low_speed_time_s=1.0, answer_deadline_s=30.0)
"""Where the pace of a body is judged, and not when its head is there."""
HEARS = Patience(low_speed_time_s=1.0)
"""Looks for an answer four times a second."""
LARGE = 16 << 20
"""More than all buffers on the way take."""


def put_head(length: int) -> memoryview:
    """Return the head of a request with a body."""
    return memoryview(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % length)


def ask(connection: Connection, awaited: Awaited = Awaited.SMALL, method: str = "GET") -> Head:
    """Send a request without a body, and read the head of its answer."""
    connection.begin(awaited)
    connection.send(GET)
    connection.end()
    return connection.answer(method)


def whole(connection: Connection, size: int, steps: Iterator[int] | None = None) -> bytes:
    """Read a body of known length to its end, in buffers of some sizes."""
    buffer = memoryview(bytearray(size + 1))
    at = 0
    while True:
        step = next(steps) if steps else size + 1
        count = connection.readinto(buffer[at : min(at + step, len(buffer))])
        if not count:
            return bytes(buffer[:at])
        at += count


def saying(*pieces: bytes) -> Handler:
    """Return what answers each request by these pieces, sent one by one, and then closes."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        del over
        if read_request(connection) is not None:
            for piece in pieces:
                connection.sendall(piece)

    return serve


def keeping(*pieces: bytes) -> Handler:
    """Return what answers the first request by these pieces, and neither reads nor closes then."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        for piece in pieces:
            connection.sendall(piece)
        over.wait(30)

    return serve


# Bodies.


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_a_body_arrives_as_it_was_given_whatever_its_pieces(
    servers: Servers, seed: int, *, secure: bool
) -> None:
    """Empty pieces, single bytes, megabytes; the next request follows on the same connection."""
    chance = random.Random(seed)
    sizes = [chance.choice([0, 1, 100, 16_384, 65_536, 65_537, 1 << 20]) for _ in range(12)]
    digests: list[str] = []
    connected: list[object] = []

    def serve(connection: socket.socket, _: threading.Event) -> None:
        connected.append(connection)
        while (request := read_request(connection)) is not None:
            digests.append(hashlib.sha256(request.body).hexdigest())
            connection.sendall(answer(200, etag="e"))

    pool = servers.connections(servers.scripted(serve, secure=secure))
    for _ in range(2):
        pieces = [chance.randbytes(size) for size in sizes]
        connection = pool.take()
        connection.begin(Awaited.SMALL)
        connection.send(put_head(sum(sizes)), *(memoryview(piece) for piece in pieces[:3]))
        for piece in pieces[3:]:
            connection.send(memoryview(piece))
        connection.end()
        assert connection.answer("PUT").headers["etag"] == "e"
        assert connection.is_reusable
        pool.give_back(connection)
        assert digests[-1] == hashlib.sha256(b"".join(pieces)).hexdigest()
    assert len(digests) == 2
    assert len(connected) == 1


@BOTH
@pytest.mark.parametrize("seed", range(6))
def test_a_body_is_read_as_it_was_sent_whatever_the_buffers(
    servers: Servers, seed: int, *, secure: bool
) -> None:
    """The head may come in pieces, or together with bytes of the body."""
    chance = random.Random(seed)
    body = chance.randbytes(chance.choice([0, 1, 65_536, 300_000, 3 << 20]))
    said = OK + b"Content-Length: %d\r\n\r\n" % len(body) + body

    def serve(connection: socket.socket, _: threading.Event) -> None:
        sizes = random.Random(seed)
        while read_request(connection) is not None:
            rest = said
            while rest:
                size = sizes.choice([1, 7, 40, 1000, 70_000, 1 << 20])
                connection.sendall(rest[:size])
                rest = rest[size:]

    pool = servers.connections(servers.scripted(serve, secure=secure))
    connection = pool.take()
    for _ in range(3):
        assert ask(connection, Awaited.BODY).length == len(body)
        steps = iter(lambda: chance.choice([100, 5000, 65_536, 65_537, 1 << 20]), 0)
        assert whole(connection, len(body), steps) == body
        assert connection.readinto(memoryview(bytearray(9))) == 0
        assert connection.is_reusable
    connection.close()


@BOTH
@pytest.mark.parametrize("came", [0, 1, 99_999])
def test_a_body_that_ends_early_is_an_error(servers: Servers, came: int, *, secure: bool) -> None:
    """Bytes that came before are given out; then it is told how many are missing."""
    server = servers.scripted(
        saying(OK + b"Content-Length: 100000\r\n\r\n" + b"x" * came), secure=secure
    )
    connection = servers.connections(server).take()
    ask(connection, Awaited.BODY)
    got = 0
    with pytest.raises(ConnectionError, match=f"ends {100_000 - came} bytes early"):
        while count := connection.readinto(memoryview(bytearray(100_000))):
            got += count
    assert got == came
    assert not connection.is_reusable
    connection.close()


@BOTH
def test_a_body_without_a_length_ends_with_the_connection(
    servers: Servers, *, secure: bool
) -> None:
    """All of it is read, and nothing is asked on that connection again."""
    body = bytes(range(256)) * 20
    server = servers.scripted(saying(OK + b"A: b\r\n\r\n" + body), secure=secure)
    pool = servers.connections(server)
    connection = pool.take()
    assert ask(connection).length is None
    assert connection.read_rest(1 << 20) == body
    assert not connection.is_reusable
    pool.give_back(connection)
    other = pool.take()
    assert other is not connection
    ask(other)
    with pytest.raises(ProtocolError, match="more than 1000 bytes"):
        other.read_rest(1000)
    other.close()


# Small answers in chunks.


@pytest.mark.parametrize(("in_pieces", "secure"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize(
    ("chunks", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"003\r\nabc\r\n1;name=value\r\nd\r\n00\r\n\r\n", b"abcd"),
        (b"A\r\n0123456789\r\na\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", b"0123456789" + b"\r\n" * 5),
        (b"3 \r\nabc\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n", b"abc"),
    ],
)
def test_a_small_answer_may_come_in_chunks(
    servers: Servers, chunks: bytes, body: bytes, *, in_pieces: bool, secure: bool
) -> None:
    """With extensions and trailers; afterwards another request may follow."""
    said = OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
    pieces = [said[at : at + 1] for at in range(len(said))] if in_pieces else [said]
    server = servers.scripted(keeping(*pieces), secure=secure)
    pool = servers.connections(server)
    connection = pool.take()
    head = ask(connection)
    assert (head.chunked, head.length) == (True, None)
    is_reusable_before = connection.is_reusable
    assert connection.read_rest(100) == body
    assert (is_reusable_before, connection.is_reusable) == (False, True)
    connection.close()


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        (b"x\r\nabc\r\n", "a chunk of the size"),
        (b"\r\nabc\r\n", "a chunk of the size"),
        (b"-3\r\nabc\r\n", "a chunk of the size"),
        (b"0x3\r\nabc\r\n", "a chunk of the size"),
        (b"000000003\r\nabc\r\n", "a chunk of the size"),
        (b"3\r\nabcd\r\n0\r\n\r\n", "does not end where it says"),
        (b"3\r\nabc\n\n0\r\n\r\n", "does not end where it says"),
        (b"65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n", "larger than was expected"),
        (b"60\r\n" + b"x" * 96 + b"\r\n5\r\nabcde\r\n0\r\n\r\n", "larger than was expected"),
        (b"3;" + b"x" * 2000, "too long"),
        (b"0\r\nTrailer: " + b"x" * 2000, "too long"),
    ],
)
def test_chunks_that_are_none_are_refused(servers: Servers, chunks: bytes, reason: str) -> None:
    """Where the body ends would be a guess."""
    server = servers.scripted(keeping(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks))
    connection = servers.connections(server).take()
    ask(connection)
    with pytest.raises(ProtocolError, match=reason):
        connection.read_rest(100)
    assert not connection.is_reusable
    connection.close()


@pytest.mark.parametrize("chunks", [b"", b"3", b"3\r\na", b"3\r\nabc", b"3\r\nabc\r\n", b"0\r\n"])
def test_chunks_that_end_early_are_an_error(servers: Servers, chunks: bytes) -> None:
    """Without the last chunk the answer is none."""
    server = servers.scripted(saying(OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunks))
    connection = servers.connections(server).take()
    ask(connection)
    with pytest.raises(ConnectionError):
        connection.read_rest(100)
    connection.close()


def test_a_small_answer_has_a_limit(servers: Servers) -> None:
    """Whoever asked for a few lines takes no gigabyte."""
    connection = servers.connections(servers.recorder(answer(200, b"x" * 101))).take()
    ask(connection)
    with pytest.raises(ProtocolError, match="a body of 101 bytes, at most 100 were expected"):
        connection.read_rest(100)
    assert not connection.is_reusable
    connection.close()


# Answers before their time.


@BOTH
def test_interim_answers_are_passed_over(servers: Servers, *, secure: bool) -> None:
    """As many as there are, whole or in pieces, with headers or none."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    server = servers.scripted(
        keeping(CONTINUE[:5], CONTINUE[5:] + hints, CONTINUE + answer(200, b"abc")), secure=secure
    )
    connection = servers.connections(server).take()
    head = ask(connection)
    assert (head.status, connection.read_rest(10)) == (200, b"abc")
    assert connection.is_reusable
    connection.close()


@BOTH
@pytest.mark.parametrize("before", [b"", CONTINUE])
def test_an_answer_in_the_middle_of_a_body_is_heard(
    servers: Servers, before: bytes, *, secure: bool
) -> None:
    """Who refuses a request takes no more of it; the connection ends then."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_head(connection)
        connection.sendall(before)
        connection.recv(1)
        connection.sendall(answer(503, b"slow"))
        over.wait(30)

    pool = servers.connections(servers.scripted(serve, secure=secure), patience=HEARS)
    connection = pool.take()
    connection.begin(Awaited.SMALL)
    with pytest.raises(AnsweredEarlyError, match="answered before all was sent"):
        connection.send(put_head(LARGE), memoryview(bytes(LARGE)))
    assert connection.answer("PUT").status == 503
    assert connection.read_rest(10) == b"slow"
    assert not connection.is_reusable
    pool.give_back(connection)
    with closing(pool.take()) as other:
        assert other is not connection


@BOTH
def test_a_continue_in_the_middle_of_a_body_is_no_answer(servers: Servers, *, secure: bool) -> None:
    """It asks for the body that is being sent."""
    sent = threading.Event()

    def serve(connection: socket.socket, over: threading.Event) -> None:
        got = len(read_head(connection).partition(b"\r\n\r\n")[2])
        connection.sendall(CONTINUE)
        over.wait(0.7)  # Longer than a step of who sends: that is the case.
        while got < LARGE:
            got += len(connection.recv(1 << 20))
        sent.wait(20)
        connection.sendall(answer(200))
        over.wait(30)

    server = servers.scripted(serve, secure=secure)
    connection = servers.connections(server, patience=Patience(low_speed_time_s=2.0)).take()
    connection.begin(Awaited.SMALL)
    connection.send(put_head(LARGE), memoryview(bytes(LARGE)))
    connection.end()
    sent.set()
    assert connection.answer("PUT").status == 200
    assert connection.is_reusable
    connection.close()


@BOTH
def test_a_refusal_is_heard_though_the_connection_was_closed_with_it(
    servers: Servers, *, secure: bool
) -> None:
    """Sending fails then, and the answer is there to be read all the same."""

    def serve(connection: socket.socket, _: threading.Event) -> None:
        # Else it would wait for the client to have taken the tickets of TLS.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        read_head(connection)
        connection.sendall(answer(403, b"no"))

    connection = servers.connections(servers.scripted(serve, secure=secure)).take()
    connection.begin(Awaited.SMALL)
    with pytest.raises(AnsweredEarlyError):
        connection.send(put_head(LARGE), memoryview(bytes(LARGE)))
        connection.end()
    assert connection.answer("PUT").status == 403
    assert not connection.is_reusable
    connection.close()


# Ends.


@BOTH
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 ", OK + b"Content-Length: 5\r\n", CONTINUE])
def test_an_end_instead_of_an_answer_is_an_error(
    servers: Servers, said: bytes, *, secure: bool
) -> None:
    """Be it before the answer or within its head."""
    connection = servers.connections(servers.scripted(saying(said), secure=secure)).take()
    with pytest.raises(ConnectionError, match="without an answer"):
        ask(connection)
    assert not connection.is_reusable
    connection.close()


@BOTH
def test_an_end_in_the_middle_of_a_body_that_is_sent_is_an_error(
    servers: Servers, *, secure: bool
) -> None:
    """There is nothing to wait for."""

    def serve(connection: socket.socket, _: threading.Event) -> None:
        read_head(connection)

    connection = servers.connections(servers.scripted(serve, secure=secure)).take()
    connection.begin(Awaited.SMALL)
    with pytest.raises(AnsweredEarlyError):
        connection.send(put_head(LARGE), memoryview(bytes(LARGE)))
        connection.end()
    with pytest.raises(ConnectionError):
        connection.answer("PUT")
    connection.close()


def test_a_head_has_a_limit(servers: Servers) -> None:
    """A server that sends headers for ever fills no memory."""
    server = servers.scripted(keeping(OK + b"A: " + b"x" * (MOST + 20_000)))
    connection = servers.connections(server).take()
    with pytest.raises(ProtocolError, match=f"more than {MOST} bytes"):
        ask(connection)
    connection.close()


@BOTH
def test_an_abort_ends_a_read_that_waits(servers: Servers, *, secure: bool) -> None:
    """From another thread, though neither a byte nor an end comes."""
    server = servers.scripted(keeping(OK + b"Content-Length: 5\r\n\r\n"), secure=secure)
    pool = servers.connections(server, read_timeout_s=120)
    connection = pool.take()
    ask(connection, Awaited.BODY)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(connection.readinto, memoryview(bytearray(5)))
        connection.abort()
        with pytest.raises(OSError, match="early"):
            waiting.result(30)
    assert not connection.is_alive()
    connection.close()


@BOTH
def test_an_abort_ends_a_wait_for_an_answer(servers: Servers, *, secure: bool) -> None:
    """The same while nothing was answered yet."""
    server = servers.scripted(keeping(), secure=secure)
    connection = servers.connections(server, read_timeout_s=120).take()
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(ask, connection)
        connection.abort()
        with pytest.raises(OSError):  # noqa: PT011 - as the kernel says it
            waiting.result(30)
    connection.close()


@BOTH
def test_an_abort_ends_a_write_that_waits(servers: Servers, *, secure: bool) -> None:
    """Once the buffers are full, a call to send would wait for the peer."""
    reached: list[int] = []

    def serve(connection: socket.socket, over: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reached.append(len(read_head(connection)))
        over.wait(30)

    pool = servers.connections(servers.scripted(serve, secure=secure), read_timeout_s=120)
    connection = pool.take()
    connection.begin(Awaited.SMALL)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(connection.send, put_head(LARGE), memoryview(bytes(LARGE)))
        wait_until(lambda: bool(reached), deadline_s=20, what="the request has begun")
        connection.abort()
        with pytest.raises(OSError):  # noqa: PT011 - as the kernel says it
            waiting.result(30)
    connection.close()


def test_an_abort_of_a_closed_connection_is_nothing(servers: Servers) -> None:
    """It may come late, and more than once."""
    connection = servers.connections(servers.recorder(answer(200))).take()
    connection.close()
    connection.abort()
    connection.close()
    assert not connection.is_alive()


# Pace.


def filled(connection: socket.socket, over: threading.Event) -> None:
    """Take nothing of what is sent."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    read_head(connection)
    over.wait(30)


def sipped(connection: socket.socket, over: threading.Event) -> None:
    """Take a little of what is sent at each tick."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    read_head(connection)
    while not over.wait(TICK_S):
        connection.recv(100)


def trickled(head: bytes, rest: bytes) -> Handler:
    """Return what sends a head at once, and all else byte by byte."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(head)
        trickle(connection, over, rest)
        over.wait(30)

    return serve


@BOTH
@pytest.mark.parametrize(
    ("handler", "limits", "reason"),
    [
        (filled, {"read_timeout_s": 0.2}, "no byte was taken"),
        (sipped, {"patience": QUICK}, "given up as stalled"),
    ],
)
def test_a_body_that_nobody_takes_is_given_up(
    servers: Servers,
    handler: Handler,
    limits: dict[str, object],
    reason: str,
    *,
    secure: bool,
) -> None:
    """No byte for the read timeout, or too few of them."""
    pool = servers.connections(servers.scripted(handler, secure=secure), **limits)  # type: ignore[arg-type]
    connection = pool.take()
    connection.begin(Awaited.SMALL)
    with pytest.raises(StalledError, match=reason):
        connection.send(put_head(LARGE), memoryview(bytes(LARGE)))
    assert not connection.is_reusable
    connection.close()


@BOTH
@pytest.mark.parametrize(
    ("handler", "limits", "reason"),
    [
        (keeping(answer(200, b"x" * 100)[:-50]), {"read_timeout_s": 1.0}, "no byte came"),
        (
            trickled(OK + b"Content-Length: 100000\r\n\r\n", b"x" * 100_000),
            {"patience": PACED},
            "given up as stalled",
        ),
    ],
)
def test_a_body_that_does_not_come_is_given_up(
    servers: Servers,
    handler: Handler,
    limits: dict[str, object],
    reason: str,
    *,
    secure: bool,
) -> None:
    """No byte for the read timeout, or too few of them; none that came is lost."""
    pool = servers.connections(servers.scripted(handler, secure=secure), **limits)  # type: ignore[arg-type]
    connection = pool.take()
    ask(connection, Awaited.BODY)
    buffer, at = memoryview(bytearray(100_000)), 0
    with pytest.raises(StalledError, match=reason):
        while count := connection.readinto(buffer[at:]):
            at += count
    assert bytes(buffer[:at]) == b"x" * at
    assert at
    assert not connection.is_reusable
    connection.close()


@BOTH
def test_an_answers_head_that_trickles_ends_at_the_deadline(
    servers: Servers, *, secure: bool
) -> None:
    """Each byte ends a wait, and none of them the time for the whole."""
    server = servers.scripted(trickled(b"", OK + b"A: " + b"x" * 1000), secure=secure)
    connection = servers.connections(server, patience=DUE).take()
    with pytest.raises(StalledError, match=r"an object's bytes was not there .* after 0.3 s"):
        ask(connection, Awaited.BODY)
    connection.close()


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 1000\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0;",
        b"\r\n",
    ],
)
def test_a_small_answer_that_trickles_ends_at_the_deadline(servers: Servers, head: bytes) -> None:
    """However its body is framed."""
    server = servers.scripted(trickled(OK + head, b"x" * 1000))
    connection = servers.connections(server, patience=DUE).take()
    with pytest.raises(StalledError, match=r"a small answer was not there .* after 0.3 s"):
        ask(connection)
        connection.read_rest(10_000)
    connection.close()


@BOTH
def test_a_small_answer_may_trickle_until_its_deadline(servers: Servers, *, secure: bool) -> None:
    """It is there in time, so its pace does not matter."""
    server = servers.scripted(trickled(b"", answer(200, b"x" * 30)), secure=secure)
    connection = servers.connections(server, patience=PACED).take()
    ask(connection)
    assert connection.read_rest(30) == b"x" * 30
    connection.close()


@pytest.mark.parametrize(
    ("secure", "limits", "reason"),
    [
        (True, {"read_timeout_s": 0.2}, "no byte came"),
        (False, {"patience": DUE}, "a small answer was not there"),
    ],
)
def test_an_answer_that_never_comes_is_given_up(
    servers: Servers, limits: dict[str, object], reason: str, *, secure: bool
) -> None:
    """At the read timeout, if that is before the deadline, else then."""
    server = servers.scripted(keeping(), secure=secure)
    connection = servers.connections(server, **limits).take()  # type: ignore[arg-type]
    with pytest.raises(StalledError, match=reason):
        ask(connection)
    connection.close()


SLOW_STEP = 128 * 1024
SLOW_SIZE = 6 * SLOW_STEP
SLOW = Patience(low_speed_bytes_per_s=10_000, low_speed_time_s=3.0, answer_deadline_s=3.0)
SLOW_PAUSE_S = 0.6
"""Six of them are longer than each of the limits."""


def test_a_body_may_be_taken_slowly(servers: Servers) -> None:
    """With pauses, and longer than any one limit, as long as enough moves."""
    sent = threading.Event()

    def serve(connection: socket.socket, over: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        got = len(read_head(connection).partition(b"\r\n\r\n")[2])
        for turn in range(1, 7):
            while got < turn * SLOW_STEP:
                got += len(connection.recv(turn * SLOW_STEP - got))
            over.wait(SLOW_PAUSE_S)
        sent.wait(20)
        connection.sendall(answer(200))
        over.wait(30)

    server = servers.scripted(serve)
    connection = servers.connections(server, patience=SLOW, read_timeout_s=3.0).take()
    connection.begin(Awaited.SMALL)
    connection.send(put_head(SLOW_SIZE), memoryview(bytes(SLOW_SIZE)))
    connection.end()
    sent.set()
    assert connection.answer("PUT").status == 200
    assert connection.is_reusable
    connection.close()


def test_a_body_may_come_slowly(servers: Servers) -> None:
    """The same for one that is read."""

    def serve(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(OK + b"Content-Length: %d\r\n\r\n" % SLOW_SIZE)
        for _ in range(6):
            connection.sendall(bytes(SLOW_STEP))
            over.wait(SLOW_PAUSE_S)
        over.wait(30)

    server = servers.scripted(serve, secure=True)
    connection = servers.connections(server, patience=SLOW, read_timeout_s=3.0).take()
    ask(connection, Awaited.BODY)
    assert whole(connection, SLOW_SIZE) == bytes(SLOW_SIZE)
    assert connection.is_reusable
    connection.close()


def test_time_that_a_source_takes_is_not_the_connections(servers: Servers) -> None:
    """Between two pieces nobody waits for the peer, however long that is."""

    def serve(connection: socket.socket, _: threading.Event) -> None:
        while connection.recv(65536):
            pass

    pool = servers.connections(servers.scripted(serve), patience=QUICK, read_timeout_s=0.2)
    connection = pool.take()
    connection.begin(Awaited.SMALL)
    for _ in range(3):
        connection.send(memoryview(b"x" * 100))
        threading.Event().wait(0.25)  # The source is slow: that is the case.
    connection.close()


# Keeping.


@BOTH
@pytest.mark.parametrize("taken", [0, 5, 10])
def test_only_a_connection_whose_answer_was_read_is_kept(
    servers: Servers, taken: int, *, secure: bool
) -> None:
    """What is left of a body would be taken for the next answer."""
    server = servers.recorder(answer(200, b"0123456789"), secure=secure)
    pool = servers.connections(server)
    first = pool.take()
    ask(first, Awaited.BODY)
    at = 0
    while at < taken:
        at += first.readinto(memoryview(bytearray(taken - at)))
    pool.give_back(first)
    second = pool.take()
    assert (second is first) is (taken == 10)
    ask(second, Awaited.BODY)
    assert whole(second, 10) == b"0123456789"
    second.close()


@BOTH
@pytest.mark.parametrize(
    "said",
    [
        answer(200, b"abc", connection="close"),
        answer(200, b"abc").replace(b"HTTP/1.1", b"HTTP/1.0"),
        answer(200, b"abc") + b"HTTP/1.1 200 OK\r\n",
        answer(200, b"abc") + b"x",
    ],
    ids=["close", "1.0", "another", "more"],
)
def test_a_connection_that_ends_or_says_more_is_not_kept(
    servers: Servers, said: bytes, *, secure: bool
) -> None:
    """What nobody asked for may be read as the next answer."""
    server = servers.scripted(keeping(said), secure=secure)
    pool = servers.connections(server)
    connection = pool.take()
    ask(connection)
    assert connection.read_rest(10) == b"abc"
    pool.give_back(connection)
    with closing(pool.take()) as other:
        assert other is not connection


@BOTH
@pytest.mark.parametrize("late", [b"", answer(408), b"x"], ids=["end", "answer", "byte"])
def test_a_kept_connection_that_has_something_to_say_is_not_used(
    servers: Servers, late: bytes, *, secure: bool
) -> None:
    """The server closed it meanwhile, with words or without."""
    idle, said = threading.Event(), threading.Event()
    connected: list[object] = []

    def serve(connection: socket.socket, over: threading.Event) -> None:
        connected.append(connection)
        number = len(connected)
        while read_request(connection) is not None:
            connection.sendall(answer(200))
            if number == 1:
                idle.wait(20)
                connection.sendall(late)
                connection.shutdown(socket.SHUT_WR)
                said.set()
                over.wait(30)

    pool = servers.connections(servers.scripted(serve, secure=secure))
    first = pool.take()
    ask(first)
    pool.give_back(first)
    kept = pool.take()
    assert kept is first
    pool.give_back(kept)
    idle.set()
    assert said.wait(20)
    wait_until(lambda: not first.is_alive(), deadline_s=20, what="the end is seen")
    second = pool.take()
    assert second is not first
    assert ask(second).status == 200
    second.close()


def test_the_connection_that_was_used_last_is_used_next(servers: Servers) -> None:
    """Others have time to be closed; no more than so many are kept."""
    server = servers.recorder(answer(200))
    pool = servers.connections(server, most=2)
    taken = [pool.take() for _ in range(3)]
    assert len(set(map(id, taken))) == 3
    for connection in taken:
        ask(connection)
        pool.give_back(connection)
    assert not taken[2].is_alive()
    assert pool.take() is taken[1]
    assert pool.take() is taken[0]
    for connection in taken:
        connection.close()


def test_a_connection_that_was_broken_is_not_kept(servers: Servers) -> None:
    """Though its answer was read to the end."""
    pool = servers.connections(servers.recorder(answer(200)))
    connection = pool.take()
    ask(connection)
    connection.abort()
    pool.give_back(connection)
    with closing(pool.take()) as other:
        assert other is not connection
        assert ask(other).status == 200


def ended(number: list[Connections]) -> None:
    """Close connections as a store's owner may."""
    number[0].close()


def forgotten(number: list[Connections]) -> None:
    """Let go of connections, as everybody does."""
    number.clear()
    gc.collect()


@pytest.mark.parametrize("end", [ended, forgotten])
def test_kept_connections_end_with_those_who_keep_them(
    servers: Servers, end: Callable[[list[Connections]], None]
) -> None:
    """Nobody closes a store; its connections go with it."""
    left = threading.Event()

    def serve(connection: socket.socket, _: threading.Event) -> None:
        with suppress(ConnectionError):
            while read_request(connection) is not None:
                connection.sendall(answer(200))
        left.set()

    server = servers.scripted(serve)
    held = [pool_of(server)]
    connection = held[0].take()
    ask(connection)
    held[0].give_back(connection)
    del connection
    end(held)
    assert left.wait(20)


def pool_of(server: Scene) -> Connections:
    """Return connections that only the test holds."""
    return Servers.connections(Servers(server.certificate), server)  # type: ignore[arg-type]


def test_what_is_given_back_after_the_end_is_closed(servers: Servers) -> None:
    """A call may be under way when a store is closed."""
    pool = servers.connections(servers.recorder(answer(200)))
    connection = pool.take()
    pool.close()
    ask(connection)
    pool.give_back(connection)
    assert not connection.is_alive()


def test_nobody_there_is_an_error_and_leaves_no_socket() -> None:
    """As the kernel says it."""
    waits = Waits(connect_timeout_s=10, read_timeout_s=10)
    pool = Connections(Place(host=LOOPBACK, port=free_port()), waits, most=1)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for take in (pool.take, pool.line):
        with pytest.raises(ConnectionRefusedError):
            take()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_pieces_that_were_taken_are_left_out() -> None:
    """Of the first that was not taken whole, its rest is left."""
    pieces = [memoryview(b"ab"), memoryview(b"cd"), memoryview(b"ef")]
    for taken in range(7):
        assert b"".join(behind(pieces, taken)) == b"abcdef"[taken:]
