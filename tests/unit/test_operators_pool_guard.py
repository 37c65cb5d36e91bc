"""A pool that does not exist is found out where it can be: in the scheduler, when a run starts."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy.orm
from airflow.models import import_all_models
from airflow.models.pool import Pool
from airflow.models.xcom import XComModel
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from airflow_provider_s3resume.operators.plan import MISSING_POOL_KEY as READ
from airflow_provider_s3resume.plugins import pool_guard
from airflow_provider_s3resume.plugins.pool_guard import MISSING_POOL_KEY, on_dag_run_running


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """Give a session of a database that knows one pool, and is the session of every run."""
    engine = create_engine("sqlite://")
    # The notes' table refers to others, which have to be known for that.
    import_all_models()  # type: ignore[no-untyped-call]
    tables: list[Any] = [Pool.__table__, XComModel.__table__]
    Pool.metadata.create_all(engine, tables=tables)
    with Session(engine) as opened:
        opened.add(Pool(pool="there", slots=1, include_deferred=False))
        opened.flush()
        monkeypatch.setattr(sqlalchemy.orm, "object_session", lambda _: opened)
        yield opened
    engine.dispose()


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Give what is noted down: task → pool."""
    kept: dict[str, str] = {}

    def put(key: str, value: str, *, task_id: str, **_: Any) -> None:
        assert key == MISSING_POOL_KEY
        kept[task_id] = value

    monkeypatch.setattr(XComModel, "set", put)
    return kept


def run_of(**tasks: tuple[str, str]) -> Any:
    """Return a run of tasks, each with its operator and its pool."""
    tis = [
        SimpleNamespace(
            dag_id="dag", run_id="run", task_id=name, operator=operator, pool=pool, map_index=-1
        )
        for name, (operator, pool) in tasks.items()
    ]
    return SimpleNamespace(get_task_instances=lambda **_: tis)


@pytest.mark.usefixtures("session")
def test_only_tasks_whose_pool_is_missing_are_noted(notes: dict[str, str]) -> None:
    """The first task of the run reads it there, under the same name."""
    copy = "ResumableMultipartCopyOperator"
    on_dag_run_running(run_of(list=("ListSyncOperator", "there"), transfer=(copy, "nowhere")))
    assert notes == {"transfer": "nowhere"}
    assert READ == MISSING_POOL_KEY


@pytest.mark.usefixtures("session")
def test_runs_of_others_are_left_alone(notes: dict[str, str]) -> None:
    """A run without a task ``list`` of ours has nobody to read a note."""
    on_dag_run_running(run_of(one=("BashOperator", "nowhere")))
    assert notes == {}


def test_the_plugin_registers_the_listener() -> None:
    """Airflow takes modules whose functions are marked as its hooks."""
    assert pool_guard.PoolGuardPlugin.listeners == [pool_guard]
    assert hasattr(on_dag_run_running, "airflow_impl")
