"""What the messages of a queue say about objects: S3 event notifications, in all their wrappings.

A message is read to the end or not at all: its records become events, and what cannot be read is
named. An event says no more than "look here": what is copied, the source decides when it is asked.

Sources: "Event message structure" (notifications), "EventBridge event message structure", and
"Supported event types" of the Amazon S3 user guide; "HTTP/HTTPS notification JSON format" of
Amazon SNS. Compatible services write the first of these, too (MinIO; Ceph, whose keys are not
encoded).
"""

from __future__ import annotations

import enum
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from airflow_provider_s3resume.plan.objects import MAX_KEY_BYTES, key_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MAJOR_VERSION: Final = "2"
"""Of the structure of notifications; another one has other fields."""
_MOST_WRAPPINGS: Final = 2
_CEPH: Final = "ceph:"
_TOKEN: Final = re.compile(r"%([0-9A-Fa-f]{2})|(\+)|(%)|([^%+]+)")
_HEX: Final = re.compile(r"[0-9A-Fa-f]+\Z")
_SHOWN: Final = 120


class EventKind(enum.Enum):
    """What happened to the object, as far as it matters here.

    ``REMOVED``: deleted, hidden by a delete marker, or expired. ``OTHER``: its tags, its storage
    class and the like.
    """

    CREATED = "created"
    REMOVED = "removed"
    OTHER = "other"


