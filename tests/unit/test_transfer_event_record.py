"""The record of runs that events started: since when, and which pairs they proved."""

from __future__ import annotations

import pytest

from airflow_provider_s3resume.plan.diff import Action, ProvenPair, Reason, Verb
from airflow_provider_s3resume.plan.manifest import Side
from airflow_provider_s3resume.plan.objects import ListedObject
from airflow_provider_s3resume.storage.memory import MemoryStore
from airflow_provider_s3resume.transfer import event_record
from airflow_provider_s3resume.transfer.checking import SidesReport
from airflow_provider_s3resume.transfer.event_record import (
    ScanBesideEvents,
    drop_outdated,
    keep_record,
    load_figures,
    load_record,
    record_name,
)
from airflow_provider_s3resume.transfer.state import StateLocation
from tests.dags.seeding import put

SIDES = SidesReport(
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


@pytest.mark.parametrize(
    ("reason", "missed"),
    [
        (Reason.MISSING_AT_TARGET, 1),
        (Reason.SIZE_DIFFERS, 1),
        (Reason.DIGEST_DIFFERS, 1),
        (Reason.SOURCE_NEWER, 1),
        (Reason.DIGEST_UNKNOWN, 0),
        (Reason.METADATA_DIFFERS, 0),
    ],
)
def test_only_what_shows_a_change_was_missed(
    state: StateLocation, reason: Reason, missed: int
) -> None:
    """A digest that cannot be compared shows none, nor is another header a new object."""
    keep_record(state, SIDES, taken=1.0, pairs=())
    beside = ScanBesideEvents(state, SIDES, now=10_000.0)
    found = ListedObject(key="k", size=1, etag="e", last_modified=100.0)
    action = Action(verb=Verb.COPY, reason=reason, key="k", target_key="k", source=found)
    assert list(beside.watch(iter([action]))) == [action]
    beside.store(state, "runs/x/manifest.json")
    assert load_figures(state, "runs/x/manifest.json") == {"missed": missed, "consumed_since": 1.0}
