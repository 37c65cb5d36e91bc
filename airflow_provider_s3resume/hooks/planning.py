"""The arguments of a plan as a person gives them, before they are checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_s3resume.hooks._renaming import renaming_of
from airflow_provider_s3resume.hooks._selecting import scope_of
from airflow_provider_s3resume.hooks._values import flag, whole
from airflow_provider_s3resume.plan.archives import OnArchived
from airflow_provider_s3resume.plan.batches import BatchLimits
from airflow_provider_s3resume.plan.diff import DEFAULT_RULE, DiffRule

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_s3resume.plan.sides import Places
    from airflow_provider_s3resume.transfer.plan_request import PlanRequest

_LIMITS = BatchLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanArguments:
    """What to plan; numbers and flags may be the texts that templates leave.

    :param rule: how two objects of one key are told apart: ``size``, ``etag``, ``newer`` and
        ``metadata``, joined by ``+``.
    :param max_objects: objects in one batch.
    :param max_bytes: bytes in one batch.
    :param max_batches: batches of one run, each of them one mapped task.
    :param plan_only: a dry run.
    :param selection: what of the source is meant; see ``hooks._selecting.scope_of``.
    :param archived: what is done about objects that have to be restored first: ``report``, ``fail``
        or ``try``.
    :param key_mapping: ``strip_prefix`` and ``add_prefix``; see ``plan.renaming.Renaming``.
    :param key_function: ``package.module:function``, which is asked for the key of each key; never
        from a template.
    """

    rule: str = DEFAULT_RULE.text
    max_objects: int | str = _LIMITS.max_objects
    max_bytes: int | str = _LIMITS.max_bytes
    max_batches: int | str = _LIMITS.max_batches
    plan_only: bool | str = False
    selection: Mapping[str, Any] | str | None = None
    archived: str = OnArchived.REPORT.value
    key_mapping: Mapping[str, str] | str | None = None
    key_function: str | None = None

    def request(self, run_id: str, places: Places, conn_id: str | None = None) -> PlanRequest:
        """Return the checked request; no service is asked.

        :param conn_id: of the source.
        :raises InvalidInputError: naming the parameter.
        """
        from airflow_provider_s3resume.transfer.plan_request import PlanRequest  # noqa: PLC0415

        return PlanRequest(
            run_id=run_id,
            source_prefix=places.source.prefix,
            target_prefix=places.target.prefix,
            rule=DiffRule.parse(self.rule),
            batch_limits=BatchLimits(
                max_objects=whole("max_objects", self.max_objects),
                max_bytes=whole("max_bytes", self.max_bytes),
                max_batches=whole("max_batches", self.max_batches),
            ),
            dry_run=flag("plan_only", self.plan_only),
            scope=scope_of(self.selection, places.source, conn_id),
            archived=OnArchived.parse(self.archived),
            renaming=renaming_of(self.key_mapping, self.key_function),
        )


def plan_id(context: Context) -> str:
    """Return the name of the plan that this attempt makes.

    Each attempt of each mapped task has its own: what a copy noted down for one plan is never read
    with another. Where it is used, ``OpenSides.mark`` is put behind it, as two installations with
    DAGs of one name may share a state location.
    """
    ti = context["ti"]
    # Airflow says -1 for a task that is not mapped.
    index = "" if ti.map_index is None or ti.map_index < 0 else f".{ti.map_index}"
    return f"{ti.dag_id}/{ti.run_id}/{ti.task_id}{index}.{ti.try_number}"
