"""c34, c40, c41, c42 at the level of a batch, and what a stop leaves behind."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import TypeVar

import pytest

from airflow_provider_s3resume.exceptions import (
    AccessDeniedError,
    BucketNotFoundError,
    CopyStoppedError,
    ListingError,
    ObjectsFailedError,
    StoreError,
    TransientStoreError,
    UnexpectedError,
)
from airflow_provider_s3resume.plan.objects import ContentAttributes
from airflow_provider_s3resume.storage.base import NewUpload, WriteOptions
from airflow_provider_s3resume.transfer import batch, pool, uploads
from airflow_provider_s3resume.transfer.journal import Journal
from airflow_provider_s3resume.transfer.loading import load_entries
from airflow_provider_s3resume.transfer.outcomes import Outcome, Status
from airflow_provider_s3resume.transfer.stopping import StopSignal
from airflow_provider_s3resume.transfer.tuning import Tuner
from tests.support.transfer_world import (
    CONFIG,
    KEY,
    OLD,
    Moment,
    World,
    no_waits,
    pattern,
    when,
)

T = TypeVar("T")
DEADLINE_S = 20.0
WIDE = replace(CONFIG, part_concurrency=4, object_concurrency=4)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    no_waits(monkeypatch)


def many(count: int = 6, size: int = 45) -> World:
    """Return a world with several objects planned."""
    world = World()
    keys = [f"k{n}" for n in range(count)]
    for n, key in enumerate(keys):
        world.seed(pattern(size, seed=n), key=key)
    ref = world.plan(*keys)
    # As a plan of whole buckets has it: named pairs are looked up one by one.
    world.ref = replace(ref, listed=count)
    return world


def refuse(world: World, key: str, error: type[StoreError]) -> None:
    """Have the target refuse every write of a key."""

    def hook(moment: Moment) -> None:
        if moment.key == key and moment.operation in {"PutObject", "UploadPart"}:
            raise error(moment.operation, f"s3://to/{key}", "refused")

    world.on_moment = hook


def test_c40_a_failed_object_fails_the_batch_after_all_others() -> None:
    """The error names the object and its reason; the others are there; the counts add up."""
    world = many()
    refuse(world, "k2", TransientStoreError)
    result = world.run(WIDE)
    assert result.counts == {"copied": 5, "failed": 1}
    with pytest.raises(ObjectsFailedError, match=r"1 of 6 .*'k2': UploadPart .* refused") as error:
        result.raise_for_failures()
    assert error.value.retryable
    assert sorted(world.target.keys()) == ["k0", "k1", "k3", "k4", "k5"]
    assert result.figures.objects_done == 5
    assert result.figures.objects_failed == 1
    assert result.to_json_dict()["failed"] == 1


def test_c40_many_failures_are_counted_and_the_first_are_named() -> None:
    """The message stays short, the count whole."""
    world = many(9, size=5)
    world.on_moment = lambda moment: _deny(moment, lambda m: m.is_("PutObject"))
    result = world.run(WIDE)
    with pytest.raises(ObjectsFailedError, match=r"9 of 9 .*; and 4 more") as error:
        result.raise_for_failures()
    assert not error.value.retryable


class AtOnce(pool.Workers):
    """Threads that are faster than whoever has jobs for them: each has ended when it is handed on.

    :param most: jobs that it takes.
    """

    def __init__(self, most: int) -> None:
        super().__init__(1, "at-once")
        self._left = most

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Run a job."""
        self._left -= 1
        if self._left < 0:
            raise AssertionError("more jobs than threads")
        done: Future[T] = Future()
        done.set_result(function())
        return done


@pytest.mark.parametrize("stopped", [True, False])
def test_c20_no_more_jobs_are_begun_than_threads_are_allowed(
    monkeypatch: pytest.MonkeyPatch, *, stopped: bool
) -> None:
    """The first jobs copy all, or end at once, before others are begun: there is no end to those.

    That was so where threads are many and objects few, or the processor busy: jobs without anything
    to do followed each other, kept until the batch had ended, and no signal to stop was seen.
    """
    world = many(6, size=15)
    monkeypatch.setattr(batch, "Workers", lambda *_: AtOnce(4))
    if stopped:
        stop = StopSignal()
        world.on_moment = lambda moment: stop.stop("enough") if moment.key == "k1" else None
        with pytest.raises(CopyStoppedError):
            world.run(WIDE, stop=stop)
        return
    assert world.run(WIDE).counts == {"copied": 6}


