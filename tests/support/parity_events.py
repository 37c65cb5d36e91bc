"""Trips that event notifications in a queue start, for ``make demo-parity``.

The queues are read by boto3: what is in them, and with which reasons.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from airflow_provider_s3resume.operators.acknowledge_events import AcknowledgeEventsOperator
from airflow_provider_s3resume.operators.copy_events import EventCopyOperator
from airflow_provider_s3resume.operators.plan_events import PlanEventsOperator
from airflow_provider_s3resume.operators.report import ReportSyncOperator
from airflow_provider_s3resume.operators.take_events import TakeEventsOperator
from airflow_provider_s3resume.operators.verify import VerifyCopyOperator
from tests.support.ministack import MinistackServer
from tests.support.parity_world import STATE_BUCKET, S3Trip, World, context_for

_COUNTS = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
_BATCH = 10


@dataclass(kw_only=True, slots=True)
class EventRun:
    """What the tasks of a run came to.

    :param report: its figures, those of a run that failed, too.
    :param failed: the task that failed → what it said.
    """

    report: Mapping[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class EventTrip(S3Trip):
    """From a bucket that tells a queue of its objects."""

    def __init__(self, trip: S3Trip, server: MinistackServer) -> None:
        super().__init__(trip.source, trip.target, trip.number)
        self._sqs = server.sqs()
        self.queue, self.dead_letters = (
            str(self._sqs.create_queue(QueueName=f"{name}-{trip.number}")["QueueUrl"])
            for name in ("events", "dead")
        )
        self._wait_for_messages = server.wait_for_messages
        self._run_id = ""
        server.notify(trip.source.bucket, self.queue)
        # The service's own, which tests the configuration.
        self.wait_for(1)

    # The queues, as another tool sees them.

    def wait_for(self, count: int) -> None:
        """Return once the queue holds so many messages."""
        self._wait_for_messages(self.queue, count)

    def counts(self) -> tuple[int, int]:
        """Return how many messages are there, and how many of them are hidden."""
        asked = self._sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=list(_COUNTS))
        visible, hidden = (int(asked["Attributes"][name]) for name in _COUNTS)
        return visible + hidden, hidden

    def drain(self) -> list[str]:
        """Take all messages out of the queue, and return their bodies."""
        bodies = []
        while found := self._receive(self.queue):
            for message in found:
                bodies.append(message["Body"])
                handle = message["ReceiptHandle"]
                self._sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=handle)
        return bodies

    def send(self, *bodies: str) -> None:
        """Put messages into the queue."""
        for body in bodies:
            self._sqs.send_message(QueueUrl=self.queue, MessageBody=body)

    def buried(self) -> dict[str, str]:
        """Return body → reason of all dead letters."""
        found = {}
        while messages := self._receive(self.dead_letters):
            for one in messages:
                found[one["Body"]] = one["MessageAttributes"]["s3resume.reason"]["StringValue"]
        return found

    def show_again(self) -> None:
        """Let hidden messages be seen now, as they would be when their time is up.

        Their handles stand in the records of the latest run.
        """
        client, prefix = self.target.client, f".s3resume/runs/dag/{self._run_id}/"
        kept = client.list_objects_v2(Bucket=STATE_BUCKET, Prefix=prefix)["Contents"]
        (key,) = (one["Key"] for one in kept if one["Key"].endswith("/taken.jsonl"))
        lines = client.get_object(Bucket=STATE_BUCKET, Key=key)["Body"].read().splitlines()
        for line in lines:
            handle = json.loads(line)["receipt_handle"]
            # Of those that were deleted there is none.
            with suppress(ClientError):
                self._sqs.change_message_visibility(
                    QueueUrl=self.queue, ReceiptHandle=handle, VisibilityTimeout=0
                )

    def _receive(self, url: str) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=_BATCH, MessageAttributeNames=["All"]
        )
        return list(answer.get("Messages", ()))

    # The run.

    def consume(self, source_prefix: str = "", target_prefix: str = "", **copying: Any) -> EventRun:
        """Run all six tasks, the last three whatever became of the others, as Airflow does."""
        run = EventRun()
        run_id = self._run_id = f"parity_{self.number}_{next(self._runs)}"
        sides = self.sides(source_prefix, target_prefix)
        take = TakeEventsOperator(
            task_id="take",
            queue_url=self.queue,
            dead_letter_url=self.dead_letters,
            seconds=1,
            **sides,
        )
        taken = take.execute(context_for(take, run_id))
        diff = PlanEventsOperator(task_id="diff", taken=taken)
        context = context_for(diff, run_id)
        for batch in diff.execute(context):
            copy = EventCopyOperator(task_id="transfer", taken=taken, batch=batch, **copying)
            of_batch = context_for(copy, run_id, batch["index"])
            _try(run, "transfer", partial(copy.execute, of_batch))
        plan = context["ti"].xcoms["plan"]
        verify = VerifyCopyOperator(task_id="verify", plan=plan)
        _try(run, "verify", lambda: verify.execute(context_for(verify, run_id)))
        report = ReportSyncOperator(task_id="report", plan=plan)
        told = context_for(report, run_id)
        _try(run, "report", lambda: report.execute(told))
        run.report = told["ti"].xcoms["report"]
        last = AcknowledgeEventsOperator(task_id="acknowledge", taken=taken, plan=plan)
        _try(run, "acknowledge", lambda: last.execute(context_for(last, run_id)))
        return run


def events_of(world: World) -> EventTrip:
    """Give a bucket of MiniStack that tells a queue of its objects, and one of SeaweedFS."""
    return EventTrip(world.other_kinds(), world.ministack)


def _try(run: EventRun, name: str, execute: Callable[[], object]) -> None:
    try:
        execute()
    except Exception as error:  # noqa: BLE001 - what a task came to is what the case looks at
        run.failed[name] = str(error)
