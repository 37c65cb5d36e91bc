"""HTTP/1.1 as the OSS test server speaks it: requests in, answers out, faults on the way."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import termios
import time
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import unquote, unquote_plus, unquote_to_bytes

from tests.support.oss_content import flipped
from tests.support.oss_faults import Fault, Faults
from tests.support.oss_messages import Answer, Request, http_date
from tests.support.processes import wait_until

_LONGEST_LINE = 64 * 1024
_WRITE = 4 * 1024 * 1024
_SMALL = 64 * 1024
_DRAIN_DEADLINE_S = 5.0
_NAMES = {"etag": "ETag", "content-md5": "Content-MD5", "location": "Location"}
_NO_BODY = (204, 304)


class BrokenRequestError(ConnectionError):
    """What came is no HTTP request, or it ended too early."""


def read_request(stream: BinaryIO, connection: socket.socket) -> Request | None:
    """Read the next request and its body; None when the client is done."""
    line = stream.readline(_LONGEST_LINE).decode("latin-1")
    if not line.strip():
        return None
    try:
        method, target, _ = line.split()
    except ValueError as error:
        raise BrokenRequestError(f"no request line: {line!r}") from error
    headers: dict[str, str] = {}
    while (line := stream.readline(_LONGEST_LINE).decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    request = parsed_request(method, target, headers)
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    # The length of a GET is not believed: clients that sign it send it without a body.
    if method not in {"GET", "HEAD"}:
        request.body = _read_body(stream, headers)
    return request


def parsed_request(method: str, target: str, headers: dict[str, str]) -> Request:
    """Return the request with its bucket and key, in path style or virtual-host style."""
    path, _, query = target.partition("?")
    if not path.startswith("/"):
        path = "/" + path.partition("//")[2].partition("/")[2]
    bucket = _bucket_of_host(headers.get("host", ""))
    if bucket:
        raw_key = path[1:]
    else:
        bucket, _, raw_key = path[1:].partition("/")
    return Request(
        method=method,
        bucket=unquote(bucket),
        key=unquote_to_bytes(raw_key).decode(errors="replace"),
        query=_parsed_query(query),
        headers=headers,
        target=target,
    )


def _parsed_query(query: str) -> dict[str, str]:
    pairs = (item.partition("=") for item in query.split("&") if item)
    return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}


def _bucket_of_host(host: str) -> str:
    """Return the bucket that a host name begins with; addresses and the service's own have none."""
    name = host.rpartition(":")[0] or host
    first, _, rest = name.partition(".")
    if rest in {"", "aliyuncs.com"} or name.replace(".", "").isdigit():
        return ""
    return first


