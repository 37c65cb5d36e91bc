"""Running a transfer so that Airflow can end it: within seconds, as a failure, resumable.

``on_kill`` runs inside a signal handler of the main thread and does not end ``execute``; a task
timeout is a SIGALRM that raises wherever the main thread is. So the work is done in a daemon
thread, the main thread only waits, and the handlers do no more than leave a reason for it: taking
a lock in a handler could wait for the very frame that it interrupted.
"""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_provider_s3resume.exceptions import CopyStoppedError
from airflow_provider_s3resume.transfer.stopping import StopSignal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import timedelta
    from types import FrameType

POLL_S = 0.2
SETTLE_S = 3.0
"""How long a stopped transfer may settle: Airflow sends SIGKILL 5 s after SIGTERM, and the failure
has to be reported before."""

_T = TypeVar("_T")


class Interruption:
    """Why to stop, left by a signal handler for the main thread; the first reason stays."""

    __slots__ = ("reason",)

    def __init__(self) -> None:
        self.reason: str | None = None

    def leave(self, reason: str) -> None:
        """Ask for a stop. Takes no lock, so that a signal handler may call it."""
        if self.reason is None:
            self.reason = reason


def run_stoppable(
    work: Callable[[StopSignal], _T],
    interruption: Interruption,
    *,
    stop: StopSignal | None = None,
    timeout: timedelta | None = None,
    settle_s: float = SETTLE_S,
) -> _T:
    """Return what ``work`` returns, or raise what it raises.

    :param stop: what the work is told to stop by, if something else listens to it, too.
    :param timeout: the task's ``execution_timeout``; the work is stopped a little before it.
    :raises CopyStoppedError: if it was stopped, even if the work ended well in the same moment.
    """
    _raise_if_stopped(interruption)
    running = _Running(work, stop or StopSignal())
    deadline = time.monotonic() + _seconds_to_use(timeout) if timeout is not None else None
    try:
        # The handler first: a signal may come as soon as there is something to stop.
        with _terminations(interruption):
            running.start()
            running.wait(interruption, deadline)
    except BaseException:
        # A task timeout, or an interrupt: nothing may go on behind a task that has ended.
        running.stop("the task was interrupted", settle_s)
        raise
    if interruption.reason is not None:
        running.stop(interruption.reason, settle_s)
        msg = f"stopped: {interruption.reason}; what was acknowledged is kept"
        raise CopyStoppedError(msg) from running.error
    return running.result()


def _raise_if_stopped(interruption: Interruption) -> None:
    # It may have come while connections were read.
    if interruption.reason is not None:
        raise CopyStoppedError(f"stopped before anything began: {interruption.reason}")


class _Running(Generic[_T]):
    def __init__(self, work: Callable[[StopSignal], _T], stop: StopSignal) -> None:
        self._stop = stop
        self._done = threading.Event()
        self._results: list[_T] = []
        self.error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, args=(work,), name="s3resume-transfer", daemon=True
        )

    def start(self) -> None:
        """Begin the work."""
        self._thread.start()

    def wait(self, interruption: Interruption, deadline: float | None) -> None:
        """Return when the work is done, or a reason to stop was left."""
        while not self._done.wait(POLL_S) and interruption.reason is None:
            if deadline is not None and time.monotonic() >= deadline:
                interruption.leave("the execution timeout of the task is about to end")

    def stop(self, reason: str, settle_s: float) -> None:
        self._stop.stop(reason)
        self._done.wait(settle_s)

    def result(self) -> _T:
        if self.error is not None:
            raise self.error
        return self._results[0]

    def _run(self, work: Callable[[StopSignal], _T]) -> None:
        try:
            self._results.append(work(self._stop))
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            self.error = error
        finally:
            self._done.set()


def _seconds_to_use(timeout: timedelta) -> float:
    whole = timeout.total_seconds()
    return whole - min(30.0, max(2 * SETTLE_S, whole / 10), whole / 2)


@contextmanager
def _terminations(interruption: Interruption) -> Iterator[None]:
    """Take SIGTERM as a reason to stop, besides what Airflow does about it (``on_kill``)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL

    def handle(number: int, frame: FrameType | None) -> None:
        interruption.leave("SIGTERM")
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
