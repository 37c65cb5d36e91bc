"""What becomes of a message, decided from what became of its objects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import InvalidInputError, ManifestError
from airflow_provider_s3resume.plan.events import EventKind, Nature, ObjectEvent, Reading
from airflow_provider_s3resume.plan.messages import (
    MOST_HIDDEN_S,
    Foreign,
    KeyFate,
    KeyState,
    Message,
    Rules,
    Verb,
    judge,
    pause_s,
    still_hideable_s,
)

RULES = Rules(bucket="b", prefix="in/", dead_letters=True)
DONE = KeyFate(state=KeyState.VERIFIED)


def created(*keys: str, bucket: str = "b") -> tuple[ObjectEvent, ...]:
    """Return an event for each key."""
    return tuple(
        ObjectEvent(kind=EventKind.CREATED, name="ObjectCreated:Put", bucket=bucket, key=key)
        for key in keys
    )


def events(*keys: str, **more: Any) -> Reading:
    """Return what a message about these keys says."""
    return Reading(nature=Nature.EVENTS, events=created(*keys, **more))


def message(**more: Any) -> Message:
    """Return a message that was received at the time 1000."""
    known: dict[str, Any] = {"message_id": "m", "receipt_handle": "h", "body": "{}"}
    return Message(**{**known, "received": 1000.0, **more})


@pytest.mark.parametrize("state", [KeyState.VERIFIED, KeyState.EQUAL, KeyState.GONE])
def test_a_message_is_deleted_when_its_object_is_dealt_with(state: KeyState) -> None:
    """Copied and verified, equal anyway, or not there any more."""
    assert judge(events("in/a"), {"in/a": KeyFate(state=state)}, RULES).verb is Verb.DELETE


@pytest.mark.parametrize("fates", [{}, {"in/b": KeyFate(state=KeyState.PENDING, reason="x")}])
def test_c40_a_message_is_left_as_long_as_one_of_its_objects_is_not_verified(
    fates: dict[str, KeyFate],
) -> None:
    """Whether it failed or nothing is known of it; that is a failure of the run."""
    verdict = judge(events("in/a", "in/b"), {"in/a": DONE, **fates}, RULES)
    assert (verdict.verb, verdict.failed) == (Verb.LEAVE, True)
    assert "'in/b'" in verdict.reason


def test_what_copies_nothing_is_deleted() -> None:
    """The test message, removals, other prefixes, changes of tags."""
    assert judge(Reading(nature=Nature.TEST), {}, RULES).verb is Verb.DELETE
    assert judge(events("out/a"), {}, RULES).verb is Verb.DELETE
    for kind in (EventKind.REMOVED, EventKind.OTHER):
        found = ObjectEvent(kind=kind, name="x", bucket="b", key="in/a")
        assert judge(Reading(nature=Nature.EVENTS, events=(found,)), {}, RULES).verb is Verb.DELETE


def test_poison_is_put_aside_with_its_reason_after_its_readable_objects() -> None:
    """Until these are verified it is left."""
    poison = Reading(nature=Nature.POISON, events=created("in/a"), reason="record 1: no key")
    assert judge(poison, {}, RULES).verb is Verb.LEAVE
    verdict = judge(poison, {"in/a": DONE}, RULES)
    assert (verdict.verb, verdict.reason) == (Verb.DEAD_LETTER, "poison: record 1: no key")
    assert not verdict.failed


def test_what_can_never_be_copied_is_put_aside() -> None:
    """With the key and why."""
    fates = {"in/a": KeyFate(state=KeyState.REFUSED, reason="key_too_long")}
    verdict = judge(events("in/a"), fates, RULES)
    assert (verdict.verb, verdict.reason) == (
        Verb.DEAD_LETTER,
        "refused: key_too_long: 'in/a'",
    )


def test_without_a_dead_letter_queue_what_would_go_there_is_left() -> None:
    """The queue's own redrive policy may move it."""
    rules = Rules(bucket="b", prefix="in/")
    poison = Reading(nature=Nature.POISON, reason="no JSON")
    foreign = Reading(nature=Nature.FOREIGN, reason="of EC2")
    for reading in (poison, foreign):
        verdict = judge(reading, {}, rules)
        assert (verdict.verb, verdict.failed) == (Verb.LEAVE, False)


@pytest.mark.parametrize(
    ("policy", "verb"), [(Foreign.DEAD_LETTER, Verb.DEAD_LETTER), (Foreign.LEAVE, Verb.LEAVE)]
)
def test_foreign_messages_follow_the_policy(policy: Foreign, verb: Verb) -> None:
    """Those of other services, and those of other buckets; never silently deleted."""
    rules = Rules(bucket="b", prefix="in/", foreign=policy, dead_letters=True)
    foreign = judge(Reading(nature=Nature.FOREIGN, reason="of EC2"), {}, rules)
    assert (foreign.verb, foreign.reason, foreign.failed) == (verb, "foreign: of EC2", False)
    other = judge(events("in/a", bucket="c"), {}, rules)
    assert (other.verb, other.reason) == (verb, "foreign: an event of the bucket 'c'")


def test_a_policy_is_one_of_two_words() -> None:
    """Anything else is refused by name."""
    assert Foreign.parse("leave") is Foreign.LEAVE
    with pytest.raises(InvalidInputError, match=r"foreign_messages.*'delete'.*'dead_letter' or"):
        Foreign.parse("delete")


@pytest.mark.parametrize(
    ("received", "wanted", "left"),
    [(1000.0, 1800, 1800), (1000.0 - 43_000, 1800, 195), (1000.0 - 43_195, 1800, 0), (0.0, 60, 60)],
)
def test_nothing_is_hidden_for_longer_than_the_service_allows(
    received: float, wanted: int, left: int
) -> None:
    """Twelve hours in all, from its reception on: a call that asks for more fails."""
    assert still_hideable_s(message(received=received), wanted, now=1000.0) == left
    assert 1000.0 - received + left < MOST_HIDDEN_S


def test_a_message_that_fails_again_and_again_comes_less_often() -> None:
    """A minute, then twice as long each time, a quarter of an hour at most."""
    pauses = [pause_s(message(receive_count=count)) for count in (0, 1, 2, 3, 5, 6, 10_000)]
    assert pauses == [60, 60, 120, 240, 900, 900, 900]


def test_a_message_is_kept_as_a_line() -> None:
    """Whatever its body holds: it comes back as it was."""
    odd = message(body='line\nbreak\u2028"ü\U0001f600\\')
    line = odd.to_line()
    assert line.isascii()
    assert line.count("\n") == 1
    assert Message.from_line(line) == odd
    with pytest.raises(ManifestError, match="taken message"):
        Message.from_line(json.dumps({"message_id": "m"}))
