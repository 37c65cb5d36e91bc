"""What an earlier attempt of a batch left at the target: looked up, never believed."""

from __future__ import annotations

import logging
from os.path import commonprefix
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import ObjectNotFoundError
from airflow_provider_s3resume.plan.diff import Reason
from airflow_provider_s3resume.plan.digests import Match, compare_etags, normal_etag
from airflow_provider_s3resume.plan.objects import KeyRange, key_bytes
from airflow_provider_s3resume.transfer.ahead import answers_in_order
from airflow_provider_s3resume.transfer.outcomes import LANDED, Outcome, Proof, Status
from airflow_provider_s3resume.transfer.stopping import StopSignal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_provider_s3resume.plan.manifest import BatchRef, CopyEntry
    from airflow_provider_s3resume.storage.base import ObjectStore

log = logging.getLogger(__name__)

_LOST = frozenset({"AttributesLostError", "NotEncryptedError"})
"""Errors of objects that are at the target, without what was asked for (c19)."""


def found_at_target(
    target: ObjectStore, ref: BatchRef, entries: list[CopyEntry], before: Iterable[Outcome]
) -> dict[str, Outcome]:
    """Return the outcomes of objects that are at the target already, by key.

    The earlier attempt's outcomes are a hint; what counts is what the target lists now.
    """
    known = {outcome.key: outcome for outcome in before}
    hints = {key: outcome for key, outcome in known.items() if outcome.status in LANDED}
    there = target_etags(target, ref, entries)
    done: dict[str, Outcome] = {}
    for entry in entries:
        if entry.target_key not in there:
            continue
        size, etag = there[entry.target_key]
        outcome = _still_landed(hints.get(entry.key), size, etag)
        if outcome is None and _by_digest(entry, known.get(entry.key)):
            outcome = _equal(entry, size, etag)
        if outcome is not None:
            done[entry.key] = outcome
    log.info("earlier attempt: %d of %d objects are at the target", len(done), len(entries))
    return done


def target_etags(
    target: ObjectStore, ref: BatchRef, entries: list[CopyEntry]
) -> dict[str, tuple[int, str | None]]:
    """List the target for the batch's key range, or HEAD each key where that takes fewer calls."""
    if ref.listed > len(entries) * target.limits.list_page:
        return _by_head(target, entries)
    keys = {entry.target_key for entry in entries}
    first, last = min(keys, key=key_bytes), max(keys, key=key_bytes)
    found: dict[str, tuple[int, str | None]] = {}
    # The range ends before its stop; a NUL behind the last key makes it the next possible key.
    key_range = KeyRange(start=first, stop=last + "\0")
    # Keys are opaque strings here, no paths: what they share is compared character by character.
    shared = commonprefix([first, last])  # noqa: RUF071
    for listed in target.list_objects(shared, key_range):
        if listed.key in keys:
            found[listed.key] = (listed.size, listed.etag)
    return found


def _by_head(target: ObjectStore, entries: list[CopyEntry]) -> dict[str, tuple[int, str | None]]:
    def ask(entry: CopyEntry) -> tuple[int, str | None] | None:
        try:
            info = target.head(entry.target_key)
        except ObjectNotFoundError:
            return None
        return info.size, info.etag

    if len(entries) == 1:
        answers = [(entry, ask(entry)) for entry in entries]
    else:
        # One after the other they would take hours for the keys of a long list.
        answers = list(answers_in_order(entries, ask, stop=StopSignal()))
    return {entry.target_key: there for entry, there in answers if there is not None}


def _by_digest(entry: CopyEntry, before: Outcome | None) -> bool:
    """Tell whether digests say all about an object: not where its bytes were not what was wrong."""
    lost = before is not None and before.error_kind in _LOST
    return entry.reason != Reason.METADATA_DIFFERS.value and not lost


def _still_landed(hint: Outcome | None, size: int, etag: str | None) -> Outcome | None:
    if hint is None or hint.target_etag is None or hint.size != size:
        return None
    return hint if normal_etag(etag) == normal_etag(hint.target_etag) else None


def _equal(entry: CopyEntry, size: int, etag: str | None) -> Outcome | None:
    if size != entry.size or compare_etags(entry.etag, etag) is not Match.SAME:
        return None
    return Outcome(
        key=entry.key,
        target_key=entry.target_key,
        status=Status.ALREADY_THERE,
        size=size,
        source_etag=entry.etag,
        target_etag=normal_etag(etag),
        proof=Proof.ETAG,
    )
