"""What all operators have in common whose work Airflow can end while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from airflow.sdk import BaseOperator

from airflow_provider_s3resume.operators._running import Interruption, run_stoppable
from airflow_provider_s3resume.transfer.stopping import StopSignal

_T = TypeVar("_T")


class StoppableOperator(BaseOperator):
    """An operator that does its work in another thread, and is told when to stop."""

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401 - BaseOperator's own
        super().__init__(**kwargs)
        self._interruption = Interruption()

    def on_kill(self) -> None:
        """Leave a reason to stop; runs in a signal handler, so nothing else may happen here."""
        self._interruption.leave("Airflow ended the task")

    def run_stoppable(self, work: Callable[[StopSignal], _T], stop: StopSignal) -> _T:
        """Return what ``work`` returns, or raise what it raises.

        :param stop: what the work is told to stop by.
        :raises CopyStoppedError: if it was stopped.
        """
        return run_stoppable(work, self._interruption, stop=stop, timeout=self.execution_timeout)
