"""Messages about objects: every form that they come in, as the services write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_s3resume.plan.events import (
    Concern,
    EventKind,
    Nature,
    ObjectEvent,
    Reading,
    concern_of,
    decode_key,
    is_later,
    latest,
    read_body,
    sort_out,
)

DOCUMENTS = Path(__file__).resolve().parent.parent / "data" / "events"


def document(name: str) -> str:
    """Return a document as it stands in the body of a message."""
    return (DOCUMENTS / f"{name}.json").read_text(encoding="utf-8")


def record(**changes: Any) -> dict[str, Any]:
    """Return the one record of a notification, with changes at its top."""
    found: dict[str, Any] = json.loads(document("put"))["Records"][0]
    return {**found, **changes}


def with_object(**changes: Any) -> dict[str, Any]:
    """Return a record with changes of what it says about the object."""
    s3 = record()["s3"]
    return record(s3={**s3, "object": {**s3["object"], **changes}})


def body_of(*records: Any) -> str:
    """Return the body of a message with these records."""
    return json.dumps({"Records": list(records)})


def event(key: str = "k", kind: EventKind = EventKind.CREATED, **more: Any) -> ObjectEvent:
    """Return an event of the bucket ``b``."""
    return ObjectEvent(**{"kind": kind, "name": kind.value, "bucket": "b", "key": key, **more})


def test_a_notification_is_read_with_its_key_decoded() -> None:
    """``+`` is a space, ``%2B`` a plus, and the rest is UTF-8."""
    reading = read_body(document("put"))
    assert reading == Reading(
        nature=Nature.EVENTS,
        events=(
            ObjectEvent(
                kind=EventKind.CREATED,
                name="ObjectCreated:Put",
                bucket="readings",
                key="in/2026/day one/a+bü&c=%.csv",
                sequencer="0055AED6DCD90281E5",
                at=1789366893.417,
            ),
        ),
    )


def test_all_records_of_a_message_are_read() -> None:
    """Not only the last."""
    reading = read_body(document("multi"))
    assert reading.nature is Nature.EVENTS
    assert [e.key for e in reading.events] == ["in/first.csv", "in/second.bin", "in/third.csv"]
    assert {e.kind for e in reading.events} == {EventKind.CREATED}


def test_removals_are_told_from_creations() -> None:
    """Deleted, hidden by a marker, and expired."""
    reading = read_body(document("removed"))
    assert [e.name for e in reading.events] == [
        "ObjectRemoved:Delete",
        "ObjectRemoved:DeleteMarkerCreated",
        "LifecycleExpiration:Delete",
    ]
    assert {e.kind for e in reading.events} == {EventKind.REMOVED}


@pytest.mark.parametrize(
    ("name", "kind", "key"),
    [
        ("sns", EventKind.CREATED, "in/through sns.csv"),
        ("minio", EventKind.CREATED, "in/from minio.csv"),
        ("eventbridge-created", EventKind.CREATED, "in/raw+key %41 ü.csv"),
        ("eventbridge-deleted", EventKind.REMOVED, "in/old.csv"),
        ("tagging", EventKind.OTHER, "in/first.csv"),
    ],
)
def test_wrapped_and_foreign_made_notifications_are_understood(
    name: str, kind: EventKind, key: str
) -> None:
    """Through SNS, from EventBridge (which encodes no key), and from a compatible service."""
    reading = read_body(document(name))
    assert reading.nature is Nature.EVENTS
    assert [(e.kind, e.bucket, e.key) for e in reading.events] == [(kind, "readings", key)]


def test_keys_that_ceph_writes_are_taken_as_they_are() -> None:
    """RADOS Gateway does not encode them; a plus is one, and a percent sign stands by itself."""
    made = with_object(key="in/100%/a+b %41 ü.csv")
    [found] = read_body(body_of({**made, "eventSource": "ceph:s3"})).events
    assert found.key == "in/100%/a+b %41 ü.csv"
    assert read_body(body_of(made)).nature is Nature.POISON
    bad = {**with_object(key=""), "eventSource": "ceph:s3"}
    assert read_body(body_of(bad)).nature is Nature.POISON


@pytest.mark.parametrize("inner", ["put", "test-event", "eventbridge-created", "dynamodb"])
def test_what_comes_through_sns_is_what_it_was(inner: str) -> None:
    """One wrapping changes nothing, two neither; more are nobody's doing."""
    wrapped = document(inner)
    for _ in range(2):
        wrapped = json.dumps({"Type": "Notification", "TopicArn": "arn", "Message": wrapped})
        assert read_body(wrapped) == read_body(document(inner))
    wrapped = json.dumps({"Type": "Notification", "TopicArn": "arn", "Message": wrapped})
    assert read_body(wrapped).nature is Nature.FOREIGN


