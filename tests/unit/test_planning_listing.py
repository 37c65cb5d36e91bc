"""A listing is complete or it is an error; nothing rests on half of one."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    BucketNotFoundError,
    ListingError,
    StoreError,
    TransientStoreError,
)
from airflow_provider_s3resume.plan.manifest import Manifest
from airflow_provider_s3resume.plan.objects import ALL_KEYS, KeyRange, ListedObject
from airflow_provider_s3resume.transfer.checking import SidesReport, check_sides
from airflow_provider_s3resume.transfer.plan_request import PlanRequest
from airflow_provider_s3resume.transfer.planning import make_plan
from airflow_provider_s3resume.transfer.state import run_prefix
from airflow_provider_s3resume.transfer.stopping import StopSignal
from tests.unit.planning_cases import NOW, FailingCall, Sync, put

KEYS = [f"key-{number}" for number in range(11)]
SIDES = ["source", "target"]


def filled() -> Sync:
    """Return a sync of two buckets of several pages each, with its state location made."""
    sync = Sync()
    sync.state.ensure(NOW)
    for key in KEYS:
        put(sync.source, key, b"new")
        put(sync.target, key, b"old")
    return sync


def listings_of(sync: Sync, side: str) -> int:
    """Return how many pages of a side one plan asks for."""
    counter = FailingCall(operation="ListObjectsV2", number=0)
    getattr(sync, side).observer.before = counter
    sync.plan()
    return counter.seen


def assert_nothing_to_act_on(sync: Sync) -> None:
    """Make sure that no manifest, batch or pointer was stored."""
    stored = [key.removeprefix(".s3resume/") for key in sync.target.keys()]  # noqa: SIM118
    assert not [key for key in stored if key.startswith(("runs/", "latest/"))]
    assert {sync.target.data(key) for key in KEYS} == {b"old"}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("when", ["before", "after"])
def test_c01_a_listing_that_fails_at_any_page_is_an_error(side: str, when: str) -> None:
    """Whichever page of either side fails, there is no plan, only the error."""
    pages = listings_of(filled(), side)
    assert pages >= 4
    for number in range(1, pages + 1):
        sync = filled()
        hook = FailingCall(operation="ListObjectsV2", number=number)
        setattr(getattr(sync, side).observer, when, hook)
        with pytest.raises(TransientStoreError, match="made to fail"):
            sync.plan()
        assert_nothing_to_act_on(sync)


@pytest.mark.parametrize("error", [AccessDeniedError, BucketNotFoundError, TransientStoreError])
@pytest.mark.parametrize("operation", ["HeadBucket", "ListObjectsV2"])
@pytest.mark.parametrize("side", SIDES)
def test_c03_a_side_that_does_not_answer_is_never_taken_for_an_empty_one(
    side: str, operation: str, error: type[StoreError]
) -> None:
    """AccessDenied, NoSuchBucket and a timeout end the plan: an empty target would be copied to."""
    sync = filled()
    hook = FailingCall(operation=operation, number=1, error=error)
    getattr(sync, side).observer.before = hook
    with pytest.raises(error):
        sync.plan()
    assert_nothing_to_act_on(sync)


@pytest.mark.parametrize("error", [AccessDeniedError, BucketNotFoundError, TransientStoreError])
@pytest.mark.parametrize("side", SIDES)
def test_c03_a_side_that_stops_answering_behind_the_check_is_not_empty_either(
    side: str, error: type[StoreError]
) -> None:
    """The first page of the real listing is refused, after the check of both sides was fine."""
    sync = filled()
    request = sync.request()
    sides = check_sides(sync.source, sync.target, sync.state, request, now=NOW)
    hook = FailingCall(operation="ListObjectsV2", number=1, error=error)
    getattr(sync, side).observer.before = hook
    with pytest.raises(error):
        make_plan(sync.source, sync.target, sync.state, request, sides, now=NOW, stop=sync.stop)
    assert_nothing_to_act_on(sync)


def test_c03_a_bucket_that_is_not_there_is_named() -> None:
    """The message says which bucket."""
    sync = filled()
    sync.source.state.exists = False
    with pytest.raises(BucketNotFoundError, match="s3://source/"):
        sync.plan()
    sync.source.state.exists = True
    sync.target.state.denied = True
    with pytest.raises(AccessDeniedError, match="s3://target/"):
        sync.plan()


@pytest.mark.parametrize("side", SIDES)
def test_c02_a_listing_that_steps_back_gives_no_plan(
    side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service that lists in another order without saying so is refused."""
    sync = filled()
    store = getattr(sync, side)
    real = store.list_objects

    def backwards(prefix: str = "", key_range: KeyRange = ALL_KEYS) -> list[ListedObject]:
        listed = [one for one in real(prefix, key_range) if one.key.startswith("key")]
        return listed[::-1] if prefix == "" else list(real(prefix, key_range))

    monkeypatch.setattr(store, "list_objects", backwards)
    with pytest.raises(ListingError, match="out of byte order"):
        sync.plan()
    monkeypatch.undo()
    assert_nothing_to_act_on(sync)


def with_ranges(sync: Sync, *cuts: str) -> Manifest:
    """Plan with the listings cut at these source keys."""
    request = sync.request()
    sides = check_sides(sync.source, sync.target, sync.state, request, now=NOW)
    edges = [None, *cuts, None]
    ranges = tuple(KeyRange(start=start, stop=stop) for start, stop in itertools.pairwise(edges))
    return make_plan(
        sync.source,
        sync.target,
        sync.state,
        request,
        replace(sides, ranges=ranges),
        now=NOW,
        stop=StopSignal(),
    )[1]