def test_c20_jobs_that_are_too_many_by_now_are_not_begun_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fewer threads are allowed while jobs are begun: those beyond them would end, again and again.

    Another thread finds the smaller number; the first job stands for it here.
    """
    world = many(6, size=15)
    threads = Tuner(4, first=4, most=4)
    monkeypatch.setattr(batch, "_threads", lambda *_: threads)

    class Fewer(AtOnce):
        def submit(self, function: Callable[[], T]) -> Future[T]:
            threads.allowed = 1
            return super().submit(function)

    monkeypatch.setattr(batch, "Workers", lambda *_: Fewer(4))
    assert world.run(WIDE).counts == {"copied": 6}
    assert threads.allowed == 1


def _deny(moment: Moment, which: Callable[[Moment], bool]) -> None:
    if which(moment):
        raise AccessDeniedError(moment.operation, f"s3://to/{moment.key}", "AccessDenied")


def test_c40_what_nobody_has_told_of_does_not_pass_for_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One outcome is missing: the batch is no success, and the next attempt copies it."""
    world = many(size=15)
    add = Journal.add

    def forget_one(journal: Journal, outcome: Outcome) -> None:
        if outcome.key != "k2":
            add(journal, outcome)

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "add", forget_one)
        with pytest.raises(UnexpectedError, match="has 6 objects, and of 5 it is known"):
            world.run(WIDE)
    result = world.run(WIDE)
    result.raise_for_failures()
    assert sum(result.counts.values()) == 6


def test_c40_one_source_for_two_keys_hides_no_outcome() -> None:
    """No plan has that; in a manifest from elsewhere one outcome would stand for both."""
    world = many(2, size=15)
    assert world.ref is not None
    first, second = load_entries(world.state, world.ref)
    both = (first, replace(first, target_key=second.target_key))
    text = "".join(f"{json.dumps(asdict(entry))}\n" for entry in both)
    world.state.write_text(world.ref.key, text)
    world.ref = replace(world.ref, sha256=hashlib.sha256(text.encode()).hexdigest())
    with pytest.raises(UnexpectedError, match="has 2 objects, and of 1 it is known"):
        world.run(WIDE)


@pytest.mark.parametrize("size", [15, 45], ids=["single", "parts"])
def test_c40_a_retry_does_only_what_is_missing(size: int) -> None:
    """What is at the target is found by listing, and not asked for key by key."""
    world = many(size=size)
    refuse(world, "k2", TransientStoreError)
    assert world.run(WIDE).counts["failed"] == 1
    world.on_moment = lambda _: None
    world.forget_traffic()
    result = world.run(WIDE)
    result.raise_for_failures()
    assert sum(result.counts.values()) == 6
    assert result.counts.get("failed", 0) == 0
    touched = {m.key for m in world.traffic.moments if m.side == "target" and m.key}
    assert touched == {"k2"}
    assert {m.key for m in world.traffic.moments if m.side == "source" and m.key} == {"k2"}
    assert world.traffic.count("ListObjectsV2") >= 1


def test_c40_a_retry_believes_the_target_and_not_its_own_notes() -> None:
    """An object that was copied and is gone, or changed, since is copied again or refused."""
    world = many(3, size=15)
    world.run()
    del world.target.objects["k0"]
    world.seed_old_target(b"somebody else's", "k1")
    assert len(b"somebody else's") == len(pattern(15))
    result = world.run()
    assert world.target.data("k0") == pattern(15)
    assert [o.error_kind for o in result.failures] == ["TargetChangedError"]
    assert world.target.data("k1") == b"somebody else's"


def test_c01_a_listing_that_fails_at_the_retry_copies_nothing() -> None:
    """A target that cannot be listed is never taken for an empty one."""
    world = many(3, size=15)
    assert world.run_killed(CONFIG, 25)
    world.forget_traffic()

    def fail(moment: Moment) -> None:
        if moment.is_("ListObjectsV2"):
            raise ListingError("cut short")

    world.on_moment = fail
    with pytest.raises(ListingError):
        world.run()
    assert world.traffic.count("PutObject") == 0


