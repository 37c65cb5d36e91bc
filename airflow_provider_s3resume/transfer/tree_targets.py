"""What a plan has to look at where the target is a tree of files (c04)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import InvalidInputError, PlanRefusedError
from airflow_provider_s3resume.plan.diff import Action, Reason, Verb
from airflow_provider_s3resume.plan.file_keys import TreeWatch
from airflow_provider_s3resume.plan.objects import key_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_provider_s3resume.storage.base import Capabilities

_NOT_WRITTEN = frozenset(
    {
        Reason.DIRECTORY_MARKER,
        Reason.OWN_STATE,
        Reason.SYMLINK,
        Reason.NOT_SELECTED,
        Reason.ARCHIVED,
    }
)
"""Why what is skipped is not at the target either, unless the target lists it itself."""


def without_collisions(actions: Iterator[Action], capabilities: Capabilities) -> Iterator[Action]:
    """Pass actions on, which come in the order of their target keys.

    :raises PlanRefusedError: if a tree of files would have to hold a file and a key under it.
    """
    return actions if capabilities.file_tree is None else _watched(actions)


def _watched(actions: Iterator[Action]) -> Iterator[Action]:
    watch = TreeWatch()
    for action in actions:
        if _is_at_target(action):
            parent = watch.parent_of(action.target_key)
            if parent is not None:
                raise PlanRefusedError(
                    f"{parent!r} would be a file and a directory at the target, as "
                    f"{action.target_key!r} lies under it; nothing was copied. Rename one of "
                    "them, or use a bucket as the target"
                )
        yield action


def _is_at_target(action: Action) -> bool:
    """Tell whether there will be something under the action's target key."""
    if action.target is not None or action.verb is Verb.COPY:
        return True
    return action.verb is Verb.SKIP and action.reason not in _NOT_WRITTEN


def check_named(pairs: Iterable[tuple[str, str, int]], capabilities: Capabilities) -> None:
    """Refuse named objects that a tree of files cannot hold, or not together.

    :param pairs: source key, target key and size in bytes of each.
    :raises InvalidInputError: naming the target key.
    """
    rules = capabilities.file_tree
    if rules is None:
        return
    watch = TreeWatch()
    for _, target_key, size in sorted(pairs, key=lambda pair: key_bytes(pair[1])):
        fault = rules.fault(target_key, size)
        if fault is not None:
            raise InvalidInputError(
                "target key",
                found=f"{target_key!r} ({fault.value})",
                accepted="a key that a file can have; '/' ends only the names of directories, "
                "which are made where 'directory_markers' is true in the target's connection",
            )
        parent = watch.parent_of(target_key)
        if parent is not None:
            raise InvalidInputError(
                "target key",
                found=f"{target_key!r} under {parent!r}",
                accepted="keys of which none is both a file and a directory",
            )
