"""Compare every object that landed with its source, by the strongest digest both sides give.

No bytes are read again. The outcomes of the batches are hints: what counts is what the target
lists now.
"""

from __future__ import annotations

import heapq
import logging
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import ManifestError, ObjectNotFoundError
from airflow_provider_s3resume.plan.diff import Criterion, DiffRule, ProvenPair, Reason
from airflow_provider_s3resume.plan.digests import (
    Match,
    compare_checksums,
    compare_etags,
    normal_etag,
)
from airflow_provider_s3resume.plan.manifest import NotedEntry, check_schema, dumps, loads
from airflow_provider_s3resume.plan.objects import key_bytes
from airflow_provider_s3resume.transfer.earlier import target_etags
from airflow_provider_s3resume.transfer.event_record import drop_outdated
from airflow_provider_s3resume.transfer.loading import (
    OutcomesReader,
    check_sides,
    load_lines,
    load_manifest,
)
from airflow_provider_s3resume.transfer.outcomes import LANDED, Outcome, Proof, Status
from airflow_provider_s3resume.transfer.proven import (
    load_proven,
    pair_line,
    pair_of,
    save_proven,
)
from airflow_provider_s3resume.transfer.sorting import sorted_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_provider_s3resume.plan.manifest import BatchRef, CopyEntry, FileRef, Manifest
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.state import StateLocation
    from airflow_provider_s3resume.transfer.stopping import StopSignal

log = logging.getLogger(__name__)

SCHEMA = 1
_BY_BYTES = frozenset({Proof.CRC64, Proof.MD5})
"""Proofs that no digest of the target's can repeat: they hold while the target is as written."""

MOST_NAMED = 1000
"""Failures that are named one by one; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFailure:
    """A key and what is wrong with it."""

    key: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationSummary:
    """The result of verifying a run.

    :param at: seconds since the epoch.
    :param proofs: proof → objects that it was given for.
    :param not_landed: copy entries that no task landed or found gone.
    :param outcomes_digest: of the outcomes that were looked at; of others this says nothing.
    """

    at: float
    manifest_digest: str
    verified: int
    proofs: Mapping[str, int]
    not_landed: int
    failed: int
    failures: tuple[KeyFailure, ...]
    outcomes_digest: str = ""
    schema: int = field(default=SCHEMA)

    def to_json_dict(self) -> dict[str, Any]:
        """Return what goes into XCom: figures, no keys of objects."""
        data = asdict(self)
        del data["failures"]
        return data

    @classmethod
    def from_json(cls, text: str) -> VerificationSummary:
        """Read a stored summary.

        :raises ManifestError: if it is damaged or of another version.
        """
        data = loads(text, what="verification")
        check_schema(data, SCHEMA, what="verification")
        try:
            data["failures"] = tuple(KeyFailure(**f) for f in data["failures"])
            return cls(**data)
        except (KeyError, TypeError) as error:
            raise ManifestError(
                "verification", found=str(error), accepted="the fields that this version writes"
            ) from error


def proofs_prefix(manifest_key: str) -> str:
    """Return where the proof of each object of a run stands, line by line."""
    return f"{manifest_key.rpartition('/')[0]}/proofs/"


def verification_name(manifest_key: str) -> str:
    """Return where a run's verification is, under the state prefix."""
    return f"{manifest_key.rpartition('/')[0]}/verification.json"


def verify_run(
    source: ObjectStore,
    target: ObjectStore,
    state: StateLocation,
    manifest_key: str,
    *,
    stop: StopSignal,
    now: float,
) -> VerificationSummary:
    """Verify what a run landed; store the summary, and the pairs that only a record can tell equal.

    :param now: seconds since the epoch.
    :raises ManifestError: if the manifest cannot be used.
    """
    # If this verification fails, an earlier one must not stand for it.
    state.delete(verification_name(manifest_key))
    manifest = load_manifest(state, manifest_key)
    check_sides(manifest, source, target)
    run = _Verifying(source, target, state, manifest)
    with tempfile.TemporaryFile("w+", encoding="utf-8", prefix="s3resume-verify-") as spool:
        for pair in run.batches(stop):
            spool.write(pair_line(pair))
        summary = run.summary(now)
        state.write_text(verification_name(manifest_key), dumps(asdict(summary)))
        if _keeps_pairs(manifest):
            spool.seek(0)
            save_proven(state, manifest, _all_pairs(state, manifest, map(pair_of, spool)))
            spool.seek(0)
            drop_outdated(state, manifest, map(pair_of, spool))
    return summary


