"""Making a plan: list both sides, diff them, and store the result as a manifest.

Both listings are streams; copy actions go through a temporary file of lines (keys and identities,
never object bytes), so memory does not grow with the bucket.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_s3resume.exceptions import (
    InvalidInputError,
    ManifestError,
    ObjectNotFoundError,
    PlanRefusedError,
)
from airflow_provider_s3resume.plan.batches import BatchLimits, pack, widened
from airflow_provider_s3resume.plan.diff import (
    DEFAULT_RULE,
    Action,
    Criterion,
    DiffRule,
    Reason,
    TargetRules,
    Verb,
    diff,
    folded,
)
from airflow_provider_s3resume.plan.manifest import (
    BatchRef,
    CopyEntry,
    FileRef,
    Manifest,
    NotedEntry,
    Side,
    is_noted,
    line_of,
    loads,
)
from airflow_provider_s3resume.plan.objects import (
    ALL_KEYS,
    KeyMapping,
    KeyRange,
    Location,
    key_bytes,
)
from airflow_provider_s3resume.plan.parts import largest_object
from airflow_provider_s3resume.transfer.proven import load_proven, pair_name
from airflow_provider_s3resume.transfer.state import has_marker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.state import StateLocation
    from airflow_provider_s3resume.transfer.stopping import StopSignal

log = logging.getLogger(__name__)

MOST_UNKEPT_KEYS = 1000
"""Keys that a target cannot hold exactly; more of them mean that it is the wrong target."""

QUANTILES = 64
_SKEW_WARN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What to plan.

    :param run_id: names the run; only letters, digits and ``._-+=:@/`` are used as they are.
    """

    run_id: str
    source_prefix: str = ""
    target_prefix: str = ""
    rule: DiffRule = DEFAULT_RULE
    batch_limits: BatchLimits = field(default_factory=BatchLimits)
    dry_run: bool = False

    @property
    def mapping(self) -> KeyMapping:
        """How source keys become target keys."""
        return KeyMapping(source_prefix=self.source_prefix, target_prefix=self.target_prefix)


@dataclass(frozen=True, slots=True, kw_only=True)
class SidesReport:
    """What was found out about both sides before they are listed.

    :param ranges: source key ranges that both listings are cut at.
    """

    source: Side
    target: Side
    ranges: tuple[KeyRange, ...] = (ALL_KEYS,)
    warnings: tuple[str, ...] = ()

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

    :raises BucketNotFoundError, AccessDeniedError: naming the side that does not answer.
    :raises InvalidInputError: if the state location holds somebody else's objects.
    """
    source.check_access()
    target.check_access()
    # A first page each: a side that may be headed and not listed is found out here.
    next(iter(source.list_objects(request.source_prefix)), None)
    next(iter(target.list_objects(request.target_prefix)), None)
    state.ensure(now)
    warnings = _warnings(source, target, state, now)
    for warning in warnings:
        log.warning("%s", warning)
    return SidesReport(
        source=_side(source, request.source_prefix),
        target=_side(target, request.target_prefix),
        ranges=_ranges(source, target, state, request),
        warnings=tuple(warnings),
    )


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
    :raises PlanRefusedError: if two source keys would meet at the target.
    """
    sides = sides or check_sides(source, target, state, request, now=now)
    writer = _Writer(state, request)
    with tempfile.TemporaryFile("w+", encoding="utf-8", prefix="s3resume-plan-") as spool:
        for action in _actions(source, target, state, request, sides):
            stop.check()
            writer.take(action, spool)
        _refuse_collisions(source, writer.unkept)
        batches = writer.write_batches(spool)
    manifest = Manifest(
        run_id=request.run_id,
        created=now,
        source=sides.source,
        target=sides.target,
        rule=request.rule.text,
        counts=dict(sorted(writer.counts.items())),
        copy_objects=writer.copy_objects,
        copy_bytes=writer.copy_bytes,
        batches=batches,
        noted=writer.write_noted(),
        quantiles=writer.quantiles(),
        dry_run=request.dry_run,
    )
    state.write_text(writer.manifest_key, manifest.to_json())
    if not request.dry_run:
        state.write_text(_latest_name(sides), writer.manifest_key)
    return writer.manifest_key, manifest


def pairs_manifest(
    source: ObjectStore,
    target: ObjectStore,
    state: StateLocation,
    pairs: Sequence[tuple[str, str]],
    run_id: str,
    *,
    now: float,
) -> tuple[str, Manifest]:
    """Make a manifest of one batch out of named (source key, target key) pairs.

    :raises InvalidInputError: if two pairs have one target key, or a key cannot be at the target.
    :raises ObjectNotFoundError: naming a source object that is not there.
    """
    _check_pairs(pairs, target, state)
    source.check_access()
    target.check_access()
    state.ensure(now)
    request = PlanRequest(run_id=run_id, batch_limits=BatchLimits(max_objects=len(pairs) or 1))
    writer = _Writer(state, request)
    with tempfile.TemporaryFile("w+", encoding="utf-8", prefix="s3resume-plan-") as spool:
        for source_key, target_key in sorted(pairs, key=lambda pair: key_bytes(pair[0])):
            writer.spool(_entry_of_pair(source, target, source_key, target_key), spool)
        batches = writer.write_batches(spool)
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
    )
    state.write_text(writer.manifest_key, manifest.to_json())
    return writer.manifest_key, manifest


