"""Copies that event notifications in a queue start, as functions behind queues did them."""

from __future__ import annotations

import json

from tests.dags.fake_queue import notification
from tests.support.demo_data import MIB, bytes_of
from tests.support.iam import DENIED
from tests.support.parity_events import EventTrip, events_of
from tests.support.parity_registry import case
from tests.support.parity_world import PART, World
from tests.support.wire_rules import Match, Replace, Rule

_GROUP = "events"
_NONE = (0, 0)


def _without_test_event(trip: EventTrip) -> EventTrip:
    """Take the message that tests the configuration out of the queue."""
    assert [json.loads(body)["Event"] for body in trip.drain()] == ["s3:TestEvent"]
    return trip


def _nothing_failed(trip: EventTrip) -> None:
    """Make sure that a queue is empty, and that nothing lies among the dead letters."""
    assert trip.counts() == _NONE
    assert trip.buried() == {}


@case(_GROUP, "an object is copied when its event comes")
def created(world: World) -> None:
    """Small ones, one in parts, and keys that events encode; only then the messages go."""
    trip = _without_test_event(events_of(world))
    for key in ("plain.txt", "a+b c/ü%2F€&?#.txt", "日本/語"):
        trip.source.put(key, key.encode() * 100, ContentType="text/plain")
    trip.source.put("folder/")
    trip.source.put_parts("large.bin", [bytes_of("1", PART), bytes_of("2", PART), b"end"])
    trip.wait_for(5)
    run = trip.consume(part_size=PART)
    assert not run.failed, run.failed
    assert (run.report["copied"], run.report["verified"]) == (5, 5)
    assert run.report["events"]["messages"] == 5
    trip.same()
    _nothing_failed(trip)


@case(_GROUP, "the event that tests the configuration")
def test_event(world: World) -> None:
    """It copies nothing, and goes."""
    trip = events_of(world)
    run = trip.consume()
    assert not run.failed, run.failed
    assert (run.report["events"]["test_messages"], run.report["planned"]) == (1, 0)
    assert trip.target.all_keys() == []
    _nothing_failed(trip)


@case(_GROUP, "an event that comes twice, and once more later")
def duplicate(world: World) -> None:
    """One copy, though the queue delivers at least once; what is there is not written again."""
    trip = _without_test_event(events_of(world))
    trip.source.put("small", bytes_of("small", 1_000))
    trip.source.put_parts("parts", [bytes_of("1", PART), b"end"])
    trip.wait_for(2)
    bodies = trip.drain()
    trip.send(*bodies, *bodies)
    run = trip.consume()
    assert not run.failed, run.failed
    assert (run.report["copied"], run.report["events"]["repeated"]) == (2, 2)
    before = trip.target.written()
    trip.send(*bodies)
    run = trip.consume()
    assert not run.failed, run.failed
    assert (run.report["planned"], run.report["events"]["equal"]) == (0, 2)
    assert trip.target.written() == before
    trip.same()
    _nothing_failed(trip)


@case(_GROUP, "events in another order than they happened")
def reordered(world: World) -> None:
    """An old event after a new one, in one run and in two: the newest object is what arrives."""
    trip = _without_test_event(events_of(world))
    for body in (b"first", b"second, and longer", b"third"):
        trip.source.put("object", body)
    trip.wait_for(3)
    first, second, third = sorted(trip.drain(), key=_sequencer)
    trip.send(third, first)
    run = trip.consume()
    assert not run.failed, run.failed
    assert run.report["copied"] == 1
    trip.same()
    before = trip.target.written()
    trip.send(second)
    assert trip.consume().report["planned"] == 0
    assert trip.target.written() == before
    _nothing_failed(trip)


def _sequencer(body: str) -> str:
    return str(json.loads(body)["Records"][0]["s3"]["object"]["sequencer"])


@case(_GROUP, "a removal deletes nothing, and is reported")
def removed(world: World) -> None:
    """Of an object that was copied, and of one that was gone before anybody looked."""
    trip = _without_test_event(events_of(world))
    trip.source.put("kept", b"copied before")
    trip.wait_for(1)
    trip.consume()
    old = trip.target.read("kept")
    trip.source.put("gone", b"never seen")
    for key in ("kept", "gone"):
        trip.source.client.delete_object(Bucket=trip.source.bucket, Key=key)
    trip.wait_for(3)
    run = trip.consume()
    assert not run.failed, run.failed
    assert (run.report["events"]["removed"], run.report["events"]["gone"]) == (2, 1)
    assert trip.target.all_keys() == ["kept"]
    assert trip.target.read("kept") == old
    _nothing_failed(trip)


