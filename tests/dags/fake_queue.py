"""Queues in memory, at the calls of the SQS API: what a service would answer."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote_plus

import pytest

from airflow_provider_s3resume.hooks.queue import Queue, QueueHook, check_queue_url

URL = "https://sqs.eu-central-1.amazonaws.com/111122223333/events"
DEAD_URL = "https://sqs.eu-central-1.amazonaws.com/111122223333/dead"


@dataclass(slots=True, kw_only=True)
class Held:
    """One message of a queue."""

    message_id: str
    body: str
    handle: str = ""
    receive_count: int = 0
    visible_at: float = 0.0
    attributes: dict[str, Any] = field(default_factory=dict)


class MemorySqs:
    """One queue. Its clock stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0
        self.messages: list[Held] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.on_call: Callable[[str], None] = lambda _: None
        self._numbers = itertools.count(1)

    def put(self, body: str) -> Held:
        """Let a message come."""
        held = Held(message_id=f"m{next(self._numbers)}", body=body)
        self.messages.append(held)
        return held

    @property
    def visible(self) -> list[Held]:
        """The messages that a reception would bring."""
        return [held for held in self.messages if held.visible_at <= self.now]

    def receive_message(self, **request: Any) -> dict[str, Any]:
        """Receive, and hide."""
        self._note("ReceiveMessage", request)
        found = self.visible[: request["MaxNumberOfMessages"]]
        for held in found:
            held.handle = f"h{next(self._numbers)}"
            held.receive_count += 1
            held.visible_at = self.now + request["VisibilityTimeout"]
        return {"Messages": [_told(held) for held in found]} if found else {}

    def delete_message_batch(self, **request: Any) -> dict[str, Any]:
        """Delete by the latest handle."""
        return self._each("DeleteMessageBatch", request, lambda held, _: self.messages.remove(held))

    def change_message_visibility_batch(self, **request: Any) -> dict[str, Any]:
        """Hide anew, or show."""

        def hide(held: Held, entry: dict[str, Any]) -> None:
            held.visible_at = self.now + entry["VisibilityTimeout"]

        return self._each("ChangeMessageVisibilityBatch", request, hide)

    def send_message(self, **request: Any) -> dict[str, Any]:
        """Take a message."""
        self._note("SendMessage", request)
        held = self.put(request["MessageBody"])
        held.attributes = request["MessageAttributes"]
        return {"MessageId": held.message_id}

    def get_queue_attributes(self, **request: Any) -> dict[str, Any]:
        """Count."""
        self._note("GetQueueAttributes", request)
        visible = len(self.visible)
        return {
            "Attributes": {
                "ApproximateNumberOfMessages": str(visible),
                "ApproximateNumberOfMessagesNotVisible": str(len(self.messages) - visible),
            }
        }

    def _each(
        self, name: str, request: dict[str, Any], act: Callable[[Held, dict[str, Any]], None]
    ) -> dict[str, Any]:
        self._note(name, request)
        assert 0 < len(request["Entries"]) <= 10
        done, failed = [], []
        for entry in request["Entries"]:
            held = next((h for h in self.messages if h.handle == entry["ReceiptHandle"]), None)
            if held is None:
                failed.append({"Id": entry["Id"], "Code": "ReceiptHandleIsInvalid"})
            else:
                act(held, entry)
                done.append({"Id": entry["Id"]})
        return {"Successful": done, "Failed": failed}

    def _note(self, name: str, request: dict[str, Any]) -> None:
        self.on_call(name)
        self.calls.append((name, request))


def _told(held: Held) -> dict[str, Any]:
    return {
        "MessageId": held.message_id,
        "ReceiptHandle": held.handle,
        "Body": held.body,
        "Attributes": {"ApproximateReceiveCount": str(held.receive_count)},
    }


class Queues:
    """A queue of events and one of dead letters, behind the connection of the source."""

    def __init__(self) -> None:
        self.events = MemorySqs()
        self.dead = MemorySqs()
        self.opened: list[tuple[str | None, str]] = []

    @classmethod
    def behind_connections(cls, monkeypatch: pytest.MonkeyPatch) -> Self:
        """Return queues that every hook finds instead of real ones."""
        queues = cls()

        def get_queue(hook: QueueHook, url: str, *, parameter: str = "queue_url") -> Queue:
            check_queue_url(url, parameter)
            queues.opened.append((hook.queue_conn_id, url))
            return Queue({URL: queues.events, DEAD_URL: queues.dead}[url], url)

        monkeypatch.setattr(QueueHook, "get_queue", get_queue)
        return queues

    def announce(self, *keys: str, bucket: str = "source", name: str = "ObjectCreated:Put") -> Held:
        """Let one message come with a record for each key, as S3 writes it."""
        return self.events.put(notification(*keys, bucket=bucket, name=name))

    def dead_letters(self) -> dict[str, str]:
        """Return body → reason of all dead letters."""
        return {
            held.body: held.attributes["s3resume.reason"]["StringValue"]
            for held in self.dead.messages
        }


def notification(*keys: str, bucket: str = "source", name: str = "ObjectCreated:Put") -> str:
    """Return a body with a record for each key."""
    records = [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventTime": "2026-09-14T06:21:33.417Z",
            "eventName": name,
            "s3": {
                "bucket": {"name": bucket},
                "object": {"key": quote_plus(key, safe="/"), "sequencer": f"{number:016X}"},
            },
        }
        for number, key in enumerate(keys, 1)
    ]
    return json.dumps({"Records": records})
