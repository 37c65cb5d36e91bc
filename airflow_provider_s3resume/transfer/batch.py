"""Copy one batch of a manifest: many objects at once, each failure on its own.

A retry of the task finds what is already there by listing the target for the batch's own key
range, and copies only the rest.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import (
    CopyStoppedError,
    S3ResumeError,
    UnexpectedError,
)
from airflow_provider_s3resume.plan.manifest import BatchRef, CopyEntry, check_age
from airflow_provider_s3resume.transfer.allocation import give_back_large_blocks
from airflow_provider_s3resume.transfer.batch_result import result_of
from airflow_provider_s3resume.transfer.checkpoints import CheckpointRecords
from airflow_provider_s3resume.transfer.context import CopyContext
from airflow_provider_s3resume.transfer.copier import copy_object
from airflow_provider_s3resume.transfer.crew import Crew, can_fork
from airflow_provider_s3resume.transfer.crew_shares import shares_of, usable_processors
from airflow_provider_s3resume.transfer.denials import error_text
from airflow_provider_s3resume.transfer.earlier import found_at_target
from airflow_provider_s3resume.transfer.express import Lane, split
from airflow_provider_s3resume.transfer.journal import Journal
from airflow_provider_s3resume.transfer.loading import (
    check_sides,
    load_entries,
    load_manifest,
    load_outcomes,
    outcomes_name,
)
from airflow_provider_s3resume.transfer.options import check_fits_target
from airflow_provider_s3resume.transfer.outcomes import Outcome, Status
from airflow_provider_s3resume.transfer.paces import Pace, Shared, pace_name, store_pace
from airflow_provider_s3resume.transfer.pool import MemoryBudget, Workers
from airflow_provider_s3resume.transfer.progress import Progress
from airflow_provider_s3resume.transfer.server_side import decide, store_reasons
from airflow_provider_s3resume.transfer.tuning import (
    MOMENT_S,
    MOST_THREADS,
    OBJECTS,
    THREADS,
    Tuner,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.batch_result import BatchResult
    from airflow_provider_s3resume.transfer.config import CopyConfig
    from airflow_provider_s3resume.transfer.progress import Figures
    from airflow_provider_s3resume.transfer.state import StateLocation
    from airflow_provider_s3resume.transfer.stopping import StopSignal

log = logging.getLogger(__name__)

PROGRESS_S = 5.0
_COLLECT_S = 1.0
_SETTLE_S = 2.5


def copy_batch(
    source: ObjectStore,
    target: ObjectStore,
    state: StateLocation,
    ref: BatchRef,
    config: CopyConfig,
    *,
    stop: StopSignal,
    now: float,
    on_progress: Callable[[Figures], None] | None = None,
) -> BatchResult:
    """Copy the objects of one batch.

    :param now: seconds since the epoch.
    :param on_progress: called about every five seconds from this thread.
    :raises ManifestError: if the manifest cannot be used; nothing was copied.
    :raises InvalidInputError: if the configuration does not fit the target.
    :raises CopyStoppedError: if told to stop; what was done is recorded.
    :returns: the result, failures included: see :meth:`BatchResult.raise_for_failures`.
    """
    check_fits_target(config, target)
    manifest = load_manifest(state, ref.manifest)
    check_age(manifest, now=now, max_age_s=config.max_manifest_age_s)
    check_sides(manifest, source, target)
    entries = load_entries(state, ref)
    before = load_outcomes(state, ref.manifest, ref.index)
    give_back_large_blocks()
    context = _context_of(source, target, state, config, entries, stop=stop, now=now)
    planned = {"objects_planned": len(entries), "bytes_planned": sum(e.size for e in entries)}
    context.progress.add(**planned)
    journal = Journal(state, outcomes_name(ref.manifest, ref.index), context)
    began = time.monotonic()
    try:
        done = {} if before is None else found_at_target(target, ref, entries, before)
        journal.begin(done.values())
        todo = [entry for entry in entries if entry.key not in done]
        run = _Run(context, todo, journal, on_progress)
        run.run()
    finally:
        context.workers.close()
        context.lookups.close()
    pace = Pace.of(context, time.monotonic() - began, run.shared)
    store_pace(state, pace_name(ref.manifest, ref.index), pace)
    store_reasons(state, ref, context.by_service.reasons)
    result = result_of(ref, journal, context.progress.figures(), pace)
    _check_all_told(result, len(entries))
    return result


def _check_all_told(result: BatchResult, objects: int) -> None:
    """See that nothing passes for done that nobody has told of (c40)."""
    told = sum(result.counts.values())
    if told != objects:
        raise UnexpectedError(
            f"batch {result.index} has {objects} objects, and of {told} it is known what became "
            "of them; another attempt copies what is missing"
        )


def _context_of(
    source: ObjectStore,
    target: ObjectStore,
    state: StateLocation,
    config: CopyConfig,
    entries: list[CopyEntry],
    *,
    stop: StopSignal,
    now: float,
) -> CopyContext:
    budget = MemoryBudget(config.memory_budget)
    parts = _threads(config.part_concurrency, budget.most_parts, target)
    return CopyContext(
        source=source,
        target=target,
        records=CheckpointRecords(state),
        config=config,
        budget=budget,
        workers=Workers(parts.allowed, "s3resume-part"),
        stop=stop,
        progress=Progress(),
        started=now,
        objects=Tuner(config.object_concurrency, first=OBJECTS, most=budget.most_objects),
        parts=parts,
        threads=_threads(config.object_concurrency, budget.most_objects, target),
        known_checkpoints=_known_checkpoints(state),
        keeps_attributes=target.capabilities.keeps_attributes,
        by_service=decide(source, target, config, entries),
    )


def _threads(given: int | None, room: int, target: ObjectStore) -> Tuner:
    """Return how many of what has a thread each may be under way."""
    most = min(given or MOST_THREADS, room)
    # One more than there are processors: one waits for the network. What is encrypted keeps a
    # processor busy by itself, and more threads at work on it take more of it for the same. So it
    # begins with few: what others read at first would only be held in memory, and sent later.
    processors = usable_processors()
    encrypted = target.service.startswith("https://")
    fewest = max(1, processors // 2) if encrypted else None
    least = processors + 1
    return Tuner(given, first=THREADS, most=most, least=least, few=fewest, fewest=fewest)


def _known_checkpoints(state: StateLocation) -> frozenset[str]:
    prefix = state.prefix + "checkpoints/"
    return frozenset(o.key.removeprefix(state.prefix) for o in state.store.list_objects(prefix))


class _Run:
    """The objects of a batch under way, a bounded number at a time."""

    def __init__(
        self,
        context: CopyContext,
        entries: list[CopyEntry],
        journal: Journal,
        on_progress: Callable[[Figures], None] | None,
    ) -> None:
        self._context = context
        self._small, self._others = split(context, entries)
        self._todo = iter(self._others)
        self._working = _Numbers()
        self._running: set[Future[None]] = set()
        self._lock = threading.Lock()
        self._journal = journal
        self._on_progress = on_progress
        self._told = time.monotonic()
        self._hopeless: S3ResumeError | None = None
        self.shared = Shared()
        self._objects = Workers(context.threads.allowed, "s3resume-object")
        # A thread goes from one larger object to the next; small ones do not wait for that.
        self._refused = self._objects
        if not context.threads.is_given:
            most = min(THREADS, context.budget.most_objects)
            self._refused = Workers(most, "s3resume-refused")
        # The lane has a thread, and two others finish what has to be looked at: with those of
        # larger objects it could wait for memory that only these give back.
        self._express = Workers(3, "s3resume-express")
        self._crew: Crew | None = None
        self._crew_stack = ExitStack()

    def run(self) -> None:
        """Copy all; each object ends in an outcome, unless told to stop."""
        try:
            # First of all, as threads and what they hold are not to be forked.
            crew = self._call_crew(self._crew_stack) if self._small else None
            if self._small:
                self._submit(self._express, partial(self._run_small, crew))
            self._begin_work()
            while self._running and not self._context.stop.is_set():
                self._collect()
        finally:
            wait(self._running, timeout=_SETTLE_S)
            self._dismiss_crew()
            self._objects.close()
            self._refused.close()
            self._express.close()
            self._journal.flush()
        self._context.stop.check()

    def _call_crew(self, stack: ExitStack) -> Crew | None:
        """Start processes for the small objects, if there are enough of them, and of processors."""
        context = self._context
        shares = shares_of(
            context.config,
            objects=len(self._small),
            alone=not self._others,
            processors=usable_processors(),
        )
        if not shares or not can_fork(context):
            return None
        stack.enter_context(context.budget.hold(sum(s.budget for s in shares), context.stop))
        try:
            crew = Crew(
                context,
                self._small,
                shares,
                done=self._landed,
                failed=self._fail_small,
                refused=self._copy_small,
                hopeless=self._is_hopeless,
            )
        except OSError as error:
            log.warning("No processes for small objects: %s", error)
            stack.close()
            return None
        self._crew = crew
        stack.callback(crew.close)
        stack.enter_context(context.stop.watching(crew))
        return crew

    def _dismiss_crew(self) -> None:
        """End its processes, and let others have its memory."""
        with self._lock:
            stack, self._crew_stack = self._crew_stack, ExitStack()
        stack.close()

    def _submit(self, objects: Workers, job: Callable[[], None]) -> None:
        with self._lock:
            self._running.add(objects.submit(job))

    def _collect(self) -> None:
        with self._lock:
            running = set(self._running)
        unsure = self._others and self._context.threads.is_unsure
        seconds = MOMENT_S if unsure else _COLLECT_S
        done, _ = wait(running, timeout=seconds, return_when=FIRST_COMPLETED)
        if self._context.threads.look():
            self._begin_work()
        with self._lock:
            self._running -= done
        for future in done:
            future.result()
        if self._crew is not None:
            self._crew.end_silent()
        self._journal.flush_if_due()
        if self._on_progress and time.monotonic() - self._told >= PROGRESS_S:
            self._told = time.monotonic()
            self._on_progress(self._context.progress.figures())

    def _run_small(self, crew: Crew | None) -> None:
        left = self._small
        if crew is not None:
            left = crew.run()
            self.shared = Shared(processes=crew.processes, objects_at_once=crew.objects_at_once)
            self._dismiss_crew()
        if left and not self._context.stop.is_set():
            if crew is not None:
                log.info("%d small objects are left by the processes for them", len(left))
            self._run_lane(left)

    def _run_lane(self, entries: list[CopyEntry]) -> None:
        lane = Lane(
            self._context,
            entries,
            done=self._landed,
            failed=self._fail_small,
            refused=self._copy_small,
            finish=lambda *what: self._submit(self._express, partial(self._finish, *what)),
            hopeless=self._is_hopeless,
        )
        try:
            lane.run()
        except Exception as error:  # noqa: BLE001 - what it had to do was handed to the others
            _unexpected(error)

    def _fail_small(self, entry: CopyEntry, error: S3ResumeError) -> None:
        self._submit(self._express, partial(self._fail, entry, error))

    def _copy_small(self, entry: CopyEntry) -> None:
        self._submit(self._refused, partial(self._one, entry))

    def _is_hopeless(self) -> bool:
        return self._hopeless is not None

    def _finish(
        self, entry: CopyEntry, land: Callable[[], Outcome], forget: Callable[[], None]
    ) -> None:
        try:
            self._one(entry, land)
        finally:
            forget()

    def _landed(self, outcome: Outcome) -> None:
        self._context.progress.add(objects_done=1)
        self._journal.add(outcome)

    def _begin_work(self) -> None:
        """Let as many threads copy objects as are allowed."""
        threads, stop = self._context.threads, self._context.stop
        self._objects.resize(threads.allowed)
        while not stop.is_set():
            # As of now: other threads may change it, and jobs beyond it end as soon as they begin.
            number = self._working.take(min(threads.allowed, len(self._others)))
            if number is None:
                return
            self._submit(self._objects, partial(self._work, number))

    def _work(self, number: int) -> None:
        """Copy one object after the other, until there is none left or it is time to stop.

        :param number: of this job; those beyond what is allowed end, and only they give it back. If
            others did, new ones would be begun for as long as these end sooner than all begin.
        """
        while number < self._context.threads.allowed:
            # Threads share the list; to take the next of one is a single step.
            if self._context.stop.is_set() or (entry := next(self._todo, None)) is None:
                return
            self._one(entry)
            if self._context.threads.count(entry.size):
                self._begin_work()
        self._working.give_back(number)

    def _one(self, entry: CopyEntry, land: Callable[[], Outcome] | None = None) -> None:
        """Copy an object, or finish one that was written.

        :param land: finishes it.
        """
        if self._context.stop.is_set():
            return
        try:
            if self._hopeless is not None:
                self._fail(entry, self._hopeless)
                return
            outcome = copy_object(self._context, entry) if land is None else land()
        except CopyStoppedError:
            return
        except S3ResumeError as error:
            self._fail(entry, error)
            return
        except Exception as error:  # noqa: BLE001 - what one object meets must not end the others
            self._fail(entry, _unexpected(error))
            return
        self._landed(outcome)

    def _fail(self, entry: CopyEntry, error: S3ResumeError) -> None:
        log.error("%r: %s", entry.key, error)
        self._context.progress.add(objects_failed=1)
        self._journal.add(
            Outcome(
                key=entry.key,
                target_key=entry.target_key,
                status=Status.FAILED,
                size=entry.size,
                source_etag=entry.etag,
                error=error_text(self._context, entry, error),
                error_kind=type(error).__name__,
                retryable=error.retryable,
            )
        )
        if not error.retryable:
            self._check_stores(entry)

    def _check_stores(self, entry: CopyEntry) -> None:
        """After a hopeless error, find out whether it is the object's or everything's.

        If a bucket itself does not answer, trying the other objects would only add requests. It is
        asked about this very key: permissions may be limited to a prefix.
        """
        if self._hopeless is not None:
            return
        try:
            self._context.source.check_access(entry.key)
            self._context.target.check_access(entry.target_key)
        except S3ResumeError as error:
            if not error.retryable:
                self._hopeless = error


class _Numbers:
    """Numbers from 0 on that nobody else has at the moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: set[int] = set()

    def take(self, below: int) -> int | None:
        """Return the least free number, ``None`` if all below are taken."""
        with self._lock:
            number = next((n for n in range(below) if n not in self._taken), None)
            if number is not None:
                self._taken.add(number)
            return number

    def give_back(self, number: int) -> None:
        """Let a number be free."""
        with self._lock:
            self._taken.discard(number)


def _unexpected(error: Exception) -> S3ResumeError:
    """Return an error of ours for one that should not have come up here.

    Its text may hold anything, a secret included: only its kind and place are told. Nothing says
    that another attempt meets it again, and Airflow makes no more of these than it was told to.
    """
    place = "".join(traceback.format_tb(error.__traceback__))
    log.error("unexpected %s at\n%s", type(error).__name__, place)
    return UnexpectedError(f"unexpected {type(error).__name__}; the task's log says where")
