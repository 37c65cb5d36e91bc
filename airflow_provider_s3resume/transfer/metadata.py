"""Differences in metadata alone, which no listing tells: both objects of a pair are asked (HEAD).

Only pairs are asked that are equal otherwise, as many at once as there are threads here, and so
many ahead of what is taken that they do not wait for each other.
"""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from airflow_provider_s3resume.exceptions import ObjectNotFoundError
from airflow_provider_s3resume.plan.diff import EQUAL, Action, Reason, Verb
from airflow_provider_s3resume.plan.digests import normal_etag
from airflow_provider_s3resume.transfer.losses import HEADERS, by_lower_case
from airflow_provider_s3resume.transfer.pool import Workers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    from airflow_provider_s3resume.plan.manifest import CopyEntry
    from airflow_provider_s3resume.plan.objects import ListedObject, ObjectInfo
    from airflow_provider_s3resume.storage.base import ObjectStore

_AT_ONCE: Final = 16
_AHEAD: Final = 128


def with_metadata(
    actions: Iterable[Action], source: ObjectStore, target: ObjectStore
) -> Iterator[Action]:
    """Yield the actions in their order; pairs whose metadata differs are to be copied.

    :raises StoreError: if one of a pair cannot be asked: it is never taken for equal.
    """
    with closing(Workers(_AT_ONCE, "s3resume-metadata")) as workers:
        waiting: deque[tuple[Action, Future[bool] | None]] = deque()
        for action in actions:
            asked = None
            if action.reason in EQUAL:
                asked = workers.submit(partial(_differ, source, target, action))
            waiting.append((action, asked))
            while waiting and (waiting[0][1] is None or len(waiting) > _AHEAD):
                yield _decided(*waiting.popleft())
        while waiting:
            yield _decided(*waiting.popleft())


def _decided(action: Action, asked: Future[bool] | None) -> Action:
    if asked is None or not asked.result():
        return action
    return replace(action, verb=Verb.COPY, reason=Reason.METADATA_DIFFERS)


def _differ(source: ObjectStore, target: ObjectStore, action: Action) -> bool:
    ours = _as_listed(source, action.source)
    theirs = _as_listed(target, action.target)
    if ours is None or theirs is None:
        return False  # Replaced or deleted since it was listed: the next plan sees that.
    tags = source.capabilities.tags and target.capabilities.tags
    return differ(ours, theirs, tags=tags)


def _as_listed(store: ObjectStore, listed: ListedObject | None) -> ObjectInfo | None:
    if listed is None:
        return None
    try:
        found = store.head(listed.key)
    except ObjectNotFoundError:
        return None
    same = listed.etag is None or normal_etag(found.etag) == normal_etag(listed.etag)
    return found if same else None


def is_untouched(
    entry: CopyEntry, asked: ObjectInfo, found: ObjectInfo | None, *, tags: bool
) -> bool:
    """Tell whether what is at the target may be the old object of a copy for its metadata alone.

    Its bytes prove nothing then: the old object has the same (c16, c19).

    :param asked: the source, with the attributes that were asked for.
    :param tags: both stores have tags.
    """
    if found is None or entry.reason != Reason.METADATA_DIFFERS.value:
        return False
    return differ(asked, found, tags=tags)


def differ(source: ObjectInfo, target: ObjectInfo, *, tags: bool) -> bool:
    """Tell whether headers, metadata or the number of tags of two objects differ.

    A content type that the source does not tell is none to compare: services put in their own.
    What the tags say is told by no HEAD.

    :param tags: both stores have tags.
    """
    ours, theirs = source.attributes, target.attributes
    if any(
        getattr(ours, name) != getattr(theirs, name)
        for name in HEADERS
        if name != "content_type" or ours.content_type is not None
    ):
        return True
    if by_lower_case(dict(ours.metadata)) != by_lower_case(dict(theirs.metadata)):
        return True
    # Not told where there are none, or where they may not be read: at the source that is no reason
    # to take tags for gone.
    counts = source.tag_count, target.tag_count or 0
    return bool(tags and counts[0] is not None and counts[0] != counts[1])
