"""The record of runs that events started: since when, and which pairs they proved."""

from __future__ import annotations

import pytest

from airflow_provider_s3resume.plan.diff import ProvenPair
from airflow_provider_s3resume.plan.manifest import Side
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer import event_record
from airflow_provider_s3resume.transfer.event_record import (
    ScanBesideEvents,
    drop_outdated,
    keep_record,
    load_record,
    record_name,
)
from airflow_provider_s3resume.transfer.named import NamedSides
from airflow_provider_s3resume.transfer.state import StateLocation
from tests.dags.seeding import put

SIDES = NamedSides(
    source=Side(service="memory://src", uri="s3://source/"),
    target=Side(service="memory://tgt", uri="s3://target/"),
)


@pytest.fixture
def state() -> StateLocation:
    """Give an empty state location."""
    return StateLocation(MemoryStore("target"))


def pair(key: str, etag: str = "e") -> ProvenPair:
    """Return a proven pair."""
    return ProvenPair(key=key, source_etag=etag, target_etag="t", size=1)


def test_the_record_begins_with_the_first_run_and_ends_with_the_last(state: StateLocation) -> None:
    """Runs may be acknowledged in another order than they took their messages."""
    assert load_record(state, SIDES) is None
    for taken in (200.0, 100.0, 300.0, 250.0):
        keep_record(state, SIDES, taken=taken, pairs=())
    record = load_record(state, SIDES)
    assert record is not None
    assert (record.since, record.last) == (100.0, 300.0)


def test_c20_the_latest_pairs_are_kept_and_no_more_than_so_many(
    state: StateLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is proven again is among the latest, with its new ETags."""
    monkeypatch.setattr(event_record, "MOST_PAIRS", 3)
    keep_record(state, SIDES, taken=1.0, pairs=[pair("a"), pair("b"), pair("c")])
    record = keep_record(state, SIDES, taken=2.0, pairs=[pair("a", "new"), pair("d")])
    assert [(p.key, p.source_etag) for p in record.pairs] == [("c", "e"), ("a", "new"), ("d", "e")]
    assert load_record(state, SIDES) == record


def test_c07_a_scan_has_its_own_pairs_and_those_of_events_in_key_order(
    state: StateLocation,
) -> None:
    """Each key once; what events proved is the younger."""
    own = [pair("a", "old"), pair("c"), pair("ü")]
    beside = ScanBesideEvents(state, SIDES, now=0.0)
    assert list(beside.with_pairs(iter(own))) == own
    keep_record(state, SIDES, taken=1.0, pairs=[pair("z"), pair("a", "new"), pair("b")])
    beside = ScanBesideEvents(state, SIDES, now=0.0)
    found = [(p.key, p.source_etag) for p in beside.with_pairs(iter(own))]
    assert found == [("a", "new"), ("b", "e"), ("c", "e"), ("z", "e"), ("ü", "e")]


def test_c07_what_a_scan_has_proven_since_hides_no_longer_behind_events(
    state: StateLocation,
) -> None:
    """Only pairs of other ETags go; when events began to be consumed stays."""
    drop_outdated(state, SIDES, [pair("a")])
    assert load_record(state, SIDES) is None
    before = keep_record(state, SIDES, taken=1.0, pairs=[pair("a"), pair("b"), pair("c")])
    drop_outdated(state, SIDES, [pair("b"), pair("d")])
    assert load_record(state, SIDES) == before
    drop_outdated(state, SIDES, [pair("a", "new"), pair("b")])
    after = load_record(state, SIDES)
    assert after is not None
    assert (after.since, [p.key for p in after.pairs]) == (1.0, ["b", "c"])
    beside = ScanBesideEvents(state, SIDES, now=0.0)
    assert next(beside.with_pairs(iter([pair("a", "new")]))) == pair("a", "new")


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema":2}', b'{"schema":1}'])
def test_a_record_that_cannot_be_read_costs_copies_not_the_plan(
    state: StateLocation, damage: bytes
) -> None:
    """It is a hint: without it nothing is lost."""
    put(state.store, state.prefix + record_name(SIDES), damage)
    assert load_record(state, SIDES) is None
    beside = ScanBesideEvents(state, SIDES, now=0.0)
    assert list(beside.with_pairs(iter([pair("a")]))) == [pair("a")]
    beside.store(state, "runs/x/manifest.json")
    assert state.read_text("runs/x/events.json") is None
