"""A bucket's notifications in a queue, on a running S3 and SQS: what the services really do."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError, StoreError
from airflow_provider_s3resume.hooks.queue import Queue, QueueHook, keep_hidden, take
from airflow_provider_s3resume.plan.events import EventKind, Nature
from tests.support.ministack import MinistackServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinistackServer]:
    """Give a running MiniStack."""
    with MinistackServer(tmp_path_factory.mktemp("ministack")) as running:
        yield running


@pytest.fixture
def sqs(server: MinistackServer) -> Any:
    """Give a client of the queues that is not ours."""
    return server.sqs()


@pytest.fixture
def url(sqs: Any) -> str:
    """Give an empty queue."""
    made: str = sqs.create_queue(QueueName=f"q-{secrets.token_hex(4)}")["QueueUrl"]
    return made


@pytest.fixture
def hook(server: MinistackServer, monkeypatch: pytest.MonkeyPatch) -> QueueHook:
    """Give a hook whose connection is the server's."""
    monkeypatch.setenv("AIRFLOW_CONN_QUEUES", server.endpoint.airflow_connection())
    return QueueHook("queues")


@pytest.fixture
def queue(hook: QueueHook, url: str) -> Queue:
    """Give the queue, as operators open it."""
    return hook.get_queue(url)


def taken(queue: Queue, **more: Any) -> list[Any]:
    """Take what there is."""
    known: dict[str, Any] = {"most": 100, "seconds": 5, "hide_s": 60, "stopped": lambda: False}
    return take(queue, **{**known, **more})


def test_notifications_of_a_bucket_name_its_objects(server: MinistackServer, queue: Queue) -> None:
    """Whatever their keys: each comes out of the queue as it was put into the bucket."""
    bucket, client = f"b-{secrets.token_hex(4)}", server.client()
    client.create_bucket(Bucket=bucket)
    server.notify(bucket, queue.url)
    keys = ["plain", "a b+c%2F", "ünï/çödé€😀", "sub//dir/", "q?&=#"]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    client.delete_object(Bucket=bucket, Key="plain")
    server.wait_for_messages(queue.url, 7)
    readings = [message.reading() for message in taken(queue)]
    assert [reading.nature for reading in readings].count(Nature.TEST) == 1
    events = [event for reading in readings for event in reading.events]
    created = [event for event in events if event.kind is EventKind.CREATED]
    assert sorted(event.key for event in created) == sorted(keys)
    assert {event.bucket for event in events} == {bucket}
    assert all(event.sequencer for event in created)
    assert [event.key for event in events if event.kind is EventKind.REMOVED] == ["plain"]


def test_messages_are_hidden_shown_counted_and_deleted(queue: Queue, sqs: Any) -> None:
    """Only the latest reception's handle deletes."""
    for number in range(23):
        sqs.send_message(QueueUrl=queue.url, MessageBody=f"{number}")
    assert (queue.depth().visible, queue.depth().hidden) == (23, 0)
    first = taken(queue)
    assert sorted(int(message.body) for message in first) == list(range(23))
    assert {message.receive_count for message in first} == {1}
    assert (queue.depth().visible, queue.depth().hidden) == (0, 23)
    assert keep_hidden(queue, first, 120) == 0
    assert taken(queue, seconds=1) == []
    assert queue.hide(first[:2], lambda _: 0) == []
    second = taken(queue)
    assert {message.receive_count for message in second} == {2}
    assert {message.message_id for message in second} == {m.message_id for m in first[:2]}
    assert queue.delete(first) == first[:2]
    assert queue.delete(second) == []
    assert (queue.depth().visible, queue.depth().hidden) == (0, 0)


def test_a_dead_letter_carries_its_reason_beside_its_body(
    hook: QueueHook, queue: Queue, sqs: Any
) -> None:
    """So that it can be sent back as it is."""
    made = sqs.create_queue(QueueName=f"dead-{secrets.token_hex(4)}")["QueueUrl"]
    body = json.dumps({"ü": "\u2028 €"})
    sqs.send_message(QueueUrl=queue.url, MessageBody=body)
    [message] = taken(queue)
    hook.get_queue(made).bury(message, "poison:\nrecord 1: " + "x" * 5000)
    found = sqs.receive_message(QueueUrl=made, MessageAttributeNames=["All"])["Messages"][0]
    assert found["Body"] == body
    reason = found["MessageAttributes"]["s3resume.reason"]["StringValue"]
    assert reason.startswith("poison: record 1: xxx")
    assert len(reason) == 1000
    assert found["MessageAttributes"]["s3resume.message_id"]["StringValue"] == message.message_id


def test_c03_a_queue_that_is_not_there_is_an_error(hook: QueueHook, url: str) -> None:
    """It never passes for an empty one, and nothing is tried again."""
    missing = hook.get_queue(f"{url}-missing")
    for ask in (missing.depth, lambda: taken(missing)):
        with pytest.raises(StoreError, match="NonExistentQueue") as refused:
            ask()
        assert not refused.value.retryable


def test_c42_a_connection_that_cannot_be_used_is_named_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Of another type, or not there."""
    other = json.dumps({"conn_type": "http", "password": "very-secret"})
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", other)
    for name in ("other", "missing"):
        with pytest.raises(InvalidInputError, match="queue_conn_id") as refused:
            QueueHook(name).get_queue(url)
        assert "very-secret" not in str(refused.value)


def test_the_region_is_the_one_in_the_queues_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is signed for another region is refused by the service."""
    keys = {"conn_type": "aws", "login": "k", "password": "s"}
    monkeypatch.setenv(
        "AIRFLOW_CONN_AMAZON", json.dumps({**keys, "extra": {"region_name": "us-east-1"}})
    )
    address = "https://sqs.eu-central-1.amazonaws.com/111122223333/q"
    client: Any = QueueHook("amazon").get_queue(address)._client
    assert client.meta.region_name == "eu-central-1"
    assert client.meta.endpoint_url == "https://sqs.eu-central-1.amazonaws.com"
