"""How long a connection may take: no byte, too few bytes, or no whole answer (ADR 0016).

A socket's own timeout ends a wait without any byte. It never ends a trickle, since each byte begins
it anew; and what CPython's ``sendall`` makes of it is a limit for the whole body, however well its
bytes move. So a socket is wrapped here, and judged by what it moves in the time spent waiting.
"""

from __future__ import annotations

import errno
import io
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import Enum
from fcntl import ioctl
from termios import TIOCOUTQ
from typing import Any, Final

from urllib3.util import wait_for_read, wait_for_write

# Of a body that is encrypted, so much at once: a call either takes all of it or waits.
_TLS_SLICE: Final = 128 * 1024
_MOST_STEP_S: Final = 1.0
_INT: Final = struct.Struct("i")
# "HTTP/1.1 503": the tenth byte tells an answer from "100 Continue", after which one follows.
_TELLING: Final = 10
_INTERIM_STEP_S: Final = 0.05
# A call that does not wait says so in one of these ways: TLS, plain, pyOpenSSL's.
_NOTHING_YET: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError, TimeoutError)


class Awaited(Enum):
    """What a call's answer is."""

    BODY = "an object's bytes"
    """Of any length: once the head is there, only its pace counts."""

    SMALL = "a small answer"
    """Has to be there as a whole by a deadline."""

    COMPLETE = "the answer to CompleteMultipartUpload"
    """The same with a deadline of its own: the service may put the object together first."""

    TUNNEL = "a proxy's answer to CONNECT"
    """Part of connecting, and as a whole within its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """When a connection is given up, besides a time without any byte.

    :param low_speed_bytes_per_s: a body that moves more slowly is stalled.
    :param low_speed_time_s: seconds of waiting over which that is judged.
    :param answer_deadline_s: seconds from the request's last byte to the answer's last; for an
        object's bytes, to the end of the answer's head.
    :param complete_deadline_s: the same for CompleteMultipartUpload.
    """

    low_speed_bytes_per_s: int = 4096
    low_speed_time_s: float = 60.0
    answer_deadline_s: float = 300.0
    complete_deadline_s: float = 1800.0


def step_of(patience: Patience, no_byte_s: float) -> float:
    """Return the seconds after which whoever waits looks at the clock again."""
    return min(_MOST_STEP_S, patience.low_speed_time_s / 4, no_byte_s / 4)


class StalledError(TimeoutError):
    """A connection was given up: too few bytes, or no whole answer by the deadline."""


AWAITED: Final[ContextVar[Awaited]] = ContextVar("awaited", default=Awaited.BODY)


@contextmanager
def awaiting(awaited: Awaited) -> Iterator[None]:
    """Say what the answers to the block's calls are; without it they may be of any length."""
    token = AWAITED.set(awaited)
    try:
        yield
    finally:
        AWAITED.reset(token)


def reason_of(error: BaseException) -> str | None:
    """Return why a connection was given up here, from whatever an SDK made of it.

    SDKs replace the error by one of their own that says "timed out", or "closed".
    """
    left: BaseException | None = error
    while left is not None:
        if isinstance(left, StalledError):
            return str(left)
        left = left.__cause__ or left.__context__
    return None


class Pace:
    """The pace of one request and its answer; only time spent waiting for the network counts.

    :param no_byte_s: how long a body's next byte may take to be sent.
    """

    def __init__(self, patience: Patience, no_byte_s: float, awaited: Awaited) -> None:
        self.no_byte_s = no_byte_s
        self.step_s = step_of(patience, no_byte_s)
        self._patience = patience
        self._awaited = awaited
        complete = awaited is Awaited.COMPLETE
        self._deadline_s = patience.complete_deadline_s if complete else patience.answer_deadline_s
        self._deadline: float | None = None
        self._began = 0.0
        self._waited = 0.0
        self._moved = 0
        self.begin_sending()

    def begin_sending(self) -> None:
        """Judge the request's body by its pace, and what is read meanwhile by the deadline."""
        self._start_over()
        self._deadline = None

    def begin_answer(self, at: float | None = None) -> None:
        """Judge by the deadline from now on, or from a moment before (monotonic)."""
        self._start_over()
        self._begin_deadline(at)

    def begin_body(self) -> None:
        """Judge an object's bytes by their pace; whatever else is answered, by the deadline."""
        if self._awaited is Awaited.BODY:
            self._start_over()
            self._deadline = None
            self._deadline_s = 0.0

    def _start_over(self) -> None:
        self._waited, self._moved = 0.0, 0

    def _begin_deadline(self, at: float | None = None) -> None:
        self._began = time.monotonic() if at is None else at
        self._deadline = self._began + self._deadline_s

    def left_s(self) -> float | None:
        """Return how long the answer may still take, ``None`` if it is judged by its pace.

        :raises StalledError: if the time is over.
        """
        if self._deadline is None:
            if not self._deadline_s:
                return None
            # An answer that comes before the request's end, such as 100-continue.
            self._begin_deadline()
        left = (self._deadline or 0.0) - time.monotonic()
        if left <= 0:
            raise StalledError(
                f"the connection was given up: {self._awaited.value} was not there as a whole "
                f"after {self._deadline_s:g} s"
            )
        return left

    def judge(self, waited_s: float, moved: int) -> None:
        """Count bytes and the time that was waited for them.

        :raises StalledError: if there were too few of them.
        """
        self._waited += waited_s
        self._moved += moved
        patience = self._patience
        if self._waited < patience.low_speed_time_s:
            return
        if self._moved < patience.low_speed_bytes_per_s * self._waited:
            raise StalledError(
                f"the connection was given up as stalled: {self._moved} bytes in "
                f"{self._waited:.0f} s, at least {patience.low_speed_bytes_per_s} a second were "
                "expected ('low_speed_bytes_per_s' and 'low_speed_time_s' of the connection)"
            )
        self._start_over()


