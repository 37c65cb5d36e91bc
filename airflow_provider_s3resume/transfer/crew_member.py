"""What runs in a process that a task has forked for its small objects (``transfer.crew``)."""

from __future__ import annotations

import gc
import logging
import os
import signal
import traceback
from concurrent.futures import Future, wait
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn

from airflow_provider_s3resume.exceptions import S3ResumeError, TransientStoreError
from airflow_provider_s3resume.plan.parts import KIB
from airflow_provider_s3resume.transfer.crew_pipes import END, SIGN_EVERY_S, Told
from airflow_provider_s3resume.transfer.express import Lane, express_sides
from airflow_provider_s3resume.transfer.pool import MemoryBudget, Workers
from airflow_provider_s3resume.transfer.progress import Progress
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.tuning import OBJECTS, Tuner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from airflow_provider_s3resume.plan.manifest import CopyEntry
    from airflow_provider_s3resume.transfer.context import CopyContext
    from airflow_provider_s3resume.transfer.crew_pipes import Alive, Work
    from airflow_provider_s3resume.transfer.crew_shares import Share
    from airflow_provider_s3resume.transfer.outcomes import Outcome

_FIRST_AT_ONCE: Final = OBJECTS // 2
"""What each begins with where answers take long; there are others."""
_FEW_BYTES: Final = 256 * KIB
_LEAST_FEW: Final = 4
"""So many bytes under way, and so many objects, keep a processor busy where they do not: each more
is two connections more, and over TLS these take as long to make as some objects to copy."""
_GARBAGE: Final = 20_000
"""New objects after which a process looks for garbage: 700, as usual, take 4 % of its time."""
_FINISHERS: Final = 2
_LOGGER: Final = "airflow_provider_s3resume"


def become_member(
    context: CopyContext,
    share: Share,
    work: Work,
    alive: Alive,
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
        told = Told(writing)
        _take_logs(told)
        try:
            Member(context, share, work, told).run()
            status = 0
        except Exception as error:  # noqa: BLE001 - its text may hold anything, a secret included
            place = "".join(traceback.format_tb(error.__traceback__))
            told.log(logging.ERROR, __name__, f"unexpected {type(error).__name__} at\n{place}")
        finally:
            told.flush()
    finally:
        os._exit(status)


def _take_logs(told: Told) -> None:
    """Let nothing be logged here: the task's handlers are the task's."""
    root = logging.getLogger()
    for logger in (root, *map(logging.getLogger, list(root.manager.loggerDict))):
        logger.handlers, logger.propagate = [], True
    root.addHandler(_Handler(told))


class _Handler(logging.Handler):
    """Sends our own lines to the task; those of the libraries are for nobody."""

    def __init__(self, told: Told) -> None:
        super().__init__()
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line."""
        if record.name.startswith(_LOGGER):
            self._told.log(record.levelno, record.name, record.getMessage())


class Member:
    """A lane, and what it needs of its own."""

    def __init__(self, context: CopyContext, share: Share, work: Work, told: Told) -> None:
        budget = MemoryBudget(share.for_objects)
        self._context = replace(
            context,
            budget=budget,
            stop=StopSignal(),
            progress=Progress(),
            objects=Tuner(
                share.objects,
                first=_FIRST_AT_ONCE,
                most=budget.most_objects,
                few=max(_LEAST_FEW, _FEW_BYTES // max(1, work.mean_size)),
            ),
        )
        self._work = work
        self._told = told
        self._finishers = Workers(_FINISHERS, "s3resume-express")
        self._finishing: list[Future[None]] = []

    def run(self) -> None:
        """Copy what this process gets, and say how it did."""
        sides = express_sides(self._context)
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
        while wait(self._finishing, timeout=SIGN_EVERY_S).not_done:
            self._told.flush_if_due()
        made = [express.made() for express in sides]
        self._told.add(END, self._context.objects.allowed, made)

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
