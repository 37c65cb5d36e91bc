"""A manifest of named pairs: this source object to that target key, whatever is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import (
    InvalidInputError,
    ObjectNotFoundError,
    StoreError,
)
from airflow_provider_s3resume.plan.batches import BatchLimits
from airflow_provider_s3resume.plan.diff import Reason, Verb, folded
from airflow_provider_s3resume.plan.manifest import CopyEntry
from airflow_provider_s3resume.plan.objects import key_bytes
from airflow_provider_s3resume.transfer.checking import SidesReport, side_of
from airflow_provider_s3resume.transfer.state import run_prefix
from airflow_provider_s3resume.transfer.storing import PlanWriter, manifest_of_named
from airflow_provider_s3resume.transfer.target_rules import state_prefixes
from airflow_provider_s3resume.transfer.tree_targets import check_named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_s3resume.plan.manifest import Manifest
    from airflow_provider_s3resume.plan.objects import ObjectInfo
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.state import StateLocation


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
        sides = SidesReport(source=side_of(source, ""), target=side_of(target, ""))
        counts = {f"{Verb.COPY.value}.{Reason.ASKED_FOR.value}": len(pairs)}
        manifest = manifest_of_named(writer, sides, run_id, whole, counts, now=now)
    state.write_text(writer.manifest_key, manifest.to_json())
    return writer.manifest_key, manifest


def _check_pairs(
    pairs: Sequence[tuple[str, str]], target: ObjectStore, state: StateLocation
) -> None:
    shared = pairs[0][1] if len(pairs) == 1 else ""
    prefixes = state_prefixes(target, state, shared)
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
        if target_key.startswith(prefixes):
            outside = " and ".join(repr(prefix) for prefix in prefixes)
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
