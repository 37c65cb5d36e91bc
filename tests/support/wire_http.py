"""As much of HTTP/1.1 as a proxy needs: heads, and where a body ends. Bytes pass unchanged."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import BinaryIO

PIECE = 64 * 1024
_LONGEST_LINE = 64 * 1024
_MOST_HEADERS = 200


class BrokenMessageError(ConnectionError):
    """The peer closed, or sent what is no HTTP/1.1, in the middle of a message."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """A start line and headers, each header with the exact bytes it came in."""

    start: str
    headers: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """Return the first value of a header, whatever the case of its name."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    def changed(self, start: str | None, headers: dict[str, str | None]) -> Head:
        """Return a copy with another start line, and headers set or (None) removed."""
        replaced = {name.lower() for name in headers}
        kept = [item for item in self.headers if item[0].lower() not in replaced]
        added = [(name, value) for name, value in headers.items() if value is not None]
        return Head(start=start or self.start, headers=(*kept, *added))

    def to_bytes(self) -> bytes:
        """Return the head as it goes over the wire."""
        lines = [self.start, *(f"{name}: {value}" for name, value in self.headers), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    @property
    def status(self) -> int:
        """The status of an answer."""
        return int(self.start.split(" ", 2)[1])


@dataclasses.dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of a body: payload, or the framing of chunks."""

    data: bytes
    is_payload: bool = True


def read_head(stream: BinaryIO) -> Head | None:
    """Read a head; None when the peer closed before its first byte."""
    start = _line(stream)
    if start is None:
        return None
    headers: list[tuple[str, str]] = []
    while line := _line(stream):
        name, _, value = line.partition(":")
        headers.append((name, value.strip(" \t")))
        if len(headers) > _MOST_HEADERS:
            raise BrokenMessageError("too many headers")
    if line is None:
        raise BrokenMessageError("closed inside a head")
    return Head(start=start, headers=tuple(headers))


def _line(stream: BinaryIO) -> str | None:
    line = stream.readline(_LONGEST_LINE)
    if not line:
        return None
    if not line.endswith(b"\n"):
        raise BrokenMessageError("closed inside a line, or a line too long")
    return line.rstrip(b"\r\n").decode("latin-1")


def request_body(head: Head, stream: BinaryIO) -> Iterator[Piece]:
    """Yield the body that follows a request's head."""
    if "chunked" in (head.get("Transfer-Encoding") or "").lower():
        return _chunked(stream)
    return _counted(stream, int(head.get("Content-Length") or 0))


def answer_body(method: str, head: Head, stream: BinaryIO) -> Iterator[Piece]:
    """Yield the body that follows an answer's head."""
    if method == "HEAD" or head.status in {204, 304}:
        return iter(())
    if "chunked" in (head.get("Transfer-Encoding") or "").lower():
        return _chunked(stream)
    length = head.get("Content-Length")
    return _until_closed(stream) if length is None else _counted(stream, int(length))


def ends_by_closing(method: str, head: Head) -> bool:
    """Return whether only the end of the connection tells the end of this answer."""
    if method == "HEAD" or head.status in {204, 304}:
        return False
    return head.get("Content-Length") is None and head.get("Transfer-Encoding") is None


def _counted(stream: BinaryIO, length: int) -> Iterator[Piece]:
    left = length
    while left:
        data = _some(stream, min(left, PIECE))
        left -= len(data)
        yield Piece(data)


def _until_closed(stream: BinaryIO) -> Iterator[Piece]:
    while data := stream.read(PIECE):
        yield Piece(data)


def _chunked(stream: BinaryIO) -> Iterator[Piece]:
    while True:
        line = _line(stream)
        if line is None:
            raise BrokenMessageError("closed before a chunk")
        yield Piece(f"{line}\r\n".encode("latin-1"), is_payload=False)
        size = int(line.partition(";")[0], 16)
        if not size:
            break
        yield from _counted(stream, size)
        yield Piece(_some(stream, 2), is_payload=False)
    while line := _line(stream):
        yield Piece(f"{line}\r\n".encode("latin-1"), is_payload=False)
    yield Piece(b"\r\n", is_payload=False)


def _some(stream: BinaryIO, most: int) -> bytes:
    read1 = getattr(stream, "read1", stream.read)
    data: bytes = read1(most)
    if not data:
        raise BrokenMessageError("closed inside a body")
    return data
