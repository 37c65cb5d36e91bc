"""The wire records what passes, and breaks what it is told to break."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support.ports import LOOPBACK
from tests.support.wire import Wire
from tests.support.wire_rules import (
    SLOW_DOWN,
    Action,
    Delay,
    Exchange,
    Flip,
    Match,
    Replace,
    Reset,
    Rewrite,
    Rule,
    Stall,
    Throttle,
    Truncate,
)

MakeWire = Callable[..., Wire]
BODY = bytes(range(256)) * 1024


class _Handler(BaseHTTPRequestHandler):
    """Keeps what is PUT and gives it back on GET."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._answer(206 if "Range" in self.headers else 200, self.server.stored)

    def do_PUT(self) -> None:
        self.server.hosts.append(self.headers["Host"])
        self.server.stored = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, b"stored")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Range", "bytes 0-9/10")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.stored = BODY
        self.hosts: list[str] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: connections break here on purpose."""

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.server_address[1]}"


@pytest.fixture
def server() -> Iterator[_Server]:
    """Give a running server that stores one body."""
    with _Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def connect(server: _Server, wire: MakeWire) -> Iterator[Callable[..., http.client.HTTPConnection]]:
    """Give a function that connects to the server through a wire with one action."""
    opened: list[http.client.HTTPConnection] = []

    def make(action: Action | None = None) -> http.client.HTTPConnection:
        rules = [Rule(when=Match(), action=action)] if action else []
        between = wire(server.url, *rules)
        opened.append(_connection(between))
        return opened[-1]

    yield make
    for connection in opened:
        connection.close()


def _connection(between: Wire, timeout_s: float = 10) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(between.url.removeprefix("http://"), timeout=timeout_s)


def _get(connection: http.client.HTTPConnection, **headers: str) -> tuple[int, bytes]:
    connection.request("GET", "/bucket/key", headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_requests_pass_and_are_recorded_without_the_authorization(
    server: _Server, wire: MakeWire
) -> None:
    """Two requests on one connection arrive unchanged, Host included, and are numbered."""
    between = wire(server.url)
    connection = _connection(between)
    headers = {"Host": "elsewhere:1", "Authorization": "secret", "X-A": "1"}
    connection.request("PUT", "/bucket/a%2Fb?partNumber=2&uploadId=u", BODY, headers)
    assert connection.getresponse().read() == b"stored"
    assert _get(connection) == (200, BODY)
    connection.close()
    assert server.hosts == ["elsewhere:1"]
    put, get = between.wait_for(lambda e: e.is_over, count=2)
    assert (put.number, put.method, put.path) == (1, "PUT", "/bucket/a%2Fb")
    assert put.query == {"partNumber": "2", "uploadId": "u"}
    assert put.operation == "UploadPart"
    assert (put.headers["x-a"], "authorization" in put.headers) == ("1", False)
    assert (put.status, put.request_bytes, put.response_bytes) == (200, len(BODY), 6)
    assert (get.number, get.operation, get.response_bytes) == (2, "GetObject", len(BODY))


def test_a_chunked_request_body_passes(server: _Server, wire: MakeWire) -> None:
    """A body in chunks is relayed, framing and all: this server refuses it by its own words."""
    between = wire(server.url)
    connection = _connection(between)
    connection.request("POST", "/bucket/key", iter([b"abc", b"de"]), encode_chunked=True)
    assert connection.getresponse().status == 501
    connection.close()


def test_a_delayed_request_waits_for_its_event(
    connect: Callable[..., http.client.HTTPConnection],
) -> None:
    """Nothing is answered before the event is set."""
    event = threading.Event()
    connection = connect(Delay(event))
    connection.request("GET", "/bucket/key")
    event.set()
    assert connection.getresponse().read() == BODY


@pytest.mark.parametrize("side", ["request", "answer"])
def test_a_stalled_body_neither_moves_nor_ends(server: _Server, wire: MakeWire, side: str) -> None:
    """The client runs into its own timeout."""
    action = Stall(side="request" if side == "request" else "answer", after_bytes=10)
    between = wire(server.url, Rule(when=Match(), action=action))
    connection = _connection(between, timeout_s=0.3)
    with pytest.raises(TimeoutError):
        _put_or_get(connection, side)
    connection.close()


def _put_or_get(connection: http.client.HTTPConnection, side: str) -> None:
    if side == "request":
        connection.request("PUT", "/bucket/key", BODY)
    else:
        connection.request("GET", "/bucket/key")
    connection.getresponse().read()


def test_a_reset_before_the_server_leaves_it_untouched(
    server: _Server, connect: Callable[..., http.client.HTTPConnection]
) -> None:
    """The request never reaches the server."""
    connection = connect(Reset(side="request"))
    with pytest.raises(ConnectionError):
        connection.request("PUT", "/bucket/key", b"new")
        connection.getresponse()
    assert server.stored == BODY


def test_a_reset_after_the_server_loses_only_the_answer(
    server: _Server, connect: Callable[..., http.client.HTTPConnection]
) -> None:
    """The server did what it was asked; the client does not know."""
    connection = connect(Reset(side="answer"))
    with pytest.raises(ConnectionError):
        connection.request("PUT", "/bucket/key", b"new")
        connection.getresponse()
    assert server.stored == b"new"


def test_a_truncated_answer_is_short(connect: Callable[..., http.client.HTTPConnection]) -> None:
    """The client reads exactly so many bytes."""
    connection = connect(Truncate(100_000))
    connection.request("GET", "/bucket/key")
    with pytest.raises(http.client.IncompleteRead) as caught:
        connection.getresponse().read()
    assert caught.value.partial == BODY[:100_000]


def test_a_replaced_answer_does_not_reach_the_server_unless_told(
    server: _Server, wire: MakeWire
) -> None:
    """The same answer, without and with the server's doing; the connection stays usable."""
    slow_down = Replace(status=503, body=SLOW_DOWN)
    applied = Replace(status=503, body=SLOW_DOWN, forward=True)
    between = wire(
        server.url,
        Rule(when=Match(method="PUT"), action=slow_down, nth=1),
        Rule(when=Match(method="PUT"), action=applied, nth=2),
    )
    connection = _connection(between)
    for expected in (BODY, b"new"):
        connection.request("PUT", "/bucket/key", b"new")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (503, SLOW_DOWN)
        assert server.stored == expected
    assert _get(connection) == (200, b"new")
    connection.close()


