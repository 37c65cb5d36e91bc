"""Making a plan: list both sides, diff them, and store the result as a manifest.

Both listings are streams, and what is kept of them goes through temporary files (see ``storing``),
so memory does not grow with the bucket.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    BucketNotFoundError,
    InvalidInputError,
    ManifestError,
    ObjectNotFoundError,
    StoreError,
)
from airflow_provider_s3resume.plan.archives import OnArchived
from airflow_provider_s3resume.plan.batches import BatchLimits
from airflow_provider_s3resume.plan.cost import CopyCosts
from airflow_provider_s3resume.plan.diff import (
    DEFAULT_RULE,
    Action,
    Criterion,
    DiffRule,
    Reason,
    TargetRules,
    Verb,
    folded,
)
from airflow_provider_s3resume.plan.manifest import CopyEntry, Manifest, Side
from airflow_provider_s3resume.plan.objects import (
    ALL_KEYS,
    KeyMapping,
    KeyRange,
    key_bytes,
)
from airflow_provider_s3resume.plan.parts import DEFAULT_PART_SIZE, largest_object
from airflow_provider_s3resume.plan.renaming import Renaming
from airflow_provider_s3resume.storage.base import uri_of
from airflow_provider_s3resume.transfer.archived import refuse_archived, without_archived
from airflow_provider_s3resume.transfer.colliding import refuse_collisions
from airflow_provider_s3resume.transfer.comparing import Comparison
from airflow_provider_s3resume.transfer.event_record import ScanBesideEvents
from airflow_provider_s3resume.transfer.metadata import with_metadata
from airflow_provider_s3resume.transfer.probing import check_promises, check_provable
from airflow_provider_s3resume.transfer.proven import load_proven, pair_name
from airflow_provider_s3resume.transfer.renamed import compared
from airflow_provider_s3resume.transfer.selecting import EVERYTHING, Chosen, Scope
from airflow_provider_s3resume.transfer.state import DEFAULT_PREFIX, has_marker
from airflow_provider_s3resume.transfer.storing import PlanWriter
from airflow_provider_s3resume.transfer.tree_targets import check_named, without_collisions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_provider_s3resume.plan.objects import ObjectInfo
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.state import StateLocation
    from airflow_provider_s3resume.transfer.stopping import StopSignal

log = logging.getLogger(__name__)

UNKNOWN_COST = 1 << 53
"""``BatchRef.listed`` where nothing was listed: asking for each key is then cheaper."""

CLOCK = "clock.json"
"""Record that tells the state store's time, and that its promises are tried with."""

