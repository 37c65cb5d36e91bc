"""Faults that the OSS test server commits when told to."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from typing import Literal

from tests.support.oss_auth import clock_skewed, token_expired
from tests.support.oss_messages import Answer, OSSError, Request

FaultKind = Literal[
    "reset",
    "stall",
    "truncate",
    "flip",
    "wrong_crc",
    "no_crc",
    "error",
    "unavailable",
    "internal_error",
    "expired_token",
    "clock_skew",
    "redirect",
    "whole_object",
    "wrong_content_range",
    "repeated_page",
    "truncated_without_marker",
    "broken_xml",
]
_MARKERS = ("marker", "continuation-token", "key-marker", "version-id-marker")
_NEXT = re.compile(rb"<(Next\w+)>[^<]*</\1>")
_CRC = "x-oss-hash-crc64ecma"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One fault: what, for which requests, how often, and after how many bytes of the body.

    :param operation: such as ``GetObject`` or ``ListObjectsV2``; None for every one.
    :param times: how many requests it strikes, None for all of them.
    :param skip: how many requests that it would strike pass before.
    :param after_bytes: bytes of the body before a reset, stall, or truncation, and the place of a
        flipped byte; a reset or a stall with None, or of an answer without a body, comes before the
        head.
    :param seconds: how long a stall lasts; without, until it is released or the server stops.
    :param code: of an ``unavailable``: ServiceUnavailable, TotalQpsLimitExceeded, and the like; or
        of an ``error``, of any ``status``.
    :param location: where a ``redirect`` (with ``status``) leads to, without the path.
    """

    kind: FaultKind
    operation: str | None = None
    bucket: str | None = None
    key: str | None = None
    times: int | None = 1
    skip: int = 0
    after_bytes: int | None = 0
    seconds: float | None = None
    code: str = "ServiceUnavailable"
    status: int = 307
    location: str = ""

    def strikes(self, request: Request) -> bool:
        """Return whether it is meant for this request, and could show there."""
        if self.kind in {"whole_object", "wrong_content_range"} and "range" not in request.headers:
            return False
        if self.kind == "repeated_page" and not any(map(request.query.get, _MARKERS)):
            return False
        return (
            self.operation in {None, request.operation}
            and self.bucket in {None, request.bucket}
            and self.key in {None, request.key}
        )


class Faults:
    """The faults to commit; of those that match a request, the first one added strikes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._left: list[tuple[Fault, int, int | None]] = []
        self._releases = 0
        self._closed = False
        self._stalled = 0

    def add(self, fault: Fault) -> None:
        """Commit a fault from now on."""
        with self._changed:
            self._left.append((fault, fault.skip, fault.times))

    def clear(self) -> None:
        """Commit no more faults; whatever stalls goes on."""
        with self._changed:
            self._left.clear()
        self.release()

    def release(self) -> None:
        """Let everything that stalls go on."""
        with self._changed:
            self._releases += 1
            self._changed.notify_all()

    def open(self) -> None:
        """Let faults happen again: the server starts."""
        with self._changed:
            self._closed = False

    def close(self) -> None:
        """Let nothing stall any more: the server stops."""
        with self._changed:
            self._closed = True
        self.clear()

    @property
    def stalled(self) -> int:
        """How many answers stall at this moment."""
        with self._changed:
            return self._stalled

    def take(self, request: Request) -> Fault | None:
        """Return the fault that strikes a request, and count it."""
        with self._changed:
            for index, (fault, skip, times) in enumerate(self._left):
                if not fault.strikes(request):
                    continue
                if skip:
                    self._left[index] = (fault, skip - 1, times)
                    continue
                if times == 1:
                    del self._left[index]
                elif times is not None:
                    self._left[index] = (fault, 0, times - 1)
                return fault
        return None

    def stall(self, seconds: float | None) -> bool:
        """Return after this time, or when released: True; False when the server stops."""
        end = None if seconds is None else time.monotonic() + seconds
        with self._changed:
            releases = self._releases
            self._stalled += 1
            while releases == self._releases and not self._closed:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._changed.wait(left)
            self._stalled -= 1
            return not self._closed


def instead(fault: Fault, request: Request, now: float) -> Answer | None:
    """Return what a fault has the server answer instead of its work; an OSSError if it is one."""
    if fault.kind == "error":
        raise OSSError(fault.status, fault.code, "The server was told to say so.")
    if fault.kind == "unavailable":
        raise OSSError(503, fault.code, "Please reduce your request rate.")
    if fault.kind == "internal_error":
        words = "We encountered an internal error. Please try again."
        raise OSSError(500, "InternalError", words)
    if fault.kind == "expired_token":
        raise token_expired(request.headers.get("x-oss-security-token", ""))
    if fault.kind == "clock_skew":
        raise clock_skewed(now - 3600, now)
    if fault.kind == "redirect":
        return Answer(status=fault.status, headers={"location": fault.location + request.target})
    return None


def changed_request(fault: Fault, request: Request) -> None:
    """Make the server overlook what the fault wants it to, once the signature was checked."""
    if fault.kind == "whole_object":
        request.headers.pop("range", None)
    if fault.kind == "repeated_page":
        for name in _MARKERS:
            request.query.pop(name, None)


def changed_answer(fault: Fault, answer: Answer) -> None:
    """Let an answer say something wrong."""
    headers = answer.headers
    if fault.kind == "wrong_crc" and _CRC in headers:
        headers[_CRC] = str(int(headers[_CRC]) ^ 1)
    if fault.kind == "no_crc":
        headers.pop(_CRC, None)
    if fault.kind == "wrong_content_range" and "content-range" in headers:
        headers["content-range"] = _moved(headers["content-range"])
    if isinstance(answer.body, bytes):
        answer.body = _changed_document(fault, answer.body)


def _moved(content_range: str) -> str:
    span, _, size = content_range.removeprefix("bytes ").partition("/")
    start, _, end = span.partition("-")
    return f"bytes {int(start) + 1}-{int(end) + 1}/{size}"


def _changed_document(fault: Fault, body: bytes) -> bytes:
    if fault.kind == "truncated_without_marker":
        whole = b"<IsTruncated>false</IsTruncated>"
        return _NEXT.sub(b"", body).replace(whole, b"<IsTruncated>true</IsTruncated>")
    if fault.kind == "broken_xml":
        return body[: max(len(body) - 20, 0)]
    return body
