"""The cleaner: what it aborts, what it leaves, and what it says of it (c34)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    CopyStoppedError,
    InvalidInputError,
    ListingError,
    ObjectsFailedError,
    StoreError,
    ThrottledError,
    TransientStoreError,
    UnsupportedError,
)
from airflow_provider_s3resume.plan.attempts import rule_for
from airflow_provider_s3resume.plan.strays import DAY_S, HOUR_S, CleaningRules
from airflow_provider_s3resume.storage.base import NewUpload
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer import strays
from airflow_provider_s3resume.transfer.outcomes import Status
from airflow_provider_s3resume.transfer.state import StateLocation
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.stray_report import CleaningReport
from airflow_provider_s3resume.transfer.strays import clean_strays
from tests.support.transfer_world import CONFIG, KEY, NOW, Moment, World, no_waits, pattern, when

SIZE = 45
LATER = NOW + 8 * DAY_S
REAL = CleaningRules(dry_run=False)
SEARCH = CleaningRules()
INTENTS = CleaningRules(dry_run=False, abort_empty_uploads_of_intents=True)


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)


class Time:
    """The clock of all stores of a world; set ``now`` to let time pass."""

    def __init__(self, world: World) -> None:
        self.now = NOW
        for store in (world.source, world.target, world.state_store):
            store.state.clock = lambda: self.now


def killed_at(world: World, operation: str, *, key: str = KEY, size: int = SIZE) -> set[str]:
    """Copy an object and die after the first call of an operation; return the new upload ids."""
    before = set(world.target.uploads)
    world.seed(pattern(size), key=key)
    world.plan(key, run=f"first-{key}")
    assert world.run_killed(CONFIG, when(operation, after=True))
    return set(world.target.uploads) - before


def clean(
    world: World,
    rules: CleaningRules = REAL,
    *,
    now: float = LATER,
    prefix: str = "",
    stop: StopSignal | None = None,
) -> CleaningReport:
    """Clean, and return the report."""
    return clean_strays(
        world.target,
        world.state,
        rules,
        prefix=prefix,
        run_id="dag/run/clean.1",
        now=now,
        stop=stop or StopSignal(),
    )


def reports(world: World) -> list[dict[str, Any]]:
    """Return the stored reports."""
    keys = [key for key in world.state_store.objects if "/cleanups/" in key]
    return [json.loads(world.state_store.data(key)) for key in sorted(keys)]


@pytest.fixture
def world() -> World:
    """Give a world whose clocks stand still."""
    made = World()
    made.time = Time(made)  # type: ignore[attr-defined]
    return made


def intent_names(world: World) -> list[str]:
    """Return the names of the intents that were kept apart."""
    return sorted(key for key in world.state_store.objects if "/intents/" in key)


def pass_time(world: World, now: float) -> None:
    """Let the clocks of the stores go on."""
    world.time.now = now  # type: ignore[attr-defined]


def test_c34_an_old_upload_of_ours_is_aborted_and_its_record_forgotten(world: World) -> None:
    """And what it held is told; uploads of the same key that are not ours stay."""
    theirs = world.target.create_upload(KEY, NewUpload())
    world.target.upload_part(KEY, theirs, 1, b"theirs", None)
    (ours,) = killed_at(world, "UploadPart")
    report = clean(world)
    assert set(world.target.uploads) == {theirs}
    assert world.checkpoint_names() == []
    assert (report.stray_uploads, report.uploads_aborted, report.records_forgotten) == (1, 1, 1)
    assert report.bytes_freed == report.stray_bytes == 10
    assert [found.upload_id for found in report.strays] == [ours]
    assert (report.foreign_uploads, report.foreign_bytes) == (1, len(b"theirs"))
    assert [stored["bytes_freed"] for stored in reports(world)] == [10]
    assert report.key.endswith(".json")


def test_c34_superseded_uploads_are_ours_too(world: World) -> None:
    """A record names those that an attempt gave up and could not end."""
    given_up = world.target.create_upload(KEY, NewUpload())
    world.target.upload_part(KEY, given_up, 1, b"old part", None)
    (ours,) = killed_at(world, "UploadPart")
    world.change_checkpoint(lambda c: replace(c, superseded=(given_up, "gone-long-ago")))
    report = clean(world)
    assert world.target.uploads == {}
    assert {found.upload_id for found in report.strays} == {ours, given_up}
    assert report.bytes_freed == 10 + len(b"old part")


def test_by_default_nothing_is_changed(world: World) -> None:
    """A dry run finds the same and says so."""
    ours = killed_at(world, "UploadPart")
    names = world.checkpoint_names()
    record = world.checkpoint()
    report = clean(world, SEARCH)
    assert set(world.target.uploads) == ours
    assert (world.checkpoint_names(), world.checkpoint()) == (names, record)
    assert (report.stray_uploads, report.stray_bytes) == (1, 10)
    assert (report.uploads_aborted, report.bytes_freed, report.records_forgotten) == (0, 0, 0)
    assert "dry run" in report.short_text()
    assert CleaningRules().dry_run


def test_a_record_that_was_written_lately_is_left(world: World) -> None:
    """A copy that began long ago and still writes its record is under way."""
    ours = killed_at(world, "UploadPart")
    pass_time(world, LATER - DAY_S)
    world.change_checkpoint(lambda c: c)  # As a running copy writes it.
    report = clean(world)
    assert set(world.target.uploads) == ours
    assert (report.records_in_use, report.records_old) == (1, 0)
    assert report.foreign_uploads == 0


def test_an_attempt_that_began_lately_is_left_whatever_the_store_says(world: World) -> None:
    """Both the store's time and that of the attempt have to be old."""
    ours = killed_at(world, "UploadPart")
    world.change_checkpoint(lambda c: replace(c, started=LATER - HOUR_S))
    assert clean(world).records_in_use == 1
    assert set(world.target.uploads) == ours


