"""Moving one connection's requests through a wire, with the actions of its rules on the way."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import struct
import time
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

from tests.support import wire_rules as rules
from tests.support.wire_http import (
    PIECE,
    BrokenMessageError,
    Head,
    Piece,
    answer_body,
    ends_by_closing,
    read_head,
    request_body,
)

if TYPE_CHECKING:
    from tests.support.wire import Wire

CONTINUE_WAIT_S = 1.0
_PIECES_A_SECOND = 20
_LINGER_S = 1.0
_SIGNED_BY = re.compile(r"Credential=([^/]+)/")
_NETWORK_ERRORS = (OSError, BrokenMessageError, ValueError)
_A = TypeVar("_A")


class CutError(ConnectionError):
    """The client's connection is to be cut; ``by_reset`` with RST, otherwise after a clean end."""

    def __init__(self, *, by_reset: bool) -> None:
        super().__init__("cut by a rule")
        self.by_reset = by_reset


def relay_requests(wire: Wire, client: socket.socket) -> None:
    """Serve a client's connection until it ends or a rule cuts it."""
    by_reset = False
    with cast("BinaryIO", client.makefile("rb", buffering=PIECE)) as stream:
        try:
            while _Relay(wire, client, stream).one_request():
                pass
            _drain(client)
        except CutError as cut:
            by_reset = cut.by_reset
        except _NETWORK_ERRORS:
            by_reset = True
    _close(client, by_reset=by_reset)


def _close(client: socket.socket, *, by_reset: bool) -> None:
    """Close a connection: with RST as a broken network would, or cleanly."""
    with contextlib.suppress(OSError):
        if by_reset:
            linger = struct.pack("ii", 1, 0)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        else:
            client.shutdown(socket.SHUT_RDWR)
    client.close()


def _drain(client: socket.socket) -> None:
    """Close our side and swallow what the client still sends, so that it can read the answer."""
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_WR)
        client.settimeout(_LINGER_S)
        deadline = time.monotonic() + _LINGER_S
        while time.monotonic() < deadline and client.recv(PIECE):
            pass


