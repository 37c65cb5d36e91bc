"""A plan of named keys: each is asked for at both sides, then diffed as if it had been listed.

What is equal is not copied again, so a name that is given twice, or after its object has landed,
costs two requests and nothing else.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.exceptions import S3ResumeError
from airflow_provider_s3resume.plan.diff import ProvenPair, Reason, Verb, diff
from airflow_provider_s3resume.plan.digests import Match, compare_etags
from airflow_provider_s3resume.plan.manifest import dumps, loads
from airflow_provider_s3resume.plan.messages import KeyFate, KeyState
from airflow_provider_s3resume.plan.objects import key_bytes
from airflow_provider_s3resume.transfer.absence import LISTED_ALL_THE_SAME, listed_exactly
from airflow_provider_s3resume.transfer.checking import sides_of
from airflow_provider_s3resume.transfer.comparing import Comparison, listed_by_head
from airflow_provider_s3resume.transfer.loading import OutcomesReader, load_manifest
from airflow_provider_s3resume.transfer.looking_closer import looked_closer
from airflow_provider_s3resume.transfer.outcomes import LANDED, Status
from airflow_provider_s3resume.transfer.pool import Workers
from airflow_provider_s3resume.transfer.probing import check_provable
from airflow_provider_s3resume.transfer.state import run_prefix
from airflow_provider_s3resume.transfer.storing import PlanWriter, manifest_of_named
from airflow_provider_s3resume.transfer.target_rules import rules_of
from airflow_provider_s3resume.transfer.verification import (
    VerificationSummary,
    proofs_prefix,
    verification_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_provider_s3resume.plan.archives import OnArchived
    from airflow_provider_s3resume.plan.diff import Action
    from airflow_provider_s3resume.plan.manifest import Manifest
    from airflow_provider_s3resume.plan.objects import ListedObject
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.plan_request import PlanRequest
    from airflow_provider_s3resume.transfer.state import StateLocation
    from airflow_provider_s3resume.transfer.stopping import StopSignal

log = logging.getLogger(__name__)

_THREADS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPlan:
    """What is to be done about the keys that were named.

    :param manifest_key: under the state prefix.
    :param fates: of the keys that are not to be copied.
    """

    manifest_key: str
    manifest: Manifest
    fates: Mapping[str, KeyFate]

    def count(self, state: KeyState) -> int:
        """Return how many keys have this state already."""
        return sum(fate.state is state for fate in self.fates.values())


@dataclass(slots=True, kw_only=True)
class _Found:
    """What both sides answered."""

    sources: list[ListedObject] = field(default_factory=list)
    targets: list[ListedObject] = field(default_factory=list)
    fates: dict[str, KeyFate] = field(default_factory=dict)
    errors: list[S3ResumeError] = field(default_factory=list)


def plan_keys(
    source: ObjectStore,
    target: ObjectStore,
    state: StateLocation,
    keys: Iterable[str],
    request: PlanRequest,
    *,
    proven: Iterable[ProvenPair] = (),
    now: float,
    stop: StopSignal,
) -> NamedPlan:
    """Ask for the keys at both sides, diff them, and store manifest and fates.

    :param keys: of the source, under the request's source prefix.
    :param proven: pairs that only a record can tell equal.
    :raises StoreError: if a side does not answer; one that refuses single keys does.
    :raises InvalidInputError: if the state location or the target cannot be used.
    """
    check_provable(target)
    source.check_access(request.source_prefix)
    target.check_access(request.target_prefix)
    state.ensure(now)
    sides = sides_of(source, target, request)
    comparison = Comparison(
        source=source,
        target=target,
        mapping=request.mapping,
        rule=request.rule,
        rules=rules_of(source, target, state, request),
        select=None,
        stop=stop,
    )
    found = _ask(comparison, sorted(set(keys), key=key_bytes))
    with PlanWriter(state, run_prefix(request.run_id)) as writer:
        _take_all(writer, _actions(comparison, found, proven, request.archived), found.fates)
        writer.forget_earlier()
        limits, counts = request.batch_limits, dict(sorted(writer.counts.items()))
        manifest = manifest_of_named(writer, sides, request.run_id, limits, counts, now=now)
    _store_fates(state, writer.manifest_key, found.fates)
    state.write_text(writer.manifest_key, manifest.to_json())
    return NamedPlan(manifest_key=writer.manifest_key, manifest=manifest, fates=found.fates)


def _take_all(writer: PlanWriter, actions: Iterator[Action], fates: dict[str, KeyFate]) -> None:
    """Keep what has to be kept of all actions, and note the fates that they settle."""
    for action in actions:
        writer.take(action)
        fate = _fate_of(action)
        if fate is not None:
            fates[action.key] = fate


def _actions(
    comparison: Comparison, found: _Found, proven: Iterable[ProvenPair], archived: OnArchived
) -> Iterator[Action]:
    prefix = comparison.mapping.source_prefix
    pairs = sorted(proven, key=lambda pair: key_bytes(pair.key))
    actions = diff(
        found.sources,
        sorted(found.targets, key=lambda one: key_bytes(one.key)),
        mapping=comparison.mapping,
        rule=comparison.rule,
        rules=comparison.rules,
        proven=[pair for pair in pairs if pair.key.startswith(prefix)],
    )
    return looked_closer(actions, comparison, archived)


def _ask(comparison: Comparison, keys: list[str]) -> _Found:
    found = _Found()
    source, target = comparison.source, comparison.target
    workers = Workers(_THREADS, "s3resume-named")
    try:
        here = [workers.submit(partial(_at_source, source, key)) for key in keys]
        there = [
            # What it can never hold is refused by the diff, and by some services as a question.
            workers.submit(partial(listed_by_head, target, mapped))
            if comparison.can_hold(mapped)
            else None
            for mapped in map(comparison.mapping.to_target, keys)
        ]
        for key, one, other in zip(keys, here, there, strict=True):
            comparison.stop.check()
            try:
                listed, standing = one.result(), other.result() if other else None
            except S3ResumeError as error:
                if error.retryable:
                    raise
                log.error("%r: %s", key, error)  # noqa: TRY400 - its text says it all
                found.errors.append(error)
                found.fates[key] = KeyFate(state=KeyState.PENDING, reason=str(error))
                continue
            if isinstance(listed, KeyFate):
                found.fates[key] = listed
                continue
            found.sources.append(listed)
            if standing is not None:
                found.targets.append(standing)
    finally:
        workers.close()
    if found.errors and len(found.errors) == len(keys):
        # No key can be asked for: that is a matter of the side.
        raise found.errors[0]
    return found


def _at_source(source: ObjectStore, key: str) -> ListedObject | KeyFate:
    """Return the object, or what its absence means: one HEAD alone makes nothing gone."""
    found = listed_by_head(source, key)
    if found is not None:
        return found
    listed = listed_exactly(source, key)
    if listed is None:
        return KeyFate(state=KeyState.GONE)
    if listed.hindrance is not None:
        return listed
    log.warning("%r: %s", key, LISTED_ALL_THE_SAME)
    return KeyFate(state=KeyState.PENDING, reason=LISTED_ALL_THE_SAME)


def _fate_of(action: Action) -> KeyFate | None:
    # Archived: no attempt can read it, so its message would come for ever.
    if action.verb is Verb.REFUSE or action.reason is Reason.ARCHIVED:
        return KeyFate(state=KeyState.REFUSED, reason=action.reason.value)
    if action.verb is Verb.SKIP:
        return KeyFate(state=KeyState.EQUAL, reason=action.reason.value)
    return None


# --- afterwards ---------------------------------------------------------------------------------


def _fates_name(manifest_key: str) -> str:
    return f"{manifest_key.rpartition('/')[0]}/named.jsonl"


def _store_fates(state: StateLocation, manifest_key: str, fates: Mapping[str, KeyFate]) -> None:
    lines = [
        dumps({"key": key, "state": fate.state.value, "reason": fate.reason}) + "\n"
        for key, fate in sorted(fates.items())
    ]
    state.write_text(_fates_name(manifest_key), "".join(lines))


def fates_of(state: StateLocation, manifest_key: str) -> dict[str, KeyFate]:
    """Return what has become of every key of a named plan, as far as it is proven.

    A key that was to be copied counts as verified only if the verification that is stored looked
    at the outcomes that are stored, and gave it a proof.

    :raises ManifestError: if a record cannot be used.
    """
    text = state.read_text(_fates_name(manifest_key)) or ""
    fates: dict[str, KeyFate] = {}
    for line in text.splitlines():
        data = loads(line, what="line of named keys")
        fates[data["key"]] = KeyFate(state=KeyState(data["state"]), reason=data["reason"])
    return {**fates, **_copied_fates(state, manifest_key)}


def _copied_fates(state: StateLocation, manifest_key: str) -> dict[str, KeyFate]:
    manifest = load_manifest(state, manifest_key)
    fates: dict[str, KeyFate] = {}
    landed: set[str] = set()
    outcomes = OutcomesReader(state)
    for ref in sorted(manifest.batches, key=lambda ref: ref.index):
        for entry, outcome in outcomes.read(ref).items():
            if outcome is not None and outcome.status in LANDED:
                landed.add(entry.key)
            gone = outcome is not None and outcome.status is Status.GONE
            reason = "no task came to its end with it" if outcome is None else outcome.error or ""
            fates[entry.key] = KeyFate(
                state=KeyState.GONE if gone else KeyState.PENDING, reason=reason
            )
    text = state.read_text(verification_name(manifest_key))
    summary = VerificationSummary.from_json(text) if text is not None else None
    if (
        summary is None
        or summary.manifest_digest != manifest.digest
        or summary.outcomes_digest != outcomes.digest
    ):
        return fates
    for ref in manifest.batches:
        proofs = state.read_text(f"{proofs_prefix(manifest_key)}{ref.index:05d}.jsonl") or ""
        for line in proofs.splitlines():
            data = loads(line, what="proof line")
            if data["proof"] != "failed" and data["key"] in landed:
                fates[data["key"]] = KeyFate(state=KeyState.VERIFIED)
    return fates


def opaque_pairs(
    state: StateLocation, manifest_key: str, fates: Mapping[str, KeyFate]
) -> list[ProvenPair]:
    """Return the verified objects whose ETags cannot tell that they are equal, in key order.

    :param fates: what :func:`fates_of` gave.
    """
    outcomes = OutcomesReader(state)
    found: dict[str, ProvenPair] = {}
    for ref in load_manifest(state, manifest_key).batches:
        for entry, outcome in outcomes.read(ref).items():
            if outcome is None or fates[entry.key].state is not KeyState.VERIFIED:
                continue
            told = compare_etags(outcome.source_etag, outcome.target_etag) is Match.SAME
            if not told and outcome.source_etag and outcome.target_etag:
                found[entry.key] = ProvenPair(
                    key=entry.key,
                    source_etag=outcome.source_etag,
                    target_etag=outcome.target_etag,
                    size=outcome.size,
                )
    return [found[key] for key in sorted(found, key=key_bytes)]


def counts_of(fates: Mapping[str, KeyFate]) -> dict[str, int]:
    """Return how many keys are in which state."""
    counts = Counter(fate.state.value for fate in fates.values())
    return {state.value: counts[state.value] for state in KeyState}