def test_a_record_written_since_it_was_listed_is_left(world: World) -> None:
    """The listing's time is then not that of what was read."""
    ours = killed_at(world, "UploadPart")

    def write(moment: Moment) -> None:
        if moment.is_("ListObjectsV2", side="state", after=True) and moment.arguments.get(
            "prefix", ""
        ).endswith("checkpoints/"):
            world.on_moment = lambda _: None
            world.change_checkpoint(lambda c: replace(c, asked="written"))

    world.on_moment = write
    report = clean(world)
    assert (report.records_in_use, report.records_old) == (1, 0)
    assert set(world.target.uploads) == ours


@pytest.mark.parametrize("conditional", [True, False])
def test_a_copy_that_wakes_up_first_keeps_its_record(*, conditional: bool) -> None:
    """It wrote its record after the cleaner had read it: it is left, upload and all."""
    world = World(state=replace(AMAZON_S3, conditional_put=conditional))
    world.time = Time(world)  # type: ignore[attr-defined]
    ours = killed_at(world, "UploadPart")

    def wake(moment: Moment) -> None:
        if moment.is_("ListParts"):  # The record was read, and nothing aborted yet.
            world.on_moment = lambda _: None
            world.change_checkpoint(lambda c: replace(c, asked="written"))

    world.on_moment = wake
    report = clean(world)
    assert (report.records_taken_up, report.records_forgotten) == (1, 0)
    assert set(world.target.uploads) == ours
    assert world.checkpoint().asked == "written"


def test_a_record_written_while_its_upload_is_aborted_is_kept(world: World) -> None:
    """The copy that wrote it has lost its upload, and must not lose its record, too."""
    killed_at(world, "UploadPart")

    def wake(moment: Moment) -> None:
        if moment.is_("AbortMultipartUpload", after=True):
            world.change_checkpoint(lambda c: replace(c, asked="written"))

    world.on_moment = wake
    report = clean(world)
    assert (report.uploads_aborted, report.records_taken_up, report.records_forgotten) == (1, 1, 0)
    assert world.checkpoint().asked == "written"