def _keeps_pairs(manifest: Manifest) -> bool:
    if manifest.dry_run or manifest.rule == Reason.ASKED_FOR.value:
        return False  # Such a plan has not looked at every key.
    return Criterion.ETAG in DiffRule.parse(manifest.rule).criteria


def _all_pairs(
    state: StateLocation, manifest: Manifest, new: Iterator[ProvenPair]
) -> Iterator[ProvenPair]:
    """Yield what the record has to hold now, in order of keys, of each the newest.

    A plan that has not looked at every key has nothing to say about the others: their pairs stay.
    """
    whole = not (manifest.partial or manifest.selection)
    kept = _noted_pairs(state, manifest) if whole else load_proven(state, manifest)
    if manifest.key_mapping:
        # Such a plan is in the order of target keys.
        kept, new = _by_key(kept), _by_key(new)
    last: ProvenPair | None = None
    for pair in heapq.merge(kept, new, key=lambda p: key_bytes(p.key)):
        if last is not None and last.key != pair.key:
            yield last
        last = pair
    if last is not None:
        yield last


def _by_key(pairs: Iterable[ProvenPair]) -> Iterator[ProvenPair]:
    rows = sorted_rows((pair.key, pair_line(pair)) for pair in pairs)
    return (pair_of(row[1]) for row in rows)


def _noted_pairs(state: StateLocation, manifest: Manifest) -> Iterator[ProvenPair]:
    for entry in load_noted(state, manifest.noted):
        known = entry.source_etag is not None and entry.target_etag is not None
        if entry.reason == Reason.PROVEN_BEFORE.value and known:
            yield ProvenPair(
                key=entry.key,
                source_etag=entry.source_etag or "",
                target_etag=entry.target_etag or "",
                size=entry.size,
            )


def load_noted(state: StateLocation, refs: Iterable[FileRef]) -> Iterator[NotedEntry]:
    """Read the keys that a plan noted, one file at a time.

    :raises ManifestError: if a file is not the one that was stored.
    """
    for ref in refs:
        for line in load_lines(state, ref):
            yield NotedEntry(**loads(line, what="noted line"))