def test_c41_a_hopeless_object_fails_at_once_and_others_go_on() -> None:
    """AccessDenied on one object is not tried again, and hides no other object."""
    world = many()
    refuse(world, "k1", AccessDeniedError)
    result = world.run(WIDE)
    assert result.counts == {"copied": 5, "failed": 1}
    (failed,) = result.failures
    assert (failed.error_kind, failed.retryable) == ("AccessDeniedError", False)
    tried = [m for m in world.traffic.moments if m.is_("UploadPart") and m.key == "k1"]
    assert len(tried) <= 2 * (WIDE.part_concurrency or 0)


@pytest.mark.parametrize("side", ["source", "target"])
def test_c41_a_bucket_that_answers_nothing_stops_all(side: str) -> None:
    """When the bucket itself refuses, the other objects fail without being tried."""
    world = many(40, size=15)
    store = world.source if side == "source" else world.target
    store.state.denied = True
    result = world.run()
    assert result.counts == {"failed": 40}
    assert all(not outcome.retryable for outcome in result.failures)
    assert len(world.traffic.moments) < 60
    with pytest.raises(ObjectsFailedError) as error:
        result.raise_for_failures()
    assert not error.value.retryable


def test_c41_a_bucket_that_is_gone_stops_all() -> None:
    """The same for a bucket that was deleted."""
    world = many(10, size=15)
    world.target.state.exists = False
    result = world.run()
    assert {o.error_kind for o in result.failures} == {BucketNotFoundError.__name__}
    assert world.traffic.count("PutObject") <= 1


def test_c41_an_archived_object_fails_alone() -> None:
    """An object in an archive class is named; its neighbours are copied."""
    world = many(3, size=15)
    archived = replace(world.source.objects["k1"], options=WriteOptions(storage_class="GLACIER"))
    world.source.objects["k1"] = archived
    result = world.run()
    assert [o.error_kind for o in result.failures] == ["ObjectArchivedError"]
    assert result.counts["copied"] == 2


def test_c42_nothing_secret_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    """Records, outcomes and logs hold identities and digests only, no object's metadata."""
    world = World()
    secret = ContentAttributes(metadata={"token": "s3cr3t-value"}, tags={"t": "s3cr3t-tag"})
    world.seed(pattern(45), attributes=secret)
    world.plan()
    texts: list[str] = []

    def keep(moment: Moment) -> None:
        if moment.is_("PutObject", side="state", after=True):
            texts.append(world.state_store.data(moment.key).decode())

    world.on_moment = keep
    with caplog.at_level(logging.DEBUG):
        world.run()
    assert any("upload_id" in text for text in texts)
    for text in [*texts, caplog.text]:
        assert "s3cr3t" not in text


# --- c34 ----------------------------------------------------------------------------------------


def foreign_uploads(world: World) -> set[str]:
    """Begin uploads that are not ours: of this key, with and without parts, and of others."""
    ids = {world.target.create_upload(KEY, NewUpload()) for _ in range(2)}
    with_part = next(iter(ids))
    world.target.upload_part(KEY, with_part, 1, b"theirs", None)
    ids.add(world.target.create_upload(KEY + "x", NewUpload()))
    return ids


@pytest.mark.parametrize("after_intent", [False, True])
def test_c34_only_own_uploads_are_aborted_anywhere(
    caplog: pytest.LogCaptureFixture, *, after_intent: bool
) -> None:
    """Killed at any moment, starting over aborts our upload and leaves those of others.

    What was begun and not recorded is left too, and named.
    """
    seen: set[str] = set()
    for moment in range(300):
        world = World()
        world.seed(pattern(45))
        world.seed_old_target()
        theirs = foreign_uploads(world)
        world.plan()
        reached = world.run_killed(CONFIG, moment)
        doubtful = set(world.target.uploads) - theirs if only_intent(world) else set()
        if after_intent:
            late = world.target.create_upload(KEY, NewUpload())
            world.target.upload_part(KEY, late, 1, b"theirs, later", None)
            empty = world.target.create_upload(KEY, NewUpload())
            theirs |= {late, empty}
            doubtful |= {empty} if only_intent(world) else set()
        world.seed(pattern(45, seed=2))
        world.plan(run="later")
        outcome = world.run_one()
        if outcome.status is Status.FAILED:
            # The first attempt had replaced the target after this plan's view of it.
            assert outcome.error_kind == "TargetChangedError"
        assert set(world.target.uploads) == theirs | doubtful, moment
        log = caplog.text
        assert all(upload_id in log for upload_id in doubtful)
        assert not any(upload_id in log for upload_id in theirs - doubtful)
        if outcome.status is Status.COPIED:
            assert all(upload_id in " ".join(outcome.notes) for upload_id in doubtful)
        seen |= doubtful
        if not reached:
            break
    assert moment > 50
    assert seen