_FAMILIES: Final[Mapping[str, EventKind]] = {
    "ObjectCreated": EventKind.CREATED,
    "ObjectRemoved": EventKind.REMOVED,
    "LifecycleExpiration": EventKind.REMOVED,
    # Of EventBridge.
    "Object Created": EventKind.CREATED,
    "Object Deleted": EventKind.REMOVED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectEvent:
    """One event of one object.

    :param name: in the service's words, such as ``ObjectCreated:Put`` or ``Object Created``.
    :param key: decoded.
    :param sequencer: hexadecimal; orders the events of one key, ``None`` where the service says
        none.
    :param at: seconds since the epoch, by the service's clock, ``None`` if it cannot be read.
    """

    kind: EventKind
    name: str
    bucket: str
    key: str
    sequencer: str | None = None
    at: float | None = None


class Nature(enum.Enum):
    """What a message is.

    ``TEST``: the one that S3 sends when notifications are set up. ``FOREIGN``: something else than
    events of objects. ``POISON``: events, or what seems so, that cannot be read.
    """

    EVENTS = "events"
    TEST = "test"
    FOREIGN = "foreign"
    POISON = "poison"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a message says.

    :param events: of all its records; those of a poisonous message that could be read, too.
    :param reason: why it is foreign or poisonous; nothing of its text that could be long.
    """

    nature: Nature
    events: tuple[ObjectEvent, ...] = ()
    reason: str = ""


def read_body(body: str) -> Reading:
    """Read the body of a message; whatever it holds, nothing is raised."""
    return _read(body, _MOST_WRAPPINGS)


def _read(body: str, wrappings: int) -> Reading:
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        return _poison(f"no JSON document: {type(error).__name__}")
    if not isinstance(data, dict):
        return _foreign(f"a JSON {type(data).__name__}, not an object")
    return _of_document(data, wrappings)


def _of_document(data: Mapping[str, Any], wrappings: int) -> Reading:
    if isinstance(data.get("Type"), str) and "TopicArn" in data:
        return _of_topic(data, wrappings)
    if "Records" in data:
        return _of_records(data["Records"])
    if data.get("Event") == "s3:TestEvent":
        return Reading(nature=Nature.TEST)
    if "detail-type" in data:
        return _of_bus(data)
    return _foreign("neither a notification of S3 nor one of EventBridge")


def _of_topic(data: Mapping[str, Any], wrappings: int) -> Reading:
    """Unwrap what came through SNS without raw delivery."""
    if data["Type"] != "Notification":
        return _foreign(f"SNS: {_shown(data['Type'])}")
    message = data.get("Message")
    if not isinstance(message, str):
        return _poison("SNS: a notification without a message")
    if wrappings == 0:
        return _foreign("SNS: a notification within notifications")
    return _read(message, wrappings - 1)


class _UnreadableError(Exception):
    """A record that says that it is of an object, and does not say of which."""


class _ForeignRecordError(Exception):
    """A record of another service."""


def _of_records(records: object) -> Reading:
    if not isinstance(records, list) or not records:
        return _foreign("no list of records, or an empty one")
    events: list[ObjectEvent] = []
    faults: list[str] = []
    strange: list[str] = []
    for number, record in enumerate(records):
        try:
            events.append(_event_of_record(record))
        except _UnreadableError as fault:
            faults.append(f"record {number}: {fault}")
        except _ForeignRecordError as fault:
            strange.append(f"record {number}: {fault}")
    if faults or (strange and events):
        return _poison("; ".join((faults + strange)[:3]), events)
    if strange:
        return _foreign(strange[0])
    return Reading(nature=Nature.EVENTS, events=tuple(events))


def _event_of_record(record: object) -> ObjectEvent:
    if not isinstance(record, dict):
        raise _ForeignRecordError(f"a JSON {type(record).__name__}")
    service = record.get("eventSource")
    if not isinstance(service, str) or not service.endswith(":s3"):
        raise _ForeignRecordError(f"eventSource is {_shown(service)}")
    version = record.get("eventVersion")
    if not isinstance(version, str) or version.partition(".")[0] != _MAJOR_VERSION:
        raise _UnreadableError(f"eventVersion is {_shown(version)}, accepted is {_MAJOR_VERSION}.x")
    name = record.get("eventName")
    if not isinstance(name, str) or not name:
        raise _UnreadableError(f"eventName is {_shown(name)}")
    name = name.removeprefix("s3:")
    bucket, found = _bucket_and_object(record.get("s3"))
    return ObjectEvent(
        kind=_FAMILIES.get(name.partition(":")[0], EventKind.OTHER),
        name=name,
        bucket=bucket,
        # RADOS Gateway writes keys as they are (rgw_pubsub.cc, ``rgw_pubsub_s3_event::dump``).
        key=(_checked if service.startswith(_CEPH) else _decoded)(found.get("key")),
        sequencer=_sequencer(found.get("sequencer")),
        at=_time(record.get("eventTime")),
    )


def _of_bus(data: Mapping[str, Any]) -> Reading:
    """Read an event of EventBridge; its keys are not encoded."""
    if data.get("source") != "aws.s3":
        return _foreign(f"EventBridge: source is {_shown(data.get('source'))}")
    name = data["detail-type"]
    if not isinstance(name, str) or not name:
        return _poison(f"EventBridge: detail-type is {_shown(name)}")
    try:
        bucket, found = _bucket_and_object(data.get("detail"))
        event = ObjectEvent(
            kind=_FAMILIES.get(name, EventKind.OTHER),
            name=name,
            bucket=bucket,
            key=_checked(found.get("key")),
            sequencer=_sequencer(found.get("sequencer")),
            at=_time(data.get("time")),
        )
    except _UnreadableError as fault:
        return _poison(f"EventBridge: {fault}")
    return Reading(nature=Nature.EVENTS, events=(event,))


def _bucket_and_object(data: object) -> tuple[str, Mapping[str, Any]]:
    known = data if isinstance(data, dict) else {}
    bucket, found = known.get("bucket"), known.get("object")
    name = bucket.get("name") if isinstance(bucket, dict) else None
    if not isinstance(name, str) or not name:
        raise _UnreadableError("it names no bucket")
    if not isinstance(found, dict):
        raise _UnreadableError("it names no object")
    return name, found


def decode_key(text: str) -> str:
    """Return the key that S3 wrote as ``text``: ``+`` is a space, ``%2B`` a plus, all is UTF-8.

    Signs that need no encoding may stand as they are.

    :raises ValueError: if it is not encoded so.
    """
    raw = bytearray()
    for match in _TOKEN.finditer(text):
        code, plus, stray, plain = match.groups()
        if stray:
            msg = "a '%' without two hexadecimal digits"
            raise ValueError(msg)
        raw += bytes.fromhex(code) if code else b" " if plus else plain.encode("utf-8")
    return raw.decode("utf-8")


def _decoded(text: object) -> str:
    if not isinstance(text, str):
        raise _UnreadableError(f"its key is {_shown(text)}")
    try:
        return _checked(decode_key(text))
    except ValueError as error:
        raise _UnreadableError(f"its key {_shown(text)} is not URL-encoded UTF-8") from error


def _checked(key: object) -> str:
    if not isinstance(key, str) or not key:
        raise _UnreadableError(f"its key is {_shown(key)}")
    try:
        size = len(key.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise _UnreadableError(f"its key {_shown(key)} is not UTF-8") from error
    if size > MAX_KEY_BYTES:
        raise _UnreadableError(f"its key has {size} bytes, accepted are {MAX_KEY_BYTES}")
    return key


def _sequencer(found: object) -> str | None:
    if found is None or found == "":
        return None
    if not isinstance(found, str) or not _HEX.match(found):
        raise _UnreadableError(f"its sequencer is {_shown(found)}")
    return found


def _time(found: object) -> float | None:
    try:
        read = datetime.fromisoformat(found) if isinstance(found, str) else None
    except ValueError:
        return None
    if read is None:
        return None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def _poison(reason: str, events: Iterable[ObjectEvent] = ()) -> Reading:
    return Reading(nature=Nature.POISON, events=tuple(events), reason=reason)


def _foreign(reason: str) -> Reading:
    return Reading(nature=Nature.FOREIGN, reason=reason)


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


# --- order --------------------------------------------------------------------------------------


def is_later(one: str, other: str) -> bool:
    """Tell whether ``one`` is the sequencer of a later event than ``other``, of the same key.

    Source: "Event message structure": the shorter one is filled up with zeros on its right, then
    they are compared as texts.
    """
    width = max(len(one), len(other))
    return one.lower().ljust(width, "0") > other.lower().ljust(width, "0")


def latest(events: Iterable[ObjectEvent]) -> ObjectEvent:
    """Return the latest event of one key, in whatever order they came.

    What has no sequencer is earlier than what has one, and of two without, the later time decides.

    :raises ValueError: if there is none.
    """
    found: ObjectEvent | None = None
    for event in events:
        if found is None or _follows(event, found):
            found = event
    if found is None:
        msg = "no events"
        raise ValueError(msg)
    return found


def _follows(one: ObjectEvent, other: ObjectEvent) -> bool:
    if one.sequencer is not None and other.sequencer is not None:
        return is_later(one.sequencer, other.sequencer)
    if one.sequencer is not None or other.sequencer is not None:
        return one.sequencer is not None
    return (one.at or 0.0) > (other.at or 0.0)


# --- what they ask for --------------------------------------------------------------------------


class Concern(enum.Enum):
    """What one event is to this source: ``ASKS`` to look at its key, or why it does not."""

    ASKS = "asks"
    REMOVED = "removed"
    OTHER_KIND = "other_kind"
    OTHER_PREFIX = "other_prefix"
    OTHER_BUCKET = "other_bucket"


def concern_of(event: ObjectEvent, bucket: str, prefix: str) -> Concern:
    """Return what an event is to the source in this bucket, under this prefix."""
    if event.bucket != bucket:
        return Concern.OTHER_BUCKET
    if not event.key.startswith(prefix):
        return Concern.OTHER_PREFIX
    if event.kind is EventKind.CREATED:
        return Concern.ASKS
    return Concern.REMOVED if event.kind is EventKind.REMOVED else Concern.OTHER_KIND


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the events of many messages ask for, each key once.

    :param keys: in byte order → the latest event that created it.
    :param removed: keys whose latest event is a removal; those among ``keys`` are looked at all
        the same, as a removal may be one of an old version.
    :param counts: concern → events, and ``repeated`` → events of ``keys`` beside the latest.
    """

    keys: Mapping[str, ObjectEvent]
    removed: tuple[str, ...]
    counts: Mapping[str, int]


def sort_out(readings: Iterable[Reading], bucket: str, prefix: str) -> Asked:
    """Put together what messages ask for; duplicates and their order make no difference."""
    counts = dict.fromkeys([*(concern.value for concern in Concern), "repeated"], 0)
    by_key: dict[str, list[ObjectEvent]] = {}
    for reading in readings:
        for event in reading.events:
            concern = concern_of(event, bucket, prefix)
            counts[concern.value] += 1
            if concern in {Concern.ASKS, Concern.REMOVED}:
                by_key.setdefault(event.key, []).append(event)
    keys: dict[str, ObjectEvent] = {}
    removed: list[str] = []
    for key in sorted(by_key, key=key_bytes):
        created = [event for event in by_key[key] if event.kind is EventKind.CREATED]
        if created:
            keys[key] = latest(created)
            counts["repeated"] += len(created) - 1
        if latest(by_key[key]).kind is EventKind.REMOVED:
            removed.append(key)
    return Asked(keys=keys, removed=tuple(removed), counts=counts)
