"""``QueueHook``: from an Airflow connection to a queue of events."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from airflow_provider_s3resume.exceptions import InvalidInputError
from airflow_provider_s3resume.hooks._airflow import BaseHook
from airflow_provider_s3resume.hooks._connections import Facts, read_connection
from airflow_provider_s3resume.hooks._reading import find_connection
from airflow_provider_s3resume.plan.messages import (
    MOST_HIDDEN_S,
    Message,
    still_hideable_s,
)

if TYPE_CHECKING:
    from airflow_provider_s3resume.hooks._queue_client import SqsClient

log = logging.getLogger(__name__)

MOST_OF_A_CALL: Final = 10
"""Messages that one call can be about ("Amazon SQS batch actions")."""
LONGEST_WAIT_S: Final = 20
REASON: Final = "s3resume.reason"
"""Attribute of a dead letter that says why it is one; its body is the message's own."""
_MESSAGE_ID: Final = "s3resume.message_id"
_LONGEST_REASON: Final = 1000
_COUNT: Final = "ApproximateReceiveCount"
_VISIBLE, _HIDDEN = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueDepth:
    """How many messages there are, as the service counts: about, and a little late.

    :param hidden: received by somebody and not deleted yet.
    """

    visible: int
    hidden: int


class Queue:
    """One standard queue. Messages are received, hidden, and deleted by hand.

    :param url: as the service calls it.
    """

    def __init__(self, client: SqsClient, url: str) -> None:
        self._client = client
        self.url = url

    def receive(self, most: int, *, wait_s: int, hide_s: int) -> list[Message]:
        """Receive up to ten messages; nobody else sees them for ``hide_s`` seconds.

        :param wait_s: how long to wait for the first one.
        :raises StoreError: if the service refuses.
        """
        answer = self._call(
            "ReceiveMessage",
            self._client.receive_message,
            MaxNumberOfMessages=min(most, MOST_OF_A_CALL),
            WaitTimeSeconds=min(wait_s, LONGEST_WAIT_S),
            VisibilityTimeout=hide_s,
            # The newer name of this field is not known to the boto3 of Airflow 3.0.
            AttributeNames=[_COUNT],
        )
        now = time.time()
        return [_message_of(found, now) for found in answer.get("Messages", ())]

    def delete(self, messages: Iterable[Message]) -> list[Message]:
        """Delete messages and return those that are not: somebody else has received them since.

        :raises StoreError: if the service refuses.
        """
        return self._each(
            "DeleteMessageBatch", self._client.delete_message_batch, messages, lambda _: {}
        )

    def hide(self, messages: Iterable[Message], seconds: Callable[[Message], int]) -> list[Message]:
        """Hide messages for so many seconds from now, and return those that are not hidden.

        :param seconds: 0 shows a message again.
        :raises StoreError: if the service refuses.
        """
        return self._each(
            "ChangeMessageVisibilityBatch",
            self._client.change_message_visibility_batch,
            messages,
            lambda message: {"VisibilityTimeout": seconds(message)},
        )

    def bury(self, message: Message, reason: str) -> None:
        """Put a copy of another queue's message here, with the reason as an attribute.

        :raises StoreError: if the service refuses.
        """
        texts = {REASON: _storable(reason), _MESSAGE_ID: message.message_id}
        self._call(
            "SendMessage",
            self._client.send_message,
            MessageBody=message.body,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": text} for name, text in texts.items()
            },
        )

    def depth(self) -> QueueDepth:
        """Return how many messages there are.

        :raises StoreError: if the service refuses.
        """
        answer = self._call(
            "GetQueueAttributes",
            self._client.get_queue_attributes,
            AttributeNames=[_VISIBLE, _HIDDEN],
        )
        found: Mapping[str, str] = answer.get("Attributes", {})
        return QueueDepth(visible=int(found.get(_VISIBLE, 0)), hidden=int(found.get(_HIDDEN, 0)))

    def _each(
        self,
        operation: str,
        call: Callable[..., dict[str, Any]],
        messages: Iterable[Message],
        more: Callable[[Message], dict[str, int]],
    ) -> list[Message]:
        refused: list[Message] = []
        for some in _tens(messages):
            entries = [
                {"Id": str(number), "ReceiptHandle": message.receipt_handle, **more(message)}
                for number, message in enumerate(some)
            ]
            answer = self._call(operation, call, Entries=entries)
            for failure in answer.get("Failed", ()):
                message = some[int(failure["Id"])]
                log.warning("%s of %s: %s", operation, message.message_id, failure.get("Code"))
                refused.append(message)
        return refused

    def _call(
        self,
        operation: str,
        call: Callable[..., dict[str, Any]],
        **request: Any,  # noqa: ANN401 - of the API
    ) -> dict[str, Any]:
        from airflow_provider_s3resume.storage._s3_errors import translated  # noqa: PLC0415 - boto3

        with translated(operation, self.url):
            return call(QueueUrl=self.url, **request)