class _Verifying:
    def __init__(
        self, source: ObjectStore, target: ObjectStore, state: StateLocation, manifest: Manifest
    ) -> None:
        self._source = source
        self._target = target
        self._state = state
        self._manifest = manifest
        self._proofs: Counter[str] = Counter()
        self._failures: list[KeyFailure] = []
        self._failed = 0
        self._not_landed = 0
        # A file was read back when it was written, and holds no digest to be asked for.
        read_back = target.capabilities.reads_back
        self._lasting = _BY_BYTES | {Proof.CHECKSUM} if read_back else _BY_BYTES
        self._outcomes = OutcomesReader(state)
        self._versions: dict[str, str] = {}

    def batches(self, stop: StopSignal) -> Iterator[ProvenPair]:
        """Verify batch by batch in key order; yields the pairs that ETags cannot tell equal."""
        if self._manifest.dry_run:
            return  # Whatever stands under its batches is not of this plan.
        for ref in sorted(self._manifest.batches, key=lambda ref: ref.index):
            stop.check()
            found = self._outcomes.read(ref)
            landed = {o.key: o for o in found.values() if o is not None and o.status in LANDED}
            gone = sum(o is not None and o.status is Status.GONE for o in found.values())
            self._not_landed += ref.objects - len(landed) - gone
            if landed:
                yield from self._batch(ref, list(found), landed, stop)

    def summary(self, now: float) -> VerificationSummary:
        """Return what was found."""
        return VerificationSummary(
            at=now,
            manifest_digest=self._manifest.digest,
            verified=sum(self._proofs.values()),
            proofs=dict(sorted(self._proofs.items())),
            not_landed=self._not_landed,
            failed=self._failed,
            failures=tuple(self._failures),
            outcomes_digest=self._outcomes.digest,
        )

    def _batch(
        self,
        ref: BatchRef,
        entries: list[CopyEntry],
        landed: Mapping[str, Outcome],
        stop: StopSignal,
    ) -> Iterator[ProvenPair]:
        there = target_etags(self._target, ref, entries)
        self._versions = {e.key: e.version_id for e in entries if e.version_id is not None}
        lines: list[str] = []
        for key in sorted(landed, key=key_bytes):
            stop.check()
            outcome = landed[key]
            found = there.get(outcome.target_key)
            proof = self._prove(outcome, found)
            lines.append(_proof_line(outcome, proof))
            if proof is None or found is None:
                continue
            self._proofs[proof.value] += 1
            told = compare_etags(outcome.source_etag, found[1]) is Match.SAME
            if not told and outcome.source_etag and found[1]:
                yield ProvenPair(
                    key=key,
                    source_etag=outcome.source_etag,
                    target_etag=found[1],
                    size=outcome.size,
                )
        name = f"{proofs_prefix(ref.manifest)}{ref.index:05d}.jsonl"
        self._state.write_text(name, "".join(lines))

    def _prove(self, outcome: Outcome, found: tuple[int, str | None] | None) -> Proof | None:
        if found is None:
            self._fail(outcome, "it is not at the target any more")
            return None
        size, etag = found
        if size != outcome.size:
            self._fail(outcome, f"expected {outcome.size} bytes, found {size}")
            return None
        as_written = normal_etag(etag) == normal_etag(outcome.target_etag)
        if as_written and outcome.proof in self._lasting:
            return outcome.proof
        if compare_etags(outcome.source_etag, etag) is Match.SAME:
            return Proof.ETAG
        if not as_written:
            self._fail(
                outcome,
                f"expected ETag {outcome.target_etag}, as written, found {etag}: somebody else "
                "wrote it since. The next plan looks again",
            )
            return None
        return self._by_checksum(outcome)

    def _by_checksum(self, outcome: Outcome) -> Proof | None:
        if outcome.proof is Proof.CHECKSUM:
            match = self._compare_checksums(outcome)
            if match is Match.SAME:
                return Proof.CHECKSUM
            if match is Match.DIFFERENT:
                self._fail(outcome, "the full-object checksums of both sides differ")
                return None
            return Proof.SERVICE if outcome.by_service else Proof.PARTS
        if outcome.proof is Proof.NONE:
            self._fail(
                outcome,
                "neither side gives a digest that could prove it: nothing was compared. Say under "
                "'checksums' in the target's connection what its service checks",
            )
            return None
        return Proof.SERVICE if outcome.proof is Proof.SERVICE else Proof.PARTS

    def _compare_checksums(self, outcome: Outcome) -> Match:
        try:
            version_id = self._versions.get(outcome.key)
            source = self._source.head(outcome.key, version_id=version_id)
            target = self._target.head(outcome.target_key)
        except ObjectNotFoundError:
            return Match.UNKNOWN
        if normal_etag(source.etag) != normal_etag(outcome.source_etag):
            return Match.UNKNOWN  # Replaced since: the copy was proven against what it was then.
        return compare_checksums(source.checksums, target.checksums)

    def _fail(self, outcome: Outcome, error: str) -> None:
        """Count and name a failure; the caller then has no proof to return."""
        log.error("%s: %s", outcome.target_key, error)
        self._failed += 1
        if len(self._failures) < MOST_NAMED:
            self._failures.append(KeyFailure(key=outcome.key, error=error))


def _proof_line(outcome: Outcome, proof: Proof | None) -> str:
    known = {"key": outcome.key, "target_key": outcome.target_key, "size": outcome.size}
    return dumps({**known, "proof": proof.value if proof is not None else "failed"}) + "\n"


def named(failures: Iterable[KeyFailure], most: int) -> str:
    """Return the first failures as one line of text."""
    return "; ".join(f"{f.key!r}: {f.error}" for f in list(failures)[:most])