def test_c15_a_copy_that_wakes_up_at_any_moment_ends_with_the_right_bytes() -> None:
    """Before or after any call of the cleaner: no error, no record lost unnoticed, no stray."""
    data = pattern(SIZE)
    moment = 0
    taken_up = 0
    while True:
        world = World()
        world.time = Time(world)  # type: ignore[attr-defined]
        killed_at(world, "UploadPart")
        world.forget_traffic()
        woken: list[Status] = []

        def wake(
            at: Moment, world: World = world, woken: list[Status] = woken, number: int = moment
        ) -> None:
            if at.number == number and not woken:
                world.on_moment = lambda _: None
                woken.append(world.run_one().status)

        world.on_moment = wake
        report = clean(world)
        if not woken:
            break
        assert woken == [Status.COPIED], moment
        assert world.target.data(KEY) == data
        assert world.target.uploads == {}, moment
        assert report.failed == 0
        taken_up += report.records_taken_up
        moment += 1
    assert moment > 10


def test_c15_a_copy_under_way_survives_a_cleaner_that_takes_its_upload() -> None:
    """An upload that is aborted under a running copy: it starts over, and leaves no stray."""
    data = pattern(SIZE)
    probe = World()
    probe.seed(data)
    probe.plan()
    probe.run()
    numbers = [m.number for m in probe.traffic.moments if m.side == "target"]
    for number in numbers:
        world = World()
        world.time = Time(world)  # type: ignore[attr-defined]
        world.seed(data)
        world.plan()

        def clean_now(at: Moment, world: World = world, number: int = number) -> None:
            if at.number == number:
                world.on_moment = lambda _: None
                clean(world)

        world.on_moment = clean_now
        assert world.run_one().status is Status.COPIED, number
        assert world.target.data(KEY) == data
        assert world.target.uploads == {}, number
        assert world.checkpoint_names() == [], number


@pytest.mark.parametrize("rules", [REAL, INTENTS])
def test_c34_what_only_an_intent_points_at_is_left_unless_asked(
    world: World, rules: CleaningRules
) -> None:
    """It may be another tool's: it is named, and aborted only by the parameter that says so."""
    before = world.target.create_upload(KEY, NewUpload())
    (ours,) = killed_at(world, "CreateMultipartUpload")
    with_part = world.target.create_upload(KEY, NewUpload())
    world.target.upload_part(KEY, with_part, 1, b"", None)
    longer = world.target.create_upload(KEY + "x", NewUpload())
    pass_time(world, LATER - DAY_S)
    young = world.target.create_upload(KEY, NewUpload())
    report = clean(world, rules)
    theirs = {before, with_part, longer, young}
    named = [found.upload_id for found in report.doubtful]
    if rules is INTENTS:
        assert (set(world.target.uploads), named) == (theirs, [])
        assert report.uploads_aborted == 1
    else:
        assert (set(world.target.uploads), named) == ({*theirs, ours}, [ours])
        assert ours in report.short_text()
    assert {found.upload_id for found in report.foreign} == theirs
    # What is left stays named by its record.
    assert bool(world.checkpoint_names()) == (rules is REAL)


@pytest.mark.parametrize("rules", [REAL, INTENTS])
def test_c34_an_upload_begun_and_never_recorded_stays_named_when_the_copy_has_ended(
    world: World, rules: CleaningRules
) -> None:
    """The next attempt writes over the checkpoint, and removes it; the intent is kept apart."""
    (ours,) = killed_at(world, "CreateMultipartUpload")
    outcome = world.run_one()
    assert outcome.status is Status.COPIED
    assert any(ours in note for note in outcome.notes)
    assert set(world.target.uploads) == {ours}
    assert world.checkpoint_names() == []
    (intent,) = intent_names(world)
    assert clean(world, rules, now=NOW + DAY_S).records_in_use == 1
    report = clean(world, rules)
    assert report.foreign == []
    if rules is INTENTS:
        assert (report.uploads_aborted, report.records_forgotten) == (1, 1)
        assert (world.target.uploads, intent_names(world)) == ({}, [])
        return
    assert [found.upload_id for found in report.doubtful] == [ours]
    assert intent_names(world) == [intent]
    # Once somebody has aborted it, there is nothing to be named.
    world.target.abort_upload(KEY, ours)
    assert clean(world, rules).records_forgotten == 1
    assert intent_names(world) == []


