"""Small objects: hundreds of copies under way in one thread, each one GET and one PUT.

A copy of a small object spends its time waiting, and threads that wait cost more than the copy
itself: each wake-up takes the interpreter's lock from another. So here one thread begins calls and
goes on with those that have something to read (``storage.express``).

It takes the way on which everything is as expected, with the same digests, conditions and checks as
``transfer.single`` (it uses them). Whatever is not as expected, from a lost connection to an object
that was replaced, is handed over: the object is copied from its start by ``copy_object``, which can
wait, repeat and tell what is wrong. A PUT that may have landed unheard is found by that one.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections import deque
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    RangeMismatchError,
    S3ResumeError,
)
from airflow_provider_s3resume.storage.express import express_of
from airflow_provider_s3resume.transfer.copier import outcome_of, smallness
from airflow_provider_s3resume.transfer.pool import Workers
from airflow_provider_s3resume.transfer.reading import ExactSource
from airflow_provider_s3resume.transfer.single import SinglePut

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_s3resume.plan.manifest import CopyEntry
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.storage.express import Exchange, Express, Line
    from airflow_provider_s3resume.transfer.context import CopyContext
    from airflow_provider_s3resume.transfer.outcomes import Outcome

log = logging.getLogger(__name__)

MOST_BYTES: Final = 256 * 1024
"""Larger objects are copied in threads: their bytes keep more than one processor busy."""
_FINAL: Final = (AccessDeniedError, RangeMismatchError)
"""Answers that say all: asked again at once, the store says the same (c12, c41)."""
_TICK_S: Final = 0.25
_LOOK_S: Final = 1.0
_CONNECTING: Final = 16
_GATHER_S: Final = 0.001
_MANY, _FEW = 16, 4
"""With so many copies under way, answers to a fourth of them at most are few."""


@dataclass(slots=True, eq=False)
class _Copy:
    """One object under way.

    :param beside: bytes of the budget that go with its own.
    :param put: once it was read.
    """

    entry: CopyEntry
    source: ExactSource
    data: bytearray
    beside: int
    exchange: Exchange[Any] | None = None
    put: SinglePut | None = None
    watched: int = 0

    @property
    def view(self) -> memoryview:
        """The object's bytes."""
        return memoryview(self.data)


@dataclass(slots=True)
class _Side:
    """The lines to one store.

    :param connecting: how many are being opened.
    :param copies: that wait for one.
    """

    store: ObjectStore
    express: Express
    writes: bool
    free: list[Line] = field(default_factory=list)
    count: int = 0
    connecting: int = 0
    failed: bool = False
    copies: deque[_Copy] = field(default_factory=deque)


