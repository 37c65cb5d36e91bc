"""One request and its answer on a connection that never waits: a thread drives hundreds of them.

What is out of the ordinary (an answer that is no success, a body in chunks, a length that was not
expected) is not sorted out here: the exchange fails, and whoever began it makes the call in the
ordinary way, which can tell, wait and repeat.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from airflow_provider_s3resume.storage import _heads
from airflow_provider_s3resume.storage._connection import behind
from airflow_provider_s3resume.storage._heads import Head, ProtocolError
from airflow_provider_s3resume.storage._pace import Awaited, Pace, Patience, StalledError
from airflow_provider_s3resume.storage._transport import Transport, scratch_of

T = TypeVar("T")
_STEP: Final = 16 * 1024
_MOST_OF_A_REFUSAL: Final = 64 * 1024
_SUCCESS: Final = range(200, 300)


class Line:
    """A connection for exchanges, one after the other.

    :param transport: connected; it waits for nothing from now on.
    :param place: which other lines lead to the same place.
    """

    def __init__(
        self, transport: Transport, place: object, patience: Patience, no_byte_s: float
    ) -> None:
        self.transport = transport
        self.place = place
        self.patience = patience
        self.no_byte_s = no_byte_s
        self._number = transport.fileno()
        transport.stop_waiting()

    def fileno(self) -> int:
        """Return the file descriptor, to be told when something can be read or written."""
        return self._number

    def is_alive(self) -> bool:
        """Tell whether it may be used, after something could be read though nobody asked."""
        return self.transport.is_quiet()

    def close(self) -> None:
        """Close the connection."""
        self.transport.close()


class Exchange(Generic[T]):
    """A request that was begun, and its answer.

    :param sink: takes the body of a success, which has to be of this length; ``None`` if the body
        is of no interest.
    :param finish: makes the result of the answer's head and, of an answer that is no success, its
        body; raises what is wrong with it.
    :param translate: makes an error of this provider of one of the network's.
    """

    def __init__(
        self,
        line: Line,
        method: str,
        pieces: list[memoryview],
        *,
        sink: memoryview | None,
        finish: Callable[[Head, bytes], T],
        translate: Callable[[BaseException], BaseException],
    ) -> None:
        self.line = line
        self.keeps = False
        self.wants_to_write = False
        self._method = method
        self._pieces = pieces
        self._sink = sink
        self._finish = finish
        self._translate = translate
        self._ahead = b""
        self._head: Head | None = None
        self._refusal: bytes | bytearray = b""
        self._filled = 0
        self._error: BaseException | None = None
        self._sent = False
        self._awaited = Awaited.BODY if sink is not None else Awaited.SMALL
        # Most exchanges have ended before anybody looks at their pace.
        self._pace: Pace | None = None
        self._sent_at = 0.0
        self._moved = 0
        self._looked_at = self._moved_at = time.monotonic()

    def advance(self) -> bool:
        """Do what can be done without waiting; tell whether the exchange has ended."""
        try:
            if not self._sent:
                ended = self._send()
                # What has just been sent is not answered yet. To ask for the answer costs a system
                # call, and whoever waits for the line is told when it is there.
                if ended or not self._has_ahead():
                    return ended
            return self._receive()
        except BlockingIOError:
            return False
        except (OSError, ValueError) as error:
            self._error = _bare(error)
            return True

    def _has_ahead(self) -> bool:
        return self._sent and self.line.transport.has_ahead()

    def look(self, now: float) -> bool:
        """Judge what has moved since the last look; tell whether the exchange has ended."""
        moved, self._moved = self._moved, 0
        spent, self._looked_at = now - self._looked_at, now
        self._moved_at = now if moved else self._moved_at
        idle = now - self._moved_at
        if idle >= self.line.no_byte_s:
            self._error = StalledError(f"the connection was given up: no byte for {idle:.0f} s")
            return True
        try:
            pace = self._pace or self._begin_pace()
            if not self._sent or self._head is not None:
                pace.judge(spent, moved)
            else:
                pace.left_s()
        except StalledError as error:
            self._error = _bare(error)
            return True
        return False

    def _begin_pace(self) -> Pace:
        """Return the pace of an exchange that lasts, as if it had been there from the start."""
        pace = self._pace = Pace(self.line.patience, self.line.no_byte_s, self._awaited)
        if self._sent:
            pace.begin_answer(self._sent_at)
        if self._head is not None:
            pace.begin_body()
        return pace

    def result(self) -> T:
        """Return what the answer says; nothing is kept of it here.

        :raises StoreError: as it is, or as the network failed.
        """
        head, error = self._head, self._error
        self._error, self._sink, self._pieces = None, None, []
        if head is None or error is not None:
            self.keeps = False
            error = error or ProtocolError("there is no answer")
            # Chained by whoever translates, unless its text holds a secret.
            raise self._translate(error)
        try:
            return self._finish(head, bytes(self._refusal))
        except BaseException:
            self.keeps = False
            raise

    def _send(self) -> bool:
        """Send what can be sent; tell whether the exchange has ended, refused before it was."""
        transport = self.line.transport
        try:
            while self._pieces:
                taken = transport.send(*self._pieces)
                self._moved += taken
                whole = taken == sum(map(len, self._pieces))
                self._pieces = [] if whole else behind(self._pieces, taken)
            transport.flush()
        except BlockingIOError:
            self.wants_to_write = True
            # Whoever refuses a request may do so before it has come.
            try:
                return self._receive()
            except BlockingIOError:
                return False
        except (BrokenPipeError, ConnectionResetError):
            # A refusal may be there to be read.
            self._pieces, self.wants_to_write = [], False
            return self._receive()
        self._sent, self.wants_to_write = True, False
        self._sent_at = time.monotonic()
        if self._pace is not None:
            self._pace.begin_answer(self._sent_at)
        return False

    def _receive(self) -> bool:
        if self._head is None:
            self._head = self._read_head()
            if self._pace is not None:
                self._pace.begin_body()
            if not self._expects(self._head):
                unexpected = self._sink is not None and self._head.status in _SUCCESS
                return self._end(self._head.length == 0 and not unexpected)
        sink = self._sink
        while sink is not None and self._filled < len(sink):
            count = self.line.transport.receive(sink[self._filled :])
            if not count:
                missing = len(sink) - self._filled
                raise ConnectionResetError(f"the body ends {missing} bytes early")
            self._filled += count
            self._moved += count
        return self._end(True)

    def _expects(self, head: Head) -> bool:
        """Tell whether a body is to be read: an object's of the right length, or a refusal's."""
        if head.status in _SUCCESS and not self._sent:
            raise ConnectionResetError("a success was answered before all was sent")
        is_read = head.length is not None and head.length <= _MOST_OF_A_REFUSAL
        if self._sink is None and (head.chunked or (head.status in _SUCCESS and not is_read)):
            # The body of a success may say that it is none.
            raise ProtocolError("an answer of which it is not known what it says")
        if head.status not in _SUCCESS or self._sink is None:
            # A success to a write has a body only to say that it is none.
            if not head.length or head.length > _MOST_OF_A_REFUSAL:
                return False
            self._refusal = bytearray(head.length)
            self._sink = memoryview(self._refusal)
        if head.length != len(self._sink):
            return False
        self._take_ahead(self._sink)
        return True

    def _read_head(self) -> Head:
        more = 0 if self._sink is None else len(self._sink)
        while True:
            end = self._ahead.find(_heads.END)
            if end >= 0:
                data, self._ahead = self._ahead[:end], self._ahead[end + len(_heads.END) :]
                if not _heads.is_interim(data):
                    return _heads.parse_head(data, self._method)
                continue
            if len(self._ahead) > _heads.MOST:
                raise ProtocolError(f"the head of the answer has more than {_heads.MOST} bytes")
            scratch = scratch_of(_STEP)
            count = self.line.transport.receive(scratch, more=more)
            if not count:
                raise ConnectionResetError("the connection was closed without an answer")
            self._moved += count
            # Mostly there was nothing before, and this is all.
            self._ahead += bytes(scratch[:count])

    def _take_ahead(self, sink: memoryview) -> None:
        ahead = self._ahead
        count = self._filled = min(len(ahead), len(sink))
        if count:
            sink[:count] = ahead[:count] if count < len(ahead) else ahead
            self._ahead = ahead[count:]

    def _end(self, whole: bool) -> bool:  # noqa: FBT001 - one caller's word
        head = self._head
        keeps = whole and self._sent and head is not None and head.keeps
        # What came behind the answer was not asked for: nobody knows what it would be taken for.
        self.keeps = keeps and not self._ahead and not self.line.transport.has_ahead()
        return True


def _bare(error: BaseException) -> BaseException:
    """Return an error without the way it came: those frames hold the object's bytes.

    Its memory is given back when the exchange has ended, and not when garbage is looked for.
    """
    error.__context__ = None
    return error.with_traceback(None)
