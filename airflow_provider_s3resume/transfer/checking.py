"""Checking both sides before they are listed, and finding where to cut their listings."""

from __future__ import annotations

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
)
from airflow_provider_s3resume.plan.diff import Criterion
from airflow_provider_s3resume.plan.manifest import Manifest, Side
from airflow_provider_s3resume.plan.objects import ALL_KEYS, KeyRange, key_bytes
from airflow_provider_s3resume.storage.base import uri_of
from airflow_provider_s3resume.transfer.probing import check_promises, check_provable
from airflow_provider_s3resume.transfer.proven import pair_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.plan_request import PlanRequest
    from airflow_provider_s3resume.transfer.state import StateLocation

log = logging.getLogger(__name__)

CLOCK = "clock.json"
"""Record that tells the state store's time, and that its promises are tried with."""

_SKEW_WARN_S = 60.0


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
    of_lists = request.scope.check()
    # A first page each: a side that may be headed and not listed is found out here.
    with _naming("source_uri", source, request.source_prefix):
        source.check_access(request.source_prefix)
        next(iter(source.list_objects(request.source_prefix)), None)
    with _naming("target_uri", target, request.target_prefix):
        target.check_access(request.target_prefix)
        next(iter(target.list_objects(request.target_prefix)), None)
    with _naming("state_uri", state.store, state.prefix):
        state.ensure(now)
        warnings = [*of_lists, *_warnings(source, target, state, now)]
        check_promises(state, CLOCK, now=now)
    for warning in warnings:
        log.warning("%s", warning)
    ranges = _ranges(source, target, state, request)
    return replace(sides_of(source, target, request), ranges=ranges, warnings=tuple(warnings))


def sides_of(source: ObjectStore, target: ObjectStore, request: PlanRequest) -> SidesReport:
    """Return what the records of a pair of sides are kept under; nothing is found out yet."""
    return SidesReport(
        source=side_of(source, request.source_prefix), target=side_of(target, request.target_prefix)
    )


def side_of(store: ObjectStore, prefix: str) -> Side:
    """Return how a manifest names one side."""
    return Side(service=store.service, uri=uri_of(store, prefix))


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


def _ranges(
    source: ObjectStore, target: ObjectStore, state: StateLocation, request: PlanRequest
) -> tuple[KeyRange, ...]:
    """Cut at the quantiles of the last run's manifest; one range where there is none."""
    if not (source.capabilities.lists_ranges and target.capabilities.lists_ranges):
        return (ALL_KEYS,)
    latest = state.read_text(latest_name(sides_of(source, target, request)))
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


def latest_name(sides: SidesReport) -> str:
    """Return the name of the record that names the last manifest of a pair of sides."""
    return f"latest/{pair_name(sides.source, sides.target)}.txt"


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