def test_the_message_that_tests_a_configuration_is_known() -> None:
    """S3 sends it once, when notifications are set up."""
    assert read_body(document("test-event")) == Reading(nature=Nature.TEST)


def test_c40_a_test_message_that_names_objects_is_about_objects() -> None:
    """Taken for a test alone, it would be deleted, and its object never be looked at."""
    odd = json.dumps({"Event": "s3:TestEvent", "Records": [record()]})
    assert read_body(odd) == read_body(body_of(record()))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (document("eventbridge-foreign"), "EventBridge: source is 'aws.ec2'"),
        (document("sns-confirmation"), "SNS: 'SubscriptionConfirmation'"),
        (document("dynamodb"), "record 0: eventSource is 'aws:dynamodb'"),
        ("[]", "a JSON list, not an object"),
        ("7", "a JSON int, not an object"),
        ("{}", "neither a notification of S3 nor one of EventBridge"),
        ('{"Records": []}', "no list of records, or an empty one"),
        ('{"Records": {}}', "no list of records, or an empty one"),
        ('{"Records": ["x"]}', "record 0: a JSON str"),
    ],
)
def test_foreign_messages_are_named_and_no_fault(body: str, reason: str) -> None:
    """They are somebody's, though not ours."""
    reading = read_body(body)
    assert (reading.nature, reading.events, reading.reason) == (Nature.FOREIGN, (), reason)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "no JSON document: JSONDecodeError"),
        ("not json", "no JSON document: JSONDecodeError"),
        ("[" * 200_000, "no JSON document: RecursionError"),
        ("1" * 5000, "no JSON document: ValueError"),
        (body_of(with_object(key="in/100%.csv")), "not URL-encoded UTF-8"),
        (body_of(with_object(key="in/%FF.csv")), "not URL-encoded UTF-8"),
        (body_of(with_object(key="%ED%A0%80")), "not URL-encoded UTF-8"),
        (body_of(with_object(key="\ud800")), "not URL-encoded UTF-8"),
        (body_of(with_object(key="")), "its key is ''"),
        (body_of(with_object(key=None)), "its key is None"),
        (body_of(with_object(key="k" * 1025)), "its key has 1025 bytes, accepted are 1024"),
        (body_of(with_object(sequencer="XYZ")), "its sequencer is 'XYZ'"),
        (body_of(with_object(sequencer=12)), "its sequencer is 12"),
        (body_of(record(eventVersion="3.0")), "eventVersion is '3.0', accepted is 2.x"),
        (body_of(record(eventVersion=2)), "eventVersion is 2, accepted is 2.x"),
        (body_of(record(eventName=None)), "eventName is None"),
        (body_of(record(s3=None)), "it names no bucket"),
        (body_of(record(s3={"bucket": {"name": "b"}})), "it names no object"),
        (json.dumps({"Type": "Notification", "TopicArn": "arn"}), "without a message"),
        (
            json.dumps({"Type": "Notification", "TopicArn": "arn", "Message": "{"}),
            "no JSON document",
        ),
        (json.dumps({"source": "aws.s3", "detail-type": 7}), "EventBridge: detail-type is 7"),
        (
            json.dumps({"source": "aws.s3", "detail-type": "Object Created", "detail": {}}),
            "EventBridge: it names no bucket",
        ),
    ],
)
def test_poison_has_a_reason(body: str, reason: str) -> None:
    """Whatever stands in a message, it is told, and nothing is raised."""
    reading = read_body(body)
    assert reading.nature is Nature.POISON
    assert reason in reading.reason
    assert len(reading.reason) < 1000


def test_the_readable_records_of_poison_are_events_all_the_same() -> None:
    """One record that cannot be read hides no other."""
    reading = read_body(document("lost-key"))
    assert reading.nature is Nature.POISON
    assert [e.key for e in reading.events] == ["in/good.csv"]
    assert reading.reason.startswith("record 1: its key 'in/100%.csv'")