@case(_GROUP, "messages of something else, with a reason among the dead letters")
def foreign(world: World) -> None:
    """An older tool's own jobs, what is no JSON, another bucket's; all good ones are copied.

    The others lie there as they came, so that they can be sent back.
    """
    trip = _without_test_event(events_of(world))
    trip.source.put("good", b"good")
    trip.wait_for(1)
    job = {"Src_bucket": trip.source.bucket, "Src_key": "good", "Size": 4, "versionId": "null"}
    strange = {
        json.dumps(job): "foreign: neither a notification of S3",
        "{not json": "poison: no JSON document",
        notification("key", bucket="another-bucket"): "foreign: an event of the bucket",
    }
    trip.send(*strange)
    run = trip.consume()
    assert not run.failed, run.failed
    found = trip.buried()
    assert set(found) == set(strange)
    for body, reason in strange.items():
        assert found[body].startswith(reason), found[body]
    assert trip.counts() == _NONE
    trip.same()


@case(_GROUP, "many records in one message, and prefixes")
def records(world: World) -> None:
    """All of them, where an older tool copied the last; what lies beside the prefix stays there."""
    trip = _without_test_event(events_of(world))
    keys = [f"in/{number}" for number in range(7)]
    for key in (*keys, "beside/1"):
        trip.source.put(key, key.encode())
    trip.wait_for(len(keys) + 1)
    events = [json.loads(body)["Records"][0] for body in trip.drain()]
    trip.send(json.dumps({"Records": events}))
    run = trip.consume("in/", "out/")
    assert not run.failed, run.failed
    assert (run.report["copied"], run.report["events"]["other_prefix"]) == (len(keys), 1)
    trip.arrived({f"out/{key.removeprefix('in/')}": key for key in keys})
    _nothing_failed(trip)


@case(_GROUP, "by way of SNS and of EventBridge")
def wrapped(world: World) -> None:
    """A notification within one of a topic, and an event of a bus, whose key is not encoded."""
    trip = _without_test_event(events_of(world))
    for key in ("by topic+1", "by bus+1"):
        trip.source.put(key, key.encode())
    trip.wait_for(2)
    bodies = {json.loads(one)["Records"][0]["s3"]["object"]["key"]: one for one in trip.drain()}
    topic = {
        "Type": "Notification",
        "MessageId": "1",
        "TopicArn": "arn:aws:sns:us-east-1:000000000000:new-objects",
        "Message": bodies["by+topic%2B1"],
    }
    bus = {
        "version": "0",
        "source": "aws.s3",
        "detail-type": "Object Created",
        "time": "2026-01-01T00:00:00Z",
        "detail": {
            "version": "0",
            "bucket": {"name": trip.source.bucket},
            "object": {"key": "by bus+1", "size": 8, "sequencer": "01"},
        },
    }
    trip.send(json.dumps(topic), json.dumps(bus))
    run = trip.consume()
    assert not run.failed, run.failed
    trip.same()
    _nothing_failed(trip)


@case(_GROUP, "an object that fails: its message stays and comes again")
def left(world: World) -> None:
    """The others' are gone; older tools deleted it, and lost the object until the next scan."""
    trip = _without_test_event(events_of(world))
    _, target = trip.wired(world)
    for key in ("fine", "refused"):
        trip.source.put(key, bytes_of(key, 2 * MIB))
    trip.wait_for(2)
    refused = Match(operation="PutObject", path=f"^/{trip.target.bucket}/refused$")
    target.add(Rule(when=refused, action=Replace(status=403, body=DENIED)))
    run = trip.consume()
    assert set(run.failed) == {"transfer", "verify", "report", "acknowledge"}
    assert "refused" in run.failed["report"]
    assert trip.counts() == (1, 1)
    trip.arrived({"fine": "fine"})
    target.clear()
    trip.show_again()
    before = trip.target.written()["fine"]
    run = trip.consume()
    assert not run.failed, run.failed
    assert trip.target.written()["fine"] == before
    trip.same()
    _nothing_failed(trip)


@case(_GROUP, "a scan beside the events")
def scanned(world: World) -> None:
    """It finds what events have copied, copies what they were silent about, and says since when."""
    trip = _without_test_event(events_of(world))
    trip.source.put("announced", b"announced")
    trip.wait_for(1)
    trip.consume()
    before = trip.target.written()
    trip.source.put("silent", b"nobody has told")
    trip.wait_for(1)
    assert len(trip.drain()) == 1
    run = trip.sync()
    assert run.report["copied"] == 1
    assert run.report["events"]["consumed_since"] > 0
    assert trip.target.written()["announced"] == before["announced"]
    trip.same()
