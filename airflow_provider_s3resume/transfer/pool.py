"""Threads and memory that all objects and parts of a task share."""

from __future__ import annotations

import threading
import traceback
from collections import deque
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.parts import KIB, MIB
from airflow_provider_s3resume.transfer.allocation import unfilled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_s3resume.transfer.stopping import StopSignal

_T = TypeVar("_T")
_POLL_S = 0.5
_KEPT_FROM = 256 * KIB
"""Smaller blocks are kept by the C library itself (see ``allocation``)."""
_MUCH_LARGER = 8


class MemoryBudget:
    """Bytes of object data that may be held at once; who asks first is served first.

    :param total: bytes.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.peak: int = 0
        self._used = 0
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._kept: list[bytearray] = []

    @property
    def most_parts(self) -> int:
        """How many parts can be under way at once, each of at least 1 MiB."""
        return max(1, self.total // MIB)

    @property
    def most_objects(self) -> int:
        """How many objects can be under way at once: beside their bytes each takes some memory.

        A thread, its connections and a request, that is; with one for 256 KiB the least budget was
        measured to leave nothing of the 150 MiB that a task may take beside it.
        """
        return max(1, self.total // self.of_objects(1))

    @staticmethod
    def of_objects(count: int) -> int:
        """Return the budget in which so many objects can be under way."""
        return count * 512 * KIB

    @contextmanager
    def hold(self, size: int, stop: StopSignal) -> Iterator[None]:
        """Hold ``size`` bytes for the length of a ``with`` block, waiting until they are free.

        What the block allocates belongs into functions that it calls. If one of them raises, its
        variables are cleared before the bytes count as free: an error may be kept for long, and
        its traceback with all that the functions held.

        :raises InvalidInputError: if ``size`` is more than the whole budget.
        :raises CopyStoppedError: if told to stop while waiting.
        """
        self._take(size, stop)
        try:
            yield
        except BaseException as error:
            _let_go(error)
            raise
        finally:
            self._free(size)

    @contextmanager
    def buffer(self, size: int, stop: StopSignal, beside: int = 0) -> Iterator[memoryview]:
        """Hold a buffer of ``size`` bytes for the length of a ``with`` block, as :meth:`hold` does.

        What is in it at first may be anything. A large one is kept for the next who asks, since to
        have the system map as much anew costs more than to fill it; what is kept is part of the
        budget, and is given up as soon as there is no room beside it. After an error nobody knows
        who may still look at it, and it is not used again.

        :param beside: bytes that whoever holds the buffer holds beside it; if there is not so much
            in the whole budget, as many as there are.
        """
        beside = self._bounded(beside, size)
        data = self._take(size, stop, with_kept=size >= _KEPT_FROM, beside=beside)
        held = beside + (size if data is None else len(data))
        try:
            if data is None:
                data = unfilled(size) if size >= _KEPT_FROM else bytearray(size)
            with memoryview(data) as whole, whole[:size] as view:
                yield view
        except BaseException as error:
            _let_go(error)
            if data is not None:
                empty(data)
            data = None
            raise
        finally:
            self._free(held, data)

    def try_buffer(self, size: int, beside: int = 0) -> bytearray | None:
        """Return a buffer of just this size if there is room now, to be given back by hand.

        :param beside: as of :meth:`buffer`.
        """
        needed = size + self._bounded(beside, size)
        with self._changed:
            if self._waiting or self._used + needed > self.total:
                return None
            self._used += needed
            self._make_room()
            self.peak = max(self.peak, self._used)
        return bytearray(size)

    def give_back(self, data: bytearray, beside: int = 0) -> None:
        """Take back a buffer of :meth:`try_buffer`; nobody may look at it any more.

        :param beside: what was given for it there.
        """
        self._free(len(data) + self._bounded(beside, len(data)))

    def _bounded(self, beside: int, size: int) -> int:
        """Return as much of ``beside`` as the whole budget has room for beside ``size``."""
        return max(0, min(beside, self.total - size))

    def _take(
        self, size: int, stop: StopSignal, *, with_kept: bool = False, beside: int = 0
    ) -> bytearray | None:
        """Wait for room and take it, with a kept buffer that fits if one is asked for."""
        needed = size + beside
        if needed > self.total:
            accepted = f"at least {needed} bytes, the size of one buffer that is needed"
            raise InvalidInputError("memory_budget", found=self.total, accepted=accepted)
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or self._used + needed > self.total:
                    stop.check()
                    self._changed.wait(_POLL_S)
                stop.check()
                data = self._kept_one(size, beside) if with_kept else None
                self._used += beside + (size if data is None else len(data))
                self._make_room()
                self.peak = max(self.peak, self._used)
                return data
            finally:
                self._waiting.remove(ticket)
                if self._waiting:
                    self._changed.notify_all()

    def _free(self, size: int, data: bytearray | None = None) -> None:
        with self._changed:
            self._used -= size
            if data is not None and len(data) >= _KEPT_FROM and _is_free(data):
                self._kept.append(data)
                self._make_room()
            if self._waiting:
                self._changed.notify_all()

    def _kept_one(self, size: int, beside: int) -> bytearray | None:
        """Return a buffer that is kept and not much larger, if there is one with room for all."""
        most = min(size + size // _MUCH_LARGER, self.total - self._used - beside)
        for at, data in enumerate(self._kept):
            if size <= len(data) <= most:
                return self._kept.pop(at)
        return None

    def _make_room(self) -> None:
        """Give up what is kept, the oldest first, as far as there is no room for it."""
        if not self._kept:
            return
        kept = sum(map(len, self._kept))
        while self._kept and self._used + kept > self.total:
            kept -= len(self._kept[0])
            empty(self._kept.pop(0))


def _is_free(data: bytearray) -> bool:
    """Tell whether nobody can still look at a buffer: only then may its size change."""
    try:
        # In this order it is not made larger.
        data.append(data.pop())
    except BufferError:
        return False
    return True


def empty(data: bytearray) -> None:
    """Give a buffer's memory back now, whoever may still refer to it.

    botocore's requests refer to themselves, and to what they sent: they wait for the collector.
    """
    # Whoever still looks at its bytes keeps them.
    with suppress(BufferError):
        data.clear()


def _let_go(error: BaseException) -> None:
    """Clear the variables of all that has ended with an error, and with those that it came from."""
    left, seen = [error], set[int]()
    while left:
        one = left.pop()
        seen.add(id(one))
        traceback.clear_frames(one.__traceback__)
        left += [e for e in (one.__cause__, one.__context__) if e and id(e) not in seen]


class Workers:
    """Up to a number of daemon threads, each started when there is a job that no idle one takes.

    The standard pool joins its threads when the interpreter ends; a thread stuck in a dead
    connection would then keep a task alive that Airflow has already failed. These do not.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._changed = threading.Condition()
        self._jobs: deque[Callable[[], None]] = deque()
        self._idle = 0
        self._started = self._alive = self._running = 0
        self._closed = False

    def submit(self, function: Callable[[], _T]) -> Future[_T]:
        """Run ``function`` in one of the threads; its result or error is in the future."""
        future: Future[_T] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - carried to the waiting thread
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._changed:
            self._jobs.append(job)
            # An idle thread that was told, and has not woken up, still has its job in the queue.
            if len(self._jobs) > self._idle and self._alive < self._count:
                self._start_one()
            self._changed.notify()
        return future

    def free(self) -> int:
        """Return how many jobs would begin at once if they were submitted now."""
        with self._changed:
            return max(0, self._count - self._running - len(self._jobs))

    def resize(self, count: int) -> None:
        """Let another number of jobs run at once from now on; what runs is not touched."""
        with self._changed:
            self._count = count
            for _ in range(min(count - self._alive, len(self._jobs) - self._idle)):
                self._start_one()
            self._changed.notify_all()

    def close(self) -> None:
        """Let the threads end after what was submitted; does not wait for them."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _start_one(self) -> None:
        name = f"{self._name}-{self._started}"
        self._started += 1
        self._alive += 1
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        ended = 0
        while (job := self._next(ended)) is not None:
            job()
            del job  # Neither the job nor what it holds may outlive its run.
            ended = 1

    def _next(self, ended: int) -> Callable[[], None] | None:
        """Return the next job, ``None`` to end.

        :param ended: how many jobs the thread has run since it asked before.
        """
        with self._changed:
            self._running -= ended
            self._idle += 1
            while not self._jobs and not self._closed and self._alive <= self._count:
                self._changed.wait()
            self._idle -= 1
            if self._jobs and self._alive <= self._count:
                self._running += 1
                return self._jobs.popleft()
            self._alive -= 1
            return None