def _read_body(stream: BinaryIO, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return b"".join(_chunks(stream))
    length = headers.get("content-length") or "0"
    if not length.isdigit():
        raise BrokenRequestError(f"no length: {length!r}")
    return _exactly(stream, int(length))


def _chunks(stream: BinaryIO) -> Iterator[bytes]:
    while size := _chunk_size(stream.readline(_LONGEST_LINE)):
        yield _exactly(stream, size)
        stream.readline(_LONGEST_LINE)
    while stream.readline(_LONGEST_LINE).strip():
        pass


def _chunk_size(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError as error:
        raise BrokenRequestError(f"no chunk: {line!r}") from error


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size) if size else b""
    if len(data) < size:
        raise BrokenRequestError("closed inside a body")
    return data


class Sender:
    """Sends answers over one connection, with a fault if there is one."""

    def __init__(self, connection: socket.socket, faults: Faults) -> None:
        self._connection = connection
        self._faults = faults

    def send(self, request: Request, answer: Answer, fault: Fault | None) -> bool:
        """Send an answer; return whether the connection can carry another."""
        keeps = _keeps_alive(request)
        with_body = request.method != "HEAD" and answer.status not in _NO_BODY
        head = _head(answer, with_body=with_body, keeps=keeps)
        if isinstance(answer.body, bytes):
            length, pieces = len(answer.body), iter([memoryview(answer.body)])
        else:
            length, pieces = answer.body.length, answer.body.pieces
        if not with_body or not length:
            length, pieces = 0, iter(())
        if fault is not None and fault.kind in {"reset", "stall", "truncate", "flip"}:
            return self._send_badly(fault, head, length, pieces) and keeps
        if with_body and not answer.length_known:
            pieces = _as_chunks(pieces)
        self._write(head, pieces)
        return keeps

    def _send_badly(
        self, fault: Fault, head: bytes, length: int, pieces: Iterator[memoryview]
    ) -> bool:
        if fault.kind == "flip":
            self._write(head, flipped(pieces, 0, [fault.after_bytes or 0]))
            return True
        if fault.after_bytes is None or not length:
            return self._broken_off(fault) and self._write(head, pieces)
        first, rest = _split(pieces, fault.after_bytes)
        self._write(head, first)
        return self._broken_off(fault) and self._write(b"", rest)

    def _broken_off(self, fault: Fault) -> bool:
        """Break the connection off, or stall; return whether there is more to send."""
        if fault.kind == "stall":
            return self._faults.stall(fault.seconds)
        if fault.kind == "reset":
            self._reset()
        return False

    def _reset(self) -> None:
        """Let the connection end with RST instead of FIN, once all that was sent has arrived."""

        def is_drained() -> bool:
            waiting = fcntl.ioctl(self._connection.fileno(), termios.TIOCOUTQ, b"\0" * 4)
            return waiting == b"\0" * 4

        # A client that reads too slowly is reset without the rest.
        with contextlib.suppress(TimeoutError):
            wait_until(is_drained, deadline_s=_DRAIN_DEADLINE_S, what="the body has arrived")
        at_once = struct.pack("ii", 1, 0)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self._connection.close()

    def _write(self, head: bytes, pieces: Iterable[memoryview]) -> bool:
        waiting = head
        for piece in pieces:
            if len(waiting) + len(piece) <= _SMALL:
                waiting += piece
                continue
            if waiting:
                self._connection.sendall(waiting)
                waiting = b""
            for start in range(0, len(piece), _WRITE):
                self._connection.sendall(piece[start : start + _WRITE])
        if waiting:
            self._connection.sendall(waiting)
        return True


def _keeps_alive(request: Request) -> bool:
    unread = request.method in {"GET", "HEAD"} and request.headers.get("content-length", "0") != "0"
    return not unread and request.headers.get("connection", "").lower() != "close"


def _split(
    pieces: Iterator[memoryview], at: int
) -> tuple[Iterator[memoryview], Iterator[memoryview]]:
    """Return the first bytes of a body, and what follows them."""
    rest: list[memoryview] = []

    def first() -> Iterator[memoryview]:
        left = at
        for piece in pieces:
            yield piece[:left]
            if len(piece) >= left:
                rest.append(piece[left:])
                return
            left -= len(piece)

    def following() -> Iterator[memoryview]:
        yield from rest
        yield from pieces

    return first(), following()


def _as_chunks(pieces: Iterable[memoryview]) -> Iterator[memoryview]:
    for piece in pieces:
        if piece:
            yield memoryview(b"%x\r\n%b\r\n" % (len(piece), bytes(piece)))
    yield memoryview(b"0\r\n\r\n")


def _head(answer: Answer, *, with_body: bool, keeps: bool) -> bytes:
    phrase = HTTPStatus(answer.status).phrase
    headers = {
        "Server": "AliyunOSS",
        "Date": http_date(time.time()),
        "Connection": "keep-alive" if keeps else "close",
        **answer.headers,
        "x-oss-server-time": "1",
    }
    length = len(answer.body) if isinstance(answer.body, bytes) else answer.body.length
    if not answer.length_known and with_body:
        headers["Transfer-Encoding"] = "chunked"
    elif answer.status not in _NO_BODY:
        headers["Content-Length"] = str(length)
    lines = b"".join(_header(name, value) for name, value in headers.items())
    return f"HTTP/1.1 {answer.status} {phrase}\r\n".encode() + lines + b"\r\n"


def _header(name: str, value: str) -> bytes:
    shown = name if name.startswith("x-oss-") else _NAMES.get(name, name.title())
    line = f"{shown}: {value}\r\n"
    try:
        return line.encode("latin-1")
    except UnicodeEncodeError:
        return line.encode()