def test_one_bit_flips_at_its_offset(
    server: _Server, connect: Callable[..., http.client.HTTPConnection]
) -> None:
    """Exactly one byte differs, in the answer or in what the server stored."""
    position = 70_000
    wrong = bytearray(BODY)
    wrong[position] ^= 1
    assert _get(connect(Flip(side="answer", offset=position))) == (200, bytes(wrong))
    connection = connect(Flip(side="request", offset=position))
    connection.request("PUT", "/bucket/key", BODY)
    connection.getresponse().read()
    assert server.stored == bytes(wrong)


def test_a_rewritten_head_has_other_words_and_the_same_body(
    connect: Callable[..., http.client.HTTPConnection],
) -> None:
    """A range answered with 200, and another Content-Range."""
    connection = connect(Rewrite(status=200, headers={"Content-Range": "bytes 5-9/10"}))
    connection.request("GET", "/bucket/key", headers={"Range": "bytes=0-9"})
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Range"]) == (200, "bytes 5-9/10")
    assert answer.read() == BODY


def test_a_throttled_body_arrives_whole(
    connect: Callable[..., http.client.HTTPConnection],
) -> None:
    """Slowly, in many pieces, and complete."""
    connection = connect(Throttle(1024 * 1024))
    assert _get(connection) == (200, BODY)


