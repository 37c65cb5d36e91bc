"""Small objects by several processes, each with a lane of its own (``transfer.express``).

A lane is bound by one processor: it is interpreted, and there is one interpreter's lock. So where
there are more processors and many small objects, the task forks before it starts its threads. The
processes share what has to be done through a pipe, from which each takes the next few objects, and
tell the task what became of each. All that others rely on stays with the task: the memory (a part
of the budget is set aside for each process), the journal, the progress, credentials that have to be
renewed, and whatever is not as expected. A process keeps nothing that would be missed: it is killed
when the task stops, ends by itself when the task is gone, and what it did not tell of is copied
again by the task, which finds what has landed.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_s3resume.transfer.crew_member import become_member
from airflow_provider_s3resume.transfer.crew_pipes import (
    DONE,
    FAILED,
    LOG,
    REFUSED,
    Alive,
    Work,
    close_all,
)
from airflow_provider_s3resume.transfer.express import express_sides
from airflow_provider_s3resume.transfer.outcomes import Outcome
from airflow_provider_s3resume.transfer.pool import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from io import BufferedReader

    from airflow_provider_s3resume.exceptions import S3ResumeError
    from airflow_provider_s3resume.plan.manifest import CopyEntry
    from airflow_provider_s3resume.transfer.context import CopyContext
    from airflow_provider_s3resume.transfer.crew_shares import Share

log = logging.getLogger(__name__)

SILENT_S: Final = 60.0
"""A process gives a sign of life every two seconds, whatever it waits for."""
_SIDES: Final = 2


def can_fork(context: CopyContext) -> bool:
    """Tell whether a forked process can make the calls of this one's stores."""
    sides = express_sides(context)
    return len(sides) == _SIDES and all(side.can_fork for side in sides) and is_alone()


def is_alone() -> bool:
    """Tell whether no thread runs that may hold something that a forked process needs.

    The main thread waits for this one, if it is another; what else there is, nobody knows.
    """
    known = {threading.main_thread(), threading.current_thread()}
    if sys.platform != "linux" or not set(threading.enumerate()) <= known:
        return False
    # There may be others that Python has not started, or not through that module.
    return len(list(Path("/proc/self/task").iterdir())) <= len(known)


@dataclass(slots=True, eq=False)
class _Process:
    """One of them, as the task sees it.

    :param told: what it tells; ends when it ends.
    :param handle: stands for this very process, whoever has its number by then.
    :param heard_at: when it told something, or showed that it lives (monotonic).
    """

    pid: int
    told: BufferedReader
    handle: int
    heard_at: float = field(default_factory=time.monotonic)

    def kill(self) -> None:
        """End it, if it is there."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)

    def forget(self) -> None:
        """Wait until it has ended, and close all that is left of it."""
        # Somebody else may wait for whatever child there is.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        self.told.close()
        os.close(self.handle)


class Crew:
    """The processes that copy the small objects of a batch.

    Has to be made before the task starts threads, and to be closed.

    :param done: takes what became of an object that was copied.
    :param failed: takes an object of which another try in this attempt says nothing new.
    :param refused: takes an object that has to be copied in the ordinary way.
    :param hopeless: tells whether it is known by now that nothing can be copied.
    """

    def __init__(
        self,
        context: CopyContext,
        entries: Sequence[CopyEntry],
        shares: Iterable[Share],
        *,
        done: Callable[[Outcome], None],
        failed: Callable[[CopyEntry, S3ResumeError], None],
        refused: Callable[[CopyEntry], None],
        hopeless: Callable[[], bool],
    ) -> None:
        self._context = context
        # One source object may be copied onto several keys.
        self._left = {entry.target_key: entry for entry in entries}
        # A signal's handler may abort in the thread that is doing so, or closing.
        self._lock = threading.RLock()
        self._done = done
        self._failed = failed
        self._refused = refused
        self._hopeless = hopeless
        self.objects_at_once = 0
        self._work, self._alive = Work(entries), Alive()
        self._processes: list[_Process] = []
        self.processes = 0
        try:
            for share in shares:
                self._processes.append(self._fork(share))
        except BaseException:
            self.close()
            raise
        self._work.is_all_given()
        self.processes = len(self._processes)

    def run(self) -> list[CopyEntry]:
        """Listen to all of them until they have ended; return the objects that none told of."""
        listeners = Workers(self.processes, "s3resume-crew")
        heard = [listeners.submit(partial(self._listen, one)) for one in self._processes]
        listeners.close()
        for one in heard:
            one.result()
        return list(self._left.values())

    def abort(self) -> None:
        """Let all of them end at once; what they were doing is not finished."""
        with self._lock:
            for process in self._processes:
                process.kill()

    def end_silent(self) -> None:
        """End those of which nothing was heard for long: what they had to do is left to the task.

        A process that is stopped, or waits for what it was forked without, would be waited for.
        """
        with self._lock:
            for process in self._processes:
                # One that has told all has ended, and has nothing more to say.
                silent = not process.told.closed and time.monotonic() - process.heard_at
                if silent > SILENT_S:
                    process.heard_at = time.monotonic()
                    log.warning("a process for small objects is silent, and ended")
                    process.kill()

    def close(self) -> None:
        """End those that have not ended, and forget all."""
        self.abort()
        with self._lock:
            processes, self._processes = self._processes, []
        for process in processes:
            process.forget()
        self._work.close()
        self._alive.close()

    def _fork(self, share: Share) -> _Process:
        reading, writing = os.pipe()
        # A signal that comes before the new process has handlers of its own waits.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pid = 0
        try:
            with warnings.catch_warnings():
                # Of threads: see ``is_alone``.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if not pid:
                become_member(self._context, share, self._work, self._alive, writing, before)
            handle = os.pidfd_open(pid)
        except OSError:
            if pid:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            close_all(reading, writing)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(writing)
        return _Process(pid, os.fdopen(reading, "rb"), handle)

    def _listen(self, process: _Process) -> None:
        with process.told as told:
            while True:
                try:
                    # From a process of this very program, through a pipe that nobody else has.
                    events: list[tuple[Any, ...]] = pickle.load(told)  # noqa: S301
                except EOFError:
                    break
                except Exception as error:  # noqa: BLE001 - what it did not tell is left to the task
                    # It was killed while it told, or is out of its mind.
                    log.warning("a process for small objects said %s", type(error).__name__)
                    process.kill()
                    break
                process.heard_at = time.monotonic()
                for kind, *what in events:
                    self._take(kind, *what)
                if self._hopeless():
                    self._work.drain()

    def _take(self, kind: int, *what: Any) -> None:  # noqa: ANN401 - as the kind has it
        if kind == DONE:
            outcome = Outcome(**dict(zip(Outcome.__slots__, what, strict=True)))
            if self._forget(outcome.target_key) is not None:
                figures = {"bytes_moved": outcome.bytes_moved, "parts_sent": outcome.sent_parts}
                self._context.progress.add(**figures)
                self._done(outcome)
        elif kind == FAILED:
            target_key, error = what
            entry = self._forget(target_key)
            if entry is not None:
                self._failed(entry, error)
        elif kind == REFUSED:
            entry = self._forget(what[0])
            if entry is not None:
                self._refused(entry)
        elif kind == LOG:
            level, name, text = what
            logging.getLogger(name).log(level, "%s", text)
        else:
            at_once, made = what
            with self._lock:
                self.objects_at_once += at_once
            for express, count in zip(express_sides(self._context), made, strict=True):
                express.add_made(count)

    def _forget(self, target_key: str) -> CopyEntry | None:
        with self._lock:
            return self._left.pop(target_key, None)
