"""Events: keys, orders and bodies of every kind."""

from __future__ import annotations

import json
import urllib.parse
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_s3resume.plan.events import (
    EventKind,
    Nature,
    ObjectEvent,
    Reading,
    decode_key,
    is_later,
    read_body,
    sort_out,
)

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
HEX = st.text("0123456789abcdefABCDEF", min_size=1, max_size=20)
NAMES = [
    *("Records", "s3", "bucket", "object", "key", "name", "eventName", "eventSource"),
    *("eventVersion", "Type", "TopicArn", "Message", "detail", "detail-type", "source"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(KEYS)
def test_a_key_comes_out_as_it_was_encoded(key: str) -> None:
    """By the standard library's form encoding, with and without slashes."""
    assert decode_key(urllib.parse.quote_plus(key)) == key
    assert decode_key(urllib.parse.quote_plus(key, safe="/")) == key


@given(JSON)
def test_no_document_makes_the_reader_fail(document: object) -> None:
    """What is no event has a reason."""
    reading = read_body(json.dumps(document))
    assert reading.reason or reading.nature in {Nature.EVENTS, Nature.TEST}


@given(st.text())
def test_no_text_makes_the_reader_fail(text: str) -> None:
    """Nor does what is no document at all."""
    assert read_body(text).nature in {Nature.POISON, Nature.FOREIGN}


@given(HEX, HEX, HEX)
def test_sequencers_have_an_order(one: str, two: str, three: str) -> None:
    """Antisymmetric and transitive, so a latest one exists whatever the order of arrival."""
    assert not (is_later(one, two) and is_later(two, one))
    if is_later(one, two) and is_later(two, three):
        assert is_later(one, three)


EVENTS = st.builds(
    ObjectEvent,
    kind=st.sampled_from(EventKind),
    name=st.just("x"),
    bucket=st.sampled_from(["b", "c"]),
    key=st.sampled_from(["p/1", "p/2", "q"]),
    sequencer=st.none() | st.sampled_from(["01", "1", "02", "0201"]),
    at=st.none(),
)


@given(st.lists(EVENTS, max_size=12), st.randoms(use_true_random=False))
def test_duplicates_and_order_make_no_difference(events: list[ObjectEvent], chance: Random) -> None:
    """The same keys are asked for, and the latest event of each is as late."""
    shuffled = [*events, *events[:3]]
    chance.shuffle(shuffled)
    one = sort_out([Reading(nature=Nature.EVENTS, events=tuple(events))], "b", "p/")
    other = sort_out([Reading(nature=Nature.EVENTS, events=(e,)) for e in shuffled], "b", "p/")
    assert list(one.keys) == list(other.keys)
    for key, event in one.keys.items():
        width = 8
        mine, theirs = event.sequencer or "", other.keys[key].sequencer or ""
        assert mine.ljust(width, "0") == theirs.ljust(width, "0")
    assert set(one.keys) == {e.key for e in events if _asks(e)}


def _asks(event: ObjectEvent) -> bool:
    wanted = event.bucket == "b" and event.key.startswith("p/")
    return wanted and event.kind is EventKind.CREATED
