"""The retry policy as Airflow asks it, and what a task gets where Airflow has none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, RetryAction, RetryDecision, TaskGroup

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    ThrottledError,
    TransientStoreError,
    VerificationError,
)
from airflow_provider_s3resume.operators.retries import (
    MOST_WAIT,
    RETRIES,
    WAITS,
    ErrorClassRetryPolicy,
    retries_beside,
)
from airflow_provider_s3resume.operators.sync import sync_task_group

WHAT = ("PutObject", "s3://b/k", "detail")
SIDES: dict[str, Any] = {
    "source_conn_id": "a",
    "source_uri": "s3://source/",
    "target_conn_id": "b",
    "target_uri": "s3://target/",
}


def decide(
    error: BaseException,
    *,
    try_number: int = 1,
    max_tries: int = 3,
    map_index: int = -1,
    **arguments: Any,
) -> RetryDecision:
    """Ask the policy of a task with these arguments."""
    task = BaseOperator(task_id="task", **{**RETRIES, **arguments})
    ti = SimpleNamespace(dag_id="dag", task_id="task", run_id="run", map_index=map_index)
    context: Any = {"task": task, "ti": ti}
    return ErrorClassRetryPolicy().evaluate(error, try_number, max_tries, context)


def seconds(error: BaseException, **arguments: Any) -> float:
    """Return the wait that the policy chooses."""
    decision = decide(error, **arguments)
    assert decision.action is RetryAction.RETRY
    assert decision.retry_delay is not None
    return decision.retry_delay.total_seconds()


def test_c41_the_policy_ends_what_a_retry_cannot_help() -> None:
    """And says which error it was."""
    decision = decide(AccessDeniedError(*WHAT))
    assert decision.action is RetryAction.FAIL
    assert "AccessDeniedError" in str(decision.reason)


def test_c41_throttling_waits_longer_than_the_network_and_both_longer_each_time() -> None:
    """Whatever part of a wait is left to chance."""
    slow = [seconds(ThrottledError(*WHAT), try_number=n) for n in (1, 2, 3)]
    net = [seconds(TransientStoreError(*WHAT), try_number=n) for n in (1, 2, 3)]
    assert sorted(set(slow)) == slow
    assert sorted(set(net)) == net
    assert all(one > other for one, other in zip(slow, net, strict=True))


def test_the_tasks_own_arguments_are_what_waits_are_made_of() -> None:
    """``retry_delay`` is the unit, and ``max_retry_delay`` the most."""
    throttled = ThrottledError(*WHAT)
    assert 4 <= seconds(throttled, retry_delay=timedelta(seconds=1)) <= 6
    assert seconds(throttled, max_retry_delay=timedelta(seconds=7)) == 7
    assert seconds(throttled, try_number=99, max_tries=99, retries=99) == MOST_WAIT.total_seconds()
    # Without a context there is no task to ask.
    decision = ErrorClassRetryPolicy().evaluate(throttled, 1, 3)
    assert decision.retry_delay is not None
    assert 120 <= decision.retry_delay.total_seconds() <= 180


def test_a_task_that_was_cleared_waits_as_at_its_beginning() -> None:
    """Airflow counts its tries on: the fifth is the first one since."""
    again = seconds(TransientStoreError(*WHAT), try_number=5, max_tries=7)
    assert 30 <= again <= 45
    assert seconds(TransientStoreError(*WHAT), try_number=6, max_tries=7) >= 60


def test_mapped_tasks_that_failed_together_come_back_one_by_one() -> None:
    """Else a service that asks for fewer requests would get them all at once."""
    found = {seconds(ThrottledError(*WHAT), map_index=n) for n in range(50)}
    assert len(found) == 50
    assert max(found) - min(found) > 30
    assert seconds(ThrottledError(*WHAT), map_index=7) == seconds(
        ThrottledError(*WHAT), map_index=7
    )


@pytest.mark.parametrize("error", [VerificationError("x"), ValueError("x"), TimeoutError()])
def test_other_errors_are_left_to_the_arguments(error: BaseException) -> None:
    """The policy has no opinion of what it does not know, or what is as usual."""
    assert decide(error) == RetryDecision.default()


def test_the_policy_survives_its_way_through_airflow() -> None:
    """It holds nothing that could be lost."""
    data = json.loads(json.dumps(ErrorClassRetryPolicy().serialize()))
    assert isinstance(ErrorClassRetryPolicy.deserialize(data), ErrorClassRetryPolicy)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, set(RETRIES)),
        ({"retries": 9, "pool": "p"}, set(WAITS)),
        ({"retry_delay": timedelta(minutes=5)}, {"retries"}),
        ({"retry_policy": None}, {"retries"}),
        ({"retry_exponential_backoff": 3, "retries": 1}, set()),
    ],
)
def test_who_says_how_long_to_wait_is_not_contradicted(
    given: Mapping[str, Any], expected: set[str]
) -> None:
    """Ours are defaults, for who says nothing."""
    assert set(retries_beside(given)) == expected


def arguments_of(task: Any) -> tuple[int, timedelta, bool]:
    """Return how a task of a DAG is retried."""
    return task.retries, task.retry_delay, isinstance(task.retry_policy, ErrorClassRetryPolicy)


def test_a_dags_and_a_groups_default_args_and_copying_come_before_ours() -> None:
    """And what is said in ``retrying`` comes before all of them."""
    five, ours = timedelta(minutes=5), RETRIES["retry_delay"]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    slower: Any = {"retry_delay": five}
    with DAG("d", schedule=None, start_date=start, default_args={"retries": 7}) as dag:
        sync_task_group("plain", **SIDES)
        with TaskGroup("outer", default_args=slower):
            sync_task_group("inner", **SIDES)
        sync_task_group("copying", **SIDES, copying={"retry_delay": five})
        sync_task_group("said", **SIDES, retrying={**RETRIES, "retry_delay": five})
        sync_task_group("own", **SIDES, retrying={"retries": 1, "retry_delay": five})
        sync_task_group("delay", **SIDES, retrying={"retry_delay": five})
    with DAG("e", schedule=None, start_date=start) as other:
        sync_task_group("delay", **SIDES, retrying={"retry_delay": five})
    for task in ("list", "diff", "transfer", "verify"):
        copies = task == "transfer"
        assert arguments_of(dag.get_task(f"plain.{task}")) == (7, ours, True)
        assert arguments_of(dag.get_task(f"outer.inner.{task}")) == (7, five, False)
        expected = (7, five, False) if copies else (7, ours, True)
        assert arguments_of(dag.get_task(f"copying.{task}")) == expected
        assert arguments_of(dag.get_task(f"said.{task}")) == (3, five, True)
        assert arguments_of(dag.get_task(f"own.{task}")) == (1, five, False)
        assert arguments_of(dag.get_task(f"delay.{task}")) == (7, five, False)
        assert arguments_of(other.get_task(f"delay.{task}")) == (3, five, False)


WITHOUT_POLICIES = """
import airflow.sdk as sdk
for name in ("RetryPolicy", "RetryDecision"):
    sdk.__dict__.pop(name, None)
    sdk.__lazy_imports.pop(name)
from airflow_provider_s3resume.operators.retries import RETRIES, ErrorClassRetryPolicy
from airflow_provider_s3resume.operators.sync import sync_task_group
from datetime import datetime, UTC
with sdk.DAG("d", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
    sync_task_group("sync", source_conn_id="a", source_uri="s3://source/", target_conn_id="b",
                    target_uri="s3://target/")
task = dag.get_task("sync.diff")
print(sorted(RETRIES), task.retries, task.retry_exponential_backoff, task.max_retry_delay)
"""


def test_a_release_without_policies_gets_longer_waits_by_arguments_alone() -> None:
    """As Airflow 3.0: nothing is passed that it would refuse."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_POLICIES],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    names = ["max_retry_delay", "retries", "retry_delay", "retry_exponential_backoff"]
    assert done.stdout.splitlines()[-1] == f"{names} 3 True 0:10:00"