_SKEW_WARN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What to plan.

    :param run_id: names the run; only letters, digits and ``._-+=:@/`` are used as they are.
    :param scope: what of the source is looked at.
    :param archived: what is done about objects that have to be restored first.
    :param renaming: what becomes of keys besides the exchange of prefixes.
    :param part_size: bytes, of the copies; for the estimate of their requests only.
    """

    run_id: str
    source_prefix: str = ""
    target_prefix: str = ""
    rule: DiffRule = DEFAULT_RULE
    batch_limits: BatchLimits = field(default_factory=BatchLimits)
    dry_run: bool = False
    scope: Scope = EVERYTHING
    archived: OnArchived = OnArchived.REPORT
    renaming: Renaming | None = None
    part_size: int = DEFAULT_PART_SIZE

    @property
    def mapping(self) -> KeyMapping:
        """How source keys become target keys, as long as they keep their order."""
        add = self.renaming.add_prefix if self.renaming and self.renaming.keeps_order else ""
        return KeyMapping(source_prefix=self.source_prefix, target_prefix=self.target_prefix + add)

    @property
    def reorders(self) -> bool:
        """Whether target keys come in another order than source keys."""
        return self.renaming is not None and not self.renaming.keeps_order


@dataclass(frozen=True, slots=True, kw_only=True)
class SidesReport:
    """What was found out about both sides before they are listed.

    :param ranges: source key ranges that both listings are cut at.
    :param key_mapping: see ``Manifest.key_mapping``; only a plan knows it.
    """

    source: Side
    target: Side
    ranges: tuple[KeyRange, ...] = (ALL_KEYS,)
    warnings: tuple[str, ...] = ()
    key_mapping: Mapping[str, str] = field(default_factory=dict)

    def to_json_dict(self) -> dict[str, Any]:
        """Return what goes into XCom."""
        return asdict(self)

    @classmethod
    def from_json_dict(cls, data: dict[str, Any]) -> SidesReport:
        """Read what :meth:`to_json_dict` gave."""
        return cls(
            source=Side(**data["source"]),
            target=Side(**data["target"]),
            ranges=tuple(KeyRange(**r) for r in data["ranges"]),
            warnings=tuple(data["warnings"]),
        )


def run_prefix(run_id: str) -> str:
    """Return where a run's records are, under the state prefix."""
    safe = "".join(c if c.isalnum() or c in "._-+=:@/" else "_" for c in run_id)[:160]
    # The state may be in a store whose keys are paths, and a run id may end in an object's key.
    segments = [s for s in safe.split("/") if s not in {"", ".", ".."}]
    # Two run ids that are made alike by this must not share a place.
    mark = hashlib.sha256(run_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"runs/{'/'.join(segments)}.{mark}"


def check_sides(
    source: ObjectStore,
    target: ObjectStore,
    state: StateLocation,
    request: PlanRequest,
    *,
    now: float,
) -> SidesReport:
    """Make sure that both sides answer and that the state location is ours; cut the key ranges.

    :raises BucketNotFoundError, AccessDeniedError: naming the parameter and the side that does not
        answer.
    :raises InvalidInputError: if the state location holds somebody else's objects, its service
        does not do what its connection says, nothing could prove a copy to this target, or a list
        that is to be read cannot be read.
    """
    check_provable(target)
    keep = source.capabilities.keeps_attributes and target.capabilities.keeps_attributes
    if Criterion.METADATA in request.rule.criteria and not keep:
        accepted = "a rule without 'metadata', as a folder keeps none"
        raise InvalidInputError("rule", found=request.rule.text, accepted=accepted)
    request.scope.check()
    # A first page each: a side that may be headed and not listed is found out here.
    with _naming("source_uri", source, request.source_prefix):
        source.check_access(request.source_prefix)
        next(iter(source.list_objects(request.source_prefix)), None)
    with _naming("target_uri", target, request.target_prefix):
        target.check_access(request.target_prefix)
        next(iter(target.list_objects(request.target_prefix)), None)
    with _naming("state_uri", state.store, state.prefix):
        state.ensure(now)
        warnings = _warnings(source, target, state, now)
        check_promises(state, CLOCK, now=now)
    for warning in warnings:
        log.warning("%s", warning)
    return SidesReport(
        source=_side(source, request.source_prefix),
        target=_side(target, request.target_prefix),
        ranges=_ranges(source, target, state, request),
        warnings=tuple(warnings),
    )


@contextmanager
def _naming(parameter: str, store: ObjectStore, prefix: str) -> Iterator[None]:
    """Say in an error which parameter named the place, and what is accepted."""
    try:
        yield
    except (AccessDeniedError, BucketNotFoundError) as error:
        found = uri_of(store, prefix)
        detail = (
            f"{error.detail} ({parameter}: found {found!r}, accepted is a bucket that exists and "
            f"that the credentials of its connection, {parameter.replace('_uri', '_conn_id')}, may "
            "use)"
        )
        raise type(error)(error.operation, error.subject, detail) from error


def make_plan(
    source: ObjectStore,
    target: ObjectStore,
    state: StateLocation,
    request: PlanRequest,
    sides: SidesReport | None = None,
    *,
    now: float,
    stop: StopSignal,
) -> tuple[str, Manifest]:
    """List both sides, diff them and store the manifest.

    :returns: the manifest's name under the state prefix, and the manifest.
    :raises ListingError, StoreError: if either side cannot be listed to its end; nothing is stored.
    :raises InvalidInputError: if a list of what to look at cannot be read; nothing was listed.
    :raises PlanRefusedError: if two source keys would meet at the target, or objects are archived
        that must not be.
    """
    sides = sides or check_sides(source, target, state, request, now=now)
    scope = request.scope.opened(source, request.source_prefix, now=now)
    # A part of a listing, or one in another order, does not tell where to cut all of it.
    uncut = request.scope.partial or request.reorders
    costs = CopyCosts(
        limits=target.limits,
        part_size=request.part_size,
        reproduces=source.capabilities.part_layout,
    )
    events = ScanBesideEvents(state, sides, now=now)
    with scope as chosen, PlanWriter(state, run_prefix(request.run_id), costs) as writer:
        gaps = chosen.gaps(reorders=request.reorders)
        actions = _actions(source, target, state, request, sides, chosen, events, stop)
        for action in events.watch(without_collisions(actions, target.capabilities)):
            stop.check()
            if gaps is not None and gaps(action):
                writer.leave_gap(UNKNOWN_COST)
            writer.take(action)
        mapping = None if request.reorders else request.mapping
        if target.capabilities.file_tree is None:
            refuse_collisions(source, mapping, writer.unkept)
        if request.archived is OnArchived.FAIL:
            refuse_archived(writer)
        writer.forget_earlier()
        manifest = Manifest(
            run_id=request.run_id,
            created=now,
            source=sides.source,
            target=sides.target,
            rule=request.rule.text,
            counts=dict(sorted(writer.counts.items())),
            copy_objects=writer.copy_objects,
            copy_bytes=writer.copy_bytes,
            batches=writer.write_batches(request.batch_limits),
            noted=writer.write_noted(),
            quantiles=() if uncut else writer.quantiles(),
            dry_run=request.dry_run,
            selection=chosen.facts,
            partial=request.scope.partial,
            key_mapping=_key_mapping(request),
            sizes=dict(sorted(writer.sizes.items())),
            requests=writer.cost.requests(),
        )
    events.store(state, writer.manifest_key)
    state.write_text(writer.manifest_key, manifest.to_json())
    if not (request.dry_run or uncut):
        state.write_text(_latest_name(sides), writer.manifest_key)
    return writer.manifest_key, manifest


def store_dry_run(state: StateLocation, manifest: Manifest, run_id: str) -> tuple[str, Manifest]:
    """Store a copy of a manifest that nothing may be copied by.

    :returns: its name under the state prefix, and the copy.
    """
    key = f"{run_prefix(run_id)}/manifest.json"
    dry = replace(manifest, run_id=run_id, dry_run=True, batches=())
    state.write_text(key, dry.to_json())
    return key, dry


def pairs_manifest(
    source: ObjectStore,
    target: ObjectStore,
    state: StateLocation,
    pairs: Sequence[tuple[str, str]],
    run_id: str,
    *,
    now: float,
    versions: Mapping[str, str] | None = None,
) -> tuple[str, Manifest]:
    """Make a manifest of one batch out of named (source key, target key) pairs.

    :param versions: source key → id of the version that is meant, for those that are not the
        current one.
    :raises InvalidInputError: if two pairs have one target key, or a key cannot be at the target.
    :raises ObjectNotFoundError: naming a source object that is not there.
    """
    _check_pairs(pairs, target, state)
    # One object is asked for under its own key: its credentials may not reach any further.
    only = pairs[0] if len(pairs) == 1 else ("", "")
    source.check_access(only[0])
    target.check_access(only[1])
    state.ensure(now)
    sized: list[tuple[str, str, int]] = []
    with PlanWriter(state, run_prefix(run_id)) as writer:
        for source_key, target_key in sorted(pairs, key=lambda pair: key_bytes(pair[0])):
            version_id = (versions or {}).get(source_key)
            entry = _entry_of_pair(source, target, source_key, target_key, version_id)
            sized.append((source_key, target_key, entry.size))
            writer.keep(entry)
        check_named(sized, target.capabilities)
        writer.forget_earlier()
        whole = BatchLimits(max_objects=len(pairs) or 1, max_bytes=writer.copy_bytes or 1)
        batches = tuple(replace(r, listed=UNKNOWN_COST) for r in writer.write_batches(whole))
    manifest = Manifest(
        run_id=run_id,
        created=now,
        source=_side(source, ""),
        target=_side(target, ""),
        rule=Reason.ASKED_FOR.value,
        counts={f"{Verb.COPY.value}.{Reason.ASKED_FOR.value}": len(pairs)},
        copy_objects=writer.copy_objects,
        copy_bytes=writer.copy_bytes,
        batches=batches,
        partial=True,
    )
    state.write_text(writer.manifest_key, manifest.to_json())
    return writer.manifest_key, manifest


# --- explicit pairs -----------------------------------------------------------------------------


def _check_pairs(
    pairs: Sequence[tuple[str, str]], target: ObjectStore, state: StateLocation
) -> None:
    shared = pairs[0][1] if len(pairs) == 1 else ""
    state_prefixes = _state_prefixes(target, state, shared)
    seen: dict[str, str] = {}
    sources: dict[str, str] = {}
    for source_key, target_key in pairs:
        if target_key in seen:
            raise InvalidInputError(
                "target key",
                found=f"{target_key!r} for {seen[target_key]!r} and {source_key!r}",
                accepted="one source object for each target key",
            )
        seen[target_key] = source_key
        if source_key in sources:
            # What became of an object is kept by its source key: one would hide the other (c40).
            raise InvalidInputError(
                "source key",
                found=f"{source_key!r} for {sources[source_key]!r} and {target_key!r}",
                accepted="each source object once; copy it to another key in a run of its own",
            )
        sources[source_key] = target_key
        if target_key.startswith(state_prefixes):
            outside = " and ".join(repr(prefix) for prefix in state_prefixes)
            raise InvalidInputError(
                "target key", found=target_key, accepted=f"a key outside of {outside}"
            )
        too_long = len(key_bytes(target_key)) > target.limits.max_key_bytes
        unkept = target.capabilities.folds_keys and folded(target_key) != target_key
        if not target_key or too_long or unkept:
            raise InvalidInputError(
                "target key", found=target_key, accepted="a key that the target can hold exactly"
            )


def _entry_of_pair(
    source: ObjectStore,
    target: ObjectStore,
    source_key: str,
    target_key: str,
    version_id: str | None,
) -> CopyEntry:
    info = _head_of(source, source_key, version_id)
    try:
        there = target.head(target_key)
    except ObjectNotFoundError:
        there = None
    return CopyEntry(
        key=source_key,
        target_key=target_key,
        size=info.size,
        etag=info.etag,
        last_modified=info.last_modified,
        reason=Reason.ASKED_FOR.value,
        target_etag=there.etag if there else None,
        target_there=there is not None,
        storage_class=info.storage_class,
        version_id=version_id,
    )


def _head_of(source: ObjectStore, key: str, version_id: str | None) -> ObjectInfo:
    """Return a source object's headers; what is wrong with a version that was chosen names it."""
    try:
        return source.head(key, version_id=version_id)
    except StoreError as error:
        if version_id is None or error.retryable:
            raise
        detail = f"version {version_id!r}: {error.detail}"
        raise type(error)(error.operation, error.subject, detail) from error


# --- list and diff ------------------------------------------------------------------------------


def _actions(
    source: ObjectStore,
    target: ObjectStore,
    state: StateLocation,
    request: PlanRequest,
    sides: SidesReport,
    chosen: Chosen,
    events: ScanBesideEvents,
    stop: StopSignal,
) -> Iterator[Action]:
    rules = rules_of(source, target, state, request)
    comparison = Comparison(
        source=source,
        target=target,
        mapping=request.mapping,
        rule=request.rule,
        rules=rules,
        select=chosen.select,
        stop=stop,
    )
    asked = Criterion.ETAG in request.rule.criteria
    mapped = replace(sides, key_mapping=_key_mapping(request))
    pairs = events.with_pairs(load_proven(state, mapped)) if asked else iter(())
    actions = compared(comparison, request.renaming, pairs, chosen, sides.ranges)
    if Criterion.METADATA in request.rule.criteria:
        actions = with_metadata(actions, source, target)
    if request.archived is OnArchived.TRY:
        return actions
    return without_archived(actions, source, stop)


def rules_of(
    source: ObjectStore, target: ObjectStore, state: StateLocation, request: PlanRequest
) -> TargetRules:
    """Return what decides whether the target can hold a key, and where no data is."""
    return TargetRules(
        max_key_bytes=target.limits.max_key_bytes,
        max_object_size=largest_object(target.limits),
        folds_keys=target.capabilities.folds_keys,
        state_prefixes=_state_prefixes(target, state, request.target_prefix),
        source_state_prefixes=_state_prefixes(source, state, request.source_prefix),
        file_tree=target.capabilities.file_tree,
    )


def _state_prefixes(store: ObjectStore, state: StateLocation, prefix: str) -> tuple[str, ...]:
    """Return where our own state lies in a bucket, of this sync and of others (c33).

    The bucket may be a side of another sync that keeps its state under the same prefix, or under
    the default one. Prefixes that no key of this sync can have are not looked at: its credentials
    may not reach that far.
    """
    found = {state.prefix} if state.is_in(store) else set()
    for known in {state.prefix, DEFAULT_PREFIX} - found:
        meets = known.startswith(prefix) or prefix.startswith(known)
        if meets and _carries_marker(store, known):
            found.add(known)
    return tuple(sorted(found))


def _carries_marker(store: ObjectStore, prefix: str) -> bool:
    try:
        return has_marker(store, prefix)
    except InvalidInputError:
        return True  # Of another version of this provider, and as little data as ours.


def _ranges(
    source: ObjectStore, target: ObjectStore, state: StateLocation, request: PlanRequest
) -> tuple[KeyRange, ...]:
    """Cut at the quantiles of the last run's manifest; one range where there is none."""
    if not (source.capabilities.lists_ranges and target.capabilities.lists_ranges):
        return (ALL_KEYS,)
    sides = SidesReport(
        source=_side(source, request.source_prefix), target=_side(target, request.target_prefix)
    )
    latest = state.read_text(_latest_name(sides))
    text = state.read_text(latest) if latest else None
    cuts = {c for c in _quantiles(text) if c.startswith(request.source_prefix)}
    edges = [None, *sorted(cuts, key=key_bytes), None]
    return tuple(KeyRange(start=start, stop=stop) for start, stop in pairwise(edges))


def _quantiles(text: str | None) -> tuple[str, ...]:
    """Return the cuts of an earlier manifest. They are a hint: one that cannot be read has none."""
    try:
        return Manifest.from_json(text).quantiles if text else ()
    except ManifestError:
        return ()


def _key_mapping(request: PlanRequest) -> dict[str, str]:
    return request.renaming.to_json_dict() if request.renaming else {}


def _latest_name(sides: SidesReport) -> str:
    return f"latest/{pair_name(sides.source, sides.target)}.txt"


def _side(store: ObjectStore, prefix: str) -> Side:
    return Side(service=store.service, uri=uri_of(store, prefix))


def _warnings(
    source: ObjectStore, target: ObjectStore, state: StateLocation, now: float
) -> list[str]:
    warnings = []
    state.write_text(CLOCK, f'{{"now":{now}}}')
    skew = abs(state.store.head(state.prefix + CLOCK).last_modified - now)
    if skew > _SKEW_WARN_S:
        warnings.append(f"the clocks of this worker and of the state store differ by {skew:.0f} s")
    if not target.capabilities.part_checksums:
        warnings.append("the target checks no checksum: part ETags are compared instead")
    if not target.capabilities.conditional_complete:
        warnings.append("the target has no conditional writes: its objects are unprotected")
    # Where nearly every object comes with a CRC of the whole, no ETag has to be reproduced.
    told = source.capabilities.part_layout or source.capabilities.reread_for_md5
    if not told and source.capabilities.file_tree is None:
        warnings.append("the source does not tell part layouts: multipart ETags are not reproduced")
    if not target.capabilities.keeps_attributes:
        lost = "content types, headers, metadata and tags are lost"
        warnings.append(f"the target is a folder: {lost}")
    return warnings
