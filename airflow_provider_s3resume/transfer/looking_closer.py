"""What a listing does not tell of an object, asked for where the plan depends on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_s3resume.plan.archives import OnArchived
from airflow_provider_s3resume.plan.diff import Criterion
from airflow_provider_s3resume.transfer.archived import without_archived
from airflow_provider_s3resume.transfer.metadata import with_metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_s3resume.plan.diff import Action
    from airflow_provider_s3resume.transfer.comparing import Comparison


def looked_closer(
    actions: Iterator[Action], comparison: Comparison, archived: OnArchived
) -> Iterator[Action]:
    """Return the actions as they are once metadata were compared and archived objects were found.

    :param archived: what is done about objects that have to be restored first.
    """
    if Criterion.METADATA in comparison.rule.criteria:
        actions = with_metadata(actions, comparison.source, comparison.target)
    if archived is OnArchived.TRY:
        return actions
    return without_archived(actions, comparison.source, comparison.stop)
