"""The heads of HTTP/1.1 messages: what is sent, and what is answered (RFC 9112)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

MOST: Final = 64 * 1024
"""Bytes that the head of an answer may have; S3 allows 2 KiB of metadata, proxies 8 to 32 KiB."""
END: Final = b"\r\n\r\n"
# "HTTP/1.1 503": the tenth byte tells an answer from one that another follows.
_TELLING: Final = 10
_STATUS: Final = re.compile(r"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [^\r\n]*)?")
_BREAKS: Final = re.compile(r"[\r\n\0]")
_MOST_DIGITS: Final = 19
_LENGTH: Final = re.compile(rf"[0-9]{{1,{_MOST_DIGITS}}}")
_NAMES: Final[dict[str, str]] = {}
"""Names that were looked at, as they came; services write each always in the same way."""
_MOST_NAMES: Final = 512


class ProtocolError(OSError):
    """What the peer answers is no HTTP, or cannot be told from something else."""


@dataclass(slots=True)
class Head:
    """The head of an answer.

    :param headers: by lower-case name; what came several times is joined by commas.
    :param length: bytes of the body, ``None`` if it is in chunks or ends with the connection.
    :param keeps: the connection may be used again once the body was read.
    """

    status: int
    headers: dict[str, str]
    length: int | None
    chunked: bool
    keeps: bool


def request_head(
    method: str, target: str, headers: Mapping[str, str], *, encoding: str = "utf-8"
) -> bytes:
    """Return the head of a request.

    :raises ValueError: if a header would be more than one, or cannot be sent; the text does not
        hold it.
    """
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    check_lines(lines)
    return encoded("\r\n".join([*lines, "", ""]), encoding)


def check_lines(lines: Iterable[str]) -> None:
    """Refuse what would be another line of a head.

    :raises ValueError: for a line break; the text does not hold it.
    """
    if _BREAKS.search("".join(lines)):
        raise ValueError("Invalid header value: it has a line break")


def encoded(head: str, encoding: str = "utf-8") -> bytes:
    """Return a head as it is sent.

    :raises ValueError: if a header cannot be written so; the text does not hold it.
    """
    try:
        return head.encode(encoding)
    except UnicodeEncodeError:
        problem = ValueError(f"Invalid header value: it cannot be written as {encoding}")
    # Not where the other is being handled: that one holds the header.
    raise problem


def parse_head(data: bytes, method: str) -> Head:
    """Return what a head says, its last empty line left out.

    :raises ProtocolError: if it is none, or could be read in two ways.
    """
    text = data.decode("latin-1")
    first, *lines = text.split("\r\n")
    found = _STATUS.fullmatch(first)
    if found is None:
        raise ProtocolError(f"no HTTP answer: {first[:40]!r}")
    if not text.count("\n") == text.count("\r") == len(lines):
        raise ProtocolError("a line break that is none of HTTP's")
    status, headers = int(found[2]), _headers(lines)
    chunked = headers.get("transfer-encoding", "").lower()
    if chunked not in {"", "chunked"}:
        raise ProtocolError(f"transfer-encoding {chunked[:40]!r}")
    length = None if chunked else _length(headers.get("content-length"))
    if method == "HEAD" or status in {204, 304}:
        length, chunked = 0, ""
    ends_itself = bool(chunked) or length is not None
    close = "close" in headers.get("connection", "").lower()
    keeps = ends_itself and not close and found[1] == "1"
    return Head(status, headers, length, bool(chunked), keeps)


def is_telling(data: bytes | bytearray) -> bool:
    """Tell whether so much of a head is there that one can say what answer it is of."""
    return len(data) >= _TELLING


def is_interim(data: bytes | bytearray) -> bool:
    """Tell whether a head, or its start, is of an answer that another one follows."""
    return data.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1"))


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        given, colon, value = line.partition(":")
        if not colon:
            raise ProtocolError("a header line that is none")
        name = _NAMES.get(given) or _name(given)
        value = value.strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _name(given: str) -> str:
    """Return a header's name in lower case, and remember it."""
    # A line that begins with a blank would go on with the one before (obs-fold): none here.
    if not given or " " in given or "\t" in given:
        raise ProtocolError("a header line that is none")
    if len(_NAMES) >= _MOST_NAMES:
        _NAMES.clear()
    name = _NAMES[given] = given.lower()
    return name


def _length(given: str | None) -> int | None:
    if given is None:
        return None
    if given.isascii() and given.isdigit() and len(given) <= _MOST_DIGITS:
        return int(given)
    # A proxy may repeat it; two that differ are an attempt to have it read in two ways.
    lengths = {one.strip() for one in given.split(",")} if "," in given else {given}
    length = lengths.pop()
    if lengths or not _LENGTH.fullmatch(length):
        raise ProtocolError(f"content-length {given[:40]!r}")
    return int(length)