def test_c34_an_intent_under_anothers_name_is_left(world: World) -> None:
    """A record is acted upon only where its own content puts it."""
    killed_at(world, "CreateMultipartUpload")
    world.run_one()
    (name,) = intent_names(world)
    text = world.state_store.data(name)
    other = name.replace("intents/", "intents/0")
    world.state_store.put_object(other, text, upload=NewUpload(), checksum=None)
    assert clean(world, INTENTS).unreadable
    assert intent_names(world) == [other]


def test_c34_an_intent_that_could_not_list_uploads_makes_none_ours(world: World) -> None:
    """Any of them may have been there before; and none that is older than the intent is ours."""
    (there,) = killed_at(world, "CreateMultipartUpload")
    intent = world.checkpoint()
    world.change_checkpoint(lambda c: replace(c, uploads_before=("*",)))
    report = clean(world, INTENTS)
    assert (report.stray_uploads, report.doubtful_uploads) == (0, 1)
    assert set(world.target.uploads) == {there}
    assert len(world.checkpoint_names()) == 1  # It names what may be ours.
    world.change_checkpoint(lambda c: replace(c, uploads_before=(), started=NOW + 901))
    assert clean(world, INTENTS).stray_uploads == 0
    assert set(world.target.uploads) == {there}
    world.records.save(intent, None)
    assert clean(world, INTENTS).uploads_aborted == 1


def test_c13_a_server_that_lists_longer_keys_makes_none_of_them_ours(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a store answers, an upload of another key is not the intent's."""
    killed_at(world, "CreateMultipartUpload")
    longer = world.target.create_upload(KEY + "x", NewUpload())
    list_parts = world.target.list_parts
    monkeypatch.setattr(world.target, "list_uploads", world.target.list_all_uploads)
    monkeypatch.setattr(
        world.target,
        "list_parts",
        lambda key, upload_id: list_parts(KEY + "x" if upload_id == longer else key, upload_id),
    )
    report = clean(world, INTENTS)
    assert (report.stray_uploads, report.uploads_aborted, report.failed) == (1, 1, 0)
    assert set(world.target.uploads) == {longer}


def test_c13_uploads_of_keys_that_begin_with_ours_are_not_ours(world: World) -> None:
    """Neither counted with the record nor aborted."""
    longer = world.target.create_upload(KEY + "/more", NewUpload())
    killed_at(world, "UploadPart")
    report = clean(world)
    assert set(world.target.uploads) == {longer}
    assert [found.key for found in report.foreign] == [KEY + "/more"]


def test_records_of_other_targets_are_left(world: World) -> None:
    """A state location may serve several; a prefix is that of a sync's target."""
    inside = killed_at(world, "UploadPart", key="in/object")
    outside = killed_at(world, "UploadPart", key="out/object")
    record = world.checkpoint("in/object")
    for place in ("memory://target s3://to-2/in/object", "memory://elsewhere s3://to/in/object"):
        world.records.save(replace(record, target_uri=place), None)
    report = clean(world, prefix="in/")
    assert set(world.target.uploads) == outside
    assert (report.records, report.records_elsewhere, report.records_forgotten) == (4, 3, 1)
    assert len(world.checkpoint_names()) == 3
    assert {found.upload_id for found in report.strays} == inside
    # A record of the same bucket names its upload, wherever under it the sync's target is.
    assert report.foreign_uploads == 0


def test_records_whose_upload_is_gone_are_forgotten_when_old(world: World) -> None:
    """Nothing is aborted for them."""
    killed_at(world, "UploadPart")
    world.target.uploads.clear()
    assert clean(world, now=NOW + DAY_S).records_forgotten == 0
    report = clean(world)
    assert (report.records_forgotten, report.uploads_aborted, report.stray_uploads) == (1, 0, 0)
    assert world.checkpoint_names() == []


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"schema":1', '"schema":2'),
        lambda text: text.replace(KEY, KEY + "-of-another"),
        lambda text: json.dumps({**json.loads(text), "superseded": [7]}),
        lambda text: json.dumps({**json.loads(text), "started": "yesterday"}),
        lambda text: json.dumps({**json.loads(text), "target_uri": None}),
        lambda _: "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
    ],
)
def test_records_that_cannot_be_read_are_left_and_named(
    world: World, change: Callable[[str], str]
) -> None:
    """Damaged, of a newer version, or of another pair than they are kept for."""
    ours = killed_at(world, "UploadPart")
    (name,) = world.checkpoint_names()
    text = world.state_store.data(name).decode()
    world.state.write_text(name.removeprefix(world.state.prefix), change(text))
    report = clean(world)
    assert set(world.target.uploads) == ours
    assert world.checkpoint_names() == [name]
    assert (report.records_unreadable, report.records_old) == (1, 0)
    assert name in report.unreadable[0]


