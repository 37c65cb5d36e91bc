"""What one transfer task may use, and what all of them together."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_s3resume.exceptions import InvalidInputError, ThrottledError
from airflow_provider_s3resume.hooks.sides import Sides
from airflow_provider_s3resume.operators.multipart_copy import ResumableMultipartCopyOperator
from airflow_provider_s3resume.operators.params import COPYING_FROM_PARAMS, copying_params
from airflow_provider_s3resume.operators.plan import (
    CHECKED_SIZES,
    ListSyncOperator,
    PlanSyncOperator,
)
from airflow_provider_s3resume.operators.sync import sync_task_group
from airflow_provider_s3resume.plan.parts import MIB
from airflow_provider_s3resume.storage.build import build_store
from airflow_provider_s3resume.storage.layers import Budget
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer.config import CopyConfig
from tests.dags.fakes import SIDES, Buckets, context_of

NAMED: dict[str, Any] = {
    **SIDES,
    "source_uri": "s3://source/data/a.txt",
    "target_uri": "s3://target/copy/a.txt",
}


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> Buckets:
    """Give filled buckets behind the connections."""
    found = Buckets.behind_connections(monkeypatch)
    found.fill()
    return found


def copy(**more: Any) -> dict[str, Any]:
    """Copy a named object."""
    task = ResumableMultipartCopyOperator(task_id="copy", **NAMED, **more)
    return task.execute(context_of(task))


def test_a_task_opens_its_stores_with_its_budget(buckets: Buckets) -> None:
    """One budget for both, as rendered templates give the numbers: texts."""
    copy(max_bytes_per_s="10485760", max_requests_per_s="50")
    budget, other = buckets.budgets
    assert isinstance(budget, Budget)
    assert budget is other
    assert (budget.bytes_per_s, budget.requests_per_s) == (10 * MIB, 50)


def test_c20_garbage_is_looked_for_while_a_task_copies(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors hold what their frames hold, in circles: without the collector that would only grow.

    It rests while the stores are opened, and is as before when the task has ended.
    """
    seen: list[bool] = []
    run, opened = ResumableMultipartCopyOperator.run_stoppable, Sides.open_pair

    def noted(act: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*given: Any, **more: Any) -> Any:
            seen.append(gc.isenabled())
            return act(*given, **more)

        return noting

    monkeypatch.setattr(ResumableMultipartCopyOperator, "run_stoppable", noted(run))
    monkeypatch.setattr(Sides, "open_pair", noted(opened))
    assert gc.isenabled()
    copy()
    assert seen == [False, True]
    assert gc.isenabled()
    assert buckets.budgets == [None, None]


def test_a_task_opens_the_stores_of_a_batch_with_its_budget(buckets: Buckets) -> None:
    """Those of a plan, by its reference; the tasks that plan have none."""
    diffed = PlanSyncOperator(task_id="diff", **SIDES)
    (batch,) = diffed.execute(context_of(diffed))
    assert set(buckets.budgets) == {None}
    del buckets.budgets[:]
    task = ResumableMultipartCopyOperator(task_id="copy", batch=batch, max_bytes_per_s=10 * MIB)
    task.execute(context_of(task))
    (budget,) = set(buckets.budgets)
    assert isinstance(budget, Budget)
    assert (budget.bytes_per_s, budget.requests_per_s) == (10 * MIB, None)


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_a_word_there_is_no_budget(buckets: Buckets, nothing: str | None) -> None:
    """An empty text is what a parameter left out is rendered to."""
    copy(max_bytes_per_s=nothing, max_requests_per_s=nothing)
    assert buckets.budgets == [None, None]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_bytes_per_s", 0),
        ("max_bytes_per_s", 65535),
        ("max_bytes_per_s", "fast"),
        ("max_bytes_per_s", True),
        ("max_requests_per_s", 0),
        ("max_requests_per_s", "-5"),
        ("max_requests_per_s", 0.5),
    ],
)
def test_a_budget_that_cannot_be_is_refused_early(buckets: Buckets, name: str, value: Any) -> None:
    """By the task ``list`` already, before anything is listed, and by the transfer task."""
    listed = ListSyncOperator(task_id="list", **SIDES, **{name: value})
    for task in (listed, ResumableMultipartCopyOperator(task_id="copy", **NAMED, **{name: value})):
        with pytest.raises(AirflowFailException, match=name):
            task.execute(context_of(task))
    assert buckets.target.keys() == []


