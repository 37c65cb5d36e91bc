"""Clearing away what copies that nobody goes on with have left: uploads, and their records.

Only what our own records name is aborted (c34). A record is looked at again just before its uploads
are aborted, and again before it is forgotten: a copy that wakes up in between has written it then,
and keeps it; its upload may be gone, so that it starts over (``docs/adr/0019``).
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CopyStoppedError,
    ListingError,
    S3ResumeError,
    UnsupportedError,
)
from airflow_provider_s3resume.plan.digests import normal_etag
from airflow_provider_s3resume.plan.strays import (
    CleaningRules,
    key_at,
    knows_uploads,
    may_be_of_intent,
    own_ids,
)
from airflow_provider_s3resume.storage.base import uri_of
from airflow_provider_s3resume.transfer.checkpoints import CheckpointRecords, Stored
from airflow_provider_s3resume.transfer.cleanup import abort_for_good, parts_of_upload
from airflow_provider_s3resume.transfer.pool import Workers
from airflow_provider_s3resume.transfer.stray_report import (
    MOST_NAMED,
    CleaningReport,
    FoundUpload,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_s3resume.plan.objects import ListedObject
    from airflow_provider_s3resume.plan.resume import Checkpoint
    from airflow_provider_s3resume.storage.base import ObjectStore, UploadInfo
    from airflow_provider_s3resume.transfer.state import StateLocation
    from airflow_provider_s3resume.transfer.stopping import StopSignal

log = logging.getLogger(__name__)

_THREADS = 8
_AHEAD = 4 * _THREADS
_MOST_FAILURES = 100
"""After so many the rest would fail, too: with retries that would take for ever."""
_SETTLE_S = 2.5


def clean_strays(
    target: ObjectStore,
    state: StateLocation,
    rules: CleaningRules,
    *,
    prefix: str = "",
    run_id: str,
    now: float,
    stop: StopSignal,
) -> CleaningReport:
    """Find stray uploads under a target, abort those that old records of ours name, and report.

    :param prefix: of the target; records of objects elsewhere are left alone.
    :param run_id: names the report, with ``now``.
    :param now: seconds since the epoch.
    :raises InvalidInputError: if the state location is not ours.
    :raises CopyStoppedError: if told to stop.
    :raises S3ResumeError: if the target or the state location cannot be listed. The report of what
        was done until then is stored all the same.
    :returns: the report, failures included: see :meth:`CleaningReport.raise_for_failures`.
    """
    target.check_access(prefix)
    state.check_ours()
    report = CleaningReport(
        run_id=run_id,
        target=f"{target.service} {uri_of(target, prefix)}",
        dry_run=rules.dry_run,
        older_than_s=rules.older_than_s,
        began=now,
    )
    try:
        _Cleaner(target, CheckpointRecords(state), rules, prefix, report, stop).run()
    except S3ResumeError as error:
        report.interrupted = str(error)
        _store_all_the_same(report, state)
        raise
    report.store(state)
    log.info("%s", report.short_text())
    return report


def _store_all_the_same(report: CleaningReport, state: StateLocation) -> None:
    """Keep what is known of a cleaning that ended early; why it ended matters more than this."""
    log.info("%s", report.short_text())
    try:
        report.store(state)
    except S3ResumeError as error:
        log.warning("The report of what was done until then could not be stored: %s", error)


class _Cleaner:
    def __init__(
        self,
        target: ObjectStore,
        records: CheckpointRecords,
        rules: CleaningRules,
        prefix: str,
        report: CleaningReport,
        stop: StopSignal,
    ) -> None:
        self._target = target
        self._records = records
        self._rules = rules
        self._prefix = prefix
        self._report = report
        self._stop = stop
        self._now = report.began
        self._bucket = f"{target.service} {uri_of(target)}"
        self._lock = threading.Lock()
        self._unnamed: dict[str, UploadInfo] = {}
        self._beginning: set[str] = set()

    def run(self) -> None:
        """Look at all records, then at the uploads that none of them names."""
        self._list_uploads()
        workers = Workers(_THREADS, "s3resume-clean")
        running: set[Future[None]] = set()
        try:
            for listed in self._records.listed():
                running.add(workers.submit(partial(self._take, listed)))
                while len(running) >= _AHEAD:
                    running = self._collect(running)
            while running:
                running = self._collect(running)
        finally:
            wait(running, timeout=_SETTLE_S)
            workers.close()
        self._stop.check()
        self._report_foreign()

    def _collect(self, running: set[Future[None]]) -> set[Future[None]]:
        self._stop.check()
        done, left = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
        return left

    def _list_uploads(self) -> None:
        # Before the records: an upload that is begun from now on is not looked for in them.
        try:
            listed = self._target.list_all_uploads(self._prefix)
        except CopyStoppedError:
            raise
        except S3ResumeError as error:
            # What our records name can be cleared away without it.
            self._report.foreign_unknown = str(error)
            return
        self._unnamed = {upload.upload_id: upload for upload in listed}

    def _take(self, listed: ListedObject) -> None:
        if self._stop.is_set():
            return
        try:
            self._look_at(listed)
        except CopyStoppedError:
            raise
        except S3ResumeError as error:
            with self._lock:
                self._report.fail(listed.key, error)
                failed = self._report.failed
            log.error("%s: %s", listed.key, error)  # noqa: TRY400 - its traceback says no more
            if failed >= _MOST_FAILURES:
                raise

    def _look_at(self, listed: ListedObject) -> None:
        with self._lock:
            self._report.records += 1
        if not self._rules.is_old(listed.last_modified, self._now):
            self._take_young(listed)
            return
        found = self._records.load_listed(listed)
        if found is None:
            return  # Its copy came to its end meanwhile.
        if isinstance(found, str):
            with self._lock:
                self._report.add_unreadable(listed.key, found)
            return
        self._name_uploads(found.checkpoint)
        key = self._key_of(found.checkpoint, self._prefix)
        # What was written since it was listed is not old.
        same = normal_etag(found.etag or "") == normal_etag(listed.etag or "")
        if key is None:
            with self._lock:
                self._report.records_elsewhere += 1
        elif same and self._rules.is_old(found.checkpoint.started, self._now):
            self._take_old(key, listed, found)
        else:
            self._keep(found.checkpoint)

    def _take_young(self, listed: ListedObject) -> None:
        """Count a record, and read it only if there are uploads that it may name."""
        with self._lock:
            wanted = bool(self._unnamed)
        found = self._records.load_listed(listed) if wanted else None
        if isinstance(found, Stored):
            self._name_uploads(found.checkpoint)
            self._keep(found.checkpoint)
        else:
            with self._lock:
                self._report.records_in_use += 1

    def _key_of(self, checkpoint: Checkpoint, prefix: str = "") -> str | None:
        return key_at(checkpoint.target_uri, bucket=self._bucket, prefix=prefix)

    def _name_uploads(self, checkpoint: Checkpoint) -> None:
        if self._key_of(checkpoint) is None:
            return
        with self._lock:
            for upload_id in own_ids(checkpoint):
                self._unnamed.pop(upload_id, None)

    def _keep(self, checkpoint: Checkpoint) -> None:
        key = self._key_of(checkpoint)
        with self._lock:
            self._report.records_in_use += 1
            if checkpoint.upload_id is None and key is not None:
                self._beginning.add(key)

    def _take_old(self, key: str, listed: ListedObject, stored: Stored) -> None:
        with self._lock:
            self._report.records_old += 1
        ours = [self._measured(key, upload_id) for upload_id in own_ids(stored.checkpoint)]
        strays = [upload for upload in ours if upload is not None]
        of_intent = self._of_intent(key, stored.checkpoint)
        if of_intent is None:
            with self._lock:
                self._report.records_unknown += 1
            return  # The record is all that names an upload that may be there.
        if self._rules.abort_empty_uploads_of_intents and knows_uploads(stored.checkpoint):
            strays += of_intent
        with self._lock:
            for upload in strays:
                self._report.add_stray(upload)
            for upload in of_intent:
                self._unnamed.pop(upload.upload_id, None)
                if upload not in strays:
                    self._report.add_doubtful(upload)
        # While an upload is left its record stays: it is what makes the upload ours.
        if not self._rules.dry_run and set(of_intent) <= set(strays):
            self._clear(listed, stored, strays)

    def _of_intent(self, key: str, checkpoint: Checkpoint) -> list[FoundUpload] | None:
        """Return empty uploads that only an intent points at: they may be another tool's.

        ``None`` if the target does not tell which there are.
        """
        if checkpoint.upload_id is not None:
            return []
        try:
            uploads = self._target.list_uploads(key)
        except (ListingError, UnsupportedError, AccessDeniedError) as error:
            log.warning("%s: uploads of an intent are not known: %s", key, error)
            return None
        return [
            FoundUpload(key=key, upload_id=one.upload_id, bytes=0, initiated=one.initiated)
            for one in uploads
            if one.key == key
            and may_be_of_intent(checkpoint, one.upload_id, one.initiated)
            and self._rules.is_old(one.initiated, self._now)
            and parts_of_upload(self._target, key, one.upload_id) == []
        ]

    def _measured(
        self, key: str, upload_id: str, initiated: float | None = None
    ) -> FoundUpload | None:
        """Return an upload with the bytes of its parts, ``None`` if it is gone."""
        parts = parts_of_upload(self._target, key, upload_id)
        if parts is None:
            return None
        size = sum(part.size for part in parts)
        return FoundUpload(key=key, upload_id=upload_id, bytes=size, initiated=initiated)

    def _clear(self, listed: ListedObject, stored: Stored, strays: Iterable[FoundUpload]) -> None:
        if not self._is_untouched(listed, stored):
            return
        gone = [self._abort(upload) for upload in strays]
        if all(gone) and self._is_untouched(listed, stored):
            self._records.forget_listed(listed)
            with self._lock:
                self._report.records_forgotten += 1

    def _is_untouched(self, listed: ListedObject, stored: Stored) -> bool:
        """Tell whether nobody has written, or removed, a record since it was read."""
        found = self._records.load_listed(listed)
        if found is not None and found != stored:
            with self._lock:
                self._report.records_taken_up += 1
        return found == stored

    def _abort(self, upload: FoundUpload) -> bool:
        """Abort an upload of ours, and tell whether it is gone."""
        subject = uri_of(self._target, upload.key)
        try:
            abort_for_good(self._target, upload.key, upload.upload_id)
        except CopyStoppedError:
            raise
        except S3ResumeError as error:
            with self._lock:
                self._report.fail(f"upload {upload.upload_id} of {subject}", error)
            return False
        log.info("%s: aborted upload %s of %s bytes", subject, upload.upload_id, upload.bytes)
        with self._lock:
            self._report.uploads_aborted += 1
            self._report.bytes_freed += upload.bytes or 0
        return True

    def _report_foreign(self) -> None:
        """Count and measure the uploads that no record names; nothing is done about them."""
        unnamed = [u for u in self._unnamed.values() if u.key not in self._beginning]
        for number, upload in enumerate(sorted(unnamed, key=lambda u: u.initiated)):
            self._stop.check()
            self._report.add_foreign(self._foreign(upload, measure=number < MOST_NAMED))

    def _foreign(self, upload: UploadInfo, *, measure: bool) -> FoundUpload:
        plain = FoundUpload(key=upload.key, upload_id=upload.upload_id, initiated=upload.initiated)
        if not measure:
            return plain
        try:
            return self._measured(upload.key, upload.upload_id, upload.initiated) or plain
        except CopyStoppedError:
            raise
        except S3ResumeError as error:
            # Somebody else's upload: that we may not look into it is no failure of ours.
            log.info("%s: its parts are not known: %s", uri_of(self._target, upload.key), error)
            return plain
