"""A copy over a distance: what does not need the answer of another call does not wait for it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from airflow_provider_s3resume.exceptions import AccessDeniedError
from airflow_provider_s3resume.storage.presets import AMAZON_S3
from airflow_provider_s3resume.transfer import batch, uploads
from airflow_provider_s3resume.transfer.config import CopyConfig
from airflow_provider_s3resume.transfer.outcomes import Status
from airflow_provider_s3resume.transfer.tuning import THREADS, Runnable
from tests.support.transfer_world import CONFIG, KEY, Moment, World, no_waits, pattern

DEADLINE_S = 20.0
PARTS = (10,) * 8
AT_ONCE = 4
TUNED = replace(CONFIG, part_concurrency=None, object_concurrency=None, memory_budget=256 << 20)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)


def planned() -> World:
    """Return a world with an object in eight parts to copy."""
    world = World(target=replace(AMAZON_S3, streams_parts=False))
    world.seed(pattern(sum(PARTS)), parts=PARTS)
    world.plan()
    return world


def is_record(moment: Moment, operation: str, *, after: bool = False) -> bool:
    """Tell whether a call is about the checkpoint."""
    is_it = moment.is_(operation, side="state", after=after)
    return is_it and "/checkpoints/" in moment.key


def await_(event: threading.Event) -> None:
    """Wait for what another thread does."""
    assert event.wait(DEADLINE_S)


def test_what_is_asked_at_first_is_asked_at_once() -> None:
    """Headers, checkpoint, the source's first part and unfinished uploads: none awaits another."""
    world = planned()
    together = threading.Barrier(AT_ONCE)

    def meet(moment: Moment) -> None:
        if (
            moment.is_("HeadObject", side="source")
            or moment.is_("ListMultipartUploads")
            or is_record(moment, "HeadObject")
        ):
            together.wait(DEADLINE_S)

    world.on_moment = meet
    assert world.run_one().status is Status.COPIED
    assert not together.broken


def test_c17_parts_are_read_before_the_upload_has_begun_and_sent_after_its_record() -> None:
    """As many as are allowed, and no more; none is at the target before a record names it."""
    world, reads, all_read = planned(), list[int](), threading.Event()
    records, seen = list[Moment](), list[tuple[int, int]]()

    def watch(moment: Moment) -> None:
        if moment.is_("GetObject", side="source"):
            reads.append(moment.number)
            if len(reads) == AT_ONCE:
                all_read.set()
        if is_record(moment, "PutObject", after=True):
            records.append(moment)
        if moment.is_("CreateMultipartUpload"):
            await_(all_read)
            seen.append((len(reads), len(world.traffic.parts)))
        if moment.is_("UploadPart"):
            assert len(records) > 1

    world.on_moment = watch
    outcome = world.run_one(replace(CONFIG, part_concurrency=AT_ONCE))
    assert outcome.status is Status.COPIED
    assert seen == [(AT_ONCE, 0)]
    assert world.target.data(KEY) == pattern(sum(PARTS))


def test_an_upload_that_cannot_be_begun_ends_what_was_read_for_it() -> None:
    """The error is the upload's own, nothing is sent, and no thread waits for it for ever."""
    world, read = planned(), threading.Event()

    def refuse(moment: Moment) -> None:
        if moment.is_("GetObject", side="source", after=True):
            read.set()
        if moment.is_("CreateMultipartUpload"):
            await_(read)
            raise AccessDeniedError("CreateMultipartUpload", KEY, "no")

    world.on_moment = refuse
    outcome = world.run_one(replace(CONFIG, part_concurrency=AT_ONCE))
    assert outcome.status is Status.FAILED
    assert outcome.error_kind == "AccessDeniedError"
    assert world.traffic.part_numbers() == []


def test_parts_do_not_wait_for_the_record_of_others() -> None:
    """Even one at a time: while the checkpoint is written, the next part is sent."""
    world, sent, held = planned(), threading.Event(), threading.Event()

    def hold(moment: Moment) -> None:
        if moment.is_("UploadPart") and world.traffic.parts:
            await_(held)  # Or all of them might be sent before the record is begun.
            sent.set()
        if is_record(moment, "PutObject") and world.traffic.parts and not held.is_set():
            held.set()
            await_(sent)

    world.on_moment = hold
    assert world.run_one().status is Status.COPIED
    assert held.is_set()