def only_intent(world: World) -> bool:
    """Tell whether the object's record names no upload yet."""
    return bool(world.checkpoint_names()) and world.checkpoint().upload_id is None


def test_c34_an_intent_never_aborts_what_another_tool_began() -> None:
    """Killed before Create: an empty upload of the key that came since is somebody else's."""
    world = World()
    world.seed(pattern(45))
    world.plan()
    world.run_killed(CONFIG, when("CreateMultipartUpload"))
    assert only_intent(world)
    theirs = world.target.create_upload(KEY, NewUpload())
    outcome = world.run_one()
    assert outcome.status is Status.COPIED
    assert list(world.target.uploads) == [theirs]
    assert theirs in " ".join(outcome.notes)


def test_c34_an_upload_that_cannot_be_recorded_is_aborted_at_once() -> None:
    """Its id is known as long as the process lives: it does not become a stray one."""
    world = World()
    world.seed(pattern(45))
    world.plan()

    def refuse_the_id(moment: Moment) -> None:
        if moment.is_("PutObject", side="state") and world.target.uploads:
            raise AccessDeniedError("PutObject", "s3://state", "AccessDenied")

    world.on_moment = refuse_the_id
    assert world.run_one().error_kind == "AccessDeniedError"
    assert world.traffic.count("CreateMultipartUpload") == 1
    assert world.target.uploads == {}


def test_c34_an_intent_without_a_view_of_the_uploads_claims_nothing() -> None:
    """Where uploads could not be listed before Create, an empty upload may be anybody's."""
    world = World()
    world.seed(pattern(45))
    theirs = world.target.create_upload(KEY, NewUpload())
    world.plan()

    def hide(moment: Moment) -> None:
        if moment.is_("ListMultipartUploads"):
            raise ListingError("the same page again")
        if moment.is_("CreateMultipartUpload"):
            raise TransientStoreError("CreateMultipartUpload", "s3://to", "down")

    world.on_moment = hide
    assert world.run_one().status is Status.FAILED
    world.on_moment = lambda _: None
    assert world.run_one().status is Status.COPIED
    assert list(world.target.uploads) == [theirs]


# --- stop ---------------------------------------------------------------------------------------


def stopped_at(world: World, which: Callable[[Moment], bool]) -> None:
    """Run, stop from within a call, and see the run end in time as stopped."""
    stop = StopSignal()

    def hook(moment: Moment) -> None:
        if which(moment):
            stop.stop("SIGTERM")

    world.on_moment = hook
    with ThreadPoolExecutor(1) as threads:
        end = threads.submit(world.run, CONFIG, stop=stop)
        with pytest.raises(CopyStoppedError, match="SIGTERM"):
            end.result(DEADLINE_S)
    world.on_moment = lambda _: None


STOPS: dict[str, Callable[[Moment], bool]] = {
    "in a read": lambda m: m.is_("Read", side="source") and m.number > 100,
    "in an upload": lambda m: m.is_("UploadPart") and m.arguments["part_number"] == 4,
    "behind an upload": lambda m: (
        m.is_("UploadPart", after=True) and m.arguments["part_number"] == 3
    ),
    "before complete": lambda m: m.is_("ListParts", after=True),
    "at create": lambda m: m.is_("CreateMultipartUpload", after=True),
}