# --- explicit pairs -----------------------------------------------------------------------------


def _check_pairs(
    pairs: Sequence[tuple[str, str]], target: ObjectStore, state: StateLocation
) -> None:
    state_prefix = state.prefix if state.is_in(target) else None
    seen: dict[str, str] = {}
    for source_key, target_key in pairs:
        other = seen.setdefault(target_key, source_key)
        if other != source_key or list(pairs).count((source_key, target_key)) > 1:
            raise InvalidInputError(
                "target key",
                found=f"{target_key!r} for {other!r} and {source_key!r}",
                accepted="one source object for each target key",
            )
        if state_prefix is not None and target_key.startswith(state_prefix):
            raise InvalidInputError(
                "target key", found=target_key, accepted=f"a key outside of {state_prefix!r}"
            )
        too_long = len(key_bytes(target_key)) > target.limits.max_key_bytes
        unkept = target.capabilities.folds_keys and folded(target_key) != target_key
        if not target_key or too_long or unkept:
            raise InvalidInputError(
                "target key", found=target_key, accepted="a key that the target can hold exactly"
            )


def _entry_of_pair(
    source: ObjectStore, target: ObjectStore, source_key: str, target_key: str
) -> CopyEntry:
    info = source.head(source_key)
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
    )


# --- list and diff ------------------------------------------------------------------------------


def _actions(
    source: ObjectStore,
    target: ObjectStore,
    state: StateLocation,
    request: PlanRequest,
    sides: SidesReport,
) -> Iterator[Action]:
    rules = TargetRules(
        max_key_bytes=target.limits.max_key_bytes,
        max_object_size=largest_object(target.limits),
        folds_keys=target.capabilities.folds_keys,
        state_prefix=state.prefix if state.is_in(target) else None,
        source_state_prefix=_own_state_prefix(source, state),
    )
    proven = load_proven(state, sides) if Criterion.ETAG in request.rule.criteria else ()
    for key_range in sides.ranges:
        yield from diff(
            source.list_objects(request.source_prefix, key_range),
            target.list_objects(request.target_prefix, _mapped(key_range, request.mapping)),
            mapping=request.mapping,
            rule=request.rule,
            rules=rules,
            proven=(pair for pair in proven if key_range.contains(pair.key)),
        )


def _own_state_prefix(source: ObjectStore, state: StateLocation) -> str | None:
    """Return the state prefix if our own marker stands under it in the source bucket, too.

    That is so when the source is the target of another sync with the same state prefix.
    """
    if state.is_in(source) or has_marker(source, state.prefix):
        return state.prefix
    return None


def _mapped(key_range: KeyRange, mapping: KeyMapping) -> KeyRange:
    return KeyRange(
        start=mapping.to_target(key_range.start) if key_range.start is not None else None,
        stop=mapping.to_target(key_range.stop) if key_range.stop is not None else None,
    )


def _ranges(
    source: ObjectStore, target: ObjectStore, state: StateLocation, request: PlanRequest
) -> tuple[KeyRange, ...]:
    """Cut at the quantiles of the last run's manifest; one range where there is none."""
    if not (source.capabilities.ordered_listing and target.capabilities.ordered_listing):
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


def _latest_name(sides: SidesReport) -> str:
    return f"latest/{pair_name(sides.source, sides.target)}.txt"


def _side(store: ObjectStore, prefix: str) -> Side:
    return Side(service=store.service, uri=Location(bucket=store.bucket, prefix=prefix).uri)


def _warnings(
    source: ObjectStore, target: ObjectStore, state: StateLocation, now: float
) -> list[str]:
    warnings = []
    name = "clock.json"
    state.write_text(name, f'{{"now":{now}}}')
    skew = abs(state.store.head(state.prefix + name).last_modified - now)
    if skew > _SKEW_WARN_S:
        warnings.append(f"the clocks of this worker and of the state store differ by {skew:.0f} s")
    if not target.capabilities.part_checksums:
        warnings.append("the target checks no checksum: part ETags are compared instead")
    if not target.capabilities.conditional_complete:
        warnings.append("the target has no conditional writes: its objects are unprotected")
    if not source.capabilities.part_layout:
        warnings.append("the source does not tell part layouts: multipart ETags are not reproduced")
    return warnings