def test_foreign_uploads_are_counted_and_never_touched(world: World) -> None:
    """With what their parts hold, and since when; those that a copy is beginning are not among."""
    pass_time(world, NOW - 100 * DAY_S)
    oldest = world.target.create_upload("a", NewUpload())
    world.target.upload_part("a", oldest, 1, b"12345", None)
    pass_time(world, NOW)
    other = world.target.create_upload("b", NewUpload())
    pass_time(world, LATER)
    beginning = killed_at(world, "CreateMultipartUpload")
    report = clean(world)
    assert set(world.target.uploads) == {oldest, other, *beginning}
    assert [found.upload_id for found in report.foreign] == [oldest, other]
    assert (report.foreign_bytes, report.foreign_oldest) == (5, NOW - 100 * DAY_S)
    assert report.foreign_unmeasured == 0
    assert report.figures()["foreign_uploads"] == 2


def test_foreign_uploads_that_cannot_be_looked_into_are_no_failure(world: World) -> None:
    """They are counted all the same."""
    world.state.ensure(NOW)
    world.target.create_upload("a", NewUpload())

    def deny(moment: Moment) -> None:
        if moment.is_("ListParts"):
            raise AccessDeniedError("ListParts", "s3://to/a", "AccessDenied")

    world.on_moment = deny
    report = clean(world)
    assert (report.foreign_uploads, report.foreign_unmeasured, report.failed) == (1, 1, 0)


@pytest.mark.parametrize(
    "error",
    [
        ListingError("uploads of s3://to/: a page repeats itself"),
        AccessDeniedError("ListMultipartUploads", "s3://to/", "AccessDenied"),
        ThrottledError("ListMultipartUploads", "s3://to/", "SlowDown"),
    ],
)
def test_c01_uploads_that_cannot_be_listed_are_unknown_and_ours_are_cleaned(
    world: World, error: Exception
) -> None:
    """A listing that fails half way is not taken for a shorter one; records need none."""
    killed_at(world, "UploadPart")

    def fail(moment: Moment) -> None:
        if moment.is_("ListMultipartUploads", after=True):
            raise error

    world.on_moment = fail
    report = clean(world)
    assert world.target.uploads == {}
    assert report.records_forgotten == 1
    assert str(error) in report.foreign_unknown
    assert str(error) in report.short_text()
    assert report.figures()["foreign_unknown"] is True


def test_c01_records_that_cannot_be_listed_fail_the_task_and_keep_the_report(
    world: World,
) -> None:
    """What was done until then is on record."""
    killed_at(world, "UploadPart")

    def fail(moment: Moment) -> None:
        if moment.arguments.get("prefix", "").endswith("checkpoints/"):
            raise TransientStoreError("ListObjectsV2", "s3://state/", "cut off")

    world.on_moment = fail
    with pytest.raises(TransientStoreError, match="cut off"):
        clean(world)
    (stored,) = reports(world)
    assert "cut off" in stored["interrupted"]


