"""The run report: what a run did, added up so that it equals its manifest."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import ObjectsFailedError
from airflow_provider_s3resume.plan.diff import Reason, Verb
from airflow_provider_s3resume.plan.manifest import dumps
from airflow_provider_s3resume.transfer.event_record import load_figures
from airflow_provider_s3resume.transfer.loading import (
    OutcomesReader,
    load_manifest,
)
from airflow_provider_s3resume.transfer.outcomes import Outcome, Status
from airflow_provider_s3resume.transfer.paces import pace_name, paces_of
from airflow_provider_s3resume.transfer.server_side import reasons_of
from airflow_provider_s3resume.transfer.verification import (
    MOST_NAMED,
    KeyFailure,
    VerificationSummary,
    load_noted,
    named,
    proofs_prefix,
    verification_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_s3resume.plan.manifest import BatchRef, Manifest
    from airflow_provider_s3resume.transfer.state import StateLocation

SCHEMA = 1
_NAMED_IN_TEXT = 10
_MOST_KINDS = 50
_MOST_KINDS_COUNTED = 1000
_LONGEST_KIND = 120
_VALUE = re.compile(r"['\"].*", re.DOTALL)
_NUMBER = re.compile(r"\b\d+\b")
_WAYS_OUT = {
    Reason.IN_STATE_LOCATION.value: ": it would lie in the state location; name another state_uri",
    Reason.KEY_TOO_LONG.value: ": the target takes no key of that length; rename the object",
    Reason.KEY_NOT_KEPT.value: ": the target would keep it under another key; rename the object",
    Reason.TOO_LARGE.value: ": the target takes no object of that size",
    Reason.DANGLING_SYMLINK.value: ": what the link points at cannot be read; mend or delete the "
    "link, or let symlinks be 'report'",
    Reason.UNREACHABLE_KEY.value: ": no request can name this key; rename the object",
    Reason.NOT_AT_SOURCE.value: ": the list of keys names it, and the source does not have it",
    Reason.SYMLINK_REFUSED.value: ": it is a link; let symlinks be 'report' or 'follow'",
    Reason.SYMLINK_OUTSIDE.value: ": the link leads out of the connection's folder; mend or "
    "delete it, or let symlinks be 'report'",
    Reason.TARGET_NO_FILE.value: ": a link or a special file stands there, and is neither "
    "replaced nor written through; remove it",
    Reason.RESERVED_KEY.value: ": the target keeps unfinished files under that name; rename it",
}
"""What to do about a key that was refused."""

_SIZED = frozenset({Reason.NOT_SELECTED.value, Reason.ARCHIVED.value})
_LONGEST_SELECTION = 500

_NOT_TRIED = "no task came to its end with it; see the log of the transfer task"


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
        for name in ("failures", "copied_keys", "links", "archived"):
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
        lines += [f"needs requests: {_counts(self.requests)}"] if self.requests else []
        lines += [f"selected by {_asked(self.selection)}"] if self.selection else []
        lines += [f"keys mapped by {_asked(self.key_mapping)}"] if self.key_mapping else []
        lines += self._service_lines()
        lines += [f"pace of {_counts(self.paces)}"] if self.paces else []
        lines += [_events_text(self.events)] if self.events else []
        lines += [f"note: {note} ({n} times)" for note, n in sorted(self.notes.items())]
        lines += [f"link, not followed: {key!r}" for key in self.links[:_NAMED_IN_TEXT]]
        lines += [f"archived, not copied: {key!r}" for key in self.archived[:_NAMED_IN_TEXT]]
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


def make_report(state: StateLocation, manifest_key: str, *, now: float) -> RunReport:
    """Add up a run and store the report beside its manifest.

    :param now: seconds since the epoch.
    :raises ManifestError: if the manifest cannot be used.
    """
    manifest = load_manifest(state, manifest_key)
    sums = _Sums(state, manifest)
    for ref in sorted(manifest.batches, key=lambda ref: ref.index):
        sums.take_batch(ref)
    sums.take_noted()
    text = state.read_text(verification_name(manifest_key))
    verification = VerificationSummary.from_json(text) if text is not None else None
    if verification is not None and not sums.looked_at_by(verification):
        verification = None
    report = sums.report(manifest_key, verification, now)
    state.write_text(_report_name(manifest_key), dumps(asdict(report)))
    return report


def _shortened(selection: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked for, with the number of ignored patterns in place of them all."""
    given = dict(selection)
    if "ignore" in given:
        given["ignore"] = len(given["ignore"])
    return given


