"""One kept HTTP/1.1 connection on which whole bodies move between buffers and the network.

It knows nothing of services and signatures: it is given a head that is ready to be sent, pieces of
a body, and buffers to read the answer into. Everything is judged by its pace (ADR 0016).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from typing import Final

from airflow_provider_s3resume.storage import _heads
from airflow_provider_s3resume.storage._heads import Head, ProtocolError
from airflow_provider_s3resume.storage._pace import (
    Awaited,
    Pace,
    Patience,
    StalledError,
    queued_bytes,
)
from airflow_provider_s3resume.storage._transport import Transport, scratch_of

_HEAD_STEP: Final = 16 * 1024
_WHOLE: Final = 64 * 1024
_CHUNK_LINE: Final = 1024


class AnsweredEarlyError(ConnectionError):
    """The peer has answered, and takes no more of the request: read the answer."""


class Connection:
    """Requests and answers, one after the other, from one thread at a time.

    :param transport: connected.
    :param no_byte_s: seconds that the next byte may take.
    """

    def __init__(self, transport: Transport, patience: Patience, no_byte_s: float) -> None:
        self._transport = transport
        self._patience = patience
        self._no_byte_s = no_byte_s
        self._ahead = bytearray()
        self._pace = Pace(patience, no_byte_s, Awaited.BODY)
        self._accepted = self._acknowledged = 0
        self._looked_at = self._moved_at = 0.0
        self._left: int | None = 0
        self._in_chunks = self._keeps = self._cut_short = self._shut = False
        self.used_at = time.monotonic()

    @property
    def is_reusable(self) -> bool:
        """Whether the last answer was read to its end, and another request may follow."""
        return self._keeps and self._left == 0 and not self._ahead and not self._cut_short

    def is_alive(self) -> bool:
        """Tell whether the peer has not closed the connection meanwhile."""
        return not self._shut and self._transport.is_quiet()

    # A request.

    def begin(self, awaited: Awaited) -> None:
        """Begin a request, whose answer is judged as what is awaited."""
        self._pace = Pace(self._patience, self._no_byte_s, awaited)
        self._accepted = self._acknowledged = 0
        self._looked_at = self._moved_at = time.monotonic()
        self._keeps = False
        self._left = None

    def send(self, *pieces: memoryview) -> None:
        """Send bytes of the request.

        :raises AnsweredEarlyError: if the peer has answered and takes no more.
        :raises StalledError: if nothing, or too little, moves.
        """
        left = [piece for piece in pieces if piece]
        # Time in which nobody wanted to send says nothing about the peer.
        self._looked_at = self._moved_at = time.monotonic()
        while left:
            try:
                taken = self._transport.send(*left)
            except BlockingIOError:
                taken = 0
            except (BrokenPipeError, ConnectionResetError) as error:
                # A refusal may have come before the connection was closed.
                self._cut_short = True
                raise AnsweredEarlyError("the connection was closed while it was sent") from error
            self._accepted += taken
            left = behind(left, taken)
            if left and (not taken or time.monotonic() - self._looked_at > self._pace.step_s):
                self._look_while_sending()

    def end(self) -> None:
        """See to it that the last byte of the request is on its way."""
        while not self._flushed():
            self._look_while_sending()

    def _flushed(self) -> bool:
        try:
            return self._transport.flush()
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError) as error:
            self._cut_short = True
            raise AnsweredEarlyError("the connection was closed while it was sent") from error

    def _look_while_sending(self) -> None:
        self._look()
        if self._is_answered():
            self._cut_short = True
            raise AnsweredEarlyError("answered before all was sent")

    def _look(self) -> None:
        """Judge what moved: what the peer has acknowledged."""
        now = time.monotonic()
        acknowledged = self._accepted - queued_bytes(self._transport.fileno)
        moved = max(0, acknowledged - self._acknowledged)
        self._acknowledged = max(self._acknowledged, acknowledged)
        if moved:
            self._moved_at = now
        elif now - self._moved_at >= self._no_byte_s:
            idle = now - self._moved_at
            raise StalledError(f"the connection was given up: no byte was taken for {idle:.0f} s")
        spent, self._looked_at = now - self._looked_at, now
        self._pace.judge(spent, moved)

    def _is_answered(self) -> bool:
        """Tell whether an answer has begun, or the connection has ended; never waits."""
        while not self._has_final():
            scratch = scratch_of(_HEAD_STEP)
            found = self._transport.glance(scratch)
            if not found:
                return found == 0
            self._ahead += scratch[:found]
        return True

    def _has_final(self) -> bool:
        """Tell whether the head of the final answer has begun; interim ones are dropped."""
        while _heads.is_interim(self._ahead):
            end = self._ahead.find(_heads.END)
            if end < 0:
                return False
            del self._ahead[: end + len(_heads.END)]
        return _heads.is_telling(self._ahead)

    # The answer.

    def answer(self, method: str) -> Head:
        """Read the head of the answer.

        :raises StalledError: if it is not there as a whole by its deadline.
        :raises ConnectionError: if the peer closes the connection instead.
        """
        self._await_answer()
        self._pace.begin_answer()
        while True:
            end = self._ahead.find(_heads.END) if self._has_final() else -1
            if end >= 0:
                break
            self._read_ahead()
        head = bytes(self._ahead[:end])
        del self._ahead[: end + len(_heads.END)]
        found = _heads.parse_head(head, method)
        self._left, self._in_chunks = found.length, found.chunked
        self._keeps = found.keeps
        self._pace.begin_body()
        return found

    def _await_answer(self) -> None:
        """Return when an answer has begun, or all of the request was acknowledged."""
        while not self._has_final():
            try:
                self._receive_ahead()
            except BlockingIOError:
                if self._acknowledged >= self._accepted:
                    return
                self._look()

    def _read_ahead(self) -> None:
        if len(self._ahead) > _heads.MOST:
            raise ProtocolError(f"the head of the answer has more than {_heads.MOST} bytes")
        began, count, left = time.monotonic(), 0, self._pace.left_s()
        with contextlib.suppress(BlockingIOError):
            count = self._receive_ahead()
        self._count(began, count, judged=left is None)

    def _receive_ahead(self) -> int:
        scratch = scratch_of(_HEAD_STEP)
        count = self._transport.receive(scratch)
        if not count:
            raise ConnectionResetError("the connection was closed without an answer")
        self._ahead += scratch[:count]
        return count

    def _count(self, began: float, count: int, *, judged: bool) -> None:
        """Judge a wait: bytes by their pace, or by the time without any."""
        now = time.monotonic()
        if count:
            self._moved_at = now
        elif now - self._moved_at >= self._no_byte_s:
            idle = now - self._moved_at
            raise StalledError(f"the connection was given up: no byte came for {idle:.0f} s")
        if judged:
            self._pace.judge(now - began, count)

    # Its body.

    def readinto(self, view: memoryview) -> int:
        """Fill the start of ``view`` with bytes of a body of known length; 0 at its end.

        :raises ConnectionError: if the connection ends before the body does.
        :raises StalledError: if nothing, or too little, comes.
        """
        wanted = min(len(view), self._left or 0)
        if not wanted:
            return 0
        if self._ahead:
            count = min(wanted, len(self._ahead))
            view[:count] = self._ahead[:count]
            del self._ahead[:count]
        else:
            # A small rest is waited for in one call.
            count = self._wait_for(view[:wanted], whole=wanted <= _WHOLE)
            if not count:
                raise ConnectionResetError(f"the body ends {self._left} bytes early")
        self._left = (self._left or 0) - count
        return count

    def _wait_for(self, view: memoryview, *, whole: bool = False) -> int:
        # Time in which nobody wanted to read says nothing about the peer.
        self._moved_at = time.monotonic()
        while True:
            began, left = time.monotonic(), self._pace.left_s()
            try:
                count = self._transport.receive(view, whole=whole)
            except BlockingIOError:
                self._count(began, 0, judged=left is None)
                continue
            self._count(began, count or 1, judged=left is None)
            return count

    def read_rest(self, most: int) -> bytes:
        """Return the rest of a small body, in whatever way it ends.

        :raises ProtocolError: if it has more than ``most`` bytes.
        """
        if self._in_chunks:
            return b"".join(self._chunks(most))
        found = bytearray()
        if self._left is not None:
            if self._left > most:
                raise ProtocolError(f"a body of {self._left} bytes, at most {most} were expected")
            found = bytearray(self._left)
            view, at = memoryview(found), 0
            while at < len(found):
                at += self.readinto(view[at:])
            return bytes(found)
        return bytes(self._until_closed(most))

    def _until_closed(self, most: int) -> bytearray:
        scratch = scratch_of(_HEAD_STEP)
        while len(self._ahead) <= most:
            count = self._wait_for(scratch)
            if not count:
                found, self._ahead, self._left = self._ahead, bytearray(), 0
                return found
            self._ahead += scratch[:count]
        raise ProtocolError(f"a body of more than {most} bytes")

    def _chunks(self, most: int) -> Iterable[bytes]:
        """Yield the body's chunks (RFC 9112, 7.1), and read what follows them."""
        while size := self._chunk_size():
            most -= size
            if most < 0:
                raise ProtocolError("a body in chunks is larger than was expected")
            yield self._exactly(size)
            if self._exactly(2) != b"\r\n":
                raise ProtocolError("a chunk does not end where it says")
        while self._line():
            pass
        self._left, self._in_chunks = 0, False

    def _chunk_size(self) -> int:
        size = self._line().partition(b";")[0].strip()
        if not size or len(size) > 8 or not all(c in b"0123456789abcdefABCDEF" for c in size):  # noqa: PLR2004 - eight digits are 4 GiB
            raise ProtocolError(f"a chunk of the size {size[:20]!r}")
        return int(size, 16)

    def _line(self) -> bytes:
        while (end := self._ahead.find(b"\r\n")) < 0:
            if len(self._ahead) > _CHUNK_LINE:
                raise ProtocolError("a line between chunks is too long")
            self._read_ahead()
        line = bytes(self._ahead[:end])
        del self._ahead[: end + 2]
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self._ahead) < size:
            self._read_more()
        found = bytes(self._ahead[:size])
        del self._ahead[:size]
        return found

    def _read_more(self) -> None:
        scratch = scratch_of(_HEAD_STEP)
        count = self._wait_for(scratch)
        if not count:
            raise ConnectionResetError("the body ends before its last chunk")
        self._ahead += scratch[:count]

    # Its end.

    def abort(self) -> None:
        """Break the connection, from any thread: who waits for it is told at once."""
        self._shut = True
        self._transport.shut_down()

    def close(self) -> None:
        """Close the connection."""
        self._shut = True
        self._transport.close()


def behind(pieces: list[memoryview], taken: int) -> list[memoryview]:
    """Return what is left of pieces of which so many bytes were taken."""
    left = []
    for piece in pieces:
        if taken >= len(piece):
            taken -= len(piece)
        else:
            left.append(piece[taken:])
            taken = 0
    return left
