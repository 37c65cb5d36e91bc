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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_s3resume.transfer.stopping import StopSignal

_T = TypeVar("_T")
_POLL_S = 0.5


class MemoryBudget:
    """Bytes of object data that may be held at once; who asks first is served first.

    :param total: bytes.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.peak = 0
        self._used = 0
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()

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
        return max(1, self.total // (512 * KIB))

    @contextmanager
    def hold(self, size: int, stop: StopSignal) -> Iterator[None]:
        """Hold ``size`` bytes for the length of a ``with`` block, waiting until they are free.

        What the block allocates belongs into functions that it calls. If one of them raises, its
        variables are cleared before the bytes count as free: an error may be kept for long, and
        its traceback with all that the functions held.

        :raises InvalidInputError: if ``size`` is more than the whole budget.
        :raises CopyStoppedError: if told to stop while waiting.
        """
        if size > self.total:
            accepted = f"at least {size} bytes, the size of one buffer that is needed"
            raise InvalidInputError("memory_budget", found=self.total, accepted=accepted)
        self._take(size, stop)
        try:
            yield
        except BaseException as error:
            _let_go(error)
            raise
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()

    def _take(self, size: int, stop: StopSignal) -> None:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket or self._used + size > self.total:
                    stop.check()
                    self._changed.wait(_POLL_S)
                stop.check()
                self._used += size
                self.peak = max(self.peak, self._used)
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()


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
        self._threads: list[threading.Thread] = []
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
            if len(self._jobs) > self._idle and len(self._threads) < self._count:
                self._start_one()
            self._changed.notify()
        return future

    def close(self) -> None:
        """Let the threads end after what was submitted; does not wait for them."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _start_one(self) -> None:
        name = f"{self._name}-{len(self._threads)}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            job()
            del job  # Neither the job nor what it holds may outlive its run.

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            self._idle += 1
            while not self._jobs and not self._closed:
                self._changed.wait()
            self._idle -= 1
            return self._jobs.popleft() if self._jobs else None