class PacedSocket:
    """A connected socket, plain or TLS, as ``http.client`` uses it; judged by its pace.

    :param pace: of the request under way; another one is set for each.
    """

    def __init__(self, inner: Any, pace: Pace) -> None:  # noqa: ANN401 - sockets, and urllib3's own
        self.pace = pace
        self._inner = inner
        self._timeout: float | None = inner.gettimeout() if hasattr(inner, "gettimeout") else None
        self._set = self._timeout
        self._slice = None if type(inner) is socket.socket else _TLS_SLICE
        self._in_steps = isinstance(inner, ssl.SSLSocket)
        self._ahead = bytearray()
        self.cut_short = False
        """Whether a request was answered before it was sent: no other one may follow it."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever a socket has
        return getattr(self._inner, name)

    def fileno(self) -> int:
        """Return the file descriptor, to wait on."""
        number: int = self._inner.fileno()
        return number

    def settimeout(self, value: float | None) -> None:
        """Set how long a read may wait for any byte."""
        self._timeout = value
        self._apply(value)

    def shutdown(self, how: int) -> None:
        """Shut the connection down under a TLS layer that another thread may be reading from.

        ``SSLSocket.shutdown`` takes that layer away, and the other thread would read what is
        encrypted.
        """
        if isinstance(self._inner, socket.socket):
            socket.socket.shutdown(self._inner, how)
        else:
            self._inner.shutdown(how)

    def makefile(self, mode: str = "rb", buffering: int = -1) -> Any:  # noqa: ANN401 - raw or not
        """Return a file to read the answer from; http.client asks for no other."""
        raw = _Incoming(self._inner.makefile(mode, buffering=0), self)
        return raw if buffering == 0 else _Buffered(raw)

    def receive(self, raw: Any, buffer: Any) -> int | None:  # noqa: ANN401 - files and buffers
        """Read what is there, or wait for it."""
        left = self.pace.left_s()
        if self._ahead:
            return self._give(buffer)
        self._apply(_least(self._timeout, left))
        began = time.monotonic()
        try:
            count: int | None = raw.readinto(buffer)
        except TimeoutError:
            self.pace.left_s()  # Says so, if it was the deadline.
            raise
        if left is None:
            self.pace.judge(time.monotonic() - began, count or 0)
        return count

    def sendall(self, data: Any, flags: int = 0) -> None:  # noqa: ANN401 - what http.client has
        """Send all, as long as bytes move.

        :raises BrokenPipeError: if an answer came, and no more is taken; urllib3 reads it then.
        :raises StalledError: if nothing, or too little, moves.
        """
        view = memoryview(data).cast("B")
        moving = _Moving(self, self._inner)
        while view:
            while not moving.step(wait_for_write):
                if self._is_answered():
                    self.cut_short = True
                    raise BrokenPipeError(errno.EPIPE, "answered before all was sent")
            sent = self._send(view[: self._slice], flags, moving)
            moving.accepted(sent)
            view = view[sent:]

    def drain(self) -> None:
        """Return when all was acknowledged by the peer, or an answer is there."""
        moving = _Moving(self, self._inner)
        while moving.queued and not moving.step(self._is_answered_within):
            pass

    def _send(self, data: memoryview, flags: int, moving: _Moving) -> int:
        """Send what goes at once; of a TLS slice all or, until it is given again, nothing.

        A call that waited for a whole slice would hear neither of an answer nor of the pace.
        urllib3's TLS within TLS would lose what it could not send, and has to wait.
        """
        self._apply(0.0 if self._in_steps else self.pace.no_byte_s)
        try:
            sent: int = self._inner.send(data, flags)
        except ssl.SSLWantWriteError:
            return 0
        except ssl.SSLWantReadError:
            moving.step(wait_for_read)
            return 0
        return sent

    def _is_answered_within(self, _: object, seconds: float) -> bool:
        if len(self._ahead) >= _TELLING:
            # Nothing to wait for if that is no answer yet: what follows it is there already.
            if not self._is_answered():
                time.sleep(min(seconds, _INTERIM_STEP_S))
        elif not wait_for_read(self._inner, seconds):
            return False
        return self._is_answered()

    def _is_answered(self) -> bool:
        """Tell whether an answer has begun, or the connection has ended; never waits.

        That something can be read does not say so: a new TLS 1.3 connection has session tickets,
        and a late "100 Continue" asks for the body. So the first bytes are read, and kept.
        """
        missing = _TELLING - len(self._ahead)
        if missing > 0:
            self._apply(0.0)
            try:
                found = self._inner.recv(missing)
            except _NOTHING_YET:
                return False
            if not found:
                return True
            self._ahead += found
        return len(self._ahead) >= _TELLING and self._ahead[_TELLING - 1] != ord("1")

    def _give(self, buffer: Any) -> int:  # noqa: ANN401 - any writable buffer
        """Give out what was read before its time."""
        count = min(len(buffer), len(self._ahead))
        buffer[:count] = self._ahead[:count]
        del self._ahead[:count]
        return count

    def _apply(self, value: float | None) -> None:
        if value != self._set:
            self._inner.settimeout(value)
            self._set = value


class _Moving:
    """What moves of the bytes that were handed to the kernel: those that the peer acknowledged.

    A send buffer of some megabytes takes no byte for minutes while a slow link drains it.
    """

    def __init__(self, paced: PacedSocket, inner: Any) -> None:  # noqa: ANN401 - see PacedSocket
        self._pace = paced.pace
        self._inner = inner
        self._idle_s = 0.0
        self._unnoted = 0
        self._last = time.monotonic()
        self.queued = _queued(inner)

    def accepted(self, count: int) -> None:
        """Note bytes that the kernel took."""
        known = min(count, self._unnoted)
        self._unnoted -= known
        self.queued += count - known
        self._look()

    def step(self, ready: Any) -> bool:  # noqa: ANN401 - urllib3's functions
        """Wait for a moment; tell whether the socket is ready.

        :raises StalledError: if nothing, or too little, moves meanwhile.
        """
        if ready(self._inner, self._pace.step_s):
            return True
        self._look()
        if self._idle_s >= self._pace.no_byte_s:
            raise StalledError(
                f"the connection was given up: no byte was taken for {self._idle_s:.0f} s"
            )
        return False

    def _look(self) -> None:
        now, queued = time.monotonic(), _queued(self._inner)
        moved, spent = max(0, self.queued - queued), now - self._last
        # Of a TLS slice, of which nothing is noted until all of it was taken.
        self._unnoted += max(0, queued - self.queued)
        self._last, self.queued = now, queued
        self._idle_s = 0.0 if moved else self._idle_s + spent
        self._pace.judge(spent, moved)


def _queued(inner: Any) -> int:  # noqa: ANN401 - see PacedSocket
    return queued_bytes(inner.fileno)


def queued_bytes(fileno: Callable[[], int]) -> int:
    """Return how many bytes the peer has not acknowledged yet, 0 where nobody can tell."""
    try:
        found: int = _INT.unpack(ioctl(fileno(), TIOCOUTQ, _INT.pack(0)))[0]
    except (OSError, ValueError):
        return 0
    return found


def _least(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


class _Incoming(io.RawIOBase):
    """The raw bytes of answers."""

    def __init__(self, raw: Any, paced: PacedSocket) -> None:  # noqa: ANN401 - a socket's file
        super().__init__()
        self._raw = raw
        self._paced = paced

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - any writable buffer
        """Read into a buffer what one call of the system gives."""
        return self._paced.receive(self._raw, buffer)

    def close(self) -> None:
        """Let go of the socket, which closes with the last that holds it."""
        if not self.closed:
            self._raw.close()
        super().close()


class _Buffered(io.BufferedReader):
    """Bytes of answers, of which none is lost when a connection breaks in the middle.

    ``BufferedReader.readinto`` would wait until a whole buffer is full, and throw away what was
    there when an error ended it. ``http.client`` asks it for bodies of known length alone.
    """

    def readinto(self, buffer: Any, /) -> int:  # noqa: ANN401 - any writable buffer
        """Read what is there, at least a byte unless it ends."""
        return self.readinto1(buffer)
