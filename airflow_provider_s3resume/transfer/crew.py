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
import fcntl
import gc
import logging
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from airflow_provider_s3resume.exceptions import S3ResumeError, TransientStoreError
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage.base import express_of
from airflow_provider_s3resume.transfer.express import Lane
from airflow_provider_s3resume.transfer.outcomes import Outcome
from airflow_provider_s3resume.transfer.pool import MemoryBudget, Workers
from airflow_provider_s3resume.transfer.progress import Progress
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.tuning import OBJECTS, Tuner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence
    from io import BufferedReader

    from airflow_provider_s3resume.plan.manifest import CopyEntry
    from airflow_provider_s3resume.storage.base import Express
    from airflow_provider_s3resume.transfer.config import CopyConfig
    from airflow_provider_s3resume.transfer.context import CopyContext

log = logging.getLogger(__name__)

MOST: Final = 4
"""Processes of a task, however many processors there are: other tasks want some, too."""
LEAST_OBJECTS: Final = 500
"""What each process should have to do at the least, to be worth its start."""
OWN_BYTES: Final = 20 * MIB
"""What a process takes for itself, of what it shares with the task at first, beside objects."""
_LEAST_AT_ONCE: Final = 16
_FIRST_AT_ONCE: Final = OBJECTS // 2
"""What each begins with: there are others, and connections that are not needed cost more than they
bring."""
_CHUNK: Final = 16
_NUMBER: Final = 4
_TOLD_AT_ONCE: Final = 64
_TOLD_EVERY_S: Final = 0.1
_SIGN_EVERY_S: Final = 2.0
SILENT_S: Final = 60.0
"""A process gives a sign of life every two seconds, whatever it waits for."""
_GARBAGE: Final = 20_000
"""New objects after which a process looks for garbage: 700, as usual, take 4 % of its time."""
_FINISHERS: Final = 2
_SIDES: Final = 2
_QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
_VALUES: Final = attrgetter(*Outcome.__slots__)
_LOGGER: Final = "airflow_provider_s3resume"
_DONE, _FAILED, _REFUSED, _LOG, _END = range(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one process may use.

    :param budget: bytes of the task's, for objects and itself.
    :param objects: under way at once, as the user wants; ``None`` if it is to be found.
    """

    budget: int
    objects: int | None


def shares_of(
    config: CopyConfig, *, objects: int, alone: bool, processors: int
) -> tuple[Share, ...]:
    """Return what each process may use; none if one lane in the task itself does as well.

    :param objects: that are small.
    :param alone: there are no others, which need memory, too.
    """
    # What is not as expected is copied by the task, which needs some for it.
    room = config.memory_budget * 3 // 4 if alone else config.memory_budget // 2
    least = OWN_BYTES + MemoryBudget.of_objects(_LEAST_AT_ONCE)
    wanted = config.object_concurrency
    most_by_wish = MOST if wanted is None else wanted // _LEAST_AT_ONCE
    count = min(processors, MOST, objects // LEAST_OBJECTS, room // least, most_by_wish)
    if count <= 1:
        return ()
    each = None if wanted is None else wanted // count
    if each is not None and MemoryBudget(room // count - OWN_BYTES).most_objects <= each:
        # There is not room for as many as are wanted; one lane may use it all.
        return ()
    rest = 0 if wanted is None else wanted % count
    return tuple(
        Share(
            budget=room // count,
            objects=None if each is None else each + (number < rest),
        )
        for number in range(count)
    )


def can_fork(context: CopyContext) -> bool:
    """Tell whether a forked process can make the calls of this one's stores."""
    sides = _express_of(context)
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


def usable_processors(quota: Path = _QUOTA) -> int:
    """Return how many processors this process may use, whole ones.

    :param quota: what a container is allowed: microseconds of processor time, or ``max``, in each
        so many microseconds (cgroup v2).
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    try:
        allowed, _, period = quota.read_text().partition(" ")
        return count if allowed == "max" else min(count, int(allowed) // int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return count


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
        self._work, self._alive = _Work(entries), _Alive()
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
                _be(self._context, share, self._work, self._alive, writing, before)
            handle = os.pidfd_open(pid)
        except OSError:
            if pid:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            _close(reading, writing)
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
        if kind == _DONE:
            outcome = Outcome(**dict(zip(Outcome.__slots__, what, strict=True)))
            if self._forget(outcome.target_key) is not None:
                figures = {"bytes_moved": outcome.bytes_moved, "parts_sent": outcome.sent_parts}
                self._context.progress.add(**figures)
                self._done(outcome)
        elif kind == _FAILED:
            target_key, error = what
            entry = self._forget(target_key)
            if entry is not None:
                self._failed(entry, error)
        elif kind == _REFUSED:
            entry = self._forget(what[0])
            if entry is not None:
                self._refused(entry)
        elif kind == _LOG:
            level, name, text = what
            logging.getLogger(name).log(level, "%s", text)
        else:
            at_once, made = what
            with self._lock:
                self.objects_at_once += at_once
            for express, count in zip(_express_of(self._context), made, strict=True):
                express.add_made(count)

    def _forget(self, target_key: str) -> CopyEntry | None:
        with self._lock:
            return self._left.pop(target_key, None)


class _Work:
    """What is to be done, in a pipe: whoever reads a number from it does those objects.

    All of it is written before anybody reads, so there are no more numbers than the pipe holds.
    """

    def __init__(self, entries: Sequence[CopyEntry]) -> None:
        self._entries = entries
        self._reading, self._writing = os.pipe()
        room = fcntl.fcntl(self._writing, fcntl.F_GETPIPE_SZ) // _NUMBER
        self._chunk = max(_CHUNK, -(-len(entries) // room))
        count = -(-len(entries) // self._chunk)
        os.write(self._writing, b"".join(n.to_bytes(_NUMBER, "big") for n in range(count)))

    def is_all_given(self) -> None:
        """Let whoever reads see the end behind the last number."""
        os.close(self._writing)
        self._writing = -1

    def take(self) -> Sequence[CopyEntry]:
        """Return the next objects that nobody else does, none at the end."""
        number = os.read(self._reading, _NUMBER)
        if not number:
            return ()
        start = int.from_bytes(number, "big") * self._chunk
        return self._entries[start : start + self._chunk]

    def drain(self) -> None:
        """Let nobody take anything any more."""
        while os.read(self._reading, 1 << 16):
            pass

    def close(self) -> None:
        """Close both ends, if they are not closed."""
        _close(self._reading, self._writing)
        self._reading = self._writing = -1


class _Alive:
    """A pipe of which the task alone has one end: it closes with the task, however that ends."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()

    def end_with_the_task(self) -> None:
        """Let this process, which is not the task, end at once when the task has ended."""
        os.close(self._writing)

        def wait() -> None:
            os.read(self._reading, 1)
            os._exit(1)

        threading.Thread(target=wait, name="s3resume-alive", daemon=True).start()

    def close(self) -> None:
        """Close both ends, if they are not closed."""
        _close(self._reading, self._writing)
        self._reading = self._writing = -1


def _close(*numbers: int) -> None:
    for number in numbers:
        if number >= 0:
            os.close(number)


def _express_of(context: CopyContext) -> list[Express]:
    found = (express_of(store) for store in (context.source, context.target))
    return [express for express in found if express is not None]


# What follows runs in the forked process.


def _be(
    context: CopyContext,
    share: Share,
    work: _Work,
    alive: _Alive,
    writing: int,
    signals: Collection[signal.Signals | int],
) -> NoReturn:
    """Be one of the processes; nothing of the task's may be done here when it ends."""
    status = 1
    try:
        # What the task collects is not this process's concern, nor are its signals.
        gc.freeze()
        # It makes the same few things over and over, and hardly any in circles.
        gc.set_threshold(_GARBAGE)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        work.is_all_given()
        alive.end_with_the_task()
        told = _Told(writing)
        told.take_logs()
        try:
            _Member(context, share, work, told).run()
            status = 0
        except Exception as error:  # noqa: BLE001 - its text may hold anything, a secret included
            place = "".join(traceback.format_tb(error.__traceback__))
            told.log(logging.ERROR, __name__, f"unexpected {type(error).__name__} at\n{place}")
        finally:
            told.flush()
    finally:
        os._exit(status)


class _Told:
    """What is told to the task, a few events at a time."""

    def __init__(self, writing: int) -> None:
        self._writing = os.fdopen(writing, "wb")
        self._lock = threading.RLock()
        self._events: list[tuple[Any, ...]] = []
        self._at = time.monotonic()

    def add(self, *event: Any) -> None:  # noqa: ANN401 - a kind, and what belongs to it
        """Tell something, soon."""
        with self._lock:
            self._events.append(event)
            if len(self._events) >= _TOLD_AT_ONCE:
                self.flush()
            else:
                self.flush_if_due()

    def done(self, outcome: Outcome) -> None:
        """Tell of an object that was copied."""
        self.add(_DONE, *_VALUES(outcome))

    def failed(self, entry: CopyEntry, error: S3ResumeError) -> None:
        """Tell of an object of which another try says nothing new."""
        self.add(_FAILED, entry.target_key, error)

    def refused(self, entry: CopyEntry) -> None:
        """Tell of an object that has to be copied in the ordinary way."""
        self.add(_REFUSED, entry.target_key)

    def log(self, level: int, name: str, text: str) -> None:
        """Let the task log a line."""
        self.add(_LOG, level, name, text)

    def flush_if_due(self) -> None:
        """Tell what there is if the last telling was a while ago."""
        silent = time.monotonic() - self._at
        if silent > (_TOLD_EVERY_S if self._events else _SIGN_EVERY_S):
            self.flush()

    def flush(self) -> None:
        """Tell all of it now."""
        with self._lock:
            events, self._events, self._at = self._events, [], time.monotonic()
            # Of none, too: that this process lives.
            pickle.dump(events, self._writing, pickle.HIGHEST_PROTOCOL)
            self._writing.flush()

    def take_logs(self) -> None:
        """Let nothing be logged here: the task's handlers are the task's."""
        root = logging.getLogger()
        for logger in (root, *map(logging.getLogger, list(root.manager.loggerDict))):
            logger.handlers, logger.propagate = [], True
        root.addHandler(_Handler(self))


class _Handler(logging.Handler):
    """Sends our own lines to the task; those of the libraries are for nobody."""

    def __init__(self, told: _Told) -> None:
        super().__init__()
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line."""
        if record.name.startswith(_LOGGER):
            self._told.log(record.levelno, record.name, record.getMessage())


class _Member:
    """A lane, and what it needs of its own."""

    def __init__(self, context: CopyContext, share: Share, work: _Work, told: _Told) -> None:
        budget = MemoryBudget(share.budget - OWN_BYTES)
        self._context = replace(
            context,
            budget=budget,
            stop=StopSignal(),
            progress=Progress(),
            objects=Tuner(share.objects, first=_FIRST_AT_ONCE, most=budget.most_objects),
        )
        self._work = work
        self._told = told
        self._finishers = Workers(_FINISHERS, "s3resume-express")
        self._finishing: list[Future[None]] = []

    def run(self) -> None:
        """Copy what this process gets, and say how it did."""
        sides = _express_of(self._context)
        for express in sides:
            express.after_fork()
        lane = Lane(
            self._context,
            (),
            more=self._work.take,
            done=self._told.done,
            failed=self._told.failed,
            refused=self._told.refused,
            finish=self._finish,
            hopeless=self._is_hopeless,
        )
        lane.run()
        while wait(self._finishing, timeout=_SIGN_EVERY_S).not_done:
            self._told.flush_if_due()
        made = [express.made() for express in sides]
        self._told.add(_END, self._context.objects.allowed, made)

    def _is_hopeless(self) -> bool:
        """Leave that to the task, which is told in time, as the lane asks this all the while."""
        self._told.flush_if_due()
        return False

    def _finish(
        self, entry: CopyEntry, land: Callable[[], Outcome], forget: Callable[[], None]
    ) -> None:
        job = partial(self._land, entry, land, forget)
        self._finishing = [one for one in self._finishing if not one.done()]
        self._finishing.append(self._finishers.submit(job))

    def _land(
        self, entry: CopyEntry, land: Callable[[], Outcome], forget: Callable[[], None]
    ) -> None:
        try:
            self._told.done(land())
        except TransientStoreError:
            # The task can do more about it: new credentials are for it alone to get.
            self._told.refused(entry)
        except S3ResumeError as error:
            self._told.failed(entry, error)
        except Exception:  # noqa: BLE001 - the task finds out what it is
            self._told.refused(entry)
        finally:
            forget()
