"""What decides whether a target can hold a key, and which keys of both sides are no data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.plan.diff import TargetRules
from airflow_provider_s3resume.plan.parts import largest_object
from airflow_provider_s3resume.transfer.state import DEFAULT_PREFIX, has_marker

if TYPE_CHECKING:
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.plan_request import PlanRequest
    from airflow_provider_s3resume.transfer.state import StateLocation


def rules_of(
    source: ObjectStore, target: ObjectStore, state: StateLocation, request: PlanRequest
) -> TargetRules:
    """Return what decides whether the target can hold a key, and where no data is."""
    return TargetRules(
        max_key_bytes=target.limits.max_key_bytes,
        max_object_size=largest_object(target.limits),
        folds_keys=target.capabilities.folds_keys,
        state_prefixes=state_prefixes(target, state, request.target_prefix),
        source_state_prefixes=state_prefixes(source, state, request.source_prefix),
        file_tree=target.capabilities.file_tree,
    )


def state_prefixes(store: ObjectStore, state: StateLocation, prefix: str) -> tuple[str, ...]:
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
