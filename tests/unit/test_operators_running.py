"""A transfer ends within seconds when Airflow says so, as a failure, and is told to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from airflow_provider_s3resume.exceptions import CopyStoppedError, ThrottledError
from airflow_provider_s3resume.operators._running import Interruption, run_stoppable
from airflow_provider_s3resume.transfer.stopping import StopSignal


class Work:
    """Runs until it is told to stop, or for good."""

    def __init__(self, *, deaf: bool = False) -> None:
        self.deaf = deaf
        self.reason: str | None = None
        self.started = threading.Event()

    def __call__(self, stop: StopSignal) -> str:
        """Wait for the stop; return as if all had been done."""
        self.started.set()
        while not stop.wait(0.02) or self.deaf:
            threading.Event().wait(0.02)
        self.reason = stop.reason
        return "done"


class TookTooLongError(BaseException):
    """As Airflow's own: not an ``Exception``."""


def soon(act: Callable[[], object], work: Work) -> None:
    """Act once the work is under way."""

    def wait_and_act() -> None:
        work.started.wait(5)
        act()

    threading.Thread(target=wait_and_act, daemon=True).start()


def test_work_that_ends_gives_its_result_or_its_own_error() -> None:
    """What is raised in the thread is raised in the task, the very same object."""
    assert run_stoppable(lambda _: 7, Interruption()) == 7
    error = ThrottledError("GetObject", "s3://b/k", "SlowDown")

    def fail(_: StopSignal) -> None:
        raise error

    with pytest.raises(ThrottledError) as raised:
        run_stoppable(fail, Interruption())
    assert raised.value is error


def test_on_kill_ends_the_work_as_a_failure() -> None:
    """An interrupted execute that returned would be marked as a success."""
    work, interruption = Work(), Interruption()
    soon(lambda: interruption.leave("Airflow ended the task"), work)
    with pytest.raises(CopyStoppedError, match="Airflow ended the task"):
        run_stoppable(work, interruption)
    assert work.reason == "Airflow ended the task"


def test_sigterm_ends_the_work_even_if_nobody_calls_on_kill() -> None:
    """The handler that was there is called as well, and is there again afterwards."""
    work, heard = Work(), list[int]()
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        ours = signal.getsignal(signal.SIGTERM)
        soon(lambda: os.kill(os.getpid(), signal.SIGTERM), work)
        with pytest.raises(CopyStoppedError, match="SIGTERM"):
            run_stoppable(work, Interruption())
        assert heard == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is ours
    finally:
        signal.signal(signal.SIGTERM, before)
    assert work.reason == "SIGTERM"


def test_work_that_does_not_listen_holds_the_task_up_for_a_bounded_time() -> None:
    """Airflow kills 5 s after its SIGTERM: the failure must be reported before."""
    work, interruption = Work(deaf=True), Interruption()
    soon(lambda: interruption.leave("Airflow ended the task"), work)
    with pytest.raises(CopyStoppedError):
        run_stoppable(work, interruption, settle_s=0.3)
    assert work.reason is None, "the work itself never ended"


def test_a_stop_that_came_before_the_work_keeps_it_from_beginning() -> None:
    """As while the connections are read."""
    work, interruption = Work(), Interruption()
    interruption.leave("Airflow ended the task")
    with pytest.raises(CopyStoppedError, match="before anything began"):
        run_stoppable(work, interruption)
    assert not work.started.is_set()


def test_the_work_stops_a_little_before_the_timeout_of_the_task() -> None:
    """So that the task itself says why, and what was acknowledged is recorded."""
    work = Work()

    def handle(*_: object) -> None:
        raise TookTooLongError

    before = signal.signal(signal.SIGALRM, handle)
    try:
        signal.setitimer(signal.ITIMER_REAL, 6)
        with pytest.raises(CopyStoppedError, match="timeout"):
            run_stoppable(work, Interruption(), timeout=timedelta(seconds=6))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert work.reason is not None


def test_a_timeout_that_is_raised_in_the_main_thread_stops_the_work() -> None:
    """Airflow's own timeout is an exception out of a signal handler, wherever that lands."""
    work = Work()

    def handle(*_: object) -> None:
        raise TookTooLongError

    before = signal.signal(signal.SIGALRM, handle)
    try:
        soon(lambda: os.kill(os.getpid(), signal.SIGALRM), work)
        with pytest.raises(TookTooLongError):
            run_stoppable(work, Interruption())
    finally:
        signal.signal(signal.SIGALRM, before)
    assert work.reason == "the task was interrupted"


def test_the_first_reason_stays() -> None:
    """SIGTERM arrives with on_kill behind it: one stop, one reason."""
    interruption = Interruption()
    interruption.leave("one")
    interruption.leave("two")
    assert interruption.reason == "one"