def is_reported(state: StateLocation, manifest_key: str) -> bool:
    """Tell whether a run has a stored report."""
    return state.read_text(_report_name(manifest_key)) is not None


def _report_name(manifest_key: str) -> str:
    return f"{manifest_key.rpartition('/')[0]}/report.json"


def kind_of(note: str) -> str:
    """Return what notes that differ in the values of single objects have in common (c20)."""
    kind = _NUMBER.sub("N", _VALUE.sub("", note)).strip()
    return kind if len(kind) <= _LONGEST_KIND else f"{kind[:_LONGEST_KIND]}…"


class _Kinds:
    """Notes counted by kind, in bounded memory whatever they say."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._uncounted = 0

    def add(self, note: str) -> None:
        """Count one note."""
        kind = kind_of(note)
        if kind in self._counts or len(self._counts) < _MOST_KINDS_COUNTED:
            self._counts[kind] += 1
        else:
            self._uncounted += 1

    def most_frequent(self) -> dict[str, int]:
        """Return the most frequent kinds by name, the others as one."""
        ranked = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        found = dict(sorted(ranked[:_MOST_KINDS]))
        rest = ranked[_MOST_KINDS:]
        if rest:
            more = f"and {'at least ' * bool(self._uncounted)}{len(rest)} more kinds"
            found[more] = sum(n for _, n in rest) + self._uncounted
        return found


class _Sums:
    def __init__(self, state: StateLocation, manifest: Manifest) -> None:
        self._state = state
        self._manifest = manifest
        self._status: Counter[Status] = Counter()
        self._sums: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._notes = _Kinds()
        self._failures: list[KeyFailure] = []
        self._copied: list[str] = []
        self._links: list[str] = []
        self._archived: list[str] = []
        self._outcomes = OutcomesReader(state)

    def take_batch(self, ref: BatchRef) -> None:
        """Add the outcomes of one batch's entries; those without one have failed."""
        if self._manifest.dry_run:
            return
        for entry, outcome in self._outcomes.read(ref).items():
            if outcome is None:
                self._status[Status.FAILED] += 1
                self._fail(entry.key, "NotTried", _NOT_TRIED)
            else:
                self._take(outcome)

    def looked_at_by(self, verification: VerificationSummary) -> bool:
        """Tell whether a verification is of this plan and of the very outcomes taken here."""
        return (
            verification.manifest_digest == self._manifest.digest
            and verification.outcomes_digest == self._outcomes.digest
        )

    def take_noted(self) -> None:
        """Add the keys that the plan refused, each of them a failure, and others by name."""
        for entry in load_noted(self._state, self._manifest.noted):
            if entry.verb == Verb.REFUSE.value:
                advice = _WAYS_OUT.get(entry.reason, "")
                self._fail(entry.key, entry.reason, f"refused: {entry.reason}{advice}")
            elif entry.reason == Reason.SYMLINK.value and len(self._links) < MOST_NAMED:
                self._links.append(entry.key)
            elif entry.reason == Reason.ARCHIVED.value and len(self._archived) < MOST_NAMED:
                self._archived.append(entry.key)

    def report(
        self, manifest_key: str, verification: VerificationSummary | None, now: float
    ) -> RunReport:
        """Return the report of everything taken."""
        manifest, status = self._manifest, self._status
        by_verb = self._by_verb()
        landed = status[Status.COPIED] + status[Status.ALREADY_THERE]
        verified = verification.verified if verification else 0
        checked = verification.failed if verification else 0
        kinds = self._kinds + Counter({"VerificationError": checked})
        failures = self._failures + list(verification.failures if verification else ())
        refused = sum(by_verb[Verb.REFUSE.value].values())
        seconds = max(now - manifest.created, 0.001)
        moved = self._sums["bytes_moved"]
        return RunReport(
            run_id=manifest.run_id,
            manifest_key=manifest_key,
            manifest_digest=manifest.digest,
            proofs_key=f"s3://{self._state.store.bucket}/{self._state.prefix}"
            f"{proofs_prefix(manifest_key)}",
            report_key=f"s3://{self._state.store.bucket}/{self._state.prefix}"
            f"{_report_name(manifest_key)}",
            source=manifest.source.uri,
            target=manifest.target.uri,
            dry_run=manifest.dry_run,
            planned=manifest.copy_objects,
            copied=status[Status.COPIED],
            already_there=status[Status.ALREADY_THERE],
            gone=status[Status.GONE],
            failed_copies=status[Status.FAILED],
            failed=status[Status.FAILED] + refused + checked,
            kept_parts=self._sums["kept_parts"],
            reread_parts=self._sums["reread_parts"],
            sent_parts=self._sums["sent_parts"],
            verified=verified,
            verified_by=verification.proofs if verification else {},
            unverified=max(landed - verified - checked, 0),
            skipped=by_verb[Verb.SKIP.value],
            refused=by_verb[Verb.REFUSE.value],
            reasons=by_verb[Verb.COPY.value],
            unprotected=self._sums["unprotected"],
            planned_bytes=manifest.copy_bytes,
            bytes=moved,
            seconds=seconds,
            bytes_per_second=moved / seconds,
            failures=tuple(failures[:MOST_NAMED]),
            failure_kinds=dict(sorted(kinds.items())),
            notes=self._notes.most_frequent(),
            copied_keys=tuple(self._copied),
            links=tuple(self._links),
            archived=tuple(self._archived),
            paces=self._paces(),
            selection=_shortened(manifest.selection),
            partial=manifest.partial,
            key_mapping=manifest.key_mapping,
            requests=manifest.requests,
            skipped_bytes=self._skipped_bytes(),
            by_service=self._sums["by_service"],
            by_service_bytes=self._sums["by_service_bytes"],
            relayed_because=self._relayed_because(manifest_key),
            events=load_figures(self._state, manifest_key),
            noted_key=f"s3://{self._state.store.bucket}/{self._state.prefix}"
            f"{manifest_key.rpartition('/')[0]}/noted/",
        )

    def _paces(self) -> Mapping[str, float]:
        refs = self._manifest.batches
        return paces_of(self._state, [pace_name(ref.manifest, ref.index) for ref in refs])

    def _relayed_because(self, manifest_key: str) -> Mapping[str, int]:
        one_service = self._manifest.source.service == self._manifest.target.service
        return reasons_of(self._state, manifest_key) if one_service else {}

    def _by_verb(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {verb.value: {} for verb in Verb}
        for name, count in self._manifest.counts.items():
            verb, _, reason = name.partition(".")
            found[verb][reason] = count
        return found

    def _skipped_bytes(self) -> dict[str, int]:
        skipped = f"{Verb.SKIP.value}."
        sizes = self._manifest.sizes.items()
        return {n.removeprefix(skipped): size for n, size in sizes if n.startswith(skipped)}

    def _take(self, outcome: Outcome) -> None:
        self._status[outcome.status] += 1
        for name in ("kept_parts", "reread_parts", "sent_parts", "bytes_moved", "unprotected"):
            self._sums[name] += int(getattr(outcome, name))
        if outcome.by_service:
            self._sums["by_service"] += 1
            self._sums["by_service_bytes"] += outcome.size
        for note in outcome.notes:
            self._notes.add(note)
        if outcome.status is Status.FAILED:
            self._fail(outcome.key, outcome.error_kind or "", outcome.error or "")
        elif outcome.status is Status.COPIED and len(self._copied) < MOST_NAMED:
            self._copied.append(outcome.key)

    def _fail(self, key: str, kind: str, error: str) -> None:
        self._kinds[kind] += 1
        if len(self._failures) < MOST_NAMED:
            self._failures.append(KeyFailure(key=key, error=error))
