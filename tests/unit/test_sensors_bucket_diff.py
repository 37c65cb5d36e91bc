"""Waiting for a difference: in a worker and in the triggerer, one question."""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    ListingError,
    S3ResumeError,
    ThrottledError,
)
from airflow_provider_s3resume.hooks.planning import PlanArguments
from airflow_provider_s3resume.hooks.sides import Sides
from airflow_provider_s3resume.operators.plan import PlanSyncOperator
from airflow_provider_s3resume.plan.attempts import rule_for
from airflow_provider_s3resume.sensors.bucket_diff import BucketDiffSensor
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.triggers.bucket_diff import BucketDiffTrigger, DiffQuestion
from tests.dags.fakes import SIDES, Buckets, context_of
from tests.dags.seeding import put


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> Buckets:
    """Give a source and a target bucket behind the connections ``src`` and ``tgt``."""
    return Buckets.behind_connections(monkeypatch)


def question(**more: Any) -> DiffQuestion:
    """Return a question about the two buckets."""
    return DiffQuestion(sides=Sides(**SIDES), run_id="dag/run/wait.1", **more)


def first_event(trigger: BucketDiffTrigger, within_s: float = 10) -> dict[str, Any]:
    """Run a trigger to its event, from what was stored of it."""
    path, kwargs = trigger.serialize()
    module, _, name = path.rpartition(".")
    again = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(kwargs)))

    async def run() -> dict[str, Any]:
        async with asyncio.timeout(within_s):
            payload: dict[str, Any] = (await anext(again.run())).payload
            return payload

    return asyncio.run(run())


def test_the_sensor_defers_by_default_and_returns_the_plan(buckets: Buckets) -> None:
    """The plan is one that PlanSyncOperator takes over."""
    data = buckets.fill()
    sensor = BucketDiffSensor(task_id="wait", poke_interval=0.1, **SIDES)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context_of(sensor))
    assert isinstance(deferred.value.trigger, BucketDiffTrigger)
    event = first_event(deferred.value.trigger)
    plan = sensor.execute_complete(context_of(sensor), event)
    assert plan["objects"] == len(data)
    diff = PlanSyncOperator(task_id="diff", plan=plan, **SIDES)
    assert len(diff.execute(context_of(diff))) == plan["batches"] == 1


def test_a_sensor_that_does_not_defer_asks_the_same_question(buckets: Buckets) -> None:
    """And returns the same plan."""
    sensor = BucketDiffSensor(task_id="wait", deferrable=False, **SIDES)
    assert not sensor.poke(context_of(sensor)).is_done
    data = buckets.fill()
    assert sensor.execute(context_of(sensor))["objects"] == len(data)


def test_a_trigger_makes_the_round_trip(buckets: Buckets) -> None:
    """Another triggerer goes on with what was stored, and nothing else is needed."""
    del buckets
    asked = question(min_objects=3, min_bytes="7", min_age_s=9, plan=PlanArguments(rule="size"))
    trigger = BucketDiffTrigger(asked.to_json_dict(), 12.5)
    path, kwargs = trigger.serialize()
    assert path == "airflow_provider_s3resume.triggers.bucket_diff.BucketDiffTrigger"
    again = BucketDiffTrigger(**json.loads(json.dumps(kwargs)))
    assert again.serialize() == trigger.serialize()
    assert DiffQuestion.from_json_dict(again.question) == asked


def test_the_trigger_waits_until_there_is_a_difference(buckets: Buckets) -> None:
    """It asks again and again."""

    async def run() -> dict[str, Any]:
        trigger = BucketDiffTrigger(question().to_json_dict(), 0.05)
        waiting = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        put(buckets.source, "data/new", b"new")
        async with asyncio.timeout(10):
            payload: dict[str, Any] = (await waiting).payload
            return payload

    assert asyncio.run(run())["plan"]["objects"] == 1


