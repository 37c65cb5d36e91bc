"""Messages of a queue: taken, hidden, put aside; and what is no address of a queue."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CopyStoppedError,
    InvalidInputError,
    ManifestError,
)
from airflow_provider_s3resume.hooks.queue import Queue, check_queue_url, keep_hidden, take
from airflow_provider_s3resume.hooks.sides import Sides
from airflow_provider_s3resume.hooks.taken import (
    BuriedRecord,
    Keeper,
    QueuePlace,
    TakeLimits,
    TakenReference,
    acknowledge,
    leave,
    take_messages,
)
from airflow_provider_s3resume.plan.messages import (
    MOST_HIDDEN_S,
    KeyFate,
    KeyState,
    Message,
    Rules,
)
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.dags.fake_queue import URL, MemorySqs, Queues, notification
from tests.dags.fakes import SIDES, Buckets


@pytest.fixture
def service() -> MemorySqs:
    """Give an empty queue's service."""
    return MemorySqs()


@pytest.fixture
def queue(service: MemorySqs) -> Queue:
    """Give that queue."""
    return Queue(service, URL)


def taken(queue: Queue, **more: Any) -> list[Message]:
    """Take what there is."""
    known: dict[str, Any] = {"most": 100, "seconds": 5, "hide_s": 60, "stopped": lambda: False}
    return take(queue, **{**known, **more})


def ticking(*times: float) -> Callable[[], float]:
    """Return a clock that shows these times, and the last of them from then on."""
    left = list(times)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


# --- taking -------------------------------------------------------------------------------------


def test_a_message_that_comes_twice_is_taken_once_by_its_later_reception(
    service: MemorySqs, queue: Queue
) -> None:
    """The handle of the earlier one does not delete it any more."""
    service.put("{}")
    for number in range(2):
        service.put(f'"{number}"')
    again: list[str] = []

    def show(called: str) -> None:
        if called == "ReceiveMessage" and len(again) < 2:
            again.append(called)
            service.messages[0].visible_at = service.now

    service.on_call = show
    found = taken(queue)
    assert sorted(message.message_id for message in found) == ["m1", "m2", "m3"]
    [twice] = [message for message in found if message.message_id == "m1"]
    assert twice.receive_count == 2
    assert queue.delete(found) == []
    assert service.messages == []


def test_taking_ends_when_its_time_is_up_or_it_is_told_to_stop(
    service: MemorySqs, queue: Queue
) -> None:
    """Whatever is left in the queue is for the next run."""
    for number in range(50):
        service.put(f'"{number}"')
    assert len(taken(queue, seconds=5, clock=ticking(0.0, 0.0, 4.9, 5.0))) == 20
    stops = iter([False, True])
    assert len(taken(queue, stopped=lambda: next(stops))) == 10
    assert taken(queue, stopped=lambda: True) == []


def test_the_first_question_waits_and_the_next_ones_do_not(
    service: MemorySqs, queue: Queue
) -> None:
    """No longer than there is time, than the service waits, and at least for a second."""
    for seconds, waited in ((60, 20), (7, 7), (0.5, 1)):
        service.put("{}")
        service.calls.clear()
        taken(queue, seconds=seconds, clock=lambda: 0.0)
        assert [request["WaitTimeSeconds"] for _, request in service.calls] == [waited, 1]


# --- hiding -------------------------------------------------------------------------------------


def test_a_message_whose_time_is_up_is_not_shown_by_hiding_it(
    service: MemorySqs, queue: Queue
) -> None:
    """Hidden for no time, it would come again at once; it is counted as one that may come."""
    service.put("{}")
    service.put('"old"')
    young, old = taken(queue)
    long_ago = time.time() - MOST_HIDDEN_S
    expired = Message(
        message_id=old.message_id,
        receipt_handle=old.receipt_handle,
        body=old.body,
        received=long_ago,
    )
    service.calls.clear()
    assert keep_hidden(queue, [young, expired], 600) == 1
    [(_, request)] = service.calls
    [entry] = request["Entries"]
    assert (entry["ReceiptHandle"], entry["VisibilityTimeout"]) == (young.receipt_handle, 600)
    assert [held.visible_at for held in service.messages] == [600.0, 60.0]


