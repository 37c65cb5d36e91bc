"""A pool that does not exist becomes an error of the task ``list``.

Airflow's scheduler only logs that it will not schedule tasks of a pool that does not exist; they
wait for ever. No task can find that out: pools are not among what tasks may ask for, and tasks
have no access to the database. The scheduler has, and tells a listener when a run starts; this one
leaves what it found as an XCom of the task that would wait, where ``list`` looks.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy.orm import Session

MISSING_POOL_KEY = "s3resume_missing_pool"
_GUARDED = frozenset({"ListSyncOperator", "TakeEventsOperator"})


@hookimpl
def on_dag_run_running(dag_run: DagRun) -> None:
    """Look for the pools of a run that has a first task of ours."""
    from sqlalchemy.orm import object_session  # noqa: PLC0415 - in the scheduler only

    session = object_session(dag_run)
    if session is None:
        return
    tis = dag_run.get_task_instances(session=session)
    if any(ti.operator in _GUARDED for ti in tis):
        _note_missing(tis, session)


def _note_missing(tis: list[TaskInstance], session: Session) -> None:
    from airflow.models.pool import Pool  # noqa: PLC0415 - in the scheduler only
    from airflow.models.xcom import XComModel  # noqa: PLC0415 - as above
    from sqlalchemy import delete, select  # noqa: PLC0415 - as above

    pools = set(session.scalars(select(Pool.pool)))
    for ti in tis:
        key: dict[str, Any] = {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id}
        # A note of an earlier start of this run: it may have been cleared to use a new pool.
        session.execute(delete(XComModel).filter_by(key=MISSING_POOL_KEY, **key))
        if ti.pool not in pools:
            XComModel.set(MISSING_POOL_KEY, ti.pool, **key, map_index=ti.map_index, session=session)


class PoolGuardPlugin(AirflowPlugin):
    """Registers the listener."""

    name = "s3resume_pool_guard"
    listeners = [sys.modules[__name__]]  # noqa: RUF012 - declared by the base