def test_c40_a_failed_abort_hides_no_other_and_fails_the_task_at_its_end(world: World) -> None:
    """Its record stays, as it is what makes the upload ours."""
    ours = {key: killed_at(world, "UploadPart", key=key) for key in ("one", "two", "three")}

    def deny(moment: Moment) -> None:
        if moment.is_("AbortMultipartUpload") and moment.key == "two":
            raise ThrottledError("AbortMultipartUpload", "s3://to/two", "SlowDown")

    world.on_moment = deny
    report = clean(world)
    assert set(world.target.uploads) == ours["two"]
    assert (report.uploads_aborted, report.records_forgotten, report.failed) == (2, 2, 1)
    with pytest.raises(ObjectsFailedError, match=r"s3://to/two.*SlowDown.*cleanups/") as raised:
        report.raise_for_failures()
    rule = rule_for(raised.value)
    assert rule is not None
    assert rule.error is ThrottledError
    world.on_moment = lambda _: None
    again = clean(world)
    assert (again.uploads_aborted, again.records_forgotten, again.failed) == (1, 1, 0)
    again.raise_for_failures()
    assert world.target.uploads == {}


def test_c40_an_upload_that_stays_in_spite_of_its_abort_is_a_failure(world: World) -> None:
    """A part that was on its way may be kept: the upload is aborted again, then named."""
    (ours,) = killed_at(world, "UploadPart")
    upload = world.target.uploads[ours]
    aborts: list[str] = []
    needed = 3

    def put_back(moment: Moment) -> None:
        if moment.is_("AbortMultipartUpload", after=True):
            aborts.append(moment.key)
            if len(aborts) < needed:
                world.target.uploads[ours] = upload

    world.on_moment = put_back
    assert clean(world).uploads_aborted == 1
    assert len(aborts) == needed
    (ours,) = killed_at(world, "UploadPart", key="again")
    upload, needed = world.target.uploads[ours], 99
    aborts.clear()
    world.on_moment = put_back
    report = clean(world)
    assert (report.uploads_aborted, report.failed) == (0, 1)
    assert aborts == ["again"] * 3
    assert len(world.checkpoint_names()) == 1


