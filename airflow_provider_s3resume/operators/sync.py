"""The common case as one task group: list → diff → transfer → verify → report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import AssetAlias, TaskGroup

from airflow_provider_s3resume.operators._asking import ASKED_FIELDS
from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator
from airflow_provider_s3resume.operators.plan import (
    CHECKED_SIZES,
    PLAN_KEY,
    ListSyncOperator,
    PlanSyncOperator,
)
from airflow_provider_s3resume.operators.report import ReportSyncOperator
from airflow_provider_s3resume.operators.retries import RETRIES, retries_beside
from airflow_provider_s3resume.operators.verify import VerifyCopyOperator

__all__ = ["RETRIES", "TASKS", "sync_task_group"]

TASKS = ("list", "diff", "transfer", "verify", "report")


def sync_task_group(
    group_id: str = "sync",
    *,
    source_conn_id: str,
    source_uri: str,
    target_conn_id: str,
    target_uri: str,
    state_conn_id: str | None = None,
    state_uri: str | None = None,
    symlinks: str | None = None,
    planning: Mapping[str, Any] | None = None,
    copying: Mapping[str, Any] | None = None,
    plan: Mapping[str, Any] | str | None = None,
    asset_uri: str | None = None,
    pool: str | None = None,
    pool_slots: int = 1,
    retrying: Mapping[str, Any] | None = None,
    refuse_unknown_params: bool = False,
    prefix_group_id: bool = True,
) -> TaskGroup:
    """Return a group of the five tasks of a sync, for use inside a DAG.

    :param symlinks: of an ``oss://`` or ``file://`` source: ``follow`` or ``report``, or ``fail``.
    :param planning: ``rule``, ``max_objects``, ``max_bytes``, ``max_batches``, ``plan_only``,
        ``selection``, ``archived``, ``key_mapping``, ``key_function``; see
        :class:`~airflow_provider_s3resume.operators.plan.PlanSyncOperator`.
    :param copying: ``part_size``, ``memory_budget`` and so on, and any argument of a task; see
        :class:`~airflow_provider_s3resume.operators.multipart_copy.ResumableMultipartCopyOperator`.
    :param plan: a plan that is there already, such as a sensor's result.
    :param asset_uri: asset whose event is emitted after verification.
    :param pool: of the transfer tasks, ``pool_slots`` for each.
    :param retrying: arguments of a task, for all of them, such as
        ``{**RETRIES, "retry_delay": …}``. By default :data:`~.retries.RETRIES`, as far as neither
        the DAG's ``default_args`` nor ``copying`` say how a task is retried.
    """
    sides = {
        "source_conn_id": source_conn_id,
        "source_uri": source_uri,
        "target_conn_id": target_conn_id,
        "target_uri": target_uri,
        "state_conn_id": state_conn_id,
        "state_uri": state_uri,
        "symlinks": symlinks,
    }
    copying = copying or {}
    pooled = {} if pool is None else {"pool": pool, "pool_slots": pool_slots}
    with TaskGroup(group_id=group_id, prefix_group_id=prefix_group_id) as group:
        said = {**group.dag.default_args, **group.default_args}
        retried = _retried(retrying, said)
        known = {**sides, **(planning or {}), **retried}
        listed = ListSyncOperator(
            task_id="list",
            transfer_task_id=group.child_id("transfer"),  # type: ignore[no-untyped-call]
            refuse_unknown_params=refuse_unknown_params,
            **{name: copying.get(name) for name in CHECKED_SIZES},
            asked={name: copying[name] for name in ASKED_FIELDS if name in copying},
            **known,
        )
        taken = xcom_template(listed.task_id, "return_value", "['sides']")
        diffed = PlanSyncOperator(
            task_id="diff",
            sides_name=taken,
            plan=plan,
            part_size=copying.get("part_size"),
            server_side_copy=copying.get("server_side_copy"),
            **known,
        )
        transfer = ResumableMultipartCopyOperator.partial(
            task_id="transfer",
            map_index_template="{{ task.batch['label'][:200] }}",
            **{**_retried(retrying, {**said, **copying}), **pooled, **copying},
        ).expand(batch=diffed.output)
        done = xcom_template(diffed.task_id, PLAN_KEY, " | tojson")
        # The report, too: what failed in the run fails it at once, but its worker may be killed.
        always: dict[str, Any] = {"plan": done, "trigger_rule": "all_done", **retried}
        verify = VerifyCopyOperator(task_id="verify", **always)
        listed >> diffed >> transfer >> verify >> report_task(asset_uri, group, always)
    return group


def _retried(retrying: Mapping[str, Any] | None, given: Mapping[str, Any]) -> dict[str, Any]:
    if retrying is None:
        return retries_beside(given)
    count = {} if "retries" in given else {"retries": RETRIES["retries"]}
    return {**count, **retrying}


def xcom_template(task_id: str, key: str, tail: str) -> str:
    """Return a template of an XCom of this run; ``tail`` is put behind it inside the braces."""
    # A template and not an XComArg: that would draw an arrow past the tasks in between.
    return f"{{{{ ti.xcom_pull(task_ids='{task_id}', key='{key}'){tail} }}}}"


def report_task(
    asset_uri: str | None, group: TaskGroup, always: dict[str, Any]
) -> ReportSyncOperator:
    """Return the last task: its asset is named by an alias, known when the DAG is read."""
    # Known when the DAG is read, which the URI, being a template, need not be.
    alias = None if asset_uri is None else f"{group.dag.dag_id}.{group.group_id}"
    return ReportSyncOperator(
        task_id="report",
        asset_uri=asset_uri,
        asset_alias=alias,
        outlets=[] if alias is None else [AssetAlias(alias)],
        **always,
    )