def _refuse_collisions(source: ObjectStore, unkept: list[str]) -> None:
    """Refuse the plan if keys that the target folds would meet there (c04).

    :raises PlanRefusedError: naming the first such keys.
    """
    if len(unkept) > MOST_UNKEPT_KEYS:
        raise PlanRefusedError(
            f"more than {MOST_UNKEPT_KEYS} source keys cannot be held exactly by the target, which "
            f"folds keys, such as {unkept[0]!r}; nothing was copied. Use another target"
        )
    seen: dict[str, str] = {}
    for key in unkept:
        meets = seen.setdefault(folded(key), key)
        if meets == key and _is_there(source, folded(key)):
            meets = folded(key)
        if meets != key:
            raise PlanRefusedError(
                f"source keys {meets!r} and {key!r} are one key at the target, which folds keys; "
                "nothing was copied. Rename one of them, or use another target"
            )


def _is_there(store: ObjectStore, key: str) -> bool:
    if not key:
        return False
    try:
        store.head(key)
    except ObjectNotFoundError:
        return False
    return True


# --- storing ------------------------------------------------------------------------------------


class _Writer:
    """Counts actions, spools copies, and writes batch files and noted keys."""

    def __init__(self, state: StateLocation, request: PlanRequest) -> None:
        self._state = state
        self._request = request
        self._prefix = run_prefix(request.run_id)
        self._noted: list[str] = []
        self._sample: list[str] = []
        self._every = 1
        self._listed = 0
        self.manifest_key = f"{self._prefix}/manifest.json"
        self.counts: Counter[str] = Counter()
        self.copy_objects = 0
        self.copy_bytes = 0
        self.unkept: list[str] = []

    def take(self, action: Action, spool: IO[str]) -> None:
        """Count an action and keep what has to be kept of it."""
        self.counts[f"{action.verb.value}.{action.reason.value}"] += 1
        if action.source is not None:
            self._sample_key(action.key)
        if action.verb is Verb.COPY:
            self.spool(CopyEntry.of(action), spool)
        elif is_noted(action):
            self._noted.append(line_of(NotedEntry.of(action)))
        if action.reason is Reason.KEY_NOT_KEPT and len(self.unkept) <= MOST_UNKEPT_KEYS:
            self.unkept.append(action.key)

    def spool(self, entry: CopyEntry, spool: IO[str]) -> None:
        """Keep one copy entry for the second pass, with its place in the source listing."""
        self.copy_objects += 1
        self.copy_bytes += entry.size
        spool.write(f"{self._listed}\t{line_of(entry)}")

    def write_batches(self, spool: IO[str]) -> tuple[BatchRef, ...]:
        """Write the batch files; returns their references, the most bytes first."""
        limits = widened(self._request.batch_limits, self.copy_objects, self.copy_bytes)
        spool.seek(0)
        packed = pack(_spooled(spool), lambda item: item[1].size, limits)
        refs = [self._write_batch(index, batch) for index, batch in enumerate(packed)]
        return tuple(sorted(refs, key=lambda ref: ref.bytes, reverse=True))

    def write_noted(self) -> FileRef | None:
        """Write the keys that the report names although they are not copied."""
        if not self._noted:
            return None
        text = "".join(self._noted)
        key = f"{self._prefix}/noted.jsonl"
        self._state.write_text(key, text)
        return FileRef(key=key, sha256=_sha256(text), lines=len(self._noted))

    def quantiles(self) -> tuple[str, ...]:
        """Return keys that cut the source listing into about equal shares."""
        if self._listed < QUANTILES * 1000:
            return ()
        step = max(1, len(self._sample) // QUANTILES)
        return tuple(self._sample[step::step])

    def _sample_key(self, key: str) -> None:
        if self._listed % self._every == 0:
            self._sample.append(key)
        self._listed += 1
        if len(self._sample) >= QUANTILES * 64:
            self._sample = self._sample[::2]
            self._every *= 2

    def _write_batch(self, index: int, batch: list[tuple[int, CopyEntry]]) -> BatchRef:
        text = "".join(line_of(entry) for _, entry in batch)
        key = f"{self._prefix}/batches/{index:05d}.jsonl"
        self._state.write_text(key, text)
        places = [place for place, _ in batch]
        keys = [entry.key for _, entry in batch]
        return BatchRef(
            manifest=self.manifest_key,
            index=index,
            key=key,
            sha256=_sha256(text),
            objects=len(batch),
            bytes=sum(entry.size for _, entry in batch),
            first_key=min(keys, key=key_bytes),
            last_key=max(keys, key=key_bytes),
            listed=max(places) - min(places) + 1,
        )


def _spooled(spool: IO[str]) -> Iterator[tuple[int, CopyEntry]]:
    for line in spool:
        place, _, text = line.partition("\t")
        yield int(place), CopyEntry(**loads(text, what="spooled line"))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