class _Relay:
    """One request on its way to the server and back."""

    def __init__(self, wire: Wire, client: socket.socket, stream: BinaryIO) -> None:
        self.wire = wire
        self.client = client
        self.stream = stream
        self.actions: list[rules.Action] = []
        self.body_was_read = True

    def action(self, kind: type[_A]) -> _A | None:
        """Return the first action of a kind that the rules ask for."""
        return next((action for action in self.actions if isinstance(action, kind)), None)

    def one_request(self) -> bool:
        """Relay the next request; return whether the connection stays open for another."""
        head = read_head(self.stream)
        if head is None:
            return False
        method, target, _ = head.start.split(" ", 2)
        path, query = rules.parse_target(target)
        headers = {name.lower(): value for name, value in head.headers}
        signed = _SIGNED_BY.search(headers.pop("authorization", ""))
        self.exchange = rules.Exchange(
            number=0,
            method=method,
            path=path,
            query=query,
            headers=headers,
            access_key=signed[1] if signed else None,
        )
        self.actions = self.wire.begin(self.exchange)
        try:
            keeps_open = self._act(head)
        finally:
            self.wire.note(self.exchange, is_over=True)
        closes = (head.get("Connection") or "").lower() == "close"
        return keeps_open and self.body_was_read and not closes

    def _act(self, head: Head) -> bool:
        self.wire.pause(self.exchange, "request")
        if delay := self.action(rules.Delay):
            self.wire.sleep_until_closed(delay.until)
        reset = self.action(rules.Reset)
        if reset and reset.side == "request":
            raise CutError(by_reset=True)
        if gone := self.action(rules.Gone):
            self.wire.leave(gone.for_s)
            raise CutError(by_reset=True)
        if impostor := self.action(rules.Impostor):
            self.wire.show(impostor.certificate)
            raise CutError(by_reset=True)
        replace = self.action(rules.Replace)
        if replace and not replace.forward:
            return self._answer_at_once(head, replace)
        if whole := self.action(rules.WholeObject):
            return self._answer_at_once(head, self._whole_object(whole))
        with self.wire.upstream.connect() as upstream:
            return self._forward(head, upstream)

    def _whole_object(self, whole: rules.WholeObject) -> rules.Replace:
        bucket, _, key = urllib.parse.unquote(self.exchange.path).lstrip("/").partition("/")
        answer = whole.owner.client().get_object(Bucket=bucket, Key=key)
        headers = {"ETag": answer["ETag"], "Accept-Ranges": "bytes"}
        return rules.Replace(status=200, body=answer["Body"].read(), headers=headers)

    def _answer_at_once(self, head: Head, answer: rules.Replace) -> bool:
        """Answer without the server. A client that waits for 100-continue keeps its body."""
        if head.get("Expect"):
            self.body_was_read = False
        else:
            self._count_request(request_body(head, self.stream))
        self._send_replacement(answer)
        return True

    def _count_request(self, body: Iterator[Piece]) -> None:
        for piece in body:
            if piece.is_payload:
                self.exchange.request_bytes += len(piece.data)

    def _send_replacement(self, answer: rules.Replace) -> None:
        headers = {"Content-Type": "application/xml", **answer.headers}
        is_head = self.exchange.method == "HEAD"
        headers["Content-Length"] = str(len(answer.body))
        head = Head(start=f"HTTP/1.1 {answer.status} Replaced", headers=tuple(headers.items()))
        self.client.sendall(head.to_bytes() + (b"" if is_head else answer.body))
        sent = 0 if is_head else len(answer.body)
        self.wire.note(self.exchange, status=answer.status, response_bytes=sent)

    def _forward(self, head: Head, upstream: socket.socket) -> bool:
        with cast("BinaryIO", upstream.makefile("rb", buffering=PIECE)) as answers:
            upstream.sendall(head.to_bytes())
            early = self._await_continue(head, upstream, answers)
            if early is None:
                early = self._send_body(head, upstream, answers)
            answer = early or self._final_head(answers)
            self.wire.note(self.exchange, upstream_status=answer.status)
            return self._return_answer(answer, answers)

    def _await_continue(
        self, head: Head, upstream: socket.socket, answers: BinaryIO
    ) -> Head | None:
        """Relay the server's 100-continue; return a final answer given in its place."""
        if not head.get("Expect") or not _is_readable(upstream, CONTINUE_WAIT_S):
            return None
        answer = self._interim(answers)
        if answer is not None:
            self.body_was_read = False
        return answer

    def _interim(self, answers: BinaryIO) -> Head | None:
        """Read a head: relay an interim one and return None, or return a final one."""
        answer = read_head(answers)
        if answer is None:
            raise BrokenMessageError("the server closed without an answer")
        if answer.status >= 200:
            return answer
        self.client.sendall(answer.to_bytes())
        return None

    def _final_head(self, answers: BinaryIO) -> Head:
        while True:
            answer = self._interim(answers)
            if answer is not None:
                return answer

    def _send_body(self, head: Head, upstream: socket.socket, answers: BinaryIO) -> Head | None:
        """Stream the request's body; return an answer that the server gives before its end."""
        for piece in self._altered(request_body(head, self.stream), "request"):
            if _is_readable(upstream, 0):
                early = self._interim(answers)
                if early is not None:
                    self.body_was_read = False
                    return early
            try:
                upstream.sendall(piece.data)
            except OSError:
                self.body_was_read = False
                return self._final_head(answers)
            if piece.is_payload:
                self.exchange.request_bytes += len(piece.data)
        return None

    def _return_answer(self, answer: Head, answers: BinaryIO) -> bool:
        method = self.exchange.method
        body = answer_body(method, answer, answers)
        self._lose_answer(body)
        self.wire.pause(self.exchange, "answer")
        if replace := self.action(rules.Replace):
            _exhaust(body)
            self._send_replacement(replace)
            return True
        if edit := self.action(rules.Edit):
            data = b"".join(piece.data for piece in body if piece.is_payload)
            changed = edit.change(data)
            body = iter([Piece(changed)])
            facts = {"Content-Length": str(len(changed)), "Transfer-Encoding": None}
            answer = answer.changed(None, dict(facts))
        if rewrite := self.action(rules.Rewrite):
            start = f"HTTP/1.1 {rewrite.status} Rewritten" if rewrite.status else None
            answer = answer.changed(start, dict(rewrite.headers))
        self._send_answer_head(answer.to_bytes())
        self.wire.note(self.exchange, status=answer.status)
        self._send_answer_body(body)
        return not ends_by_closing(method, answer)

    def _lose_answer(self, body: Iterator[Piece]) -> None:
        """Read the whole answer and cut the client off, where a rule says so."""
        reset = self.action(rules.Reset)
        if reset and reset.side == "answer":
            _exhaust(body)
            raise CutError(by_reset=True)

    def _send_answer_head(self, head: bytes) -> None:
        if self.action(rules.CutHead):
            self.client.sendall(head[: len(head) // 2])
            raise CutError(by_reset=True)
        throttle = self.action(rules.Throttle)
        if not throttle or throttle.only != "answer":
            self.client.sendall(head)
            return
        started, moved = time.monotonic(), 0
        for piece in _sliced(Piece(head), throttle):
            moved += len(piece.data)
            self._pace(started + moved / throttle.bytes_per_s)
            self.client.sendall(piece.data)

    def _send_answer_body(self, body: Iterator[Piece]) -> None:
        for piece in self._altered(body, "answer"):
            self.client.sendall(piece.data)
            if piece.is_payload:
                self.exchange.response_bytes += len(piece.data)

    def _altered(self, body: Iterator[Piece], side: rules.Side) -> Iterator[Piece]:
        """Yield a body with a bit flipped, slowed down, or cut off, where a rule says so."""
        flip, throttle = self.action(rules.Flip), self.action(rules.Throttle)
        if throttle and throttle.only not in {None, side}:
            throttle = None
        limit, moved, started = self._limit(side), 0, time.monotonic()
        for original in body:
            for cut in _sliced(original, throttle) if throttle else (original,):
                piece = cut
                if piece.is_payload:
                    if flip and flip.side == side:
                        piece = _flipped(piece, flip.offset - moved)
                    if limit is not None and moved + len(piece.data) > limit:
                        yield Piece(piece.data[: limit - moved])
                        self._stop_moving()
                    moved += len(piece.data)
                    if throttle:
                        self._pace(started + moved / throttle.bytes_per_s)
                yield piece

    def _limit(self, side: rules.Side) -> int | None:
        """Return after how many bytes the body of a side ends early, if it does."""
        ends = (self.action(rules.Stall), self.action(rules.Truncate))
        return next((end.after_bytes for end in ends if end and end.side == side), None)

    def _stop_moving(self) -> None:
        """End a body early: stall for ever, or cut it off."""
        if self.action(rules.Stall):
            self.wire.sleep_until_closed()
        truncate = self.action(rules.Truncate)
        raise CutError(by_reset=truncate is not None and truncate.by_reset)

    def _pace(self, due: float) -> None:
        wait_s = due - time.monotonic()
        if wait_s > 0 and self.wire.is_closed.wait(wait_s):
            raise ConnectionAbortedError("the wire closed")


def _sliced(piece: Piece, throttle: rules.Throttle) -> Iterator[Piece]:
    """Cut what is slowed down, so that it comes bit by bit and not after a long time at once."""
    if not piece.is_payload:
        yield piece
        return
    size = max(1, throttle.bytes_per_s // _PIECES_A_SECOND)
    for start in range(0, len(piece.data), size):
        yield Piece(piece.data[start : start + size])


def _flipped(piece: Piece, offset: int) -> Piece:
    if not 0 <= offset < len(piece.data):
        return piece
    changed = bytearray(piece.data)
    changed[offset] ^= 1
    return Piece(bytes(changed))


def _exhaust(body: Iterator[Piece]) -> None:
    for _ in body:
        pass


def _is_readable(connection: socket.socket, timeout_s: float) -> bool:
    return bool(select.select([connection], [], [], timeout_s)[0])
