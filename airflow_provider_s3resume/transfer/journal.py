"""The outcomes of a batch while it runs, written to the state location now and then."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from airflow_provider_s3resume.plan.objects import key_bytes
from airflow_provider_s3resume.transfer.outcomes import LANDED, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_s3resume.transfer.context import CopyContext
    from airflow_provider_s3resume.transfer.state import StateLocation

FLUSH_S = 10.0
"""Seconds between writings of the outcomes; what a killed task did not write is looked up again."""


class Journal:
    """The outcomes of a batch, written to the state location now and then.

    A checkpoint is forgotten only after the outcome that makes it needless was written.
    """

    def __init__(self, state: StateLocation, name: str, context: CopyContext) -> None:
        self.name = name
        self._state = state
        self._context = context
        self._lock = threading.Lock()
        self._outcomes: dict[str, Outcome] = {}
        self._forget: list[Outcome] = []
        self._dirty = False
        self._written = time.monotonic()

    def begin(self, outcomes: Iterable[Outcome]) -> None:
        """Write what is known at the start; that the file exists marks the batch as begun."""
        for outcome in outcomes:
            self._outcomes[outcome.key] = outcome
        self._dirty = True
        self.flush()

    def add(self, outcome: Outcome) -> None:
        """Take one more outcome."""
        with self._lock:
            self._outcomes[outcome.key] = outcome
            self._dirty = True
            if outcome.status in LANDED:
                self._forget.append(outcome)

    def outcomes(self) -> list[Outcome]:
        """Return all outcomes in key order."""
        with self._lock:
            return [self._outcomes[key] for key in sorted(self._outcomes, key=key_bytes)]

    def flush_if_due(self) -> None:
        """Write if the last writing was a while ago."""
        if time.monotonic() - self._written >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write all outcomes, then forget the checkpoints that they make needless."""
        with self._lock:
            dirty, self._dirty = self._dirty, False
            forget, self._forget = self._forget, []
        if dirty:
            text = "".join(outcome.to_line() for outcome in self.outcomes())
            self._state.write_text(self.name, text)
        for outcome in forget:
            forget_checkpoint(self._context, outcome)
        self._written = time.monotonic()


def forget_checkpoint(context: CopyContext, outcome: Outcome) -> None:
    """Remove an object's checkpoint, and abort the uploads that it says were given up."""
    if not outcome.checkpointed:
        return
    for upload_id in outcome.superseded:
        context.target.abort_upload(outcome.target_key, upload_id)
    context.records.forget(context.source_uri(outcome.key), context.target_uri(outcome.target_key))
