"""What a run did, as figures and as text."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import ObjectsFailedError
from airflow_provider_s3resume.plan.cost import caveat
from airflow_provider_s3resume.plan.diff import Reason
from airflow_provider_s3resume.transfer.selecting import list_warnings
from airflow_provider_s3resume.transfer.verification import named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_s3resume.transfer.verification import KeyFailure

SCHEMA = 1
_NAMED_IN_TEXT = 10
_SIZED = frozenset({Reason.NOT_SELECTED.value, Reason.ARCHIVED.value})
_LONGEST_SELECTION = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What a run did. Sizes in bytes, times in seconds.

    ``planned = copied + already_there + gone + failed_copies`` in every report but that of a dry
    run; ``failed`` adds refused keys and failed verifications.

    :param skipped: reason → keys, over both listings.
    :param refused: reason → keys that the target cannot hold.
    :param proofs_key: prefix of the files that name the proof of each object.
    :param noted_key: prefix of the files that name what was refused, links that were not followed,
        what is archived, and what only a record says is equal.
    :param verified_by: proof → objects.
    :param unverified: objects that landed and that no verification of this plan has looked at.
    :param notes: kind of note → how often, of the fifty kinds that are most frequent.
    :param copied_keys: keys copied by this run, up to a thousand.
    :param links: keys of links that were to be reported, up to a thousand.
    :param paces: of how many batches it is known how they were copied, and the most of each figure
        of ``transfer.paces.Pace`` that one of them had.
    :param events: what messages asked for, in a run that they started; in a scan, since when events
        are consumed and how many objects they have missed; nothing where there are none.
    :param unprotected: objects written without a condition on what was there.
    :param selection: what of the source was asked for; see ``Manifest.selection``.
    :param partial: whether there may be keys that nobody has looked at.
    :param skipped_bytes: reason → bytes of the source objects among ``skipped``.
    :param archived: keys that were to be copied and have to be restored first, up to a thousand.
    :param directory_markers: keys that stand for directories, which the target was not to make, up
        to a thousand.
    :param key_mapping: what became of keys; see ``Manifest.key_mapping``.
    :param requests: how many the plan needs at least, by side and name; see ``plan.cost``.
    :param by_service: objects that the target's service copied by itself; of ``by_service_bytes``.
    :param relayed_because: why others were relayed though both sides are one service → batches.
    """

    run_id: str
    manifest_key: str
    manifest_digest: str
    report_key: str
    proofs_key: str
    source: str
    target: str
    dry_run: bool
    planned: int
    copied: int
    already_there: int
    gone: int
    failed_copies: int
    failed: int
    kept_parts: int
    reread_parts: int
    sent_parts: int
    verified: int
    verified_by: Mapping[str, int]
    unverified: int
    skipped: Mapping[str, int]
    refused: Mapping[str, int]
    reasons: Mapping[str, int]
    unprotected: int
    planned_bytes: int
    bytes: int
    seconds: float
    bytes_per_second: float
    failures: tuple[KeyFailure, ...]
    failure_kinds: Mapping[str, int]
    notes: Mapping[str, int]
    copied_keys: tuple[str, ...]
    noted_key: str = ""
    links: tuple[str, ...] = ()
    paces: Mapping[str, float] = field(default_factory=dict)
    selection: Mapping[str, Any] = field(default_factory=dict)
    partial: bool = False
    skipped_bytes: Mapping[str, int] = field(default_factory=dict)
    archived: tuple[str, ...] = ()
    directory_markers: tuple[str, ...] = ()
    key_mapping: Mapping[str, str] = field(default_factory=dict)
    requests: Mapping[str, int] = field(default_factory=dict)
    by_service: int = 0
    by_service_bytes: int = 0
    relayed_because: Mapping[str, int] = field(default_factory=dict)
    events: Mapping[str, Any] = field(default_factory=dict)
    schema: int = field(default=SCHEMA)

    def to_json_dict(self) -> dict[str, Any]:
        """Return the figures for XCom: no keys of objects, and no texts from their notes."""
        data = asdict(self)
        data["notes"] = sum(self.notes.values())
        for name in ("failures", "copied_keys", "links", "archived", "directory_markers"):
            del data[name]
        return data

    def metrics(self) -> dict[str, float]:
        """Return the figures that are sent to Airflow's metrics, by name."""
        names = ("planned", "copied", "already_there", "gone", "failed", "kept_parts")
        more = ("sent_parts", "verified", "bytes", "seconds", "bytes_per_second")
        found = {name: float(getattr(self, name)) for name in names + more}
        if "missed" in self.events:
            found["missed_by_events"] = float(self.events["missed"])
        return found

    def short_text(self) -> str:
        """Return the report as a few lines for the task log."""
        rate = f"{self.bytes_per_second / 1e6:.1f} MB/s"
        skipped = _counts(self.skipped, self.skipped_bytes)
        parts = f"sent {self.sent_parts}, kept {self.kept_parts}, read again {self.reread_parts}"
        plan = f"{self.planned} objects, {self.planned_bytes} bytes: {_counts(self.reasons)}"
        done = f"copied {self.copied}, already there {self.already_there}, gone {self.gone}"
        lines = [
            f"run {self.run_id}: {self.source} -> {self.target}{' (dry run)' * self.dry_run}",
            f"planned {plan}",
            f"{done}, failed {self.failed}",
            f"parts: {parts}",
            f"skipped: {skipped}; refused: {_counts(self.refused)}",
            f"verified {self.verified}: {_counts(self.verified_by)}",
            f"unprotected: {self.unprotected}",
            f"moved {self.bytes} bytes in {self.seconds:.1f} s ({rate})",
        ]
        needed = f"needs requests: {_counts(self.requests)}{caveat(self.requests)}"
        lines += [needed] if self.requests else []
        lines += [f"selected by {_asked(self.selection)}"] if self.selection else []
        lines += [f"warning: {told}" for told in list_warnings(self.selection)]
        lines += [f"keys mapped by {_asked(self.key_mapping)}"] if self.key_mapping else []
        lines += self._service_lines()
        lines += [f"pace of {_counts(self.paces)}"] if self.paces else []
        lines += [_events_text(self.events)] if self.events else []
        lines += [f"note: {note} ({n} times)" for note, n in sorted(self.notes.items())]
        lines += [f"link, not followed: {key!r}" for key in self.links[:_NAMED_IN_TEXT]]
        lines += [f"archived, not copied: {key!r}" for key in self.archived[:_NAMED_IN_TEXT]]
        lines += [
            f"directory, not made as directory_markers is off: {key!r}"
            for key in self.directory_markers[:_NAMED_IN_TEXT]
        ]
        lines += [f"failed: {f.key!r}: {f.error}" for f in self.failures[:_NAMED_IN_TEXT]]
        more = self.failed - min(len(self.failures), _NAMED_IN_TEXT)
        return "\n".join([*lines, f"and {more} more failures" if more > 0 else ""]).rstrip()

    def _service_lines(self) -> list[str]:
        copied = f"copied by the service: {self.by_service} objects, {self.by_service_bytes} bytes"
        return [
            *([copied] if self.by_service else []),
            *(f"relayed in {n} batches: {why}" for why, n in sorted(self.relayed_because.items())),
        ]

    def raise_for_failures(self) -> None:
        """Return if nothing failed, and all that landed was verified.

        A source that lost single objects since the plan is in order; one that has none of them any
        more is not what was meant.

        :raises ObjectsFailedError: naming the first failures and the report.
        """
        # What an event names may be gone before it is looked at: that is no failure of anybody.
        scanned = "messages" not in self.events
        if scanned and self.failed == 0 and self.gone and self.gone == self.planned:
            raise ObjectsFailedError(
                f"all {self.planned} planned objects are gone from the source, {self.source}: "
                f"nothing was copied. The report is {self.report_key}",
                retryable=False,
            )
        if self.failed == 0 and self.unverified == 0:
            return
        if self.failed == 0:
            raise ObjectsFailedError(
                f"{self.unverified} objects landed and were not verified: no verification of this "
                f"plan came to its end. The report is {self.report_key}",
                retryable=False,
            )
        raise ObjectsFailedError(
            f"{self.failed} objects failed, all others were dealt with: "
            f"{named(self.failures, _NAMED_IN_TEXT)}. The whole list is in {self.report_key}",
            retryable=False,
        )


def _counts(
    counts: Mapping[str, int] | Mapping[str, float], sizes: Mapping[str, int] | None = None
) -> str:
    held = {name: f" ({size} bytes)" for name, size in (sizes or {}).items() if name in _SIZED}
    named = (f"{name} {_figure(n)}{held.get(name, '')}" for name, n in sorted(counts.items()))
    return ", ".join(named) or "none"


def _asked(selection: Mapping[str, Any]) -> str:
    named = ", ".join(f"{name} {value}" for name, value in sorted(selection.items()))
    return named if len(named) <= _LONGEST_SELECTION else f"{named[:_LONGEST_SELECTION]}…"


def _events_text(events: Mapping[str, Any]) -> str:
    if "missed" not in events:
        return f"events: {_counts(events)}"
    since = datetime.fromtimestamp(events["consumed_since"], UTC)
    return (
        f"missed by events: {events['missed']} of the planned objects were written since "
        f"{since:%Y-%m-%d %H:%M} UTC, when events began to be consumed, and copied by none"
    )


def _figure(number: float) -> str:
    return f"{number:.0f}" if number == int(number) else f"{number:.1f}"