@pytest.mark.parametrize(
    ("minima", "fires"),
    [
        ({}, True),
        ({"min_objects": 4}, True),
        ({"min_objects": 5}, False),
        ({"min_bytes": 4096}, True),
        ({"min_bytes": 1 << 40}, False),
        ({"min_age_s": "0"}, True),
        ({"min_age_s": 3600}, False),
        ({"min_objects": 2, "min_bytes": 1 << 40}, False),
    ],
)
def test_each_minimum_must_be_reached(
    buckets: Buckets,
    minima: dict[str, Any],
    fires: bool,  # noqa: FBT001 - a case's outcome
) -> None:
    """Objects, bytes, and the age of the newest object that is to be copied."""
    buckets.fill()
    assert (question(**minima).ask(StopSignal()) is not None) is fires


def test_the_age_is_that_of_the_newest_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """One object that is still being written to holds the others back."""
    times = [1_000.0, 2_000.0]
    buckets = Buckets.behind_connections(monkeypatch)
    now = "airflow_provider_s3resume.triggers.bucket_diff.time.time"
    monkeypatch.setattr(now, lambda: 2_060.0)
    clock: Iterator[float] = iter(times)
    buckets.replace_source(MemoryStore("source", service="memory://src", clock=lambda: next(clock)))
    put(buckets.source, "data/old", b"1")
    put(buckets.source, "data/young", b"2")
    assert question(min_age_s=61).ask(StopSignal()) is None
    assert question(min_age_s=60).ask(StopSignal()) is not None


@pytest.mark.parametrize("side", ["source", "target"])
def test_c01_c03_a_side_that_cannot_be_listed_is_an_error_and_never_no_difference(
    buckets: Buckets, side: str
) -> None:
    """Neither in the triggerer nor in a worker."""
    buckets.fill()
    getattr(buckets, side).state.denied = True
    event = first_event(BucketDiffTrigger(question().to_json_dict(), 0.05))
    assert event["status"] == "error"
    sensor = BucketDiffSensor(task_id="wait", deferrable=False, **SIDES)
    with pytest.raises(AirflowFailException, match="AccessDeniedError"):
        sensor.execute_complete(context_of(sensor), event)
    with pytest.raises(AirflowFailException) as raised:
        sensor.execute(context_of(sensor))
    assert isinstance(raised.value.__cause__, AccessDeniedError)


def test_c01_a_listing_that_breaks_off_is_an_error(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its first objects, too."""
    buckets.fill()
    whole = buckets.source.list_objects

    def broken(*arguments: Any) -> Iterator[Any]:
        yield next(iter(whole(*arguments)))
        raise ListingError("the listing of the source broke off")

    monkeypatch.setattr(buckets.source, "list_objects", broken)
    event = first_event(BucketDiffTrigger(question().to_json_dict(), 0.05))
    assert (event["status"], event["retryable"], event["kind"]) == ("error", False, "ListingError")


@pytest.mark.parametrize("said", [{"kind": "ThrottledError"}, {}])
def test_c41_what_a_retry_can_help_is_left_to_airflows_retries(
    buckets: Buckets, said: dict[str, str]
) -> None:
    """The next try waits again; how long before it, the kind tells, if the trigger told it."""
    del buckets
    sensor = BucketDiffSensor(task_id="wait", **SIDES)
    event = {"status": "error", "message": "ThrottledError: SlowDown", "retryable": True, **said}
    with pytest.raises(S3ResumeError, match="SlowDown") as raised:
        sensor.execute_complete(context_of(sensor), event)
    rule = rule_for(raised.value)
    assert rule is not None
    assert rule.error is (ThrottledError if said else S3ResumeError)


@pytest.mark.parametrize(
    ("change", "parameter"),
    [
        ({"source_uri": "source"}, "source_uri"),
        ({"target_conn_id": "src", "target_uri": "s3://source/data/"}, "target_uri"),
        ({"rule": "name"}, "rule"),
        ({"min_objects": 0}, "min_objects"),
        ({"min_bytes": -1}, "min_bytes"),
        ({"min_age_s": "soon"}, "min_age_s"),
    ],
)
def test_bad_input_is_refused_before_the_sensor_waits(
    buckets: Buckets, change: dict[str, Any], parameter: str
) -> None:
    """In the worker, at once: not in the triggerer, some time."""
    sensor = BucketDiffSensor(task_id="wait", **{**SIDES, **change})
    with pytest.raises(AirflowFailException, match=parameter):
        sensor.execute(context_of(sensor))
    assert not buckets.target.objects