@pytest.mark.parametrize(
    ("source_prefix", "target_prefix"),
    [("", ""), ("in/", "out/"), ("in/", ""), ("", "\U0001f600/")],
)
def test_cutting_the_listings_changes_nothing_about_the_plan(
    source_prefix: str, target_prefix: str
) -> None:
    """Ranges are mapped to the target's keys: none is lost, none is seen twice."""
    names = ["a", "b", "b/c", "k\uff61", "k\U0001f600", "z"]

    def made() -> Sync:
        sync = Sync(source_prefix=source_prefix, target_prefix=target_prefix)
        for name in names:
            put(sync.source, source_prefix + name, name.encode())
        for name in (*names[1::2], "aa", "zz"):
            put(sync.target, target_prefix + name, name.encode())
        put(sync.source, "elsewhere", b"")
        put(sync.target, "elsewhere", b"")
        return sync

    whole = with_ranges(made())
    assert sum(whole.counts.values()) >= len(names) + 2
    for cuts in (["b"], ["b", "b/c"], ["a", "k\uff61", "k\U0001f600"], ["zzz"], ["", "c"]):
        cut = with_ranges(made(), *(source_prefix + cut for cut in cuts))
        assert (cut.counts, cut.copy_objects) == (whole.counts, whole.copy_objects)


def test_quantiles_of_a_large_listing_cut_the_next_one() -> None:
    """The next run is cut at keys of the last one, in byte order; a record of them is a hint."""
    sync = filled()
    request = PlanRequest(run_id="next")
    _, manifest = sync.plan()
    latest = next(key for key in sync.target.keys() if "/latest/" in key)  # noqa: SIM118
    key = sync.target.data(latest).decode()

    def ranges(text: str) -> tuple[KeyRange, ...]:
        sync.state.write_text(key, text)
        return check_sides(sync.source, sync.target, sync.state, request, now=NOW).ranges

    cut = replace(manifest, quantiles=("key-5", "key-2", "key-5")).to_json()
    assert ranges(cut) == (
        KeyRange(stop="key-2"),
        KeyRange(start="key-2", stop="key-5"),
        KeyRange(start="key-5"),
    )
    sync.target.capabilities = replace(sync.target.capabilities, lists_ranges=False)
    assert ranges(cut) == (ALL_KEYS,), "each range would cost a listing of the whole bucket"
    sync.target.capabilities = replace(sync.target.capabilities, lists_ranges=True)
    assert ranges("{damaged") == (ALL_KEYS,)
    assert ranges(manifest.to_json().replace('"schema":1', '"schema":99')) == (ALL_KEYS,)


def test_what_was_found_out_about_the_sides_survives_its_storing() -> None:
    """The second task of a plan reads what the first one wrote."""
    sync = filled()
    report = check_sides(sync.source, sync.target, sync.state, PlanRequest(run_id="x"), now=NOW)
    cut = replace(report, ranges=(KeyRange(stop="k"), KeyRange(start="k")))
    assert SidesReport.from_json_dict(cut.to_json_dict()) == cut


@pytest.mark.parametrize("odd", ["../up", "a//b", "a/./b", "/", "", "é" * 2000, "\ud800", "a\nb"])
def test_every_run_id_gives_a_place_that_any_store_can_hold(odd: str) -> None:
    """A run id may end in an object's key; its records still lie under ``runs/``."""
    place = run_prefix(odd)
    segments = place.split("/")
    assert segments[0] == "runs"
    assert not {"", ".", ".."} & set(segments)
    assert len(place.encode()) < 900
    others = {run_prefix(f"{odd}{more}") for more in ("", "/", " ", "_", "x")}
    assert len(others) == 5


def test_planning_again_under_one_run_id_forgets_what_the_first_plan_noted() -> None:
    """The outcomes of an earlier plan are never added to the figures of another."""
    sync = filled()
    key, manifest = sync.plan()
    sync.copy(manifest)
    sync.verify(key)
    assert sync.report(key).copied == len(KEYS)
    for name in KEYS:
        put(sync.source, name, b"newer")
    sync.runs -= 1
    again, _ = sync.plan()
    assert again == key
    report = sync.report(again)
    assert (report.planned, report.copied, report.failed_copies) == (len(KEYS), 0, len(KEYS))
    assert (report.verified, report.unverified) == (0, 0)


def test_a_stop_ends_planning() -> None:
    """Told to stop, a plan ends at the next key and stores nothing."""
    sync = filled()
    sync.stop.stop("for the test")
    with pytest.raises(Exception, match="stopped: for the test"):
        sync.plan()
    assert_nothing_to_act_on(sync)


def test_warnings_name_what_the_target_cannot_do() -> None:
    """What will be unprotected or unchecked is said before anything is copied."""
    sync = filled()
    weak = replace(sync.target.capabilities, part_checksums=(), conditional_complete=False)
    sync.target.capabilities = weak
    sync.target.state.clock = lambda: NOW + 120
    sync.source.capabilities = replace(sync.source.capabilities, part_layout=False)
    found = check_sides(sync.source, sync.target, sync.state, PlanRequest(run_id="x"), now=NOW)
    text = "\n".join(found.warnings)
    for words in ("differ by 120 s", "checks no checksum", "unprotected", "not tell part layouts"):
        assert words in text
