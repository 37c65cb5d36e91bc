"""One multipart upload under way: its acknowledged parts, and the checkpoint that names them."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import PreconditionFailedError, S3ResumeError
from airflow_provider_s3resume.plan.digests import normal_etag
from airflow_provider_s3resume.transfer.checkpoints import Stored
from airflow_provider_s3resume.transfer.pool import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from airflow_provider_s3resume.plan.resume import Checkpoint, PartRecord
    from airflow_provider_s3resume.transfer.checkpoints import CheckpointRecords

log = logging.getLogger(__name__)

FLUSH_PARTS = 8
"""Acknowledged parts that may be unrecorded; parts lost with a killed worker are read again."""

_GROWTH = 16
"""A record of 10,000 parts is not written whole for every eight more."""


class UploadRecord:
    """The parts of one upload, written to its checkpoint as they are acknowledged.

    Safe to use from many threads. The checkpoint is written in a thread of its own: whoever moves
    parts does not wait for the state's store.
    """

    def __init__(self, records: CheckpointRecords, stored: Stored) -> None:
        self._records = records
        self._stored = stored
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._writer = Workers(1, "s3resume-record")
        self._writing: Future[None] | None = None
        self._parts = {part.part_number: part for part in stored.checkpoint.parts}
        self._unflushed = 0
        self._detached = False

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint as last written."""
        return self._stored.checkpoint

    def parts(self) -> dict[int, PartRecord]:
        """Return the acknowledged parts by number."""
        with self._lock:
            return dict(self._parts)

    def acknowledge(self, part: PartRecord) -> None:
        """Remember a part that the target has; now and then the checkpoint is written.

        :raises S3ResumeError: why it could not be written the last time.
        """
        ended = None
        with self._lock:
            self._parts[part.part_number] = part
            self._unflushed += 1
            due = self._unflushed >= max(FLUSH_PARTS, len(self._parts) // _GROWTH)
            if self._writing is not None and self._writing.done():
                ended, self._writing = self._writing, None
            # What is acknowledged while it is written is written next.
            if due and self._writing is None:
                self._writing = self._writer.submit(self.flush)
        if ended is not None:
            ended.result()

    def flush(self) -> None:
        """Write what has been acknowledged, if anything was since the last time."""
        with self._flushing:
            with self._lock:
                if self._unflushed == 0 or self._detached:
                    return
                self._unflushed = 0
                checkpoint = self._with(self._parts)
            try:
                self._write(checkpoint)
            except BaseException:
                # Not written: the next flush tries again.
                with self._lock:
                    self._unflushed += 1
                raise

    @contextmanager
    def kept_on_error(self) -> Iterator[None]:
        """Write what was acknowledged if the block ends with an error."""
        try:
            yield
        except BaseException:
            try:
                self.flush()
            except S3ResumeError as error:
                # What is not recorded is read again; why the block ended matters more.
                uri = self.checkpoint.target_uri
                log.warning("%s: the last parts were not recorded: %s", uri, error)
            finally:
                self._writer.close()
            raise

    @contextmanager
    def flushing(self) -> Iterator[None]:
        """Write what was acknowledged while the block runs; it is written when the block ends.

        The last of a copy: nothing is acknowledged any more.
        """
        written = self._writer.submit(self.flush)
        self._writer.close()
        try:
            yield
        except BaseException:
            # Whoever deals with the error may remove the record: nothing may write it after that.
            with suppress(S3ResumeError):
                written.result()
            raise
        written.result()

    def _write(self, checkpoint: Checkpoint) -> None:
        try:
            self._stored = self._records.save(checkpoint, self._stored)
        except PreconditionFailedError:
            self._join(checkpoint)

    def _join(self, checkpoint: Checkpoint) -> None:
        """Another worker wrote the record: join its parts if it is the same upload, else leave it.

        Whoever wrote last owns the record; this worker then goes on with its own upload without
        one, and whoever completes first wins.
        """
        found = self._records.load(checkpoint.source_uri, checkpoint.target_uri)
        if isinstance(found, Stored) and found.checkpoint.upload_id == checkpoint.upload_id:
            theirs = {part.part_number: part for part in found.checkpoint.parts}
            with self._lock:
                for number, part in theirs.items():
                    self._parts.setdefault(number, part)
                joined = self._with(self._parts)
            try:
                self._stored = self._records.save(joined, found)
            except PreconditionFailedError:
                self._detached = True
        else:
            self._detached = True

    def _with(self, parts: dict[int, PartRecord]) -> Checkpoint:
        ordered = tuple(parts[number] for number in sorted(parts))
        return replace(self._stored.checkpoint, parts=ordered)


def same_part(one: PartRecord, etag: str) -> bool:
    """Tell whether a listed part is the recorded one."""
    return normal_etag(one.etag) == normal_etag(etag)
