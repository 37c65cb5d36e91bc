"""Copies that events start: the schedule, and the tasks of a run as one group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import TaskGroup

from airflow_provider_s3resume.hooks._airflow import STARTS_RUNS_BY_EVENTS
from airflow_provider_s3resume.operators.acknowledge_events import AcknowledgeEventsOperator
from airflow_provider_s3resume.operators.copy_events import EventCopyOperator
from airflow_provider_s3resume.operators.plan import PLAN_KEY
from airflow_provider_s3resume.operators.plan_events import PlanEventsOperator
from airflow_provider_s3resume.operators.retries import retries_beside
from airflow_provider_s3resume.operators.sync import report_task, xcom_template
from airflow_provider_s3resume.operators.take_events import TakeEventsOperator
from airflow_provider_s3resume.operators.verify import VerifyCopyOperator

if TYPE_CHECKING:
    from airflow.sdk import Asset

CONTINUOUS = "@continuous"
EVENT_TASKS = ("take", "diff", "transfer", "verify", "report", "acknowledge")


def events_schedule(
    queue_conn_id: str | None,
    queue_url: str,
    *,
    poll_interval_s: float = 10.0,
    quiet_s: float = 15.0,
    watch: bool | None = None,
) -> list[Asset] | str | None:
    """Return the schedule of a DAG that a queue starts; the DAG needs ``max_active_runs=1``.

    Where Airflow starts runs by events it is an asset that the triggerer watches the queue for.
    Elsewhere it is ``@continuous``: then the first task must be an ``S3EventsSensor``, which
    :func:`needs_sensor` tells. Both are known when the DAG is read: no templates.

    :param queue_url: empty for none: such a DAG is left to manual runs.
    :param poll_interval_s: seconds between two looks at the queue.
    :param quiet_s: seconds between two events, at least; what comes meanwhile is in the next run.
    :param watch: ``None`` for what this release of Airflow can do.
    """
    if not queue_url:
        return None
    if not (STARTS_RUNS_BY_EVENTS if watch is None else watch):
        return CONTINUOUS
    from airflow.sdk import Asset, AssetWatcher  # noqa: PLC0415 - only where they are used

    from airflow_provider_s3resume.triggers.s3_events import S3EventsWatch  # noqa: PLC0415 - same

    name = f"s3_events-{queue_url.rpartition('/')[2]}"
    trigger = S3EventsWatch(queue_conn_id, queue_url, poll_interval_s, quiet_s)
    return [Asset(name=name, watchers=[AssetWatcher(name=name, trigger=trigger)])]


def needs_sensor(schedule: object) -> bool:
    """Tell whether the first task of a DAG with this schedule must wait for messages."""
    return schedule == CONTINUOUS


def events_task_group(
    group_id: str = "events",
    *,
    taking: Mapping[str, Any],
    planning: Mapping[str, Any] | None = None,
    copying: Mapping[str, Any] | None = None,
    asset_uri: str | None = None,
    pool: str | None = None,
    pool_slots: int = 1,
    retrying: Mapping[str, Any] | None = None,
    refuse_unknown_params: bool = False,
    prefix_group_id: bool = True,
) -> TaskGroup:
    """Return a group of the six tasks of a run that events start, for use inside a DAG.

    :param taking: the sides, the queue, and how much of it is taken; see
        :class:`~airflow_provider_s3resume.operators.take_events.TakeEventsOperator`.
    :param planning: ``rule``, ``max_objects``, ``max_bytes``, ``max_batches``.
    :param copying: ``part_size``, ``memory_budget`` and so on, and any argument of a task.
    :param asset_uri: asset whose event is emitted after verification.
    :param pool: of the transfer tasks, ``pool_slots`` for each.
    :param retrying: arguments of a task, for all of them; by default :data:`~.retries.RETRIES`, as
        far as the DAG's ``default_args`` do not say how a task is retried.
    """
    pooled = {} if pool is None else {"pool": pool, "pool_slots": pool_slots}
    with TaskGroup(group_id=group_id, prefix_group_id=prefix_group_id) as group:
        said = {**group.dag.default_args, **group.default_args}
        retried = dict(retries_beside(said) if retrying is None else retrying)
        take = TakeEventsOperator(
            task_id="take",
            transfer_task_id=group.child_id("transfer"),  # type: ignore[no-untyped-call]
            refuse_unknown_params=refuse_unknown_params,
            **{**taking, **retried},
        )
        taken = xcom_template(take.task_id, "return_value", " | tojson")
        diffed = PlanEventsOperator(task_id="diff", taken=taken, **{**(planning or {}), **retried})
        transfer = EventCopyOperator.partial(
            task_id="transfer",
            taken=taken,
            map_index_template="{{ task.batch['label'][:200] }}",
            **{**retried, **pooled, **(copying or {})},
        ).expand(batch=diffed.output)
        # Whatever became of the copies: what is verified is acknowledged, the rest comes again.
        always: dict[str, Any] = {
            "plan": xcom_template(diffed.task_id, PLAN_KEY, " | tojson"),
            "trigger_rule": "all_done",
            **retried,
        }
        verify = VerifyCopyOperator(task_id="verify", **always)
        acknowledge = AcknowledgeEventsOperator(task_id="acknowledge", taken=taken, **always)
        take >> diffed >> transfer >> verify >> report_task(asset_uri, group, always) >> acknowledge
    return group