@pytest.mark.parametrize("when", STOPS)
@pytest.mark.parametrize("flush", [1, 8])
def test_stop_keeps_what_was_acknowledged(
    when: str, flush: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop ends as such; every acknowledged part is recorded, and none is sent again."""
    monkeypatch.setattr(uploads, "FLUSH_PARTS", flush)
    world = World()
    world.seed(pattern(95))
    world.seed_old_target()
    world.plan()
    stopped_at(world, STOPS[when])
    held = world.held_parts()
    assert world.target.data(KEY) == OLD
    if when != "at create":
        assert held
    assert {part.part_number for part in world.checkpoint().parts} == set(held)
    world.forget_traffic()
    outcome = world.run_one()
    assert outcome.status is Status.COPIED
    assert not set(held) & set(world.traffic.part_numbers())
    assert outcome.kept_parts == len(held)
    assert outcome.reread_parts == 0


def test_stop_ends_waiting_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects that wait for memory stop too."""
    monkeypatch.setattr(pool, "_POLL_S", 0.01)
    world = many(4, size=15)
    stop, arrived = StopSignal(), threading.Event()
    go_on = threading.Event()

    def hold(moment: Moment) -> None:
        if moment.is_("GetObject", side="source"):
            arrived.set()
            assert go_on.wait(DEADLINE_S)

    world.on_moment = hold
    monkeypatch.setattr(pool.MemoryBudget, "__init__", _tiny_budget)
    with ThreadPoolExecutor(1) as threads:
        end = threads.submit(world.run, WIDE, stop=stop)
        assert arrived.wait(DEADLINE_S)
        stop.stop("timeout")
        go_on.set()
        with pytest.raises(CopyStoppedError, match="timeout"):
            end.result(DEADLINE_S)
    assert world.traffic.count("GetObject", side="source") == 1


def _tiny_budget(budget: pool.MemoryBudget, _total: int) -> None:
    budget.total, budget.peak, budget._used = 15, 0, 0
    budget._changed = threading.Condition()
    budget._waiting = deque()
    budget._kept = []


class Blocked:
    """Something that blocks until it is aborted."""

    def __init__(self) -> None:
        self.aborted = threading.Event()

    def abort(self) -> None:
        """End the blocking."""
        self.aborted.set()


def test_stop_breaks_what_is_watched_by_children_too() -> None:
    """A stop reaches what children watch, at once; a child's stop ends only its own."""
    parent = StopSignal()
    mine, childs = Blocked(), Blocked()
    with parent.child() as child, parent.watching(mine), child.watching(childs):
        child.stop("a part failed")
        assert childs.aborted.is_set()
        assert not mine.aborted.is_set()
        assert not parent.is_set()
        parent.stop("SIGTERM")
        assert mine.aborted.is_set()
        assert child.reason == "a part failed"
    with parent.child() as late:
        assert late.is_set()
        with pytest.raises(CopyStoppedError, match="SIGTERM"), late.watching(Blocked()):
            pass


def test_stop_may_be_told_again_inside_a_stop() -> None:
    """A second signal that comes while the first one's handler holds the lock does not hang."""
    stop = StopSignal()

    def again() -> None:
        with stop._lock:
            stop.stop("second")

    thread = threading.Thread(target=again, daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()
    assert stop.reason == "second"


def test_c41_a_hopeless_part_breaks_off_the_reads_of_the_others() -> None:
    """A part that is stuck in a read does not hold up the failure of its object."""
    world = World()
    world.seed(pattern(45))
    world.plan()
    stuck, freed = threading.Event(), threading.Event()

    class Stuck:
        def abort(self) -> None:
            freed.set()

    def hook(moment: Moment) -> None:
        if moment.is_("Read", side="source") and moment.arguments["left"] == 5:
            stuck.set()
            assert freed.wait(DEADLINE_S)
        if moment.is_("UploadPart") and moment.arguments["part_number"] == 1:
            assert stuck.wait(DEADLINE_S)
            raise AccessDeniedError("UploadPart", "s3://to", "denied")

    world.on_moment = hook
    original = StopSignal.watching

    def watching(signal: StopSignal, one: object) -> object:
        del one
        return original(signal, Stuck())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StopSignal, "watching", watching)
        outcome = world.run_one(replace(CONFIG, part_concurrency=5))
    assert freed.is_set()
    assert outcome.error_kind == "AccessDeniedError"
