"""A memory store with a part for small objects, whose every answer can be held, lost or refused.

What it shows is the order of things in the lane itself; what goes over a wire, real servers show.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from airflow_provider_s3resume.exceptions import TransientStoreError
from airflow_provider_s3resume.plan.digests import Checksum
from airflow_provider_s3resume.plan.objects import ObjectInfo, SourceIdentity
from airflow_provider_s3resume.storage.base import Condition, NewUpload, ObjectStore, Written
from airflow_provider_s3resume.storage.express import Exchange, Line, Requests
from airflow_provider_s3resume.storage.layers import Layer

T = TypeVar("T")
GET, PUT = "GetObject", "PutObject"
DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What becomes of one call.

    :param error: what its result raises.
    :param carried_out: it had taken effect by then.
    """

    error: BaseException
    carried_out: bool = False


def broken(operation: str, *, carried_out: bool = False) -> Fault:
    """Return the fault of a connection that was lost."""
    return Fault(
        error=TransientStoreError(operation, "memory", "the connection was lost"),
        carried_out=carried_out,
    )


class MemoryLine:
    """A socket; the other end of it says when something can be read."""

    def __init__(self, place: object) -> None:
        self.place = place
        self.is_closed = False
        self._mine, self._theirs = socket.socketpair()
        self._mine.setblocking(False)
        self._number = self._mine.fileno()

    def fileno(self) -> int:
        """Return what a selector waits on."""
        return self._number

    def is_alive(self) -> bool:
        """Tell whether the other end is there still."""
        with suppress(BlockingIOError):
            return bool(self._mine.recv(1, socket.MSG_PEEK))
        return True

    def close(self) -> None:
        """Close both ends."""
        self.is_closed = True
        self._mine.close()
        self._theirs.close()

    def ring(self) -> None:
        """Say that an answer is there."""
        with suppress(OSError):
            self._theirs.send(b"\0")

    def hang_up(self) -> None:
        """End it from the other side."""
        self._theirs.close()

    def heard(self) -> bool:
        """Tell whether an answer is there."""
        with suppress(BlockingIOError):
            return bool(self._mine.recv(1))
        return False


class MemoryExchange(Generic[T]):
    """A call that takes effect when its result is asked for."""

    def __init__(
        self, express: MemoryExpress, line: MemoryLine, name: tuple[str, str], act: Callable[[], T]
    ) -> None:
        self.line = line
        self.keeps = False
        self.wants_to_write = False
        self.operation, self.key = name
        self._express = express
        self._act = act
        self._begun = self._answered = False

    def advance(self) -> bool:
        """Begin, or tell whether the answer is there."""
        if not self._begun:
            self._begun = True
            self.wants_to_write = self._express.is_slow_to_take(self.operation, self.key)
            self._express.begin(self)
            return False
        self._answered = self.line.heard()
        return self._answered

    def look(self, _now: float) -> bool:
        """Give it up if the test says so."""
        return self._express.gives_up(self.operation, self.key)

    def result(self) -> T:
        """Let the call take effect, if its answer was awaited."""
        self._express.end(self)
        fault = self._express.fault(self.operation, self.key)
        if not self._answered:
            fault = broken(self.operation)
        if fault is None:
            found = self._act()
            self.keeps = self._express.keeps_lines
            return found
        if fault.carried_out:
            self._act()
        raise fault.error


class MemoryExpress:
    """The part of a memory store that small objects go through; every hook may be replaced.

    :param fault: what becomes of a call of an operation and a key, ``None`` for success.
    :param holds: tells whether an answer is kept back, until :meth:`release`.
    :param gives_up: tells whether a call under way is given up when it is looked at.
    :param is_slow_to_take: tells whether a call wants to go on when its line can be written.
    :param connect: called before a line is opened, in the thread that waits for it; may raise.
    """

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.fault: Callable[[str, str], Fault | None] = lambda _operation, _key: None
        self.holds: Callable[[str, str], bool] = lambda _operation, _key: False
        self.gives_up: Callable[[str, str], bool] = lambda _operation, _key: False
        self.is_slow_to_take: Callable[[str, str], bool] = lambda _operation, _key: False
        self.connect: Callable[[], None] = lambda: None
        self.is_closed = False
        self.keeps_lines = True
        self.lines: list[MemoryLine] = []
        self.begun: list[tuple[str, str]] = []
        self.most = 0
        self._under_way = 0
        self._held: list[MemoryLine] = []
        self._changed = threading.Condition()

    @property
    def can_fork(self) -> bool:
        """Tell that it cannot: what a forked process wrote would be lost."""
        return False

    def after_fork(self) -> None:
        """Not be called."""
        raise AssertionError

    def made(self) -> Requests:
        """Return nothing."""
        return Requests()

    def add_made(self, requests: Requests) -> None:
        """Not be called."""
        raise AssertionError(requests)

    def is_open(self) -> bool:
        """Tell whether calls may be begun."""
        return not self.is_closed

    def open_line(self, *, writes: bool) -> MemoryLine:
        """Connect."""
        del writes
        self.connect()
        line = MemoryLine(self)
        with self._changed:
            self.lines.append(line)
            self._changed.notify_all()
        return line

    def get(
        self, line: Line, key: str, identity: SourceIdentity, sink: memoryview
    ) -> Exchange[ObjectInfo]:
        """Begin to read an object whole."""

        def act() -> ObjectInfo:
            filled = 0
            with self.store.open_range(key, None, identity) as reader:
                while count := reader.readinto(sink[filled:]):
                    filled += count
                return reader.info

        return MemoryExchange(self, _own(line), (GET, key), act)

    def put(
        self,
        line: Line,
        key: str,
        body: memoryview,
        *,
        upload: NewUpload,
        checksum: Checksum | None,
        condition: Condition | None,
        content_md5: str | None,
    ) -> Exchange[Written]:
        """Begin to write an object."""

        def act() -> Written:
            return self.store.put_object(
                key,
                body,
                upload=upload,
                checksum=checksum,
                condition=condition,
                content_md5=content_md5,
            )

        return MemoryExchange(self, _own(line), (PUT, key), act)

    def begin(self, exchange: MemoryExchange[T]) -> None:
        """Count a call; its answer is there at once, unless it is held."""
        with self._changed:
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            self.begun.append((exchange.operation, exchange.key))
            held = self.holds(exchange.operation, exchange.key)
            if held:
                self._held.append(exchange.line)
            self._changed.notify_all()
        if not held:
            exchange.line.ring()

    def end(self, exchange: MemoryExchange[T]) -> None:
        """Count the end of a call."""
        with self._changed:
            self._under_way -= 1
            if exchange.line in self._held:
                self._held.remove(exchange.line)

    def release(self, count: int | None = None) -> None:
        """Let so many of the answers that are held come, all if not told how many."""
        with self._changed:
            free, self._held = self._held[:count], self._held[len(self._held[:count]) :]
        for line in free:
            line.ring()

    def wait_held(self, count: int) -> None:
        """Return once so many answers are held."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self._held) >= count, DEADLINE_S)


class ExpressStore(Layer):
    """A store with such a part."""

    def __init__(self, inner: ObjectStore) -> None:
        super().__init__(inner)
        self.express = MemoryExpress(inner)


def _own(line: Line) -> MemoryLine:
    assert isinstance(line, MemoryLine)
    return line
