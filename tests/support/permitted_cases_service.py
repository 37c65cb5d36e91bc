"""Copies by the service, and runs that a queue starts, as limited identities use them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from airflow_provider_s3resume.operators.acknowledge_events import AcknowledgeEventsOperator
from airflow_provider_s3resume.operators.copy_events import EventCopyOperator
from airflow_provider_s3resume.operators.plan_events import PlanEventsOperator
from airflow_provider_s3resume.operators.take_events import TakeEventsOperator
from airflow_provider_s3resume.plan.policies import Resources
from airflow_provider_s3resume.sensors.s3_events import S3EventsSensor
from tests.dags.fake_queue import notification
from tests.dags.fakes import context_of
from tests.support.demo_data import bytes_of
from tests.support.parity_world import PART, PARTS_OF_5_MIB, S3Trip, World
from tests.support.permitted_cases_attributes import KEY, keep_versions, put_version
from tests.support.permitted_features import (
    PREFIXES,
    FeatureWorld,
    Stage,
    between,
    mirrored,
    using,
)
from tests.support.queue_gate import arn_of
from tests.support.wire_rules import Match, Rewrite, Rule

_BELOW = PREFIXES[0]
_ONE_REQUEST = "the service copies an object in one request"
_LOOKED_AT = {"s3:GetObject": "AccessDenied.*HeadObject.*target_conn_id"}
_LARGE = 300 * 1024
"""Bytes of an object that is too large for the lane of small ones."""
_SMALL_PUTS = {"max_single_put": PART}
_TELLS_TAGS = Rewrite(headers={"x-amz-tagging-count": "1"})
"""As HeadObject of Amazon S3 does."""


# --- both sides are one service -----------------------------------------------------------------


def _by_service(world: World, trip: S3Trip, *names: str, **more: Any) -> Stage:
    def act() -> None:
        report = trip.sync(*PREFIXES, server_side_copy="require", **PARTS_OF_5_MIB).report
        assert (report["by_service"], report["bytes"]) == (len(names), 0)

    return between(world, trip, act, mirrored(trip, *names), one_service=True, **more)


@using(_ONE_REQUEST, names=_LOOKED_AT, enforced=frozenset({"s3:GetObject"}))
def in_one_request(world: World) -> Stage:
    """With its headers, which the source's identity reads."""
    trip = world.plain()
    for name, size in (("small", 10), ("large", _LARGE)):
        body = bytes_of(name, size)
        trip.source.put(f"{_BELOW}{name}", body, CacheControl="no-store")
    trip.source.put("beside", b"nobody may read this")
    return _by_service(world, trip, "small", "large")


@using(
    "an object in parts, or one of more than 5 GiB, resumed in either way",
    names=_LOOKED_AT,
    enforced=frozenset({"s3:GetObject"}),
)
def in_parts(world: World) -> Stage:
    """As it is larger than what the target takes in one request."""
    trip = world.plain(limits=_SMALL_PUTS)
    trip.source.put(f"{_BELOW}parts", bytes_of("parts", PART + 3))
    return _by_service(world, trip, "parts")


@using(
    "a chosen version, copied by the service",
    unmade=frozenset({"UploadPartCopy"}),
    names={"s3:GetObjectVersion": "AccessDenied.*HeadObject"},
)
def version(world: World) -> Stage:
    """With its tags, though there are newer ones."""
    trip = world.plain()
    keep_versions(trip.source)
    key = f"{_BELOW}a"
    wanted = put_version(trip.source, key, bytes_of("a", _LARGE), Tagging="class=public")
    put_version(trip.source, key, b"newer")

    def arrived() -> None:
        assert trip.target.read("out/a") == trip.source.read(key, version_id=wanted)
        assert "PutObject" not in {
            one.operation for one in made.exchanges if one.path.endswith("/out/a")
        }

    act = partial(trip.copy, key, "out/a", source_version_id=wanted, server_side_copy="require")
    made = between(world, trip, act, arrived, one_service=True)
    made.target_wire.add(
        Rule(when=Match(operation="HeadObject", query={"versionId": wanted}), action=_TELLS_TAGS)
    )
    made.told = lambda _: not trip.target.read("out/a").tags
    return made


@using(
    "a source that KMS encrypts, copied by the service",
    "A source that KMS encrypts",
    _ONE_REQUEST,
    "an object in parts, or one of more than 5 GiB, resumed in either way",
    names={"kms:Decrypt": "target_conn_id"},
)
def of_a_key(world: World) -> Stage:
    """In one request, and in parts."""
    trip = world.plain(limits=_SMALL_PUTS)
    encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": KEY}
    trip.source.put(f"{_BELOW}large", bytes_of("large", _LARGE), **encrypted)
    trip.source.put(f"{_BELOW}parts", bytes_of("parts", PART + 3), **encrypted)
    return _by_service(world, trip, "large", "parts", resources=Resources(kms_key_source=KEY))


@using(
    "relayed where the service does not copy, with the reason in the report (relayed_because)",
    refused=frozenset({"s3:GetObject"}),
)
def relayed(world: World) -> Stage:
    """As the target's identity may not look at the source."""
    trip = world.plain()
    trip.source.put(f"{_BELOW}large", bytes_of("large", _LARGE))

    def act() -> None:
        report = trip.sync(*PREFIXES).report
        (reason,) = report["relayed_because"]
        assert "cannot read the source" in reason

    return between(world, trip, act, mirrored(trip, "large"), one_service=True)


# --- runs that a queue starts -------------------------------------------------------------------