def test_records_of_another_service_among_ours_are_poison() -> None:
    """Nobody writes such messages; what is ours in one is not lost."""
    foreign = json.loads(document("dynamodb"))["Records"][0]
    reading = read_body(body_of(record(), foreign))
    assert reading.nature is Nature.POISON
    assert len(reading.events) == 1


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("red+flower.jpg", "red flower.jpg"),
        ("a%2Bb", "a+b"),
        ("a%2fb", "a/b"),
        ("a/b//c", "a/b//c"),
        ("%C3%BC", "ü"),
        ("ü", "ü"),
        ("%E2%82%AC+%F0%9F%98%80", "€ 😀"),
        ("%25", "%"),
        ("%252B", "%2B"),
        ("%00%0A", "\0\n"),
        ("*-._~!'()", "*-._~!'()"),
    ],
)
def test_keys_are_decoded_as_s3_encodes_them(written: str, key: str) -> None:
    """As forms are, and never twice."""
    assert decode_key(written) == key


@pytest.mark.parametrize(
    ("one", "other", "later"),
    [
        ("0055AED6DCD90281E6", "0055AED6DCD90281E5", True),
        ("0055AED6DCD90281E5", "0055AED6DCD90281E6", False),
        ("0055AED6DCD90281E5", "0055AED6DCD90281E5", False),
        # The shorter one is filled up on its right: by value 2 < 10, by this rule 20 > 10.
        ("2", "10", True),
        ("10", "2", False),
        ("1", "10", False),
        ("10", "1", False),
        ("617f08299329d189", "617F08299329D188", True),
        ("617F08299329D189", "617f08299329d18a", False),
        ("0B", "0a", True),
        ("0b", "0A", True),
    ],
)
def test_sequencers_are_compared_as_s3_documents(
    one: str,
    other: str,
    later: bool,  # noqa: FBT001 - a case's outcome
) -> None:
    """Not by value, not by length, and not by the case of their digits."""
    assert is_later(one, other) is later


def test_the_latest_event_is_found_in_whatever_order_they_came() -> None:
    """By sequencer; what has none is earlier, and then time decides."""
    old, new = event(sequencer="0A", at=9.0), event(sequencer="0B", at=1.0)
    assert latest([old, new]) == latest([new, old]) == new
    bare, later = event(at=5.0), event(at=6.0)
    assert latest([later, bare, old]) == old
    assert latest([later, bare]) == latest([bare, later]) == later
    with pytest.raises(ValueError, match="no events"):
        latest([])


@pytest.mark.parametrize(
    ("found", "concern"),
    [
        (event("in/a"), Concern.ASKS),
        (event("in/"), Concern.ASKS),
        (event("out/a"), Concern.OTHER_PREFIX),
        (event("in"), Concern.OTHER_PREFIX),
        (event("in/a", bucket="c"), Concern.OTHER_BUCKET),
        (event("in/a", EventKind.REMOVED), Concern.REMOVED),
        (event("in/a", EventKind.OTHER), Concern.OTHER_KIND),
        (event("out/a", EventKind.REMOVED), Concern.OTHER_PREFIX),
    ],
)
def test_an_event_concerns_a_source_or_it_does_not(found: ObjectEvent, concern: Concern) -> None:
    """By bucket, prefix, and what happened."""
    assert concern_of(found, "b", "in/") is concern


def test_each_key_is_asked_for_once() -> None:
    """Whatever is repeated, out of order, or about something else; all is counted."""
    readings = [
        Reading(nature=Nature.EVENTS, events=(event("b", sequencer="03"), event("a"))),
        Reading(nature=Nature.EVENTS, events=(event("b", sequencer="01"), event("c"))),
        Reading(
            nature=Nature.POISON,
            events=(
                event("b", EventKind.REMOVED, sequencer="02"),
                event("c", EventKind.REMOVED, sequencer="02"),
                event("gone", EventKind.REMOVED),
                event("a", EventKind.OTHER),
                event("x", bucket="other"),
            ),
        ),
    ]
    asked = sort_out(readings, "b", "")
    assert list(asked.keys) == ["a", "b", "c"]
    assert asked.keys["b"].sequencer == "03"
    # The removal of b was before its last creation; that of c may be one of an old version.
    assert asked.removed == ("c", "gone")
    assert asked.counts == {
        "asks": 4,
        "removed": 3,
        "other_kind": 1,
        "other_prefix": 0,
        "other_bucket": 1,
        "repeated": 1,
    }