def test_nth_and_times_choose_among_the_matching(server: _Server, wire: MakeWire) -> None:
    """The second GET fails; so do the first two requests that carry a header."""
    failing = Replace(status=500)
    between = wire(
        server.url,
        Rule(when=Match(method="GET", path="key$"), action=failing, nth=2),
        Rule(when=Match(header="X-Fail"), action=failing, times=2),
    )
    connection = _connection(between)
    assert [_get(connection)[0] for _ in range(3)] == [200, 500, 200]
    marked = {"X-Fail": "1"}
    assert [_get(connection, **marked)[0] for _ in range(3)] == [500, 500, 200]
    connection.close()


def test_a_held_request_waits_until_it_is_released(server: _Server, wire: MakeWire) -> None:
    """The test sees the request before the server does."""
    between = wire(server.url)
    connection = _connection(between)
    with between.hold(Match(method="PUT")) as hold:
        connection.request("PUT", "/bucket/key", b"new")
        (held,) = hold.wait()
        assert (held.operation, held.upstream_status) == ("PutObject", None)
        assert server.stored == BODY
        hold.release()
        assert connection.getresponse().read() == b"stored"
    connection.close()


def test_a_held_answer_can_be_dropped(server: _Server, wire: MakeWire) -> None:
    """The server did it, and the client is cut off when the test says so."""
    between = wire(server.url)
    connection = _connection(between)
    with between.hold(Match(method="PUT"), side="answer") as hold:
        connection.request("PUT", "/bucket/key", b"new")
        hold.wait()
        assert server.stored == b"new"
        hold.drop()
        with pytest.raises(ConnectionError):
            connection.getresponse()
    connection.close()


def test_waiting_for_a_request_that_never_comes_names_those_that_came(
    server: _Server, wire: MakeWire
) -> None:
    """The error shows the last requests."""
    between = wire(server.url)
    connection = _connection(between)
    _get(connection)
    connection.close()
    with pytest.raises(TimeoutError, match="1 GET /bucket/key"):
        between.wait_for(Match(method="DELETE"), deadline_s=0.05)


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "operation"),
    [
        ("GET", "/", {}, {}, "ListBuckets"),
        ("GET", "/b", {"list-type": "2"}, {}, "ListObjectsV2"),
        ("GET", "/b/", {"uploads": ""}, {}, "ListMultipartUploads"),
        ("POST", "/b", {"delete": ""}, {}, "DeleteObjects"),
        ("HEAD", "/b", {}, {}, "HeadBucket"),
        ("PUT", "/b/k", {}, {}, "PutObject"),
        ("PUT", "/b/k", {}, {"x-amz-copy-source": "b/j"}, "CopyObject"),
        ("POST", "/b/k", {"uploads": ""}, {}, "CreateMultipartUpload"),
        ("PUT", "/b/k", {"uploadId": "u"}, {}, "UploadPart"),
        ("PUT", "/b/k", {"uploadId": "u"}, {"x-amz-copy-source": "b/j"}, "UploadPartCopy"),
        ("GET", "/b/k", {"uploadId": "u"}, {}, "ListParts"),
        ("POST", "/b/k", {"uploadId": "u"}, {}, "CompleteMultipartUpload"),
        ("DELETE", "/b/k", {"uploadId": "u"}, {}, "AbortMultipartUpload"),
        ("HEAD", "/b/k", {}, {}, "HeadObject"),
        ("GET", "/b/k", {"attributes": ""}, {}, "GetObjectAttributes"),
        ("DELETE", "/b/k", {}, {}, "DeleteObject"),
    ],
)
def test_operations_have_the_names_of_the_api(
    method: str, path: str, query: dict[str, str], headers: dict[str, str], operation: str
) -> None:
    """Rules may be written with the operations' names."""
    exchange = Exchange(number=1, method=method, path=path, query=query, headers=headers)
    assert exchange.operation == operation
