"""What becomes of messages, whatever they say and whatever became of their objects."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.plan.events import EventKind, Nature, ObjectEvent, Reading
from airflow_provider_s3resume.plan.messages import (
    Foreign,
    KeyFate,
    KeyState,
    Rules,
    Verb,
    judge,
)

KEYS = ["p/1", "p/2", "p/3", "q"]
EVENTS = st.builds(
    ObjectEvent,
    kind=st.sampled_from(EventKind),
    name=st.just("x"),
    bucket=st.sampled_from(["b", "b", "b", "c"]),
    key=st.sampled_from(KEYS),
)
READINGS = st.builds(
    Reading,
    nature=st.sampled_from(Nature),
    events=st.lists(EVENTS, max_size=5).map(tuple),
    reason=st.just("why"),
)
FATES = st.dictionaries(
    st.sampled_from(KEYS), st.builds(KeyFate, state=st.sampled_from(KeyState)), max_size=4
)
RULES = st.builds(
    Rules,
    bucket=st.just("b"),
    prefix=st.just("p/"),
    foreign=st.sampled_from(Foreign),
    dead_letters=st.booleans(),
)
DONE = {KeyState.VERIFIED, KeyState.EQUAL, KeyState.GONE}


@given(reading=READINGS, fates=FATES, rules=RULES)
def test_c40_no_message_goes_before_every_object_that_it_asks_for_is_dealt_with(
    reading: Reading, fates: dict[str, KeyFate], rules: Rules
) -> None:
    """Nor without a word: what is deleted names objects of this source's bucket, or nothing."""
    asked = {
        event.key
        for event in reading.events
        if event.kind is EventKind.CREATED and event.bucket == "b" and event.key.startswith("p/")
    }
    states = {fates[key].state if key in fates else KeyState.PENDING for key in asked}
    verdict = judge(reading, fates, rules)
    if KeyState.PENDING in states:
        assert (verdict.verb, verdict.failed) == (Verb.LEAVE, True)
        return
    assert not verdict.failed
    if verdict.verb is Verb.DELETE:
        assert states <= DONE
        assert reading.nature in {Nature.EVENTS, Nature.TEST}
        assert not _elsewhere(reading)
    if verdict.verb is Verb.DEAD_LETTER:
        assert rules.dead_letters
    if states <= DONE and reading.nature is Nature.EVENTS and not _elsewhere(reading):
        assert verdict.verb is Verb.DELETE


def _elsewhere(reading: Reading) -> bool:
    return any(event.bucket != "b" for event in reading.events)
