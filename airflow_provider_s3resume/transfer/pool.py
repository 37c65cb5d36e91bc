"""Threads and memory that all objects and parts of a task share."""

from __future__ import annotations

import queue
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from airflow_provider_s3resume.exceptions import InvalidInputError

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

    @contextmanager
    def hold(self, size: int, stop: StopSignal) -> Iterator[None]:
        """Hold ``size`` bytes for the length of a ``with`` block, waiting until they are free.

        :raises InvalidInputError: if ``size`` is more than the whole budget.
        :raises CopyStoppedError: if told to stop while waiting.
        """
        if size > self.total:
            accepted = f"at least {size} bytes, the size of one buffer that is needed"
            raise InvalidInputError("memory_budget", found=self.total, accepted=accepted)
        self._take(size, stop)
        try:
            yield
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


class Workers:
    """A fixed number of daemon threads.

    The standard pool joins its threads when the interpreter ends; a thread stuck in a dead
    connection would then keep a task alive that Airflow has already failed. These do not.
    """

    def __init__(self, count: int, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{n}", daemon=True)
            for n in range(count)
        ]
        for thread in self._threads:
            thread.start()

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

        self._jobs.put(job)
        return future

    def close(self) -> None:
        """Let the threads end after what was submitted; does not wait for them."""
        for _ in self._threads:
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # Neither the job nor what it holds may outlive its run.
