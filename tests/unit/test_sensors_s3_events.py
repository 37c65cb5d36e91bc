"""Waiting for messages: in a worker, in the triggerer, and for a schedule; nothing is taken."""

from __future__ import annotations

import asyncio
import importlib
import itertools
import json
from typing import Any

import pytest
from airflow.sdk import AssetWatcher
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.serialization.encoders import encode_trigger

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    InvalidInputError,
    ReportedError,
    ThrottledError,
)
from airflow_provider_s3resume.operators.events import events_schedule, needs_sensor
from airflow_provider_s3resume.sensors.s3_events import S3EventsSensor
from airflow_provider_s3resume.triggers.s3_events import (
    QueueQuestion,
    S3EventsTrigger,
    S3EventsWatch,
)
from tests.dags.fake_queue import URL, Queues
from tests.dags.fakes import context_of


@pytest.fixture
def queues(monkeypatch: pytest.MonkeyPatch) -> Queues:
    """Give an empty queue."""
    return Queues.behind_connections(monkeypatch)


def sensor(**more: Any) -> S3EventsSensor:
    """Return a sensor that asks often."""
    known: dict[str, Any] = {"queue_conn_id": "src", "queue_url": URL, "poke_interval": 0.05}
    return S3EventsSensor(task_id="wait", **{**known, **more})


def again(trigger: Any) -> Any:
    """Return a trigger made from what was stored of it, as another triggerer does."""
    path, kwargs = trigger.serialize()
    module, _, name = path.rpartition(".")
    made = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(kwargs)))
    assert made.serialize() == trigger.serialize()
    return made


def payloads(trigger: Any, count: int) -> list[Any]:
    """Run a trigger until it has yielded so many events."""

    async def run() -> list[Any]:
        found = []
        async with asyncio.timeout(20):
            async for event in trigger.run():
                found.append(event.payload)
                if len(found) == count:
                    return found
        return found

    return asyncio.run(run())


def test_the_sensor_defers_and_goes_on_when_there_is_a_message(queues: Queues) -> None:
    """The message stays as it was: nobody has received it."""
    waiting = sensor()
    with pytest.raises(TaskDeferred) as deferred:
        waiting.execute(context_of(waiting))
    trigger = again(deferred.value.trigger)
    assert isinstance(trigger, S3EventsTrigger)

    async def run() -> Any:
        loop, second, count = asyncio.get_running_loop(), asyncio.Event(), itertools.count(1)

        def tell(_: str) -> None:
            if next(count) == 2:
                loop.call_soon_threadsafe(second.set)

        queues.events.on_call = tell
        asked = asyncio.ensure_future(anext(trigger.run()))
        async with asyncio.timeout(20):
            await second.wait()
        assert not asked.done()
        queues.announce("data/a")
        async with asyncio.timeout(20):
            return (await asked).payload

    event = asyncio.run(run())
    assert event == {"status": "waiting", "messages": 1}
    waiting.execute_complete(context_of(waiting), event)
    assert {name for name, _ in queues.events.calls} == {"GetQueueAttributes"}
    assert queues.events.messages[0].receive_count == 0


def test_a_sensor_that_does_not_defer_asks_the_same_question(queues: Queues) -> None:
    """And goes on when there is one."""
    waiting = sensor(deferrable=False)
    assert not waiting.poke(context_of(waiting))
    queues.announce("data/a")
    assert waiting.poke(context_of(waiting))
    waiting.execute(context_of(waiting))


def test_messages_that_somebody_is_about_are_not_waited_for(queues: Queues) -> None:
    """They are hidden: a run has them."""
    queues.announce("data/a")
    queues.events.receive_message(MaxNumberOfMessages=10, VisibilityTimeout=60)
    assert QueueQuestion(conn_id="src", url=URL).ask() == 0


@pytest.mark.parametrize("url", ["", "events", f"{URL}.fifo"])
def test_bad_input_is_refused_before_anything_is_waited_for(queues: Queues, url: str) -> None:
    """By name."""
    waiting = sensor(queue_url=url)
    with pytest.raises(AirflowFailException, match="queue_url") as refused:
        waiting.execute(context_of(waiting))
    assert isinstance(refused.value.__cause__, InvalidInputError)
    assert queues.opened == []


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (AccessDeniedError("GetQueueAttributes", URL, "AccessDenied"), AirflowFailException),
        (ThrottledError("GetQueueAttributes", URL, "RequestThrottled"), ReportedError),
    ],
)
def test_c41_a_queue_that_cannot_be_asked_is_an_error_and_never_an_empty_one(
    queues: Queues, error: Exception, raised: type[Exception]
) -> None:
    """Hopeless ones fail at once, the others are left to Airflow's retries."""

    def refuse(_: str) -> None:
        raise error

    queues.events.on_call = refuse
    [event] = payloads(S3EventsTrigger("src", URL, 0.01), 1)
    assert event["status"] == "error"
    with pytest.raises(raised, match=type(error).__name__):
        sensor().execute_complete(context_of(sensor()), event)


def test_a_watch_tells_of_messages_again_and_again(queues: Queues) -> None:
    """With a pause between two events; a queue that does not answer ends nothing."""
    queues.announce("data/a")
    answers = iter([None, ThrottledError("GetQueueAttributes", URL, "HTTP 503"), None])

    def answer(_: str) -> None:
        error = next(answers)
        if error is not None:
            raise error

    queues.events.on_call = answer
    watch = again(S3EventsWatch("src", URL, 0.01, 0.02))
    assert payloads(watch, 2) == [{"queue": URL, "messages": 1}] * 2
    # Once for the first two questions, and anew after the error.
    assert len(queues.opened) == 2


def test_a_schedule_is_what_airflow_can_do(queues: Queues) -> None:
    """Runs by events, else one that waits, else by hand; reading it asks nobody."""
    assert events_schedule("src", "") is None
    assert events_schedule("src", URL, watch=False) == "@continuous"
    assert needs_sensor(events_schedule("src", URL, watch=False))
    schedule: Any = events_schedule("src", URL, poll_interval_s=5)
    assert not needs_sensor(schedule)
    [asset] = schedule
    [watcher] = asset.watchers
    assert isinstance(watcher, AssetWatcher)
    assert watcher.trigger.serialize() == S3EventsWatch("src", URL, 5, 15.0).serialize()
    # The form that the DAG processor stores and the triggerer is given.
    stored = json.loads(json.dumps(encode_trigger(watcher.trigger)))
    assert stored["classpath"].endswith(".S3EventsWatch")
    assert stored["kwargs"]["queue_url"] == URL
    assert queues.opened == []