class Lane:
    """Copies small objects.

    :param more: gives the next ones when those have been begun, none at the end.
    :param done: takes what became of an object that was copied.
    :param failed: takes an object of which another try in this attempt says nothing new.
    :param refused: takes an object that has to be copied in the ordinary way.
    :param finish: runs, elsewhere, what has to look at the target before an object is done; has to
        call what comes with it when that has ended, or will not be.
    :param hopeless: tells whether it is known by now that nothing can be copied.
    """

    def __init__(
        self,
        context: CopyContext,
        entries: Iterable[CopyEntry],
        *,
        done: Callable[[Outcome], None],
        failed: Callable[[CopyEntry, S3ResumeError], None],
        refused: Callable[[CopyEntry], None],
        finish: Callable[[CopyEntry, Callable[[], Outcome], Callable[[], None]], None],
        hopeless: Callable[[], bool],
        more: Callable[[], Iterable[CopyEntry]] = tuple,
    ) -> None:
        self._context = context
        self._most_beside = context.beside_small
        self._todo = deque(entries)
        self._more = more
        self._done = done
        self._failed = failed
        self._refused = refused
        self._finish = finish
        self._hopeless = hopeless
        self._copies: set[_Copy] = set()
        self._users: dict[Line, tuple[_Side, _Copy | None]] = {}
        self._opened: deque[tuple[_Side, Line | None]] = deque()
        self._lock = threading.Lock()
        self._ended = False
        self._looked_at = time.monotonic()
        self._is_slack = False

    def run(self) -> None:
        """Copy all, or as many as go this way; returns when none is under way any more."""
        sides = _sides(self._context)
        try:
            if sides is not None:
                self._run(*sides)
        finally:
            # Those under way first, as they were begun first.
            for copy in list(self._copies):
                self._give_up(copy)
            while self._todo:
                self._refused(self._todo.popleft())

    def _run(self, source: _Side, target: _Side) -> None:
        self._source, self._target = source, target
        with ExitStack() as stack:
            self._selector = stack.enter_context(selectors.DefaultSelector())
            self._bell, ring = socket.socketpair()
            self._ring = ring
            stack.enter_context(closing(self._bell))
            stack.enter_context(closing(ring))
            self._bell.setblocking(False)
            self._selector.register(self._bell, selectors.EVENT_READ)
            self._connectors = Workers(_CONNECTING, "s3resume-connect")
            stack.callback(self._connectors.close)
            stack.callback(self._close_lines)
            while not self._context.stop.is_set() and self._goes_on():
                self._begin_some()
                self._step()

    def _goes_on(self) -> bool:
        is_open = self._source.express.is_open() and self._target.express.is_open()
        if self._hopeless() or not is_open:
            if self._todo:
                log.info("Small objects go on in the ordinary way")
            while self._todo:
                self._refused(self._todo.popleft())
        elif not self._todo:
            self._todo.extend(self._more())
        return bool(self._todo or self._copies)

    # Beginning.

    def _begin_some(self) -> None:
        allowed = self._context.objects.allowed
        while self._todo and len(self._copies) < allowed:
            entry = self._todo[0]
            beside = min(entry.size, self._most_beside)
            data = self._context.budget.try_buffer(entry.size, beside)
            if data is None:
                break
            self._todo.popleft()
            exact = ExactSource(
                self._context.source, entry.key, entry.identity(), self._context.stop
            )
            copy = _Copy(entry, exact, data, beside)
            self._copies.add(copy)
            self._ask(self._source, copy)
        if not self._copies and self._todo:
            # Nothing of the budget is free: others hold it all.
            self._context.stop.wait(_TICK_S)

    def _ask(self, side: _Side, copy: _Copy) -> None:
        """Begin the next call of a copy on a free line, or as soon as there is one."""
        if side.free:
            self._start(side, copy, side.free.pop())
            return
        side.copies.append(copy)
        if side.failed and not side.count:
            self._give_up_waiting(side)
        elif side.connecting < min(len(side.copies), _CONNECTING):
            self._open_line(side)

    def _start(self, side: _Side, copy: _Copy, line: Line) -> None:
        entry = copy.entry
        try:
            if copy.put is not None:
                copy.exchange = copy.put.begin(side.express, line)
            else:
                identity = copy.source.identity
                copy.exchange = side.express.get(line, entry.key, identity, copy.view)
        except S3ResumeError:
            self._drop(side, line)
            self._give_up(copy)
            return
        self._users[line] = (side, copy)
        # The answer cannot be there yet, so this sends.
        self._advance(side, copy)

    # Going on.

    def _step(self) -> None:
        if self._is_slack:
            # To be woken for each answer costs as much as to take it: some are let gather.
            time.sleep(_GATHER_S)
        events = self._selector.select(_TICK_S)
        self._is_slack = self._many_wait(len(events))
        for key, _ in events:
            if key.data is None:
                self._answer_bell()
                continue
            # Who uses the line now: that may have changed since it was found ready.
            side, copy = self._users.get(key.data, (None, None))
            if side is not None and copy is not None:
                self._advance(side, copy)
            elif side is not None and not key.data.is_alive():
                self._drop(side, key.data)
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_S:
            self._looked_at = now
            self._look(now)

    def _many_wait(self, answered: int) -> bool:
        """Tell whether most of many copies wait for answers, and no number of copies was asked for.

        How many are under way is found then, which makes up for a round trip that takes longer.
        """
        count = len(self._copies)
        is_found = not self._context.objects.is_given
        return is_found and count >= _MANY and answered * _FEW <= count

    def _look(self, now: float) -> None:
        for copy in list(self._copies):
            if copy.exchange is not None and copy.exchange.look(now):
                side = self._source if copy.put is None else self._target
                self._end(side, copy)

    def _advance(self, side: _Side, copy: _Copy) -> None:
        exchange = copy.exchange
        if exchange is None:
            return
        if exchange.advance():
            self._end(side, copy)
        elif exchange.wants_to_write != bool(copy.watched):
            copy.watched = int(exchange.wants_to_write)
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if copy.watched else 0)
            self._selector.modify(exchange.line, wanted, exchange.line)

    def _end(self, side: _Side, copy: _Copy) -> None:
        exchange, copy.exchange = copy.exchange, None
        if exchange is None:
            return
        if copy.watched:
            copy.watched = 0
            self._selector.modify(exchange.line, selectors.EVENT_READ, exchange.line)
        try:
            result = exchange.result()
        except S3ResumeError as error:
            self._drop(side, exchange.line)
            self._give_up(copy, error)
            return
        self._free(side, exchange.line, keeps=exchange.keeps)
        if copy.put is None:
            self._was_read(copy, result)
        else:
            self._was_written(copy, copy.put, result)

    def _was_read(self, copy: _Copy, info: Any) -> None:  # noqa: ANN401 - ObjectInfo
        put = SinglePut(self._context, copy.entry, copy.source, info, copy.view)
        if not put.is_plain():
            self._give_up(copy)
            return
        copy.put = put
        self._ask(self._target, copy)

    def _was_written(self, copy: _Copy, put: SinglePut, written: Any) -> None:  # noqa: ANN401 - Written
        self._context.objects.count(1)
        if put.is_clear(written):
            self._done(self._land(copy, put, written))
        else:
            land = partial(self._land, copy, put, written)
            self._finish(copy.entry, land, partial(self._give_back, copy))
        self._copies.discard(copy)

    def _land(self, copy: _Copy, put: SinglePut, written: Any) -> Outcome:  # noqa: ANN401 - Written
        try:
            return outcome_of(copy.entry, copy.source.identity, put.land(written))
        finally:
            self._give_back(copy)

    def _give_up(self, copy: _Copy, error: S3ResumeError | None = None) -> None:
        """Hand a copy over, or let it have failed if the answer leaves nothing open."""
        self._copies.discard(copy)
        self._give_back(copy)
        if copy.exchange is not None:
            # It is given up, and so counted as one that was not answered; whatever the half of an
            # answer says by then, all others have to be handed over, too.
            with suppress(Exception):
                copy.exchange.result()
        if isinstance(error, _FINAL):
            self._failed(copy.entry, error)
            return
        if error is not None:
            log.debug("%r goes the ordinary way: %s", copy.entry.key, error)
        self._refused(copy.entry)

    def _give_back(self, copy: _Copy) -> None:
        data, copy.data = copy.data, bytearray()
        beside, copy.beside = copy.beside, 0
        self._context.budget.give_back(data, beside)

    # Lines.

    def _free(self, side: _Side, line: Line, *, keeps: bool) -> None:
        if not keeps:
            self._drop(side, line)
        elif side.copies:
            self._start(side, side.copies.popleft(), line)
        else:
            self._users[line] = (side, None)
            side.free.append(line)

    def _drop(self, side: _Side, line: Line) -> None:
        self._selector.unregister(line)
        del self._users[line]
        line.close()
        side.count -= 1
        if line in side.free:
            side.free.remove(line)
        if side.copies and side.connecting < len(side.copies):
            self._open_line(side)

    def _open_line(self, side: _Side) -> None:
        side.connecting += 1

        def connect() -> None:
            line = None
            try:
                line = side.express.open_line(writes=side.writes)
            except S3ResumeError as error:
                log.info("No connection for small objects: %s", error)
            finally:
                self._hand_over(side, line)

        self._connectors.submit(connect)

    def _hand_over(self, side: _Side, line: Line | None) -> None:
        """Give the lane's thread a line that was opened, or was not; close one that is too late."""
        with self._lock:
            if not self._ended:
                self._opened.append((side, line))
                self._ring.send(b"\0")
            elif line is not None:
                line.close()

    def _answer_bell(self) -> None:
        self._bell.recv(4096)
        while self._opened:
            side, line = self._opened.popleft()
            side.connecting -= 1
            if line is None:
                side.failed = True
                self._give_up_waiting(side)
                continue
            side.count += 1
            self._selector.register(line, selectors.EVENT_READ, line)
            self._users[line] = (side, None)
            self._free(side, line, keeps=True)

    def _give_up_waiting(self, side: _Side) -> None:
        while side.copies:
            self._give_up(side.copies.popleft())

    def _close_lines(self) -> None:
        for line in self._users:
            line.close()
        with self._lock:
            # What is being opened is closed by whoever opens it.
            self._ended = True
            opened = [line for _, line in self._opened if line is not None]
        for line in opened:
            line.close()


def _sides(context: CopyContext) -> tuple[_Side, _Side] | None:
    source, target = express_of(context.source), express_of(context.target)
    if source is None or target is None or not (source.is_open() and target.is_open()):
        return None
    return (
        _Side(context.source, source, writes=False),
        _Side(context.target, target, writes=True),
    )


def express_sides(context: CopyContext) -> list[Express]:
    """Return the parts for small objects that the two stores have."""
    found = (express_of(store) for store in (context.source, context.target))
    return [express for express in found if express is not None]


def split(
    context: CopyContext, entries: Iterable[CopyEntry]
) -> tuple[list[CopyEntry], list[CopyEntry]]:
    """Return the objects that can go through a lane, and all others."""
    small: list[CopyEntry] = []
    others: list[CopyEntry] = []
    if context.by_service.required or _sides(context) is None:
        return small, list(entries)
    is_small = smallness(context, MOST_BYTES)
    for entry in entries:
        (small if is_small(entry) else others).append(entry)
    if small:
        context.by_service.are_relayed(MOST_BYTES)
    return small, others
