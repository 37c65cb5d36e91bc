"""Jobs of one upload over threads that all uploads share: all of them, or up to a failure."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import CopyStoppedError, S3ResumeError
from airflow_provider_s3resume.transfer.tuning import MOMENT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_provider_s3resume.transfer.context import CopyContext
    from airflow_provider_s3resume.transfer.stopping import StopSignal

_COLLECT_S = 0.5

_SETTLE_S = 1.0
"""How long requests under way may take to end after a stop; what lands later is read again."""


class PartJobs:
    """Runs what is to be done with the parts of one upload.

    :param stop: of this upload; told by a failure that no retry can help.
    """

    def __init__(self, context: CopyContext, stop: StopSignal) -> None:
        self._context = context
        self._stop = stop

    def run_all(
        self, jobs: Iterable[Callable[[], None]], running: set[Future[None]] | None = None
    ) -> None:
        """Run jobs over the shared threads; after the first failure no further one is queued.

        :param running: jobs that are under way already.
        :raises S3ResumeError: the first failure, one that no retry can help before all others.
        """
        running = running or set()
        failures: list[BaseException] = []
        for job in jobs:
            if failures or self._stop.is_set():
                break
            running.add(self._context.workers.submit(job))
            if len(running) >= 2 * self._context.parts.allowed:
                running = self._collect(running, failures)
        while running and not self._stop.is_set():
            running = self._collect(running, failures)
        failures += self.settle(running)
        # What else fails because everything stops is of no interest.
        self._context.stop.check()
        if failures:
            raise min(failures, key=_weight)
        self._stop.check()

    def settle(self, running: Iterable[Future[None]]) -> list[BaseException]:
        """Let jobs that have begun end, and no other begin; return what has failed."""
        futures = set(running)
        for future in futures:
            future.cancel()
        done, _ = wait(futures, timeout=_SETTLE_S)
        ended = [future.exception() for future in done if not future.cancelled()]
        return [error for error in ended if error is not None]

    def _collect(
        self, running: set[Future[None]], failures: list[BaseException]
    ) -> set[Future[None]]:
        parts = self._context.parts
        seconds = MOMENT_S if parts.is_unsure else _COLLECT_S
        done, left = wait(running, timeout=seconds, return_when=FIRST_COMPLETED)
        if parts.look():
            self._context.workers.resize(parts.allowed)
        for future in done:
            error = future.exception()
            if error is None:
                continue
            failures.append(error)
            if not (isinstance(error, S3ResumeError) and error.retryable):
                self._stop.stop(f"another part failed: {error}")
        return left


def _weight(failure: BaseException) -> int:
    """Order failures: those that stopped the others come before what the stop itself caused."""
    if isinstance(failure, CopyStoppedError):
        return 2
    return int(isinstance(failure, S3ResumeError) and failure.retryable)