def test_c16_the_last_record_is_written_beside_list_parts_and_before_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A Complete whose answer is lost is recognised by a record that has all parts."""
    monkeypatch.setattr(uploads, "FLUSH_PARTS", 100)
    world, listed, recorded = planned(), threading.Event(), threading.Event()

    def watch(moment: Moment) -> None:
        all_sent = len(world.traffic.parts) == len(PARTS)
        if all_sent and moment.is_("ListParts"):
            listed.set()
        if all_sent and is_record(moment, "PutObject"):
            await_(listed)
        if all_sent and is_record(moment, "PutObject", after=True):
            assert len(world.checkpoint().parts) == len(PARTS)
            recorded.set()
        if moment.is_("CompleteMultipartUpload"):
            assert recorded.is_set()

    world.on_moment = watch
    assert world.run_one().status is Status.COPIED
    assert recorded.is_set()


def test_one_thread_asks_what_the_target_keeps() -> None:
    """Parts that end at the same time do not all ask whether it shows their checksums."""
    world, together = planned(), threading.Barrier(AT_ONCE)
    left = threading.Semaphore(AT_ONCE)

    def meet(moment: Moment) -> None:
        if moment.is_("UploadPart", after=True) and left.acquire(blocking=False):
            together.wait(DEADLINE_S)

    world.on_moment = meet
    assert world.run_one(replace(CONFIG, part_concurrency=AT_ONCE)).status is Status.COPIED
    alone = planned()
    assert alone.run_one().status is Status.COPIED
    assert len(alone.traffic.parts) == len(world.traffic.parts) == len(PARTS)
    looks = [one.traffic.count("ListParts") for one in (world, alone)]
    pages = -(-len(PARTS) // 3)
    assert looks[0] <= 2 * pages
    assert looks[1] <= 2 * pages


def planned_encrypted(*, objects: int) -> World:
    """Return a world whose target has TLS, with objects to copy: one in parts, or small ones."""
    world = World(target=replace(AMAZON_S3, streams_parts=False))
    world.target.service = "https://target.example"
    keys = [f"k{number}" for number in range(objects)]
    for key in keys:
        world.seed(pattern(sum(PARTS) if objects == 1 else 15), key=key)
    world.plan(*keys)
    return world


def watch_reads(world: World, together: threading.Barrier | None = None) -> list[int]:
    """Return what is appended to: how many reads of bodies are under way, whenever one begins.

    :param together: reads that wait for each other.
    """
    lock, under_way, seen = threading.Lock(), [0], list[int]()

    def watch(moment: Moment) -> None:
        if moment.is_("GetObject", side="source"):
            with lock:
                under_way[0] += 1
                seen.append(under_way[0])
            if together is not None:
                together.wait(DEADLINE_S)
        if moment.is_("GetObject", side="source", after=True):
            with lock:
                under_way[0] -= 1

    world.on_moment = watch
    return seen


@pytest.mark.parametrize("objects", [1, THREADS])
def test_over_tls_far_away_others_do_not_wait_for_the_end_of_the_first(objects: int) -> None:
    """It begins with few, and a moment shows that they wait: a first part may take minutes."""
    world, together = planned_encrypted(objects=objects), threading.Barrier(THREADS)
    watch_reads(world, together)
    result = world.run(TUNED)
    assert result.counts == {"copied": objects}
    assert not together.broken


@pytest.mark.parametrize("objects", [1, THREADS])
@pytest.mark.parametrize(("processors", "few"), [(1, 1), (2, 1), (4, 2), (64, THREADS)])
def test_over_tls_nearby_few_begin(
    monkeypatch: pytest.MonkeyPatch, objects: int, processors: int, few: int
) -> None:
    """As many as keep the processors busy; nothing is read that would only wait in memory."""
    monkeypatch.setattr(Runnable, "__call__", lambda _: 100 * time.monotonic())
    monkeypatch.setattr(batch, "usable_processors", lambda: processors)
    world, together = planned_encrypted(objects=objects), threading.Barrier(few)
    seen = watch_reads(world, together)
    result = world.run(TUNED)
    assert result.counts == {"copied": objects}
    assert max(seen) == few
    assert not together.broken
    assert (result.pace.parts_at_once, result.pace.object_threads) == (few, few)


def test_small_objects_that_are_copied_in_the_ordinary_way_do_not_wait_for_larger_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those with tags, say: there may be many, and the one thread may have a large object."""
    monkeypatch.setattr(Runnable, "__call__", lambda _: 100 * time.monotonic())
    monkeypatch.setattr(batch, "usable_processors", lambda: 2)
    monkeypatch.setattr(batch, "split", lambda _, entries: (entries[1:], entries[:1]))
    world = planned_encrypted(objects=1 + THREADS)
    together = threading.Barrier(1 + THREADS)
    watch_reads(world, together)
    assert world.run(TUNED).counts == {"copied": 1 + THREADS}
    assert not together.broken


@pytest.mark.parametrize(
    ("objects", "config"),
    [
        (1, replace(TUNED, part_concurrency=THREADS)),
        (THREADS, replace(TUNED, object_concurrency=THREADS)),
    ],
)
def test_over_tls_as_many_begin_as_the_user_wants(
    monkeypatch: pytest.MonkeyPatch, objects: int, config: CopyConfig
) -> None:
    """At once, and however busy the processor is."""
    monkeypatch.setattr(Runnable, "__call__", lambda _: 100 * time.monotonic())
    monkeypatch.setattr(batch, "usable_processors", lambda: 2)
    world, together = planned_encrypted(objects=objects), threading.Barrier(THREADS)
    watch_reads(world, together)
    assert world.run(config).counts == {"copied": objects}
    assert not together.broken