class _Events:
    """Two queues, and a run over what is in the first.

    :param bodies: the messages; those that name an object name the first of the trip's.
    """

    def __init__(
        self, world: FeatureWorld, *bodies: Callable[[str], str], dead_letters: bool = False
    ) -> None:
        self.trip = world.s3()
        for name in ("a", "b"):
            self.trip.source.put(f"{_BELOW}{name}", bytes_of(name, 2_000))
        self.gate = world.queues()
        self._sqs = world.ministack.sqs()
        self._sides = self.trip.sides(*PREFIXES)
        self._number = 0
        mark = secrets.token_hex(4)
        urls = [
            self._sqs.create_queue(QueueName=f"{name}-{mark}")["QueueUrl"]
            for name in ("events", "dead")
        ]
        self._dead = urls[1]
        self.conn_id = f"{self._sides['source_conn_id']}_queue"
        end = world.ministack.endpoint.through(self.gate.url)
        os.environ[f"AIRFLOW_CONN_{self.conn_id.upper()}"] = end.airflow_connection()
        self.queue: dict[str, Any] = {"queue_conn_id": self.conn_id, "queue_url": urls[0]}
        self._more: dict[str, Any] = {"dead_letter_url": urls[1]} if dead_letters else {}
        self._more |= {"most_messages": len(bodies), "seconds": 2}
        for body in bodies:
            self._sqs.send_message(QueueUrl=urls[0], MessageBody=body(self.trip.source.bucket))
        region = end.region
        self.resources = Resources(
            queue=arn_of(urls[0], region),
            dead_letters=arn_of(urls[1], region) if dead_letters else None,
        )

    def stage(self, world: World, act: Callable[[], object], *, dead: int = 0) -> Stage:
        """Return the stage of a run that leaves so many dead letters."""

        def arrived() -> None:
            self.trip.arrived({"out/a": f"{_BELOW}a"})
            names = ["ApproximateNumberOfMessages"]
            asked = self._sqs.get_queue_attributes(QueueUrl=self._dead, AttributeNames=names)
            assert asked["Attributes"] == {names[0]: str(dead)}

        made = between(world, self.trip, act, arrived, resources=self.resources, queue=self.gate)
        made.told = lambda log: "messages are not kept hidden" in log
        return made

    def run(self) -> None:
        """Do what the six tasks of a run do."""
        take = TakeEventsOperator(task_id="take", **self._sides, **self.queue, **self._more)
        taken = take.execute(self._context(take))
        diff = PlanEventsOperator(task_id="diff", taken=taken)
        context = self._context(diff)
        batches = diff.execute(context)
        plan = context["ti"].xcoms["plan"]
        for batch in batches:
            copy = EventCopyOperator(task_id="transfer", taken=taken, batch=batch)
            copy.execute(self._context(copy))
        self.trip.finish(plan)
        last = AcknowledgeEventsOperator(task_id="acknowledge", taken=taken, plan=plan)
        last.execute(self._context(last))

    def _context(self, task: Any) -> Any:
        self._number += 1
        context = context_of(task)
        context["ti"].run_id = f"events_{self.trip.number}_{self._number}"
        return context


def _about(*keys: str) -> Callable[[str], str]:
    return lambda bucket: notification(*keys, bucket=bucket)


_A = _about(f"{_BELOW}a")
_COPIES = "copies that a queue of events starts (DAG s3_event_driven_copy)"
_DEAD_LETTERS = "dead letters with a reason"


@using(
    _COPIES,
    "how much one run takes",
    "objects that events have missed, in the report of the scan",
    names={"sqs:ReceiveMessage": "ReceiveMessage", "sqs:DeleteMessage": "DeleteMessageBatch"},
)
def events(world: FeatureWorld) -> Stage:
    """One message, and the scan after it."""
    made = _Events(world, _A)

    def act() -> None:
        made.run()
        report = made.trip.sync(*PREFIXES, planning={"plan_only": True}).report
        assert "missed" in str(report["events"])

    return made.stage(world, act)


@using(
    "start by a watcher of the triggerer, or by a deferred sensor",
    _COPIES,
    names={"sqs:GetQueueAttributes": "GetQueueAttributes"},
)
def sensed(world: FeatureWorld) -> Stage:
    """Ask by the sensor what the watcher asks."""
    made = _Events(world, _A)

    def act() -> None:
        sensor = S3EventsSensor(task_id="sense", deferrable=False, **made.queue)
        assert sensor.poke(context_of(sensor))
        made.run()

    return made.stage(world, act)


def _with_dead_letters(world: FeatureWorld, bodies: Sequence[Callable[[str], str]]) -> Stage:
    made = _Events(world, *bodies, dead_letters=True)
    return made.stage(world, made.run, dead=1)


using(
    _DEAD_LETTERS,
    _COPIES,
    names={
        "sqs:SendMessage": "the dead-letter queue does not take them",
        "sqs:GetQueueAttributes": "GetQueueAttributes.*dead_letter_url",
    },
)(partial(_with_dead_letters, bodies=(_A, lambda _: "no event at all")))
using(
    "foreign messages put aside or left",
    _DEAD_LETTERS,
    _COPIES,
    names={"sqs:SendMessage": "the dead-letter queue does not take them"},
)(partial(_with_dead_letters, bodies=(_A, lambda _: notification("k", bucket="foreign"))))


@using("messages hidden while their objects are copied", _COPIES)
def hidden(world: FeatureWorld) -> Stage:
    """By each task anew."""
    made = _Events(world, _A)
    return made.stage(world, made.run)