def test_the_least_budget_is_taken() -> None:
    """64 KiB and one request a second; less would look like a dead connection."""
    CopyConfig(max_bytes_per_s=65536, max_requests_per_s=1)
    with pytest.raises(InvalidInputError, match="65536"):
        CopyConfig(max_bytes_per_s=65535)


def test_budgets_are_template_fields_and_pass_through_the_group() -> None:
    """``copying`` of the task group reaches ``list``, which checks, and ``transfer``."""
    names = {"max_bytes_per_s", "max_requests_per_s"}
    assert names <= set(ResumableMultipartCopyOperator.template_fields)
    assert names <= set(ListSyncOperator.template_fields) & set(CHECKED_SIZES)
    with DAG(dag_id="budget", schedule=None) as dag:
        sync_task_group(**SIDES, copying={"max_bytes_per_s": MIB, "max_requests_per_s": 7})
    listed, transfer = dag.get_task("sync.list"), dag.get_task("sync.transfer")
    assert isinstance(listed, ListSyncOperator)
    assert (listed.max_bytes_per_s, listed.max_requests_per_s) == (MIB, 7)
    given: Mapping[str, Any] = transfer.partial_kwargs  # type: ignore[union-attr]
    assert (given["max_bytes_per_s"], given["max_requests_per_s"]) == (MIB, 7)


@pytest.mark.parametrize(
    ("filled", "rendered"),
    [
        ({"max_mib_per_s": None, "max_requests_per_s": None}, ["", ""]),
        ({"max_mib_per_s": 100, "max_requests_per_s": 20}, [str(100 * MIB), "20"]),
    ],
)
def test_the_form_says_mebibytes(filled: dict[str, int | None], rendered: list[str]) -> None:
    """The examples' form is in MiB, the operator's parameter in bytes."""
    names = ("max_bytes_per_s", "max_requests_per_s")
    assert {*filled} <= {*copying_params()}
    dag = DAG(dag_id="form", schedule=None, params=copying_params())
    environment = dag.get_template_env()
    templates = [environment.from_string(COPYING_FROM_PARAMS[name]) for name in names]
    assert [one.render(params=filled) for one in templates] == rendered


def test_all_tasks_together_are_bounded_by_their_pool() -> None:
    """What ``docs/throttling.md`` says: slots / slots of a task, times the budget of a task."""
    slots, pool_slots, mib_per_s = 32, 8, 100
    with DAG(dag_id="pooled", schedule=None) as dag:
        sync_task_group(
            **SIDES,
            pool="s3resume_transfer",
            pool_slots=pool_slots,
            copying={"max_bytes_per_s": mib_per_s * MIB},
        )
    for task in dag.tasks:
        given = task.partial_kwargs if task.is_mapped else vars(task)  # type: ignore[union-attr]
        pooled = task.task_id == "sync.transfer"
        assert (given.get("pool") == "s3resume_transfer") is pooled
    assert transfer_slots(dag) == pool_slots
    assert slots // transfer_slots(dag) * mib_per_s == 400


def transfer_slots(dag: DAG) -> int:
    """Return how many slots each transfer task takes."""
    given: Mapping[str, Any] = dag.get_task("sync.transfer").partial_kwargs  # type: ignore[union-attr]
    return int(given["pool_slots"])


class Throttling(MemoryStore):
    """Refuses every other call."""

    def begin_to_refuse(self) -> None:
        """From now on."""
        turns: Iterator[int] = iter(range(1_000_000))

        def before(operation: str, _arguments: Mapping[str, Any]) -> None:
            # Bytes of a body that is open already are no request.
            if operation != "Read" and next(turns) % 2 == 0:
                raise ThrottledError(operation, "s3://source", "SlowDown")

        self.observer.before = before


def test_the_result_and_the_log_say_how_many_requests_were_refused(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that a user sees why a run is slow."""
    source = Throttling("source", service="memory://src")
    source.objects.update(buckets.source.objects)
    source.begin_to_refuse()
    layered = build_store(source, wait=lambda _: False)
    monkeypatch.setitem(buckets._stores, ("src", "source"), layered)
    result = copy()["result"]
    requests = result["requests"]
    assert requests["target"] == {"made": 0, "refused": 0}, "it has no layers in this test"
    assert 0 < requests["source"]["refused"] <= requests["source"]["made"] // 2 + 1
    refused, made = requests["source"]["refused"], requests["source"]["made"]
    assert f"the source refused {refused} of {made} requests as too many" in capsys.readouterr().out
