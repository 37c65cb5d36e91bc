"""The outcomes of a batch while it runs, written to the state location now and then."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import StoreError
from airflow_provider_s3resume.plan.objects import key_bytes
from airflow_provider_s3resume.transfer.checkpoints import CheckpointRecords, Stored
from airflow_provider_s3resume.transfer.cleanup import abort_uploads_of
from airflow_provider_s3resume.transfer.outcomes import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_s3resume.transfer.context import CopyContext
    from airflow_provider_s3resume.transfer.state import StateLocation

log = logging.getLogger(__name__)

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
        self._lines: dict[str, str] = {}
        self._forget: list[Outcome] = []
        self._left_behind: list[Outcome] = []
        self._dirty = False
        self._written = time.monotonic()

    def begin(self, outcomes: Iterable[Outcome]) -> None:
        """Write what is known at the start; that the file exists marks the batch as begun.

        An attempt that was killed after an object had landed left its checkpoint behind.
        """
        for outcome in outcomes:
            self._outcomes[outcome.key] = outcome
            self._lines[outcome.key] = outcome.to_line()
            if had_checkpoint(self._context, outcome):
                self._left_behind.append(outcome)
        self._dirty = True
        self.flush()

    def add(self, outcome: Outcome) -> None:
        """Take one more outcome."""
        # Made while other things are waited for, and once, however often it is written.
        line = outcome.to_line()
        with self._lock:
            self._outcomes[outcome.key] = outcome
            self._lines[outcome.key] = line
            self._dirty = True
            if outcome.checkpointed:
                self._forget.append(outcome)

    def outcomes(self) -> list[Outcome]:
        """Return all outcomes in key order."""
        with self._lock:
            return [self._outcomes[key] for key in sorted(self._outcomes, key=key_bytes)]

    def _text(self) -> str:
        with self._lock:
            return "".join([self._lines[key] for key in sorted(self._lines, key=key_bytes)])

    def flush_if_due(self) -> None:
        """Write if the last writing was a while ago."""
        if time.monotonic() - self._written >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write all outcomes, then forget the checkpoints that they make needless."""
        with self._lock:
            dirty, self._dirty = self._dirty, False
            forget, self._forget = self._forget, []
        try:
            if dirty:
                self._state.write_text(self.name, self._text())
        except BaseException:
            with self._lock:
                self._dirty, self._forget = True, forget + self._forget
            raise
        for outcome in forget:
            forget_checkpoint(self._context, outcome, outcome.superseded)
        while self._left_behind:
            forget_checkpoint(self._context, self._left_behind.pop())
        self._written = time.monotonic()


def had_checkpoint(context: CopyContext, outcome: Outcome) -> bool:
    """Tell whether an object's checkpoint stood there when the attempt began."""
    if not context.known_checkpoints:
        return False
    pair = context.source_uri(outcome.key), context.target_uri(outcome.target_key)
    return CheckpointRecords.name_of(*pair) in context.known_checkpoints


def forget_checkpoint(
    context: CopyContext, outcome: Outcome, uploads: tuple[str, ...] | None = None
) -> None:
    """Remove an object's checkpoint, and abort the uploads of ours that may still be there.

    The object is dealt with; what cannot be cleared away now does not make it fail.

    :param uploads: their ids, ``None`` to look into the checkpoint.
    """
    pair = context.source_uri(outcome.key), context.target_uri(outcome.target_key)
    try:
        stored = context.records.load(*pair) if uploads is None else None
        if isinstance(stored, Stored):
            abort_uploads_of(context.target, outcome.target_key, stored.checkpoint, context.records)
        for upload_id in uploads or ():
            context.target.abort_upload(outcome.target_key, upload_id)
        context.records.forget(*pair)
    except StoreError as error:
        log.warning("%s: its checkpoint was not cleared away: %s", pair[1], error)