def test_what_is_hidden_no_more_is_counted(service: MemorySqs, queue: Queue) -> None:
    """Somebody else has received it meanwhile."""
    for number in range(12):
        service.put(f'"{number}"')
    first = taken(queue)
    service.now = 61.0
    taken(queue, most=10)
    assert keep_hidden(queue, first, 600) == 10


def test_the_message_that_is_refused_is_the_one_that_is_named(
    service: MemorySqs, queue: Queue
) -> None:
    """Wherever it stands in a call."""
    for number in range(12):
        service.put(f'"{number}"')
    messages = taken(queue)
    for place in (2, 11):
        service.messages[place].handle = "of somebody else"
    assert queue.delete(messages) == [messages[2], messages[11]]


def test_a_heartbeat_says_how_many_messages_may_come_again(
    service: MemorySqs, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    """And their file is read once."""
    service.put("{}")
    messages = taken(queue)
    service.messages[0].handle = "of somebody else"
    loaded: list[int] = []

    def load() -> list[Message]:
        loaded.append(1)
        return messages

    times = [0.0]
    keeper = Keeper(queue, load, 90, clock=lambda: times[0])
    keeper.beat()
    times[0] = 30.0
    keeper.beat()
    assert caplog.text.count("1 messages may come again") == 2
    assert len(loaded) == 1


def test_messages_that_are_left_come_again_after_a_pause(service: MemorySqs, queue: Queue) -> None:
    """The longer, the more often they came; never later than the service allows."""
    for receptions in (0, 3):
        service.put("{}").receive_count = receptions
    leave(queue, taken(queue, hide_s=30))
    assert [held.visible_at for held in service.messages] == [60.0, 480.0]


# --- the file of the messages -------------------------------------------------------------------


def reference(name: str = "runs/x/taken.jsonl") -> TakenReference:
    """Return a reference to taken messages."""
    place = QueuePlace(conn_id="src", url=URL)
    return TakenReference(sides=Sides(**SIDES), queue=place, name=name, messages=1, at=0.0)


def test_c40_messages_whose_file_is_gone_are_an_error() -> None:
    """They are never taken for none: these could all be called acknowledged."""
    state = StateLocation(MemoryStore("state"))
    with pytest.raises(ManifestError, match=r"taken messages: found 'runs/x/taken\.jsonl'"):
        reference().load(state)
    state.write_text("runs/x/taken.jsonl", '{"message_id":"m"}\n')
    with pytest.raises(ManifestError, match="taken message"):
        reference().load(state)
    state.write_text("runs/x/taken.jsonl", "")
    assert reference().load(state) == []


@pytest.mark.parametrize("kind", ["stopped", "not kept"])
def test_messages_that_no_run_goes_on_with_are_shown_again(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told to stop in between, or the state location does not take them."""
    buckets, queues = (
        Buckets.behind_connections(monkeypatch),
        Queues.behind_connections(monkeypatch),
    )
    queues.announce("data/a")
    place, sides, stop = QueuePlace(conn_id="src", url=URL), Sides(**SIDES), StopSignal()
    opened = sides.open()
    opened.state.ensure(0.0)

    def interrupt(_: str) -> None:
        if kind == "stopped":
            queues.events.on_call = lambda _: None
            stop.stop("told to stop")

    def refuse(called: str, arguments: Any) -> None:
        if called == "PutObject" and str(arguments["key"]).endswith("taken.jsonl"):
            raise AccessDeniedError(called, "s3://target/x", "made to fail")

    queues.events.on_call = interrupt
    if kind == "not kept":
        buckets.target.observer.before = refuse
    limits = TakeLimits(most=10, seconds=5)
    with pytest.raises(CopyStoppedError if kind == "stopped" else AccessDeniedError):
        take_messages(opened, sides, place.open(), place, limits, "run", stop)
    assert [held.receive_count for held in queues.events.messages] == [1]
    assert len(queues.events.visible) == 1


# --- the end ------------------------------------------------------------------------------------

RULES = Rules(bucket="source", prefix="data/", dead_letters=True)


def test_c40_a_message_is_noted_down_as_put_aside_before_it_is_deleted(
    service: MemorySqs, queue: Queue
) -> None:
    """First it lies there, then the record says so, then it goes: no step before the one before."""
    dead, order = MemorySqs(), list[str]()
    state_store = MemoryStore("state")
    service.put("poison")
    messages = taken(queue)
    service.on_call = order.append
    dead.on_call = order.append
    state_store.observer.before = lambda called, _: order.append(called)
    buried = BuriedRecord(StateLocation(state_store), "runs/x/buried.txt")
    order.clear()
    done = acknowledge(queue, Queue(dead, URL), messages, {}, RULES, buried, StopSignal())
    assert done.figures()["dead_lettered"] == 1
    assert [one for one in order if one != "HeadObject"] == [
        "SendMessage",
        "PutObject",
        "DeleteMessageBatch",
    ]
    assert "m1" in state_store.data(".s3resume/runs/x/buried.txt").decode()


def test_c40_only_what_was_dealt_with_is_deleted(service: MemorySqs, queue: Queue) -> None:
    """By its own handle, whatever stands beside it in a call; what lapsed is not called deleted."""
    fates = {"data/done": KeyFate(state=KeyState.VERIFIED)}
    for number in range(13):
        service.put(notification("data/done" if number % 3 else "data/open"))
    messages = taken(queue, hide_s=30)
    service.messages[1].handle = "of somebody else"
    buried = BuriedRecord(StateLocation(MemoryStore("state")), "b")
    done = acknowledge(queue, None, messages, fates, RULES, buried, StopSignal())
    assert done.figures() == {
        "deleted": 7,
        "dead_lettered": 0,
        "left": 5,
        "lapsed": 1,
        "failed": 5,
    }
    left = [held for held in service.messages if "open" in held.body]
    assert len(left) == 5
    assert {held.visible_at for held in left} == {60.0}
    assert len(service.messages) == 6


def test_without_a_dead_letter_queue_nothing_is_put_aside(service: MemorySqs, queue: Queue) -> None:
    """Even if somebody thinks that there is one."""
    service.put("poison")
    buried = BuriedRecord(StateLocation(MemoryStore("state")), "b")
    done = acknowledge(queue, None, taken(queue), {}, RULES, buried, StopSignal())
    assert done.figures() == {
        "deleted": 0,
        "dead_lettered": 0,
        "left": 1,
        "lapsed": 0,
        "failed": 0,
    }
    assert len(service.messages) == 1


# --- addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        None,
        7,
        "",
        "events",
        "ftp://sqs.example/1/q",
        "https:///1/q",
        "https://sqs.example",
        "https://sqs.example/",
        "https://sqs.example/1/q.fifo",
    ],
)
def test_what_is_no_address_of_a_standard_queue_is_refused_by_name(url: object) -> None:
    """Before any connection is read."""
    with pytest.raises(InvalidInputError, match="queue_url: found"):
        check_queue_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://key:hush@sqs.example/1/q",
        "https://sqs.example/1/q?X-Amz-Signature=hush",
        "https://sqs.example/1/q#hush",
    ],
)
def test_c42_an_address_that_may_hold_a_secret_is_refused_unsaid(url: str) -> None:
    """Credentials and a signature are in none that the service gives."""
    with pytest.raises(InvalidInputError, match="not repeated here") as refused:
        check_queue_url(url, "dead_letter_url")
    assert "hush" not in str(refused.value)
    assert refused.value.parameter == "dead_letter_url"


@pytest.mark.parametrize("url", [URL, "http://127.0.0.1:4566/000000000000/q"])
def test_an_address_of_a_standard_queue_is_taken(url: str) -> None:
    """Of Amazon, and of a compatible service."""
    check_queue_url(url)
