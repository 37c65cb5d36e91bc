"""Archived source objects found in a plan: only what would be copied is looked at closer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    ObjectNotFoundError,
    PlanRefusedError,
)
from airflow_provider_s3resume.plan.archives import MAY_BE_ARCHIVED
from airflow_provider_s3resume.plan.diff import Action, Reason, Verb
from airflow_provider_s3resume.transfer.ahead import answers_in_order

if TYPE_CHECKING:
    from airflow_provider_s3resume.storage.base import ObjectStore
    from airflow_provider_s3resume.transfer.stopping import StopSignal
    from airflow_provider_s3resume.transfer.storing import PlanWriter


def without_archived(
    actions: Iterable[Action], source: ObjectStore, stop: StopSignal
) -> Iterator[Action]:
    """Yield the actions; copies of objects that cannot be read are skipped as archived.

    What a listing does not tell is asked for by a HEAD each, several at once: whether there is a
    restored copy, where it does not say so, and the tier of an object that may be in one.
    """

    def is_archived(action: Action) -> bool:
        try:
            return source.head(action.key).archived
        except (ObjectNotFoundError, AccessDeniedError):
            return False  # Its copy will tell better.

    for action, archived in answers_in_order(actions, is_archived, stop=stop, wanted=_has_to_ask):
        if archived or (archived is None and _is_told(action)):
            yield replace(action, verb=Verb.SKIP, reason=Reason.ARCHIVED)
        else:
            yield action


def _may_be_archived(action: Action) -> bool:
    return (
        action.verb is Verb.COPY
        and action.source is not None
        and action.source.storage_class in MAY_BE_ARCHIVED
    )


def _has_to_ask(action: Action) -> bool:
    return _may_be_archived(action) and action.source is not None and action.source.restored is None


def _is_told(action: Action) -> bool:
    """Tell whether the listing says that the object cannot be read."""
    return (
        _may_be_archived(action) and action.source is not None and action.source.restored is False
    )


def refuse_archived(writer: PlanWriter) -> None:
    """Refuse a plan that has archived objects.

    :raises PlanRefusedError: with their number, their bytes and the first of them.
    """
    name, first = f"{Verb.SKIP.value}.{Reason.ARCHIVED.value}", writer.archived
    count, size = writer.counts[name], writer.sizes[name]
    if not count:
        return
    named = ", ".join(map(repr, first))
    more = f" and {count - len(first)} more" if count > len(first) else ""
    raise PlanRefusedError(
        f"{count} source objects of {size} bytes in all are archived and not restored: "
        f"{named}{more}; nothing was copied. Restore them, or let archived be 'report'"
    )
