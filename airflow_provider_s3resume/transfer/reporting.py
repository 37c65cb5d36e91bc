"""Adding up a run: its report, which equals its manifest."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.plan.diff import Reason, Verb
from airflow_provider_s3resume.plan.manifest import dumps
from airflow_provider_s3resume.transfer.event_record import load_figures
from airflow_provider_s3resume.transfer.loading import (
    OutcomesReader,
    load_manifest,
)
from airflow_provider_s3resume.transfer.note_kinds import NoteKinds
from airflow_provider_s3resume.transfer.outcomes import Outcome, Status
from airflow_provider_s3resume.transfer.paces import pace_name, paces_of
from airflow_provider_s3resume.transfer.run_report import RunReport
from airflow_provider_s3resume.transfer.server_side import reasons_of
from airflow_provider_s3resume.transfer.verification import (
    MOST_NAMED,
    KeyFailure,
    VerificationSummary,
    load_noted,
    proofs_prefix,
    verification_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_s3resume.plan.manifest import BatchRef, Manifest
    from airflow_provider_s3resume.transfer.state import StateLocation

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

_ADDED_UP = (
    "kept_parts",
    "reread_parts",
    "sent_parts",
    "unprotected",
    "by_service",
    "by_service_bytes",
)
"""Figures of outcomes that stand in the report under their own names."""

_NOT_TRIED = "no task came to its end with it; see the log of the transfer task"


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


def _nothing_looked_at(manifest: Manifest, now: float) -> VerificationSummary:
    """Return what a verification says that has not looked at any object."""
    return VerificationSummary(
        at=now,
        manifest_digest=manifest.digest,
        verified=0,
        proofs={},
        not_landed=0,
        failed=0,
        failures=(),
    )


class _Sums:
    def __init__(self, state: StateLocation, manifest: Manifest) -> None:
        self._state = state
        self._manifest = manifest
        self._status: Counter[Status] = Counter()
        self._sums: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._notes = NoteKinds()
        self._failures: list[KeyFailure] = []
        self._copied: list[str] = []
        self._links: list[str] = []
        self._archived: list[str] = []
        self._directories: list[str] = []
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
            elif entry.reason == Reason.DIRECTORY_MARKER.value:
                self._directories += [entry.key] * (len(self._directories) < MOST_NAMED)

    def report(
        self, manifest_key: str, verification: VerificationSummary | None, now: float
    ) -> RunReport:
        """Return the report of everything taken."""
        manifest, status, by_verb = self._manifest, self._status, self._by_verb()
        looked = verification or _nothing_looked_at(manifest, now)
        landed = status[Status.COPIED] + status[Status.ALREADY_THERE]
        refused = sum(by_verb[Verb.REFUSE.value].values())
        kinds = self._kinds + Counter({"VerificationError": looked.failed})
        seconds = max(now - manifest.created, 0.001)
        return RunReport(
            run_id=manifest.run_id,
            manifest_key=manifest_key,
            manifest_digest=manifest.digest,
            proofs_key=self._uri(proofs_prefix(manifest_key)),
            report_key=self._uri(_report_name(manifest_key)),
            source=manifest.source.uri,
            target=manifest.target.uri,
            dry_run=manifest.dry_run,
            planned=manifest.copy_objects,
            copied=status[Status.COPIED],
            already_there=status[Status.ALREADY_THERE],
            gone=status[Status.GONE],
            failed_copies=status[Status.FAILED],
            failed=status[Status.FAILED] + refused + looked.failed,
            verified=looked.verified,
            verified_by=looked.proofs,
            unverified=max(landed - looked.verified - looked.failed, 0),
            skipped=by_verb[Verb.SKIP.value],
            refused=by_verb[Verb.REFUSE.value],
            reasons=by_verb[Verb.COPY.value],
            planned_bytes=manifest.copy_bytes,
            bytes=self._sums["bytes_moved"],
            seconds=seconds,
            bytes_per_second=self._sums["bytes_moved"] / seconds,
            failures=(*self._failures, *looked.failures)[:MOST_NAMED],
            failure_kinds=dict(sorted(kinds.items())),
            notes=self._notes.most_frequent(),
            copied_keys=tuple(self._copied),
            links=tuple(self._links),
            archived=tuple(self._archived),
            directory_markers=tuple(self._directories),
            paces=self._paces(),
            selection=_shortened(manifest.selection),
            partial=manifest.partial,
            key_mapping=manifest.key_mapping,
            requests=manifest.requests,
            skipped_bytes=self._skipped_bytes(),
            relayed_because=self._relayed_because(manifest_key),
            events=load_figures(self._state, manifest_key),
            noted_key=self._uri(f"{manifest_key.rpartition('/')[0]}/noted/"),
            **{name: self._sums[name] for name in _ADDED_UP},
        )

    def _uri(self, name: str) -> str:
        return f"s3://{self._state.store.bucket}/{self._state.prefix}{name}"

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