def test_c40_after_many_failures_the_rest_is_not_tried(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that refuses everything would else be asked for hours."""
    monkeypatch.setattr(strays, "_MOST_FAILURES", 3)
    monkeypatch.setattr(strays, "_AHEAD", 1)
    for number in range(9):
        killed_at(world, "UploadPart", key=f"object-{number}")
    world.forget_traffic()

    def deny(moment: Moment) -> None:
        if moment.is_("ListParts"):
            raise AccessDeniedError("ListParts", "s3://to/", "AccessDenied")

    world.on_moment = deny
    with pytest.raises(AccessDeniedError):
        clean(world)
    assert world.traffic.count("ListParts") == 3
    (stored,) = reports(world)
    assert stored["failed"] == 3
    assert "AccessDenied" in stored["interrupted"]


def test_a_stop_ends_a_cleaning_between_two_records(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done is on record, what was not begun is not touched."""
    monkeypatch.setattr(strays, "_AHEAD", 1)
    for number in range(9):
        killed_at(world, "UploadPart", key=f"object-{number}")
    world.state_store.limits = replace(world.state_store.limits, list_page=1)
    world.forget_traffic()
    stop = StopSignal()
    listed: list[int] = []

    def end(moment: Moment) -> None:
        if moment.is_("AbortMultipartUpload", after=True) and not stop.is_set():
            listed.append(world.traffic.count("ListObjectsV2", side="state"))
            stop.stop("SIGTERM")

    world.on_moment = end
    with pytest.raises(CopyStoppedError, match="SIGTERM"):
        clean(world, stop=stop)
    assert 1 <= 9 - len(world.target.uploads) <= 2
    assert world.traffic.count("ListObjectsV2", side="state") - listed[0] <= 1
    (stored,) = reports(world)
    assert stored["uploads_aborted"] == 9 - len(world.target.uploads)
    assert "SIGTERM" in stored["interrupted"]


def test_c20_many_records_are_not_held_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most so many are read ahead of those that were dealt with."""
    monkeypatch.setattr(strays, "_AHEAD", 4)
    killed_at(world, "UploadPart")
    record = world.checkpoint()
    for number in range(40):
        place = f"memory://target s3://to/{number}"
        world.records.save(replace(record, target_uri=place), None)
    world.state_store.limits = replace(world.state_store.limits, list_page=3)
    world.forget_traffic()
    report = clean(world)
    assert (report.records, report.records_forgotten) == (41, 41)
    moments = world.traffic.moments
    pages = [m.number for m in moments if m.is_("ListObjectsV2", side="state")]
    dealt = [m.number for m in moments if m.is_("DeleteObject", side="state", after=True)]
    assert len(pages) == 15  # The last one is that of the intents.
    for done, page in enumerate(pages[:-1]):
        assert sum(number < page for number in dealt) >= done * 3 - 4 - 3


def test_c33_only_a_location_of_ours_is_cleaned() -> None:
    """Keys of the same names without our marker are a user's own."""
    world = World()
    ours = killed_at(world, "UploadPart")
    del world.state_store.objects[world.state.prefix + "marker.json"]
    with pytest.raises(InvalidInputError, match="marker"):
        clean(world)
    assert set(world.target.uploads) == ours
    empty = StateLocation(world.state_store, "elsewhere/")
    with pytest.raises(InvalidInputError, match="state_uri"):
        clean_strays(world.target, empty, REAL, run_id="run", now=LATER, stop=StopSignal())
    assert not any(key.startswith("elsewhere/") for key in world.state_store.objects)


@pytest.mark.parametrize("error", [AccessDeniedError, UnsupportedError])
def test_c34_an_intent_whose_uploads_cannot_be_listed_is_kept(
    world: World, monkeypatch: pytest.MonkeyPatch, error: type[StoreError]
) -> None:
    """It is all that names one that may be there; the report says so."""
    (ours,) = killed_at(world, "CreateMultipartUpload")

    def refuse(key: str) -> None:
        raise error("ListMultipartUploads", key, "told to")

    with monkeypatch.context() as patch:
        patch.setattr(world.target, "list_uploads", refuse)
        report = clean(world, INTENTS)
    assert (report.records_unknown, report.records_forgotten) == (1, 0)
    assert "could not be listed: 1" in report.short_text()
    assert set(world.target.uploads) == {ours}
    assert clean(world, INTENTS).uploads_aborted == 1


@pytest.mark.parametrize("older_than_s", [0, -1, 3599.9, float("nan")])
def test_an_age_at_which_copies_are_under_way_is_refused(older_than_s: float) -> None:
    """Naming the parameter."""
    with pytest.raises(InvalidInputError, match="older_than"):
        CleaningRules(older_than_s=older_than_s)


def test_the_next_copy_of_a_cleaned_object_starts_over(world: World) -> None:
    """That is the price: every part is sent again, and no note of a lost upload is made."""
    killed_at(world, "UploadPart")
    clean(world)
    world.forget_traffic()
    outcome = world.run_one()
    assert (outcome.status, outcome.sent_parts, outcome.kept_parts) == (Status.COPIED, 5, 0)
    assert world.target.data(KEY) == pattern(SIZE)


def test_figures_for_xcom_hold_no_keys(world: World) -> None:
    """XCom gets numbers; the lists are in the stored report."""
    killed_at(world, "UploadPart", key="secret-key")
    report = clean(world)
    assert "secret-key" not in json.dumps(report.figures())
    assert reports(world)[0]["strays"][0]["key"] == "secret-key"