def _message_of(found: Mapping[str, Any], now: float) -> Message:
    return Message(
        message_id=found["MessageId"],
        receipt_handle=found["ReceiptHandle"],
        body=found["Body"],
        received=now,
        receive_count=int(found.get("Attributes", {}).get(_COUNT, 1)),
    )


def _tens(messages: Iterable[Message]) -> Iterator[list[Message]]:
    left = iter(messages)
    while some := list(islice(left, MOST_OF_A_CALL)):
        yield some


def _storable(text: str) -> str:
    """Return a text that the service takes: no control characters, not empty, not long."""
    shown = "".join(c if c.isprintable() else " " for c in text)[:_LONGEST_REASON]
    return shown or "none"


def take(
    queue: Queue,
    *,
    most: int,
    seconds: float,
    hide_s: int,
    stopped: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
) -> list[Message]:
    """Receive messages until there are ``most``, the time is up, or a reception brings none.

    A message that comes twice is taken once, by its later reception.

    :param seconds: how long to receive, the wait for the first message included.
    :param hide_s: how long nobody else shall see them.
    :raises StoreError: if the service refuses; what was received by then comes again.
    """
    taken: dict[str, Message] = {}
    end = clock() + seconds
    while (left := most - len(taken)) > 0 and not stopped():
        # One that waits asks all machines of the service; one that does not asks a few of them.
        wait_s = 1 if taken else max(1, int(end - clock()))
        received = queue.receive(left, wait_s=wait_s, hide_s=hide_s)
        taken.update({message.message_id: message for message in received})
        if not received or clock() >= end:
            break
    return list(taken.values())


def keep_hidden(queue: Queue, messages: Sequence[Message], hide_s: int) -> int:
    """Hide messages for ``hide_s`` seconds from now, as far as the service lets them be hidden.

    :returns: how many could not be: they may come again before they are dealt with.
    :raises StoreError: if the service refuses.
    """
    now = time.time()
    able = [message for message in messages if still_hideable_s(message, hide_s, now=now) > 0]
    refused = queue.hide(able, lambda message: still_hideable_s(message, hide_s, now=now))
    return len(messages) - len(able) + len(refused)


class QueueHook(BaseHook):
    """Queues of Amazon SQS, and of services that speak its API.

    Takes the connections that :class:`~airflow_provider_s3resume.hooks.s3.S3ResumeHook` takes. An
    endpoint in it must be that of the queue's service; ``service_config`` can say one for ``sqs``
    alone. The region is the one in the queue's address, else the connection's.

    :param queue_conn_id: the connection; ``None`` for what boto3 finds on the machine by itself.
    :param parameter: what errors call the connection.
    """

    def __init__(self, queue_conn_id: str | None, *, parameter: str = "queue_conn_id") -> None:
        super().__init__()
        self.queue_conn_id = queue_conn_id
        self.parameter = parameter

    def get_queue(self, url: str, *, parameter: str = "queue_url") -> Queue:
        """Return a queue; asks no service yet.

        :raises InvalidInputError: naming the address, or the connection and what is wrong with it.
        """
        from airflow_provider_s3resume.hooks._queue_client import (  # noqa: PLC0415 - boto3
            make_queue_client,
        )

        check_queue_url(url, parameter)
        return Queue(make_queue_client(self.facts, url), url)

    @cached_property
    def facts(self) -> Facts:
        """The connection, read once and checked.

        :raises InvalidInputError: if it is missing, of another type, or has unusable fields.
        """
        if self.queue_conn_id is None:
            return Facts(conn_id=None, subject=f"{self.parameter} None")
        connection = find_connection(type(self), self.queue_conn_id, self.parameter)
        return read_connection(connection, self.parameter)


def check_queue_url(url: object, parameter: str = "queue_url") -> None:
    """Refuse what is no address of a standard queue.

    :raises InvalidInputError: naming the parameter; what may hold a secret is not repeated (c42).
    """
    accepted = "the URL of a standard queue: https://sqs.<region>.amazonaws.com/<account>/<name>"
    if not isinstance(url, str) or "@" in url or "?" in url or "#" in url:
        found = url if url is None else "a text that is no such URL (it is not repeated here)"
        raise InvalidInputError(parameter, found=found, accepted=accepted)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not parts.path.strip("/"):
        raise InvalidInputError(parameter, found=url, accepted=accepted)
    if url.endswith(".fifo"):
        raise InvalidInputError(parameter, found=url, accepted=f"{accepted}, not a FIFO queue")


def check_hide_s(parameter: str, seconds: int) -> None:
    """Refuse a time for which no message can be hidden.

    :raises InvalidInputError: naming the parameter.
    """
    least = 60
    if not least <= seconds <= MOST_HIDDEN_S:
        accepted = f"seconds from {least} to {MOST_HIDDEN_S}, which is 12 hours"
        raise InvalidInputError(parameter, found=seconds, accepted=accepted)
