"""What a cleaning found and did, added up and stored."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_provider_s3resume.exceptions import ObjectsFailedError, S3ResumeError
from airflow_provider_s3resume.plan.manifest import dumps

if TYPE_CHECKING:
    from airflow_provider_s3resume.transfer.state import StateLocation

SCHEMA = 1
FOLDER = "cleanups/"
MOST_NAMED = 1000
"""Uploads and records of each kind that a report names; all are counted."""
_NAMED_IN_TEXT = 5
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundUpload:
    """An unfinished upload.

    :param bytes: of its parts, ``None`` if ListParts did not tell.
    :param initiated: seconds since the epoch, ``None`` if only a record names it.
    """

    key: str
    upload_id: str
    bytes: int | None = None
    initiated: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CleaningFailure:
    """A record or upload that could not be dealt with, and why."""

    subject: str
    kind: str
    error: str
    retryable: bool


@dataclass(slots=True, kw_only=True)
class CleaningReport:
    """What a cleaning found and did. Sizes in bytes, times in seconds since the epoch.

    :param records: checkpoints that were listed.
    :param records_in_use: of them, those that were written lately: nothing was done about them.
    :param records_elsewhere: old ones of other targets that share the state location.
    :param records_unreadable: damaged, or of a newer version; left alone.
    :param records_old: that nothing was written to for so long.
    :param records_unknown: of them, intents of which the target does not tell what they left.
    :param records_forgotten: of them, those that were removed.
    :param records_taken_up: of them, those that a copy wrote to meanwhile; left to it.
    :param stray_uploads: unfinished uploads that old records name; ``stray_bytes`` in their parts.
    :param uploads_aborted: of them; ``bytes_freed`` were in their parts.
    :param doubtful_uploads: that only an intent points at, and that were left alone.
    :param foreign_uploads: unfinished uploads under the target that no record names; left alone.
    :param foreign_bytes: in those of their parts that could be listed.
    :param foreign_unmeasured: foreign uploads whose parts were not listed.
    :param foreign_oldest: when the oldest of them was begun.
    :param foreign_unknown: why it is not known which other uploads there are; empty if it is.
    :param interrupted: why the cleaning ended early; empty if it did not.
    """

    run_id: str
    target: str
    dry_run: bool
    older_than_s: float
    began: float
    key: str = ""
    records: int = 0
    records_in_use: int = 0
    records_elsewhere: int = 0
    records_unreadable: int = 0
    records_old: int = 0
    records_unknown: int = 0
    records_forgotten: int = 0
    records_taken_up: int = 0
    stray_uploads: int = 0
    stray_bytes: int = 0
    uploads_aborted: int = 0
    bytes_freed: int = 0
    doubtful_uploads: int = 0
    foreign_uploads: int = 0
    foreign_bytes: int = 0
    foreign_unmeasured: int = 0
    foreign_oldest: float | None = None
    foreign_unknown: str = ""
    failed: int = 0
    interrupted: str = ""
    strays: list[FoundUpload] = field(default_factory=list)
    doubtful: list[FoundUpload] = field(default_factory=list)
    foreign: list[FoundUpload] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    failures: list[CleaningFailure] = field(default_factory=list)
    schema: int = SCHEMA

    def add_stray(self, upload: FoundUpload) -> None:
        """Count an upload that an old record makes ours."""
        self.stray_uploads += 1
        self.stray_bytes += upload.bytes or 0
        _name(self.strays, upload)

    def add_doubtful(self, upload: FoundUpload) -> None:
        """Count an upload that may be ours, and is left alone."""
        self.doubtful_uploads += 1
        _name(self.doubtful, upload)

    def add_foreign(self, upload: FoundUpload) -> None:
        """Count an upload that no record names."""
        self.foreign_uploads += 1
        self.foreign_bytes += upload.bytes or 0
        self.foreign_unmeasured += upload.bytes is None
        if upload.initiated is not None:
            times = (self.foreign_oldest, upload.initiated)
            self.foreign_oldest = min(time for time in times if time is not None)
        _name(self.foreign, upload)

    def add_unreadable(self, name: str, reason: str) -> None:
        """Count a record that cannot be read."""
        self.records_unreadable += 1
        _name(self.unreadable, f"{name}: {reason}")

    def fail(self, subject: str, error: S3ResumeError) -> None:
        """Count something that could not be dealt with."""
        self.failed += 1
        failure = CleaningFailure(
            subject=subject,
            kind=type(error).__name__,
            error=str(error),
            retryable=error.retryable,
        )
        _name(self.failures, failure)

    def figures(self) -> dict[str, Any]:
        """Return what goes into XCom: figures, no keys of objects."""
        named = ("strays", "doubtful", "foreign", "unreadable", "failures")
        data = {name: value for name, value in asdict(self).items() if name not in named}
        data["foreign_unknown"] = bool(self.foreign_unknown)
        data["interrupted"] = bool(self.interrupted)
        return data

    def short_text(self) -> str:
        """Return the report as a few lines for the task log."""
        done = (
            "nothing was changed: a dry run"
            if self.dry_run
            else f"aborted {self.uploads_aborted}, freed {self.bytes_freed} bytes, forgot "
            f"{self.records_forgotten} records"
        )
        oldest = (
            "" if self.foreign_oldest is None else f", the oldest of {_day(self.foreign_oldest)}"
        )
        strays = f"{self.stray_uploads} stray uploads of {self.stray_bytes} bytes"
        others = f"of other targets {self.records_elsewhere}, unreadable {self.records_unreadable}"
        foreign = f"{self.foreign_uploads} of {self.foreign_bytes} bytes{oldest}"
        lines = [
            f"{self.target}: {strays} in {self.records_old} old records; {done}",
            f"records: {self.records}, in use {self.records_in_use}, {others}",
            f"old records that a copy took up meanwhile: {self.records_taken_up}",
            f"uploads that no record names, left alone: {foreign}",
        ]
        if self.records_unknown:
            lines.append(
                f"records kept, as the uploads of their keys could not be listed: "
                f"{self.records_unknown}"
            )
        if self.foreign_unknown:
            lines.append(f"there may be more of them: {self.foreign_unknown}")
        lines += [
            f"may be ours, left alone: upload {upload.upload_id} of {upload.key!r}"
            for upload in self.doubtful[:_NAMED_IN_TEXT]
        ]
        lines += [f"left alone: {text}" for text in self.unreadable[:_NAMED_IN_TEXT]]
        return "\n".join(lines)

    def raise_for_failures(self) -> None:
        """Return if all that should be cleared away was.

        :raises ObjectsFailedError: naming the first that was not, and the report.
        """
        if not self.failed:
            return
        named = "; ".join(f"{f.subject}: {f.error}" for f in self.failures[:_NAMED_IN_TEXT])
        more = self.failed - _NAMED_IN_TEXT
        tail = f"; and {more} more" if more > 0 else ""
        raise ObjectsFailedError(
            f"{self.failed} records or uploads could not be cleared away, all others were dealt "
            f"with: {named}{tail}. The report is {self.key}",
            retryable=any(failure.retryable for failure in self.failures),
            kinds={failure.kind for failure in self.failures if failure.retryable},
        )

    def store(self, state: StateLocation) -> None:
        """Write the report into the state location."""
        mark = hashlib.sha256(self.run_id.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        name = f"{FOLDER}{datetime.fromtimestamp(self.began, UTC):%Y%m%dT%H%M%SZ}.{mark}.json"
        self.key = f"s3://{state.store.bucket}/{state.prefix}{name}"
        state.write_text(name, dumps(asdict(self)))


def _name(names: list[_T], one: _T) -> None:
    if len(names) < MOST_NAMED:
        names.append(one)


def _day(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%d}"
